//! One attack, from its beginning to its end.

mod disk;
mod network;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use tokio::time::timeout;

use super::{
    nemesis::{Needed, Nemesis, Whom},
    torn,
};
use crate::{chance::Chance, cluster::TestCluster, disk::Image, wait_until};

/// The most that a clock is off, in seconds, in either direction.
const CLOCK_OFF_MAX: u64 = 3_600;
/// What a member says whose disk is full, or whose disk failed.
const REASONS_TO_END: [&str; 2] = ["No space left on device", "Input/output error"];
/// How long it may take to ask for a transfer of leadership.
const TRANSFER_MAX: Duration = Duration::from_secs(2);
/// How long a member may take to end when it is told to, or has to.
const END_MAX: Duration = Duration::from_secs(20);
/// How long a member may take to be one again.
const JOIN_MAX: Duration = Duration::from_mins(1);

/// What has to be undone in the end.
enum Undo {
    Nothing,
    Start(String),
    StartAll,
    Resume(String),
    Heal,
    Room(String),
    Join(String),
}

/// An attack that goes on.
pub(super) struct Strike {
    /// What was done, for people.
    pub(super) told: String,
    /// Members that are of no use until it ends.
    pub(super) hurt: BTreeSet<String>,
    undo: Undo,
}

/// Where the attack is made.
pub(super) struct Field<'a> {
    pub(super) cluster: &'a mut TestCluster,
    /// The disks of the members, where they have some of their own.
    pub(super) disks: &'a BTreeMap<String, Image>,
    /// Members that are of no use already: a majority has to stay.
    pub(super) hurt: BTreeSet<String>,
}

