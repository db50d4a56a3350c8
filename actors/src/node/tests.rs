//! A member and a leaf in one process, over real sockets, with a lamp as the only module.

mod crowded;
mod fake_parent;
mod hosted;
mod ordered;
mod pump;
mod relayed;
mod singleton;

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use actix::{Actor, Context, Handler, ResponseFuture};
use kraken_engine::{
    command::{Command, Op, Outcome, Proposal, Target, Txn},
    id::{Revision, Uid},
    manifest::{Extension, MutationSpec, PathSpec, Type},
    object::ObjectRef,
    path::Path,
    state::State,
    status::{PhaseName, Status},
    value::Value,
};
use tokio::{io::AsyncReadExt, io::AsyncWriteExt, net::TcpStream, time::timeout};

use super::*;
use crate::{
    module::{ConfigureError, Kit, Module, Mutate, MutateError, Poll},
    quorum::memory::MemoryQuorum,
};

const BOUND: Duration = Duration::from_secs(20);

/// A lamp that can be switched on, and shows its brightness.
struct Lamp {
    kit: Kit,
    on: bool,
}

impl Actor for Lamp {
    type Context = Context<Self>;
}

impl Module for Lamp {
    type Config = ();

    fn manifest() -> Manifest {
        let lamp = Extension::new("lamp")
            .path(PathSpec::new("/lamp", Type::enum_of(["OFF", "ON"])).absent("OFF"))
            .path(PathSpec::input("/colour", Type::Text))
            .path(PathSpec::fact("/link", Type::enum_of(["UP", "DOWN"])));
        Manifest::new("lamp")
            .extension(lamp)
            .discovers("/lamp")
            .mutation(MutationSpec::new("SwitchOn").changes("/lamp", "OFF", "ON"))
            .mutation(MutationSpec::new("SwitchOff").changes("/lamp", "ON", "OFF"))
    }

    fn build((): (), kit: Kit) -> Result<Self, ConfigureError> {
        Ok(Self { kit, on: false })
    }
}

impl Lamp {
    fn show(&self, uid: Uid) -> ResponseFuture<()> {
        let (look, on) = (self.kit.reporter.look(), self.on);
        Box::pin(async move {
            let value: Value = if on { "ON" } else { "OFF" }.into();
            look.saw(uid, [(Path::new("/lamp").unwrap(), Some(value))]).await;
        })
    }
}

impl Handler<Mutate> for Lamp {
    type Result = ResponseFuture<Result<(), MutateError>>;

    fn handle(&mut self, mutate: Mutate, _: &mut Self::Context) -> Self::Result {
        self.on = mutate.mutation.as_str() == "SwitchOn";
        let shown = self.show(mutate.object.uid);
        Box::pin(async move {
            shown.await;
            Ok(())
        })
    }
}

impl Handler<Poll> for Lamp {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, poll: Poll, _: &mut Self::Context) -> Self::Result {
        let shown: Vec<_> = poll.objects.iter().map(|object| self.show(object.uid)).collect();
        Box::pin(async move {
            futures_util::future::join_all(shown).await;
        })
    }
}

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn key(node: &str) -> ObjectRef {
    ObjectRef { kind: name("node"), namespace: None, name: name(node) }
}

/// A member `m1` and its quorum, and where its children connect.
struct Fixture {
    quorum: Arc<MemoryQuorum>,
    member: Node,
    folder: tempfile::TempDir,
}

impl Fixture {
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let quorum = MemoryQuorum::new(name("m1"));
        let sync = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let role = Role::Member { quorum: quorum.clone(), sync };
        let member = node("m1", role, folder.path()).await;
        Self { quorum, member, folder }
    }

    async fn leaf(&self, parent: String) -> Node {
        node("n1", Role::Leaf { parents: vec![Parent::at(parent)] }, self.folder.path()).await
    }

    fn parent(&self) -> String {
        self.member.sync_addr().unwrap().to_string()
    }

    async fn merge(&self, path: &str, value: &str) -> Revision {
        self.merge_of("n1", path, value).await
    }

    async fn merge_of(&self, node: &str, path: &str, value: &str) -> Revision {
        let mut set = State::new();
        set.set(Path::new(path).unwrap(), value.into()).unwrap();
        self.commit(Op::Merge { target: Target::One(key(node)), set, unset: Vec::new() }).await
    }

    async fn commit(&self, op: Op) -> Revision {
        self.propose(Command::Txn(Txn { ops: vec![op], ..Txn::default() })).await
    }

    async fn propose(&self, command: Command) -> Revision {
        let author = "test".to_owned();
        let at = Clock::new().wall();
        let proposal = Proposal { request: None, author, at, command };
        match self.quorum.propose(proposal).await.unwrap() {
            Outcome::Applied { revision, .. } => revision,
            Outcome::Refused(refusal) => panic!("{refusal}"),
        }
    }

    /// Waits until what the member knows of a node meets a condition.
    async fn until(&self, node: &str, what: &str, holds: impl Fn(&Seen) -> bool) -> Seen {
        until(self.member.state(), node, what, holds).await
    }
}

async fn node(of: &str, role: Role, folder: &std::path::Path) -> Node {
    let data = folder.join(of);
    std::fs::create_dir_all(&data).unwrap();
    let options = NodeOptions {
        name: name(of),
        role,
        data,
        labels: Labels::new(),
        factories: vec![
            Lamp::factory(),
            pump::Pump::factory(),
            hosted::Bulbs::factory(),
            singleton::Posts::factory(),
        ],
        module_configs: BTreeMap::new(),
        base: Vec::new(),
        clock: Clock::new(),
        spans: Spans::default(),
    };
    Node::start(options).await.unwrap()
}

