//! Builders: manifests as Rust code writes them. None can fail; what is wrong is found when a
//! [`Catalog`](crate::catalog::Catalog) is built.

use std::{collections::BTreeMap, time::Duration};

use super::{
    COST_MS_DEFAULT, ChangeSpec, Context, Extension, From, GoalSpec, KindSpec, Manifest,
    MutationSpec, PathSpec, Retry, SeenBy, SetBy, TIMEOUT_MS_DEFAULT, To, Type, node_kind,
};
use crate::{time::whole_ms, value::Value};

impl Manifest {
    /// A manifest that declares nothing yet.
    pub fn new(module: &str) -> Self {
        Self { module: module.to_owned(), ..Self::default() }
    }

    /// Says in one sentence what the module is for.
    pub fn doc(mut self, doc: &str) -> Self {
        doc.clone_into(&mut self.doc);
        self
    }

    /// Adds paths to a kind.
    pub fn extension(mut self, extension: Extension) -> Self {
        self.extensions.push(extension);
        self
    }

    /// Declares a pattern of paths that the module discovers.
    pub fn discovers(mut self, pattern: &str) -> Self {
        self.discovers.push(pattern.to_owned());
        self
    }

    /// Declares something that the module can change.
    pub fn mutation(mut self, mutation: MutationSpec) -> Self {
        self.mutations.push(mutation);
        self
    }

    /// Says what is special about a kind.
    pub fn kind(mut self, kind: KindSpec) -> Self {
        self.kinds.push(kind);
        self
    }

    /// Names a goal that can be reached as a whole.
    pub fn goal(mut self, goal: GoalSpec) -> Self {
        self.goals.push(goal);
        self
    }

    /// Sets what a mutation of any module, `module/Name`, is expected to take.
    pub fn cost(mut self, mutation: &str, cost: Duration) -> Self {
        self.costs.insert(mutation.to_owned(), whole_ms(cost));
        self
    }

    /// Has the module look at its objects this often.
    pub fn poll(mut self, every: Duration) -> Self {
        self.poll_ms = whole_ms(every);
        self
    }
}

impl KindSpec {
    /// A kind of the fleet.
    pub fn new(name: &str) -> Self {
        Self { name: name.to_owned(), ..Self::default() }
    }

    /// Has the names of its objects live in namespaces.
    pub fn namespaced(mut self) -> Self {
        self.namespaced = true;
        self
    }

    /// Has its objects never run twice: a host stops one after this long without a parent.
    pub fn singleton(mut self, lease: Duration) -> Self {
        self.singleton_lease_ms = Some(whole_ms(lease));
        self
    }
}

impl GoalSpec {
    /// A goal of nodes that asks for nothing yet.
    pub fn new(name: &str) -> Self {
        let (name, doc) = (name.to_owned(), String::new());
        Self { name, kind: node_kind(), doc, values: BTreeMap::new() }
    }

    /// A goal of another kind.
    pub fn kind(mut self, kind: &str) -> Self {
        kind.clone_into(&mut self.kind);
        self
    }

    /// Describes the goal in one sentence.
    pub fn doc(mut self, doc: &str) -> Self {
        doc.clone_into(&mut self.doc);
        self
    }

    /// Asks for a value.
    pub fn value(mut self, path: &str, value: impl Into<Value>) -> Self {
        self.values.insert(path.to_owned(), value.into());
        self
    }
}

impl Extension {
    /// An extension of nodes without paths yet.
    pub fn new(name: &str) -> Self {
        Self { name: name.to_owned(), kind: node_kind(), paths: Vec::new() }
    }

    /// Extends another kind.
    pub fn kind(mut self, kind: &str) -> Self {
        kind.clone_into(&mut self.kind);
        self
    }

    /// Adds a path.
    pub fn path(mut self, path: PathSpec) -> Self {
        self.paths.push(path);
        self
    }
}

impl PathSpec {
    /// A path that users set and its host sees.
    pub fn new(path: &str, value_type: Type) -> Self {
        Self {
            path: path.to_owned(),
            value_type,
            unit: None,
            doc: String::new(),
            set_by: SetBy::User,
            seen_by: SeenBy::Itself,
            ttl_ms: None,
            known_while: Vec::new(),
            absent: None,
            digest_of: Vec::new(),
            flaps_max: None,
        }
    }

