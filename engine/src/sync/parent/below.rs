//! What a session knows of the nodes below its child, a relay; see [`crate::sync::below`].

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{Effect, Session};
use crate::{
    id::{Name, SessionEpoch, Uid},
    object::Object,
    sync::{
        below::{self, Lower},
        frame::{Admission, Admitted, Below, Frame, Left, Refused, RefusedReason, Welcome},
    },
};

impl Session {
    /// The nodes that are attached to the child, where that is a relay.
    pub fn below(&self) -> impl Iterator<Item = (&Name, &Lower)> {
        self.below.iter()
    }

    /// Whether it is still to be decided about a node below the child.
    pub fn expects(&self, below: &Below) -> bool {
        self.is_attached() && self.arriving.get(&below.hello.node) == Some(&below.hello.epoch)
    }

    /// Lets a node in that said Hello to the child, a relay. Its Cfg is to be offered next.
    pub fn admit(&mut self, below: &Below, uid: Uid, welcome: Welcome) -> Vec<Effect> {
        let Below { hello, hops } = below;
        self.arriving.remove(&hello.node);
        let lower = Lower { epoch: hello.epoch, uid, hops: hops + 1 };
        self.below.insert(hello.node.clone(), lower);
        self.let_in.push(hello.node.clone());
        vec![Effect::Send(below::answer(hello, Admission::Welcome(welcome)))]
    }

    /// The nodes that were let in and of which this Cfg has what they may see; it may have been
    /// gathered before others were.
    pub(super) fn let_in_with(
        &mut self,
        wanted: &BTreeMap<Uid, Option<Arc<Object>>>,
    ) -> BTreeSet<Name> {
        if self.let_in.is_empty() {
            return BTreeSet::new();
        }
        let objects = wanted.values().flatten();
        let nodes = objects.filter(|object| object.key.is_node());
        let nodes: BTreeSet<&Name> = nodes.map(|object| &object.key.name).collect();
        let let_in = std::mem::take(&mut self.let_in).into_iter();
        let (now, later): (Vec<Name>, Vec<Name>) = let_in.partition(|node| nodes.contains(node));
        self.let_in = later;
        now.into_iter().collect()
    }

    /// Does not let a node in that said Hello to the child.
    pub fn turn_away(&mut self, below: &Below, refused: Refused) -> Vec<Effect> {
        self.arriving.remove(&below.hello.node);
        vec![Effect::Send(below::answer(&below.hello, Admission::Refused(refused)))]
    }

    /// Expels those of the nodes below the child of which a newer session was heard of elsewhere.
    /// `newest` is what was heard, by their objects.
    pub fn expel_outdated(&mut self, newest: Vec<(Uid, SessionEpoch)>) -> Vec<Effect> {
        let mut effects = Vec::new();
        for (uid, newest) in newest {
            let Some((node, Lower { epoch, .. })) = self.below.of(uid) else { continue };
            if newest > *epoch {
                let left = Left { node: node.clone(), epoch: *epoch };
                effects.extend(self.expel(&left, newest));
            }
        }
        effects
    }

    /// A session below the child is over, as there is a newer one: the child is to end it.
    pub fn expel(&mut self, left: &Left, newest: SessionEpoch) -> Vec<Effect> {
        if !self.below.remove(left) {
            return Vec::new();
        }
        let Left { node, epoch } = left.clone();
        let text = format!("session {newest} of {node} was heard of, and this is {epoch}");
        let refused = Refused { reason: RefusedReason::Epoch(newest), text };
        let answer = Admission::Refused(refused);
        let told = Frame::Admitted(Box::new(Admitted { node, epoch, answer }));
        vec![Effect::Send(told), Effect::Leaves(left.clone())]
    }

    /// All nodes that were attached to the child, once the session is over.
    pub fn abandoned(&mut self) -> Vec<Left> {
        self.below.take()
    }

    pub(super) fn arrives(&mut self, below: Box<Below>) -> Vec<Effect> {
        if let Some(refused) = self.below.bars(&below) {
            return self.turn_away(&below, refused);
        }
        self.arriving.insert(below.hello.node.clone(), below.hello.epoch);
        vec![Effect::Arrives(below)]
    }

    pub(super) fn leaves(&mut self, left: Left) -> Vec<Effect> {
        if self.arriving.get(&left.node).is_some_and(|epoch| *epoch <= left.epoch) {
            self.arriving.remove(&left.node);
        }
        let has_left = self.below.remove(&left);
        has_left.then_some(Effect::Leaves(left)).into_iter().collect()
    }

    /// Whether a node is the child, or attached to it.
    pub(super) fn is_voice_of(&self, node: &Name) -> bool {
        self.hello.as_ref().is_some_and(|hello| hello.node == *node) || self.below.contains(node)
    }
}
