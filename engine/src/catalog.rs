//! The catalog: all manifests compiled together, by kind. What planner, store and nodes share.

#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use crate::{
    id::Name,
    manifest::{Manifest, MutationSpec, PathSpec, To},
    mutation::{Change, Mutation, MutationId},
    path::{Path, Pattern},
    predicate::{On, Predicate, Test},
    schema::{Condition, PathRule, Schema},
    value::Value,
};

/// Everything that the loaded modules declare, by kind.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Catalog {
    kinds: BTreeMap<Name, KindCatalog>,
    digest: u64,
}

/// What the loaded modules declare for one kind of object.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KindCatalog {
    /// The paths.
    pub schema: Schema,
    /// The mutations, in order of their identity.
    pub mutations: Vec<Arc<Mutation>>,
    /// Differs wherever kind or declarations differ: what is remembered under one digest does not
    /// hold under another.
    pub digest: u64,
}

/// Something in a manifest that cannot be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("module {module}, {place}: {why}")]
pub struct Problem {
    /// The module at fault.
    pub module: String,
    /// The extension, path or mutation.
    pub place: String,
    /// What is wrong and what would be right.
    pub why: String,
}

impl Catalog {
    /// Compiles manifests; on failure returns every problem found.
    pub fn build(manifests: &[Manifest]) -> Result<Self, Vec<Problem>> {
        let mut compiler = Compiler::default();
        for manifest in manifests {
            compiler.extensions(manifest);
        }
        compiler.conditions();
        for manifest in manifests {
            compiler.discoveries(manifest);
            compiler.mutations(manifest);
        }
        if compiler.problems.is_empty() {
            // Plain data always encodes.
            let digest = xxh3_64(&rmp_serde::to_vec(manifests).unwrap_or_default());
            for (name, kind) in &mut compiler.kinds {
                kind.digest = xxh3_64_with_seed(name.as_str().as_bytes(), digest);
            }
            Ok(Self { kinds: compiler.kinds, digest })
        } else {
            Err(compiler.problems)
        }
    }

    /// What is declared for a kind.
    pub fn kind(&self, kind: &Name) -> Option<&KindCatalog> {
        self.kinds.get(kind)
    }

    /// All kinds, in order.
    pub fn kinds(&self) -> impl Iterator<Item = (&Name, &KindCatalog)> {
        self.kinds.iter()
    }

    /// Differs wherever the declarations differ: a plan made under one digest is not one under
    /// another.
    pub fn digest(&self) -> u64 {
        self.digest
    }
}

impl KindCatalog {
    /// The mutation of an identity.
    pub fn mutation(&self, id: &MutationId) -> Option<&Arc<Mutation>> {
        let index = self.mutations.binary_search_by(|mutation| mutation.id.cmp(id)).ok()?;
        self.mutations.get(index)
    }
}

#[derive(Default)]
struct Compiler {
    kinds: BTreeMap<Name, KindCatalog>,
    modules: BTreeSet<String>,
    problems: Vec<Problem>,
}

/// Where a problem is; turns any message into a [`Problem`].
struct Place<'a>(&'a str, String);

impl Place<'_> {
    fn problem(&self, why: impl ToString) -> Problem {
        Problem { module: self.0.to_owned(), place: self.1.clone(), why: why.to_string() }
    }
}

impl Compiler {
    fn extensions(&mut self, manifest: &Manifest) {
        let place = Place(&manifest.module, "manifest".to_owned());
        if let Err(error) = Name::new(&manifest.module) {
            return self.problems.push(place.problem(error));
        }
        if !self.modules.insert(manifest.module.clone()) {
            self.problems.push(place.problem("a second manifest of the same module"));
        }
        for extension in &manifest.extensions {
            for path in &extension.paths {
                let place = format!("extension {}, path {}", extension.name, path.path);
                let place = Place(&manifest.module, place);
                let compiled = Name::new(&extension.kind)
                    .map_err(|error| place.problem(error))
                    .and_then(|kind| Ok((kind, path_rule(path, &place)?)));
                match compiled {
                    Ok((kind, rule)) => self.add_rule(kind, rule, &place),
                    Err(problem) => self.problems.push(problem),
                }
            }
        }
    }

    fn add_rule(&mut self, kind: Name, rule: PathRule, place: &Place<'_>) {
        let schema = &mut self.kinds.entry(kind).or_default().schema;
        let clash = schema.rules().find(|other| overlap(&other.pattern, &rule.pattern)).cloned();
        match clash {
            Some(other) => {
                let why = format!("it overlaps {} of module {}", other.pattern, other.module);
                self.problems.push(place.problem(why));
            }
            None => schema.insert(rule),
        }
    }

