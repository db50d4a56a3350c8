//! What is done to a cluster to hurt it, drawn by chance from a seed.

use std::{fmt, time::Duration};

use anyhow::{Context as _, Result};

use super::chance::Chance;
use crate::cluster::TestCluster;

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

/// Draws an attack.
pub(super) fn draw(chance: &mut Chance) -> Nemesis {
    chance.of(&ALL).copied().unwrap_or(Nemesis::Kill)
}
