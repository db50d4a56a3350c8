//! A quorum in one process, over TCP on loopback: what is answered is kept, whatever stops and
//! starts meanwhile.

use std::{net::SocketAddr, path::Path, time::Duration};

use kraken_engine::{
    command::{Command, Op, Outcome, Proposal, Txn},
    id::{MemberId, Name},
    object::{Labels, ObjectRef},
    state::State,
    time::Millis,
};
use kraken_raft::{Bootstrap, Consistency, Handle, Options};
use tempfile::TempDir;

const LOOPBACK: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn options(data: &Path, member: &str) -> Options {
    let mut options = Options::new(data, LOOPBACK, name(member));
    options.limits.segment_bytes = 256 << 10;
    options
}

fn put(object: &str) -> Proposal {
    let object = ObjectRef { kind: name("node"), namespace: None, name: name(object) };
    let op = Op::Put { object, labels: Some(Labels::new()), owner: None, cfg: State::default() };
    let txn = Txn { ops: vec![op], ..Txn::default() };
    let command = Command::Txn(txn);
    Proposal { request: None, author: "test".to_owned(), at: Millis::new(1), command }
}

struct Quorum {
    _folder: TempDir,
    members: Vec<Handle>,
}

impl Quorum {
    async fn start(count: usize) -> Self {
        let folder = TempDir::new().unwrap();
        let mut members: Vec<Handle> = Vec::new();
        for number in 0..count {
            let name = format!("m{number}");
            let mut options = options(&folder.path().join(&name), &name);
            options.bootstrap = match members.first() {
                None => Bootstrap::Init,
                Some(first) => Bootstrap::Join(vec![first.local_addr().to_string()]),
            };
            members.push(Handle::start(options).await.unwrap());
        }
        Self { _folder: folder, members }
    }
}

#[tokio::test]
async fn three_members_write_and_read_anywhere() {
    let quorum = Quorum::start(3).await;
    for (number, member) in quorum.members.iter().enumerate() {
        let outcome = member.propose(put(&format!("n{number}"))).await.unwrap();
        println!("{outcome:?}");
        for other in &quorum.members {
            let count = other.read_with(Consistency::Linearizable, |store| store.objects().count());
            assert_eq!(count.await.unwrap(), number + 1);
        }
    }
    println!("{:#?}", quorum.members[0].status());
}
