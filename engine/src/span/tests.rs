//! Ids of traces, the words of Trace Context, shares, and the tracer's table, row by row.

use std::{sync::Arc, time::Duration};

use super::{tracer::STUCK_US, *};
use crate::{
    catalog::Catalog,
    event::{EventKind, Happening},
    id::Name,
    machine::Dispatch,
    manifest::{Extension, Manifest, MutationSpec, PathSpec, Type},
    mutation::Instance,
    object::{Labels, Object, ObjectRef, Tenure},
    state::State,
    status::{PhaseName, Status},
    time::Millis,
};

const CLUSTER: ClusterId = ClusterId::new(7);
const LANE: Lane = Lane::Itself;

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn uid() -> Uid {
    Uid::derive(CLUSTER, Revision::new(1), 0)
}

fn attempt(count: u64) -> AttemptId {
    AttemptId::derive(&name("n1"), 1, count)
}

fn at(us: u64) -> Micros {
    Micros::new(us)
}

fn object(revision: u64) -> Arc<Object> {
    Arc::new(Object {
        uid: uid(),
        key: ObjectRef { kind: name("node"), namespace: None, name: name("n1") },
        labels: Labels::new(),
        owner: None,
        on_delete: <_>::default(),
        tenure: Tenure::default(),
        created: Millis::ZERO,
        revision: Revision::new(revision),
        generation: 1,
        deleting: false,
        frozen: None,
        cfg: State::new(),
    })
}

fn dispatch(count: u64) -> Dispatch {
    let extension = Extension::new("pump").path(PathSpec::new("/pump", Type::Text));
    let start = MutationSpec::new("Start").changes("/pump", "OFF", "ON");
    let manifest = Manifest::new("pump").extension(extension).mutation(start).discovers("/pump");
    let catalog = Catalog::build(&[manifest]).unwrap();
    let id = "pump/Start".to_owned().try_into().unwrap();
    let mutation = catalog.kind(&name("node")).unwrap().mutation(&id).unwrap().clone();
    Dispatch {
        attempt: attempt(count),
        uid: uid(),
        instance: Instance { mutation, bindings: Vec::new() },
        timeout: Duration::from_secs(9),
        revision: Revision::new(5),
    }
}

fn status(phase: PhaseName, revision: u64) -> Status {
    Status {
        phase,
        revision: Revision::new(revision),
        step: None,
        reason: Some("no way leads there".to_owned()),
        waits_for: None,
        since: Millis::ZERO,
        attempts: 0,
        last_error: None,
        next_retry: None,
    }
}

fn happening(kind: EventKind, count: u64) -> Happening {
    let (uid, attempt) = (Some(uid()), Some(attempt(count)));
    Happening { kind, uid, revision: None, attempt, text: "it leaks".to_owned() }
}

/// A tracer of all that knows the object as settled at revision 4.
fn settled() -> Tracer {
    let mut tracer = Tracer::new(Share::ALL);
    assert_eq!(tracer.seen(CLUSTER, LANE, &object(4), at(1)), []);
    let first = tracer.published(LANE, uid(), &status(PhaseName::Converged, 4), at(2));
    assert_eq!(first, [], "nobody saw when that began, and nothing was tried");
    tracer
}

fn attribute(span: &Span, name: &str) -> String {
    let found = span.attributes.iter().find(|(key, _)| *key == name);
    match &found.unwrap_or_else(|| panic!("no {name}: {span:?}")).1 {
        Attribute::Text(text) => text.clone(),
        Attribute::Number(number) => number.to_string(),
    }
}

#[test]
fn every_node_and_every_release_finds_the_same_trace() {
    let write = SpanContext::of_write(CLUSTER, Revision::new(5));
    assert_eq!(write.to_string(), "00-e2917b497498bf00ab5caa52c5d4ba0a-940a54a84f5dece3-01");
    assert_ne!(write.trace, TraceId::of_write(CLUSTER, Revision::new(6)));
    assert_ne!(write.trace, TraceId::of_write(ClusterId::new(8), Revision::new(5)));
    let (own, led) = (Lane::Itself, Lane::Quorum);
    let spans = [
        write,
        SpanContext::of_commit(write.trace),
        SpanContext::of_convergence(write.trace, own, uid()),
        SpanContext::of_convergence(write.trace, led, uid()),
        SpanContext::of_attempt(write.trace, &attempt(1)),
        SpanContext::of_run(write.trace, &attempt(1)),
    ];
    let ids: std::collections::BTreeSet<SpanId> =
        spans.iter().map(|context| context.span).collect();
    assert_eq!(ids.len(), spans.len());
    assert!(spans.iter().all(|context| context.trace == write.trace));
}