impl Field<'_> {
    /// Whether a member may be hurt as well.
    fn is_open(&self, member: &str) -> bool {
        let most = (self.cluster.members().len().saturating_sub(1) / 2).max(1);
        self.hurt.contains(member) || self.hurt.len() < most
    }

    /// Starts what ended by itself, as a supervisor would. Only a disk is a reason to end.
    pub(super) fn supervise(&mut self) -> Result<()> {
        for member in self.cluster.members() {
            if self.cluster.has_ended(&member)? {
                let job = self.cluster.job(&member)?;
                let said = job.errors_since_start();
                let had_reason = REASONS_TO_END.iter().any(|reason| said.contains(reason));
                ensure!(had_reason, "{member} ended by itself; {}", job.tail());
                self.cluster.start_node(&member)?;
            }
        }
        Ok(())
    }

    fn all_run(&self) -> Result<bool> {
        for member in self.cluster.members() {
            if self.cluster.job(&member)?.process().is_err() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Whom to attack.
    async fn target(&self, whom: Whom, chance: &mut Chance) -> Option<String> {
        let mut open = self.cluster.members();
        open.retain(|member| self.is_open(member));
        match whom {
            Whom::Leader => {
                // While there is no leader, somebody else has to do.
                let leader = self.cluster.leader().await.ok();
                let leader = leader.filter(|leader| open.contains(leader));
                leader.or_else(|| chance.of(&open).cloned())
            }
            Whom::Follower => {
                let leader = self.cluster.leader().await.ok()?;
                open.retain(|member| *member != leader);
                chance.of(&open).cloned()
            }
            Whom::Any | Whom::All => chance.of(&open).cloned(),
        }
    }

    /// Begins an attack; `None` where it cannot be made as things are.
    pub(super) async fn strike(
        &mut self,
        nemesis: Nemesis,
        chance: &mut Chance,
    ) -> Result<Option<Strike>> {
        let traits = nemesis.traits();
        let Some(target) = self.target(traits.whom, chance).await else { return Ok(None) };
        let runs = self.cluster.job(&target)?.process().is_ok();
        let is_fit = match traits.needed {
            Needed::Anything => true,
            Needed::Running => runs,
            Needed::Whole if traits.whom == Whom::All => self.hurt.is_empty() && self.all_run()?,
            Needed::Whole => runs && !self.hurt.contains(&target),
        };
        if !is_fit {
            return Ok(None);
        }
        let undo = self.begin(nemesis, &target, chance).await?;
        let told = match traits.whom {
            Whom::All => nemesis.to_string(),
            Whom::Any | Whom::Leader | Whom::Follower => format!("{nemesis}: {target}"),
        };
        let hurt = traits.disables.then_some(target).into_iter().collect();
        Ok(Some(Strike { told, hurt, undo }))
    }

    async fn begin(&mut self, nemesis: Nemesis, target: &str, chance: &mut Chance) -> Result<Undo> {
        match nemesis {
            Nemesis::Kill | Nemesis::KillLeader => self.kill(target),
            Nemesis::TornLog => {
                let undo = self.kill(target)?;
                torn::tear(&self.cluster.data(target)?, chance)?;
                Ok(undo)
            }
            Nemesis::ClockStep => {
                let undo = self.kill(target)?;
                let seconds = i64::try_from(chance.below(2 * CLOCK_OFF_MAX))?;
                self.cluster.set_clock(target, seconds - i64::try_from(CLOCK_OFF_MAX)?)?;
                Ok(undo)
            }
            Nemesis::KillAll => {
                let members = self.cluster.members();
                members.iter().try_for_each(|member| self.cluster.kill9(member))?;
                members.iter().try_for_each(|m| self.cluster.start_node(m).map(drop))?;
                Ok(Undo::Nothing)
            }
            Nemesis::Sleep | Nemesis::SleepLeader => {
                self.cluster.pause(target)?;
                Ok(Undo::Resume(target.to_owned()))
            }
            Nemesis::Transfer => {
                let to = self.cluster.edge()?;
                // Refused where it cannot be, which is as good; a member that sleeps is not waited
                // for.
                drop(timeout(TRANSFER_MAX, to.client().cluster_leader(target)).await);
                Ok(Undo::Nothing)
            }
            Nemesis::Restart => {
                self.cluster.terminate(target, END_MAX).await?;
                Ok(Undo::Start(target.to_owned()))
            }
            Nemesis::Churn => self.churn(target).await,
            Nemesis::Halves | Nemesis::IsolateLeader | Nemesis::OneWay | Nemesis::Flap => {
                self.part(nemesis, target, chance).await
            }
            Nemesis::Loss | Nemesis::Delay | Nemesis::Reorder | Nemesis::Double => {
                self.degrade(nemesis, chance)
            }
            Nemesis::FullDisk | Nemesis::FullDiskOfLeader => self.fill(target),
            Nemesis::PowerCut => self.cut_power(&[target.to_owned()]),
            Nemesis::PowerCutOfAll => self.cut_power(&self.cluster.members()),
            Nemesis::FailedSync => self.fail_sync(target).await,
        }
    }

    fn kill(&mut self, target: &str) -> Result<Undo> {
        self.cluster.kill9(target)?;
        Ok(Undo::Start(target.to_owned()))
    }

    /// Removes a member and takes its data away.
    async fn churn(&mut self, target: &str) -> Result<Undo> {
        let cluster = &mut *self.cluster;
        let via = cluster.members().into_iter().find(|member| member != target);
        let via = via.context("another member")?;
        // Where nobody can say whether it was removed, it is.
        wait_until(&format!("{target} is no member"), JOIN_MAX, async || {
            let edge = cluster.edge_of(&via)?;
            let members = edge.cluster().await?.members;
            if members.iter().all(|member| member.name != target) {
                return Ok(());
            }
            Ok(edge.client().cluster_remove(target).await?)
        })
        .await?;
        cluster.kill9(target)?;
        cluster.wipe(target)?;
        cluster.comes_by(target, Some(&via))?;
        Ok(Undo::Join(target.to_owned()))
    }
}

impl Strike {
    /// Undoes it.
    pub(super) async fn end(self, field: &mut Field<'_>) -> Result<()> {
        let cluster = &mut *field.cluster;
        match self.undo {
            Undo::Start(member) => start(cluster, &member),
            Undo::StartAll => cluster.members().iter().try_for_each(|m| start(cluster, m)),
            Undo::Resume(member) if cluster.job(&member)?.process().is_ok() => {
                cluster.resume(&member)
            }
            // Who was killed in its sleep needs nobody to wake it.
            Undo::Nothing | Undo::Resume(_) => Ok(()),
            Undo::Heal => {
                cluster.lab()?.heal();
                Ok(())
            }
            Undo::Room(member) => {
                crate::disk::free(disk_of(field.disks, &member)?.folder())?;
                start(cluster, &member)
            }
            Undo::Join(member) => {
                start(cluster, &member)?;
                joined(cluster, &member).await
            }
        }
    }
}

fn disk_of<'a>(disks: &'a BTreeMap<String, Image>, member: &str) -> Result<&'a Image> {
    disks.get(member).with_context(|| format!("{member} has no disk of its own"))
}

/// Starts a member unless it runs.
fn start(cluster: &mut TestCluster, member: &str) -> Result<()> {
    if cluster.has_ended(member)? {
        cluster.start_node(member)?;
    }
    Ok(())
}

async fn joined(cluster: &TestCluster, member: &str) -> Result<()> {
    wait_until(&format!("{member} votes again"), JOIN_MAX, async || {
        let members = cluster.edge()?.cluster().await?.members;
        let is_back = members.iter().any(|one| one.name == member && one.voter);
        ensure!(is_back, "{members:?}");
        Ok(())
    })
    .await
}
