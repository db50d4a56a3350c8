//! For whom a node speaks: what it has to tell others of what it holds.
//!
//! Everybody tells what he wrote, and a parent what those attached to it wrote. What a member wrote
//! may have been heard by one other alone when it died. So whoever attaches to a member tells it
//! its own words, which it then tells to all; and whoever has lost a member for long speaks for it.
//! Who hears a member's words from another, and not from itself, tells them to it: it may have
//! forgotten them, and the other may be gone before it can say them to it.

use std::collections::BTreeSet;

use super::{Fleet, LINK_PATH, Touched};
use crate::{
    dsc::{Dsc, Observed, Sighting},
    id::{Name, Uid},
    path::Path,
};

impl Fleet {
    /// A node is attached here from now on, or no longer. What is held of its words is then told
    /// again from here: its last parent may have gone before it had told everybody.
    pub fn set_attached(&mut self, node: &Name, attached: bool) -> Touched {
        let mut touched = Touched::default();
        if !attached {
            self.attached.remove(node);
            return touched;
        }
        self.attached.insert(node.clone());
        touched.paths = self.told_for(node);
        touched
    }

    /// What is to be told again for a node, if it is attached here: its words, and its link where
    /// that was said here or by a relay that is attached here by now.
    pub(super) fn told_for(&self, node: &Name) -> Vec<(Uid, Path)> {
        let mut told = Vec::new();
        if !self.attached.contains(node) {
            return told;
        }
        for uid in self.charges_of(node).map(|object| object.uid) {
            let held = self.dsc.get(&uid).into_iter().flat_map(|dsc| dsc.iter());
            let words = held.filter(|(_, observed)| observed.stamp.writer == *node);
            told.extend(words.map(|(path, _)| (uid, path.clone())));
        }
        if let Some(object) = self.node(node)
            && let Some(link) = self.seen(object.uid).and_then(|dsc| dsc.get(LINK_PATH))
            && self.speaks_for(link)
        {
            told.push((object.uid, Path::constant(LINK_PATH)));
        }
        told
    }

    /// Whether this node speaks for another: that is attached here, or is this one itself.
    pub fn speaks_for_node(&self, node: &Name) -> bool {
        *node == self.me || self.attached.contains(node)
    }

    /// A member has been lost for long, or has attached here. Of a lost one all that is held of its
    /// words is told from here: nobody else may hold it. So it is, to the member alone, of one that
    /// has attached: the last words of an earlier life may have come after this node had told it
    /// all that it held of them.
    pub fn set_lost(&mut self, member: &Name, lost: bool) -> Touched {
        self.peers.insert(member.clone());
        let is_known = if lost {
            !self.bequeathed.insert(member.clone())
        } else {
            self.bequeathed.remove(member);
            false
        };
        let mut touched = Touched::default();
        if is_known {
            return touched;
        }
        for (uid, dsc) in &self.dsc {
            let told = dsc.iter().filter(|(_, observed)| observed.stamp.writer == *member);
            touched.paths.extend(told.map(|(path, _)| (*uid, path.clone())));
        }
        touched
    }

    /// Whether this node speaks for an observation towards other members: it wrote it, or a node
    /// that is attached here did, or a member that is lost. For what it only remembers nobody
    /// speaks.
    fn speaks_for(&self, observed: &Observed) -> bool {
        let writer = &observed.stamp.writer;
        !observed.is_remembered()
            && (*writer == self.me
                || self.attached.contains(writer)
                || self.bequeathed.contains(writer))
    }

    /// What is to be told of what `teller` has said and changed something here: that for which this
    /// node speaks, and hearsay of another member, which that member itself is to hear.
    pub fn spoken_of(&self, touched: &Touched, teller: &Name) -> Vec<(Uid, Path)> {
        let tells = |(uid, path): &&(Uid, Path)| {
            let held = self.dsc.get(uid).and_then(|dsc| dsc.get(path.as_str()));
            held.is_some_and(|held| {
                let writer = &held.stamp.writer;
                let is_hearsay = writer != teller && self.peers.contains(writer);
                self.speaks_for(held) || is_hearsay && !held.is_remembered()
            })
        };
        touched.paths.iter().filter(tells).cloned().collect()
    }

    /// The latest stamp that is held in a node's name of what is in its charge, in milliseconds.
    pub fn spoken_ms(&self, node: &Name) -> u64 {
        let charges = self.charges_of(node).filter_map(|object| self.dsc.get(&object.uid));
        let stamps = charges.flat_map(|dsc| dsc.iter()).map(|(_, observed)| &observed.stamp);
        stamps.filter(|stamp| stamp.writer == *node).map(|stamp| stamp.ms).max().unwrap_or_default()
    }

    /// Whether an observation is to be told to whoever this node is attached to: it speaks for it,
    /// or that member wrote it itself, and may have forgotten it since.
    fn tells(&self, observed: &Observed, parent: Option<&Name>) -> bool {
        let is_of_parent = parent == Some(&observed.stamp.writer);
        self.speaks_for(observed) || is_of_parent && !observed.is_remembered()
    }

    /// All that this node has to tell whoever it has attached to. What others say later in the name
    /// of that one is told to it as well.
    pub fn spoken_to(&mut self, parent: Option<&Name>) -> Vec<(Uid, Vec<Sighting>)> {
        self.peers.extend(parent.cloned());
        let of = |dsc: &Dsc| -> Vec<Sighting> {
            let told = dsc.iter().filter(|(_, observed)| self.tells(observed, parent));
            told.map(|(path, observed)| (path.clone(), observed.clone())).collect()
        };
        let all = self.dsc.iter().map(|(uid, dsc)| (*uid, of(dsc)));
        all.filter(|(_, sightings)| !sightings.is_empty()).collect()
    }

    /// The present observations at some paths, of those that are to be told to whoever it is
    /// attached to.
    pub fn spoken_at(
        &self,
        paths: &BTreeSet<(Uid, Path)>,
        parent: Option<&Name>,
    ) -> Vec<(Uid, Vec<Sighting>)> {
        let mut spoken: Vec<(Uid, Vec<Sighting>)> = Vec::new();
        let mut of: Option<(Uid, Option<&Dsc>)> = None;
        for (uid, path) in paths {
            // The paths of an object follow each other: it is sought once.
            let dsc = match of {
                Some((last, dsc)) if last == *uid => dsc,
                _ => self.seen(*uid),
            };
            of = Some((*uid, dsc));
            let observed = dsc.and_then(|dsc| dsc.get(path.as_str()));
            let Some(observed) = observed.filter(|observed| self.tells(observed, parent)) else {
                continue;
            };
            let sighting = (path.clone(), observed.clone());
            match spoken.last_mut() {
                Some((last, sightings)) if last == uid => sightings.push(sighting),
                _ => spoken.push((*uid, vec![sighting])),
            }
        }
        spoken
    }
}
