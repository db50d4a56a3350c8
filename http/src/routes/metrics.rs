//! Metrics in Prometheus's text form. What is a state and not a count is read when it is asked for.

use std::{collections::BTreeMap, sync::Arc};

use kraken_actors::state::{StateHandle, Stopped};
use kraken_engine::{
    fleet::{Fleet, LINK_PATH, Link},
    id::Uid,
    manifest::NODE_KIND,
    status::{PhaseName, Status},
};
use metrics::gauge;
use warp::{Filter, reply::Response};

use super::{Routes, answered};
use crate::{
    api::Shared,
    call::{Call, call},
    problem::Problem,
    reply::typed,
};

/// Stands for the phase of an object of which no decider has spoken.
const NO_PHASE: &str = "None";
/// Objects that are counted at a time.
const PAGE: usize = 4_096;
/// The media type of the answer.
const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

pub(super) fn routes(shared: &Arc<Shared>) -> Routes {
    warp::path!("metrics")
        .and(warp::get())
        .and(call(shared))
        .then(|call| answered("metrics", render(call)))
        .boxed()
}

async fn render(mut call: Call) -> Result<Response, Problem> {
    std::mem::take(&mut call.query).done()?;
    let api = &call.shared.api;
    gauge_quorum(&call);
    let fleet = Counts::all(&api.state).await?;
    gauge!("kraken_objects").set(float(fleet.objects));
    gauge!("kraken_nodes_attached").set(float(fleet.attached));
    // Also those that nothing is in any more.
    for phase in PhaseName::all().map(PhaseName::as_str).chain([NO_PHASE]) {
        let count = fleet.phases.get(phase).copied().unwrap_or_default();
        gauge!("kraken_objects_in_phase", "phase" => phase).set(float(count));
    }
    gauge!("kraken_events_arrived").set(float(*api.state.arrivals().borrow()));
    call.shared.metrics.run_upkeep();
    Ok(typed(call.shared.metrics.render().into_bytes(), TEXT))
}

fn gauge_quorum(call: &Call) {
    let quorum = &call.shared.api.quorum;
    let status = quorum.status();
    let leadership = *quorum.leadership().borrow();
    gauge!("kraken_revision").set(float(status.revision.get()));
    gauge!("kraken_raft_applied_index").set(float(status.applied));
    gauge!("kraken_raft_log_index").set(float(status.last_log));
    gauge!("kraken_raft_term").set(float(status.term.get()));
    gauge!("kraken_raft_is_leader").set(float(u64::from(leadership.is_me)));
    gauge!("kraken_raft_has_leader").set(float(u64::from(leadership.leader.is_some())));
    gauge!("kraken_raft_members").set(float(status.members.len() as u64));
}

#[expect(clippy::cast_precision_loss, reason = "a gauge is a float by its format")]
fn float(count: u64) -> f64 {
    count as f64
}

/// What there is in the fleet, counted.
#[derive(Default)]
struct Counts {
    objects: u64,
    attached: u64,
    phases: BTreeMap<&'static str, u64>,
    last: Option<Uid>,
}

impl Counts {
    /// Counts page by page, where everything stands: what is held apart would be copied by whoever
    /// writes meanwhile.
    async fn all(state: &StateHandle) -> Result<Self, Stopped> {
        let mut counts = Self::default();
        loop {
            let before = counts.last;
            counts = state.read(|fleet| counts.and_page(fleet)).await?;
            if counts.last == before {
                return Ok(counts);
            }
        }
    }

    fn and_page(mut self, fleet: &Fleet) -> Self {
        for object in fleet.objects_after(self.last).take(PAGE) {
            let dsc = fleet.seen(object.uid);
            let is_node = object.key.kind.as_str() == NODE_KIND;
            let link = dsc.filter(|_| is_node).and_then(|dsc| dsc.value(LINK_PATH)?.as_str());
            let phase = dsc.and_then(Status::phase_of).map_or(NO_PHASE, PhaseName::as_str);
            self.objects += 1;
            self.attached += u64::from(link == Some(Link::Up.as_str()));
            *self.phases.entry(phase).or_default() += 1;
            self.last = Some(object.uid);
        }
        self
    }
}
