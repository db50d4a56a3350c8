//! Members that do not vote, and members that are refused.

use kraken_raft::MEMBERS_MAX;

use super::*;

impl Quorum {
    /// Starts a member that asks through the first one to be let in.
    async fn come(&mut self, number: usize, learner: bool) -> Result<MemberId, MembershipError> {
        let handle = Handle::start(self.options(number)).await.unwrap();
        self.addresses.insert(number, handle.local_addr());
        self.members.insert(number, handle.clone());
        handle.join(vec![self.addresses[&0].to_string()], learner).await
    }

    fn voters(&self) -> usize {
        self.any().status().members.iter().filter(|member| member.voter).count()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_learner_holds_everything_and_votes_once_it_is_promoted() {
    let mut quorum = Quorum::start(1).await;
    let id = quorum.come(1, true).await.unwrap();
    assert_eq!((quorum.voters(), quorum.any().status().members.len()), (1, 2));
    let outcome = quorum.members[&1].propose(put("n", "1")).await.unwrap();
    assert!(matches!(outcome, Outcome::Applied { .. }), "{outcome:?}");
    let store = quorum.members[&1].read(Consistency::Linearizable).await.unwrap();
    assert_eq!(value(&store, "n").as_deref(), Some("1"));

    // It is found elsewhere now, and tells so; it does not ask to vote in passing.
    quorum.stop(1).await;
    let mut options = quorum.options(1);
    options.http = "http://127.0.0.1:9".to_owned();
    quorum.members.insert(1, Handle::start(options).await.unwrap());
    wait_until("the others know where it is now", async || {
        quorum.any().status().members.iter().any(|member| member.http.ends_with(":9"))
    })
    .await;
    assert_eq!(quorum.voters(), 1);
    let to_learner = quorum.any().transfer(id).await.unwrap_err();
    assert!(to_learner.to_string().contains("no voting member"), "{to_learner}");
    // The quorum does not need it.
    quorum.stop(1).await;
    quorum.any().propose(put("n", "2")).await.unwrap();
    quorum.restart(1).await;

    // From anywhere, and again.
    for member in [1, 0] {
        quorum.members[&member].promote(id).await.unwrap();
        assert_eq!(quorum.voters(), 2);
    }
    let unknown = quorum.any().promote(MemberId::new(9_999)).await.unwrap_err();
    assert!(matches!(unknown, MembershipError::Refused { .. }), "{unknown}");
    assert!(unknown.to_string().contains("has to join first"), "{unknown}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_learner_is_removed_like_any_other_member() {
    let mut quorum = Quorum::start(1).await;
    let id = quorum.come(1, true).await.unwrap();
    quorum.members[&0].remove(id).await.unwrap();
    assert_eq!(quorum.any().status().members.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_at_an_address_of_another_one_is_refused() {
    let mut quorum = Quorum::start(1).await;
    let mut options = quorum.options(1);
    options.advertise = Some(quorum.addresses[&0].to_string());
    let handle = Handle::start(options).await.unwrap();
    let refused = handle.join(vec![quorum.addresses[&0].to_string()], false).await.unwrap_err();
    assert!(refused.to_string().contains("remove that one first"), "{refused}");
    assert!(!refused.is_transient());
    quorum.members.insert(1, handle);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_stays_small() {
    let mut quorum = Quorum::start(1).await;
    for number in 1..MEMBERS_MAX {
        quorum.come(number, true).await.unwrap();
    }
    let refused = quorum.come(MEMBERS_MAX, true).await.unwrap_err();
    let most = format!("at most {MEMBERS_MAX} members");
    assert!(refused.to_string().contains(&most), "{refused}");
    assert_eq!(quorum.any().status().members.len(), MEMBERS_MAX);
}
