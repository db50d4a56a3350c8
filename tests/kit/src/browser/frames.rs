//! How long a page works for a frame: read from a trace of the browser itself, as its developer
//! tools show it.
//!
//! A frame is what lies between two handovers of the page's thread to what draws. Counted are
//! scripts with all that they are run by (frames, messages, timers, collected garbage), styles and
//! layout; beside that all that the thread does, painting and layers included. What lies within
//! another is counted once.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value as Json, json};

use super::page::Page;
use crate::wait_until;

/// What a trace must hold to tell.
const CATEGORIES: [&str; 3] = ["devtools.timeline", "disabled-by-default-devtools.timeline", "v8"];
/// Scripts, styles and layout, as traces name them.
const WORK: [&str; 14] = [
    "EvaluateScript",
    "EventDispatch",
    "FireAnimationFrame",
    "FunctionCall",
    "HitTest",
    "IntersectionObserverController::computeIntersections",
    "Layout",
    "MajorGC",
    "MinorGC",
    "RunMicrotasks",
    "TimerFire",
    "UpdateLayoutTree",
    "v8.compile",
    "v8.run",
];
/// All that a thread does.
const ANYTHING: [&str; 1] = ["RunTask"];
/// Where a frame ends.
const ENDS: &str = "Commit";
/// How long a trace may take to be handed over.
const HAND_OVER_MAX: Duration = Duration::from_mins(1);

/// A trace that is being taken.
#[derive(Debug)]
pub struct Trace<'a> {
    page: &'a Page,
}

/// What the frames of a trace took, in microseconds, from the least to the most.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Frames {
    work: Vec<u64>,
    all: Vec<u64>,
}

impl<'a> Trace<'a> {
    /// Begins a trace.
    pub async fn begin(page: &'a Page) -> Result<Self> {
        let asked = json!({
            "transferMode": "ReportEvents",
            "traceConfig": { "includedCategories": CATEGORIES },
        });
        page.call("Tracing.start", asked).await?;
        Ok(Self { page })
    }

    /// Ends it, and tells what its frames took.
    pub async fn end(self) -> Result<Frames> {
        self.page.call("Tracing.end", json!({})).await?;
        wait_until("the trace is handed over", HAND_OVER_MAX, async || {
            ensure!(!self.page.take("Tracing.tracingComplete").is_empty(), "it is not");
            Ok(())
        })
        .await?;
        let parts = self.page.take("Tracing.dataCollected");
        let mut events: Vec<Json> = Vec::new();
        for mut part in parts {
            if let Json::Array(some) = part["value"].take() {
                events.extend(some);
            }
        }
        Frames::of(&events)
    }
}

impl Frames {
    fn of(events: &[Json]) -> Result<Self> {
        let main = busiest(events).context("the trace has no frame")?;
        let here: Vec<&Json> = events
            .iter()
            .filter(|event| thread(event) == Some(main) && event["ph"] == "X")
            .collect();
        let mut ends: Vec<u64> = here
            .iter()
            .filter(|event| event["name"] == ENDS)
            .filter_map(|event| event["ts"].as_u64())
            .collect();
        ends.sort_unstable();
        Ok(Self { work: between(&ends, &here, &WORK), all: between(&ends, &here, &ANYTHING) })
    }

    /// How many frames there were.
    pub fn count(&self) -> usize {
        self.work.len()
    }

    /// What scripts, styles and layout took at most in so many thousandths of the frames, in
    /// microseconds.
    pub fn work(&self, thousandths: usize) -> u64 {
        quantile(&self.work, thousandths)
    }

    /// The same of all that the page's thread did.
    pub fn all(&self, thousandths: usize) -> u64 {
        quantile(&self.all, thousandths)
    }
}

fn quantile(sorted: &[u64], thousandths: usize) -> u64 {
    let place = (sorted.len().saturating_sub(1) * thousandths).div_ceil(1_000);
    sorted.get(place).copied().unwrap_or_default()
}

/// How long events of these names last between each two ends of frames.
fn between(ends: &[u64], events: &[&Json], names: &[&str]) -> Vec<u64> {
    let is_one = |event: &Json| event["name"].as_str().is_some_and(|name| names.contains(&name));
    let spans = events.iter().filter(|event| is_one(event));
    let span = |event: &&Json| Some((event["ts"].as_u64()?, event["dur"].as_u64().unwrap_or(0)));
    let mut spans: Vec<(u64, u64)> = spans.filter_map(span).collect();
    spans.sort_unstable();
    let frame = |pair: &[u64]| {
        let [from, to] = pair else { return 0 };
        let first = spans.partition_point(|(start, _)| start < from);
        let last = spans.partition_point(|(start, _)| start < to);
        union(spans.get(first..last).unwrap_or_default())
    };
    let mut took: Vec<u64> = ends.windows(2).map(frame).collect();
    took.sort_unstable();
    took
}

fn thread(event: &Json) -> Option<(u64, u64)> {
    Some((event["pid"].as_u64()?, event["tid"].as_u64()?))
}

/// The thread with the most frames: that of the page.
fn busiest(events: &[Json]) -> Option<(u64, u64)> {
    let mut counts = BTreeMap::new();
    for event in events.iter().filter(|event| event["name"] == ENDS) {
        *counts.entry(thread(event)?).or_insert(0_u64) += 1;
    }
    counts.into_iter().max_by_key(|(_, count)| *count).map(|(thread, _)| thread)
}

/// How long spans last together, in order of their starts, what overlaps counted once.
fn union(spans: &[(u64, u64)]) -> u64 {
    let (mut sum, mut end) = (0, 0);
    for (start, lasts) in spans {
        let stops = start + lasts;
        sum += stops.saturating_sub(end.max(*start));
        end = end.max(stops);
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(name: &str, thread: u64, at: u64, lasts: u64) -> Json {
        json!({ "name": name, "ph": "X", "pid": 1, "tid": thread, "ts": at, "dur": lasts })
    }

    #[test]
    fn what_lies_within_is_counted_once_and_other_threads_are_not() {
        let events = [
            event(ENDS, 1, 100, 5),
            event("RunTask", 1, 105, 700),
            event("FireAnimationFrame", 1, 110, 50),
            event("FunctionCall", 1, 120, 20),
            event("Layout", 1, 155, 15),
            event("Paint", 1, 180, 500),
            event("FunctionCall", 2, 110, 999),
            event(ENDS, 1, 1_000, 5),
            event("TimerFire", 1, 1_100, 7),
            event(ENDS, 1, 2_000, 5),
        ];
        let frames = Frames::of(&events).unwrap();
        assert_eq!(frames, Frames { work: vec![7, 60], all: vec![0, 700] });
        assert_eq!((frames.count(), frames.work(0), frames.all(1_000)), (2, 7, 700));
        assert!(Frames::of(&[]).is_err());
    }
}
