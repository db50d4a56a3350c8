//! Proofs of what modules declare: found when manifests are written or declared, not when a node
//! hangs. Pure: manifests in, findings out, each with the place where it stands and what to do.
//!
//! [`check`] compiles the manifests together ([`Catalog::build`]) and, where that succeeds, proves
//! more of them:
//!
//! | code | severity | what was found |
//! |---|---|---|
//! | `fail_to_kept` | error | a failure leaves a value that no mutation leads away from |
//! | `contradiction` | error | what a mutation requires can never hold together |
//! | `unknown_path` | error | a predicate on a related object names a path that no kind declares |
//! | `dead_end` | error | where mutations leave an object, a value or named goal is out of reach |
//! | `dead_end` | warning | no mutation leads to the absent state |
//! | `too_large` | warning | the search for dead ends grew over its bound |
//! | `fight` | error | two modules lead a path that nobody sets to different values |
//! | `wait_cycle` | warning | objects may wait for each other in a circle |
//! | `never_seen` | warning | a path is changed and nobody discovers it |
//!
//! Whatever is refuted is certain: where something depends on what else may hold, the best is
//! assumed. Errors keep manifests from being declared.

mod dead_end;
mod fail_to;
mod fight;
pub(crate) mod forgetting;
mod guards;
#[cfg(test)]
mod tests;
mod waits;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use serde::{Deserialize, Serialize};

use crate::{
    catalog::{Catalog, KindCatalog, NamedGoal, Problem},
    id::Name,
    manifest::Manifest,
    mutation::Mutation,
    path::{Path, Pattern},
};

/// Most findings that are told at once.
pub const FINDINGS_MAX: usize = 100;

/// How grave a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Severity {
    /// The manifests are refused.
    Error,
    /// They are taken, and may not do what was meant.
    Warning,
}

/// The sort of a finding; it never changes its meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Code {
    /// A name, path, predicate or declaration that cannot be read, or says nothing.
    Unreadable,
    /// A path that belongs to the engine.
    Reserved,
    /// A path that no extension declares.
    UnknownPath,
    /// A kind that no extension declares paths of.
    UnknownKind,
    /// A value that the path's type does not hold.
    WrongValue,
    /// Declared a second time.
    Twice,
    /// Stars that nothing binds.
    Stars,
    /// A change from a value to itself.
    ToItself,
    /// What is required contradicts what is changed, or what else is required.
    Contradiction,
    /// A path is changed by the node and by the leader, or a node would disrupt itself.
    Lanes,
    /// What a path is known by depends on the path itself.
    ForgettingCycle,
    /// A failure leaves a value that no mutation leads away from.
    FailToKept,
    /// A goal that cannot be reached.
    DeadEnd,
    /// Too large to be proved.
    TooLarge,
    /// Two modules that would undo each other's work.
    Fight,
    /// Objects that may wait for each other in a circle.
    WaitCycle,
    /// A path that is changed and that nobody discovers.
    NeverSeen,
}

impl Code {
    /// As it is written in JSON and on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unreadable => "unreadable",
            Self::Reserved => "reserved",
            Self::UnknownPath => "unknown_path",
            Self::UnknownKind => "unknown_kind",
            Self::WrongValue => "wrong_value",
            Self::Twice => "twice",
            Self::Stars => "stars",
            Self::ToItself => "to_itself",
            Self::Contradiction => "contradiction",
            Self::Lanes => "lanes",
            Self::ForgettingCycle => "forgetting_cycle",
            Self::FailToKept => "fail_to_kept",
            Self::DeadEnd => "dead_end",
            Self::TooLarge => "too_large",
            Self::Fight => "fight",
            Self::WaitCycle => "wait_cycle",
            Self::NeverSeen => "never_seen",
        }
    }
}

