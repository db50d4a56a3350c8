//! The client: servers that are gone, servers that find no leader, answers that get lost.

use std::{net::SocketAddr, time::Duration};

use kraken_actors::quorum::QuorumError;
use serde_json::json;
use tokio::{
    net::{TcpListener, TcpSocket, TcpStream},
    time::{Instant, timeout},
};
use tokio_util::sync::CancellationToken;

use super::kit::{BOUND, fleet, manifests};
use crate::{
    client::{Client, EventsQuery, ListQuery, Settings, WriteQuery},
    testing::Fixture,
};

/// An address where nobody listens, as long as the socket is held.
fn nobody() -> (TcpSocket, String) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
    let url = format!("http://{}", socket.local_addr().unwrap());
    (socket, url)
}

/// A way to a server that can be cut: then connections are closed, and new ones at once.
async fn road(to: SocketAddr) -> (String, CancellationToken) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let cut = CancellationToken::new();
    let is_cut = cut.clone();
    tokio::spawn(async move {
        while let Ok((mut near, _)) = listener.accept().await {
            let is_cut = is_cut.clone();
            tokio::spawn(async move {
                let carry = async {
                    let mut far = TcpStream::connect(to).await?;
                    tokio::io::copy_bidirectional(&mut near, &mut far).await
                };
                is_cut.run_until_cancelled(carry).await;
            });
        }
    });
    (url, cut)
}

fn hasty() -> Settings {
    Settings { patience: Duration::from_millis(200), ..Settings::default() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn servers_that_cannot_serve_are_passed_over() {
    let (fixture, _) = fleet().await;
    let leaderless = Fixture::start(manifests()).await.unwrap();
    let fault = QuorumError::Unavailable("no leader is known".to_owned());
    leaderless.quorum.set_fault(Some(fault));
    let (_held, nobody) = nobody();
    let servers = [nobody, leaderless.url(), fixture.url()];
    let client = Client::new(&servers).unwrap();
    assert_eq!(client.get_nodes(&ListQuery::default()).await.unwrap().items.len(), 4);
    let patched = client.patch("node", "n1", &json!({ "slots": 1 }), &WriteQuery::default()).await;
    assert_eq!(patched.unwrap().changed, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reads_that_a_server_keeps_waiting_are_asked_of_the_next_as_well() {
    let (fixture, _) = fleet().await;
    // The system takes the connection; nobody reads what comes.
    let asleep = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let servers = [format!("http://{}", asleep.local_addr().unwrap()), fixture.url()];
    let settings = Settings { hedge_after: Duration::from_millis(50), ..Settings::default() };
    let client = Client::with(&servers, settings).unwrap();
    let read = timeout(BOUND, client.get("node", "n1")).await;
    assert_eq!(read.unwrap().unwrap().name, "n1");
    // The one that answered is asked first from then on, for writes too.
    let how = WriteQuery::default();
    let written = timeout(BOUND, client.patch("node", "n1", &json!({ "slots": 1 }), &how)).await;
    assert_eq!(written.unwrap().unwrap().changed, 1);
    // A write is given to one at a time, for as long as that may take.
    let settings = Settings {
        timeout: Duration::from_millis(200),
        hedge_after: Duration::ZERO,
        ..Settings::default()
    };
    let client = Client::with(&servers, settings).unwrap();
    let since = Instant::now();
    let written = timeout(BOUND, client.patch("node", "n1", &json!({ "slots": 2 }), &how)).await;
    assert_eq!(written.unwrap().unwrap().changed, 1);
    assert!(since.elapsed() >= Duration::from_millis(200), "{:?}", since.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn patience_ends_and_says_what_every_server_said() {
    let (fixture, _) = fleet().await;
    let fault = QuorumError::Unavailable("no leader is known".to_owned());
    fixture.quorum.set_fault(Some(fault));
    let (_held, nobody) = nobody();
    let client = Client::with(&[nobody.clone(), fixture.url()], hasty()).unwrap();
    let error = client.get("node", "n1").await.unwrap_err();
    assert_eq!((error.code(), error.is_transient()), (Some("unavailable"), true));
    let text = error.to_string();
    assert!(text.contains("cannot be reached") && text.contains("no leader is known"), "{text}");
    let client = Client::new(&[nobody]).unwrap();
    let error = client.get("node", "n1").await.unwrap_err();
    assert!(error.is_unreachable(), "{error}");
    assert!(Client::new::<&str>(&[]).is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_comes_back_is_waited_for() {
    let (fixture, client) = fleet().await;
    fixture.quorum.set_fault(Some(QuorumError::Unavailable("an election is held".to_owned())));
    let write = tokio::spawn(async move {
        let how = WriteQuery::default();
        client.patch("node", "n1", &json!({ "slots": 1 }), &how).await
    });
    tokio::task::yield_now().await;
    fixture.quorum.set_fault(None);
    assert_eq!(timeout(BOUND, write).await.unwrap().unwrap().unwrap().changed, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_problem_is_final_and_typed() {
    let (fixture, client) = fleet().await;
    let error = client.get("node", "n 9/?").await.unwrap_err();
    assert_eq!(error.code(), Some("no_such_object"));
    assert_eq!(error.problem().map(|problem| problem.status), Some(404));
    let how = WriteQuery::default();
    let error = client.patch("node", "n1", &json!({ "slots": "x" }), &how).await.unwrap_err();
    let fault = error.problem().and_then(|problem| problem.faults.first()).unwrap();
    assert_eq!((fault.object.as_deref(), fault.key.as_deref()), (Some("node n1"), Some("/slots")));
    drop(fixture);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn request_ids_are_all_different() {
    let client = Client::new(&["localhost"]).unwrap();
    let ids: std::collections::BTreeSet<String> = (0..100).map(|_| client.request_id()).collect();
    assert_eq!(ids.len(), 100);
    assert!(ids.iter().all(|id| id.len() <= crate::call::REQUEST_BYTES_MAX));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_go_on_at_another_server_and_none_is_shown_twice() {
    use kraken_engine::event::{EventKind, Happening};
    let first = Fixture::start_named("m1", <_>::default()).await.unwrap();
    let second = Fixture::start_named("m2", <_>::default()).await.unwrap();
    let happening = |text: &str| Happening {
        kind: EventKind::Module,
        uid: None,
        revision: None,
        attempt: None,
        text: text.to_owned(),
    };
    first.state.record(happening("one")).await;
    // The other member has heard of it too.
    let known = first.state.newest_events(9).await.unwrap();
    second.state.keep(known.iter().map(|(_, event)| (**event).clone()).collect()).await;
    let (url, cut) = road(first.address).await;
    let client = Client::new(&[url, second.url()]).unwrap();
    let mut events = client.events(EventsQuery::default());
    assert_eq!(timeout(BOUND, events.next()).await.unwrap().unwrap().text, "one");
    cut.cancel();
    second.state.record(happening("two")).await;
    assert_eq!(timeout(BOUND, events.next()).await.unwrap().unwrap().text, "two");
}
