//! The schema of one kind: which paths exist, what they may hold, what depends on what.
//!
//! From it follow three pure functions that everything else relies on: what a Cfg asks for
//! ([`Schema::goal`]), what an observation makes unknown ([`Schema::forgotten_by`]), and what a
//! reader must not show ([`Schema::is_hidden`]).

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use xxhash_rust::xxh3::xxh3_128;

use crate::{
    dsc::Dsc,
    id::Name,
    manifest::{SeenBy, SetBy, Type},
    mutation::Lane,
    nearest::{nearest, nearest_or_longer},
    path::{Bindings, Path, Pattern},
    policy::Share,
    state::State,
    value::Value,
};

/// The rules of one kind's paths.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Schema {
    /// By first segment; `*` never leads.
    rules: BTreeMap<String, Vec<PathRule>>,
    /// Where the rule of a path is found without trying each.
    tree: Tree,
    /// The first segments of all paths on which others depend: of other paths nothing has to be
    /// looked up when they change.
    causes: BTreeSet<String>,
}

/// The segments of patterns, each with what may follow it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Tree {
    /// The rule of the pattern that ends here, by its place under its first segment.
    rule: Option<usize>,
    named: BTreeMap<String, Tree>,
    star: Option<Box<Tree>>,
}

/// What the schema says of one pattern of paths.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathRule {
    /// The paths.
    pub pattern: Pattern,
    /// The module that declares them.
    pub module: Name,
    /// The type of their values.
    pub value_type: Type,
    /// The unit of their numbers.
    pub unit: Option<String>,
    /// One sentence for people.
    pub doc: String,
    /// Who sets them in Cfg.
    pub set_by: SetBy,
    /// Who sees them in Dsc.
    pub seen_by: SeenBy,
    /// After how many milliseconds an observation is stale.
    pub ttl_ms: Option<u64>,
    /// Conditions while which a value is known.
    pub known_while: Vec<Condition>,
    /// The value that means "not there".
    pub absent: Option<Value>,
    /// Cfg patterns of which the wanted value is the digest.
    pub digest_of: Vec<Pattern>,
    /// How often they may come back to a value before their object is quarantined.
    pub flaps_max: Option<u32>,
    /// Whether some module discovers them; else Cfg speaks for them.
    pub discovered: bool,
    /// The lane from which mutations change them, if any do.
    pub changed_from: Option<Lane>,
    /// Whether the quorum's lane may have something to do for what is asked here: it changes the
    /// paths, or others on which they rest.
    pub concerns_quorum: bool,
    /// Whether the host of an object must know them for its own lane: it changes them, or what it
    /// changes rests on them.
    pub concerns_host: bool,
}

/// A condition of `known_while`: the path holds one of these values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Condition {
    /// The path; stars are bound as in the rule.
    pub pattern: Pattern,
    /// The values that keep the condition true.
    pub allowed: BTreeSet<Value>,
}

/// What a Cfg asks for: the wanted value of each path that can be compared with what is seen.
pub type Goal = BTreeMap<Path, Value>;

/// The Cfg paths that one digest is made of, in order.
type Inputs<'a> = Vec<(&'a Path, &'a Value)>;

impl Schema {
    /// Adds a rule. The caller has checked that no other rule matches the same paths.
    pub(crate) fn insert(&mut self, rule: PathRule) {
        let causes = rule.known_while.iter().map(|c| head(c.pattern.as_str()).to_owned());
        self.causes.extend(causes);
        let head = head(rule.pattern.as_str()).to_owned();
        let rules = self.rules.entry(head).or_default();
        let mut tree = &mut self.tree;
        for segment in rule.pattern.as_str()[1..].split('/') {
            tree = match segment {
                "*" => tree.star.get_or_insert_default(),
                _ => tree.named.entry(segment.to_owned()).or_default(),
            };
        }
        tree.rule = Some(rules.len());
        rules.push(rule);
    }

