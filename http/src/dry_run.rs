//! What a write would do: carried out on a copy of the store, then every object that it changes is
//! planned for. Nothing is written. To a client that takes lines the answer is a stream, with word
//! of how far it is.

use std::{
    collections::BTreeMap,
    ops::ControlFlow,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use kraken_actors::quorum::Consistency;
use kraken_engine::{
    command::Txn,
    explain::change::{ChangePlan, ObjectChange, Proposed, Unplanned, plan_change},
    fleet::Fleet,
    id::Revision,
    manifest::Manifest,
    object::Object,
    path::Path,
    policy::forecast::Forecast,
    store::Store,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;
use warp::reply::Response;

use crate::{
    aside::aside,
    call::Call,
    json::to_json,
    media::{self, JSON, NDJSON},
    problem::Problem,
    reply::{json, with_revision},
    routes::check_base,
    stream::{self, Gone, Lines},
    view::{ChangeView, PlanView, reference},
};

/// Most waves that an answer names one by one.
pub const WAVES_SHOWN_MAX: usize = 1_000;
/// How often a stream says how far planning is.
const PROGRESS: Duration = Duration::from_millis(200);

/// What a write would do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DryRun {
    /// The revision from which it was planned: give it as `expect` to write exactly this.
    pub revision: u64,
    /// Every object that would change, in order of name.
    pub objects: Vec<Planned>,
    /// When what would be done, as far as that can be foreseen.
    #[serde(default)]
    pub outlook: Outlook,
}

/// When a whole change would be done.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Outlook {
    /// How many objects would change and have nothing done for them.
    pub still: usize,
    /// How many objects the change does not touch.
    pub untouched: usize,
    /// When all would be done, in milliseconds from now, pauses aside.
    pub ends_after_ms: u64,
    /// How many waves of disruptive steps the policies make of it.
    pub wave_count: usize,
    /// The first of the waves, at most 1,000.
    pub waves: Vec<WaveView>,
    /// How often a rollout would pause for a person, by policy.
    pub pauses: BTreeMap<String, usize>,
    /// How many objects would not be let through as things are.
    pub held: usize,
    /// Whether there was too much to ask, so that the last are not foreseen.
    pub cut: bool,
    /// How many writes it takes; more than one has to be sent in parts.
    pub writes: usize,
}

/// Objects that would be disrupted together.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Wave")]
pub struct WaveView {
    /// How many.
    pub objects: usize,
    /// When they would begin, in milliseconds from now.
    pub begins_after_ms: u64,
    /// When the last of them would be done, in milliseconds from now.
    pub ends_after_ms: u64,
}

/// What a write would do to one object.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Planned {
    /// The object, `kind/name`.
    pub object: String,
    /// What would become of it.
    pub change: Kind,
    /// What its Cfg would lose and gain; null is nothing.
    pub cfg: Vec<ChangeView>,
    /// What would then be done; nothing for an object that is removed at once.
    pub plan: PlanView,
    /// In which wave of disruptive steps, from 1; absent where nothing of it is disruptive.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wave: Option<usize>,
    /// What would hold it as things are: a policy, or a freeze.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held: Option<String>,
}

/// What would become of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "PlannedChange")]
pub enum Kind {
    /// It would be created.
    Create,
    /// It would be changed.
    Update,
    /// It would be marked for removal, or removed.
    Delete,
}

/// A line of an answer that is streamed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "camelCase")]
#[schemars(rename = "PlanLine")]
pub enum Line {
    /// So many objects are planned, of so many.
    Progress {
        /// How many are planned.
        done: usize,
        /// How many are to be.
        of: usize,
    },
    /// What would be done to one object.
    Object(Box<Planned>),
    /// The last line: the rest of the answer.
    #[serde(rename_all = "camelCase")]
    End {
        /// The revision from which it was planned.
        revision: u64,
        /// When what would be done.
        outlook: Box<Outlook>,
    },
    /// The last line where it could not be planned: a problem.
    Problem {
        /// The problem, as its own answer would hold it.
        problem: Json,
    },
}

/// Answers what a transaction would do after declarations.
pub(crate) async fn answer(
    call: &Call,
    (declared, txn): (Vec<Manifest>, Txn),
    expect: Option<Revision>,
) -> Result<Response, Problem> {
    let store = call.read(Consistency::Linearizable, Store::clone).await?;
    if let Some(expected) = expect {
        check_base(&store, expected)?;
    }
    let revision = store.revision();
    let dsc = call.shared.api.state.read(Fleet::all_dsc).await?;
    let at = call.shared.api.clock.wall();
    let far = Arc::new(Far::default());
    let told = far.clone();
    let work = move || {
        let proposed = Proposed { store: &store, dsc, declared, txn, at };
        plan_change(proposed, |done, of| told.tell(done, of))
    };
    if media::wanted(&call.headers, &[JSON, NDJSON]) == Some(NDJSON) {
        let (lines, response) = stream::open(&call.shared, &call.headers, None)?;
        tokio::spawn(async move {
            // A client that has gone has no need of the rest.
            tell(lines, work, &far, revision).await.ok();
        });
        return Ok(with_revision(response, revision));
    }
    // A client that does not wait for the answer any more drops the whole of this.
    let _stop = Stop(&far);
    let plan = aside(work).await??;
    let view = move || {
        let outlook = Outlook::of(&plan);
        let objects = plan.objects.iter().map(|one| Planned::of(one, &plan.forecast)).collect();
        json(&DryRun { revision: revision.get(), objects, outlook })
    };
    Ok(with_revision(aside(view).await??, revision))
}

/// How far planning is, and whether anybody still wants to know.
#[derive(Default)]
struct Far {
    done: AtomicUsize,
    of: AtomicUsize,
    stopped: AtomicBool,
}

