//! What the engine plans with the built-in modules: their manifests, tried together.

use std::collections::BTreeMap;

use kraken_engine::{
    catalog::Catalog,
    id::Name,
    path::Path,
    planner::{Facts, Planner, Question},
    predicate::On,
    schema::Schema,
    state::State,
    value::Value,
};

use super::{base, builtin};

struct Seen<'a> {
    schema: &'a Schema,
    cfg: &'a State,
    values: BTreeMap<Path, Value>,
}

impl Facts for Seen<'_> {
    fn value(&self, path: &Path) -> Option<&Value> {
        let discovered = self.schema.rule(path).is_some_and(|(rule, _)| rule.discovered);
        if discovered { self.values.get(path) } else { self.cfg.get(path.as_str()) }
    }

    fn related(&self, _: &On, _: &Path) -> Option<Value> {
        None
    }
}

fn value(text: &str) -> Value {
    Value::from_text(text)
}

/// The names of the steps from what is seen to what is asked; `spec` as a value stands for the
/// digest that Cfg asks for.
fn plan(asked: &[(&str, &str)], seen: &[(&str, &str)]) -> Vec<String> {
    let mut manifests = vec![base()];
    manifests.extend(builtin().iter().map(|factory| factory.manifest().clone()));
    let catalog = Catalog::build(&manifests).unwrap();
    let kind = catalog.kind(&Name::new("node").unwrap()).unwrap();
    let mut cfg = State::new();
    for (path, text) in asked {
        cfg.set(Path::new(path).unwrap(), value(text)).unwrap();
    }
    let goal = kind.schema.goal(&cfg, false);
    let mut values = BTreeMap::new();
    for (path, text) in seen {
        let path = Path::new(path).unwrap();
        let seen = if *text == "spec" { goal[&path].clone() } else { value(text) };
        values.insert(path, seen);
    }
    let facts = Seen { schema: &kind.schema, cfg: &cfg, values };
    let question = Question { kind, goal: &goal, cfg: &cfg, facts: &facts };
    match Planner::new().plan(&question) {
        Ok(plan) if plan.blocked.is_empty() => {
            plan.steps.iter().map(|step| step.instance.to_string()).collect()
        }
        Ok(_) | Err(_) => vec!["none".to_owned()],
    }
}

#[test]
fn services_are_planned_as_their_table_says() {
    let (state, spec, held) = ("/services/web/state", "/services/web/spec", "/services/web/held");
    let (look, start, stop) = ("service/Look(web)", "service/Start(web)", "service/Stop(web)");
    let run = [(state, "RUN"), ("/services/web/command", "sh")];
    let none = "none";
    for (seen, expected) in [
        (&[][..], &[look, start][..]),
        (&[(state, "STOP")], &[start]),
        (&[(state, "INIT"), (spec, "spec")], &[start]),
        (&[(state, "RUN"), (spec, "spec")], &[]),
        (&[(state, "RUN"), (spec, "old")], &[stop, start]),
        (&[(state, "FAILED"), (held, "false")], &[start]),
        (&[(state, "DONE"), (held, "false")], &[start]),
        (&[(state, "FAILED"), (held, "true")], &[none]),
        (&[(state, "DONE"), (held, "true")], &[none]),
    ] {
        assert_eq!(plan(&run, seen), expected, "{seen:?}");
    }
    for (seen, expected) in [
        (&[][..], &[look][..]),
        (&[(state, "STOP")], &[]),
        (&[(state, "RUN"), (spec, "old")], &[stop]),
        (&[(state, "INIT"), (spec, "old")], &[stop]),
        (&[(state, "FAILED"), (held, "true")], &[stop]),
        (&[(state, "DONE")], &[stop]),
    ] {
        assert_eq!(plan(&[(state, "STOP")], seen), expected, "{seen:?}");
    }
}

#[test]
fn files_are_planned_as_their_table_says() {
    let (state, spec) = ("/files/motd/state", "/files/motd/spec");
    let step = |name: &str| format!("file/{name}(motd)");
    let present = [(state, "PRESENT"), ("/files/motd/content", "hello")];
    let report = [present[0], present[1], ("/files/motd/onDrift", "REPORT")];
    for (asked, seen, expected) in [
        (&present[..], &[][..], vec![step("Look"), step("Create")]),
        (&present, &[(state, "ABSENT")], vec![step("Create")]),
        (&present, &[(state, "PRESENT"), (spec, "spec")], vec![]),
        (&present, &[(state, "PRESENT"), (spec, "old")], vec![step("Update")]),
        (&present, &[(state, "DRIFTED")], vec![step("Repair")]),
        (&report, &[(state, "PRESENT"), (spec, "old")], vec![step("Update")]),
        (&report, &[(state, "ABSENT")], vec![step("Create")]),
        (&[(state, "ABSENT")], &[(state, "PRESENT"), (spec, "old")], vec![step("Remove")]),
        (&[(state, "ABSENT")], &[(state, "DRIFTED")], vec![step("Discard")]),
    ] {
        assert_eq!(plan(asked, seen), expected, "{asked:?} {seen:?}");
    }
    // Drift that is only reported must not be removed and created anew.
    assert_eq!(plan(&report, &[(state, "DRIFTED")]), ["none"]);
}

#[test]
fn machines_are_planned_as_their_table_says() {
    let (phys, run) = ("/physState", "/runState");
    for (seen, expected) in [
        (&[][..], &["Look", "PowerOn", "Boot"][..]),
        (&[(phys, "POWER_OFF")], &["PowerOn", "Boot"]),
        (&[(phys, "POWER_ON"), (run, "INIT")], &["Boot"]),
        (&[(phys, "POWER_ON")], &["LookInside", "Boot"]),
        (&[(phys, "POWER_ON"), (run, "ERROR")], &["Reset", "Boot"]),
        (&[(phys, "POWER_CYCLE")], &["AwaitCycle", "Boot"]),
        (&[(phys, "PHYS_HANG")], &["PowerCycle", "Boot"]),
        (&[(phys, "PHYS_ERROR")], &["PowerCycle", "Boot"]),
    ] {
        let expected: Vec<_> = expected.iter().map(|name| format!("sim/{name}")).collect();
        assert_eq!(plan(&[(run, "SYNC")], seen), expected, "{seen:?}");
    }
    for (seen, expected) in [
        (&[(phys, "POWER_ON"), (run, "SYNC")][..], &["PowerOff"][..]),
        (&[(phys, "PHYS_HANG")], &["PowerCycle", "PowerOff"]),
        (&[(phys, "POWER_OFF")], &[]),
    ] {
        let expected: Vec<_> = expected.iter().map(|name| format!("sim/{name}")).collect();
        assert_eq!(plan(&[(phys, "POWER_OFF")], seen), expected, "{seen:?}");
    }
}
