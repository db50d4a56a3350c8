//! A member, relays and a leaf: what goes between a leaf and a member goes over relays as well, and
//! leaves outlive their relay.

use kraken_engine::{fleet::Fleet, mutation::Lane, object::HOST_PATH};

use super::{
    hosted::{Cable, eventually, put, shows},
    pump::deeds,
    *,
};

async fn relay(fixture: &Fixture, of: &str, parents: &[String]) -> Node {
    let sync = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let role = Role::Relay { parents: parents.iter().map(Parent::at).collect(), sync };
    node(of, role, fixture.folder.path()).await
}

fn address(of: &Node) -> String {
    of.sync_addr().unwrap().to_string()
}

async fn leaf(fixture: &Fixture, parents: &[String]) -> Node {
    let parents = parents.iter().map(Parent::at).collect();
    node("n1", Role::Leaf { parents }, fixture.folder.path()).await
}

/// Who says that a node is attached, once somebody does.
async fn parent_of(state: &StateHandle, of: &'static str, parent: &'static str) {
    let read = move |fleet: &Fleet| {
        let uid = fleet.node(&name(of))?.uid;
        let dsc = fleet.dsc(uid);
        let link = dsc.get("/link")?;
        (link.value == Some("UP".into()) && link.stamp.writer == name(parent)).then_some(())
    };
    let what = format!("{of} is attached to {parent}");
    eventually(state, &what, async || state.read(read).await).await;
}

#[actix_rt::test]
async fn what_is_asked_of_a_leaf_behind_two_relays_is_done_and_seen() {
    let fixture = Fixture::start().await;
    let outer = relay(&fixture, "r1", &[fixture.parent()]).await;
    let inner = relay(&fixture, "r2", &[address(&outer)]).await;
    let leaf = leaf(&fixture, &[address(&inner)]).await;
    let state = fixture.member.state();
    parent_of(state, "r1", "m1").await;
    parent_of(state, "r2", "r1").await;
    parent_of(state, "n1", "r2").await;

    // The leaf decides what is its own.
    let revision = fixture.merge("/lamp", "ON").await;
    let done = |n1: &Seen| n1.converged >= Some(revision) && n1.lamp.as_deref() == Some("ON");
    fixture.until("n1", "the lamp is on", done).await;
    // The leader decides what is the quorum's, and its order goes the same way.
    fixture.merge("/pump", "ON").await;
    let pumps = |fleet: &Fleet| {
        let status = Status::of_lane(&fleet.dsc(fleet.node(&name("n1"))?.uid), Lane::Quorum)?;
        (status.phase == PhaseName::Converged && status.revision > Revision::default())
            .then_some(())
    };
    eventually(state, "it pumps", async || state.read(pumps).await).await;
    assert_eq!(deeds(fixture.folder.path(), "n1"), ["Start"]);
    // A relay is a node like any other.
    let revision = fixture.merge_of("r2", "/lamp", "ON").await;
    fixture.until("r2", "its lamp is on", |r2| r2.converged >= Some(revision)).await;

    leaf.stop().await;
    fixture.until("n1", "the leaf is lost", |n1| n1.link.as_deref() == Some("DOWN")).await;
    inner.stop().await;
    outer.stop().await;
    fixture.member.stop().await;
}

#[actix_rt::test]
async fn what_a_leaf_behind_a_relay_hosts_waits_for_other_objects() {
    let fixture = Fixture::start().await;
    let relay = relay(&fixture, "r1", &[fixture.parent()]).await;
    let leaf = leaf(&fixture, &[address(&relay)]).await;
    let state = fixture.member.state();
    parent_of(state, "n1", "r1").await;
    let cfg = [("/glow", "ON"), (HOST_PATH, "n1"), ("/via", "m1"), ("/socket", "m1")];
    let uid = put(&fixture, "b1", &cfg).await;
    let waits = move |fleet: &Fleet| {
        let said = Status::of_lane(&fleet.dsc(uid), Lane::Itself)?.waits_for?;
        said.contains("@/socket /lamp = ON").then_some(())
    };
    eventually(state, "it waits for the lamp", async || state.read(waits).await).await;
    fixture.merge_of("m1", "/lamp", "ON").await;
    shows(state, uid, "/glow", "ON").await;
    leaf.stop().await;
    relay.stop().await;
    fixture.member.stop().await;
}

#[actix_rt::test]
async fn a_leaf_whose_relay_dies_attaches_elsewhere_and_keeps_its_state() {
    let fixture = Fixture::start().await;
    let cable = Cable::to(fixture.parent()).await;
    let relay = relay(&fixture, "r1", &[fixture.parent()]).await;
    cable.stands.send_replace(false);
    let leaf = leaf(&fixture, &[address(&relay), cable.address.clone()]).await;
    let state = fixture.member.state();
    parent_of(state, "n1", "r1").await;
    let uid = put(&fixture, "b1", &[("/lit", "ON"), (HOST_PATH, "n1")]).await;
    shows(state, uid, "/lit", "ON").await;
    let held = |node: &Node| {
        let state = node.state().clone();
        async move { state.read(move |fleet| fleet.object(uid).cloned()).await.unwrap() }
    };
    assert!(held(&leaf).await.is_some());

    cable.stands.send_replace(true);
    relay.stop().await;
    parent_of(state, "n1", "m1").await;
    fixture.until("r1", "the relay is lost", |r1| r1.link.as_deref() == Some("DOWN")).await;
    let late = put(&fixture, "b2", &[("/lit", "ON"), (HOST_PATH, "n1")]).await;
    shows(state, late, "/lit", "ON").await;
    assert!(held(&leaf).await.is_some(), "it was its own all the time");
    leaf.stop().await;
    fixture.member.stop().await;
}

#[actix_rt::test]
async fn a_relay_that_is_cut_off_takes_a_leaf_back_and_tells_later() {
    let fixture = Fixture::start().await;
    let (above, below) = (Cable::to(fixture.parent()).await, address);
    let relay = relay(&fixture, "r1", std::slice::from_ref(&above.address)).await;
    let lower = Cable::to(below(&relay)).await;
    let leaf = leaf(&fixture, std::slice::from_ref(&lower.address)).await;
    let state = fixture.member.state();
    parent_of(state, "n1", "r1").await;
    let uid = put(&fixture, "b1", &[("/lit", "ON"), (HOST_PATH, "n1")]).await;
    shows(state, uid, "/lit", "ON").await;

    above.stands.send_replace(false);
    fixture.until("n1", "both are lost", |n1| n1.link.as_deref() == Some("DOWN")).await;
    let link = |up: &'static str| {
        let state = relay.state().clone();
        async move {
            let read = move |fleet: &Fleet| {
                let dsc = fleet.dsc(fleet.node(&name("n1"))?.uid);
                (dsc.value("/link") == Some(&up.into())).then_some(())
            };
            eventually(&state, "the relay knows", async || state.read(read).await).await;
        }
    };
    lower.stands.send_replace(false);
    link("DOWN").await;
    lower.stands.send_replace(true);
    link("UP").await;

    let late = put(&fixture, "b2", &[("/lit", "ON"), (HOST_PATH, "n1")]).await;
    above.stands.send_replace(true);
    parent_of(state, "r1", "m1").await;
    parent_of(state, "n1", "r1").await;
    shows(state, late, "/lit", "ON").await;
    leaf.stop().await;
    relay.stop().await;
    fixture.member.stop().await;
}