    /// Checks what paths depend on, once all paths are declared.
    fn conditions(&mut self) {
        for kind in self.kinds.values() {
            for rule in kind.schema.rules() {
                let place = Place(rule.module.as_str(), format!("path {}", rule.pattern));
                let checks = rule.known_while.iter().map(|condition| {
                    let cause = rule_of(&kind.schema, &condition.pattern, &place)?;
                    let mut values = condition.allowed.iter();
                    values.try_for_each(|value| cause.value_type.check(value)).map_err(|why| {
                        place.problem(format!("known_while {}: {why}", condition.pattern))
                    })
                });
                self.problems.extend(checks.filter_map(Result::err));
                if depends_on_itself(&kind.schema, rule) {
                    self.problems.push(place.problem("what it is known by depends on it in turn"));
                }
            }
        }
    }

    fn discoveries(&mut self, manifest: &Manifest) {
        for pattern in &manifest.discovers {
            let mut declared = false;
            for kind in self.kinds.values_mut() {
                for rule in kind.schema.rules_mut().filter(|r| r.pattern.as_str() == pattern) {
                    rule.discovered = true;
                    declared = true;
                }
            }
            if !declared {
                let place = Place(&manifest.module, format!("discovers {pattern}"));
                self.problems.push(place.problem("no extension declares this path"));
            }
        }
    }

    fn mutations(&mut self, manifest: &Manifest) {
        for spec in &manifest.mutations {
            let place = Place(&manifest.module, format!("mutation {}", spec.name));
            if let Err(problem) = self.mutation(&manifest.module, spec, &place) {
                self.problems.push(problem);
            }
        }
    }

    fn mutation(
        &mut self,
        module: &str,
        spec: &MutationSpec,
        place: &Place<'_>,
    ) -> Result<(), Problem> {
        let kind = Name::new(&spec.kind).map_err(|error| place.problem(error))?;
        let Some(kind) = self.kinds.get_mut(&kind) else {
            return Err(place.problem(format!("no extension declares paths of kind {kind}")));
        };
        let mutation = compile(module, spec, place)?;
        check_mutation(&kind.schema, &mutation, place)?;
        let lane = mutation.context.lane();
        for rule in kind.schema.rules_mut() {
            if mutation.changes.iter().any(|change| overlap(&change.path, &rule.pattern)) {
                if rule.changed_from.is_some_and(|other| other != lane) {
                    let why = format!("{} is changed by the node and by the leader", rule.pattern);
                    return Err(place.problem(why));
                }
                rule.changed_from = Some(lane);
            }
        }
        match kind.mutations.binary_search_by(|other| other.id.cmp(&mutation.id)) {
            Ok(_) => Err(place.problem("a second mutation of the same name")),
            Err(index) => {
                kind.mutations.insert(index, Arc::new(mutation));
                Ok(())
            }
        }
    }
}

fn path_rule(spec: &PathSpec, place: &Place<'_>) -> Result<PathRule, Problem> {
    let pattern = parse::<Pattern>(&spec.path, place)?;
    let module = Name::new(place.0).map_err(|error| place.problem(error))?;
    if pattern.as_str().starts_with("/*") {
        return Err(place.problem("the first segment cannot be `*`"));
    }
    if pattern.as_str() == "/engine" || pattern.as_str().starts_with("/engine/") {
        return Err(place.problem("/engine is kept for the engine itself"));
    }
    if let Some(absent) = &spec.absent {
        spec.value_type.check(absent).map_err(|why| place.problem(why))?;
    }
    let known_while = spec.known_while.iter().map(|text| condition(text, &pattern, place));
    let digest_of: Vec<Pattern> =
        spec.digest_of.iter().map(|text| parse(text, place)).collect::<Result<_, _>>()?;
    let same_head =
        |input: &&Pattern| input.stars() < pattern.stars() || !heads_agree(input, &pattern);
    if let Some(input) = digest_of.iter().find(same_head) {
        return Err(place.problem(format!("{input} does not lie beside the digest")));
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
        discovered: false,
        changed_from: None,
        pattern,
    })
}

