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

use std::collections::BTreeMap;

use super::Singleton;
use crate::{
    catalog::Catalog,
    fleet::Fleet,
    id::{Name, Revision, Uid},
    mutation::Lane,
    object::Object,
    status::Status,
    time::Millis,
};

/// How soon a release that is not committed is proposed again, in milliseconds.
const PROPOSE_AGAIN_MS: u64 = 1_000;

/// The handovers that a leader sees to, since it leads.
#[derive(Debug, Default)]
pub struct Handovers(BTreeMap<Uid, Watched>);

#[derive(Debug, Default)]
struct Watched {
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
    pub fn look(&mut self, object: &Object, fleet: &Fleet, now: Millis) -> Option<Release> {
        let uid = object.uid;
        let Some(former) = object.tenure.former.as_ref() else {
            self.0.remove(&uid);
            return None;
        };
        let watched = self.0.entry(uid).or_default();
        let why = match held(object, former, fleet) {
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

    /// An object was removed.
    pub fn forget(&mut self, uid: Uid) {
        self.0.remove(&uid);
    }
}

impl Held {
    /// Why an object that goes from one host to another is still with the former one; `None` where
    /// it is not, or is to be released.
    pub fn of(object: &Object, fleet: &Fleet) -> Option<Self> {
        held(object, object.tenure.former.as_ref()?, fleet)
    }
}

fn held(object: &Object, former: &Name, fleet: &Fleet) -> Option<Held> {
    let singleton = singleton_of(object, fleet.catalog())?;
    let said = Status::of_lane(&fleet.dsc(object.uid), Lane::Itself);
    if said.as_ref().is_some_and(|said| said.is_converged_at(object.revision)) {
        return None;
    }
    if fleet.is_attached_somewhere(former) {
        return Some(Held::Stopping);
    }
    let thawed = object.tenure.thawed;
    let knows = said.is_some_and(|said| thawed.is_none_or(|thawed| said.revision >= thawed));
    let may_be_frozen = object.frozen.is_some() || (thawed.is_some() && !knows);
    Some(if may_be_frozen { Held::Frozen } else { Held::Leased(singleton) })
}

fn singleton_of(object: &Object, catalog: &Catalog) -> Option<Singleton> {
    catalog.kind(&object.key.kind)?.singleton
}
