//! Explanations: why an object is not where it is asked to be, what will be done about it, and who
//! must act. Data, not prose: whoever shows it chooses the words around it.
//!
//! Made from what anybody can read (Cfg, Dsc, the catalog), never from inside a decider, so that
//! every member answers alike; what deciders presume stands in Dsc.

mod act;
pub mod change;
mod scene;
#[cfg(test)]
mod tests;
mod walked;

use serde::Serialize;

use self::walked::walked;
pub use self::{act::who_must_act, scene::Scene};
use crate::{
    catalog::CATALOG_PATH,
    fleet::LINK_PATH,
    graph::{Graph, Progress, of_object},
    id::{Name, Revision, Uid},
    manifest::Context,
    mutation::Lane,
    object::{Frozen, ObjectRef},
    path::Path,
    planner::{Answer, NoPlan, Plan, Planner, Question, Step, StepChange},
    predicate::On,
    presumed,
    status::{PhaseName, Status},
    time::Millis,
    value::Value,
    view::{Subject, View, is_stale},
};

/// Why an object stands where it stands.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Why {
    /// The object.
    pub object: ObjectRef,
    /// Its identity.
    pub uid: Uid,
    /// The Cfg revision that is explained.
    pub revision: Revision,
    /// Whether it is being deleted: then its goal is the absent state of its kind.
    pub deleting: bool,
    /// Who froze it.
    pub frozen: Option<Frozen>,
    /// The node that is to stop it before another one has it, where it must never run twice.
    pub former_host: Option<Name>,
    /// The node that decides about it by other declarations than the quorum's, and those.
    pub other_declarations: Option<OtherDeclarations>,
    /// What its link was last heard to be; nothing for what is no node, or was never attached.
    pub link: Option<Value>,
    /// Every path at which what is seen is not what is asked, in order.
    pub differences: Vec<Difference>,
    /// What both lanes together say of it.
    pub status: Option<Status>,
    /// What each lane says of it.
    pub lanes: Lanes,
    /// What is to be done, from what is seen and what is presumed after failures.
    pub plan: PlanView,
    /// Who must act for it to move on, in words.
    pub who_must_act: String,
}

/// Declarations by which a node decides, and which are not those of the quorum: they have not come
/// yet, or the node cannot read them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct OtherDeclarations {
    /// The node.
    pub node: Name,
    /// The digest of its declarations.
    pub digest: String,
    /// The digest of the quorum's.
    pub quorum: String,
}

/// The words of the two lanes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Lanes {
    /// Of the node that hosts the object.
    pub itself: Option<Status>,
    /// Of the leader of the quorum.
    pub quorum: Option<Status>,
}

/// A path at which what is seen is not what is asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Difference {
    /// The path.
    pub path: Path,
    /// What is asked.
    pub wanted: Value,
    /// What is seen; nothing where it is unknown.
    pub seen: Option<Value>,
    /// Whether it was seen longer ago than it is good for.
    pub stale: bool,
}

/// What will be done for one object, and in what order.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PlanView {
    /// The steps; empty where nothing is to be done, or nothing can be.
    pub steps: Vec<StepView>,
    /// The expected time of all steps, in milliseconds.
    pub cost_ms: u64,
    /// What must come to hold on other objects first, as predicates.
    pub waits_for: Vec<String>,
    /// The parts of the goal that cannot be reached, with what is missing.
    pub blocked: Vec<Blocked>,
}

/// A part of a goal that cannot be reached.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Blocked {
    /// The reason in words.
    pub text: String,
    /// The reason as data; absent where the object's kind is not declared.
    pub reason: Option<NoPlan>,
}

/// One step of a plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StepView {
    /// The step as it is called: `module/Name(bindings)`.
    pub step: String,
    /// The module that carries it out.
    pub module: String,
    /// The mutation within the module.
    pub mutation: String,
    /// What the stars of its paths stand for.
    pub bindings: Vec<String>,
    /// Where it runs.
    pub context: Context,
    /// Who decides it.
    pub lane: Lane,
    /// Whether it interrupts what runs.
    pub disruptive: bool,
    /// What it is expected to change.
    pub changes: Vec<StepChange>,
    /// The expected time, in milliseconds.
    pub cost_ms: u64,
}

/// Explains one object at `now`.
pub fn why(subject: Subject<'_>, planner: &mut Planner, now: Millis) -> Why {
    let object = subject.object;
    let status = Status::of_object(object, subject.dsc);
    let plan = plan(subject, planner);
    let differences = differences(subject, now);
    Why {
        object: object.key.clone(),
        uid: object.uid,
        revision: object.revision,
        deleting: object.deleting,
        frozen: object.frozen.clone(),
        former_host: object.former().cloned(),
        other_declarations: other_declarations(subject),
        link: subject.dsc.value(LINK_PATH).cloned(),
        who_must_act: who_must_act(subject, status.as_ref(), &plan, !differences.is_empty()),
        differences,
        lanes: Lanes {
            itself: Status::of_lane(subject.dsc, Lane::Itself),
            quorum: Status::of_lane(subject.dsc, Lane::Quorum),
        },
        status,
        plan,
    }
}