    /// All rules, in order of first segment.
    pub fn rules(&self) -> impl Iterator<Item = &PathRule> {
        self.rules.values().flatten()
    }

    pub(crate) fn rules_mut(&mut self) -> impl Iterator<Item = &mut PathRule> {
        self.rules.values_mut().flatten()
    }

    /// The rule of a path and what its stars stand for there.
    pub fn rule(&self, path: &Path) -> Option<(&PathRule, Bindings)> {
        let rule = self.rule_at(path)?;
        Some((rule, rule.pattern.matches(path)?))
    }

    /// The rule of a path, for those who need not know what its stars stand for.
    pub fn rule_at(&self, path: &Path) -> Option<&PathRule> {
        let rules = self.rules.get(head(path.as_str()))?;
        rules.get(self.tree.find(Some(&path.as_str()[1..]))?)
    }

    /// Checks that a user may set a path to a value; the error says what would be right.
    pub fn check_set(&self, path: &Path, value: &Value) -> Result<(), String> {
        let Some((rule, _)) = self.rule(path) else {
            return Err(self.unknown_path(path));
        };
        match &rule.set_by {
            SetBy::User => rule.value_type.check(value),
            SetBy::Module(module) => Err(format!("it is decided by module {module}, not set")),
            SetBy::Nobody => Err("it is only discovered and cannot be set".to_owned()),
        }
    }

    /// Says what may have been meant, or else what could be set instead.
    fn unknown_path(&self, path: &Path) -> String {
        let settable = |rule: &&PathRule| matches!(rule.set_by, SetBy::User);
        let rules = self.rules.values().flatten().filter(settable);
        let near: Vec<String> = rules.map(|rule| rule.like(path)).collect();
        if let Some(near) = nearest(path.as_str(), near.iter().map(String::as_str)) {
            return format!("no extension declares this path (did you mean {near}?)");
        }
        let here = self.rules.get(head(path.as_str())).into_iter().flatten().filter(settable);
        let mut known: Vec<&str> = here.map(|rule| rule.pattern.as_str()).collect();
        if known.is_empty() {
            let roots = self.rules.iter().filter(|(_, rules)| rules.iter().any(|r| settable(&r)));
            known = roots.map(|(root, _)| root.as_str()).collect();
        }
        format!("no extension declares this path; what can be set here: {}", known.join(", "))
    }

    /// What a Cfg asks for. Paths that nothing discovers and nothing changes are inputs, not goals.
    /// While an object is being deleted the goal is that every absent value be seen.
    pub fn goal(&self, cfg: &State, deleting: bool) -> Goal {
        let mut goal = Goal::new();
        let mut digested: BTreeMap<(&Pattern, Bindings), Inputs<'_>> = BTreeMap::new();
        for (path, value) in cfg.iter() {
            if let Some(rule) = self.rule_at(path).filter(|rule| rule.is_goal()) {
                let value = if deleting { rule.absent.as_ref() } else { Some(value) };
                goal.extend(value.map(|value| (path.clone(), value.clone())));
            }
            for rule in self.digests_of(path) {
                for mut bindings in rule.digest_of.iter().filter_map(|input| input.matches(path)) {
                    bindings.truncate(rule.pattern.stars());
                    let inputs = digested.entry((&rule.pattern, bindings)).or_default();
                    if inputs.last().is_none_or(|(last, _)| *last != path) {
                        inputs.push((path, value));
                    }
                }
            }
        }
        if !deleting {
            self.add_digests(digested, &mut goal);
        }
        goal
    }

    /// The values at which an object is absent, of all paths that have one and hold no stars.
    pub fn absent(&self) -> Goal {
        let left = self.rules().filter_map(|rule| {
            let path = rule.pattern.bind(&Bindings::new())?;
            Some((path, rule.absent.clone()?))
        });
        left.collect()
    }

