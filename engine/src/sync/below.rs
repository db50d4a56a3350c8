//! What is attached to a relay, as the parent of the relay knows it.
//!
//! A relay serves children as a member does, and has no quorum to ask about them: it passes their
//! Hellos on, and answers what its own parent answers. From then on the child's Cfg goes to the
//! relay, and what the relay says in the child's name is taken. Neither costs the members a session
//! or a heartbeat of the child.
//!
//! | upper end | input | what becomes of it |
//! |---|---|---|
//! | attached, of a relay | Below | Arrives: the driver answers with `admit` or `turn_away` |
//! | attached, of a relay | Below of too many, or from too deep | Admitted: refused |
//! | attached, of a relay | Left of the session that is known | Leaves |
//! | attached, of a relay | Left of another session | |
//! | attached, of a relay | `expel` | Admitted: refused, and Leaves |
//! | attached, of another role | either | Close |
//! | over | | all that was below has left |
//!
//! | lower end | input | what becomes of it |
//! |---|---|---|
//! | attached, a relay | `arrives` | Below |
//! | attached, a relay | `leaves` | Left |
//! | not attached | `arrives` | told that nobody can be asked |
//! | attached, a relay | Admitted | Admitted; where nobody asked it is a node that is to go |
//! | Welcome | | whatever is attached is told again by the driver |

use std::collections::BTreeMap;

use super::frame::{Admission, Admitted, Below, Frame, Hello, Left, Refused, RefusedReason, Role};
use crate::id::{Name, SessionEpoch, Uid};

/// Most nodes behind one relay, those behind relays of its own included.
pub const BELOW_MAX: usize = 50_000;
/// Most relays between a node and a member.
pub const HOPS_MAX: u32 = 4;

/// Whether who says Hello may attach to this node, or below it: nobody who goes by its name may. It
/// would be this node itself, or another machine that was given the same name.
pub fn check_name(below: &Below, me: &Name) -> Result<(), Refused> {
    if below.hello.node != *me {
        return Ok(());
    }
    let text = format!(
        "{me} is the name of this node itself: give each machine a name of its own, and no node \
         itself as a parent"
    );
    Err(Refused { reason: RefusedReason::NotReady, text })
}

/// Whether a session that a Hello begins may stand: it must be newer than the last one of the node
/// that was heard of, wherever that was, which is `held`. A relay that is attached anew tells of
/// sessions that go on. Those of a member are counted by each of its parents.
pub fn check_session(below: &Below, held: SessionEpoch, is_up: bool) -> Result<(), Refused> {
    let Hello { node, role, epoch, .. } = &below.hello;
    let goes_on = below.hops > 0 && is_up && *epoch == held;
    if *role == Role::Member || *epoch > held || goes_on {
        return Ok(());
    }
    let text = format!("session {epoch} of {node} is not newer than {held}");
    Err(Refused { reason: RefusedReason::Epoch(held), text })
}

/// A node below a relay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lower {
    /// Its session with whoever it is attached to.
    pub epoch: SessionEpoch,
    /// Its object.
    pub uid: Uid,
    /// Sessions between it and the relay at the end of this one.
    pub hops: u32,
}

/// All nodes below a relay.
#[derive(Debug, Default)]
pub(super) struct Nodes {
    nodes: BTreeMap<Name, Lower>,
    by_uid: BTreeMap<Uid, Name>,
}

impl Nodes {
    /// Why a node cannot be let in, if it cannot.
    pub(super) fn bars(&self, below: &Below) -> Option<Refused> {
        let text = if below.hops >= HOPS_MAX {
            format!(
                "there are more than {HOPS_MAX} relays between {} and a member",
                below.hello.node
            )
        } else if self.nodes.len() >= BELOW_MAX && !self.nodes.contains_key(&below.hello.node) {
            format!("{BELOW_MAX} nodes are behind this relay already")
        } else {
            return None;
        };
        Some(Refused { reason: RefusedReason::NotReady, text })
    }

    pub(super) fn insert(&mut self, node: Name, lower: Lower) {
        if let Some(old) = self.nodes.insert(node.clone(), lower) {
            self.by_uid.remove(&old.uid);
        }
        self.by_uid.insert(lower.uid, node);
    }

    /// Removes a node, unless a newer session of it has been heard of.
    pub(super) fn remove(&mut self, left: &Left) -> bool {
        let Some(held) = self.nodes.get(&left.node).filter(|held| held.epoch <= left.epoch) else {
            return false;
        };
        self.by_uid.remove(&held.uid);
        self.nodes.remove(&left.node);
        true
    }

    pub(super) fn contains(&self, node: &Name) -> bool {
        self.nodes.contains_key(node)
    }

    /// The node whose object this is.
    pub(super) fn is_node(&self, uid: Uid) -> bool {
        self.by_uid.contains_key(&uid)
    }

    /// The node whose object this is, and its session.
    pub(super) fn of(&self, uid: Uid) -> Option<(&Name, &Lower)> {
        self.nodes.get_key_value(self.by_uid.get(&uid)?)
    }

    /// Sessions between a node and the relay, if it is known.
    pub(super) fn hops_to(&self, node: &Name) -> Option<u32> {
        self.nodes.get(node).map(|lower| lower.hops)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&Name, &Lower)> {
        self.nodes.iter()
    }

    pub(super) fn take(&mut self) -> Vec<Left> {
        self.by_uid.clear();
        let nodes = std::mem::take(&mut self.nodes).into_iter();
        nodes.map(|(node, lower)| Left { node, epoch: lower.epoch }).collect()
    }
}

/// What a relay is answered about a node.
pub(super) fn answer(hello: &Hello, answer: Admission) -> Frame {
    Frame::Admitted(Box::new(Admitted { node: hello.node.clone(), epoch: hello.epoch, answer }))
}
