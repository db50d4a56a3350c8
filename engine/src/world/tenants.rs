//! Objects that must never run twice, in a world: word of the quorum, handovers, and who has what.

use super::{Place, World, modules::DUTY};
use crate::{
    command::{Command, Op, Txn},
    id::{Name, Uid},
    invariants::What,
    value::Value,
};

impl World {
    /// Whom a majority hears, has its word.
    pub(super) fn assure_leader(&mut self, place: Place) {
        if self.quorum.leader == Some(place) && self.has_majority(place) {
            let site = &mut self.sites[place];
            let wall = site.wall(self.now);
            let revision = site.fleet.revision();
            let regained = site.fleet.assure(wall, revision, wall);
            site.dirty.extend(regained);
        }
    }

    /// A leaf that hosts what has a lease is offered all Cfg before its heartbeat is answered.
    pub(super) fn offer_on_lease(&mut self, place: Place, link: u64) {
        let catalog = self.sites[place].fleet.catalog().clone();
        let session = self.downlinks[place].session(link);
        if session.is_some_and(|session| session.is_on_lease(&catalog)) {
            self.offer(place, link);
        }
    }

    /// A leader gives an object to its heir once nobody else can have it.
    pub(super) fn hand_over(&mut self, place: Place, uid: Uid) {
        if self.sites[place].reign == 0 {
            return;
        }
        let site = &self.sites[place];
        let (wall, floor_ms) = (site.wall(self.now), site.hybrid_ms());
        let handovers = &mut self.holders[place].handovers;
        if let Some(release) = handovers.look(uid, &site.fleet, wall) {
            let ops = vec![Op::Release { uid, revision: release.revision, floor_ms }];
            self.propose_as(place, Command::Txn(Txn { ops, ..Txn::default() }));
        }
    }

    /// Writes down who else may have an object, or runs it, of which a node has something done.
    pub(super) fn record_tenants(&mut self, place: Place, uid: Uid) {
        if !self.sites[place].has(uid, self.now) {
            return;
        }
        let others = (self.members..self.sites.len()).filter(|other| *other != place);
        let mut others: Vec<Name> = others
            .filter(|other| self.sites[*other].has(uid, self.now) || self.takes_up(*other, uid))
            .map(|other| self.sites[other].name.clone())
            .collect();
        others.sort();
        self.record(place, What::Tenant { uid, others });
    }

    /// Whether an attempt runs that has an object do its duty.
    fn takes_up(&self, place: Place, uid: Uid) -> bool {
        let site = &self.sites[place];
        let mut running = site.host.all_running().filter(|(_, running)| running.uid == uid);
        let on = Some(Value::from("ON"));
        site.is_up
            && running.any(|(_, running)| {
                let mut changes = running.changes.iter();
                changes.any(|(path, value)| path.as_str() == DUTY && *value == on)
            })
    }
}
