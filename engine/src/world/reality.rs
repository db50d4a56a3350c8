//! Reality: what is, whether somebody sees it or not.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    Place,
    modules::{DRAIN, DUTY, LAMP_KIND, LIGHT, MOTD, PHYS, RUN, SERVICES, service},
};
use crate::{id::Uid, manifest::NODE_KIND, object::Object, path::Path, value::Value};

/// The values of everything that modules can see and change.
#[derive(Debug, Default)]
pub(super) struct Reality {
    values: BTreeMap<(Uid, Path), Value>,
    /// What nodes make of posts, each for itself.
    duties: BTreeMap<(Place, Uid, Path), Value>,
    known: BTreeSet<Uid>,
}

impl Reality {
    /// An object as it comes, unless it is there: of a node services stand and its machine is off,
    /// a lamp is dark. A post is kept by nobody.
    pub(super) fn add(&mut self, object: &Object) {
        let uid = object.uid;
        if !self.known.insert(uid) {
            return;
        }
        let services = SERVICES.iter().map(|name| (service(name), "STOP"));
        let rest = [(DRAIN.to_owned(), "NO"), (MOTD.to_owned(), ""), (PHYS.to_owned(), "OFF")];
        let first: Vec<(String, &str)> = match object.key.kind.as_str() {
            NODE_KIND => services.chain(rest).collect(),
            LAMP_KIND => vec![(LIGHT.to_owned(), "DARK")],
            _ => Vec::new(),
        };
        for (path, value) in first {
            if let Ok(path) = Path::new(path) {
                self.values.insert((uid, path), value.into());
            }
        }
    }

    /// Whether a value is at a path of an object; of a post, whether a node makes it so.
    pub(super) fn is(&self, place: Place, uid: Uid, path: &Path, value: &Value) -> bool {
        if path.as_str() == DUTY {
            return self.duty(place, uid, path) == *value;
        }
        self.values.get(&(uid, path.clone())) == Some(value)
    }

    fn duty(&self, place: Place, uid: Uid, path: &Path) -> Value {
        let kept = self.duties.get(&(place, uid, path.clone()));
        kept.cloned().unwrap_or_else(|| "OFF".into())
    }

    /// Changes something; a machine's system goes with its power.
    pub(super) fn set(&mut self, place: Place, uid: Uid, path: &Path, value: Value) {
        if path.as_str() == DUTY {
            self.duties.insert((place, uid, path.clone()), value);
            return;
        }
        let is_on = value == "ON".into();
        self.values.insert((uid, path.clone()), value);
        if path.as_str() == PHYS
            && let Ok(run) = Path::new(RUN)
        {
            if is_on {
                self.values.entry((uid, run)).or_insert_with(|| "INIT".into());
            } else {
                self.values.remove(&(uid, run));
            }
        }
    }

    /// Changes what there is a value for.
    pub(super) fn set_all(&mut self, place: Place, uid: Uid, changes: Vec<(Path, Option<Value>)>) {
        for (path, value) in changes {
            if let Some(value) = value {
                self.set(place, uid, &path, value);
            }
        }
    }

    /// What a look of a node at one of its posts shows.
    pub(super) fn look_at_duty(&self, place: Place, uid: Uid) -> Vec<(Path, Option<Value>)> {
        let Ok(path) = Path::new(DUTY) else { return Vec::new() };
        let kept = self.duty(place, uid, &path);
        vec![(path, Some(kept))]
    }

    /// What a look at an object shows: at what its node itself sees, or at its machine.
    pub(super) fn look(&self, uid: Uid, at_machine: bool) -> Vec<(Path, Option<Value>)> {
        let of_machine = |path: &Path| [PHYS, RUN, LIGHT].contains(&path.as_str());
        // No path sorts before this one.
        let shown = Path::new("/-").into_iter().flat_map(|from| self.values.range((uid, from)..));
        let shown = shown.take_while(|((of, _), _)| *of == uid);
        let shown = shown.filter(|((_, path), _)| of_machine(path) == at_machine);
        shown.map(|((_, path), value)| (path.clone(), Some(value.clone()))).collect()
    }
}
