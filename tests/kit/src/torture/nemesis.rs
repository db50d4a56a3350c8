//! Ways to hurt a cluster, drawn by chance from a seed.

use std::fmt;

use super::chance::Chance;
use crate::{clock, is_root};

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
    /// Some member is killed, and a part of a record stands behind the end of its log.
    TornLog,
    /// Some member is killed, and its wall clock is another one when it is started again.
    ClockStep,
    /// A member that does not lead is removed, and joins again with an empty folder.
    Churn,
    /// The members fall in two parts that do not hear each other.
    Halves,
    /// The leading member and the others do not hear each other. Clients still reach all.
    IsolateLeader,
    /// Some member does not hear the others, or is not heard by them.
    OneWay,
    /// Some member is cut off and is back, in quick succession.
    Flap,
    /// Some of the packets that come to members are lost.
    Loss,
    /// The disk of a member is full for a while.
    FullDisk,
}

/// What can be done everywhere.
const ANYWHERE: [Nemesis; 9] = [
    Nemesis::Kill,
    Nemesis::KillLeader,
    Nemesis::KillAll,
    Nemesis::Sleep,
    Nemesis::SleepLeader,
    Nemesis::Transfer,
    Nemesis::Restart,
    Nemesis::TornLog,
    Nemesis::Churn,
];

/// What only root can do.
const AS_ROOT: [Nemesis; 6] = [
    Nemesis::Halves,
    Nemesis::IsolateLeader,
    Nemesis::OneWay,
    Nemesis::Flap,
    Nemesis::Loss,
    Nemesis::FullDisk,
];

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
            Self::TornLog => "kill -9 and a torn log",
            Self::ClockStep => "kill -9 and another clock",
            Self::Churn => "removal and another life",
            Self::Halves => "two halves",
            Self::IsolateLeader => "isolation of the leader",
            Self::OneWay => "one-way cut",
            Self::Flap => "flapping network",
            Self::Loss => "loss of packets",
            Self::FullDisk => "full disk",
        })
    }
}

impl Nemesis {
    /// Whether its target is of no use to the quorum while it lasts.
    pub(super) fn keeps_from_work(self) -> bool {
        match self {
            Self::Kill
            | Self::KillLeader
            | Self::Sleep
            | Self::SleepLeader
            | Self::Restart
            | Self::TornLog
            | Self::ClockStep
            | Self::Churn
            | Self::Halves
            | Self::IsolateLeader
            | Self::OneWay
            | Self::Flap
            | Self::FullDisk => true,
            Self::KillAll | Self::Transfer | Self::Loss => false,
        }
    }
}

/// What may be drawn.
#[derive(Debug)]
pub(super) struct Arsenal(Vec<Nemesis>);

impl Arsenal {
    /// Of so many members.
    pub(super) fn new(members: usize) -> Self {
        let all = ANYWHERE.into_iter().chain(AS_ROOT.into_iter().filter(|_| is_root()));
        let all = all.chain(clock::library().map(|_| Nemesis::ClockStep));
        // Who is alone has nobody to be cut off from, or to come back to.
        let alone = |nemesis: &Nemesis| match nemesis {
            Nemesis::Kill
            | Nemesis::KillLeader
            | Nemesis::KillAll
            | Nemesis::Sleep
            | Nemesis::SleepLeader
            | Nemesis::Transfer
            | Nemesis::Restart
            | Nemesis::TornLog
            | Nemesis::ClockStep
            | Nemesis::Loss
            | Nemesis::FullDisk => true,
            Nemesis::Churn
            | Nemesis::Halves
            | Nemesis::IsolateLeader
            | Nemesis::OneWay
            | Nemesis::Flap => false,
        };
        Self(all.filter(|nemesis| members > 2 || alone(nemesis)).collect())
    }

    pub(super) fn draw(&self, chance: &mut Chance) -> Nemesis {
        chance.of(&self.0).copied().unwrap_or(Nemesis::Kill)
    }

    /// What is not drawn, with what it needs.
    pub(super) fn left_out() -> Vec<String> {
        let names: Vec<String> = AS_ROOT.iter().map(ToString::to_string).collect();
        let root = (!is_root()).then(|| format!("{} need root", names.join(", ")));
        let clock = clock::library().is_none();
        let clock = clock.then(|| format!("{} needs libfaketime", Nemesis::ClockStep));
        root.into_iter().chain(clock).collect()
    }
}
