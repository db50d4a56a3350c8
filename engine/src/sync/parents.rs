//! Which of its parents a child dials next, and how long it waits before.
//!
//! Each child has an order of its own over its parents, by weighted rendezvous hashing (Schindler
//! and Schomaker, "Weighted distributed hash tables", 2005): parents get shares by their weights,
//! the children of one that dies spread over all others, and one that is added takes a part of
//! each share and moves nobody between the others.

use std::{f64::consts::LN_2, fmt, num::NonZero, str::FromStr};

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use crate::id::Name;

/// The greatest weight of a parent.
pub const WEIGHT_MAX: u8 = 100;
/// The first pause before a child dials again, in milliseconds.
pub const REDIAL_MIN_MS: u64 = 100;
/// The longest one.
pub const REDIAL_MAX_MS: u64 = 5_000;

/// How often in a row a child has patience with one parent.
pub const DEFERRALS_MAX: u32 = 3;

/// Where a child may attach, and how large a share of all children is to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Parent {
    /// `host:port` of its sync listener.
    pub address: String,
    /// Up to [`WEIGHT_MAX`]; children come in proportion to it.
    pub weight: NonZero<u8>,
}

/// A text is no parent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParentError {
    /// It names no port.
    #[error("{0:?} is no address; write host:port")]
    Address(String),
    /// What follows the address is no weight.
    #[error("{0:?} is no weight; write host:port weight=N, N from 1 to {WEIGHT_MAX}")]
    Weight(String),
}

impl Parent {
    /// One that has no other weight than all others.
    pub fn at(address: impl ToString) -> Self {
        Self { address: address.to_string(), weight: NonZero::<u8>::MIN }
    }
}

impl FromStr for Parent {
    type Err = ParentError;

    fn from_str(text: &str) -> Result<Self, ParentError> {
        let (address, weight) = match text.trim().split_once(char::is_whitespace) {
            None => (text.trim(), NonZero::<u8>::MIN),
            Some((address, rest)) => {
                let weight = rest.trim().strip_prefix("weight=").and_then(|n| n.parse().ok());
                let weight = weight.filter(|weight: &NonZero<u8>| weight.get() <= WEIGHT_MAX);
                (address, weight.ok_or_else(|| ParentError::Weight(rest.trim().to_owned()))?)
            }
        };
        let is_port = |port: &str| port.parse::<NonZero<u16>>().is_ok();
        match address.rsplit_once(':') {
            Some((host, port)) if !host.is_empty() && is_port(port) => {
                Ok(Self { address: address.to_owned(), weight })
            }
            _ => Err(ParentError::Address(address.to_owned())),
        }
    }
}

impl TryFrom<String> for Parent {
    type Error = ParentError;

    fn try_from(text: String) -> Result<Self, ParentError> {
        text.parse()
    }
}

impl From<Parent> for String {
    fn from(parent: Parent) -> Self {
        parent.to_string()
    }
}

impl fmt::Display for Parent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.address)?;
        if self.weight.get() > 1 { write!(f, " weight={}", self.weight) } else { Ok(()) }
    }
}

/// The parents of a child, the one that it prefers first.
fn ranked(node: &Name, mut parents: Vec<Parent>) -> Vec<Parent> {
    // By -ln(u) / w, u drawn from the open unit interval by the hash: it is spread as the first
    // arrival of a stream of rate w, so that the least is of a parent with odds by weights.
    let arrival = |parent: &Parent| {
        let node = xxh3_64(node.as_str().as_bytes());
        let drawn = xxh3_64_with_seed(parent.address.as_bytes(), node) >> 12;
        #[expect(clippy::cast_precision_loss, reason = "52 bits fit")]
        let drawn = (drawn as f64 + 0.5).log2() - 52.0;
        -drawn * LN_2 / f64::from(parent.weight.get())
    };
    parents.sort_by(|a, b| arrival(a).total_cmp(&arrival(b)).then(a.address.cmp(&b.address)));
    parents
}

/// Whom a child dials, and when. All parents are tried in its order; one that it has just lost
/// comes last.
#[derive(Debug, Clone)]
pub struct Dials {
    node: u64,
    ranked: Vec<Parent>,
    /// The places in `ranked` that are still to be tried, the next one last.
    round: Vec<usize>,
    /// The place that was dialled last.
    at: usize,
    /// Dials so far.
    dialled: u64,
    /// The next pause, before chance takes of it.
    pause_ms: u64,
    /// How often in a row it was asked for patience.
    deferred: u32,
}