#[test]
fn a_traceparent_is_read_as_it_is_written() {
    let written = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let read: SpanContext = written.parse().unwrap();
    assert_eq!(read.to_string(), written);
    assert!(read.is_sampled);
    let (trace, span) = ("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331");
    let unsampled: SpanContext = format!("00-{trace}-{span}-00").parse().unwrap();
    assert!(!unsampled.is_sampled);
    let later = format!("01-{trace}-{span}-03-more").parse::<SpanContext>().unwrap();
    assert_eq!((later.trace, later.span), (read.trace, read.span));
    for bad in [
        String::new(),
        "00".to_owned(),
        format!("ff-{trace}-{span}-01"),
        format!("00-{trace}-{span}-01-more"),
        format!("00-{trace}-{span}"),
        format!("00-{}-{span}-01", trace.to_uppercase()),
        format!("00-{}-{span}-01", "0".repeat(32)),
        format!("00-{trace}-{}-01", "0".repeat(16)),
        format!("00-+{}-{span}-01", &trace[1..]),
        format!("00-{trace}-{span}x-01"),
    ] {
        assert_eq!(bad.parse::<SpanContext>(), Err(NoSpanContext), "{bad}");
    }
}

#[test]
fn a_share_takes_so_many_and_the_same_everywhere() {
    let traces = |of: u64| (1..=of).map(|r| TraceId::of_write(CLUSTER, Revision::new(r)));
    let taken = |share: f64| {
        let share = Share::new(share).unwrap();
        traces(10_000).filter(|trace| share.takes(*trace)).count()
    };
    assert_eq!((taken(0.0), taken(1.0)), (0, 10_000));
    assert!((2_300..2_700).contains(&taken(0.25)), "{}", taken(0.25));
    let (few, many) = (Share::new(0.1).unwrap(), Share::new(0.6).unwrap());
    assert!(traces(1_000).all(|trace| !few.takes(trace) || many.takes(trace)));
    for wrong in [-0.1, 1.1, f64::NAN] {
        assert_eq!(Share::new(wrong), None);
    }
}

#[test]
fn a_write_is_told_from_its_look_to_its_end_with_what_was_tried() {
    let mut tracer = settled();
    assert_eq!(tracer.seen(CLUSTER, LANE, &object(5), at(10)), []);
    assert_eq!(tracer.seen(CLUSTER, LANE, &object(5), at(11)), [], "looked at again");
    tracer.dispatched(CLUSTER, LANE, &dispatch(1), at(12));
    tracer.dispatched(CLUSTER, LANE, &dispatch(1), at(13));
    tracer.handed(LANE, uid(), &name("m2"));
    let inner = tracer.span_of(LANE, uid(), &attempt(1)).unwrap();
    assert_eq!(tracer.span_of(LANE, uid(), &attempt(2)), None, "that is not in hand");
    let other = tracer.happened(LANE, &happening(EventKind::StepDone, 2), at(14));
    assert_eq!(other, [], "nor is its end the end of this one");
    let tried = tracer.happened(LANE, &happening(EventKind::StepDone, 1), at(15));
    let [tried] = <[Span; 1]>::try_from(tried).unwrap();
    assert_eq!(tried.context, inner);
    assert_eq!((tried.name.as_str(), tried.from, tried.to), ("pump/Start", at(12), at(15)));
    assert_eq!(attribute(&tried, "kraken.handed_to"), "m2");
    assert_eq!(tried.error, None);
    let early = tracer.published(LANE, uid(), &status(PhaseName::Converged, 4), at(16));
    assert_eq!(early, [], "that speaks of the write before");
    let way = tracer.published(LANE, uid(), &status(PhaseName::Converged, 5), at(17));
    let [way] = <[Span; 1]>::try_from(way).unwrap();
    let write = SpanContext::of_write(CLUSTER, Revision::new(5));
    assert_eq!((way.context.trace, way.parent), (write.trace, Some(write.span)));
    assert_eq!((tried.context.trace, tried.parent), (write.trace, Some(way.context.span)));
    assert_eq!((way.name.as_str(), way.from, way.to), ("converge", at(10), at(17)));
    assert_eq!(attribute(&way, "kraken.outcome"), "converged");
    assert_eq!(attribute(&way, "kraken.attempts"), "1");
}

#[test]
fn what_is_tried_without_a_new_write_is_a_trace_of_its_own_that_names_the_write() {
    let mut tracer = settled();
    tracer.dispatched(CLUSTER, LANE, &dispatch(1), at(20));
    let failed = tracer.happened(LANE, &happening(EventKind::AttemptFailed, 1), at(21));
    assert_eq!(failed[0].error.as_deref(), Some("it leaks"));
    tracer.dispatched(CLUSTER, LANE, &dispatch(2), at(22));
    tracer.happened(LANE, &happening(EventKind::StepDone, 2), at(23));
    let way = tracer.published(LANE, uid(), &status(PhaseName::Converged, 4), at(24));
    let [way] = <[Span; 1]>::try_from(way).unwrap();
    assert_eq!((way.name.as_str(), way.parent), ("upkeep", None));
    assert_eq!(way.context.trace, TraceId::of_upkeep(CLUSTER, &attempt(1)));
    assert_eq!(failed[0].context.trace, way.context.trace);
    assert_eq!(way.links, [SpanContext::of_write(CLUSTER, Revision::new(4))]);
    assert_eq!(attribute(&way, "kraken.attempts"), "2");
}

