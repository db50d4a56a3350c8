//! Members that do not hear each other: who leads is replaced where it must be, and only there, and
//! no write that was answered is lost.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use kraken_http::client::ClusterView;
use kraken_testkit::{
    cluster::{Shape, TestCluster},
    edge::{Edge, call},
    is_root, measured, needs, wait_until,
    writer::{Writers, registers},
};

use crate::KRAKEN;

/// How long a member is cut off: several times the time for an election.
const CUT: Duration = Duration::from_secs(5);
/// How long it may take until somebody leads, or until a member has caught up.
const MEMBER_MAX: Duration = Duration::from_secs(30);
/// How long a few writes may take on a busy machine.
const WRITES_MAX: Duration = Duration::from_mins(1);
/// How long a member that cannot know may think about a request.
const REFUSED_MAX: Duration = Duration::from_secs(10);

/// Three members with cables between them, and writers that do not know one of them.
struct Parted {
    cluster: TestCluster,
    writers: Writers,
    /// Whom the writers do not know.
    one: String,
    others: Vec<String>,
}

impl Parted {
    async fn start(pick: impl Fn(&str, &[String]) -> Option<String>) -> Result<Self> {
        let shape = Shape { apart: true, ..Shape::of(3, 0) };
        let cluster = TestCluster::start(KRAKEN, &shape).await?;
        let members = cluster.members();
        let one = pick(&cluster.leader().await?, &members).context("three members")?;
        let others: Vec<String> = members.into_iter().filter(|member| *member != one).collect();
        let urls = others.iter().map(|other| cluster.url(other)).collect::<Result<Vec<_>>>()?;
        let writers = Writers::start(4, |_| Edge::new(&urls))?;
        writers.progress(20, WRITES_MAX).await?;
        Ok(Self { cluster, writers, one, others })
    }

    /// How a member sees the quorum.
    async fn seen_by(&self, member: &str) -> Result<ClusterView> {
        self.cluster.edge_of(member)?.cluster().await
    }

    /// Heals the network, waits until the member that was cut off follows and holds all, and checks
    /// what was written.
    async fn heal_and_check(self) -> Result<()> {
        let Self { cluster, writers, one, others } = self;
        cluster.lab()?.heal();
        let back = cluster.edge_of(&one)?;
        let written = cluster.edge_of(&others[0])?.cluster().await?.revision;
        wait_until(&format!("{one} has caught up"), MEMBER_MAX, async || {
            let quorum = back.cluster().await?;
            ensure!(quorum.revision >= written && quorum.role == "FOLLOWER", "{quorum:?}");
            Ok(())
        })
        .await?;
        writers.progress(50, WRITES_MAX).await?;
        let history = writers.stop().await?;
        for member in cluster.members() {
            history.check(&registers(&cluster.edge_of(&member)?, "linearizable").await?)?;
        }
        cluster.pass()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn member_that_was_cut_off_disturbs_nobody_when_it_is_back() -> Result<()> {
    if !needs("root, to make network namespaces", is_root())? {
        return Ok(());
    }
    let follows = |leader: &str, all: &[String]| all.iter().find(|one| *one != leader).cloned();
    let parted = Parted::start(follows).await?;
    let leader = parted.cluster.leader().await?;
    let before = parted.seen_by(&leader).await?;
    let since = Instant::now();
    parted.cluster.lab()?.part(std::slice::from_ref(&parted.one), &parted.others)?;
    wait_until("it is cut off for long enough", CUT * 4, async || {
        let (held, written) = (parted.seen_by(&parted.one).await?, parted.seen_by(&leader).await?);
        ensure!(held.revision < written.revision, "it hears of writes: {held:?}");
        ensure!(since.elapsed() >= CUT, "not yet");
        Ok(())
    })
    .await?;
    parted.writers.progress(50, WRITES_MAX).await?;
    parted.cluster.lab()?.heal();
    let written = parted.seen_by(&leader).await?.revision;
    wait_until("it follows again", MEMBER_MAX, async || {
        let quorum = parted.seen_by(&parted.one).await?;
        ensure!(quorum.revision >= written && quorum.role == "FOLLOWER", "{quorum:?}");
        Ok(())
    })
    .await?;
    parted.writers.progress(50, WRITES_MAX).await?;
    for member in parted.cluster.members() {
        let now = parted.seen_by(&member).await?;
        assert_eq!((now.term, now.leader), (before.term, before.leader), "{member} was disturbed");
    }
    parted.heal_and_check().await
}

#[tokio::test(flavor = "multi_thread")]
async fn leader_that_hears_nobody_is_replaced() -> Result<()> {
    if !needs("root, to make network namespaces", is_root())? {
        return Ok(());
    }
    let parted = Parted::start(|leader, _| Some(leader.to_owned())).await?;
    let before = parted.seen_by(&parted.one).await?;
    let since = Instant::now();
    for other in &parted.others {
        parted.cluster.lab()?.cut(other, &parted.one)?;
    }
    wait_until("another member leads", MEMBER_MAX, async || {
        for other in &parted.others {
            let quorum = parted.seen_by(other).await?;
            if quorum.role == "LEADER" && quorum.term > before.term {
                return Ok(());
            }
        }
        anyhow::bail!("nobody does")
    })
    .await?;
    measured("another leader after the old one hears nobody", since.elapsed());
    parted.writers.progress(50, WRITES_MAX).await?;
    // Clients still reach the one that led: it must not answer from what it knew.
    let deaf = Edge::hasty(&[parted.cluster.url(&parted.one)?], REFUSED_MAX)?;
    let answer = deaf.ask_one(0, &call("GET", "/v1/nodes/register0")?).await;
    assert!(!answer.as_ref().is_ok_and(|answer| answer.status < 500), "{answer:?}");
    parted.heal_and_check().await
}
