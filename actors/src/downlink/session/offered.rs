//! What a session offers its child of the fleet.

use std::sync::Arc;

use kraken_engine::{
    catalog::Catalog,
    fleet::Fleet,
    id::Uid,
    singleton::Assured,
    sync::{audience::Change, frame::Role, parent::Effect, views::RELATED_OBJECTS_MAX},
};

use super::{Attached, Driver};
use crate::downlink::messages::Serves;

/// What a child is told of the fleet at one moment.
struct Offered {
    change: Change,
    catalog: Arc<Catalog>,
    assured: Assured,
    /// Why this session is over.
    over: Option<&'static str>,
    /// Whether the child's own object was removed.
    is_bereft: bool,
}

impl Driver {
    /// Offers the child what it may see: its own object, what it hosts and what is reached through
    /// it; a relay also what those below it may. A member knows everything already. A child of
    /// which a newer session was heard of has moved, or its clock went back: this one is over, as
    /// is that of a node that was removed, once a node of its name is there again.
    pub(super) async fn offer(&mut self) -> Vec<Effect> {
        let attached = self.attached.clone().filter(|attached| attached.role.is_below());
        let Some(Attached { uid, node, epoch, role }) = attached else {
            self.dirty.take();
            return Vec::new();
        };
        let (mut audience, dirty) = (std::mem::take(&mut self.audience), self.dirty.clone());
        let child = node.clone();
        if role == Role::Leaf {
            // The register hears of changes a moment later than the fleet has them.
            audience.renew();
        }
        let read = move |fleet: &Fleet| {
            // Here, where nothing changes meanwhile: what is marked is all up to the revision.
            let changed = dirty.take();
            if !fleet.is_whole(&child) {
                // All of it is told once this relay has it, which marks it again.
                audience.renew();
                return (audience, None);
            }
            let change = audience.gather(fleet, &changed);
            let is_bereft = fleet.object(uid).is_none();
            let over = if fleet.link_epoch(uid) > epoch {
                Some("a newer session of it was heard of")
            } else if is_bereft && fleet.node(&child).is_some() {
                Some("its node was removed, and one of its name was made")
            } else {
                None
            };
            let (catalog, assured) = (fleet.catalog().clone(), fleet.assured());
            let offered = Offered { change, catalog, assured, over, is_bereft };
            (audience, Some(offered))
        };
        let Ok((audience, offered)) = self.options.state.read(read).await else {
            return Vec::new();
        };
        self.audience = audience;
        let Some(offered) = offered else { return Vec::new() };
        if let Some(why) = offered.over {
            return vec![Effect::Close(why.to_owned())];
        }
        self.is_bereft = offered.is_bereft;
        if role == Role::Leaf {
            self.tell_served(uid).await;
        }
        let mut effects = self.tell(offered, role);
        let left_out = self.audience.left_out();
        if left_out > 0 && !std::mem::replace(&mut self.left_out, true) {
            effects.push(Effect::Alarm(format!(
                "what {node} hosts names more than {RELATED_OBJECTS_MAX} objects elsewhere: of \
                 {left_out} it is not told, and what is required of them is not met there"
            )));
        }
        effects
    }

    /// Has the session tell the child of it: a relay by what has changed, after it was told all.
    fn tell(&mut self, offered: Offered, role: Role) -> Vec<Effect> {
        let is_all = !std::mem::replace(&mut self.offered, true) || role == Role::Leaf;
        let Offered { change, catalog, assured, .. } = offered;
        let Change { revision, set, gone, sights, newest } = change;
        let mut effects = self.session.expel_outdated(newest);
        self.session.declare(&catalog);
        let hybrid_ms = self.options.state.stamps().reading().get();
        self.session.assure(assured, hybrid_ms, self.options.clock.wall());
        if is_all {
            effects.extend(self.session.offer(revision, set));
            effects.extend(self.session.offer_views(sights));
            return effects;
        }
        effects.extend(self.session.offer_changes(revision, set, gone));
        effects.extend(self.session.offer_view_changes(sights));
        effects
    }

    /// Tells the register of what a leaf is told, where that has changed. What changed before the
    /// register knew is told once more.
    async fn tell_served(&mut self, uid: Uid) {
        let Some(Attached { node, epoch, .. }) = self.attached.clone() else { return };
        let mut uids = self.audience.rests_on();
        uids.insert(uid);
        if self.serves != uids {
            self.serves.clone_from(&uids);
            // Fails only when the node stops.
            self.register.send(Serves { node, epoch, uids }).await.ok();
            self.dirty.mark([uid]);
        }
    }
}
