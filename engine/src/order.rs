//! Orders: attempts on their way to the node that carries them out, what it answers, and the last
//! look that it takes before it starts one.
//!
//! | at the host, when an order comes | answer |
//! |---|---|
//! | no module here declares the mutation | Declined |
//! | it holds a later Cfg of the object than the order was decided from | Moved |
//! | the object is frozen | Moved |
//! | it sees other than the decider saw, and `from`, `requires` or `excludes` forbid it | Moved |
//! | a related object, where it is known here, forbids it | Moved |
//! | else | it starts |
//!
//! Where the host sees just what the decider saw, the decider has judged already: it may have
//! presumed something over what is seen, which a host knows nothing of.

pub mod hands;
pub mod latest;
pub mod left;
pub mod sent;
#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, sync::Arc};

use serde::{Deserialize, Serialize};

use crate::{
    catalog::Catalog,
    dsc::{Dsc, Observed, Sighting},
    id::{AttemptId, Name, SessionEpoch, Term, Uid},
    machine::{Dispatch, START_WITHIN_MS},
    mutation::{Instance, MutationId},
    object::Object,
    path::{Bindings, Path},
    predicate::{On, Predicate},
    span::SpanContext,
    time::whole_ms,
    view::{Related, Subject},
};

/// One attempt on its way to the node that is to carry it out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Order {
    /// The attempt.
    pub attempt: AttemptId,
    /// The node that is to carry it out.
    pub to: Name,
    /// The term of the leader that decided it: the fence.
    pub term: Term,
    /// What is to be done.
    pub mutation: MutationId,
    /// What the stars of its patterns stand for.
    pub bindings: Bindings,
    /// The object, with the Cfg from which it was decided.
    pub object: Arc<Object>,
    /// What the decider saw on the paths that the mutation relies on.
    pub views: Vec<Sighting>,
    /// How long it may wait to be started, in milliseconds.
    pub wait_ms: u64,
    /// How long it may take, in milliseconds.
    pub timeout_ms: u64,
    /// The last session of the node that was heard of when the first copy was sent; 0 where none
    /// was. A leaf that has begun another life since then does not know what it did in that one.
    #[serde(default)]
    pub session: SessionEpoch,
    /// The span that it belongs to, where that is recorded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub span: Option<SpanContext>,
}

/// What a node says of an attempt that it was handed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// The node that was to carry it out.
    pub node: Name,
    /// The attempt.
    pub attempt: AttemptId,
    /// What became of it.
    pub said: Said,
}

/// What became of an attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Said {
    /// The node has taken it.
    Acknowledged,
    /// A module carries it out.
    Started,
    /// How far it is, in words. Extends nothing.
    Progress(String),
    /// It ended well, says the module.
    Succeeded,
    /// It ended with an error.
    Failed {
        /// The error.
        error: String,
        /// Whether trying again cannot help.
        permanent: bool,
    },
    /// It ended, and nobody knows how.
    Abandoned,
    /// Not started: what it was decided from has moved.
    Moved(String),
    /// Not started: too much is in hand.
    Busy(String),
    /// Not started, and not to be: no such module, an older term, a lease that is over.
    Declined(String),
    /// Every session on the way is over: if it was not started by now, it never is.
    Lost,
}

/// The attempts that a node has in hand, said when it attaches: for what it took and is not among
/// them, it is asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holds {
    /// The node.
    pub node: Name,
    /// What it has in hand.
    pub attempts: Vec<AttemptId>,
}

/// An attempt to be given up; or, where one who leads asks, to be told of, and never to begin where
/// it has not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recall {
    /// The node that carries it out.
    pub to: Name,
    /// The attempt.
    pub attempt: AttemptId,
    /// The term of the leader that asks what became of it, and has nothing given up that runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asks: Option<Term>,
}

/// A node is to look at an object soon, and to tell what it sees even where that is as before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LookAt {
    /// The node.
    pub to: Name,
    /// The object.
    pub uid: Uid,
}

