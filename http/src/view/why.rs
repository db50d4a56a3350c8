//! Explanations and plans as they stand in JSON.

use kraken_engine::{
    explain::{self, Difference, Why},
    manifest::Context,
    planner::StepChange,
    value::Value,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use super::{FrozenView, StatusView, reference};
use crate::json::to_json;

/// Why an object stands where it stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Why")]
pub struct WhyView {
    /// The object, `kind/name`.
    pub object: String,
    /// Its uid.
    pub uid: String,
    /// The Cfg revision that is explained.
    pub revision: u64,
    /// Whether it is being deleted.
    pub deleting: bool,
    /// Who froze it.
    pub frozen: Option<FrozenView>,
    /// The node that is to stop it before another one has it, where it must never run twice.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub former_host: Option<String>,
    /// The node that decides about it by other declarations than the quorum's, and those.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub other_declarations: Option<OtherDeclarationsView>,
    /// What its link was last heard to be.
    pub link: Option<Json>,
    /// Where what is seen is not what is asked.
    pub differences: Vec<DifferenceView>,
    /// What both lanes together say.
    pub status: Option<StatusView>,
    /// What each lane says.
    pub lanes: LanesView,
    /// What is to be done.
    pub plan: PlanView,
    /// Who must act for it to move on.
    pub who_must_act: String,
}

/// Declarations by which a node decides, and which are not those of the quorum.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "OtherDeclarations")]
pub struct OtherDeclarationsView {
    /// The node.
    pub node: String,
    /// The digest of its declarations.
    pub digest: String,
    /// The digest of the quorum's.
    pub quorum: String,
}

/// What each lane says of an object.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Lanes")]
pub struct LanesView {
    /// The node that hosts it.
    #[serde(rename = "self")]
    pub itself: Option<StatusView>,
    /// The leader of the quorum.
    pub quorum: Option<StatusView>,
}

/// A path at which what is seen is not what is asked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Difference")]
pub struct DifferenceView {
    /// The path.
    pub path: String,
    /// What is asked.
    pub wanted: Json,
    /// What is seen; null where it is unknown.
    pub seen: Json,
    /// Whether it was seen longer ago than it is good for.
    pub stale: bool,
}

/// What will be done for one object.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Plan")]
pub struct PlanView {
    /// The steps, in order.
    pub steps: Vec<StepView>,
    /// The expected time of all steps, in milliseconds.
    pub cost_ms: u64,
    /// What must come to hold on other objects first.
    pub waits_for: Vec<String>,
    /// The parts that cannot be reached.
    pub blocked: Vec<BlockedView>,
}

/// A part of a goal that cannot be reached.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Blocked")]
pub struct BlockedView {
    /// In words.
    pub text: String,
    /// As data; its `reason` tells which of the reasons it is.
    pub reason: Json,
}

/// One step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Step")]
pub struct StepView {
    /// `module/Name(bindings)`.
    pub step: String,
    /// The module.
    pub module: String,
    /// The mutation.
    pub mutation: String,
    /// What the stars of its paths stand for.
    pub bindings: Vec<String>,
    /// Where it runs: `self`, `node`, `parent` or `control`.
    pub context: String,
    /// Who decides it: `self` or `quorum`.
    pub lane: String,
    /// Whether it interrupts what runs.
    pub disruptive: bool,
    /// What it is expected to change.
    pub changes: Vec<ChangeView>,
    /// The expected time, in milliseconds.
    pub cost_ms: u64,
}

/// What is expected to change at one path; null is unknown.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Change")]
pub struct ChangeView {
    /// The path.
    pub path: String,
    /// Before.
    pub from: Json,
    /// After.
    pub to: Json,
}

impl WhyView {
    /// An explanation.
    pub fn of(why: &Why) -> Self {
        Self {
            object: reference(&why.object),
            uid: why.uid.to_string(),
            revision: why.revision.get(),
            deleting: why.deleting,
            frozen: why.frozen.as_ref().map(FrozenView::of),
            former_host: why.former_host.as_ref().map(ToString::to_string),
            other_declarations: why.other_declarations.as_ref().map(|other| {
                OtherDeclarationsView {
                    node: other.node.to_string(),
                    digest: other.digest.clone(),
                    quorum: other.quorum.clone(),
                }
            }),
            link: why.link.as_ref().map(to_json),
            differences: why.differences.iter().map(DifferenceView::of).collect(),
            status: why.status.as_ref().map(StatusView::of),
            lanes: LanesView {
                itself: why.lanes.itself.as_ref().map(StatusView::of),
                quorum: why.lanes.quorum.as_ref().map(StatusView::of),
            },
            plan: PlanView::of(&why.plan),
            who_must_act: why.who_must_act.clone(),
        }
    }
}

impl DifferenceView {
    fn of(difference: &Difference) -> Self {
        Self {
            path: difference.path.to_string(),
            wanted: to_json(&difference.wanted),
            seen: or_null(difference.seen.as_ref()),
            stale: difference.stale,
        }
    }
}

impl PlanView {
    /// A plan.
    pub fn of(plan: &explain::PlanView) -> Self {
        Self {
            steps: plan.steps.iter().map(StepView::of).collect(),
            cost_ms: plan.cost_ms,
            waits_for: plan.waits_for.clone(),
            blocked: plan.blocked.iter().map(BlockedView::of).collect(),
        }
    }
}

impl BlockedView {
    fn of(blocked: &explain::Blocked) -> Self {
        // Plain data always has a JSON form.
        let reason = serde_json::to_value(&blocked.reason).unwrap_or_default();
        Self { text: blocked.text.clone(), reason }
    }
}

impl StepView {
    fn of(step: &explain::StepView) -> Self {
        Self {
            step: step.step.clone(),
            module: step.module.clone(),
            mutation: step.mutation.clone(),
            bindings: step.bindings.clone(),
            context: context(step.context).to_owned(),
            lane: step.lane.as_str().to_owned(),
            disruptive: step.disruptive,
            changes: step.changes.iter().map(ChangeView::of).collect(),
            cost_ms: step.cost_ms,
        }
    }
}

impl ChangeView {
    fn of(change: &StepChange) -> Self {
        Self {
            path: change.path.to_string(),
            from: or_null(change.from.as_ref()),
            to: or_null(change.to.as_ref()),
        }
    }
}

fn or_null(value: Option<&Value>) -> Json {
    value.map_or(Json::Null, to_json)
}

fn context(context: Context) -> &'static str {
    match context {
        Context::Itself => "self",
        Context::Node => "node",
        Context::Parent => "parent",
        Context::Control => "control",
    }
}