/// Something that was found in a manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Finding {
    /// How grave it is.
    pub severity: Severity,
    /// Its sort.
    pub code: Code,
    /// The module at fault.
    pub module: String,
    /// The mutation, path or extension at fault, in words.
    pub place: String,
    /// The file, where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// The line from 1, where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<u64>,
    /// The column from 1, where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub column: Option<u64>,
    /// What is wrong and what to do.
    pub text: String,
    /// Where in the manifest, as keys and indices, outermost first.
    #[serde(skip)]
    pub keys: Vec<String>,
}

/// Line and column of something in a file, both from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spot {
    /// The line.
    pub line: u64,
    /// The column.
    pub column: u64,
}

/// A manifest with where it was written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Source {
    /// What it declares.
    pub manifest: Manifest,
    /// The file that it stands in.
    pub file: Option<String>,
    /// Where each key of it stands, by keys and indices, outermost first.
    pub spots: BTreeMap<Vec<String>, Spot>,
}

impl From<Manifest> for Source {
    fn from(manifest: Manifest) -> Self {
        Self { manifest, ..Self::default() }
    }
}

impl Source {
    /// The innermost place that is known on the way to `keys`.
    fn spot(&self, keys: &[String]) -> Option<Spot> {
        (0..=keys.len()).rev().find_map(|length| self.spots.get(&keys[..length]).copied())
    }
}

/// Compiles manifests together and proves what can be proved of them. Errors come first; at most
/// [`FINDINGS_MAX`].
pub fn check(sources: &[Source]) -> Vec<Finding> {
    let manifests: Vec<Manifest> = sources.iter().map(|source| source.manifest.clone()).collect();
    let mut findings = match Catalog::build(&manifests) {
        Ok(catalog) => prove(&manifests, &catalog),
        Err(problems) => problems.into_iter().map(Finding::of).collect(),
    };
    for finding in &mut findings {
        let of = |source: &&Source| source.manifest.module == finding.module;
        // Of two manifests of one module the second is at fault.
        let Some(source) = sources.iter().rev().find(of) else { continue };
        finding.file.clone_from(&source.file);
        if let Some(spot) = source.spot(&finding.keys) {
            (finding.line, finding.column) = (Some(spot.line), Some(spot.column));
        }
    }
    findings.truncate(FINDINGS_MAX);
    findings
}

/// Compiles manifests together, unless something of them can be refuted; warnings are passed over.
pub fn sound(manifests: &[Manifest]) -> Result<Catalog, Vec<Finding>> {
    let catalog = Catalog::build(manifests)
        .map_err(|problems| problems.into_iter().map(Finding::of).collect::<Vec<Finding>>())?;
    let mut found = prove(manifests, &catalog);
    found.retain(|finding| finding.severity == Severity::Error);
    if found.is_empty() { Ok(catalog) } else { Err(found) }
}

/// Proves what can be proved of manifests that were compiled into `catalog`. Errors come first.
pub fn prove(manifests: &[Manifest], catalog: &Catalog) -> Vec<Finding> {
    let mut findings = Findings { manifests, found: Vec::new() };
    for (name, kind) in catalog.kinds() {
        let kind = Kind { catalog, name, kind };
        guards::check(&kind, &mut findings);
        fail_to::check(&kind, &mut findings);
        fight::check(&kind, &mut findings);
        dead_end::check(&kind, &mut findings);
    }
    waits::check(catalog, &mut findings);
    costs(catalog, &mut findings);
    let mut found = findings.found;
    found.sort_by_key(|finding| finding.severity);
    found
}

/// Costs of mutations that are not there: they may come, or be misspelt.
fn costs(catalog: &Catalog, findings: &mut Findings<'_>) {
    let known: BTreeSet<String> = catalog
        .kinds()
        .flat_map(|(_, kind)| &kind.mutations)
        .map(|mutation| mutation.id.to_string())
        .collect();
    for manifest in findings.manifests {
        for id in manifest.costs.keys().filter(|id| !known.contains(*id)) {
            let keys = vec!["costs".to_owned(), id.clone()];
            let at = (manifest.module.as_str(), format!("cost of {id}"), keys);
            let text = format!("no module declares {id}; the cost counts once one does");
            findings.push(Severity::Warning, Code::UnknownPath, at, text);
        }
    }
}