impl Said {
    /// Whether it says only that the copy of which it speaks does not start: another one, which
    /// went another way, still may.
    pub fn is_of_a_copy(&self) -> bool {
        match self {
            Self::Busy(_) | Self::Declined(_) | Self::Lost => true,
            Self::Acknowledged
            | Self::Started
            | Self::Progress(_)
            | Self::Succeeded
            | Self::Failed { .. }
            | Self::Abandoned
            | Self::Moved(_) => false,
        }
    }

    /// Whether the node itself says that the attempt has ended: it has begun and ended, or never
    /// begins there.
    pub fn is_end(&self) -> bool {
        match self {
            Self::Succeeded | Self::Failed { .. } | Self::Abandoned => true,
            // Of the last of these some are said for a node by one on the way, of one copy.
            Self::Acknowledged
            | Self::Started
            | Self::Progress(_)
            | Self::Moved(_)
            | Self::Busy(_)
            | Self::Declined(_)
            | Self::Lost => false,
        }
    }

    /// Whether nothing more is said of the attempt.
    pub fn is_last(&self) -> bool {
        match self {
            Self::Acknowledged | Self::Started | Self::Progress(_) => false,
            Self::Succeeded
            | Self::Failed { .. }
            | Self::Abandoned
            | Self::Moved(_)
            | Self::Busy(_)
            | Self::Declined(_)
            | Self::Lost => true,
        }
    }
}

impl Order {
    /// The order to carry out what a machine dispatched, for a node.
    pub fn new(dispatch: &Dispatch, to: Name, term: Term, subject: Subject<'_>) -> Self {
        let instance = &dispatch.instance;
        let view = |path: Path| {
            let seen = subject.dsc.get(path.as_str())?.clone();
            Some((path, seen))
        };
        let views: BTreeMap<Path, Observed> = relied_on(instance).filter_map(view).collect();
        Self {
            attempt: dispatch.attempt.clone(),
            to,
            term,
            mutation: instance.mutation.id.clone(),
            bindings: instance.bindings.clone(),
            object: Arc::new(subject.object.clone()),
            views: views.into_iter().collect(),
            wait_ms: START_WITHIN_MS,
            timeout_ms: whole_ms(dispatch.timeout),
            session: SessionEpoch::default(),
            span: None,
        }
    }

    /// The same, whose first copy was sent when this session was the last.
    #[must_use]
    pub fn sent_in(self, session: SessionEpoch) -> Self {
        Self { session, ..self }
    }

    /// The same, which belongs to this span.
    #[must_use]
    pub fn within(self, span: Option<SpanContext>) -> Self {
        Self { span, ..self }
    }

    /// The paths that it may change, as this catalog has its mutation.
    pub fn changes(&self, catalog: &Catalog) -> Vec<Path> {
        let instance = instance(self, catalog);
        let paths = instance.iter().flat_map(|i| i.changes().map(|(path, _)| path));
        paths.collect()
    }
}

/// What the host of an order knows of its object.
#[derive(Clone, Copy)]
pub struct Held<'a> {
    /// The object, where it is known here.
    pub object: Option<&'a Arc<Object>>,
    /// What was seen of it.
    pub dsc: &'a Dsc,
    /// What can be done here.
    pub catalog: &'a Catalog,
    /// The objects that its predicates name; `None` where others are not known, as on a leaf.
    pub related: Option<&'a dyn Related>,
}

/// An order that may be started, with the object as it is to be shown to the module.
#[derive(Debug, Clone, PartialEq)]
pub struct Ready {
    /// What is to be done.
    pub instance: Instance,
    /// The object, as the later of host and decider holds it.
    pub object: Arc<Object>,
    /// What was seen of it: of each path the later sight of host and decider.
    pub dsc: Dsc,
}

