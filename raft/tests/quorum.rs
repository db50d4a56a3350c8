//! A quorum in one process, over TCP on loopback: what is answered is kept, whatever stops and
//! starts meanwhile, and what would do harm is refused.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "quorum/changes.rs"]
mod changes;
#[path = "quorum/epochs.rs"]
mod epochs;
#[path = "quorum/learners.rs"]
mod learners;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use kraken_engine::{
    command::{Command, Op, Outcome, PROPOSAL_BYTES_MAX, Proposal, RequestId, Txn},
    id::{MemberId, Name, Revision},
    manifest::{Extension, Manifest, PathSpec, Type},
    object::{Labels, ObjectRef},
    state::State,
    store::{Change, LEVEL, Store},
    time::Millis,
    value::Value,
};
use kraken_raft::{
    Bootstrap, Consistency, FatalError, FolderError, Handle, MembershipError, Options,
    PROPOSALS_MAX, ProposeError, Role, StartError, Which,
};
use tempfile::TempDir;
use tokio::time::{interval, timeout};

const LOOPBACK: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
/// Longest wait for anything in here.
const PATIENCE: Duration = Duration::from_mins(1);

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn propose(command: Command) -> Proposal {
    Proposal { request: None, author: "test".to_owned(), at: Millis::new(1), command }
}

fn declare() -> Proposal {
    let extension = Extension::new("test").path(PathSpec::input("/value", Type::Text));
    propose(Command::Declare { manifests: vec![Manifest::new("test").extension(extension)] })
}

fn node(object: &str) -> ObjectRef {
    ObjectRef { kind: name("node"), namespace: None, name: name(object) }
}

fn put(object: &str, value: &str) -> Proposal {
    let mut cfg = State::new();
    cfg.set("/value".parse().unwrap(), Value::from(value)).unwrap();
    let op = Op::Put { object: node(object), labels: Some(Labels::new()), owner: None, cfg };
    propose(Command::Txn(Txn { ops: vec![op], ..Txn::default() }))
}

fn value(store: &Store, object: &str) -> Option<String> {
    let found = store.find(&node(object))?;
    found.cfg.get("/value").map(ToString::to_string)
}

/// Waits until the condition holds, with a bound.
async fn wait_until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let mut ticks = interval(Duration::from_millis(10));
    let waited = timeout(PATIENCE, async {
        while !holds().await {
            ticks.tick().await;
        }
    });
    assert!(waited.await.is_ok(), "in vain: {what}");
}

/// Members in one process, each with a folder and, from its first start on, an address.
struct Quorum {
    folder: TempDir,
    members: BTreeMap<usize, Handle>,
    addresses: BTreeMap<usize, SocketAddr>,
    small: bool,
}

impl Quorum {
    fn empty(small: bool) -> Self {
        let folder = TempDir::new().unwrap();
        Self { folder, members: BTreeMap::new(), addresses: BTreeMap::new(), small }
    }

    async fn start(count: usize) -> Self {
        Self::of(count, false).await
    }

    /// With `small`, snapshots are taken all the time and little log stays.
    async fn of(count: usize, small: bool) -> Self {
        let mut quorum = Self::empty(small);
        for number in 0..count {
            quorum.add(number).await.unwrap();
        }
        let declared = quorum.members[&0].propose(declare()).await.unwrap();
        assert!(matches!(declared, Outcome::Applied { .. }), "{declared:?}");
        quorum
    }

    fn data(&self, number: usize) -> PathBuf {
        self.folder.path().join(format!("m{number}"))
    }

    fn options(&self, number: usize) -> Options {
        let listen = self.addresses.get(&number).copied().unwrap_or(LOOPBACK);
        let mut options = Options::new(self.data(number), listen, name(&format!("m{number}")));
        options.limits.segment_bytes = if self.small { 16 << 10 } else { 1 << 20 };
        if self.small {
            options.limits.snapshot_entries = 50;
            options.limits.keep_entries = 10;
        }
        options
    }

    async fn add(&mut self, number: usize) -> Result<(), StartError> {
        let mut options = self.options(number);
        options.bootstrap = match self.addresses.values().next() {
            None => Bootstrap::Init,
            Some(_) => Bootstrap::Join(self.addresses.values().map(ToString::to_string).collect()),
        };
        let handle = Handle::start(options).await?;
        self.addresses.insert(number, handle.local_addr());
        self.members.insert(number, handle);
        Ok(())
    }

