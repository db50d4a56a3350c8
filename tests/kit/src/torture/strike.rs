//! One attack, from its beginning to its end.

use std::{collections::BTreeSet, time::Duration};

use anyhow::{Context as _, Result, ensure};
use tokio::time::timeout;

use super::{chance::Chance, nemesis::Nemesis, torn};
use crate::{cluster::TestCluster, disk::Tmpfs, wait_until};

/// Shortest and longest time between two changes of a network that flaps, in milliseconds.
const FLAP_MS: (u64, u64) = (50, 700);
/// Most times that it does.
const FLAPS_MAX: u64 = 8;
/// The most that is lost, in percent.
const LOSS_MAX: u64 = 30;
/// The most that a clock is off, in seconds, in either direction.
const CLOCK_OFF_MAX: u64 = 3_600;
/// What a member says that cannot write.
const NO_ROOM: &str = "No space left on device";
/// How long it may take to ask for a transfer of leadership.
const TRANSFER_MAX: Duration = Duration::from_secs(2);
/// How long a member may take to end when it is told to.
const END_MAX: Duration = Duration::from_secs(20);
/// How long a member may take to be one again.
const JOIN_MAX: Duration = Duration::from_mins(1);

/// What has to be undone in the end.
enum Undo {
    Nothing,
    Start(String),
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
    /// The disk of the last member, where it has one of its own.
    pub(super) disk: Option<&'a Tmpfs>,
    /// Members that are of no use already: a majority has to stay.
    pub(super) hurt: BTreeSet<String>,
}

