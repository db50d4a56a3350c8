//! The catalog: all manifests compiled together, by kind. What planner, store and nodes share.

mod compile;
mod goals;
mod lanes;
mod singletons;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use self::compile::{Place, check_mutation, compile, path_rule, rule_of};
pub(crate) use self::compile::{covers, overlap};
use crate::{
    check::{Code, forgetting},
    id::Name,
    manifest::{KindSpec, Manifest, MutationSpec, NODE_KIND},
    mutation::{Mutation, MutationId},
    path::{Path, Pattern},
    predicate::On,
    schema::{PathRule, Schema},
    singleton::Singleton,
    state::State,
    sync::declared::{Digests, digests},
};

/// The path of its own Dsc at which a leaf says with which declarations it decides: the digest of
/// its catalog.
pub const CATALOG_PATH: &str = "/engine/self/catalog";

/// Everything that the loaded modules declare, by kind.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Catalog {
    kinds: BTreeMap<Name, KindCatalog>,
    digest: u64,
    manifests: Arc<[Manifest]>,
    declared: Arc<Digests>,
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
    /// Whether the names of its objects live in namespaces.
    pub namespaced: bool,
    /// What its predicates name of other objects, each once.
    pub elsewhere: Arc<[(On, Path)]>,
    /// Of these what concerns the lane of the object's host.
    pub elsewhere_of_host: Arc<[(On, Path)]>,
    /// The goals that have names, in order of module and place.
    pub goals: Vec<NamedGoal>,
    /// Where its objects must never run twice, how long a host goes on alone.
    pub singleton: Option<Singleton>,
}

/// A goal that a module names: what is to be reached together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedGoal {
    /// The module that names it.
    pub module: Name,
    /// Its name, unique within the module.
    pub name: Name,
    /// One sentence for people.
    pub doc: String,
    /// What is asked for, inputs included.
    pub values: State,
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
    /// The sort of the fault.
    pub code: Code,
    /// Where in the manifest, as keys and indices, outermost first.
    pub keys: Vec<String>,
}