    async fn stop(&mut self, number: usize) {
        self.members.remove(&number).unwrap().shutdown().await;
    }

    async fn restart(&mut self, number: usize) {
        let handle = Handle::start(self.options(number)).await.unwrap();
        self.members.insert(number, handle);
    }

    fn any(&self) -> &Handle {
        self.members.values().next().unwrap()
    }

    fn id(&self, number: usize) -> MemberId {
        self.members[&number].status().member.unwrap()
    }

    async fn leader(&self) -> usize {
        let leads = || {
            self.members.iter().find(|(_, member)| {
                let leadership = *member.watch_leadership().borrow();
                leadership.is_me && leadership.ready
            })
        };
        wait_until("somebody leads", async || leads().is_some()).await;
        *leads().unwrap().0
    }

    async fn follower(&self) -> usize {
        let leader = self.leader().await;
        *self.members.keys().find(|number| **number != leader).unwrap()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_members_write_and_read_anywhere() {
    let quorum = Quorum::start(3).await;
    for (number, member) in &quorum.members {
        let object = format!("n{number}");
        let outcome = member.propose(put(&object, "x")).await.unwrap();
        assert!(matches!(outcome, Outcome::Applied { .. }), "{outcome:?}");
        for other in quorum.members.values() {
            for consistency in [Consistency::Linearizable, Consistency::Leader] {
                let found = other.read_with(consistency, |store| value(store, &object)).await;
                assert_eq!(found.unwrap().as_deref(), Some("x"));
            }
            let whole = other.read(Consistency::Linearizable).await.unwrap();
            assert_eq!(whole.objects().count(), number + 1);
        }
    }
    let ids: BTreeSet<MemberId> = quorum.members.keys().map(|number| quorum.id(*number)).collect();
    assert_eq!(ids.len(), 3);
    for member in quorum.members.values() {
        let status = member.status();
        assert_eq!(status.members.iter().filter(|member| member.voter).count(), 3);
        assert_eq!(status.cluster, quorum.any().status().cluster);
        let stored = member.read_with(Consistency::Stale, Store::cluster).await.unwrap();
        assert_eq!(stored, status.cluster);
    }
}

#[tokio::test]
async fn nothing_is_served_before_there_is_a_cluster() {
    let quorum = Quorum::empty(false);
    let mut options = quorum.options(0);
    options.timers.request = Duration::from_millis(50);
    options.timers.membership = Duration::from_millis(200);
    let alone = Handle::start(options.clone()).await.unwrap();
    assert_eq!(alone.status().role, Role::Uninitialised);
    assert!(alone.propose(declare()).await.unwrap_err().is_transient());
    assert!(alone.read(Consistency::Linearizable).await.unwrap_err().is_transient());
    let nobody = alone.join(vec![alone.local_addr().to_string()], false).await.unwrap_err();
    assert!(nobody.is_transient(), "{nobody}");
    let taken = Handle::start(options).await.err().unwrap();
    assert!(matches!(taken, StartError::Folder(FolderError::InUse { .. })), "{taken}");
    let founder = alone.init().await.unwrap();
    let again = alone.init().await.unwrap_err();
    assert!(matches!(again, MembershipError::Member { member } if member == founder), "{again}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_repeated_request_is_applied_once() {
    let quorum = Quorum::start(3).await;
    let mut once = put("n1", "first");
    once.request = Some(RequestId("the one".into()));
    let first = quorum.members[&0].propose(once.clone()).await.unwrap();
    quorum.members[&1].propose(put("n1", "second")).await.unwrap();
    for member in quorum.members.values() {
        assert_eq!(member.propose(once.clone()).await.unwrap(), first);
        let found = member.read_with(Consistency::Linearizable, |store| value(store, "n1")).await;
        assert_eq!(found.unwrap().as_deref(), Some("second"));
    }
}

#[tokio::test]
async fn a_proposal_that_is_too_large_is_refused() {
    let quorum = Quorum::start(1).await;
    let member = quorum.any();
    let noted = |bytes: usize| {
        propose(Command::Txn(Txn { note: Some("x".repeat(bytes)), ..Txn::default() }))
    };
    let refused = member.propose(noted(PROPOSAL_BYTES_MAX)).await.unwrap_err();
    assert!(matches!(refused, ProposeError::TooLarge { .. }), "{refused}");
    assert!(!refused.is_transient());
    member.propose(noted(PROPOSAL_BYTES_MAX - 512)).await.unwrap();
}

/// Writes from several places at once; what was answered is put down.
async fn write_until(
    stop: Arc<AtomicBool>,
    (writer, member): (usize, Handle),
    answered: Arc<AtomicUsize>,
) -> Vec<String> {
    let mut written = Vec::new();
    let mut count = 0;
    while !stop.load(Ordering::Relaxed) {
        let object = format!("w{writer}-{count}");
        count += 1;
        if let Ok(Outcome::Applied { .. }) = member.propose(put(&object, "x")).await {
            written.push(object);
            answered.fetch_add(1, Ordering::Relaxed);
        }
    }
    written
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answered_writes_survive_members_that_stop_and_start() {
    let mut quorum = Quorum::of(3, true).await;
    let (stop, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let mut written: Vec<String> = Vec::new();
    for round in 0..6 {
        // Writers sit at the members that stay; each round another one goes, the leader too.
        let gone = if round % 2 == 0 { quorum.leader().await } else { quorum.follower().await };
        stop.store(false, Ordering::Relaxed);
        let stay = quorum.members.iter().filter(|(number, _)| **number != gone);
        let writers: Vec<_> = stay
            .flat_map(|(number, member)| (0..8).map(move |at| (number * 8 + at, member.clone())))
            .map(|(at, member)| {
                let place = (round * 100 + at, member);
                tokio::spawn(write_until(Arc::clone(&stop), place, Arc::clone(&answered)))
            })
            .collect();
        let before = answered.load(Ordering::Relaxed);
        wait_until("writes are answered", async || answered.load(Ordering::Relaxed) > before + 100)
            .await;
        quorum.stop(gone).await;
        let without = answered.load(Ordering::Relaxed);
        wait_until("writes are answered without one member", async || {
            answered.load(Ordering::Relaxed) > without + 100
        })
        .await;
        quorum.restart(gone).await;
        stop.store(true, Ordering::Relaxed);
        for writer in writers {
            written.extend(writer.await.unwrap());
        }
    }
    assert!(written.len() > 1000, "only {} writes", written.len());
    for member in quorum.members.values() {
        let store = member.read(Consistency::Linearizable).await.unwrap();
        let lost = written.iter().filter(|object| value(&store, object).is_none());
        assert_eq!(lost.count(), 0);
    }
    let numbers: Vec<usize> = quorum.members.keys().copied().collect();
    for number in &numbers {
        quorum.stop(*number).await;
    }
    for number in numbers {
        quorum.restart(number).await;
    }
    let store = quorum.any().read(Consistency::Linearizable).await.unwrap();
    assert!(written.iter().all(|object| value(&store, object).is_some()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn linearizable_reads_are_never_stale() {
    let quorum = Quorum::start(3).await;
    quorum.any().propose(put("n", "0")).await.unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let known = Arc::new(AtomicUsize::new(0));
    let mut readers = Vec::new();
    for member in quorum.members.values().flat_map(|member| [member.clone(), member.clone()]) {
        let (stop, known) = (Arc::clone(&stop), Arc::clone(&known));
        readers.push(tokio::spawn(async move {
            let mut reads = 0;
            while !stop.load(Ordering::Relaxed) {
                let least = known.load(Ordering::SeqCst);
                let look = |store: &Store| value(store, "n").unwrap().parse::<usize>().unwrap();
                let Ok(found) = member.read_with(Consistency::Linearizable, look).await else {
                    continue;
                };
                assert!(found >= least, "read {found} after {least} was answered");
                reads += 1;
            }
            reads
        }));
    }
    for count in 1..300 {
        if count % 100 == 99 {
            let leader = quorum.leader().await;
            let next = quorum.id((leader + 1) % 3);
            quorum.members[&leader].transfer(next).await.unwrap();
        }
        let writer = &quorum.members[&(count % 3)];
        writer.propose(put("n", &count.to_string())).await.unwrap();
        known.store(count, Ordering::SeqCst);
    }
    stop.store(true, Ordering::Relaxed);
    for reader in readers {
        assert!(reader.await.unwrap() > 0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_away_longer_than_the_log_gets_a_snapshot() {
    let mut quorum = Quorum::of(3, true).await;
    let away = quorum.follower().await;
    quorum.stop(away).await;
    for count in 0..300 {
        quorum.any().propose(put(&format!("n{}", count % 40), "x")).await.unwrap();
    }
    let last = quorum.any().status().applied;
    wait_until("the log is purged", async || {
        quorum.members.values().all(|member| member.status().purged > Some(100))
    })
    .await;
    let mut options = quorum.options(away);
    options.bootstrap = Bootstrap::Wait;
    let back = Handle::start(options).await.unwrap();
    let mut entries = back.subscribe();
    let reset = async { while !entries.recv().await.unwrap().reset {} };
    timeout(PATIENCE, reset).await.expect("the snapshot is told of");
    wait_until("it has caught up", async || back.status().applied >= last).await;
    let store = back.read(Consistency::Stale).await.unwrap();
    assert_eq!(store.objects().count(), 40);
    quorum.members.insert(away, back);
    // It goes on from there, also after a restart.
    quorum.any().propose(put("after", "x")).await.unwrap();
    quorum.stop(away).await;
    quorum.restart(away).await;
    let found = quorum.members[&away].read_with(Consistency::Linearizable, |store| {
        (store.objects().count(), value(store, "after"))
    });
    assert_eq!(found.await.unwrap(), (41, Some("x".to_owned())));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_next_leader_takes_writes_within_two_seconds() {
    let mut quorum = Quorum::start(3).await;
    for _ in 0..3 {
        let leader = quorum.leader().await;
        let other = quorum.follower().await;
        let member = quorum.members[&other].clone();
        // Dropped, not ended in good order: nobody is handed the lead.
        quorum.members.remove(&leader);
        let stopped = Instant::now();
        member.propose(put("n", "x")).await.unwrap();
        assert!(stopped.elapsed() < Duration::from_secs(2), "it took {:?}", stopped.elapsed());
        let mut again = None;
        wait_until("the folder is free", async || {
            again = Handle::start(quorum.options(leader)).await.ok();
            again.is_some()
        })
        .await;
        quorum.members.insert(leader, again.unwrap());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_without_quorum_is_not_ready_and_answers_nothing() {
    let mut quorum = Quorum::start(3).await;
    let leader = quorum.leader().await;
    let others: Vec<usize> = (0..3).filter(|number| *number != leader).collect();
    for other in &others {
        quorum.stop(*other).await;
    }
    let alone = quorum.members[&leader].clone();
    let mut leadership = alone.watch_leadership();
    timeout(PATIENCE, leadership.wait_for(|now| !now.ready)).await.unwrap().unwrap();
    let (write, read) =
        tokio::join!(alone.propose(put("n", "x")), alone.read(Consistency::Linearizable));
    assert!(write.unwrap_err().is_transient());
    assert!(read.unwrap_err().is_transient());
    assert!(alone.read(Consistency::Stale).await.is_ok());
    quorum.restart(others[0]).await;
    alone.propose(put("n", "y")).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn subscribers_hear_everything_in_order_after_the_store_shows_it() {
    let quorum = Quorum::start(3).await;
    let follower = quorum.members[&quorum.follower().await].clone();
    follower.read(Consistency::Linearizable).await.unwrap();
    let mut entries = follower.subscribe();
    let writer = quorum.any().clone();
    let writes = tokio::spawn(async move {
        for count in 0..200 {
            writer.propose(put("n", &count.to_string())).await.unwrap();
        }
    });
    let mut last = Revision::default();
    for count in 0..200 {
        let entry = timeout(PATIENCE, entries.recv()).await.unwrap().unwrap();
        assert!(entry.revision > last && !entry.reset);
        last = entry.revision;
        let Some(Change::Put { object, .. }) = entry.changes.first() else { panic!("{entry:?}") };
        assert_eq!(object.cfg.get("/value").unwrap().to_string(), count.to_string());
        let shown = follower.read_with(Consistency::Stale, Store::revision).await.unwrap();
        assert!(shown >= entry.revision);
    }
    writes.await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_removal_that_loses_the_quorum_is_refused() {
    let mut quorum = Quorum::start(3).await;
    let dead = quorum.follower().await;
    let dead_id = quorum.id(dead);
    quorum.stop(dead).await;
    let healthy = quorum.follower().await;
    let member = quorum.any().clone();
    wait_until("the dead one is missed", async || {
        let refused = member.remove(Which::Name(name("nobody"))).await;
        assert!(matches!(refused, Err(MembershipError::Refused { .. })));
        let leader = quorum.leader().await;
        quorum.members[&leader].transfer(dead_id).await.is_err()
    })
    .await;
    let refused = member.remove(quorum.id(healthy)).await.unwrap_err();
    let MembershipError::Refused { why } = refused else { panic!("{refused}") };
    assert!(why.contains(&dead_id.to_string()), "{why}");
    // In the right order it is done: the dead one goes, another one comes with a new id.
    member.remove(Which::Name(name(&format!("m{dead}")))).await.unwrap();
    quorum.add(3).await.unwrap();
    assert!(quorum.id(3) > dead_id);
    member.propose(put("n", "x")).await.unwrap();
    let found = quorum.members[&3].read_with(Consistency::Linearizable, |store| value(store, "n"));
    assert_eq!(found.await.unwrap().as_deref(), Some("x"));
    assert_eq!(quorum.members[&3].status().members.len(), 3);
    // The leader may go as well.
    let leader = quorum.leader().await;
    quorum.members[&healthy].remove(quorum.id(leader)).await.unwrap();
    quorum.stop(leader).await;
    quorum.any().propose(put("n", "y")).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_member_of_the_same_name_is_refused() {
    let mut quorum = Quorum::start(1).await;
    let mut options = quorum.options(1);
    options.name = name("m0");
    options.bootstrap = Bootstrap::Join(vec![quorum.addresses[&0].to_string()]);
    let refused = Handle::start(options).await.err().unwrap();
    let StartError::Membership(refused) = refused else { panic!("{refused}") };
    assert!(matches!(*refused, MembershipError::Refused { .. }), "{refused}");
    quorum.add(2).await.unwrap();
    assert_eq!(quorum.any().status().members.len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_lead_is_handed_over() {
    let quorum = Quorum::start(3).await;
    let (leader, follower) = (quorum.leader().await, quorum.follower().await);
    let before = quorum.members[&leader].status().term;
    quorum.members[&follower].transfer(quorum.id(follower)).await.unwrap();
    assert!(!quorum.members[&leader].watch_leadership().borrow().ready, "two may decide");
    assert_eq!(quorum.leader().await, follower);
    assert!(quorum.members[&follower].status().term > before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_torn_tail_is_healed_and_a_damaged_log_refused() {
    let mut quorum = Quorum::start(3).await;
    for count in 0..50 {
        quorum.any().propose(put(&format!("n{count}"), "x")).await.unwrap();
    }
    let torn = quorum.follower().await;
    quorum.stop(torn).await;
    let path = quorum.data(torn).join("raft").join(format!("{:020}.log", 1));
    let whole = fs::read(&path).unwrap();
    let end = whole.iter().rposition(|byte| *byte != 0).unwrap();
    let mut tail = whole.clone();
    tail[end + 20..end + 60].fill(0xA5);
    fs::write(&path, &tail).unwrap();
    quorum.restart(torn).await;
    let count =
        quorum.members[&torn].read_with(Consistency::Linearizable, |store| store.objects().count());
    assert_eq!(count.await.unwrap(), 50);
    quorum.stop(torn).await;
    let mut damaged = fs::read(&path).unwrap();
    damaged[end / 2] ^= 1;
    fs::write(&path, &damaged).unwrap();
    let refused = Handle::start(quorum.options(torn)).await.err().unwrap().to_string();
    assert!(refused.contains(&path.display().to_string()), "{refused}");
    assert!(refused.contains("join again"), "{refused}");
    assert_eq!(fs::read(&path).unwrap(), damaged);
    // The others go on.
    quorum.any().propose(put("after", "x")).await.unwrap();
}

#[tokio::test]
async fn a_member_whose_log_or_state_is_gone_does_not_start() {
    let mut quorum = Quorum::of(1, true).await;
    for count in 0..200 {
        quorum.any().propose(put(&format!("n{}", count % 20), "x")).await.unwrap();
    }
    let member = quorum.any().clone();
    wait_until("the log is purged", async || member.status().purged > Some(100)).await;
    drop(member);
    quorum.stop(0).await;
    let state = quorum.data(0).join("state");
    let away = quorum.folder.path().join("away");
    fs::rename(&state, &away).unwrap();
    let refused = Handle::start(quorum.options(0)).await.err().unwrap();
    assert!(matches!(refused, StartError::State(_)), "{refused}");
    fs::remove_dir_all(&state).unwrap();
    fs::rename(&away, &state).unwrap();
    for item in fs::read_dir(quorum.data(0).join("raft")).unwrap() {
        let path = item.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "log") {
            fs::remove_file(path).unwrap();
        }
    }
    let refused = Handle::start(quorum.options(0)).await.err().unwrap();
    assert!(matches!(refused, StartError::Log(_)), "{refused}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_ends_hands_the_lead_over() {
    let mut quorum = Quorum::start(3).await;
    for _ in 0..3 {
        let leader = quorum.leader().await;
        let before = quorum.members[&leader].status().term;
        quorum.stop(leader).await;
        // Nobody could have missed it so soon.
        assert!(quorum.members.values().any(|member| member.status().term > before));
        quorum.any().propose(put("n", "x")).await.unwrap();
        quorum.restart(leader).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_says_where_its_clients_find_it_now() {
    let mut quorum = Quorum::start(3).await;
    let moved = quorum.follower().await;
    quorum.stop(moved).await;
    let mut options = quorum.options(moved);
    options.http = "http://new:1".to_owned();
    let id = {
        let handle = Handle::start(options).await.unwrap();
        let id = handle.status().member.unwrap();
        quorum.members.insert(moved, handle);
        id
    };
    wait_until("all know its new address", async || {
        quorum.members.values().all(|member| {
            let members = member.status().members;
            members.iter().any(|found| found.id == id && found.http == "http://new:1")
        })
    })
    .await;
    assert_eq!(quorum.any().status().members.iter().filter(|member| member.voter).count(), 3);
}

/// Else it would go on to run, and do nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_cannot_keep_its_snapshot_ends() {
    for _ in 0..10 {
        let quorum = Quorum::of(1, true).await;
        let member = quorum.any();
        let state = quorum.data(0).join("state");
        fs::rename(&state, quorum.data(0).join("away")).unwrap();
        fs::write(&state, b"no folder").unwrap();
        let writes = async {
            for number in 0.. {
                drop(member.propose(put("n1", &number.to_string())).await);
            }
        };
        let ends = async {
            tokio::select! {
                fatal = member.fatal() => fatal,
                () = writes => unreachable!("it writes for ever"),
            }
        };
        let fatal = timeout(PATIENCE, ends).await.expect("it says that it must end");
        assert!(matches!(fatal, FatalError::Consensus { .. }), "{fatal}");
    }
}

/// Whoever lists and goes on to watch from there must not be told that this is gone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_revision_is_that_of_the_state_and_not_of_the_log() {
    let quorum = Quorum::start(3).await;
    quorum.any().propose(put("n1", "1")).await.unwrap();
    let to = quorum.id(quorum.follower().await);
    quorum.any().transfer(to).await.unwrap();
    for member in quorum.members.values() {
        let revision = |store: &Store| store.revision();
        let held = member.read_with(Consistency::Linearizable, revision).await.unwrap();
        let status = member.status();
        assert_eq!(status.revision, held);
        assert!(status.applied > held.get(), "the new leader's first entry is no write");
    }
}

/// The leader, which has no majority any more, and what waits for it at a follower.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_house_at_the_leader_is_told_at_once_elsewhere() {
    let mut quorum = Quorum::start(5).await;
    let leader = quorum.leader().await;
    let others: Vec<usize> = quorum.members.keys().copied().filter(|n| *n != leader).collect();
    for number in &others[1..] {
        quorum.stop(*number).await;
    }
    let follower = quorum.members[&others[0]].clone();
    let mut waiting = tokio::task::JoinSet::new();
    for _ in 0..PROPOSALS_MAX - 1 {
        let follower = follower.clone();
        waiting.spawn(async move { follower.propose(put("n1", "1")).await });
    }
    let mut told = 0;
    while let Some(ended) = waiting.join_next().await {
        let error = ended.unwrap().unwrap_err();
        assert!(error.is_transient(), "{error}");
        told += usize::from(error == ProposeError::Overloaded);
    }
    assert!(told > 0, "the way to the leader holds less than what may wait here");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_house_is_told_at_once() {
    let mut quorum = Quorum::start(3).await;
    let left = quorum.leader().await;
    for number in (0..3).filter(|number| *number != left) {
        quorum.stop(number).await;
    }
    let member = quorum.any().clone();
    let mut waiting = tokio::task::JoinSet::new();
    for _ in 0..PROPOSALS_MAX {
        let member = member.clone();
        waiting.spawn(async move { member.propose(put("n1", "1")).await });
    }
    wait_until("there is no room", async || {
        let one_more = timeout(Duration::from_millis(500), member.propose(put("n1", "2"))).await;
        matches!(one_more, Ok(Err(ProposeError::Overloaded)))
    })
    .await;
    while let Some(ended) = waiting.join_next().await {
        let error = ended.unwrap().unwrap_err();
        assert!(error.is_transient(), "{error}");
    }
}
