//! Streams: order, resuming, falling behind, framing.

use std::time::Duration;

use hyper::Method;
use kraken_engine::event::{EventKind, Happening};
use kraken_engine::id::Revision;
use serde_json::json;
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
    time::timeout,
};

use super::kit::{BOUND, fleet, member_with, see, uid};
use crate::{
    DryRun,
    client::{
        Call, Client, Error, EventsQuery, Watch, WatchKind, WatchLine, WatchQuery, WriteQuery,
    },
    server::Limits,
    testing::Fixture,
};

async fn next(watch: &mut Watch) -> WatchLine {
    timeout(BOUND, watch.next()).await.expect("a line in time").unwrap()
}

/// The next line that tells of an object.
async fn next_change(watch: &mut Watch) -> WatchLine {
    loop {
        let line = next(watch).await;
        if !matches!(line.r#type, WatchKind::Bookmark | WatchKind::Connected) {
            return line;
        }
    }
}

fn cfg() -> WatchQuery {
    WatchQuery { states: Some("cfg".to_owned()), ..WatchQuery::default() }
}

async fn set_slots(client: &Client, node: &str, slots: u64) -> u64 {
    let patch = json!({ "slots": slots });
    client.patch("node", node, &patch, &WriteQuery::default()).await.unwrap().revision
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changes_of_cfg_come_in_order_each_once() {
    let (_fixture, client) = fleet().await;
    let mut watch = client.watch(cfg());
    assert_eq!(next(&mut watch).await.r#type, WatchKind::Connected);
    let mut expected = Vec::new();
    for slots in 0..50 {
        expected.push(set_slots(&client, if slots % 2 == 0 { "n1" } else { "n2" }, slots).await);
    }
    client.delete("node", "n4", true).await.unwrap();
    for (slots, revision) in expected.into_iter().enumerate() {
        let line = next_change(&mut watch).await;
        assert_eq!((line.r#type, line.revision), (WatchKind::Put, revision));
        assert_eq!(line.object.unwrap().cfg.unwrap()["slots"], slots);
    }
    let line = next_change(&mut watch).await;
    assert_eq!((line.r#type, line.object.unwrap().name.as_str()), (WatchKind::Delete, "n4"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watch_goes_on_from_a_revision_or_is_told_that_it_cannot() {
    let limits = Limits { watch_history_max: 3, ..Limits::default() };
    let (fixture, client) = member_with(limits).await;
    client.apply("kind: node\nname: n1\n", &WriteQuery::default()).await.unwrap();
    let mut revisions = Vec::new();
    for slots in 1..=6 {
        revisions.push(set_slots(&client, "n1", slots).await);
    }
    let mut watch = client.watch(WatchQuery { from: Some(revisions[1]), ..cfg() });
    assert_eq!(next_change(&mut watch).await.revision, revisions[2]);
    assert_eq!(next_change(&mut watch).await.revision, revisions[3]);
    // Of what the server has let go of, the history tells.
    let mut watch = client.watch(WatchQuery { from: Some(revisions[0]), ..cfg() });
    for (slots, revision) in (2..=6).zip(&revisions[1..]) {
        let line = next_change(&mut watch).await;
        assert_eq!(line.revision, *revision);
        assert_eq!(line.object.unwrap().cfg.unwrap()["slots"], slots);
    }
    let revision = set_slots(&client, "n1", 7).await;
    assert_eq!(next_change(&mut watch).await.revision, revision, "and it goes on");
    fixture.quorum.forget(Revision::new(revisions[1]));
    let too_old = WatchQuery { from: Some(revisions[0]), ..cfg() };
    let mut watch = client.watch(too_old);
    assert_eq!(watch.next().await.unwrap_err().code(), Some("gone"));
    assert_eq!(next(&mut watch).await.r#type, WatchKind::Connected, "then from now on");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_falls_behind_is_told_and_others_go_on() {
    let (fixture, client) = fleet().await;
    let mut watch = client.watch(cfg());
    next(&mut watch).await;
    fixture.quorum.reset();
    assert_eq!(next_change(&mut watch).await.r#type, WatchKind::Lagged);
    assert_eq!(next(&mut watch).await.r#type, WatchKind::Connected);
    let revision = set_slots(&client, "n1", 9).await;
    assert_eq!(next_change(&mut watch).await.revision, revision);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_begins_anew_at_a_server_that_is_behind_is_told_what_comes_after_that() {
    let (ahead, to_ahead) = fleet().await;
    let (behind, to_behind) = fleet().await;
    let client = Client::new(&[ahead.url(), behind.url()]).unwrap();
    let mut watch = client.watch(cfg());
    next(&mut watch).await;
    let mut told = 0;
    for slots in 1..=4 {
        told = set_slots(&to_ahead, "n1", slots).await;
        assert_eq!(next_change(&mut watch).await.revision, told);
    }
    ahead.shutdown.cancel();
    assert_eq!(next(&mut watch).await.r#type, WatchKind::Connected);
    behind.quorum.reset();
    assert_eq!(next_change(&mut watch).await.r#type, WatchKind::Lagged);
    assert!(next(&mut watch).await.revision < told, "it listens where less is known");
    let again = set_slots(&to_behind, "n1", 1).await;
    assert!(again < told);
    assert_eq!(next_change(&mut watch).await.revision, again);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn watches_choose_by_kind_selector_names_and_state() {
    let (fixture, client) = fleet().await;
    let wanted = WatchQuery { selector: Some("rack=r1".to_owned()), ..WatchQuery::default() };
    let mut of_rack = client.watch(wanted);
    let wanted = WatchQuery { names: Some("n[3-4]".to_owned()), ..cfg() };
    let mut of_names = client.watch(WatchQuery { kinds: Some("node".to_owned()), ..wanted });
    next(&mut of_rack).await;
    next(&mut of_names).await;
    see(&fixture, "n3", &[("/physState", "POWER_ON".into())]).await;
    see(&fixture, "n1", &[("/physState", "POWER_OFF".into())]).await;
    set_slots(&client, "n4", 1).await;
    let line = next_change(&mut of_rack).await;
    let object = line.object.unwrap();
    assert_eq!((line.state.as_deref(), object.name.as_str()), (Some("dsc"), "n1"));
    assert_eq!(object.dsc.unwrap()["physState"], "POWER_OFF");
    let line = next_change(&mut of_names).await;
    assert_eq!((line.state.as_deref(), line.object.unwrap().name.as_str()), (Some("cfg"), "n4"));
}

async fn record(fixture: &Fixture, text: &str) {
    fixture
        .state
        .record(Happening {
            kind: EventKind::Module,
            uid: Some(uid(fixture, "n1")),
            revision: None,
            attempt: None,
            text: text.to_owned(),
        })
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_are_followed_as_they_happen() {
    let (fixture, client) = fleet().await;
    for text in ["one", "two", "three"] {
        record(&fixture, text).await;
    }
    let mut events = client.events(EventsQuery { limit: Some(2), ..EventsQuery::default() });
    assert_eq!(events.next().await.unwrap().text, "two");
    assert_eq!(events.next().await.unwrap().text, "three");
    let waiting = tokio::spawn(async move { events.next().await.map(|event| event.text) });
    record(&fixture, "four").await;
    assert_eq!(timeout(BOUND, waiting).await.unwrap().unwrap().unwrap(), "four");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn browsers_get_server_sent_events_with_ids_and_signs_of_life() {
    let limits = Limits { heartbeat: Duration::from_millis(20), ..Limits::default() };
    let (fixture, client) = member_with(limits).await;
    client.apply("kind: node\nname: n1\n", &WriteQuery::default()).await.unwrap();
    fixture.tell_objects().await;
    record(&fixture, "one").await;
    for (path, expected) in [
        (
            "/v1/events?follow=true",
            ["id: m1~", "data: {\"id\":\"m1-", "data: {\"type\":\"BOOKMARK\""],
        ),
        ("/v1/watch", ["id: 3", "data: {\"type\":\"BOOKMARK\",\"revision\":3", "id: 3"]),
    ] {
        let mut stream = TcpStream::connect(fixture.address).await.unwrap();
        let ask = format!("GET {path} HTTP/1.1\r\nhost: x\r\naccept: text/event-stream\r\n\r\n");
        stream.write_all(ask.as_bytes()).await.unwrap();
        let mut lines = BufReader::new(stream).lines();
        let mut wanted = expected.into_iter();
        let mut want = wanted.next();
        while let Some(start) = want {
            let line = timeout(BOUND, lines.next_line()).await.expect("in time").unwrap().unwrap();
            if line.starts_with(start) {
                want = wanted.next();
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watcher_that_takes_nothing_is_closed_and_others_see_everything() {
    let stall = Duration::from_millis(50);
    let (fixture, client) =
        member_with(Limits { write_stall_max: stall, ..Limits::default() }).await;
    client.apply("kind: node\nname: n1\n", &WriteQuery::default()).await.unwrap();
    let mut other = client.watch(cfg());
    next(&mut other).await;
    let mut idle = TcpStream::connect(fixture.address).await.unwrap();
    idle.write_all(b"GET /v1/watch?states=cfg HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    idle.readable().await.unwrap();
    let text = "x".repeat(1 << 20);
    let mut expected = Vec::new();
    for count in 0..20 {
        let args = [count.to_string(), text.clone()];
        let patch = json!({ "services": { "web": { "args": args } } });
        let written = client.patch("node", "n1", &patch, &WriteQuery::default()).await.unwrap();
        expected.push(written.revision);
    }
    for revision in expected {
        assert_eq!(next_change(&mut other).await.revision, revision);
    }
    let gone = async {
        while client.raw_get("/metrics").await.is_ok() && idle.try_write(b"x").is_ok() {
            tokio::task::yield_now().await;
        }
    };
    timeout(BOUND, gone).await.expect("the server closes the idle stream");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plan_is_the_same_whole_and_streamed_and_so_is_its_refusal() {
    let (_fixture, client) = fleet().await;
    let manifest = "kind: node\nname: n[1-2]\ncfg: { slots: 7 }\n";
    let whole = plan_whole(&client, manifest).await.unwrap();
    assert_eq!(whole.objects.len(), 2);
    assert_eq!(client.plan(manifest).await.unwrap().whole().await.unwrap(), whole);
    let cycle = "kind: node\nname: n1\nowner: node/n1\ncfg: {}\n";
    let whole = plan_whole(&client, cycle).await.unwrap_err();
    let streamed = client.plan(cycle).await.unwrap().whole().await.unwrap_err();
    assert!(whole.code().is_some());
    assert_eq!(streamed.code(), whole.code());
}

/// A plan as who does not take lines gets it.
async fn plan_whole(client: &Client, manifests: &'static str) -> Result<DryRun, Error> {
    let call = Call::new(Method::POST, "/v1/apply?dryRun=plan");
    client.send(call.body("application/yaml", manifests)).await?.json()
}
