//! Who may connect, and what a connection may carry.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::Duration,
};

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use kraken_engine::{
    command::{Command, Proposal},
    id::Name,
    time::Millis,
};
use tempfile::TempDir;
use tokio::{net::TcpStream, time::timeout};
use tokio_util::codec::Framed;

use super::{
    link::{Link, LinkError},
    wire::{Channel, Greeting, HELLO_BYTES_MAX, Hello, Reply, Request, VERSION},
    wire::{codec, decode, encode},
};
use crate::{
    Bootstrap, Handle, Options,
    types::{Data, Peer, Vote},
};

const LIMIT: Duration = Duration::from_secs(10);

async fn founder() -> (TempDir, Handle) {
    let folder = TempDir::new().unwrap();
    let listen = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
    let mut options = Options::new(folder.path(), listen, Name::new("m0").unwrap());
    options.limits.segment_bytes = 64 << 10;
    options.bootstrap = Bootstrap::Init;
    (folder, Handle::start(options).await.unwrap())
}

fn hello(handle: &Handle, from: u64, channel: Channel) -> Hello {
    let status = handle.status();
    let to = status.member.unwrap().get();
    Hello { version: VERSION, cluster: status.cluster.get(), from, to, channel }
}

async fn call(handle: &Handle, hello: Hello, request: &Request) -> Result<Reply, LinkError> {
    let link = Link::new(handle.local_addr().to_string(), hello);
    link.call(encode(request).unwrap(), LIMIT).await.map(|reply| decode(&reply).unwrap())
}

fn data() -> Data {
    let (author, at, command) = ("test".to_owned(), Millis::ZERO, Command::Mark);
    Data::encode(Proposal { request: None, author, at, command }).unwrap()
}

#[tokio::test]
async fn who_does_not_belong_is_refused() {
    let (_folder, handle) = founder().await;
    let good = hello(&handle, 9, Channel::Forward);
    let table = [
        ("another cluster", Hello { cluster: good.cluster ^ 1, ..good.clone() }),
        ("no cluster", Hello { cluster: 0, ..good.clone() }),
        ("meant for another", Hello { to: 8, ..good.clone() }),
        ("the same id", Hello { from: good.to, ..good.clone() }),
        ("no id", Hello { from: 0, ..good.clone() }),
        ("another protocol", Hello { version: VERSION + 1, ..good.clone() }),
        (
            "another cluster, to join",
            Hello { cluster: 1, channel: Channel::Membership, ..good.clone() },
        ),
    ];
    for (what, hello) in table {
        let refused = call(&handle, hello, &Request::Propose(data())).await;
        assert!(matches!(refused, Err(LinkError::Refused { .. })), "{what}: {refused:?}");
    }
    let reply = call(&handle, good, &Request::Propose(data())).await.unwrap();
    assert!(matches!(reply, Reply::Outcome(_)), "{reply:?}");
}

#[tokio::test]
async fn a_connection_carries_only_what_it_is_for() {
    let (_folder, handle) = founder().await;
    let stranger = Hello { cluster: 0, to: 0, ..hello(&handle, 0, Channel::Membership) };
    let peer = Peer { name: "m1".to_owned(), address: "nowhere:1".to_owned(), ..Peer::default() };
    let vote = || Request::SnapshotBegin {
        vote: Vote::new_committed(9, 9),
        meta: openraft::SnapshotMeta::default(),
        bytes: 1,
    };
    let table = [
        ("a stranger proposes", stranger.clone(), Request::Propose(data())),
        ("a stranger removes", stranger.clone(), Request::Remove(1)),
        (
            "a stranger lets in",
            stranger.clone(),
            Request::Admit { member: 5, peer: peer.clone(), learner: false },
        ),
        (
            "one that was removed says where it is",
            hello(&handle, 9, Channel::Membership),
            Request::Describe { member: 9, peer: peer.clone() },
        ),
        ("a vote among proposals", hello(&handle, 9, Channel::Forward), vote()),
        ("a part without its begin", hello(&handle, 9, Channel::Vote), Request::SnapshotEnd),
    ];
    for (what, hello, request) in table {
        let reply = call(&handle, hello, &request).await.unwrap();
        assert!(matches!(reply, Reply::Refused(_)), "{what}: {reply:?}");
    }
    let reply = call(&handle, stranger, &Request::Join(peer.clone())).await.unwrap();
    assert!(matches!(reply, Reply::Joined { .. }), "{reply:?}");
    // An id that was never given out is not let in.
    let later = Request::Admit { member: 1 << 40, peer, learner: false };
    let reply = call(&handle, hello(&handle, 1 << 40, Channel::Membership), &later).await.unwrap();
    assert!(matches!(reply, Reply::Refused(_)), "{reply:?}");
}