/// How a dial ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// Nobody answered, or it was over soon.
    Failed,
    /// The child was attached for a while.
    Lost,
    /// The parent is busy and asks for patience, in milliseconds.
    Deferred(u64),
}

impl Dials {
    /// Of a child that has not dialled yet.
    pub fn new(node: &Name, parents: Vec<Parent>) -> Self {
        let ranked = ranked(node, parents);
        let node = xxh3_64(node.as_str().as_bytes());
        let (round, pause_ms) = (Vec::new(), REDIAL_MIN_MS);
        Self { node, ranked, round, at: 0, dialled: 0, pause_ms, deferred: 0 }
    }

    /// How many parents there are.
    pub fn parents(&self) -> usize {
        self.ranked.len()
    }

    /// The address to dial now; `None` where there are no parents.
    pub fn dial(&mut self) -> Option<&str> {
        if self.round.is_empty() {
            self.round = (0..self.ranked.len()).rev().collect();
        }
        self.at = self.round.pop()?;
        self.dialled += 1;
        self.ranked.get(self.at).map(|parent| parent.address.as_str())
    }

    /// Takes in how that ended; answered with how many milliseconds to wait before the next dial.
    ///
    /// Between a half and the whole of a pause that doubles, so that those who lost the same parent
    /// do not come together to the next. Who is asked for patience comes back to the same parent,
    /// between once and one and a quarter times as late as was asked; who is asked too often goes
    /// on to the next.
    pub fn ended(&mut self, how: Ended) -> u64 {
        self.deferred = if matches!(how, Ended::Deferred(_)) { self.deferred + 1 } else { 0 };
        match how {
            Ended::Failed => {
                let pause = self.pause_ms;
                self.pause_ms = (pause * 2).min(REDIAL_MAX_MS);
                pause / 2 + self.chance(pause / 2)
            }
            Ended::Lost => {
                let others = (0..self.ranked.len()).filter(|place| *place != self.at);
                self.round = [self.at].into_iter().chain(others.rev()).collect();
                self.pause_ms = REDIAL_MIN_MS * 2;
                REDIAL_MIN_MS / 2 + self.chance(REDIAL_MIN_MS / 2)
            }
            Ended::Deferred(ms) => {
                if self.deferred.is_multiple_of(DEFERRALS_MAX) {
                    self.deferred = 0;
                } else {
                    self.round.push(self.at);
                }
                let ms = ms.min(REDIAL_MAX_MS);
                ms + self.chance(ms / 4)
            }
        }
    }