impl Finding {
    fn of(problem: Problem) -> Self {
        Self {
            severity: Severity::Error,
            code: problem.code,
            module: problem.module,
            place: problem.place,
            file: None,
            line: None,
            column: None,
            text: problem.why,
            keys: problem.keys,
        }
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Error => "error",
            Self::Warning => "warning",
        })
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(file) = &self.file {
            write!(f, "{file}:")?;
        }
        if let (Some(line), Some(column)) = (self.line, self.column) {
            write!(f, "{line}:{column}:")?;
        }
        if self.file.is_some() || self.line.is_some() {
            f.write_str(" ")?;
        }
        let code = self.code.as_str();
        write!(f, "{}[{code}]: module {}, {}: ", self.severity, self.module, self.place)?;
        f.write_str(&self.text)
    }
}

/// One kind under proof.
struct Kind<'a> {
    catalog: &'a Catalog,
    name: &'a Name,
    kind: &'a KindCatalog,
}

/// What was found so far.
struct Findings<'a> {
    manifests: &'a [Manifest],
    found: Vec<Finding>,
}

impl Findings<'_> {
    /// Notes a finding at a mutation, at a key within it.
    fn mutation(&mut self, severity: Severity, code: Code, at: (&Mutation, &[&str]), text: String) {
        let (mutation, inner) = at;
        let (module, name) = (mutation.id.module.as_str(), mutation.id.name.as_str());
        let found = self
            .manifest(module)
            .and_then(|manifest| manifest.mutations.iter().position(|spec| spec.name == name));
        let index = found.map(|index| index.to_string());
        let mut keys: Vec<String> = vec!["mutations".to_owned()];
        keys.extend(index);
        keys.extend(inner.iter().map(|key| (*key).to_owned()));
        self.push(severity, code, (module, format!("mutation {name}"), keys), text);
    }

    /// Notes a finding at a path.
    fn path(&mut self, severity: Severity, code: Code, at: (&Kind<'_>, &Pattern), text: String) {
        let (kind, pattern) = at;
        let rules = kind.kind.schema.rules();
        let rule = rules.into_iter().find(|rule| rule.pattern == *pattern);
        let module = rule.map_or("", |rule| rule.module.as_str());
        let mut keys = Vec::new();
        if let Some(manifest) = self.manifest(module) {
            let extensions = manifest.extensions.iter().enumerate();
            for (at, extension) in extensions.filter(|(_, e)| e.kind == kind.name.as_str()) {
                let found = extension.paths.iter().position(|p| p.path == pattern.as_str());
                if let Some(index) = found {
                    keys = vec!["extensions".to_owned(), at.to_string()];
                    keys.extend(["paths".to_owned(), index.to_string()]);
                }
            }
        }
        self.push(severity, code, (module, format!("path {pattern}"), keys), text);
    }

    /// Notes a finding at a goal with a name, or at one of its paths.
    fn goal(
        &mut self,
        severity: Severity,
        code: Code,
        (goal, path): (&NamedGoal, Option<&Path>),
        text: String,
    ) {
        let (module, name) = (goal.module.as_str(), goal.name.as_str());
        let mut specs = self.manifest(module).into_iter().flat_map(|manifest| &manifest.goals);
        let found = specs.position(|spec| spec.name == name);
        let mut keys = vec!["goals".to_owned()];
        keys.extend(found.map(|index| index.to_string()));
        keys.extend(path.into_iter().flat_map(|path| ["values".to_owned(), path.to_string()]));
        self.push(severity, code, (module, format!("goal {name}"), keys), text);
    }

    fn manifest(&self, module: &str) -> Option<&Manifest> {
        self.manifests.iter().find(|manifest| manifest.module == module)
    }

    fn push(
        &mut self,
        severity: Severity,
        code: Code,
        (module, place, keys): (&str, String, Vec<String>),
        text: String,
    ) {
        let module = module.to_owned();
        let (file, line, column) = (None, None, None);
        let found = Finding { severity, code, module, place, file, line, column, text, keys };
        self.found.push(found);
    }
}
