//! Lost links: when many nodes lose theirs together it is the network, and not the nodes; and a
//! node that merely is not reached is not disrupted by itself.
//!
//! | a node whose link is down, and | is disrupted |
//! |---|---|
//! | a person wrote its Cfg since, or asked for a retry | yes |
//! | more lost theirs within a minute than may | no |
//! | something seen of it differs from what is asked | yes |
//! | what is asked is merely not known, and a policy says `cycleUnreachable: after D` | after D |
//! | what is asked is merely not known | no: it is reported |

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use super::{
    hold::{Hold, On},
    ledger::Cover,
    rules::Rules,
    share::Share,
};
use crate::{
    dsc::Dsc,
    fleet::{LINK_PATH, Link},
    id::Uid,
    object::Object,
    time::Millis,
    value::Value,
};

/// Within how long links that are lost are lost together, in milliseconds.
pub const LOST_SPAN_MS: u64 = 60_000;
/// How many of a hundred nodes may lose their link together, where no policy says otherwise.
pub const LOST_PERCENT: u8 = 10;
/// So many may in any case, where the limit is a share of a hundred.
pub const LOST_LEAST: u32 = 3;

/// The links of the nodes that a leader decides for.
#[derive(Debug, Default)]
pub(super) struct Lost {
    linked: BTreeSet<Uid>,
    down: BTreeMap<Uid, Down>,
}

/// A node whose link is down.
#[derive(Debug, Clone)]
struct Down {
    since: Millis,
    /// What its generation was then: a later one is a person's word.
    generation: u64,
    under: Vec<Cover>,
}

impl Lost {
    /// Takes what is seen of an object's link; true where it is down.
    pub(super) fn note(&mut self, object: &Object, dsc: &Dsc, under: &[Cover]) -> bool {
        let uid = object.uid;
        let Some(link) = dsc.get(LINK_PATH).filter(|link| link.value.is_some()) else {
            self.forget(uid);
            return false;
        };
        self.linked.insert(uid);
        let up = link.value.as_ref().and_then(Value::as_str) != Some(Link::Down.as_str());
        if up {
            self.down.remove(&uid);
            return false;
        }
        let generation = object.generation;
        let new = || Down { since: link.seen_at, generation, under: Vec::new() };
        under.clone_into(&mut self.down.entry(uid).or_insert_with(new).under);
        true
    }

    pub(super) fn is_down(&self, uid: Uid) -> bool {
        self.down.contains_key(&uid)
    }

    pub(super) fn forget(&mut self, uid: Uid) {
        self.linked.remove(&uid);
        self.down.remove(&uid);
    }

    /// What holds a disruptive step for an object, if its link is down. `differs`: something that
    /// is seen of it is not what is asked.
    pub(super) fn hold(
        &self,
        rules: &Rules,
        object: &Object,
        differs: bool,
        now: Millis,
    ) -> Option<Hold> {
        let down = self.down.get(&object.uid)?;
        if down.generation != object.generation {
            return None;
        }
        if let Some(hold) = self.together(rules, down) {
            return Some(hold);
        }
        if differs { None } else { unreachable(rules, object, down, now) }
    }

    /// Whether too many were lost with this one, in the fleet or in its class under a policy.
    fn together(&self, rules: &Rules, down: &Down) -> Option<Hold> {
        let near = |other: &&Down| {
            let apart = other.since.since(down.since).max(down.since.since(other.since));
            apart < Duration::from_millis(LOST_SPAN_MS)
        };
        let near: Vec<&Down> = self.down.values().filter(near).collect();
        let lost = u32::try_from(near.len()).unwrap_or(u32::MAX);
        let linked = u32::try_from(self.linked.len()).unwrap_or(u32::MAX);
        let over = |policy: &str, lost: u32, most: u32, of: u32| {
            (lost > most).then(|| {
                let why = format!(
                    "{lost} of {of} nodes lost their link within a minute, more than {most}: it is \
                     taken for the network until the node is reached again, or somebody writes \
                     its Cfg or asks for a retry"
                );
                Hold::new(policy, On::MaxLost, why)
            })
        };
        let fleet = most(Share::Percent(LOST_PERCENT), linked);
        over("", lost, fleet, linked).or_else(|| {
            down.under.iter().find_map(|cover| {
                let policy = rules.policy(cover.policy)?;
                let share = policy.limits.max_lost.unwrap_or(Share::Percent(LOST_PERCENT));
                let of = rules.of_class(cover);
                let lost = near.iter().filter(|other| other.under.contains(cover)).count();
                let lost = u32::try_from(lost).unwrap_or(u32::MAX);
                over(policy.name.as_str(), lost, most(share, of), of)
            })
        })
    }
}

fn most(share: Share, total: u32) -> u32 {
    match share {
        Share::Count(count) => count,
        Share::Percent(_) => share.at_most(total).max(LOST_LEAST),
    }
}

fn unreachable(rules: &Rules, object: &Object, down: &Down, now: Millis) -> Option<Hold> {
    let policies = down.under.iter().filter_map(|cover| rules.policy(cover.policy));
    let waits = policies.filter_map(|policy| Some((policy, policy.limits.cycle_unreachable?)));
    let name = &object.key.name;
    if let Some((policy, after)) = waits.max_by_key(|(_, after)| *after) {
        let until = down.since.after(after);
        let hold =
            Hold::new(policy.name.as_str(), On::Unreachable, format!("{name} is not reached"));
        return (now < until).then(|| hold.until(until));
    }
    let why = format!(
        "{name} is not reached, and what is asked of it is merely not known: no policy has it \
         disrupted by itself; an operator may mend it, or ask for a retry"
    );
    Some(Hold::new("", On::Unreachable, why))
}
