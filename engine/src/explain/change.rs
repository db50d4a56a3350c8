//! Plans of a whole change: what a write would do to every object that it touches, and when the
//! policies would let each be disrupted. Made on a copy, so that nothing is written.

use std::{collections::BTreeMap, ops::ControlFlow, sync::Arc};

use super::{PlanView, Scene};
use crate::{
    command::{Command, OPS_MAX, Outcome, Proposal, Refusal, Txn},
    dsc::Dsc,
    id::{Revision, Term, Uid},
    manifest::Manifest,
    object::Object,
    planner::{Answer, Planner, Question},
    policy::forecast::{Forecast, Job, forecast},
    presumed,
    store::{Change, Store},
    time::Millis,
    view::View,
};

/// Most operations of a change that is only thought of. One write takes [`OPS_MAX`]: what has more
/// is planned as the writes that it would take, one after the other.
pub const CHANGE_OPS_MAX: usize = 200_000;

/// A change that is only thought of.
pub struct Proposed<'a> {
    /// Cfg as it is.
    pub store: &'a Store,
    /// What was seen, by object.
    pub dsc: BTreeMap<Uid, Arc<Dsc>>,
    /// What would be declared before that.
    pub declared: Vec<Manifest>,
    /// What would be written; at most [`CHANGE_OPS_MAX`] operations.
    pub txn: Txn,
    /// Now.
    pub at: Millis,
}

/// What a change would do.
#[derive(Debug, Default)]
pub struct ChangePlan {
    /// Every object that would change, in order of kind and name.
    pub objects: Vec<ObjectChange>,
    /// When each of them would be disrupted, and when all would be done.
    pub forecast: Forecast,
    /// How many objects would change and have nothing done for them.
    pub still: usize,
    /// How many objects the change does not touch.
    pub untouched: usize,
    /// How many writes it takes.
    pub writes: usize,
}

/// Why there is no plan of a change.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unplanned {
    /// The change would be refused.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// Whoever asked does not want to know any more.
    #[error("planning was stopped")]
    Stopped,
}

/// What a change would do to one object.
#[derive(Debug)]
pub struct ObjectChange {
    /// The object as it is; absent where it would be created.
    pub before: Option<Arc<Object>>,
    /// The object as it would be, or was last where it would be removed.
    pub object: Arc<Object>,
    /// Whether it would be removed at once.
    pub removed: bool,
    /// The plan; absent for what is removed, and for a kind that nobody declares. Like objects
    /// share theirs.
    pub answer: Option<Answer>,
}

impl ObjectChange {
    /// The plan for people.
    pub fn plan(&self) -> PlanView {
        match &self.answer {
            None => PlanView::default(),
            Some(answer) => PlanView::of_answer(answer),
        }
    }

    /// How long it would take, in milliseconds.
    fn cost_ms(&self) -> u64 {
        self.answer.as_ref().and_then(|answer| answer.as_ref().ok()).map_or(0, |plan| plan.cost_ms)
    }
}

/// Plans a change; `told` hears how many objects are planned, of how many, and says whether to go
/// on.
pub fn plan_change(
    proposed: Proposed<'_>,
    mut told: impl FnMut(usize, usize) -> ControlFlow<()>,
) -> Result<ChangePlan, Unplanned> {
    let Proposed { store: before, dsc, declared, txn, at } = proposed;
    let mut store = before.clone();
    if !declared.is_empty() {
        apply(&mut store, Command::Add { manifests: declared }, at)?;
    }
    let (changes, writes) = write(&mut store, txn, at)?;
    let scene = Scene::new(store, dsc);
    let (mut planner, mut objects) = (Planner::new(), Vec::with_capacity(changes.len()));
    let of = changes.len();
    for change in changes {
        objects.push(planned(before, &scene, &change, &mut planner));
        if told(objects.len(), of).is_break() {
            return Err(Unplanned::Stopped);
        }
    }
    let known = objects.iter().filter(|object| object.before.is_some()).count();
    Ok(ChangePlan {
        forecast: foresee(&scene, &objects, at),
        still: objects.iter().filter(|object| object.cost_ms() == 0).count(),
        untouched: before.objects().count().saturating_sub(known),
        writes,
        objects,
    })
}

/// Writes to a copy of the store; says what is changed, in order of kind and name, and how many
/// writes it takes.
fn write(store: &mut Store, txn: Txn, at: Millis) -> Result<(Vec<Change>, usize), Refusal> {
    if txn.ops.len() > CHANGE_OPS_MAX {
        let what = "the number of operations".to_owned();
        return Err(Refusal::Limit { what, limit: CHANGE_OPS_MAX as u64 });
    }
    let Txn { mut preconditions, ops, note } = txn;
    let mut changes: BTreeMap<Uid, Change> = BTreeMap::new();
    let (mut ops, mut writes) = (ops.into_iter(), 0);
    while writes == 0 || ops.len() > 0 {
        let preconditions = std::mem::take(&mut preconditions);
        let ops = ops.by_ref().take(OPS_MAX).collect();
        let part = Txn { preconditions, ops, note: note.clone() };
        let made = apply(store, Command::Txn(part), at)?;
        changes.extend(made.into_iter().map(|change| (change.object().uid, change)));
        writes += 1;
    }
    let mut changes: Vec<Change> = changes.into_values().collect();
    changes.sort_by(|a, b| a.object().key.cmp(&b.object().key));
    Ok((changes, writes))
}

/// Carries a command out on a copy of the store; says what it changed.
fn apply(store: &mut Store, command: Command, at: Millis) -> Result<Vec<Change>, Refusal> {
    let next = Revision::new(store.revision().get().saturating_add(1));
    let proposal = Proposal { request: None, author: String::new(), at, command };
    let applied = store.apply(next, Term::default(), &proposal);
    match applied.outcome {
        Outcome::Applied { .. } => Ok(applied.changes),
        Outcome::Refused(refusal) => Err(refusal),
    }
}

fn planned(before: &Store, scene: &Scene, change: &Change, planner: &mut Planner) -> ObjectChange {
    let object = change.object().clone();
    let removed = matches!(change, Change::Removed(_));
    let answer = if removed { None } else { answer(scene, &object, planner) };
    ObjectChange { before: before.object(object.uid).cloned(), object, removed, answer }
}

fn answer(scene: &Scene, object: &Object, planner: &mut Planner) -> Option<Answer> {
    let subject = scene.subject(object);
    let presumed = presumed::of(subject.dsc);
    let view = View::new(subject, &presumed)?;
    let goal = view.goal();
    let question = Question { kind: view.kind(), goal: &goal, cfg: &object.cfg, facts: &view };
    Some(planner.plan(&question))
}

/// When the policies, as they would be, let each object be disrupted. What is frozen waits for a
/// person, and what nothing disrupts does not wait.
fn foresee(scene: &Scene, objects: &[ObjectChange], at: Millis) -> Forecast {
    let rules = scene.store.rules();
    let mut jobs = Vec::new();
    let mut others_ms = 0;
    for change in objects.iter().filter(|change| change.object.frozen.is_none()) {
        let Some(Ok(plan)) = &change.answer else { continue };
        let disruptive = plan.steps.iter().find(|step| step.instance.mutation.disruptive);
        match disruptive {
            Some(step) => {
                let module = step.instance.mutation.id.module.clone();
                jobs.push(Job::new(rules, &change.object, module, plan.cost_ms));
            }
            None => others_ms = others_ms.max(plan.cost_ms),
        }
    }
    let mut forecast = forecast(rules, jobs, at);
    forecast.ends_after_ms = forecast.ends_after_ms.max(others_ms);
    forecast
}
