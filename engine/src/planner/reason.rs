//! Why there is no plan, with the link that is missing.

use std::{collections::BTreeSet, fmt};

use serde::Serialize;

use super::{
    domain::Domain,
    problem::{Act, Problem},
    search::SEARCH_STATES_MAX,
    solve::{Failed, Reach},
};
use crate::{path::Path, value::Value};

/// Why a goal, or a part of one, cannot be reached.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase", tag = "reason")]
pub enum NoPlan {
    /// A path cannot be led on from where it is.
    Gap(Gap),
    /// Each path can be led to its goal, but not all of them together.
    Conflict {
        /// What cannot hold at once.
        wanted: Vec<Wanted>,
    },
    /// The search came to more states than [`SEARCH_STATES_MAX`].
    TooLarge {
        /// The paths whose product is too large.
        paths: Vec<Path>,
    },
    /// Several of these, none of which concerns the others.
    Several {
        /// In order of path.
        reasons: Vec<NoPlan>,
    },
}

/// The link that is missing on the way to a goal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Gap {
    /// The path that goes no further.
    pub path: Path,
    /// What it holds; absent where unknown.
    pub from: Option<Value>,
    /// What it would have to come to: one of these.
    pub towards: Vec<Value>,
    /// What keeps mutations from leading it there; empty where there are no such mutations.
    pub unmet: Vec<Unmet>,
    /// Mutations that would lead it to what Cfg says, if Cfg said something for a path.
    pub unasked: Vec<Unasked>,
    /// The mutations that need it, the last one first.
    pub needed_by: Vec<String>,
}

/// A need of a mutation that does not hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Unmet {
    /// The mutation.
    pub mutation: String,
    /// What it needs.
    pub needs: String,
    /// The path that it needs it of.
    pub path: Path,
    /// What that path holds; absent where unknown.
    pub found: Option<Value>,
}

/// A mutation that leads to what Cfg says, where Cfg says nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Unasked {
    /// The mutation.
    pub mutation: String,
    /// Paths, or patterns of paths, one of which Cfg would have to set.
    pub paths: Vec<String>,
}

/// What is wanted of a path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Wanted {
    /// The path.
    pub path: Path,
    /// Its wanted value.
    pub value: Value,
}

impl fmt::Display for NoPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gap(gap) => gap.fmt(f),
            Self::Conflict { wanted } if wanted.len() == 1 => {
                let wanted = list(wanted, |w| format!("{} = {}", w.path, w.value));
                write!(f, "mutations lead to {wanted}, but no order of them does from here")
            }
            Self::Conflict { wanted } => {
                let wanted = list(wanted, |w| format!("{} = {}", w.path, w.value));
                write!(f, "each can be reached, but not together: {wanted}")
            }
            Self::TooLarge { paths } => {
                let paths = list(paths, ToString::to_string);
                write!(f, "no plan within {SEARCH_STATES_MAX} states over {paths}")
            }
            Self::Several { reasons } => {
                f.write_str(&reasons.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))
            }
        }
    }
}

impl fmt::Display for Gap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, from, towards, unmet, unasked, needed_by } = self;
        let towards = towards.iter().map(ToString::to_string).collect::<Vec<_>>().join(" or ");
        write!(f, "nothing changes {path} from {} towards {towards}", shown(from.as_ref()))?;
        for (index, unmet) in unmet.iter().enumerate() {
            let word = if index == 0 { "while" } else { "and" };
            let found = shown(unmet.found.as_ref());
            write!(
                f,
                " {word} {} = {found} ({} needs {})",
                unmet.path, unmet.mutation, unmet.needs
            )?;
        }
        for unasked in unasked {
            let paths = unasked.paths.join(" or ");
            write!(f, "; {} would, if {paths} were set", unasked.mutation)?;
        }
        if let Some(mutation) = needed_by.first() {
            write!(f, "; {mutation} needs it")?;
        }
        Ok(())
    }
}

/// Most items of a list in one sentence.
const LIST_SHOWN_MAX: usize = 8;