impl Problem {
    /// The same with keys further in.
    fn within(mut self, keys: &[&str]) -> Self {
        self.keys.extend(keys.iter().map(|key| (*key).to_owned()));
        self
    }
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
            compiler.kinds(manifest);
            compiler.goals(manifest);
        }
        for manifest in manifests {
            compiler.singletons(manifest);
            compiler.costs(manifest);
        }
        if compiler.problems.is_empty() {
            // Plain data always encodes.
            let digest = xxh3_64(&rmp_serde::to_vec(manifests).unwrap_or_default());
            for (name, kind) in &mut compiler.kinds {
                kind.digest = xxh3_64_with_seed(name.as_str().as_bytes(), digest);
                lanes::mark(kind);
            }
            let declared = Arc::new(digests(manifests));
            Ok(Self { kinds: compiler.kinds, digest, manifests: manifests.into(), declared })
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

    /// The digest as nodes say it at [`CATALOG_PATH`].
    pub fn word(&self) -> String {
        format!("{:016x}", self.digest)
    }

    /// The manifests of which it was built, in that order.
    pub fn manifests(&self) -> &[Manifest] {
        &self.manifests
    }

    /// The digests of its manifests, by module.
    pub fn declared(&self) -> &Digests {
        &self.declared
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
    /// Where in its manifest each path is declared.
    spots: BTreeMap<(Name, Pattern), Vec<String>>,
    /// The kinds that are described, and the mutations of which a cost is set.
    described: BTreeSet<Name>,
    costed: BTreeSet<MutationId>,
    problems: Vec<Problem>,
}

impl Compiler {
    fn extensions(&mut self, manifest: &Manifest) {
        let place = Place::new(&manifest.module, "manifest".to_owned(), &["module"]);
        if let Err(error) = Name::new(&manifest.module) {
            return self.problems.push(place.problem(Code::Unreadable, error));
        }
        if !self.modules.insert(manifest.module.clone()) {
            let why = "a second manifest of the same module";
            self.problems.push(place.problem(Code::Twice, why));
        }
        for (at, extension) in manifest.extensions.iter().enumerate() {
            for (index, path) in extension.paths.iter().enumerate() {
                let words = format!("extension {}, path {}", extension.name, path.path);
                let (at, index) = (at.to_string(), index.to_string());
                let place =
                    Place::new(&manifest.module, words, &["extensions", &at, "paths", &index]);
                let compiled = object_kind(&extension.kind, &place)
                    .and_then(|kind| Ok((kind, path_rule(path, &place)?)));
                match compiled {
                    Ok((kind, rule)) => self.add_rule(kind, rule, &place),
                    Err(problem) => self.problems.push(problem),
                }
            }
        }
    }

    fn add_rule(&mut self, kind: Name, rule: PathRule, place: &Place<'_>) {
        let spot = (kind.clone(), rule.pattern.clone());
        let schema = &mut self.kinds.entry(kind).or_default().schema;
        let clash = schema.rules().find(|other| overlap(&other.pattern, &rule.pattern)).cloned();
        if let Some(other) = clash {
            let why = format!("it overlaps {} of module {}", other.pattern, other.module);
            return self.problems.push(place.problem(Code::Twice, why));
        }
        self.spots.insert(spot, place.keys.clone());
        schema.insert(rule);
    }

    /// Checks what paths depend on, once all paths are declared.
    fn conditions(&mut self) {
        for (name, kind) in &self.kinds {
            let circular = forgetting::circular(&kind.schema);
            for rule in kind.schema.rules() {
                let spot = self.spots.get(&(name.clone(), rule.pattern.clone()));
                let keys = spot.cloned().unwrap_or_default();
                let words = format!("path {}", rule.pattern);
                let place = Place { module: rule.module.as_str(), words, keys };
                let checks = rule.known_while.iter().map(|condition| {
                    let cause = rule_of(&kind.schema, &condition.pattern, &place)?;
                    let mut values = condition.allowed.iter();
                    values.try_for_each(|value| cause.value_type.check(value)).map_err(|why| {
                        let why = format!("known_while {}: {why}", condition.pattern);
                        place.problem(Code::WrongValue, why)
                    })
                });
                let checks = checks.filter_map(Result::err);
                self.problems.extend(checks.map(|problem| problem.within(&["knownWhile"])));
                if circular.contains(&rule.pattern) {
                    let why = "what it is known by depends on it in turn";
                    let problem = place.problem_at(&["knownWhile"], Code::ForgettingCycle, why);
                    self.problems.push(problem);
                }
            }
        }
    }

    fn discoveries(&mut self, manifest: &Manifest) {
        for (index, pattern) in manifest.discovers.iter().enumerate() {
            let mut declared = false;
            for kind in self.kinds.values_mut() {
                for rule in kind.schema.rules_mut().filter(|r| r.pattern.as_str() == pattern) {
                    rule.discovered = true;
                    declared = true;
                }
            }
            if !declared {
                let words = format!("discovers {pattern}");
                let keys = ["discovers", &index.to_string()];
                let place = Place::new(&manifest.module, words, &keys);
                let why = "no extension declares this path";
                self.problems.push(place.problem(Code::UnknownPath, why));
            }
        }
    }

    fn mutations(&mut self, manifest: &Manifest) {
        for (index, spec) in manifest.mutations.iter().enumerate() {
            let words = format!("mutation {}", spec.name);
            let keys = ["mutations", &index.to_string()];
            let place = Place::new(&manifest.module, words, &keys);
            if let Err(problem) = self.mutation(&manifest.module, spec, &place) {
                self.problems.push(problem);
            }
        }
    }

    fn kinds(&mut self, manifest: &Manifest) {
        for (index, spec) in manifest.kinds.iter().enumerate() {
            let keys = ["kinds", &index.to_string()];
            let place = Place::new(&manifest.module, format!("kind {}", spec.name), &keys);
            if let Err(problem) = self.kind(spec, &place) {
                self.problems.push(problem);
            }
        }
    }

    fn kind(&mut self, spec: &KindSpec, place: &Place<'_>) -> Result<(), Problem> {
        let name = Name::new(&spec.name).map_err(|error| place.problem(Code::Unreadable, error))?;
        if spec.namespaced && spec.name == NODE_KIND {
            let why = "nodes are of the fleet and in no namespace";
            return Err(place.problem_at(&["namespaced"], Code::Reserved, why));
        }
        let Some(kind) = self.kinds.get_mut(&name) else {
            let why = format!("no extension declares paths of kind {name}");
            return Err(place.problem(Code::UnknownKind, why));
        };
        if !self.described.insert(name) {
            return Err(place.problem(Code::Twice, "the kind is described a second time"));
        }
        kind.namespaced = spec.namespaced;
        Ok(())
    }

    /// Takes costs over. One of a mutation that is not there may be of a module that will be.
    fn costs(&mut self, manifest: &Manifest) {
        for (id, cost_ms) in &manifest.costs {
            let place = Place::new(&manifest.module, format!("cost of {id}"), &["costs", id]);
            let Ok(id) = MutationId::try_from(id.clone()) else {
                let why = "write it as module/Mutation";
                self.problems.push(place.problem(Code::Unreadable, why));
                continue;
            };
            if !self.costed.insert(id.clone()) {
                let why = "another manifest sets the cost of this mutation";
                self.problems.push(place.problem(Code::Twice, why));
            }
            for kind in self.kinds.values_mut() {
                let found = kind.mutations.iter_mut().filter(|mutation| mutation.id == id);
                found.for_each(|mutation| Arc::make_mut(mutation).cost_ms = (*cost_ms).max(1));
            }
        }
    }

    fn mutation(
        &mut self,
        module: &str,
        spec: &MutationSpec,
        place: &Place<'_>,
    ) -> Result<(), Problem> {
        let kind = Name::new(&spec.kind).map_err(|error| place.problem(Code::Unreadable, error))?;
        let Some(kind) = self.kinds.get_mut(&kind) else {
            let why = format!("no extension declares paths of kind {kind}");
            return Err(place.problem_at(&["kind"], Code::UnknownKind, why));
        };
        let mutation = compile(module, spec, place)?;
        check_mutation(&kind.schema, &mutation, place)?;
        let lane = mutation.context.lane();
        for rule in kind.schema.rules_mut() {
            if mutation.changes.iter().any(|change| overlap(&change.path, &rule.pattern)) {
                if rule.changed_from.is_some_and(|other| other != lane) {
                    let why = format!("{} is changed by the node and by the leader", rule.pattern);
                    return Err(place.problem(Code::Lanes, why));
                }
                rule.changed_from = Some(lane);
            }
        }
        match kind.mutations.binary_search_by(|other| other.id.cmp(&mutation.id)) {
            Ok(_) => Err(place.problem(Code::Twice, "a second mutation of the same name")),
            Err(index) => {
                kind.mutations.insert(index, Arc::new(mutation));
                Ok(())
            }
        }
    }
}

/// Kinds of documents that declare something, and so no kinds of objects.
const DECLARING_KINDS: [&str; 2] = ["module", "extension"];

fn object_kind(kind: &str, place: &Place<'_>) -> Result<Name, Problem> {
    if DECLARING_KINDS.contains(&kind) {
        let why = format!("{kind} is the kind of a document, and so of no objects");
        return Err(place.problem(Code::Reserved, why));
    }
    Name::new(kind).map_err(|error| place.problem(Code::Unreadable, error))
}

/// The paths that the engine itself writes, below `/engine`.
pub fn is_engine_path(path: &Path) -> bool {
    path.as_str().starts_with("/engine/")
}
