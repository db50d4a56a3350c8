//! Those whose parent is gone: they attach elsewhere within a while, or were lost with it.

use std::{collections::BTreeSet, time::Duration};

use kraken_engine::{
    event::EventKind,
    fleet::{Fleet, Link},
    id::{Name, Uid},
    sync::{pace::Pace, turnstile::DEFER_MS_MAX},
};
use tokio::time::{Instant, sleep_until};

use super::{Door, DownlinkOptions, Driver, record};
use crate::downlink::messages::IsAttached;

/// How long nodes whose parent is gone may take to attach elsewhere before they count as lost
/// themselves, those of a pace beyond the time in which they miss it.
const RE_ATTACH: Duration = Duration::from_millis(2_000 + 2 * DEFER_MS_MAX);

/// Those who notice soon that a parent is gone, and those who do not.
const PACES: [Pace; 2] = [Pace::NORMAL, Pace::BULK];

/// How often it is looked at whether a parent is still gone, or still there.
const LOOK: Duration = Duration::from_secs(1);

/// When nodes of a pace have had their time.
fn due(since: Instant, pace: Pace) -> Instant {
    since + Duration::from_millis(pace.dead_after_ms()) + RE_ATTACH
}

/// Waits until then; false where the node stops, or all is otherwise before. Whoever is attached or
/// gone for less than a look is taken for what it was before.
async fn stays(until: Instant, options: &DownlinkOptions, is_so: impl AsyncFn() -> bool) -> bool {
    loop {
        let now = Instant::now();
        tokio::select! {
            () = options.stop.cancelled() => return false,
            () = sleep_until(until.min(now + LOOK)) => {}
        }
        if !is_so().await {
            return false;
        }
        if now + LOOK >= until {
            return true;
        }
    }
}

impl Driver {
    /// A member was lost: leaves of which nobody hears within a while were lost with it.
    pub(super) async fn lose_leaves_of(&self, member: Name) {
        let since = Instant::now();
        // Who cannot be asked has stopped.
        let is_gone =
            async || !self.register.send(IsAttached(member.clone())).await.unwrap_or(true);
        for pace in PACES {
            if !stays(due(since, pace), &self.options, &is_gone).await {
                return;
            }
            self.options.state.set_lost(member.clone(), true).await;
            let why = "its parent is gone and it attached nowhere else";
            lose_all_left_by(&member, pace, why, &self.options).await;
        }
    }

    /// A relay was lost: what was below it and of which nobody hears within a while, was lost with
    /// it.
    pub(super) async fn lose_all_below(&self, relay: Name, uid: Uid) {
        let since = Instant::now();
        let is_gone = async || {
            let is_up = move |fleet: &Fleet| fleet.is_up(uid);
            !self.options.state.read(is_up).await.unwrap_or(true)
        };
        for pace in PACES {
            if !stays(due(since, pace), &self.options, &is_gone).await {
                return;
            }
            let why = "its relay is gone and it attached nowhere else";
            lose_all_left_by(&relay, pace, why, &self.options).await;
        }
    }

    /// A relay has attached. What it said in an earlier life to be attached to it, and does not
    /// come again, is lost.
    pub(super) fn lose_what_does_not_come(&self, relay: Name) {
        let options = self.options.clone();
        actix_rt::spawn(async move {
            let since = Instant::now();
            let is_there = async || options.orders.ways().has_child(&relay);
            for pace in PACES {
                if !stays(due(since, pace), &options, &is_there).await {
                    return;
                }
                let why = "its relay began anew and it attached nowhere";
                lose_all_left_by(&relay, pace, why, &options).await;
            }
        });
    }
}

/// Another member has attached and tells this one what it said in an earlier life: nodes that were
/// attached to it then, and do not come again, are lost.
pub(super) async fn lose_own_leaves(options: DownlinkOptions) {
    let (me, since) = (options.node.clone(), Instant::now());
    for pace in PACES {
        if !stays(due(since, pace), &options, async || true).await {
            return;
        }
        let why = "its parent started again and it attached nowhere";
        lose_all_left_by(&me, pace, why, &options).await;
    }
}

/// Says of all nodes of at most this pace which a member said to be attached to it, that they are
/// not. Those that are attached here, members among them, are.
async fn lose_all_left_by(member: &Name, pace: Pace, why: &str, options: &DownlinkOptions) {
    let ways = options.orders.ways().clone();
    let members: BTreeSet<Name> = match &options.door {
        Door::Quorum(quorum) => quorum.status().members.into_iter().map(|one| one.name).collect(),
        Door::Above(_) => BTreeSet::new(),
    };
    let member = member.clone();
    let left = move |fleet: &Fleet| {
        let is_due =
            |uid: Uid| fleet.object(uid).is_none_or(|object| Pace::of(&object.labels) <= pace);
        let mut left = fleet.left_by(&member, |node| ways.has_child(node), &members);
        left.retain(|(uid, ..)| is_due(*uid));
        left
    };
    let lost = options.state.read(left).await.unwrap_or_default();
    for (uid, node, epoch) in lost {
        options.state.set_link(uid, epoch, Link::Down).await;
        record(EventKind::Link, Some(uid), format!("{node} lost: {why}"), options).await;
    }
}
