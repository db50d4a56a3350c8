//! Explanations of small objects, as tables.

mod moving;

use std::{collections::BTreeMap, sync::Arc};

use super::*;
use crate::{
    command::{Command, Op, Outcome, Proposal, Txn},
    dsc::HybridClock,
    dsc::{Dsc, Observed},
    id::{Name, Term},
    manifest::{Extension, Manifest, MutationSpec, PathSpec, Type},
    object::Labels,
    state::State,
    store::Store,
};

const NOW: Millis = Millis::new(100_000);

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn path(text: &str) -> Path {
    Path::new(text).unwrap()
}

fn manifest() -> Manifest {
    let power = PathSpec::new("/power", Type::enum_of(["ON", "OFF"]));
    let run = PathSpec::new("/run", Type::enum_of(["YES", "NO"]))
        .ttl(std::time::Duration::from_secs(10))
        .known_while("/power = ON");
    let pdu = PathSpec::input("/pdu", Type::Text);
    let on = MutationSpec::new("On")
        .context(Context::Control)
        .disruptive()
        .changes("/power", "OFF", "ON")
        .requires("@/pdu /power = ON");
    let start = MutationSpec::new("Start").changes("/run", "NO", "YES").requires("/power = ON");
    let look = MutationSpec::new("Look").changes("/run", crate::manifest::From::Unknown, "YES");
    Manifest::new("m")
        .extension(Extension::new("e").path(power).path(run).path(pdu))
        .discovers("/power")
        .discovers("/run")
        .mutation(on)
        .mutation(start)
        .mutation(look.requires("/power = ON"))
}

/// Two nodes: `pdu`, and `n1` which names it.
fn scene(cfg: &[(&str, &str)], seen: &[(&str, &str, &str)]) -> Scene {
    let mut store = Store::new();
    let mut state = State::new();
    for (at, value) in cfg {
        state.set(path(at), Value::from(*value)).unwrap();
    }
    let put = |node: &str, cfg: State| Op::Put {
        object: ObjectRef { kind: name("node"), namespace: None, name: name(node) },
        labels: Some(Labels::new()),
        owner: None,
        cfg,
    };
    let ops = vec![put("pdu", State::new()), put("n1", state)];
    apply(&mut store, Command::Declare { manifests: vec![manifest()] });
    apply(&mut store, Command::Txn(Txn { ops, ..Txn::default() }));
    let mut dsc: BTreeMap<Uid, Dsc> = BTreeMap::new();
    let mut clock = HybridClock::new(name("w"));
    for (node, at, value) in seen {
        let uid = store.node(&name(node)).unwrap().uid;
        let stamp = clock.stamp(Millis::ZERO);
        let observed = Observed { value: Some(Value::from_text(value)), stamp, seen_at: NOW };
        dsc.entry(uid).or_default().merge(path(at), observed);
    }
    Scene::new(store, dsc.into_iter().map(|(uid, dsc)| (uid, Arc::new(dsc))).collect())
}

fn apply(store: &mut Store, command: Command) {
    let index = Revision::new(store.revision().get() + 1);
    let proposal = Proposal { request: None, author: "a".to_owned(), at: NOW, command };
    let applied = store.apply(index, Term::new(1), &proposal);
    assert!(matches!(applied.outcome, Outcome::Applied { .. }), "{applied:?}");
}

fn explain(scene: &Scene, now: Millis) -> Why {
    let object = scene.store.node(&name("n1")).unwrap();
    why(scene.subject(object), &mut Planner::new(), now)
}

/// A status of the given words, as it stands in Dsc.
fn said(phase: &str, revision: &str) -> [(&'static str, &'static str, String); 3] {
    [
        ("n1", "/engine/self/phase", phase.to_owned()),
        ("n1", "/engine/self/revision", revision.to_owned()),
        ("n1", "/engine/self/step", "m/Start".to_owned()),
    ]
}