    /// The rules of which a Cfg path may be an input.
    fn digests_of<'a>(&'a self, path: &Path) -> impl Iterator<Item = &'a PathRule> {
        let rules = self.rules.get(head(path.as_str())).into_iter().flatten();
        rules.filter(|rule| !rule.digest_of.is_empty())
    }

    fn add_digests(&self, digested: BTreeMap<(&Pattern, Bindings), Inputs<'_>>, goal: &mut Goal) {
        for ((pattern, bindings), inputs) in digested {
            let Some(path) = pattern.bind(&bindings) else { continue };
            let Some(rule) = self.rule_at(&path) else { continue };
            let contradicted = rule.known_while.iter().any(|condition| {
                let path = condition.pattern.bind(&bindings);
                let wanted = path.and_then(|path| goal.get(&path));
                wanted.is_none_or(|wanted| !condition.allowed.contains(wanted))
            });
            if !contradicted {
                goal.insert(path, digest(&inputs));
            }
        }
    }

    /// The paths of `dsc` that an observation of `path` makes unknown: those whose condition the
    /// value makes false, and in turn those that depend on them. `path` itself is not among them.
    pub fn forgotten_by(&self, dsc: &Dsc, path: &Path, value: Option<&Value>) -> BTreeSet<Path> {
        let mut forgotten = BTreeSet::new();
        if !self.causes.contains(head(path.as_str())) {
            return forgotten;
        }
        let mut frontier = vec![(path.clone(), value.cloned())];
        while let Some((cause, value)) = frontier.pop() {
            for dependent in self.made_unknown(dsc, &cause, value.as_ref()) {
                if dependent != *path && forgotten.insert(dependent.clone()) {
                    frontier.push((dependent, None));
                }
            }
        }
        forgotten
    }

    /// The known paths of which `cause` holding `value` makes a condition false.
    fn made_unknown(&self, dsc: &Dsc, cause: &Path, value: Option<&Value>) -> Vec<Path> {
        let mut paths = Vec::new();
        for rule in self.rules() {
            for condition in &rule.known_while {
                if value.is_some_and(|value| condition.allowed.contains(value)) {
                    continue;
                }
                let Some(bindings) = condition.pattern.matches(cause) else { continue };
                if bindings.len() == rule.pattern.stars() {
                    paths.extend(rule.pattern.bind(&bindings));
                } else {
                    let depends = |path: &&Path| {
                        rule.pattern.matches(path).is_some_and(|all| all.starts_with(&bindings))
                    };
                    paths.extend(dsc.iter().map(|(path, _)| path).filter(depends).cloned());
                }
            }
        }
        paths.retain(|path| dsc.value(path.as_str()).is_some());
        paths
    }

    /// Whether a reader must not show what is held at `path`: a condition of it was seen, and does
    /// not hold now. A condition of which nothing was ever seen hides nothing.
    pub fn is_hidden(&self, dsc: &Dsc, path: &Path) -> bool {
        let Some(rule) = self.rule_at(path).filter(|rule| !rule.known_while.is_empty()) else {
            return false;
        };
        let Some(bindings) = rule.pattern.matches(path) else { return false };
        rule.known_while.iter().any(|condition| {
            let seen = condition.pattern.bind(&bindings).and_then(|path| dsc.get(path.as_str()));
            seen.is_some_and(|seen| {
                !seen.value.as_ref().is_some_and(|value| condition.allowed.contains(value))
            })
        })
    }
}

impl Tree {
    /// The rule of the path with these segments; `None` is past the last one.
    fn find(&self, rest: Option<&str>) -> Option<usize> {
        let Some(rest) = rest else { return self.rule };
        let (segment, after) = match rest.split_once('/') {
            Some((segment, after)) => (segment, Some(after)),
            None => (rest, None),
        };
        let named = self.named.get(segment).and_then(|tree| tree.find(after));
        named.or_else(|| self.star.as_ref()?.find(after))
    }
}

impl PathRule {
    /// Whether a Cfg value of the path is something to reach, not only an input.
    pub fn is_goal(&self) -> bool {
        self.discovered || self.changed_from.is_some()
    }

