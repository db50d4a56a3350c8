//! A member: its copy of the store, and whether it believes to lead.

use super::{Place, World, quorum::Quorum};
use crate::{id::Term, singleton::Handovers, store::Store};

/// What a member holds beside its fleet.
#[derive(Default)]
pub(super) struct Member {
    pub(super) store: Store,
    /// How many entries of the log it has applied.
    pub(super) applied: usize,
    /// The digest of all objects, counted from what each entry changed.
    pub(super) counted: u64,
    pub(super) reign: Option<Reign>,
    pub(super) handovers: Handovers,
}

/// A term in which a member decides.
pub(super) struct Reign {
    pub(super) term: Term,
}

impl Member {
    /// The term of the last entry that it has applied.
    pub(super) fn term(&self, quorum: &Quorum) -> Term {
        quorum.term_of(self.applied)
    }
}

impl World {
    /// A member starts: it holds what is on the disk and has seen nothing.
    pub(super) fn start_member(&mut self, place: Place) {
        self.holders[place] = Member::default();
        self.recover(place);
    }

    pub(super) fn tick_member(&mut self, place: Place) {
        self.sweep(place);
        self.assure_leader(place);
    }
}
