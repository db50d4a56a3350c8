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

/// Has those lost whom a parent left, each once it has had its time, as long as `is_so`.
async fn lose_those_of(
    (parent, since): (&Name, Instant),
    why: &str,
    options: &DownlinkOptions,
    is_so: impl AsyncFn() -> bool,
) {
    for pace in Pace::ALL {
        if !stays(due(since, pace), options, &is_so).await {
            return;
        }
        lose_all_left_by(parent, pace, why, options).await;
    }
}

impl Driver {
    /// A member was lost: leaves of which nobody hears within a while were lost with it.
    pub(super) async fn lose_leaves_of(&self, member: Name) {
        let since = Instant::now();
        // Who cannot be asked has stopped.
        let is_gone =
            async || !self.register.send(IsAttached(member.clone())).await.unwrap_or(true);
        if stays(due(since, Pace::NORMAL), &self.options, &is_gone).await {
            self.options.state.set_lost(member.clone(), true).await;
            let why = "its parent is gone and it attached nowhere else";
            lose_those_of((&member, since), why, &self.options, is_gone).await;
        }
    }

    /// A relay was lost: what was below it and of which nobody hears within a while, was lost with
    /// it.
    pub(super) async fn lose_all_below(&self, relay: Name, uid: Uid) {
        let is_gone = async || {
            let is_up = move |fleet: &Fleet| fleet.is_up(uid);
            !self.options.state.read(is_up).await.unwrap_or(true)
        };
        let why = "its relay is gone and it attached nowhere else";
        lose_those_of((&relay, Instant::now()), why, &self.options, is_gone).await;
    }

    /// A relay has attached. What it said in an earlier life to be attached to it, and does not
    /// come again, is lost.
    pub(super) fn lose_what_does_not_come(&self, relay: Name) {
        let options = self.options.clone();
        actix_rt::spawn(async move {
            let is_there = async || options.orders.ways().has_child(&relay);
            let why = "its relay began anew and it attached nowhere";
            lose_those_of((&relay, Instant::now()), why, &options, is_there).await;
        });
    }
}

/// Another member has attached and tells this one what it said in an earlier life: nodes that were
/// attached to it then, and do not come again, are lost.
pub(super) async fn lose_own_leaves(options: DownlinkOptions) {
    let why = "its parent started again and it attached nowhere";
    lose_those_of((&options.node, Instant::now()), why, &options, async || true).await;
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
    let left =
        move |fleet: &Fleet| fleet.left_by(&member, |node| ways.has_child(node), &members, pace);
    let lost = options.state.read(left).await.unwrap_or_default();
    for (uid, node, epoch) in lost {
        options.state.set_link(uid, epoch, Link::Down).await;
        record(EventKind::Link, Some(uid), format!("{node} lost: {why}"), options).await;
    }
}
