//! The tracer: makes spans of what a decider looks at, has done, and says.
//!
//! | where an object stands | comes | then |
//! |---|---|---|
//! | not known | a look | on its way, which is told only if something is tried |
//! | any | a look at a newer revision | on its way; the old one is told as superseded |
//! | on its way | converged at its revision | there; the way is told |
//! | on its way | in quarantine | given up; the way is told as an error |
//! | on its way | stuck | as before: what was not looked at yet looks like that for a moment |
//! | on its way, stuck for [`STUCK_US`] | a look | given up as of when it was stuck; an error |
//! | there or given up | an attempt | upkeep: on its way again, in a trace of its own |
//! | any | gone | forgotten; a way is told as gone |
//!
//! A way is told once, when it ends; an attempt within it likewise. One that ends with the process
//! is never told.

use std::collections::BTreeMap;

use super::{Attribute, Micros, Share, Span, SpanContext, SpanId, SpanKind, TraceId};
use crate::{
    event::{EventKind, Happening},
    id::{AttemptId, ClusterId, Name, Revision, Uid},
    machine::Dispatch,
    mutation::Lane,
    object::{Object, ObjectRef},
    status::{PhaseName, Status},
};

/// How long an object is stuck before its way counts as given up, in microseconds. Such objects
/// are looked at again by themselves.
pub(super) const STUCK_US: u64 = 5_000_000;

/// Makes spans of what one node decides.
#[derive(Debug)]
pub struct Tracer {
    share: Share,
    objects: BTreeMap<(Lane, Uid), Traced>,
}

/// An object in one lane.
#[derive(Debug)]
struct Traced {
    key: ObjectRef,
    revision: Revision,
    way: Option<Way>,
}

/// The way of an object to what is asked of it.
#[derive(Debug)]
struct Way {
    context: SpanContext,
    parent: Option<SpanId>,
    links: Vec<SpanContext>,
    since: Micros,
    /// Whether it is known when it began, so that it is worth telling by itself.
    is_seen_from_the_start: bool,
    attempts: u64,
    attempt: Option<Try>,
    /// Since when nothing known leads there, and what is missing.
    stuck: Option<(Micros, String)>,
}

/// An attempt in hand.
#[derive(Debug)]
struct Try {
    id: AttemptId,
    context: SpanContext,
    since: Micros,
    mutation: String,
    step: String,
    on: Option<Name>,
}

impl Way {
    /// One that begins now, as part of nothing.
    fn new(context: SpanContext, since: Micros) -> Self {
        Self {
            context,
            parent: None,
            links: Vec::new(),
            since,
            is_seen_from_the_start: true,
            attempts: 0,
            attempt: None,
            stuck: None,
        }
    }
}

impl Tracer {
    /// One that records a share of all traces.
    pub fn new(share: Share) -> Self {
        Self { share, objects: BTreeMap::new() }
    }

    /// A decider looks at an object.
    pub fn seen(
        &mut self,
        cluster: ClusterId,
        lane: Lane,
        object: &Object,
        now: Micros,
    ) -> Vec<Span> {
        let mut known = self.objects.get_mut(&(lane, object.uid));
        if let Some(known) = known.as_mut().filter(|known| known.revision >= object.revision) {
            let stuck = known.way.as_ref().and_then(|way| way.stuck.clone());
            let stuck = stuck.filter(|(since, _)| now.since_us(*since) >= STUCK_US);
            let given_up = stuck.map(|(since, why)| known.end(lane, since, "stuck", Some(why)));
            return self.told(given_up.unwrap_or_default());
        }
        let write = SpanContext::of_write(cluster, object.revision);
        let way = Way {
            parent: Some(write.span),
            is_seen_from_the_start: known.is_some(),
            ..Way::new(SpanContext::of_convergence(write.trace, lane, object.uid), now)
        };
        let old = known.map(|known| known.end(lane, now, "superseded", None));
        let traced = Traced { key: object.key.clone(), revision: object.revision, way: Some(way) };
        self.objects.insert((lane, object.uid), traced);
        self.told(old.unwrap_or_default())
    }

    /// An attempt is sent out, perhaps once more.
    pub fn dispatched(&mut self, cluster: ClusterId, lane: Lane, dispatch: &Dispatch, now: Micros) {
        let Some(traced) = self.objects.get_mut(&(lane, dispatch.uid)) else { return };
        let way = traced.way.get_or_insert_with(|| {
            let trace = TraceId::of_upkeep(cluster, &dispatch.attempt);
            Way {
                links: vec![SpanContext::of_write(cluster, traced.revision)],
                ..Way::new(SpanContext::of_convergence(trace, lane, dispatch.uid), now)
            }
        });
        if way.attempt.as_ref().is_none_or(|attempt| attempt.id != dispatch.attempt) {
            way.attempts += 1;
            way.attempt = Some(Try {
                id: dispatch.attempt.clone(),
                context: SpanContext::of_attempt(way.context.trace, &dispatch.attempt),
                since: now,
                mutation: dispatch.instance.mutation.id.to_string(),
                step: dispatch.instance.to_string(),
                on: None,
            });
        }
    }

    /// The span that an attempt in hand is, where it is recorded.
    pub fn span_of(&self, lane: Lane, uid: Uid, attempt: &AttemptId) -> Option<SpanContext> {
        let way = self.objects.get(&(lane, uid))?.way.as_ref()?;
        let attempt = way.attempt.as_ref().filter(|hand| hand.id == *attempt)?;
        self.share.takes(attempt.context.trace).then_some(attempt.context)
    }

