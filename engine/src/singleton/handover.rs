//! When an object that must never run twice goes from one host to the next: decided by the leader.
//!
//! | the former host | what is decided |
//! |---|---|
//! | has said, of this revision, that the object is absent | released |
//! | is attached | it stops the object; counted anew |
//! | is away, and may hold the object frozen: then it stops nothing | wait for it |
//! | is away for less than lease, stop and margin | wait |
//! | is away for longer | released |
//!
//! A proposal may be lost: what is not committed is proposed again.

use std::collections::{BTreeMap, btree_map::Entry};

use super::Singleton;
use crate::{
    catalog::Catalog,
    dsc::Dsc,
    fleet::{Fleet, LINK_PATH, Link},
    id::{Revision, Uid},
    mutation::Lane,
    object::Object,
    path::Path,
    predicate::On,
    status::Status,
    time::Millis,
    value::Value,
    view::Subject,
};

/// How soon a release that is not committed is proposed again, in milliseconds.
const PROPOSE_AGAIN_MS: u64 = 1_000;

/// The handovers that a leader sees to, since it leads.
#[derive(Debug, Default)]
pub struct Handovers(BTreeMap<Uid, Watched>);

#[derive(Debug)]
struct Watched {
    /// The write with which it began: what came before it says nothing of it.
    began: Revision,
    away_since: Option<Millis>,
    proposed_at: Option<Millis>,
}

/// An object that nobody hosts any more and its heir may have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Release {
    /// The object.
    pub uid: Uid,
    /// Its revision as it was seen.
    pub revision: Revision,
    /// Why, in words.
    pub why: String,
}

/// Why an object is not its heir's yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Held {
    /// The former host is attached, and is to stop it.
    Stopping,
    /// The former host is away: its lease may not be over.
    Leased(Singleton),
    /// The former host is away, and may not know that the object is not frozen any more.
    Frozen,
}

impl Handovers {
    /// Looks at an object: says when it is to be released. To be called whenever something of it
    /// has changed, and about once a second.
    pub fn look(&mut self, uid: Uid, fleet: &Fleet, now: Millis) -> Option<Release> {
        let moving = fleet.object(uid).and_then(|of| Some((of, of.tenure.former.as_ref()?)));
        let Some((object, former)) = moving else {
            self.0.remove(&uid);
            return None;
        };
        let new = Watched { began: former.since, away_since: None, proposed_at: None };
        let watched = match self.0.entry(uid) {
            Entry::Occupied(held) if held.get().began == former.since => held.into_mut(),
            Entry::Occupied(mut other) => {
                other.insert(new);
                other.into_mut()
            }
            Entry::Vacant(none) => none.insert(new),
        };
        let former = &former.host;
        let (dsc, attached) = (fleet.dsc(uid), fleet.is_attached_somewhere(former));
        let why = match held(object, &dsc, fleet.catalog(), attached) {
            None => format!("{former} has stopped it"),
            Some(Held::Stopping | Held::Frozen) => {
                watched.away_since = None;
                return None;
            }
            Some(Held::Leased(singleton)) => {
                let since = *watched.away_since.get_or_insert(now);
                if now < since.after_ms(singleton.away_ms()) {
                    return None;
                }
                let lease_ms = singleton.lease_ms;
                format!("{former} is away, and stops it after {lease_ms} ms without the quorum")
            }
        };
        if watched.proposed_at.is_some_and(|at| now < at.after_ms(PROPOSE_AGAIN_MS)) {
            return None;
        }
        watched.proposed_at = Some(now);
        let why = match object.heir() {
            Some(heir) => format!("{why}: {heir} has it now"),
            None => format!("{why}: nobody has it now"),
        };
        Some(Release { uid, revision: object.revision, why })
    }

    /// The objects that are to be looked at again.
    pub fn watched(&self) -> Vec<Uid> {
        self.0.keys().copied().collect()
    }

    /// Whether an object is among them.
    pub fn watches(&self, uid: Uid) -> bool {
        self.0.contains_key(&uid)
    }
}

impl Held {
    /// Why an object that goes from one host to another is still with the former one; `None` where
    /// it is not, or is to be released.
    pub fn of(subject: Subject<'_>) -> Option<Self> {
        subject.object.former()?;
        let link = subject.related.value(subject.object, &On::Parent, &Path::constant(LINK_PATH));
        let up = link.as_ref().and_then(Value::as_str) == Some(Link::Up.as_str());
        held(subject.object, subject.dsc, subject.catalog, up)
    }
}

fn held(object: &Object, dsc: &Dsc, catalog: &Catalog, attached: bool) -> Option<Held> {
    let singleton = catalog.kind(&object.key.kind)?.singleton?;
    let said = Status::of_lane(dsc, Lane::Itself);
    if said.as_ref().is_some_and(|said| said.is_converged_at(object.revision)) {
        return None;
    }
    if attached {
        return Some(Held::Stopping);
    }
    let thawed = object.tenure.thawed;
    let knows = said.is_some_and(|said| thawed.is_none_or(|thawed| said.revision >= thawed));
    let may_be_frozen = object.frozen.is_some() || (thawed.is_some() && !knows);
    Some(if may_be_frozen { Held::Frozen } else { Held::Leased(singleton) })
}