#[test]
fn plans_say_where_who_and_what_or_what_is_missing() {
    for (cfg, seen, expected) in [
        ("/run=YES", "n1/power=ON n1/run=NO", "m/Start by self||"),
        ("/run=YES", "n1/power=ON n1/run=YES", "||"),
        ("/run=YES", "n1/power=ON", "m/Look by self||"),
        ("/power=ON /pdu=pdu", "n1/power=OFF pdu/power=ON", "m/On by quorum disruptive||"),
        (
            "/power=ON /pdu=pdu",
            "n1/power=OFF pdu/power=OFF",
            "m/On by quorum disruptive|@/pdu /power = ON|",
        ),
        ("/power=OFF", "n1/power=ON", "||nothing changes /power from ON towards OFF"),
    ] {
        let split = |text: &'static str| text.split(' ').filter_map(|part| part.split_once('='));
        let cfg: Vec<(&str, &str)> = split(cfg).collect();
        let seen: Vec<(&str, &str, &str)> = split(seen)
            .map(|(at, value)| {
                let slash = at.find('/').unwrap();
                (&at[..slash], &at[slash..], value)
            })
            .collect();
        let plan = explain(&scene(&cfg, &seen), NOW).plan;
        let steps = plan.steps.iter().map(|step| {
            let disruptive = if step.disruptive { " disruptive" } else { "" };
            format!("{} by {}{disruptive}", step.step, step.lane.as_str())
        });
        let steps = steps.collect::<Vec<_>>().join(", ");
        let blocked: Vec<&str> = plan.blocked.iter().map(|b| b.text.as_str()).collect();
        let found = format!("{steps}|{}|{}", plan.waits_for.join(", "), blocked.join(", "));
        assert_eq!(found, expected, "{cfg:?} {seen:?}");
    }
}

#[test]
fn differences_show_what_is_hidden_as_unknown_and_say_what_is_stale() {
    let asked = [("/power", "ON"), ("/run", "YES")];
    let seen = [("n1", "/power", "ON"), ("n1", "/run", "NO")];
    let line = |why: &Why| {
        let differences = why.differences.iter().map(|difference| {
            let seen = difference.seen.as_ref().map_or("?".to_owned(), ToString::to_string);
            let stale = if difference.stale { " stale" } else { "" };
            format!("{} {seen} for {}{stale}", difference.path, difference.wanted)
        });
        differences.collect::<Vec<_>>().join(", ")
    };
    let fresh = scene(&asked, &seen);
    assert_eq!(line(&explain(&fresh, NOW)), "/run NO for YES");
    let later = NOW.after_ms(10_000);
    assert_eq!(line(&explain(&fresh, later)), "/run NO for YES");
    assert_eq!(line(&explain(&fresh, later.after_ms(1))), "/run NO for YES stale");
    let up = scene(&asked, &[seen[0], seen[1], ("n1", "/link", "UP")]);
    assert_eq!(
        line(&explain(&up, later.after_ms(1))),
        "/run NO for YES",
        "its link vouches for it"
    );
    let off = scene(&asked, &[("n1", "/power", "OFF"), seen[1]]);
    assert_eq!(line(&explain(&off, NOW)), "/power OFF for ON, /run ? for YES");
}

#[test]
fn a_node_that_is_away_is_for_somebody_unless_it_is_asked_to_be() {
    let asked = [("/run", "YES")];
    let away = vec![("n1", "/power", "ON"), ("n1", "/run", "YES"), ("n1", "/link", "DOWN")];
    let led = [("n1", "/engine/quorum/phase", "Converged"), ("n1", "/engine/quorum/revision", "2")];
    let off = [away.clone(), led.to_vec()].concat();
    let back = "whoever brings n1 back: it is not attached, and what it last said may be outdated";
    for (seen, expected) in [(away, back), (off, "nobody: what is seen is what is asked")] {
        assert_eq!(explain(&scene(&asked, &seen), NOW).who_must_act, expected, "{seen:?}");
    }
}

