//! Ways to hurt a cluster, drawn by chance from a seed.

use std::{fmt, str::FromStr};

use crate::{chance::Chance, clock, is_root, tool};

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
    /// All packets that come to members are late.
    Delay,
    /// Packets that come to members overtake one another.
    Reorder,
    /// Some of the packets that come to members come twice.
    Double,
    /// The disk of some member is full for a while.
    FullDisk,
    /// The disk of the leading member is.
    FullDiskOfLeader,
    /// The power of some member is cut: what its disk had not written is gone.
    PowerCut,
    /// That of all members is, at the same time.
    PowerCutOfAll,
    /// The disk of some member fails to write what it was given, once.
    FailedSync,
}

/// All of them.
const ALL: [Nemesis; 23] = [
    Nemesis::Kill,
    Nemesis::KillLeader,
    Nemesis::KillAll,
    Nemesis::Sleep,
    Nemesis::SleepLeader,
    Nemesis::Transfer,
    Nemesis::Restart,
    Nemesis::TornLog,
    Nemesis::ClockStep,
    Nemesis::Churn,
    Nemesis::Halves,
    Nemesis::IsolateLeader,
    Nemesis::OneWay,
    Nemesis::Flap,
    Nemesis::Loss,
    Nemesis::Delay,
    Nemesis::Reorder,
    Nemesis::Double,
    Nemesis::FullDisk,
    Nemesis::FullDiskOfLeader,
    Nemesis::PowerCut,
    Nemesis::PowerCutOfAll,
    Nemesis::FailedSync,
];

/// Who is attacked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Whom {
    Any,
    /// The leading member; any where none leads.
    Leader,
    Follower,
    All,
}

/// In what state its target has to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Needed {
    Anything,
    /// It is a process.
    Running,
    /// It is a process that nothing else hurts.
    Whole,
}

/// What a machine has to have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tool {
    Hands,
    Root,
    Clock,
    Strace,
}

impl Tool {
    fn is_there(self) -> bool {
        match self {
            Self::Hands => true,
            Self::Root => is_root(),
            Self::Clock => clock::library().is_some(),
            Self::Strace => is_root() && tool::has("strace"),
        }
    }
}

impl fmt::Display for Tool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Hands => "nothing",
            Self::Root => "root",
            Self::Clock => "libfaketime",
            Self::Strace => "root and strace",
        })
    }
}

/// What there is to know of a nemesis.
#[derive(Debug, Clone, Copy)]
pub(super) struct Traits {
    name: &'static str,
    pub(super) whom: Whom,
    pub(super) needed: Needed,
    tool: Tool,
    /// Whether its target is of no use to the quorum while it lasts.
    pub(super) disables: bool,
    /// Whether it needs other members to be told from, or to come back to.
    is_among_peers: bool,
}

impl Nemesis {
    /// What there is to know of it.
    #[rustfmt::skip] // A table, a line for each.
    pub(super) fn traits(self) -> Traits {
        use {Needed::{Anything, Running, Whole}, Tool::{Clock, Hands, Root, Strace}};
        use Whom::{All, Any, Follower, Leader};
        let (name, whom, needed, tool, disables, is_among_peers) = match self {
            Self::Kill => ("kill -9", Any, Running, Hands, true, false),
            Self::KillLeader => ("kill -9 of the leader", Leader, Running, Hands, true, false),
            Self::KillAll => ("kill -9 of all", All, Whole, Hands, false, false),
            Self::Sleep => ("SIGSTOP", Any, Whole, Hands, true, false),
            Self::SleepLeader => ("SIGSTOP of the leader", Leader, Whole, Hands, true, false),
            Self::Transfer => ("transfer of leadership", Any, Anything, Hands, false, false),
            Self::Restart => ("SIGTERM", Any, Whole, Hands, true, false),
            Self::TornLog => ("kill -9 and a torn log", Any, Running, Hands, true, false),
            Self::ClockStep => ("kill -9 and another clock", Any, Running, Clock, true, false),
            Self::Churn => ("removal and another life", Follower, Whole, Hands, true, true),
            Self::Halves => ("two halves", Any, Anything, Root, true, true),
            Self::IsolateLeader => ("isolation of the leader", Leader, Anything, Root, true, true),
            Self::OneWay => ("one-way cut", Any, Anything, Root, true, true),
            Self::Flap => ("flapping network", Any, Anything, Root, true, true),
            Self::Loss => ("loss of packets", All, Anything, Root, false, false),
            Self::Delay => ("late packets", All, Anything, Root, false, false),
            Self::Reorder => ("packets out of order", All, Anything, Root, false, false),
            Self::Double => ("packets that come twice", All, Anything, Root, false, false),
            Self::FullDisk => ("full disk", Any, Whole, Root, true, false),
            Self::FullDiskOfLeader => ("full disk of the leader", Leader, Whole, Root, true, false),
            Self::PowerCut => ("power cut", Any, Running, Root, true, false),
            Self::PowerCutOfAll => ("power cut of all", All, Whole, Root, false, false),
            Self::FailedSync => ("failed fdatasync", Any, Whole, Strace, true, false),
        };
        Traits { name, whom, needed, tool, disables, is_among_peers }
    }
}

/// A name that is none of a nemesis.
#[derive(Debug, thiserror::Error)]
#[error("no such nemesis; they are: {}", ALL.map(|one| one.to_string()).join(", "))]
pub struct UnknownNemesis;

impl FromStr for Nemesis {
    type Err = UnknownNemesis;

    fn from_str(name: &str) -> Result<Self, UnknownNemesis> {
        let found = ALL.into_iter().find(|nemesis| nemesis.traits().name == name);
        found.ok_or(UnknownNemesis)
    }
}

impl fmt::Display for Nemesis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.traits().name)
    }
}

/// What may be drawn.
#[derive(Debug)]
pub(super) struct Arsenal(Vec<Nemesis>);

impl Arsenal {
    /// Of so many members, of these only; of all where these are none.
    pub(super) fn new(members: usize, only: &[Nemesis]) -> Self {
        let is_asked = |nemesis: &Nemesis| only.is_empty() || only.contains(nemesis);
        let can_be = |nemesis: &Nemesis| {
            let Traits { tool, is_among_peers, .. } = nemesis.traits();
            tool.is_there() && (members > 2 || !is_among_peers)
        };
        Self(ALL.into_iter().filter(|nemesis| is_asked(nemesis) && can_be(nemesis)).collect())
    }

    pub(super) fn draw(&self, chance: &mut Chance) -> Option<Nemesis> {
        chance.of(&self.0).copied()
    }

    /// What this machine lacks, and for what.
    pub(super) fn left_out() -> Vec<String> {
        let missing = ALL.into_iter().filter(|nemesis| !nemesis.traits().tool.is_there());
        missing.map(|nemesis| format!("{}, for: {nemesis}", nemesis.traits().tool)).collect()
    }
}
