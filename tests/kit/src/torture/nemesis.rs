//! Ways to hurt a cluster, drawn by chance from a seed.

use std::fmt;

use super::chance::Chance;

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
    /// Of `members`, as root or not.
    pub(super) fn new(members: usize, root: bool) -> Self {
        let more = if root { &AS_ROOT[..] } else { &[] };
        let all = ANYWHERE.iter().chain(more).copied();
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

    /// What is not drawn where not all can be.
    pub(super) fn left_out(root: bool) -> Option<String> {
        let names: Vec<String> = AS_ROOT.iter().map(ToString::to_string).collect();
        (!root).then(|| format!("not drawn, as it needs root: {}", names.join(", ")))
    }
}
