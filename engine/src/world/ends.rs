//! How a world ends: when it has come to rest, and what is written down of it then.

use super::{Place, QUIET_MS, World, modules::POST_KIND, recorder};
use crate::{
    fleet::Fleet,
    id::{Name, Uid},
    invariants::What,
    object::HOST_PATH,
    policy::POLICY_KIND,
    status::{PhaseName, Status},
};

impl World {
    /// Whether nothing has gone on for a while; asked now and then.
    pub(super) fn is_settled(&mut self) -> bool {
        if !self.events.is_multiple_of(64) {
            return false;
        }
        // What an earlier leader left under way, its successor waits for.
        let busy = self.is_chaos()
            || !self.quorum.store.intents().is_empty()
            || self.quorum.leader.is_none_or(|leader| self.sites[leader].reign == 0)
            || self.sites.iter().any(|site| !site.is_up || site.host.all_running().count() > 0)
            || self.statuses().any(|(_, _, status)| status.as_ref().is_none_or(is_moving));
        if busy {
            self.quiet_since = self.now;
        }
        self.now >= self.quiet_since + QUIET_MS
    }

    /// Who is asked how things are.
    fn spokesman(&self) -> Place {
        self.quorum.leader.unwrap_or_default()
    }

    /// What the leader says of each object that is brought about; policies say, and are not.
    pub(super) fn statuses(&self) -> impl Iterator<Item = (Name, Uid, Option<Status>)> {
        let fleet: &Fleet = &self.sites[self.spokesman()].fleet;
        let objects = self.quorum.store.objects();
        let objects = objects.filter(|object| object.key.kind.as_str() != POLICY_KIND);
        objects.map(|object| {
            let said = Status::of(&fleet.dsc(object.uid));
            (object.key.name.clone(), object.uid, said)
        })
    }

    pub(super) fn record_the_end(&mut self) {
        let leader = self.spokesman();
        let ends: Vec<_> = self.statuses().collect();
        for (name, uid, status) in ends {
            let reached = self.is_reached(uid);
            self.record(leader, What::Settled { uid, status, reached });
            let own = self.sites.iter().position(|site| site.name == name);
            for writer in 0..self.sites.len() {
                // What an earlier host said of a post, nobody needs to know any more.
                if !self.speaks_of(writer, uid) {
                    continue;
                }
                // A leaf knows of itself what it wrote; members know what everybody wrote.
                let leaf = own.filter(|own| *own == writer && *own >= self.members);
                for known_at in leaf.into_iter().chain(0..self.members) {
                    let writer = self.sites[writer].name.clone();
                    let dsc = self.sites[known_at].fleet.dsc(uid);
                    let digest = recorder::digest_of_written(&dsc, &writer);
                    self.record(known_at, What::Replica { uid, writer, digest });
                }
            }
        }
        self.record_logs();
    }

    /// Whether what a node said of an object still counts.
    fn speaks_of(&self, place: Place, uid: Uid) -> bool {
        let object = self.quorum.store.object(uid);
        let is_post = object.is_some_and(|object| object.key.kind.as_str() == POST_KIND);
        let hosts = object.is_some_and(|object| object.is_hosted_by(&self.sites[place].name));
        !is_post || hosts || place < self.members
    }

    /// Whether an object really is as its Cfg asks.
    fn is_reached(&self, uid: Uid) -> bool {
        self.quorum.store.object(uid).is_some_and(|object| {
            let host = object.host();
            let host = self.sites.iter().position(|site| Some(&site.name) == host.as_ref());
            let place = host.unwrap_or_default();
            let mut asked = object.cfg.iter().filter(|(path, _)| path.as_str() != HOST_PATH);
            !object.is_leaving()
                && asked.all(|(path, value)| self.reality.is(place, uid, path, value))
        })
    }
}

/// Whether an object is still on its way. One that waits for another may do so for ever.
fn is_moving(status: &Status) -> bool {
    match status.phase {
        PhaseName::Waiting => !status.waits_for.as_ref().is_some_and(|of| of.contains("@owner")),
        PhaseName::InFlight | PhaseName::BackingOff => true,
        PhaseName::Converged | PhaseName::Stuck | PhaseName::Quarantined | PhaseName::Frozen => {
            false
        }
    }
}