impl Field<'_> {
    /// Whether a member may be hurt as well.
    fn is_open(&self, member: &str) -> bool {
        let most = (self.cluster.members().len().saturating_sub(1) / 2).max(1);
        self.hurt.contains(member) || self.hurt.len() < most
    }

    /// Starts what ended by itself, as a supervisor would. Only a full disk is a reason to end.
    pub(super) fn supervise(&mut self) -> Result<()> {
        for member in self.cluster.members() {
            if self.cluster.has_ended(&member)? {
                let job = self.cluster.job(&member)?;
                let had_room = !job.errors_since_start().contains(NO_ROOM);
                ensure!(!had_room, "{member} ended by itself; {}", job.tail());
                self.cluster.start_node(&member)?;
            }
        }
        Ok(())
    }

    /// Whom to attack.
    async fn target(&self, nemesis: Nemesis, chance: &mut Chance) -> Option<String> {
        let mut open = self.cluster.members();
        open.retain(|member| self.is_open(member));
        let leads = match nemesis {
            Nemesis::KillLeader
            | Nemesis::SleepLeader
            | Nemesis::IsolateLeader
            | Nemesis::Churn => self.cluster.leader().await.ok(),
            Nemesis::FullDisk => return self.cluster.members().pop().filter(|m| self.is_open(m)),
            Nemesis::Kill
            | Nemesis::KillAll
            | Nemesis::Sleep
            | Nemesis::Transfer
            | Nemesis::Restart
            | Nemesis::TornLog
            | Nemesis::ClockStep
            | Nemesis::Halves
            | Nemesis::OneWay
            | Nemesis::Flap
            | Nemesis::Loss => None,
        };
        if nemesis == Nemesis::Churn {
            // The disk of its own stays where it is.
            let with_disk = self.disk.and(self.cluster.members().pop());
            open.retain(|member| {
                Some(member) != leads.as_ref() && Some(member) != with_disk.as_ref()
            });
            leads.as_ref()?;
        }
        // While there is no leader, somebody else has to do.
        let leader = leads.filter(|leader| open.contains(leader));
        leader.or_else(|| chance.of(&open).cloned())
    }

    /// Begins an attack; `None` where it cannot be made as things are.
    pub(super) async fn strike(
        &mut self,
        nemesis: Nemesis,
        chance: &mut Chance,
    ) -> Result<Option<Strike>> {
        let Some(target) = self.target(nemesis, chance).await else { return Ok(None) };
        let runs = self.cluster.job(&target)?.process().is_ok();
        let is_whole = runs && !self.hurt.contains(&target);
        let undo = match nemesis {
            Nemesis::Kill | Nemesis::KillLeader | Nemesis::TornLog | Nemesis::ClockStep if runs => {
                self.cluster.kill9(&target)?;
                if nemesis == Nemesis::TornLog {
                    torn::tear(&self.cluster.data(&target)?, chance)?;
                } else if nemesis == Nemesis::ClockStep {
                    let seconds = i64::try_from(chance.below(2 * CLOCK_OFF_MAX))?;
                    self.cluster.set_clock(&target, seconds - i64::try_from(CLOCK_OFF_MAX)?)?;
                }
                Undo::Start(target.clone())
            }
            Nemesis::KillAll if self.hurt.is_empty() => {
                let members = self.cluster.members();
                members.iter().try_for_each(|member| self.cluster.kill9(member))?;
                members.iter().try_for_each(|m| self.cluster.start_node(m).map(drop))?;
                Undo::Nothing
            }
            Nemesis::Sleep | Nemesis::SleepLeader if is_whole => {
                self.cluster.pause(&target)?;
                Undo::Resume(target.clone())
            }
            Nemesis::Transfer => {
                let to = self.cluster.edge()?;
                // Refused where it cannot be, which is as good; a member that sleeps is not waited
                // for.
                drop(timeout(TRANSFER_MAX, to.client().cluster_leader(&target)).await);
                Undo::Nothing
            }
            Nemesis::Restart if is_whole => {
                self.cluster.terminate(&target, END_MAX).await?;
                Undo::Start(target.clone())
            }
            Nemesis::Churn if is_whole => self.churn(&target).await?,
            Nemesis::Halves
            | Nemesis::IsolateLeader
            | Nemesis::OneWay
            | Nemesis::Flap
            | Nemesis::Loss => self.disturb(nemesis, &target, chance).await?,
            Nemesis::FullDisk if is_whole => {
                self.disk.context("no member has a disk of its own")?.fill()?;
                Undo::Room(target.clone())
            }
            Nemesis::Kill
            | Nemesis::KillLeader
            | Nemesis::TornLog
            | Nemesis::ClockStep
            | Nemesis::KillAll
            | Nemesis::Sleep
            | Nemesis::SleepLeader
            | Nemesis::Restart
            | Nemesis::Churn
            | Nemesis::FullDisk => return Ok(None),
        };
        let is_of_all = matches!(nemesis, Nemesis::KillAll | Nemesis::Loss);
        let told = if is_of_all { nemesis.to_string() } else { format!("{nemesis}: {target}") };
        let hurt = nemesis.keeps_from_work().then_some(target).into_iter().collect();
        Ok(Some(Strike { told, hurt, undo }))
    }

    /// Hurts the network.
    async fn disturb(
        &mut self,
        nemesis: Nemesis,
        target: &str,
        chance: &mut Chance,
    ) -> Result<Undo> {
        let lab = self.cluster.lab()?;
        let (mut one, mut other) = (vec![target.to_owned()], self.cluster.members());
        if nemesis == Nemesis::Halves {
            one.extend(self.hurt.iter().filter(|member| *member != target).cloned());
        }
        other.retain(|member| !one.contains(member));
        if nemesis == Nemesis::OneWay {
            let is_deaf = chance.below(2) == 0;
            for peer in &other {
                let ways = [(peer.as_str(), target), (target, peer.as_str())];
                let (from, to) = ways[usize::from(!is_deaf)];
                lab.cut(from, to)?;
            }
        } else if nemesis == Nemesis::Flap {
            for _ in 0..=chance.below(FLAPS_MAX) {
                lab.part(&one, &other)?;
                chance.rest(FLAP_MS).await;
                lab.heal()?;
                chance.rest(FLAP_MS).await;
            }
        } else if nemesis == Nemesis::Loss {
            let percent = 1 + u32::try_from(chance.below(LOSS_MAX))?;
            self.cluster.members().iter().try_for_each(|member| lab.lose(member, percent))?;
        } else {
            lab.part(&one, &other)?;
        }
        Ok(Undo::Heal)
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
            Undo::Resume(member) if cluster.job(&member)?.process().is_ok() => {
                cluster.resume(&member)
            }
            // Who was killed in its sleep needs nobody to wake it.
            Undo::Nothing | Undo::Resume(_) => Ok(()),
            Undo::Heal => cluster.lab()?.heal(),
            Undo::Room(member) => {
                field.disk.context("no member has a disk of its own")?.free()?;
                start(cluster, &member)
            }
            Undo::Join(member) => {
                start(cluster, &member)?;
                joined(cluster, &member).await
            }
        }
    }
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