fn condition(text: &str, pattern: &Pattern, place: &Place<'_>) -> Result<Condition, Problem> {
    let predicate = parse::<Predicate>(text, place)?;
    match (predicate.on, predicate.test) {
        (On::Itself, Test::In(allowed)) if predicate.path.stars() <= pattern.stars() => {
            Ok(Condition { pattern: predicate.path, allowed })
        }
        _ => Err(place.problem(format!("known_while {text:?} must be `=` or `in` on this object"))),
    }
}

fn compile(module: &str, spec: &MutationSpec, place: &Place<'_>) -> Result<Mutation, Problem> {
    let name = |text: &str| Name::new(text).map_err(|error| place.problem(error));
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

fn check_mutation(schema: &Schema, mutation: &Mutation, place: &Place<'_>) -> Result<(), Problem> {
    use crate::{manifest::From, mutation::Lane};
    if mutation.changes.is_empty() {
        return Err(place.problem("it changes nothing"));
    }
    if mutation.disruptive && mutation.context.lane() == Lane::Itself {
        return Err(place.problem("what a node decides for itself is never disruptive"));
    }
    let stars = mutation.stars();
    for change in &mutation.changes {
        if change.path.stars() != stars {
            return Err(place.problem("all changed paths must hold the same stars"));
        }
        let rule = rule_of(schema, &change.path, place)?;
        let mut values: Vec<&Value> = Vec::new();
        if let From::In(from) = &change.from {
            values.extend(from);
        }
        if let To::Value(to) = &change.to {
            if values.contains(&to) {
                return Err(place.problem(format!("{} leads from {to} to itself", change.path)));
            }
            values.push(to);
        }
        for value in values {
            rule.value_type.check(value).map_err(|why| place.problem(why))?;
        }
    }
    let fails = mutation.fail_to.iter().map(|(path, value)| (path, std::slice::from_ref(value)));
    let shows = mutation.via.iter().map(|(path, values)| (path, values.as_slice()));
    for (path, values) in fails.chain(shows) {
        let rule = rule_of(schema, path, place)?;
        if path.stars() > stars {
            return Err(place.problem(format!("{path} has stars that no change binds")));
        }
        for value in values {
            rule.value_type.check(value).map_err(|why| place.problem(why))?;
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
            return Err(place.problem(format!("{predicate} has stars that no change binds")));
        }
        let rule = rule_of(schema, &predicate.path, place)?;
        if let Test::In(values) = &predicate.test {
            for value in values {
                rule.value_type.check(value).map_err(|why| place.problem(why))?;
            }
        }
    }
    for predicate in mutation.requires.iter().filter(own) {
        let Test::In(values) = &predicate.test else { continue };
        let contradicts = mutation.changes.iter().any(|change| {
            let never = |value| !change.from.admits(Some(value));
            change.path == predicate.path && values.iter().all(never)
        });
        if contradicts {
            return Err(
                place.problem(format!("it requires {predicate}, from which it never starts"))
            );
        }
    }
    Ok(())
}

/// Whether a path's being known depends on the path itself, by way of others.
fn depends_on_itself(schema: &Schema, rule: &PathRule) -> bool {
    let causes = |rule: &PathRule| -> Vec<Pattern> {
        rule.known_while.iter().map(|condition| condition.pattern.clone()).collect()
    };
    let mut queue = causes(rule);
    let mut met: BTreeSet<Pattern> = BTreeSet::new();
    while let Some(cause) = queue.pop() {
        if overlap(&cause, &rule.pattern) {
            return true;
        }
        let others = schema.rules().filter(|other| overlap(&other.pattern, &cause));
        for other in others {
            if met.insert(other.pattern.clone()) {
                queue.extend(causes(other));
            }
        }
    }
    false
}

fn rule_of<'a>(
    schema: &'a Schema,
    pattern: &Pattern,
    place: &Place<'_>,
) -> Result<&'a PathRule, Problem> {
    schema
        .rules()
        .find(|rule| covers(&rule.pattern, pattern))
        .ok_or_else(|| place.problem(format!("no extension declares {pattern}")))
}

/// Whether every path that `inner` matches is matched by `outer`.
fn covers(outer: &Pattern, inner: &Pattern) -> bool {
    same_length(outer, inner) && pairs(outer, inner).all(|(a, b)| a == "*" || a == b)
}

/// Whether some path is matched by both.
fn overlap(a: &Pattern, b: &Pattern) -> bool {
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
    text.parse().map_err(|error| place.problem(error))
}

/// The paths that the engine itself writes, below `/engine`.
pub fn is_engine_path(path: &Path) -> bool {
    path.as_str().starts_with("/engine/")
}
