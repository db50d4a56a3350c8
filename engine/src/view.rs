//! An object as its decider sees it: what was seen, melded with presumptions and with Cfg.

use std::collections::BTreeMap;

use crate::{
    catalog::{Catalog, KindCatalog},
    dsc::{Dsc, Observed},
    fleet::up_link,
    object::Object,
    path::Path,
    planner::Facts,
    predicate::On,
    schema::Goal,
    singleton::Lease,
    time::Millis,
    value::Value,
};

/// What a decision about one object reads, and nothing else.
#[derive(Clone, Copy)]
pub struct Subject<'a> {
    /// The object with its Cfg.
    pub object: &'a Object,
    /// What was seen of it.
    pub dsc: &'a Dsc,
    /// What can be done.
    pub catalog: &'a Catalog,
    /// The objects that its predicates may name.
    pub related: &'a dyn Related,
    /// For a disruptive step, only what was seen since then counts as known.
    pub not_before: Millis,
    /// How long its host may go on with it, where that is who decides.
    pub lease: Lease,
}

impl Subject<'_> {
    /// What is asked of the object. What must never run twice is absent only once all of it is,
    /// also what its Cfg does not name any more.
    pub fn goal(&self, kind: &KindCatalog) -> Goal {
        if self.is_leaving() && kind.singleton.is_some() {
            return kind.schema.absent();
        }
        kind.schema.goal(&self.object.cfg, self.is_leaving())
    }

    /// Whether the goal is that the object be absent from its host, whatever its Cfg asks.
    pub fn is_leaving(&self) -> bool {
        self.object.is_leaving() || self.lease == Lease::Over
    }
}

/// Looks up values of objects related to one.
pub trait Related {
    /// The value seen at `path` of the object that `on` names from `object`; `None`: not known.
    fn value(&self, object: &Object, on: &On, path: &Path) -> Option<Value>;
}

/// No object is related to any.
#[derive(Debug, Clone, Copy)]
pub struct Unrelated;

impl Related for Unrelated {
    fn value(&self, _: &Object, _: &On, _: &Path) -> Option<Value> {
        None
    }
}

/// A value laid over a path after a failure, until reality moves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Presumption {
    /// What is presumed.
    pub value: Value,
    /// What was seen when the attempt failed: the same seen again does not lift the presumption.
    pub at_failure: Option<Value>,
    /// The value whose arrival lifts it: the failed step's aim.
    pub aim: Option<Value>,
}

/// Presumptions by path.
pub type Presumed = BTreeMap<Path, Presumption>;

/// A subject melded with presumptions: the facts that a plan is made from.
#[derive(Clone, Copy)]
pub struct View<'a> {
    subject: Subject<'a>,
    kind: &'a KindCatalog,
    presumed: &'a Presumed,
}

impl<'a> View<'a> {
    /// The view of a subject; `None` where its kind is not declared.
    pub fn new(subject: Subject<'a>, presumed: &'a Presumed) -> Option<Self> {
        let kind = subject.catalog.kind(&subject.object.key.kind)?;
        Some(Self { subject, kind, presumed })
    }

    /// What is declared for the object's kind.
    pub fn kind(&self) -> &'a KindCatalog {
        self.kind
    }

    /// What the object's Cfg asks for.
    pub fn goal(&self) -> Goal {
        self.subject.goal(self.kind)
    }

    /// What was seen at a path, presumptions aside; `None`: not known, or not to be shown.
    pub fn seen(&self, path: &Path) -> Option<&'a Value> {
        seen(self.kind, self.subject.dsc, path)
    }
}

/// What was seen at a path of an object; `None`: not known, hidden because what it depends on does
/// not hold, or only remembered from before this node started, by which nobody decides.
pub fn seen<'a>(kind: &KindCatalog, dsc: &'a Dsc, path: &Path) -> Option<&'a Value> {
    let is_heard = dsc.get(path.as_str()).is_some_and(|seen| !seen.is_remembered());
    shown(kind, dsc, path).filter(|_| is_heard)
}

/// The same for people, with what is only remembered.
pub fn shown<'a>(kind: &KindCatalog, dsc: &'a Dsc, path: &Path) -> Option<&'a Value> {
    let value = dsc.value(path.as_str())?;
    (!kind.schema.is_hidden(dsc, path)).then_some(value)
}

/// Whether what is held at a path was seen longer ago than it is good for, or is only remembered
/// from before this node started. While the link of a node is up its values stand, although only
/// changes are sent.
pub fn is_stale(kind: &KindCatalog, dsc: &Dsc, path: &Path, now: Millis) -> bool {
    let over = |seen: &Observed| {
        let rule = kind.schema.rule(path).map(|(rule, _)| rule);
        let ttl_ms = rule.and_then(|rule| rule.ttl_ms);
        ttl_ms.is_some_and(|ttl_ms| seen.seen_at.after_ms(ttl_ms) < now)
    };
    let held = dsc.get(path.as_str()).filter(|seen| seen.value.is_some());
    held.is_some_and(|seen| seen.is_remembered() || up_link(dsc).is_none() && over(seen))
}

impl Facts for View<'_> {
    fn value(&self, path: &Path) -> Option<&Value> {
        if let Some(presumption) = self.presumed.get(path) {
            return Some(&presumption.value);
        }
        match self.kind.schema.rule_at(path) {
            Some(rule) if rule.discovered => self.seen(path),
            _ => self.subject.object.cfg.get(path.as_str()),
        }
    }

    fn related(&self, on: &On, path: &Path) -> Option<Value> {
        self.subject.related.value(self.subject.object, on, path)
    }
}
