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
    let late = joining.join(via.clone()).await.unwrap_err();
    assert!(late.is_transient(), "{late}");
    let id = joining.status().member.expect("it was given an id");
    assert!(!joining.is_member());
    assert_eq!(quorum.any().status().members.iter().filter(|member| member.voter).count(), 1);

    let passing = tokio::spawn(pass_on(told, joining.local_addr()));
    let mut admitted = None;
    wait_until("it is admitted", async || {
        admitted = joining.join(via.clone()).await.ok();
        admitted.is_some()
    })
    .await;
    assert_eq!(admitted, Some(id), "it keeps its id");
    assert!(joining.is_member());
    let again = joining.join(via).await.unwrap_err();
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