#[test]
fn somebody_must_act() {
    let asked = [("/run", "YES")];
    let differs = [("n1", "/power", "ON"), ("n1", "/run", "NO")];
    let owned = |seen: &[(&'static str, &'static str, &'static str)]| {
        seen.iter().map(|(n, p, v)| (*n, *p, (*v).to_owned())).collect::<Vec<_>>()
    };
    let with = |phase: &str, more: &[(&'static str, &'static str, &'static str)]| {
        [owned(&differs), said(phase, "2").to_vec(), owned(more)].concat()
    };
    for (seen, expected) in [
        (owned(&[]), "whoever starts n1: nothing was ever heard of it"),
        (owned(&[differs[0], ("n1", "/run", "YES")]), "nobody: what is seen is what is asked"),
        (owned(&differs), "nobody yet: its decider has not spoken of it"),
        (
            [owned(&differs), said("InFlight", "1").to_vec()].concat(),
            "nobody yet: its decider speaks for revision 1, not for 2",
        ),
        (with("InFlight", &[]), "module m: it carries out m/Start"),
        (with("BackingOff", &[]), "nobody yet: m/Start failed and is tried again"),
        (with("Waiting", &[]), "nobody yet: its decider is about to look"),
        (
            with("Waiting", &[("n1", "/engine/self/waitsFor", "module m")]),
            "what it waits for: module m",
        ),
        (
            with(
                "Waiting",
                &[
                    ("n1", "/engine/self/waitsFor", "policy p: resume"),
                    ("n1", "/engine/self/reason", "an operator lets it go on"),
                ],
            ),
            "policy p: resume: an operator lets it go on",
        ),
        (
            with("Quarantined", &[]),
            "an operator: mend what makes m/Start fail, then ask for a retry, or ask for \
             something else",
        ),
        (
            with("Stuck", &[("n1", "/engine/self/reason", "why not")]),
            "an operator: nothing known leads to what is asked, as the reason says",
        ),
        (with("Converged", &[]), "nobody yet: its decider has not seen the difference"),
        (with("Frozen", &[]), "nobody yet: it was thawed, and its decider has not seen it"),
        (
            with("InFlight", &[("n1", "/link", "DOWN")]),
            "whoever brings n1 back: it is not attached, and what it last said may be outdated",
        ),
    ] {
        let seen: Vec<(&str, &str, &str)> =
            seen.iter().map(|(n, p, v)| (*n, *p, v.as_str())).collect();
        let why = explain(&scene(&asked, &seen), NOW);
        assert_eq!(why.who_must_act, expected, "{seen:?}");
    }
    let mut frozen = scene(&asked, &differs);
    let targets = crate::command::Targets::All;
    apply(&mut frozen.store, Command::Freeze { targets });
    assert_eq!(explain(&frozen, NOW).who_must_act, "whoever thaws it: a froze it (all)");
    let by = |by: &str| {
        let mut object = (**frozen.store.node(&name("n1")).unwrap()).clone();
        object.frozen.as_mut().unwrap().by = by.to_owned();
        why(frozen.subject(&object), &mut Planner::new(), NOW).who_must_act
    };
    let braked = by(&crate::command::engine_at(&name("m1")));
    assert!(braked.contains("m1 froze it (all), for more have failed than"), "{braked}");
    assert!(!by("ann@engine").contains("failed"));
}

#[test]
fn an_object_of_an_undeclared_kind_is_explained_all_the_same() {
    let scene = scene(&[], &[]);
    let mut object = (**scene.store.node(&name("n1")).unwrap()).clone();
    object.key.kind = name("boat");
    let why = why(scene.subject(&object), &mut Planner::new(), NOW);
    assert_eq!(why.plan.blocked[0].text, "no extension declares kind boat");
    assert!(graph(scene.subject(&object), &mut Planner::new(), &[]).nodes.is_empty());
}

#[test]
fn the_graph_of_an_object_marks_its_plan() {
    let scene = scene(&[("/run", "YES")], &[("n1", "/power", "ON"), ("n1", "/run", "NO")]);
    let object = scene.store.node(&name("n1")).unwrap();
    let graph = graph(scene.subject(object), &mut Planner::new(), &[]);
    let marked: Vec<&str> = graph
        .edges
        .iter()
        .filter(|edge| edge.mark == crate::graph::Mark::ToDo)
        .map(|edge| edge.mutation.as_str())
        .collect();
    assert_eq!(marked, ["m/Start"]);
}