    /// A number up to `most`, another one for each child and dial.
    fn chance(&self, most: u64) -> u64 {
        xxh3_64_with_seed(&self.dialled.to_le_bytes(), self.node) % (most + 1)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn name(number: usize) -> Name {
        Name::new(format!("leaf-{number}")).unwrap()
    }

    fn parents(texts: &[&str]) -> Vec<Parent> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    /// How many of 10,000 children prefer each.
    fn shares(parents: &[Parent]) -> BTreeMap<String, usize> {
        let mut shares = BTreeMap::new();
        for number in 0..10_000 {
            let first = ranked(&name(number), parents.to_vec()).remove(0);
            *shares.entry(first.address).or_default() += 1;
        }
        shares
    }

    #[test]
    fn an_address_may_have_a_weight() {
        let parent = |address: &str, weight| Parent {
            address: address.to_owned(),
            weight: NonZero::new(weight).unwrap(),
        };
        for (text, expected) in [
            ("m1:3144", Ok(parent("m1:3144", 1))),
            (" [::1]:3144  weight=100 ", Ok(parent("[::1]:3144", 100))),
            ("m1", Err(ParentError::Address("m1".to_owned()))),
            (":3144", Err(ParentError::Address(":3144".to_owned()))),
            ("m1:0", Err(ParentError::Address("m1:0".to_owned()))),
            ("m1:3144 weight=0", Err(ParentError::Weight("weight=0".to_owned()))),
            ("m1:3144 weight=101", Err(ParentError::Weight("weight=101".to_owned()))),
            ("m1:3144 2", Err(ParentError::Weight("2".to_owned()))),
        ] {
            let read = text.parse::<Parent>();
            assert_eq!(read, expected, "{text}");
            if let Ok(read) = read {
                assert_eq!(read.to_string().parse(), Ok(read));
            }
        }
    }

    #[test]
    fn children_spread_by_weights() {
        let shares = shares(&parents(&["a:1", "b:1", "c:1 weight=2"]));
        for (address, expected) in [("a:1", 2_500), ("b:1", 2_500), ("c:1", 5_000)] {
            let share = shares[address];
            assert!(share.abs_diff(expected) < 200, "{address}: {share} of {expected}");
        }
    }

    #[test]
    fn a_parent_that_dies_leaves_to_all_others_and_moves_nobody_else() {
        let all = parents(&["a:1", "b:1", "c:1", "d:1"]);
        let mut taken = BTreeMap::<String, usize>::new();
        for number in 0..10_000 {
            let before = ranked(&name(number), all.clone());
            let after = ranked(&name(number), all[1..].to_vec());
            if before[0].address == "a:1" {
                assert_eq!(after[..], before[1..]);
                *taken.entry(after[0].address.clone()).or_default() += 1;
            } else {
                assert_eq!(after[0], before[0]);
            }
        }
        for (address, share) in taken {
            assert!(share.abs_diff(833) < 120, "{address}: {share}");
        }
    }

    #[test]
    fn all_are_tried_by_turns_and_the_lost_one_last() {
        let mut dials = Dials::new(&name(7), parents(&["a:1", "b:1", "c:1"]));
        let mut dial = |how| {
            let address = dials.dial().unwrap().to_owned();
            (address, dials.ended(how))
        };
        let (first, pause) = dial(Ended::Failed);
        assert!((50..=100).contains(&pause), "{pause}");
        let (second, pause) = dial(Ended::Failed);
        assert!((100..=200).contains(&pause), "{pause}");
        let (third, pause) = dial(Ended::Deferred(800));
        assert!((800..=1_000).contains(&pause), "{pause}");
        assert_eq!(dial(Ended::Lost).0, third, "who was asked to wait comes back");
        assert_eq!(dial(Ended::Failed).0, first);
        assert_eq!(dial(Ended::Failed).0, second);
        assert_eq!(dial(Ended::Failed).0, third);
        for _ in 0..2 {
            dial(Ended::Deferred(10));
        }
        let (patient, _) = dial(Ended::Deferred(10));
        assert_eq!(patient, first);
        assert_eq!(dial(Ended::Failed).0, second, "it has waited often enough");
        for _ in 0..20 {
            assert!(dial(Ended::Failed).1 <= REDIAL_MAX_MS);
        }
        let mut nobody = Dials::new(&name(7), Vec::new());
        assert_eq!(nobody.dial(), None);
        assert!(nobody.ended(Ended::Failed) <= REDIAL_MIN_MS);
    }

    #[test]
    fn children_of_one_parent_do_not_come_back_together() {
        let mut at = BTreeMap::<u64, usize>::new();
        for number in 0..1_000 {
            let mut dials = Dials::new(&name(number), parents(&["a:1", "b:1"]));
            dials.dial();
            *at.entry(dials.ended(Ended::Lost)).or_default() += 1;
        }
        assert!(at.values().all(|together| *together < 60), "{at:?}");
    }

    proptest! {
        #[test]
        fn nobody_is_left_out(
            ends in prop::collection::vec(0..3_u8, 0..30),
            count in 1..6_usize,
            number in 0..1_000_usize,
        ) {
            let texts: Vec<String> = (0..count).map(|at| format!("p{at}:1")).collect();
            let all = texts.iter().map(|text| text.parse().unwrap()).collect();
            let mut dials = Dials::new(&name(number), all);
            for end in ends {
                dials.dial();
                let how = [Ended::Failed, Ended::Lost, Ended::Deferred(500)][usize::from(end)];
                prop_assert!(dials.ended(how) <= REDIAL_MAX_MS);
            }
            let tried: std::collections::BTreeSet<String> = (0..2 * count)
                .filter_map(|_| {
                    let address = dials.dial().map(str::to_owned);
                    dials.ended(Ended::Failed);
                    address
                })
                .collect();
            prop_assert_eq!(tried.len(), count);
        }
    }
}