    /// An attempt is on its way to a node.
    pub fn handed(&mut self, lane: Lane, uid: Uid, to: &Name) {
        let way = self.objects.get_mut(&(lane, uid)).and_then(|traced| traced.way.as_mut());
        if let Some(attempt) = way.and_then(|way| way.attempt.as_mut()) {
            attempt.on = Some(to.clone());
        }
    }

    /// Something happened to an object, by the words of its decider.
    pub fn happened(&mut self, lane: Lane, happening: &Happening, now: Micros) -> Vec<Span> {
        let error = match happening.kind {
            EventKind::StepDone => None,
            EventKind::AttemptFailed => Some(happening.text.clone()),
            EventKind::AttemptStarted
            | EventKind::AttemptProgressed
            | EventKind::Converged
            | EventKind::NeedsHelp
            | EventKind::Frozen
            | EventKind::Module
            | EventKind::Link
            | EventKind::Refused
            | EventKind::CfgSet
            | EventKind::Rollout => return Vec::new(),
        };
        let traced = happening.uid.and_then(|uid| self.objects.get_mut(&(lane, uid)));
        let Some(traced) = traced else { return Vec::new() };
        let ended = traced.end_attempt(now, error, happening.attempt.as_ref());
        self.told(ended.into_iter().collect())
    }

    /// What a decider says of an object now.
    pub fn published(&mut self, lane: Lane, uid: Uid, status: &Status, now: Micros) -> Vec<Span> {
        let Some(traced) = self.objects.get_mut(&(lane, uid)) else { return Vec::new() };
        if status.revision != traced.revision {
            return Vec::new();
        }
        let ended = match status.phase {
            PhaseName::Converged => traced.end(lane, now, "converged", None),
            PhaseName::Quarantined => {
                let error = status.reason.clone().unwrap_or_default();
                let error = status.last_error.clone().unwrap_or(error);
                traced.end(lane, now, "quarantined", Some(error))
            }
            PhaseName::Stuck => {
                let why = status.reason.clone().unwrap_or_default();
                traced.way.iter_mut().for_each(|way| way.stuck = Some((now, why.clone())));
                Vec::new()
            }
            PhaseName::Waiting
            | PhaseName::InFlight
            | PhaseName::BackingOff
            | PhaseName::Frozen => {
                traced.way.iter_mut().for_each(|way| way.stuck = None);
                Vec::new()
            }
        };
        self.told(ended)
    }

    /// An object is gone, or not decided here any more.
    pub fn gone(&mut self, lane: Lane, uid: Uid, now: Micros) -> Vec<Span> {
        let gone = self.objects.remove(&(lane, uid));
        self.told(gone.map(|mut gone| gone.end(lane, now, "gone", None)).unwrap_or_default())
    }

    /// A lane is not decided here any more: somebody else tells the rest.
    pub fn left(&mut self, lane: Lane) {
        self.objects.retain(|(of, _), _| *of != lane);
    }

    /// Those of them that are recorded.
    fn told(&self, mut spans: Vec<Span>) -> Vec<Span> {
        spans.retain(|span| self.share.takes(span.context.trace));
        spans
    }
}

impl Traced {
    /// Ends the way, and the attempt in hand, if there are any.
    fn end(
        &mut self,
        lane: Lane,
        now: Micros,
        outcome: &'static str,
        error: Option<String>,
    ) -> Vec<Span> {
        let mut spans: Vec<Span> = self.end_attempt(now, None, None).into_iter().collect();
        let Some(way) = self.way.take() else { return spans };
        if !way.is_seen_from_the_start && way.attempts == 0 {
            return spans;
        }
        let attributes = vec![
            ("kraken.object", self.key.to_string().into()),
            ("kraken.revision", self.revision.get().into()),
            ("kraken.lane", lane.as_str().into()),
            ("kraken.attempts", way.attempts.into()),
            ("kraken.outcome", outcome.into()),
        ];
        let error = error.or(way.stuck.map(|(_, why)| why).filter(|_| outcome != "converged"));
        let name = if way.parent.is_some() { "converge" } else { "upkeep" };
        spans.push(Span {
            context: way.context,
            parent: way.parent,
            links: way.links,
            name: name.to_owned(),
            kind: SpanKind::Internal,
            from: way.since,
            to: now,
            attributes,
            error,
        });
        spans
    }

    /// Ends the attempt in hand, if there is one and it is this one.
    fn end_attempt(
        &mut self,
        now: Micros,
        error: Option<String>,
        which: Option<&AttemptId>,
    ) -> Option<Span> {
        let way = self.way.as_mut()?;
        let ended =
            way.attempt.take_if(|attempt| which.is_none_or(|which| attempt.id == *which))?;
        let mut attributes: Vec<(&'static str, Attribute)> = vec![
            ("kraken.object", self.key.to_string().into()),
            ("kraken.revision", self.revision.get().into()),
            ("kraken.attempt", ended.id.to_string().into()),
            ("kraken.mutation", ended.step.into()),
        ];
        attributes.extend(ended.on.map(|on| ("kraken.handed_to", on.to_string().into())));
        Some(Span {
            context: ended.context,
            parent: Some(way.context.span),
            links: Vec::new(),
            name: ended.mutation,
            kind: SpanKind::Client,
            from: ended.since,
            to: now,
            attributes,
            error,
        })
    }
}