    /// The pattern with the segments of a path in the place of its stars.
    fn like(&self, path: &Path) -> String {
        let own = self.pattern.as_str().split('/').skip(1);
        let theirs = path.segments().map(Some).chain(std::iter::repeat(None));
        let segments = own.zip(theirs).map(|(own, theirs)| match (own, theirs) {
            ("*", Some(theirs)) => format!("/{theirs}"),
            _ => format!("/{own}"),
        });
        segments.collect()
    }
}

impl Type {
    /// The value that a text means that somebody typed for such a path: `1` is a text where a text
    /// is asked for. What cannot be such a value stays the text, which [`check`](Self::check) then
    /// refuses.
    pub fn read(&self, text: &str) -> Value {
        let read = Value::from_text(text);
        match (self, &read) {
            (Self::Bool, Value::Bool(_))
            | (Self::Int { .. }, Value::Int(_))
            | (Self::Float, Value::Int(_) | Value::Float(_))
            | (Self::Share, _) => read,
            (
                Self::Bool
                | Self::Int { .. }
                | Self::Float
                | Self::Text
                | Self::Texts
                | Self::Enum(_),
                _,
            ) => text.into(),
        }
    }

    /// Checks a value; the error says what would be right.
    pub fn check(&self, value: &Value) -> Result<(), String> {
        match (self, value) {
            (Self::Bool, Value::Bool(_))
            | (Self::Float, Value::Int(_) | Value::Float(_))
            | (Self::Text, Value::Str(_)) => Ok(()),
            (Self::Int { min, max }, Value::Int(number)) if (min..=max).contains(&number) => Ok(()),
            (Self::Int { min, max }, _) => {
                Err(format!("{value} is not a whole number from {min} to {max}"))
            }
            (Self::Enum(allowed), Value::Str(text))
                if allowed.iter().any(|value| value.as_str() == &**text) =>
            {
                Ok(())
            }
            (Self::Enum(allowed), _) => {
                let (known, hint) = (allowed.join(", "), suggest(allowed, value));
                Err(format!("{value} is not one of {known}{hint}"))
            }
            (Self::Texts, Value::List(items)) if items.iter().all(|i| i.as_str().is_some()) => {
                Ok(())
            }
            (Self::Texts, _) => Err(format!("{value} is not a list of texts")),
            (Self::Share, value) => Share::of_value(value).map(drop),
            (Self::Bool, _) => Err(format!("{value} is neither true nor false")),
            (Self::Float, _) => Err(format!("{value} is not a number")),
            (Self::Text, _) => Err(format!("{value} is not a text; put it in quotes")),
        }
    }
}

/// " (did you mean X?)" where one of the allowed texts is close to what was given.
fn suggest(allowed: &[String], given: &Value) -> String {
    let allowed: Vec<&str> = allowed.iter().map(String::as_str).collect();
    let near = given.as_str().and_then(|given| nearest_or_longer(given, &allowed));
    near.map_or_else(String::new, |near| format!(" (did you mean {near}?)"))
}

/// The digest of the Cfg values under patterns, for one choice of the leading stars.
pub fn digest_of(cfg: &State, patterns: &[Pattern], bindings: &Bindings) -> Value {
    let is_input = |path: &Path| {
        let mut found = patterns.iter().filter_map(|pattern| pattern.matches(path));
        found.any(|found| found.starts_with(bindings))
    };
    digest(&cfg.iter().filter(|(path, _)| is_input(path)).collect())
}

/// The digest of Cfg paths and their values, in order of path.
fn digest(inputs: &Inputs<'_>) -> Value {
    // Plain data always encodes.
    let bytes = rmp_serde::to_vec(inputs).unwrap_or_default();
    format!("{:032x}", xxh3_128(&bytes)).into()
}

fn head(path: &str) -> &str {
    path[1..].split('/').next().unwrap_or_default()
}