/// What is seen of the node that hosts an object; a node hosts itself.
fn seen_of_host(subject: Subject<'_>, path: &'static str) -> Option<Value> {
    if subject.object.key.is_node() {
        return subject.dsc.value(path).cloned();
    }
    subject.related.value(subject.object, &On::Parent, &Path::constant(path))
}

/// What a host says of its declarations, where they are not the quorum's.
fn other_declarations(subject: Subject<'_>) -> Option<OtherDeclarations> {
    let node = subject.object.host()?;
    let digest = seen_of_host(subject, CATALOG_PATH)?.as_str()?.to_owned();
    let quorum = subject.catalog.word();
    (digest != quorum).then(|| OtherDeclarations { node: node.clone(), digest, quorum })
}

/// What will be done for an object, or why nothing can be.
pub fn plan(subject: Subject<'_>, planner: &mut Planner) -> PlanView {
    let presumed = presumed::of(subject.dsc);
    let Some(view) = View::new(subject, &presumed) else {
        let text = format!("no extension declares kind {}", subject.object.key.kind);
        let blocked = vec![Blocked { text, reason: None }];
        return PlanView { blocked, ..PlanView::default() };
    };
    let goal = view.goal();
    let cfg = &subject.object.cfg;
    let question = Question { kind: view.kind(), goal: &goal, cfg, facts: &view };
    PlanView::of_answer(&planner.plan(&question))
}

/// The states that an object can come to from where it is, with what was done, is being done and
/// is to be done marked. `done` names the steps that were done lately, oldest first, as events do.
pub fn graph(subject: Subject<'_>, planner: &mut Planner, done: &[String]) -> Graph {
    let presumed = presumed::of(subject.dsc);
    let Some(view) = View::new(subject, &presumed) else { return Graph::default() };
    let goal = view.goal();
    let cfg = &subject.object.cfg;
    let question = Question { kind: view.kind(), goal: &goal, cfg, facts: &view };
    let plan = planner.plan(&question).unwrap_or_default();
    let step = Status::of(subject.dsc).filter(|status| status.phase == PhaseName::InFlight);
    let step = step.and_then(|status| status.step);
    let flying = plan.steps.iter().map(|step| &step.instance);
    let in_flight = flying.into_iter().find(|instance| Some(instance.to_string()) == step);
    let done = walked(view.kind(), cfg, done);
    of_object(&question, &Progress { done: &done, in_flight, to_do: &plan.steps })
}

/// Every path at which what is seen is not what is asked, in order.
pub fn differences(subject: Subject<'_>, now: Millis) -> Vec<Difference> {
    let presumed = presumed::of(subject.dsc);
    let Some(view) = View::new(subject, &presumed) else { return Vec::new() };
    let goal = view.goal().into_iter();
    let differing = goal.filter_map(|(path, wanted)| {
        let seen = view.seen(&path);
        let stale = is_stale(view.kind(), subject.dsc, &path, now);
        let seen = seen.cloned();
        (seen.as_ref() != Some(&wanted)).then_some(Difference { path, wanted, seen, stale })
    });
    differing.collect()
}

impl PlanView {
    /// A planner's answer for people.
    pub fn of_answer(answer: &Answer) -> Self {
        match answer {
            Ok(plan) => Self::of(plan),
            Err(reason) => Self { blocked: vec![Blocked::of(reason)], ..Self::default() },
        }
    }

    /// A plan for people.
    pub fn of(plan: &Plan) -> Self {
        Self {
            steps: plan.steps.iter().map(StepView::of).collect(),
            cost_ms: plan.cost_ms,
            waits_for: plan.waits_for.clone(),
            blocked: plan.blocked.iter().map(Blocked::of).collect(),
        }
    }

    /// Whether nothing is to be done.
    pub fn is_done(&self) -> bool {
        self.steps.is_empty() && self.blocked.is_empty()
    }
}

impl Blocked {
    fn of(reason: &NoPlan) -> Self {
        Self { text: reason.to_string(), reason: Some(reason.clone()) }
    }
}

impl StepView {
    fn of(step: &Step) -> Self {
        let mutation = &step.instance.mutation;
        Self {
            step: step.instance.to_string(),
            module: mutation.id.module.to_string(),
            mutation: mutation.id.name.to_string(),
            bindings: step.instance.bindings.iter().map(ToString::to_string).collect(),
            context: mutation.context,
            lane: mutation.context.lane(),
            disruptive: mutation.disruptive,
            changes: step.changes.clone(),
            cost_ms: step.cost_ms,
        }
    }
}
