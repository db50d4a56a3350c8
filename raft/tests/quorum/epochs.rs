//! Another epoch: from a backup, and from what one member was left with.

use bytes::Bytes;
use kraken_engine::id::Epoch;
use kraken_raft::{REVISIONS_BEYOND, recover, verify};
use tokio::sync::mpsc;

use super::*;

async fn backup(member: &Handle, consistency: Consistency) -> Vec<u8> {
    let mut pieces = member.backup(consistency).await.unwrap();
    let mut bytes = Vec::new();
    while let Some(piece) = pieces.recv().await {
        bytes.extend_from_slice(&piece);
    }
    bytes
}

fn pieces(bytes: &[u8]) -> mpsc::Receiver<Bytes> {
    let parts: Vec<Bytes> = bytes.chunks(1_000).map(Bytes::copy_from_slice).collect();
    let (sender, receiver) = mpsc::channel(2);
    tokio::spawn(async move {
        for part in parts {
            if sender.send(part).await.is_err() {
                return;
            }
        }
    });
    receiver
}

async fn held(member: &Handle, object: &str) -> Option<String> {
    member.read_with(Consistency::Linearizable, |store| value(store, object)).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_quorum_restored_from_a_backup_is_another_epoch_of_the_same_cluster() {
    let old = Quorum::start(3).await;
    old.any().propose(put("n1", "kept")).await.unwrap();
    let saved = backup(old.any(), Consistency::Linearizable).await;
    let verified = verify(&saved[..]).unwrap();
    old.any().propose(put("n1", "after")).await.unwrap();
    let before = old.any().status();

    let mut new = Quorum::empty(true);
    let fresh = Handle::start(new.options(0)).await.unwrap();
    new.addresses.insert(0, fresh.local_addr());
    fresh.restore(pieces(&saved)).await.unwrap();
    new.members.insert(0, fresh);
    let after = new.any().status();
    assert_eq!(after.cluster, before.cluster);
    assert_eq!((before.epoch, verified.header.epoch), (Epoch::FIRST, Epoch::FIRST));
    assert!(after.epoch > before.epoch);
    assert!(after.applied >= verified.header.revision.get() + REVISIONS_BEYOND);
    assert!(after.term > before.term);
    assert_eq!(held(new.any(), "n1").await.as_deref(), Some("kept"));

    // Others join it, it takes writes, and it is the same when all have stopped and started.
    new.add(1).await.unwrap();
    new.add(2).await.unwrap();
    for number in 0..100 {
        new.any().propose(put("n2", &number.to_string())).await.unwrap();
    }
    for number in 0..3 {
        new.stop(number).await;
        new.restart(number).await;
    }
    assert_eq!(held(new.any(), "n2").await.as_deref(), Some("99"));
    assert_eq!(new.any().status().epoch, after.epoch);
    // Members of the two epochs do not speak to each other.
    let mut astray = Options::new(old.data(7), LOOPBACK, name("m7"));
    astray.timers.membership = Duration::from_secs(2);
    let astray = Handle::start(astray).await.unwrap();
    astray.join(vec![new.addresses[&0].to_string()], false).await.unwrap();
    assert_eq!(astray.status().epoch, after.epoch);
    assert!(old.any().status().members.len() == 3, "the old one knows nothing of it");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_that_is_not_whole_begins_nothing_and_can_be_given_again() {
    let old = Quorum::start(1).await;
    let saved = backup(old.any(), Consistency::Stale).await;
    let mut new = Quorum::empty(false);
    let fresh = Handle::start(new.options(0)).await.unwrap();
    let mut wrong = saved.clone();
    *wrong.last_mut().unwrap() ^= 1;
    for bad in [&saved[..saved.len() / 2], &wrong, b"something else"] {
        let refused = fresh.restore(pieces(bad)).await;
        assert!(matches!(refused, Err(MembershipError::Backup(_))), "{refused:?}");
        assert_eq!(fresh.status().member, None);
    }
    fresh.restore(pieces(&saved)).await.unwrap();
    let again = fresh.restore(pieces(&saved)).await;
    assert!(matches!(again, Err(MembershipError::Member { .. })), "{again:?}");
    new.members.insert(0, fresh);
    new.any().propose(put("n1", "1")).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_last_member_goes_on_alone_with_every_write_that_it_holds() {
    let mut old = Quorum::of(3, true).await;
    for number in 0..200 {
        old.any().propose(put(&format!("n{number}"), "kept")).await.unwrap();
    }
    let survivor = old.leader().await;
    let before = old.members[&survivor].status();
    let running = recover(&old.data(survivor)).await;
    assert!(matches!(running, Err(StartError::Folder(FolderError::InUse { .. }))), "{running:?}");
    for number in 0..3 {
        old.stop(number).await;
    }
    let recovered = recover(&old.data(survivor)).await.unwrap();
    assert_eq!(recovered.cluster, before.cluster);
    assert!(recovered.held.get() >= before.applied && recovered.kept.join("raft/member").exists());
    assert_eq!(recovered.objects, 200);
    assert!(recovered.revision.get() >= before.applied + REVISIONS_BEYOND);

    old.restart(survivor).await;
    let alone = &old.members[&survivor];
    wait_until("it leads", async || alone.watch_leadership().borrow().ready).await;
    let status = alone.status();
    assert_eq!((status.epoch, status.members.len()), (recovered.epoch, 1));
    assert_eq!(held(alone, "n199").await.as_deref(), Some("kept"));
    alone.propose(put("n0", "new")).await.unwrap();
    // One of the old ones is of another group, and comes back as a new member only.
    let other = (0..3).find(|number| *number != survivor).unwrap();
    fs::remove_dir_all(old.data(other)).unwrap();
    let mut options = old.options(other);
    options.bootstrap = Bootstrap::Join(vec![old.addresses[&survivor].to_string()]);
    let joined = Handle::start(options).await.unwrap();
    assert_eq!(held(&joined, "n0").await.as_deref(), Some("new"));
    let nobody = recover(&old.data(9)).await;
    assert!(nobody.is_err(), "{nobody:?}");
}