/// Looks at an order once more before it is started; if it cannot be, says what to answer.
pub fn recheck(order: &Order, held: Held<'_>) -> Result<Ready, Said> {
    let Some(instance) = instance(order, held.catalog) else {
        return Err(Said::Declined(format!("no module there has mutation {}", order.mutation)));
    };
    let object = match held.object {
        Some(own) if own.revision > order.object.revision => {
            let (now, then) = (own.revision, order.object.revision);
            return Err(Said::Moved(format!("its Cfg is of revision {now}, not of {then}")));
        }
        _ => order.object.clone(),
    };
    if let Some(frozen) = &object.frozen {
        return Err(Said::Moved(format!("it was frozen by {} ({})", frozen.by, frozen.scope)));
    }
    let sights = Sights { held: held.dsc, views: order.views.iter().cloned().collect() };
    if let Some(why) = sights.forbid(&instance) {
        return Err(Said::Moved(why));
    }
    if let Some(related) = held.related
        && let Some(guard) = hindrance(&instance, &object, related)
    {
        return Err(Said::Moved(format!("{guard} forbids it")));
    }
    Ok(Ready { instance, object, dsc: sights.merged() })
}

fn instance(order: &Order, catalog: &Catalog) -> Option<Instance> {
    let kind = catalog.kind(&order.object.key.kind)?;
    let mutation = kind.mutation(&order.mutation)?.clone();
    let bound = mutation.stars() == order.bindings.len();
    let instance = Instance { mutation, bindings: order.bindings.clone() };
    (bound && instance.changes().count() == instance.mutation.changes.len()).then_some(instance)
}

/// The paths of the object itself on which an instance relies.
pub fn relied_on(instance: &Instance) -> impl Iterator<Item = Path> {
    let mutation = &instance.mutation;
    let guards = mutation.requires.iter().chain(&mutation.excludes);
    let guards = guards.filter(|guard| guard.on == On::Itself);
    let guards = guards.filter_map(|guard| guard.path(&instance.bindings));
    instance.changes().map(|(path, _)| path).chain(guards)
}

/// What host and decider see, each path at its latest.
struct Sights<'a> {
    held: &'a Dsc,
    views: BTreeMap<Path, Observed>,
}

impl Sights<'_> {
    /// The host's sight of a path, where that is not just what the decider saw.
    fn differs(&self, path: &Path) -> Option<&Observed> {
        let own = self.held.get(path.as_str())?;
        match self.views.get(path) {
            Some(view) if view.stamp >= own.stamp || view.value == own.value => None,
            Some(_) | None => Some(own),
        }
    }

    /// Why what is seen here and not there forbids the mutation; `None`: it does not.
    fn forbid(&self, instance: &Instance) -> Option<String> {
        let moved = |path: &Path, seen: &Observed| {
            let seen =
                seen.value.as_ref().map_or_else(|| "unknown".to_owned(), ToString::to_string);
            Some(format!("{path} is {seen} by now"))
        };
        for (path, change) in instance.changes() {
            if let Some(seen) = self.differs(&path)
                && !change.from.admits(seen.value.as_ref())
            {
                return moved(&path, seen);
            }
        }
        let mutation = &instance.mutation;
        let requires = mutation.requires.iter().map(|guard| (guard, true));
        let guards = requires.chain(mutation.excludes.iter().map(|guard| (guard, false)));
        for (guard, wanted) in guards.filter(|(guard, _)| guard.on == On::Itself) {
            let path = guard.path(&instance.bindings)?;
            if let Some(seen) = self.differs(&path)
                && guard.test.holds(seen.value.as_ref()) != wanted
            {
                return moved(&path, seen);
            }
        }
        None
    }

    fn merged(self) -> Dsc {
        let mut dsc = self.held.clone();
        for (path, observed) in self.views {
            dsc.merge(path, observed);
        }
        dsc
    }
}

/// A predicate on another object that keeps an instance from being started.
fn hindrance<'a>(
    instance: &'a Instance,
    object: &Object,
    related: &dyn Related,
) -> Option<&'a Predicate> {
    let holds = |guard: &&Predicate| {
        let path = guard.path(&instance.bindings);
        let value = path.and_then(|path| related.value(object, &guard.on, &path));
        guard.test.holds(value.as_ref())
    };
    let elsewhere = |guard: &&Predicate| guard.on != On::Itself;
    let mutation = &instance.mutation;
    let lacks = mutation.requires.iter().filter(elsewhere).find(|guard| !holds(guard));
    lacks.or_else(|| mutation.excludes.iter().filter(elsewhere).find(holds))
}