#[tokio::test]
async fn a_snapshot_that_does_not_decode_stops_nobody() {
    let (_folder, handle) = founder().await;
    let link = Link::new(handle.local_addr().to_string(), hello(&handle, 9, Channel::Snapshot));
    let begin = Request::SnapshotBegin {
        vote: Vote::new_committed(99, 9),
        meta: openraft::SnapshotMeta::default(),
        bytes: 4,
    };
    let part = |bytes: &[u8]| Request::SnapshotPart(serde_bytes::ByteBuf::from(bytes));
    for (requests, taken) in [
        (vec![begin, part(b"junk"), Request::SnapshotEnd], 2),
        (vec![part(b"junk")], 0),
        (vec![Request::SnapshotEnd], 0),
    ] {
        for (at, request) in requests.into_iter().enumerate() {
            let reply = link.call(encode(&request).unwrap(), LIMIT).await.unwrap();
            let reply: Reply = decode(&reply).unwrap();
            assert_eq!(matches!(reply, Reply::Received), at < taken, "{reply:?}");
        }
    }
    let status = handle.status();
    assert_eq!(status.leader, status.member, "it leads as before");
}

#[tokio::test]
async fn what_is_no_frame_ends_the_connection() {
    let (_folder, handle) = founder().await;
    let connect = || async {
        let stream = TcpStream::connect(handle.local_addr()).await.unwrap();
        Framed::new(stream, codec(1 << 30))
    };
    for first in [vec![0xC1; 10], vec![0; HELLO_BYTES_MAX + 1]] {
        let mut connection = connect().await;
        connection.send(Bytes::from(first)).await.unwrap();
        let ended = timeout(LIMIT, connection.next()).await.unwrap();
        assert!(ended.is_none_or(|frame| frame.is_err()));
    }
    let mut connection = connect().await;
    let hello = encode(&hello(&handle, 9, Channel::Forward)).unwrap();
    connection.send(hello).await.unwrap();
    let greeting = connection.next().await.unwrap().unwrap();
    assert_eq!(decode::<Greeting>(&greeting).unwrap(), Greeting::Welcome);
    connection.send(Bytes::from_static(b"\0\0\0\0\0\0\0\x01nonsense")).await.unwrap();
    let ended = timeout(LIMIT, connection.next()).await.unwrap();
    assert!(ended.is_none_or(|frame| frame.is_err()));
}

#[tokio::test]
async fn a_link_backs_off_from_where_nobody_is() {
    let (_folder, handle) = founder().await;
    let (address, hello) = (handle.local_addr(), hello(&handle, 9, Channel::Forward));
    handle.shutdown().await;
    let link = Link::new(address.to_string(), hello);
    let body = encode(&Request::ReadIndex { lease: false }).unwrap();
    let first = link.call(body.clone(), LIMIT).await.unwrap_err();
    assert!(matches!(first, LinkError::Connect { .. }) && first.is_unsent(), "{first}");
    let second = link.call(body, LIMIT).await.unwrap_err();
    assert!(matches!(second, LinkError::Backoff { .. }) && second.is_unsent(), "{second}");
}