impl Far {
    fn tell(&self, done: usize, of: usize) -> ControlFlow<()> {
        self.done.store(done, Ordering::Relaxed);
        self.of.store(of, Ordering::Relaxed);
        let stopped = self.stopped.load(Ordering::Relaxed);
        if stopped { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    fn line(&self) -> Line {
        let (done, of) = (self.done.load(Ordering::Relaxed), self.of.load(Ordering::Relaxed));
        Line::Progress { done, of }
    }
}

/// Stops planning when it is dropped: nobody waits for the end of it.
struct Stop<'a>(&'a Far);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.stopped.store(true, Ordering::Relaxed);
    }
}

/// Writes the lines of an answer: how far planning is, then the plan, each object as it is put into
/// words. Ends early, and planning with it, when the client has gone.
async fn tell(
    mut lines: Lines,
    work: impl FnOnce() -> Result<ChangePlan, Unplanned> + Send + 'static,
    far: &Far,
    revision: Revision,
) -> Result<(), Gone> {
    let _stop = Stop(far);
    let mut work = tokio::task::spawn_blocking(work);
    let done = loop {
        tokio::select! {
            done = &mut work => break done,
            () = lines.closed() => return Err(Gone),
            () = tokio::time::sleep(PROGRESS) => {
                lines.write(None, &far.line()).await?;
                lines.flush().await?;
            }
        }
    };
    let plan = match done {
        Ok(Ok(plan)) => plan,
        Ok(Err(unplanned)) => return lines.fail(unplanned.into()).await,
        Err(error) => {
            return lines.fail(Problem::Internal(format!("planning ended early: {error}"))).await;
        }
    };
    // Putting a hundred thousand plans into words takes a while too.
    let told = tokio::task::spawn_blocking(move || lines.plan(plan, revision)).await;
    told.unwrap_or(Err(Gone))
}

impl From<Unplanned> for Problem {
    fn from(unplanned: Unplanned) -> Self {
        match unplanned {
            Unplanned::Refused(refusal) => refusal.into(),
            Unplanned::Stopped => Self::Unavailable(unplanned.to_string()),
        }
    }
}

impl Lines {
    /// Writes a plan, and lets go of each object once it is written; for a thread that may block.
    fn plan(&mut self, mut plan: ChangePlan, revision: Revision) -> Result<(), Gone> {
        let outlook = Box::new(Outlook::of(&plan));
        for object in std::mem::take(&mut plan.objects) {
            self.write_blocking(&Line::Object(Box::new(Planned::of(&object, &plan.forecast))))?;
        }
        self.write_blocking(&Line::End { revision: revision.get(), outlook })?;
        self.flush_blocking()
    }

    async fn fail(&mut self, problem: Problem) -> Result<(), Gone> {
        let problem = problem.body_json();
        self.write(None, &Line::Problem { problem }).await?;
        self.flush().await
    }
}

impl Outlook {
    fn of(plan: &ChangePlan) -> Self {
        let Forecast { waves, ends_after_ms, pauses, held, cut, .. } = &plan.forecast;
        let shown = waves.iter().take(WAVES_SHOWN_MAX).map(|wave| WaveView {
            objects: wave.objects,
            begins_after_ms: wave.begins_after_ms,
            ends_after_ms: wave.ends_after_ms,
        });
        let frozen = plan.objects.iter().filter(|one| one.object.frozen.is_some());
        Self {
            still: plan.still,
            untouched: plan.untouched,
            ends_after_ms: *ends_after_ms,
            wave_count: waves.len(),
            waves: shown.collect(),
            pauses: pauses.clone(),
            held: held.len() + frozen.count(),
            cut: *cut,
            writes: plan.writes,
        }
    }
}

impl Planned {
    fn of(change: &ObjectChange, forecast: &Forecast) -> Self {
        let ObjectChange { before, object, removed, .. } = change;
        let hold = forecast.held.get(&object.uid);
        let hold = hold.map(|hold| format!("{}: {}", hold.waits_for(), hold.reason()));
        let frozen = object.frozen.as_ref().filter(|_| !removed);
        let frozen = frozen.map(|frozen| format!("frozen by {} ({})", frozen.by, frozen.scope));
        Self {
            object: reference(&object.key),
            change: match before {
                None => Kind::Create,
                Some(held) if *removed || held.deleting != object.deleting => Kind::Delete,
                Some(_) => Kind::Update,
            },
            cfg: cfg_changes(before.as_ref(), Some(object).filter(|_| !removed)),
            plan: PlanView::of(&change.plan()),
            wave: forecast.wave_of.get(&object.uid).map(|wave| wave + 1),
            held: frozen.or(hold),
        }
    }
}

/// What a Cfg loses and gains, in order of path.
fn cfg_changes(before: Option<&Arc<Object>>, after: Option<&Arc<Object>>) -> Vec<ChangeView> {
    let mut changes: BTreeMap<&Path, (Json, Json)> = BTreeMap::new();
    for (path, value) in before.iter().flat_map(|object| object.cfg.iter()) {
        changes.entry(path).or_default().0 = to_json(value);
    }
    for (path, value) in after.iter().flat_map(|object| object.cfg.iter()) {
        changes.entry(path).or_default().1 = to_json(value);
    }
    let moved = changes.into_iter().filter(|(_, (from, to))| from != to);
    moved.map(|(path, (from, to))| ChangeView { path: path.to_string(), from, to }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn planning_is_told_to_end_when_nobody_waits_for_it() {
        let far = Far::default();
        let stop = Stop(&far);
        assert!(far.tell(1, 2).is_continue());
        drop(stop);
        assert!(far.tell(2, 2).is_break());
        assert_eq!(far.line(), Line::Progress { done: 2, of: 2 });
    }
}