/// What a node knows of another.
#[derive(Debug)]
struct Seen {
    lamp: Option<String>,
    link: Option<String>,
    /// The revision at which the node is said to have converged.
    converged: Option<Revision>,
}

async fn seen(state: &StateHandle, of: &str) -> Option<Seen> {
    let of = name(of);
    let read = move |fleet: &kraken_engine::fleet::Fleet| {
        let object = fleet.node(&of)?;
        let dsc = fleet.dsc(object.uid);
        let text = |path: &str| Some(dsc.value(path)?.as_str()?.to_owned());
        let status = Status::of(&dsc);
        Some(Seen {
            lamp: text("/lamp"),
            link: text("/link"),
            converged: status
                .filter(|status| status.phase == PhaseName::Converged)
                .map(|status| status.revision),
        })
    };
    state.read(read).await.unwrap()
}

async fn until(state: &StateHandle, of: &str, what: &str, holds: impl Fn(&Seen) -> bool) -> Seen {
    let changed = state.watch_objects().await;
    let looking = async {
        loop {
            changed.take();
            if let Some(seen) = seen(state, of).await
                && holds(&seen)
            {
                return seen;
            }
            changed.marked().await;
        }
    };
    match timeout(BOUND, looking).await {
        Ok(seen) => seen,
        Err(elapsed) => {
            panic!("{elapsed}: not within {BOUND:?}: {what}; seen: {:?}", seen(state, of).await)
        }
    }
}

#[actix_rt::test]
async fn a_member_knows_up_to_which_write_it_knows_its_objects() {
    let fixture = Fixture::start().await;
    let leaf = fixture.leaf(fixture.parent()).await;
    fixture.until("n1", "it is registered", |_| true).await;
    let state = fixture.member.state();
    let changed = state.watch_objects().await;
    let written = fixture.merge("/lamp", "ON").await;
    let known = async {
        loop {
            changed.take();
            let read = |fleet: &kraken_engine::fleet::Fleet| {
                (fleet.revision(), fleet.node(&name("n1")).map(|object| object.revision))
            };
            let (known, object) = state.read(read).await.unwrap();
            if known >= written {
                return object;
            }
            changed.marked().await;
        }
    };
    assert_eq!(timeout(BOUND, known).await.unwrap(), Some(written));
    leaf.stop().await;
    fixture.member.stop().await;
}

#[actix_rt::test]
async fn what_is_asked_of_a_leaf_is_carried_out_there_and_seen_at_the_member() {
    let fixture = Fixture::start().await;
    let leaf = fixture.leaf(fixture.parent()).await;
    fixture.until("n1", "the leaf attaches", |n1| n1.link.as_deref() == Some("UP")).await;
    let revision = fixture.merge("/lamp", "ON").await;
    let done = |n1: &Seen| n1.converged >= Some(revision) && n1.lamp.as_deref() == Some("ON");
    fixture.until("n1", "the lamp is on", done).await;
    until(leaf.state(), "n1", "the leaf knows it too", done).await;
    leaf.stop().await;
    fixture.until("n1", "the leaf is lost", |n1| n1.link.as_deref() == Some("DOWN")).await;
    fixture.member.stop().await;
}

/// Passes bytes on in both directions and counts them.
async fn counting_proxy(to: String) -> (String, Arc<AtomicU64>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let count = Arc::new(AtomicU64::new(0));
    let counted = count.clone();
    actix_rt::spawn(async move {
        while let Ok((down, _)) = listener.accept().await {
            let up = TcpStream::connect(&to).await.unwrap();
            let (down_read, down_write) = down.into_split();
            let (up_read, up_write) = up.into_split();
            actix_rt::spawn(pass(down_read, up_write, counted.clone()));
            actix_rt::spawn(pass(up_read, down_write, counted.clone()));
        }
    });
    (address, count)
}

async fn pass(
    mut from: tokio::net::tcp::OwnedReadHalf,
    mut to: tokio::net::tcp::OwnedWriteHalf,
    count: Arc<AtomicU64>,
) {
    let mut buffer = vec![0; 65_536];
    while let Ok(read @ 1..) = from.read(&mut buffer).await {
        count.fetch_add(read as u64, Ordering::SeqCst);
        if to.write_all(&buffer[..read]).await.is_err() {
            return;
        }
    }
}

#[actix_rt::test]
async fn one_changed_path_costs_under_1_kib_on_the_wire() {
    let fixture = Fixture::start().await;
    let (parent, count) = counting_proxy(fixture.parent()).await;
    let leaf = fixture.leaf(parent).await;
    fixture.until("n1", "the leaf attaches", |n1| n1.link.as_deref() == Some("UP")).await;
    let revision = fixture.merge("/lamp", "ON").await;
    fixture.until("n1", "the lamp is on", |n1| n1.converged >= Some(revision)).await;

    // Down and up again: the change itself, its acknowledgements, and the status that answers it.
    let before = count.load(Ordering::SeqCst);
    let revision = fixture.merge("/colour", "red").await;
    fixture.until("n1", "the leaf has answered", |n1| n1.converged >= Some(revision)).await;
    let cost = count.load(Ordering::SeqCst) - before;
    assert!(cost > 0, "the proxy counts");

    assert!(cost < 1_024, "a changed Cfg path cost {cost} bytes");
    leaf.stop().await;
    fixture.member.stop().await;
}
