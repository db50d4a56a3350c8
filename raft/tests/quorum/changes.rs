//! Changes of the membership of which the one who asks, or the one who leads, is gone halfway.

use std::net::TcpListener as Reserved;

use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
};

use super::*;

/// Time that whoever joins, or asks for a change, has in here.
const BRIEF: Duration = Duration::from_secs(2);
/// Time in which a change that was begun is over, one way or the other.
const SETTLED: Duration = Duration::from_secs(10);

/// Passes on what comes to one address to another.
async fn pass_on(from: SocketAddr, to: SocketAddr) {
    let listener = TcpListener::bind(from).await.unwrap();
    loop {
        let (mut coming, _) = listener.accept().await.unwrap();
        tokio::spawn(async move {
            if let Ok(mut going) = TcpStream::connect(to).await {
                copy_bidirectional(&mut coming, &mut going).await.ok();
            }
        });
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_join_that_was_not_admitted_in_time_is_repeated() {
    let quorum = Quorum::start(1).await;
    let via = vec![quorum.addresses[&0].to_string()];
    // Nobody finds it at first where it says that it is.
    let reserved = Reserved::bind(LOOPBACK).unwrap();
    let told = reserved.local_addr().unwrap();
    drop(reserved);
    let mut options = quorum.options(1);
    options.advertise = Some(told.to_string());
    options.timers.membership = BRIEF;
    let joining = Handle::start(options).await.unwrap();
    let late = joining.join(via.clone(), false).await.unwrap_err();
    assert!(late.is_transient(), "{late}");
    let id = joining.status().member.expect("it was given an id");
    assert!(!joining.is_member());
    assert_eq!(quorum.any().status().members.iter().filter(|member| member.voter).count(), 1);

    let passing = tokio::spawn(pass_on(told, joining.local_addr()));
    let mut admitted = None;
    wait_until("it is admitted", async || {
        admitted = joining.join(via.clone(), false).await.ok();
        admitted.is_some()
    })
    .await;
    assert_eq!(admitted, Some(id), "it keeps its id");
    assert!(joining.is_member());
    let again = joining.join(via, false).await.unwrap_err();
    assert!(matches!(again, MembershipError::Member { member } if member == id), "{again}");
    joining.propose(put("n", "x")).await.unwrap();
    assert_eq!(quorum.any().status().members.iter().filter(|member| member.voter).count(), 2);
    joining.shutdown().await;
    passing.abort();
}

/// Who asks is needed for the first step of the change, and dies before the second.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_whose_asker_died_is_finished() {
    let mut quorum = Quorum::start(3).await;
    for delay_ms in [0, 1, 2, 3, 5, 8] {
        let leader = quorum.leader().await;
        let others: Vec<usize> = quorum.members.keys().copied().filter(|n| *n != leader).collect();
        let (asker, gone) = (others[0], others[1]);
        let (handle, id) = (quorum.members[&asker].clone(), quorum.id(gone));
        let mut asked = tokio::spawn(async move { handle.remove(id).await });
        let answered = timeout(Duration::from_millis(delay_ms), &mut asked).await.is_ok();
        quorum.stop(asker).await;
        if !answered {
            drop(asked.await);
        }
        quorum.restart(asker).await;
        // Whatever came of it: it is not half-done for ever, and may be asked for again.
        let removed = timeout(SETTLED, quorum.members[&leader].remove(id)).await;
        removed.expect("the first change is finished").unwrap();
        assert_eq!(quorum.members[&leader].status().members.len(), 2);
        quorum.stop(gone).await;
        fs::remove_dir_all(quorum.data(gone)).unwrap();
        quorum.addresses.remove(&gone);
        quorum.add(gone).await.unwrap();
    }
    quorum.any().propose(put("n", "x")).await.unwrap();
}

/// As in a rolling upgrade: the members are replaced by a newer release one after the other.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_feature_level_is_raised_when_every_member_knows_it_and_not_before() {
    let mut quorum = Quorum::start(3).await;
    let level = |quorum: &Quorum, number: usize| quorum.members[&number].status().level;
    let known = |quorum: &Quorum| -> Vec<u32> {
        quorum.any().status().members.iter().map(|member| member.level).collect()
    };
    assert_eq!((level(&quorum, 0), known(&quorum)), (LEVEL, vec![LEVEL; 3]));
    for number in 0..3 {
        quorum.stop(number).await;
        let mut options = quorum.options(number);
        options.level = LEVEL + 1;
        quorum.members.insert(number, Handle::start(options).await.unwrap());
        wait_until("it has told the others what it knows", async || {
            known(&quorum).iter().filter(|known| **known > LEVEL).count() == number + 1
        })
        .await;
        quorum.any().propose(put("n", "x")).await.unwrap();
        assert!(number == 2 || level(&quorum, number) == LEVEL, "an older one is left");
    }
    wait_until("all are at the higher level", async || {
        (0..3).all(|number| level(&quorum, number) == LEVEL + 1)
    })
    .await;

    let wanted = format!("feature level {} is in use", LEVEL + 1);
    // An older release neither joins nor goes on from there.
    let refused = quorum.add(3).await.unwrap_err();
    let StartError::Membership(refused) = refused else { panic!("{refused}") };
    assert!(refused.to_string().contains(&wanted), "{refused}");
    quorum.stop(1).await;
    let older = match Handle::start(quorum.options(1)).await {
        Ok(older) => timeout(PATIENCE, older.fatal()).await.unwrap().to_string(),
        Err(error) => error.to_string(),
    };
    assert!(older.contains(&wanted), "{older}");
}
