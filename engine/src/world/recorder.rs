//! Writes down what the invariants speak of.

use std::collections::BTreeMap;

use xxhash_rust::xxh3::xxh3_64;

use super::site::Site;
use crate::{
    command::Intent,
    dsc::{Dsc, sighting_digest},
    id::{AttemptId, Name, Uid},
    invariants::{Dispatched, What},
    machine::Dispatch,
    mutation::Instance,
    planner::{Facts, Planner, Question},
    predicate::On,
    store::Store,
    view::View,
};

/// A digest of all that a member holds of Cfg.
pub(super) fn digest_of_store(store: &Store) -> u64 {
    xxh3_64(&rmp_serde::to_vec(store).unwrap_or_default())
}

/// A digest of what a writer wrote of an object. What is only remembered each member has its own
/// of.
pub(super) fn digest_of_written(dsc: &Dsc, writer: &Name) -> u64 {
    let heard = dsc.iter().filter(|(_, observed)| !observed.is_remembered());
    let written = heard.filter(|(_, observed)| observed.stamp.writer == *writer);
    written.fold(0, |digest, (path, observed)| digest ^ sighting_digest(path, observed))
}

/// A dispatch as the invariants see it.
pub(super) fn dispatched(
    site: &Site,
    now: u64,
    dispatch: &Dispatch,
    intents: &BTreeMap<AttemptId, Intent>,
) -> What {
    let uid = dispatch.uid;
    let unmet = site.viewed(uid, now, |_, view| unmet(&dispatch.instance, view));
    What::Dispatched(Dispatched {
        attempt: dispatch.attempt.clone(),
        uid,
        unmet: unmet.unwrap_or_else(|| Some("the object is not known".to_owned())),
        frozen: site.fleet.object(uid).is_some_and(|object| object.frozen.is_some()),
        disruptive: dispatch.instance.mutation.disruptive,
        intended: intents.contains_key(&dispatch.attempt),
    })
}

/// What an instance requires and does not find.
pub(crate) fn unmet(instance: &Instance, view: &View<'_>) -> Option<String> {
    let mut changes = instance.changes();
    let from = changes.find(|(path, change)| !change.from.admits(view.value(path)));
    if let Some((path, _)) = from {
        return Some(format!("{path} is {:?}", view.value(&path)));
    }
    let holds = |guard: &crate::predicate::Predicate| {
        let path = guard.path(&instance.bindings);
        let value = path.and_then(|path| match &guard.on {
            On::Itself => view.value(&path).cloned(),
            on @ (On::Parent | On::Owner | On::NamedBy(_)) => view.related(on, &path),
        });
        guard.test.holds(value.as_ref())
    };
    let lacking = instance.mutation.requires.iter().find(|guard| !holds(guard));
    let hindering = instance.mutation.excludes.iter().find(|guard| holds(guard));
    lacking.or(hindering).map(ToString::to_string)
}

/// The question that a site asks about an object now, with the answers of some planners.
pub(super) fn planned(site: &Site, now: u64, uid: Uid, planners: [&mut Planner; 2]) -> Vec<What> {
    let asked = site.viewed(uid, now, |object, view| {
        let goal = view.goal();
        let kind = view.kind();
        let dsc = site.fleet.dsc(uid);
        let shown = dsc.iter().map(|(path, _)| (path, view.value(path)));
        let presumed = site.presumed(uid);
        let presumed = presumed.iter().map(|(path, presumption)| (path, &presumption.value));
        let facts: Vec<_> = shown.filter(|(path, _)| !is_engine(path.as_str())).collect();
        let facts = (facts, presumed.collect::<Vec<_>>());
        let guards = kind.mutations.iter().flat_map(|m| m.requires.iter().chain(&m.excludes));
        let elsewhere = guards.filter(|guard| guard.on != On::Itself);
        let related =
            elsewhere.filter_map(|guard| Some(view.related(&guard.on, &guard.path.bind(&[])?)));
        let related: Vec<_> = related.collect();
        let question = (kind.digest, &goal, &object.cfg, facts, related);
        let question = xxh3_64(&rmp_serde::to_vec(&question).unwrap_or_default());
        let answers = planners.map(|planner| {
            let asked = Question { kind, goal: &goal, cfg: &object.cfg, facts: view };
            let plan = xxh3_64(format!("{:?}", planner.plan(&asked)).as_bytes());
            What::Planned { question, plan }
        });
        answers.to_vec()
    });
    asked.unwrap_or_default()
}

fn is_engine(path: &str) -> bool {
    path.starts_with("/engine/")
}
