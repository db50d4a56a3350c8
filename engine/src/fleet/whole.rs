//! Of which nodes a relay may tell what it holds: their Cfg is what it is at the revision only once
//! its own parent has told it so in its present session. Before that it may be as of long ago,
//! while the revision has gone on.

use std::collections::BTreeSet;

use super::{Fleet, Touched};
use crate::id::Name;

impl Fleet {
    /// A session of this relay begins: of no node below it is known yet that its Cfg is held.
    pub fn begin_below(&mut self) {
        self.whole = Some(BTreeSet::default());
    }

    /// Of these nodes below it is. What they have said is told again: before that, the parent of
    /// this relay may not have taken it from it.
    pub fn set_whole(&mut self, nodes: Vec<Name>) -> Touched {
        let mut touched = Touched::default();
        for node in &nodes {
            touched.paths.extend(self.told_for(node));
        }
        self.whole.get_or_insert_default().extend(nodes);
        touched
    }

    /// Whether what is held of a node is what it is at the revision. On a member it always is.
    pub fn is_whole(&self, node: &Name) -> bool {
        self.whole.as_ref().is_none_or(|whole| whole.contains(node))
    }
}
