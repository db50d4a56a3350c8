//! Reality: what is, whether somebody sees it or not.

use std::collections::{BTreeMap, BTreeSet};

use super::modules::{
    DRAIN, DUTY, LAMP_KIND, LIGHT, MOTD, PHYS, POST_KIND, RUN, SERVICES, service,
};
use crate::{id::Uid, manifest::NODE_KIND, object::Object, path::Path, value::Value};

/// The values of everything that modules can see and change.
#[derive(Debug, Default)]
pub(super) struct Reality(BTreeMap<(Uid, Path), Value>, BTreeSet<Uid>);

impl Reality {
    /// An object as it comes, unless it is there: of a node services stand and its machine is off,
    /// a lamp is dark, a post is not kept.
    pub(super) fn add(&mut self, object: &Object) {
        let uid = object.uid;
        if !self.1.insert(uid) {
            return;
        }
        let first = match object.key.kind.as_str() {
            LAMP_KIND => Some((LIGHT, "DARK")),
            POST_KIND => Some((DUTY, "OFF")),
            _ => None,
        };
        if let Some((path, value)) = first
            && let Ok(path) = Path::new(path)
        {
            self.0.insert((uid, path), value.into());
        }
        if object.key.kind.as_str() != NODE_KIND {
            return;
        }
        let services = SERVICES.iter().map(|name| (service(name), "STOP"));
        let rest = [(DRAIN.to_owned(), "NO"), (MOTD.to_owned(), ""), (PHYS.to_owned(), "OFF")];
        for (path, value) in services.chain(rest) {
            if let Ok(path) = Path::new(path) {
                self.0.insert((uid, path), value.into());
            }
        }
    }

    pub(super) fn get(&self, uid: Uid, path: &Path) -> Option<&Value> {
        self.0.get(&(uid, path.clone()))
    }

    /// Changes something; a machine's system goes with its power.
    pub(super) fn set(&mut self, uid: Uid, path: &Path, value: Value) {
        let is_on = value == "ON".into();
        self.0.insert((uid, path.clone()), value);
        if path.as_str() == PHYS
            && let Ok(run) = Path::new(RUN)
        {
            if is_on {
                self.0.entry((uid, run)).or_insert_with(|| "INIT".into());
            } else {
                self.0.remove(&(uid, run));
            }
        }
    }

    /// Changes what there is a value for.
    pub(super) fn set_all(&mut self, uid: Uid, changes: Vec<(Path, Option<Value>)>) {
        for (path, value) in changes {
            if let Some(value) = value {
                self.set(uid, &path, value);
            }
        }
    }

    /// What a look at a node shows: at what the node itself sees, or at its machine.
    pub(super) fn look(&self, uid: Uid, at_machine: bool) -> Vec<(Path, Option<Value>)> {
        let of_machine = |path: &Path| [PHYS, RUN, LIGHT].contains(&path.as_str());
        // No path sorts before this one.
        let shown = Path::new("/-").into_iter().flat_map(|from| self.0.range((uid, from)..));
        let shown = shown.take_while(|((of, _), _)| *of == uid);
        let shown = shown.filter(|((_, path), _)| of_machine(path) == at_machine);
        shown.map(|((_, path), value)| (path.clone(), Some(value.clone()))).collect()
    }
}