#[test]
fn a_way_that_does_not_lead_there_is_told_once_as_what_became_of_it() {
    let mut tracer = settled();
    tracer.seen(CLUSTER, LANE, &object(5), at(10));
    let waiting = tracer.published(LANE, uid(), &status(PhaseName::Waiting, 5), at(11));
    assert_eq!(waiting, []);
    let quarantined = status(PhaseName::Quarantined, 5);
    let told = tracer.published(LANE, uid(), &quarantined, at(12));
    assert_eq!(told[0].error.as_deref(), Some("no way leads there"));
    assert_eq!(attribute(&told[0], "kraken.outcome"), "quarantined");
    assert_eq!(tracer.published(LANE, uid(), &quarantined, at(13)), []);
    let mut tracer = settled();
    tracer.seen(CLUSTER, LANE, &object(5), at(10));
    tracer.dispatched(CLUSTER, LANE, &dispatch(1), at(11));
    let told = tracer.seen(CLUSTER, LANE, &object(6), at(12));
    let names: Vec<&str> = told.iter().map(|span| span.name.as_str()).collect();
    assert_eq!(names, ["pump/Start", "converge"], "what is in hand ends with its way");
    assert_eq!(attribute(&told[1], "kraken.outcome"), "superseded");
    let gone = tracer.gone(LANE, uid(), at(13));
    assert_eq!(attribute(&gone[0], "kraken.outcome"), "gone");
    assert_eq!(tracer.gone(LANE, uid(), at(14)), []);
}

#[test]
fn what_is_stuck_for_a_moment_is_on_its_way_and_for_long_is_given_up() {
    let (stuck, waiting) = (status(PhaseName::Stuck, 5), status(PhaseName::Waiting, 5));
    let mut tracer = settled();
    tracer.seen(CLUSTER, LANE, &object(5), at(10));
    assert_eq!(tracer.published(LANE, uid(), &stuck, at(11)), []);
    assert_eq!(tracer.seen(CLUSTER, LANE, &object(5), at(10 + STUCK_US)), []);
    assert_eq!(tracer.published(LANE, uid(), &waiting, at(12 + STUCK_US)), []);
    assert_eq!(tracer.seen(CLUSTER, LANE, &object(5), at(13 + 9 * STUCK_US)), [], "it moved on");
    assert_eq!(tracer.published(LANE, uid(), &stuck, at(14 + 9 * STUCK_US)), []);
    let told = tracer.seen(CLUSTER, LANE, &object(5), at(14 + 10 * STUCK_US));
    assert_eq!(attribute(&told[0], "kraken.outcome"), "stuck");
    assert_eq!(told[0].error.as_deref(), Some("no way leads there"));
    assert_eq!((told[0].from, told[0].to), (at(10), at(14 + 9 * STUCK_US)));
    assert_eq!(tracer.seen(CLUSTER, LANE, &object(5), at(14 + 20 * STUCK_US)), [], "told once");
}

#[test]
fn what_is_first_seen_on_its_way_is_told_if_something_is_tried() {
    let mut tracer = Tracer::new(Share::ALL);
    tracer.seen(CLUSTER, LANE, &object(5), at(10));
    tracer.dispatched(CLUSTER, LANE, &dispatch(1), at(11));
    tracer.happened(LANE, &happening(EventKind::StepDone, 1), at(12));
    let way = tracer.published(LANE, uid(), &status(PhaseName::Converged, 5), at(13));
    assert_eq!(way[0].context.trace, TraceId::of_write(CLUSTER, Revision::new(5)));
}

#[test]
fn lanes_are_told_apart_and_left_alone() {
    let mut tracer = settled();
    tracer.seen(CLUSTER, Lane::Quorum, &object(4), at(3));
    tracer.published(Lane::Quorum, uid(), &status(PhaseName::Converged, 4), at(4));
    for lane in [Lane::Itself, Lane::Quorum] {
        tracer.seen(CLUSTER, lane, &object(5), at(10));
    }
    tracer.left(Lane::Quorum);
    let left = tracer.published(Lane::Quorum, uid(), &status(PhaseName::Converged, 5), at(11));
    assert_eq!(left, []);
    let own = tracer.published(LANE, uid(), &status(PhaseName::Converged, 5), at(12));
    assert_eq!(own.len(), 1);
}

#[test]
fn nothing_is_told_of_what_the_share_does_not_take() {
    let mut tracer = Tracer::new(Share::new(0.0).unwrap());
    tracer.seen(CLUSTER, LANE, &object(5), at(10));
    tracer.dispatched(CLUSTER, LANE, &dispatch(1), at(11));
    assert_eq!(tracer.span_of(LANE, uid(), &attempt(1)), None);
    assert_eq!(tracer.happened(LANE, &happening(EventKind::StepDone, 1), at(12)), []);
    assert_eq!(tracer.published(LANE, uid(), &status(PhaseName::Converged, 5), at(13)), []);
}