fn list<T>(items: &[T], text: impl Fn(&T) -> String) -> String {
    let shown: Vec<String> = items.iter().take(LIST_SHOWN_MAX).map(text).collect();
    match items.len() - shown.len() {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

fn shown(value: Option<&Value>) -> String {
    value.map_or_else(|| "unknown".to_owned(), ToString::to_string)
}

/// Says why a part of a problem has no plan.
pub(super) fn explain(domain: &Domain, problem: &Problem<'_>, failed: &Failed) -> NoPlan {
    let paths = || failed.vars.iter().map(|var| domain.vars[*var].path.clone()).collect();
    if failed.too_large {
        return NoPlan::TooLarge { paths: paths() };
    }
    let reach = Reach::new(problem, |_| true);
    let goals = failed.vars.iter().filter_map(|var| Some((*var, problem.fields[*var].goal?)));
    let mut missing = goals.clone().filter(|(var, goal)| reach.values[*var] >> goal & 1 == 0);
    if let Some((var, goal)) = missing.next() {
        let mut inquest = Inquest { domain, problem, reach, visited: BTreeSet::new() };
        return NoPlan::Gap(inquest.gap(var, 1 << goal, Vec::new()));
    }
    let wanted = goals.filter_map(|(var, goal)| {
        let path = domain.vars[var].path.clone();
        let value = problem.fields[var].value(&domain.vars[var], goal)?.clone();
        Some(Wanted { path, value })
    });
    NoPlan::Conflict { wanted: wanted.collect() }
}

/// Follows what is not reached back to the first link that is missing.
struct Inquest<'a, 'q> {
    domain: &'a Domain,
    problem: &'a Problem<'q>,
    reach: Reach,
    visited: BTreeSet<usize>,
}

impl Inquest<'_, '_> {
    fn gap(&mut self, var: usize, towards: u64, needed_by: Vec<String>) -> Gap {
        self.visited.insert(var);
        let frontier = self.frontier(var, towards);
        let outright = frontier.iter().any(|act| self.missing(act).is_empty());
        let deeper = frontier.iter().find_map(|act| {
            let (other, mask) =
                self.missing(act).into_iter().find(|(other, _)| !self.visited.contains(other))?;
            Some((other, mask, self.name(act)))
        });
        if let Some((other, mask, name)) = deeper.filter(|_| !outright) {
            return self.gap(other, mask, [vec![name], needed_by].concat());
        }
        let field = &self.problem.fields[var];
        let rule = &self.domain.vars[var];
        let wanted = (0..field.size()).filter(|value| towards >> value & 1 == 1);
        let unasked = self
            .domain
            .unasked
            .iter()
            .filter(|(instance, _)| instance.changes().any(|(path, _)| path == rule.path));
        Gap {
            path: rule.path.clone(),
            from: field.value(rule, field.start).cloned(),
            towards: wanted.filter_map(|value| field.value(rule, value).cloned()).collect(),
            unmet: frontier.iter().flat_map(|act| self.unmet(act)).collect(),
            unasked: unasked
                .map(|(instance, paths)| Unasked {
                    mutation: instance.to_string(),
                    paths: paths.clone(),
                })
                .collect(),
            needed_by,
        }
    }

    fn name(&self, act: &Act) -> String {
        self.domain.ops[act.op].instance.to_string()
    }

    /// The acts that would lead a path on, from a value that it can have to one that it cannot,
    /// from which `towards` could be reached.
    fn frontier(&self, var: usize, towards: u64) -> Vec<&Act> {
        let moves = |act: &&Act| act.effects.iter().any(|effect| effect.var == var);
        let acts: Vec<&Act> = self.problem.acts.iter().filter(moves).collect();
        let start_of = |act: &Act| need(act, var);
        let lead = |act: &Act| act.effects.iter().find(|e| e.var == var).map_or(0, |e| e.to);
        let mut useful = towards;
        loop {
            let more = acts.iter().filter(|act| useful >> lead(act) & 1 == 1);
            let grown = more.fold(useful, |useful, act| useful | start_of(act));
            if grown == useful {
                break;
            }
            useful = grown;
        }
        let can = self.reach.values[var];
        let leads_on =
            |act: &&Act| can & start_of(act) != 0 && (useful & !can) >> lead(act) & 1 == 1;
        acts.into_iter().filter(leads_on).collect()
    }

    /// What an act needs of other paths of the product and never gets.
    fn missing(&self, act: &Act) -> Vec<(usize, u64)> {
        let never = |(var, mask): &&(usize, u64)| self.reach.values[*var] & mask == 0;
        act.needs.iter().filter(never).copied().collect()
    }

    fn unmet(&self, act: &Act) -> Vec<Unmet> {
        let op = &self.domain.ops[act.op];
        let facts = op.facts.iter().filter(|fact| !self.problem.facts[**fact]).map(|fact| {
            let (path, guard) = &self.domain.facts[*fact];
            (path, guard, self.problem.found[*fact].clone())
        });
        let vars = op.reads.iter().filter_map(|(var, guard)| {
            let (rule, field) = (&self.domain.vars[*var], &self.problem.fields[*var]);
            let values = (0..field.size()).filter(|v| self.reach.values[*var] >> v & 1 == 1);
            let mut values = values.map(|value| field.value(rule, value));
            let met = values.any(|value| guard.admits(value));
            (!met).then(|| (&rule.path, guard, field.value(rule, field.start).cloned()))
        });
        facts
            .chain(vars)
            .map(|(path, guard, found)| Unmet {
                mutation: self.name(act),
                needs: guard.describe(path),
                path: path.clone(),
                found,
            })
            .collect()
    }
}

fn need(act: &Act, var: usize) -> u64 {
    act.needs.iter().find(|(held, _)| *held == var).map_or(u64::MAX, |(_, mask)| *mask)
}
