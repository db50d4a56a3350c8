//! Compiles the paths and mutations of manifests, one by one, and says what of them cannot be.

use super::Problem;
use crate::{
    check::Code,
    id::Name,
    manifest::{From, MutationSpec, PathSpec, To},
    mutation::{Change, Lane, Mutation, MutationId},
    path::Pattern,
    predicate::{On, Predicate, Test},
    schema::{Condition, PathRule, Schema},
    value::Value,
};

/// Where a problem is; turns any message into a [`Problem`].
pub(super) struct Place<'a> {
    pub(super) module: &'a str,
    /// The place in words.
    pub(super) words: String,
    /// The place as keys and indices of the manifest, outermost first.
    pub(super) keys: Vec<String>,
}

impl<'a> Place<'a> {
    pub(super) fn new(module: &'a str, words: String, keys: &[&str]) -> Self {
        Self { module, words, keys: keys.iter().map(|key| (*key).to_owned()).collect() }
    }

    pub(super) fn problem(&self, code: Code, why: impl ToString) -> Problem {
        Problem {
            module: self.module.to_owned(),
            place: self.words.clone(),
            why: why.to_string(),
            code,
            keys: self.keys.clone(),
        }
    }

    /// The same with a key further in.
    pub(super) fn problem_at(&self, keys: &[&str], code: Code, why: impl ToString) -> Problem {
        let mut problem = self.problem(code, why);
        problem.keys.extend(keys.iter().map(|key| (*key).to_owned()));
        problem
    }
}

pub(super) fn path_rule(spec: &PathSpec, place: &Place<'_>) -> Result<PathRule, Problem> {
    let pattern = parse::<Pattern>(&spec.path, place)?;
    let module = Name::new(place.module).map_err(|error| place.problem(Code::Unreadable, error))?;
    if pattern.as_str().starts_with("/*") {
        return Err(place.problem(Code::Unreadable, "the first segment cannot be `*`"));
    }
    if pattern.as_str() == "/engine" || pattern.as_str().starts_with("/engine/") {
        return Err(place.problem(Code::Reserved, "/engine is kept for the engine itself"));
    }
    if let Some(absent) = &spec.absent {
        let wrong = |why| place.problem_at(&["absent"], Code::WrongValue, why);
        spec.value_type.check(absent).map_err(wrong)?;
    }
    let known_while = spec.known_while.iter().map(|text| condition(text, &pattern, place));
    let digest_of: Vec<Pattern> =
        spec.digest_of.iter().map(|text| parse(text, place)).collect::<Result<_, _>>()?;
    let same_head =
        |input: &&Pattern| input.stars() < pattern.stars() || !heads_agree(input, &pattern);
    if let Some(input) = digest_of.iter().find(same_head) {
        let why = format!("{input} does not lie beside the digest");
        return Err(place.problem_at(&["digestOf"], Code::UnknownPath, why));
    }
    Ok(PathRule {
        module,
        value_type: spec.value_type.clone(),
        unit: spec.unit.clone(),
        doc: spec.doc.clone(),
        set_by: spec.set_by.clone(),
        seen_by: spec.seen_by,
        ttl_ms: spec.ttl_ms,
        known_while: known_while.collect::<Result<_, _>>()?,
        absent: spec.absent.clone(),
        digest_of,
        flaps_max: spec.flaps_max,
        discovered: false,
        changed_from: None,
        concerns_quorum: false,
        concerns_host: false,
        pattern,
    })
}

fn condition(text: &str, pattern: &Pattern, place: &Place<'_>) -> Result<Condition, Problem> {
    let predicate = parse::<Predicate>(text, place)?;
    match (predicate.on, predicate.test) {
        (On::Itself, Test::In(allowed)) if predicate.path.stars() <= pattern.stars() => {
            Ok(Condition { pattern: predicate.path, allowed })
        }
        _ => {
            let why = format!("known_while {text:?} must be `=` or `in` on this object");
            Err(place.problem_at(&["knownWhile"], Code::Unreadable, why))
        }
    }
}

pub(super) fn compile(
    module: &str,
    spec: &MutationSpec,
    place: &Place<'_>,
) -> Result<Mutation, Problem> {
    let name = |text: &str| Name::new(text).map_err(|error| place.problem(Code::Unreadable, error));
    let predicates = |texts: &[String]| -> Result<Vec<Predicate>, Problem> {
        texts.iter().map(|text| parse(text, place)).collect()
    };
    let mut changes = Vec::new();
    for (path, change) in &spec.changes {
        let path = parse(path, place)?;
        changes.push(Change { path, from: change.from.clone(), to: change.to.clone() });
    }
    let mut via: Vec<(Pattern, Vec<Value>)> = Vec::new();
    for (path, values) in &spec.via {
        via.push((parse(path, place)?, values.clone()));
    }
    let mut fail_to = Vec::new();
    for (path, value) in &spec.fail_to {
        fail_to.push((parse(path, place)?, value.clone()));
    }
    Ok(Mutation {
        id: MutationId::new(name(module)?, name(&spec.name)?),
        context: spec.context,
        changes,
        requires: predicates(&spec.requires)?,
        excludes: predicates(&spec.excludes)?,
        timeout: std::time::Duration::from_millis(spec.timeout_ms),
        fail_to,
        cost_ms: spec.cost_ms.max(1),
        disruptive: spec.disruptive,
        cancellable: spec.cancellable,
        via,
        retry: spec.retry,
    })
}

