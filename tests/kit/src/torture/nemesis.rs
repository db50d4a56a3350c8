//! What is done to a cluster to hurt it, drawn by chance from a seed.

use std::{
    fmt,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};

use crate::{cluster::TestCluster, wait_until};

/// How long a member sleeps or is away, in milliseconds: below and beyond an election.
const AWAY_MS: (u64, u64) = (50, 6_000);

/// One way to hurt a cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Nemesis {
    /// Some member is killed at once and started again.
    Kill,
    /// The leading member is.
    KillLeader,
    /// All members are, one after the other, and started again.
    KillAll,
    /// Some member sleeps for a while.
    Sleep,
    /// The leading member does.
    SleepLeader,
    /// Leadership is handed to some member.
    Transfer,
    /// Some member is told to end, and started again.
    Restart,
}

const ALL: [Nemesis; 7] = [
    Nemesis::Kill,
    Nemesis::KillLeader,
    Nemesis::KillAll,
    Nemesis::Sleep,
    Nemesis::SleepLeader,
    Nemesis::Transfer,
    Nemesis::Restart,
];

/// How much later than it should an attack may end.
const SPARE: Duration = Duration::from_secs(1);
/// How long a member may take to end when it is told to.
const END_MAX: Duration = Duration::from_secs(20);

impl fmt::Display for Nemesis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Kill => "kill -9",
            Self::KillLeader => "kill -9 of the leader",
            Self::KillAll => "kill -9 of all",
            Self::Sleep => "SIGSTOP",
            Self::SleepLeader => "SIGSTOP of the leader",
            Self::Transfer => "transfer of leadership",
            Self::Restart => "SIGTERM",
        })
    }
}

impl Nemesis {
    /// Does it, and undoes it after a while; says what was done.
    pub(super) async fn strike(
        self,
        cluster: &mut TestCluster,
        chance: &mut Chance,
    ) -> Result<String> {
        let members = cluster.members();
        let some = chance.of(&members).context("a cluster has members")?.clone();
        // While there is no leader, somebody else has to do.
        let leader = match self {
            Self::KillLeader | Self::SleepLeader => cluster.leader().await.ok(),
            Self::Kill | Self::KillAll | Self::Sleep | Self::Transfer | Self::Restart => None,
        };
        let target = leader.unwrap_or(some);
        match self {
            Self::Kill | Self::KillLeader => {
                cluster.kill9(&target)?;
                chance.rest(AWAY_MS).await;
                cluster.start_node(&target)?;
            }
            Self::KillAll => {
                members.iter().try_for_each(|member| cluster.kill9(member))?;
                members.iter().try_for_each(|member| cluster.start_node(member).map(drop))?;
                return Ok(self.to_string());
            }
            Self::Sleep | Self::SleepLeader => {
                cluster.pause(&target)?;
                chance.rest(AWAY_MS).await;
                cluster.resume(&target)?;
            }
            Self::Transfer => {
                let to = cluster.edge()?;
                // Refused where it cannot be, which is as good.
                drop(to.client().cluster_leader(&target).await);
            }
            Self::Restart => {
                cluster.terminate(&target, END_MAX).await?;
                cluster.start_node(&target)?;
            }
        }
        Ok(format!("{self}: {target}"))
    }
}

/// A small generator: the same seed draws the same.
#[derive(Debug, Clone)]
pub(super) struct Chance(u64);

impl Chance {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed ^ 0x9E37_79B9_7F4A_7C15)
    }

    /// A number below a limit (xorshift64*, Vigna 2016).
    pub(super) fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) % limit.max(1)
    }

    pub(super) fn of<'a, T>(&mut self, all: &'a [T]) -> Option<&'a T> {
        let index = usize::try_from(self.below(all.len() as u64)).ok()?;
        all.get(index)
    }

    pub(super) fn nemesis(&mut self) -> Nemesis {
        self.of(&ALL).copied().unwrap_or(Nemesis::Kill)
    }

    /// Lets a time pass that is part of the attack.
    pub(super) async fn rest(&mut self, (least, most): (u64, u64)) {
        let rest = Duration::from_millis(least + self.below(most - least));
        let since = Instant::now();
        let over = async || {
            ensure!(since.elapsed() >= rest, "not yet");
            Ok(())
        };
        // It holds when its time has come.
        drop(wait_until("the attack has lasted", rest + SPARE, over).await);
    }
}
