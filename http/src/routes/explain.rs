//! Why an object stands where it stands, and what will be done about it.

use std::sync::Arc;

use kraken_engine::{
    explain::{self, Scene},
    fleet::Fleet,
    object::Object,
    planner::Planner,
    store::Store,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use warp::{Filter, reply::Response};

use super::{
    Routes, answered,
    family::{Family, family},
};
use crate::{
    api::Shared,
    aside::aside,
    call::{Call, call},
    problem::Problem,
    reply::{json, with_revision},
    view::{PlanView, WhyView, reference},
};

pub(super) fn routes(shared: &Arc<Shared>) -> Routes {
    let why = family()
        .and(warp::path::param::<String>())
        .and(warp::path("why"))
        .and(warp::path::end())
        .and(warp::get())
        .and(call(shared))
        .then(|family, name, call| answered("objects.why", why(family, name, call)));
    let plan = family()
        .and(warp::path::param::<String>())
        .and(warp::path("plan"))
        .and(warp::path::end())
        .and(warp::get())
        .and(call(shared))
        .then(|family, name, call| answered("objects.plan", plan(family, name, call)));
    why.or(plan).unify().boxed()
}

/// What will be done for one object.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ObjectPlan {
    /// The object, `kind/name`.
    pub object: String,
    /// The Cfg revision that is planned for.
    pub revision: u64,
    /// The plan.
    #[serde(flatten)]
    pub plan: PlanView,
}

/// An object and everything that a decision about it may read.
async fn scene(
    family: &Family,
    name: &str,
    call: &mut Call,
) -> Result<(Arc<Object>, Scene), Problem> {
    let consistency = call.consistency()?;
    std::mem::take(&mut call.query).done()?;
    let held = |store: &Store| {
        let object = family.get(store, name)?.clone();
        Ok::<_, Problem>((object, store.clone()))
    };
    let (object, store) = call.read(consistency, held).await??;
    let dsc = call.shared.api.state.read(Fleet::all_dsc).await?;
    Ok((object, Scene::new(store, dsc)))
}

async fn why(family: Family, name: String, mut call: Call) -> Result<Response, Problem> {
    let (object, scene) = scene(&family, &name, &mut call).await?;
    let now = call.shared.api.clock.wall();
    let revision = scene.store.revision();
    let explain =
        move || WhyView::of(&explain::why(scene.subject(&object), &mut Planner::new(), now));
    Ok(with_revision(json(&aside(explain).await?)?, revision))
}

async fn plan(family: Family, name: String, mut call: Call) -> Result<Response, Problem> {
    let (object, scene) = scene(&family, &name, &mut call).await?;
    let revision = scene.store.revision();
    let plan = move || ObjectPlan {
        object: reference(&object.key),
        revision: object.revision.get(),
        plan: PlanView::of(&explain::plan(scene.subject(&object), &mut Planner::new())),
    };
    Ok(with_revision(json(&aside(plan).await?)?, revision))
}