pub(super) fn check_mutation(
    schema: &Schema,
    mutation: &Mutation,
    place: &Place<'_>,
) -> Result<(), Problem> {
    if mutation.changes.is_empty() {
        return Err(place.problem(Code::Unreadable, "it changes nothing"));
    }
    if mutation.disruptive && mutation.context.lane() == Lane::Itself {
        let why = "what a node decides for itself is never disruptive";
        return Err(place.problem_at(&["disruptive"], Code::Lanes, why));
    }
    let stars = mutation.stars();
    for change in &mutation.changes {
        let key = ["changes", change.path.as_str()];
        if change.path.stars() != stars {
            let why = "all changed paths must hold the same stars";
            return Err(place.problem_at(&key, Code::Stars, why));
        }
        let rule = rule_of(schema, &change.path, place).map_err(|p| p.within(&key))?;
        let mut values: Vec<&Value> = Vec::new();
        if let From::In(from) = &change.from {
            values.extend(from);
        }
        if let To::Value(to) = &change.to {
            if values.contains(&to) {
                let why = format!("{} leads from {to} to itself", change.path);
                return Err(place.problem_at(&key, Code::ToItself, why));
            }
            values.push(to);
        }
        for value in values {
            rule.value_type
                .check(value)
                .map_err(|why| place.problem_at(&key, Code::WrongValue, why))?;
        }
    }
    let fails = mutation.fail_to.iter().map(|(path, value)| (path, std::slice::from_ref(value)));
    let shows = mutation.via.iter().map(|(path, values)| (path, values.as_slice()));
    for (path, values) in fails.chain(shows) {
        let rule = rule_of(schema, path, place)?;
        if path.stars() > stars {
            let why = format!("{path} has stars that no change binds");
            return Err(place.problem(Code::Stars, why));
        }
        for value in values {
            rule.value_type.check(value).map_err(|why| place.problem(Code::WrongValue, why))?;
        }
    }
    check_predicates(schema, mutation, place)
}

fn check_predicates(
    schema: &Schema,
    mutation: &Mutation,
    place: &Place<'_>,
) -> Result<(), Problem> {
    let own = |predicate: &&Predicate| predicate.on == On::Itself;
    for predicate in mutation.requires.iter().chain(&mutation.excludes).filter(own) {
        if predicate.path.stars() > mutation.stars() {
            let why = format!("{predicate} has stars that no change binds");
            return Err(place.problem(Code::Stars, why));
        }
        let rule = rule_of(schema, &predicate.path, place)?;
        if let Test::In(values) = &predicate.test {
            for value in values {
                rule.value_type.check(value).map_err(|why| place.problem(Code::WrongValue, why))?;
            }
        }
    }
    for (index, predicate) in mutation.requires.iter().enumerate().filter(|(_, p)| own(p)) {
        let Test::In(values) = &predicate.test else { continue };
        let contradicts = mutation.changes.iter().any(|change| {
            let never = |value| !change.from.admits(Some(value));
            change.path == predicate.path && values.iter().all(never)
        });
        if contradicts {
            let why = format!("it requires {predicate}, from which it never starts");
            return Err(place.problem_at(
                &["requires", &index.to_string()],
                Code::Contradiction,
                why,
            ));
        }
    }
    Ok(())
}

pub(super) fn rule_of<'a>(
    schema: &'a Schema,
    pattern: &Pattern,
    place: &Place<'_>,
) -> Result<&'a PathRule, Problem> {
    schema.rules().find(|rule| covers(&rule.pattern, pattern)).ok_or_else(|| {
        let why = format!("no extension declares {pattern}");
        place.problem(Code::UnknownPath, why)
    })
}

/// Whether every path that `inner` matches is matched by `outer`.
pub(crate) fn covers(outer: &Pattern, inner: &Pattern) -> bool {
    same_length(outer, inner) && pairs(outer, inner).all(|(a, b)| a == "*" || a == b)
}

/// Whether some path is matched by both.
pub(crate) fn overlap(a: &Pattern, b: &Pattern) -> bool {
    same_length(a, b) && pairs(a, b).all(|(a, b)| a == "*" || b == "*" || a == b)
}

fn heads_agree(a: &Pattern, b: &Pattern) -> bool {
    pairs(a, b).next().is_some_and(|(a, b)| a == b)
}

fn same_length(a: &Pattern, b: &Pattern) -> bool {
    a.as_str().split('/').count() == b.as_str().split('/').count()
}

fn pairs<'a>(a: &'a Pattern, b: &'a Pattern) -> impl Iterator<Item = (&'a str, &'a str)> {
    a.as_str()[1..].split('/').zip(b.as_str()[1..].split('/'))
}

fn parse<T: std::str::FromStr<Err: std::fmt::Display>>(
    text: &str,
    place: &Place<'_>,
) -> Result<T, Problem> {
    text.parse().map_err(|error| place.problem(Code::Unreadable, error))
}
