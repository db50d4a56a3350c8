//! A leader and a leaf: what the leader decides for the leaf is carried out there.

use kraken_engine::{command::Intent, fleet::Fleet, id::AttemptId, mutation::Lane};

use super::{pump::deeds, *};
use crate::quorum::Leadership;

/// What the leader says of `n1` in the quorum's lane.
async fn said(state: &StateHandle) -> Option<Status> {
    let read = |fleet: &Fleet| {
        let uid = fleet.node(&name("n1"))?.uid;
        Status::of_lane(&fleet.dsc(uid), Lane::Quorum)
    };
    state.read(read).await.unwrap()
}

async fn until_said(fixture: &Fixture, what: &str, holds: impl Fn(&Status) -> bool) -> Status {
    let state = fixture.member.state();
    let changed = state.watch_objects().await;
    let looking = async {
        loop {
            changed.take();
            if let Some(status) = said(state).await
                && holds(&status)
            {
                return status;
            }
            changed.marked().await;
        }
    };
    match timeout(BOUND, looking).await {
        Ok(status) => status,
        Err(elapsed) => panic!("{elapsed}: {what}: {:?}", said(state).await),
    }
}

fn done(status: &Status, revision: Revision) -> bool {
    status.phase == PhaseName::Converged && status.revision >= revision
}

#[actix_rt::test]
async fn what_the_leader_decides_for_a_leaf_is_carried_out_there_once() {
    let fixture = Fixture::start().await;
    let leaf = fixture.leaf(fixture.parent()).await;
    fixture.until("n1", "the leaf attaches", |n1| n1.link.as_deref() == Some("UP")).await;
    let revision = fixture.merge("/pump", "ON").await;
    let flies = until_said(&fixture, "it flies", |s| s.reason.as_deref() == Some("on n1: priming"));
    let flies = flies.await;
    assert_eq!((flies.phase, flies.step.as_deref()), (PhaseName::InFlight, Some("pump/Start")));
    until_said(&fixture, "it is done", |status| done(status, revision)).await;
    assert_eq!(deeds(fixture.folder.path(), "n1"), ["Start"]);
    assert_eq!(deeds(fixture.folder.path(), "m1"), [""; 0]);
    leaf.stop().await;
    fixture.member.stop().await;
}

#[actix_rt::test]
async fn a_new_leader_looks_first_and_then_disrupts_once() {
    let fixture = Fixture::start().await;
    let leaf = fixture.leaf(fixture.parent()).await;
    fixture.until("n1", "the leaf attaches", |n1| n1.link.as_deref() == Some("UP")).await;
    let revision = fixture.merge("/pump", "ON").await;
    until_said(&fixture, "the pump is seen, and runs", |status| done(status, revision)).await;
    let leadership = *fixture.quorum.leadership().borrow();
    for leads in [false, true] {
        fixture.quorum.set_leadership(Leadership { is_me: leads, ..leadership });
        let reconciler = &fixture.member.handles.reconciler;
        let led = async {
            while reconciler.observe().await.unwrap().term.is_some() != leads {
                tokio::task::yield_now().await;
            }
        };
        timeout(BOUND, led).await.unwrap();
    }
    let revision = fixture.merge("/valve", "OPEN").await;
    until_said(&fixture, "it is done", |status| done(status, revision)).await;
    assert_eq!(deeds(fixture.folder.path(), "n1"), ["Start", "Purge"]);
    leaf.stop().await;
    fixture.member.stop().await;
}

#[actix_rt::test]
async fn an_intent_that_an_earlier_leader_left_open_is_closed_once_its_node_is_asked() {
    let fixture = Fixture::start().await;
    let leaf = fixture.leaf(fixture.parent()).await;
    fixture.until("n1", "the leaf attaches", |n1| n1.link.as_deref() == Some("UP")).await;
    let read = |fleet: &Fleet| fleet.node(&name("n1")).map(|object| object.uid);
    let uid = fixture.member.state().read(read).await.unwrap().unwrap();
    let attempt = AttemptId::derive(&name("m9"), 1, 1);
    let ends_by = Clock::new().wall().after(Duration::from_secs(630));
    let intent =
        Intent { uid, mutation: "pump/Purge".to_owned(), attempt, host: name("n1"), ends_by };
    let term = fixture.quorum.leadership().borrow().term;
    fixture.propose(Command::OpenIntents { term, intents: vec![intent] }).await;
    let revision = fixture.merge("/valve", "OPEN").await;
    until_said(&fixture, "it is done", |status| done(status, revision)).await;
    assert_eq!(deeds(fixture.folder.path(), "n1"), ["Purge"]);
    leaf.stop().await;
    fixture.member.stop().await;
}

#[actix_rt::test]
async fn what_cannot_be_reached_is_waited_for_and_says_so() {
    let fixture = Fixture::start().await;
    let leaf = fixture.leaf(fixture.parent()).await;
    fixture.until("n1", "the leaf attaches", |n1| n1.link.as_deref() == Some("UP")).await;
    fixture.merge("/lamp", "ON").await;
    fixture.until("n1", "the lamp is on", |n1| n1.lamp.as_deref() == Some("ON")).await;
    leaf.stop().await;
    fixture.until("n1", "the leaf is lost", |n1| n1.link.as_deref() == Some("DOWN")).await;
    let revision = fixture.merge("/pump", "ON").await;
    let waits = |s: &Status| s.reason.as_deref() == Some("n1 is not attached");
    until_said(&fixture, "it waits", waits).await;
    let leaf = fixture.leaf(fixture.parent()).await;
    until_said(&fixture, "it is done", |status| done(status, revision)).await;
    assert_eq!(deeds(fixture.folder.path(), "n1"), ["Start"]);
    leaf.stop().await;
    fixture.member.stop().await;
}