    /// A path that users set and nobody discovers: an input to a module.
    pub fn input(path: &str, value_type: Type) -> Self {
        Self { seen_by: SeenBy::Nobody, ..Self::new(path, value_type) }
    }

    /// A path that is discovered and that nobody sets.
    pub fn fact(path: &str, value_type: Type) -> Self {
        Self { set_by: SetBy::Nobody, ..Self::new(path, value_type) }
    }

    /// Describes the path in one sentence.
    pub fn doc(mut self, doc: &str) -> Self {
        doc.clone_into(&mut self.doc);
        self
    }

    /// Names the unit of its numbers.
    pub fn unit(mut self, unit: &str) -> Self {
        self.unit = Some(unit.to_owned());
        self
    }

    /// Says who sets it.
    pub fn set_by(mut self, set_by: SetBy) -> Self {
        self.set_by = set_by;
        self
    }

    /// Says who sees it.
    pub fn seen_by(mut self, seen_by: SeenBy) -> Self {
        self.seen_by = seen_by;
        self
    }

    /// Says after how long an observation is stale.
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.ttl_ms = Some(whole_ms(ttl));
        self
    }

    /// Adds a predicate while which the value is known.
    pub fn known_while(mut self, predicate: &str) -> Self {
        self.known_while.push(predicate.to_owned());
        self
    }

    /// Says which value means "not there".
    pub fn absent(mut self, value: impl Into<Value>) -> Self {
        self.absent = Some(value.into());
        self
    }

    /// Says how often it may come back to a value within ten minutes.
    pub fn flaps_max(mut self, most: u32) -> Self {
        self.flaps_max = Some(most);
        self
    }

    /// Makes the wanted value the digest of the Cfg under these patterns.
    pub fn digest_of(mut self, patterns: &[&str]) -> Self {
        self.digest_of = patterns.iter().map(|pattern| (*pattern).to_owned()).collect();
        self
    }
}

impl MutationSpec {
    /// A mutation of nodes, in context `self`, with the default limits, that changes nothing yet.
    pub fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            kind: node_kind(),
            context: Context::Itself,
            changes: BTreeMap::new(),
            requires: Vec::new(),
            excludes: Vec::new(),
            timeout_ms: TIMEOUT_MS_DEFAULT,
            fail_to: BTreeMap::new(),
            cost_ms: COST_MS_DEFAULT,
            disruptive: false,
            cancellable: false,
            via: BTreeMap::new(),
            retry: Retry::default(),
        }
    }

    /// Changes another kind.
    pub fn kind(mut self, kind: &str) -> Self {
        kind.clone_into(&mut self.kind);
        self
    }

    /// Says where it runs.
    pub fn context(mut self, context: Context) -> Self {
        self.context = context;
        self
    }

    /// Adds a changed path.
    pub fn changes(mut self, path: &str, from: impl Into<From>, to: impl Into<To>) -> Self {
        self.changes.insert(path.to_owned(), ChangeSpec { from: from.into(), to: to.into() });
        self
    }

    /// Adds a predicate that must hold.
    pub fn requires(mut self, predicate: &str) -> Self {
        self.requires.push(predicate.to_owned());
        self
    }

    /// Adds a predicate that must not hold.
    pub fn excludes(mut self, predicate: &str) -> Self {
        self.excludes.push(predicate.to_owned());
        self
    }

    /// Limits an attempt.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout_ms = whole_ms(timeout);
        self
    }

    /// Says what to presume of a path on failure.
    pub fn fail_to(mut self, path: &str, value: impl Into<Value>) -> Self {
        self.fail_to.insert(path.to_owned(), value.into());
        self
    }

    /// Says how long it is expected to take.
    pub fn cost(mut self, cost: Duration) -> Self {
        self.cost_ms = whole_ms(cost);
        self
    }

    /// Marks it as interrupting what runs.
    pub fn disruptive(mut self) -> Self {
        self.disruptive = true;
        self
    }

    /// Marks its attempts as cancellable.
    pub fn cancellable(mut self) -> Self {
        self.cancellable = true;
        self
    }

    /// Adds a value that a changed path may show on the way.
    pub fn via(mut self, path: &str, value: impl Into<Value>) -> Self {
        self.via.entry(path.to_owned()).or_default().push(value.into());
        self
    }

    /// Says how failures are repeated.
    pub fn retry(mut self, retry: Retry) -> Self {
        self.retry = retry;
        self
    }
}
