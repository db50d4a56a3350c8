//! The paths of policies, declared like those of any other kind.

use crate::manifest::{Extension, Manifest, PathSpec, SeenBy, SetBy, Type};

/// The kind of policies.
pub const POLICY_KIND: &str = "policy";
/// The name under which the engine sets decisions of its own.
pub const ENGINE_MODULE: &str = "engine";

/// What every fleet has beside its modules: the kind `policy`.
pub fn manifest() -> Manifest {
    let limits = [
        ("/kind", Type::Text, "The kind of objects that it limits; node by default."),
        ("/selector", Type::Text, "Which of them, by their labels; all by default."),
        ("/per", Type::Text, "What is counted apart: module, and labels such as rack."),
        ("/maxInFlight", Type::Share, "How many may be in flight at one time."),
        ("/maxFailed", Type::Share, "How many may fail; one more freezes the selection."),
        ("/minHealthy", Type::Share, "How many must stay healthy."),
        ("/canary", Type::Text, "How far a rollout goes at a time: 1 pause, 10% 10m, 50%."),
        ("/windows", Type::Text, "When steps may begin: Sat 02:00-06:00 UTC."),
        ("/maxLost", Type::Share, "How many may lose their link together, within a minute."),
        ("/cycleUnreachable", Type::Text, "When a node out of reach is disrupted: after 10m."),
    ];
    let rate = Type::Int { min: 1, max: i64::from(super::RATE_MAX) };
    let resume = "Lets a paused rollout go on: any number that did not stand there before.";
    let mut extension = Extension::new("policy").kind(POLICY_KIND);
    for (path, of, doc) in limits {
        extension = extension.path(PathSpec::input(path, of).doc(doc));
    }
    extension = extension
        .path(PathSpec::input("/ratePerMinute", rate).doc("How many may begin in any minute."))
        .path(PathSpec::input("/resume", Type::count()).doc(resume));
    for (path, of, doc) in position() {
        extension = extension.path(decision(path, of).doc(doc));
    }
    let doc = "Limits how many objects are disrupted, how fast and when.";
    Manifest::new(ENGINE_MODULE).doc(doc).extension(extension)
}

fn position() -> [(&'static str, Type, &'static str); 7] {
    [
        ("/rollout/base", Type::count(), "The revision of the change that it rolls out."),
        ("/rollout/seed", Type::Text, "What the order of its objects is drawn from."),
        ("/rollout/stage", Type::count(), "The stage that it is in, from 1."),
        ("/rollout/state", Type::enum_of(["OPEN", "BAKING", "PAUSED"]), "How that stage stands."),
        ("/rollout/since", Type::count(), "Since when, in milliseconds since the Unix epoch."),
        ("/rollout/passed", Type::count(), "What stood at /resume when it paused."),
        ("/rollout/failed", Type::count(), "How many had failed when it was frozen."),
    ]
}

fn decision(path: &str, of: Type) -> PathSpec {
    let set_by = SetBy::Module(ENGINE_MODULE.to_owned());
    PathSpec { set_by, seen_by: SeenBy::Nobody, ..PathSpec::new(path, of) }
}
