//! What is read as a declaration, and where its faults are said to stand.

use std::time::Duration;

use kraken_engine::{
    check::check,
    manifest::{
        Context, Extension, From, GoalSpec, KindSpec, MutationSpec, PathSpec, Retry, SeenBy, SetBy,
        To, Type,
    },
    value::{Finite, Value},
};
use proptest::{collection::vec, prelude::*};

use super::*;

const LAMP: &str = "\
kind: module
name: lamp
discovers: /lamp
extensions:
  - name: lamp
    paths:
      - { path: /lamp, type: [OFF, ON, HANG], seenBy: self }
      - { path: /image, type: text }
      - { path: /slots, type: count, setBy: nobody }
mutations:
  - name: SwitchOn
    context: parent
    changes: { /lamp: { from: OFF, to: ON } }
    requires: /slots > 0
    via: { /lamp: HANG }
  - name: SwitchOff
    context: parent
    changes:
      /lamp: { from: [ON, HANG], to: OFF }
  - name: Flash
    changes: { /image: { from: any, to: cfg } }
";

fn lamp() -> Manifest {
    let states = Type::enum_of(["OFF", "ON", "HANG"]);
    Manifest::new("lamp")
        .discovers("/lamp")
        .extension(
            Extension::new("lamp")
                .path(PathSpec::new("/lamp", states).seen_by(SeenBy::Itself))
                .path(PathSpec::new("/image", Type::Text))
                .path(PathSpec::fact("/slots", Type::count())),
        )
        .mutation(
            MutationSpec::new("SwitchOn")
                .context(Context::Parent)
                .changes("/lamp", "OFF", "ON")
                .requires("/slots > 0")
                .via("/lamp", "HANG"),
        )
        .mutation(MutationSpec::new("SwitchOff").context(Context::Parent).changes(
            "/lamp",
            From::one_of(["ON", "HANG"]),
            "OFF",
        ))
        .mutation(MutationSpec::new("Flash").changes("/image", From::Any, To::Cfg))
}

#[test]
fn what_is_written_short_is_what_the_builder_makes() {
    let read = read(LAMP, None).unwrap();
    assert_eq!(read.len(), 1);
    assert_eq!(read[0].manifest, lamp());
}

#[test]
fn what_a_server_answers_can_be_sent_back() {
    let json = serde_json::to_string(&lamp()).unwrap();
    assert_eq!(read(&json, None).unwrap()[0].manifest, lamp());
}

#[test]
fn paths_alone_are_a_manifest_of_the_same_name() {
    let text = "kind: extension\nname: racks\nextends: rack\npaths:\n- {path: /door, type: bool}\n";
    let read = read(text, None).unwrap();
    let path = PathSpec::new("/door", Type::Bool);
    let racks = Manifest::new("racks").extension(Extension::new("racks").kind("rack").path(path));
    assert_eq!(read[0].manifest, racks);
    let keys = ["extensions", "0", "paths", "0"].map(str::to_owned).to_vec();
    assert_eq!(read[0].spots.get(&keys).map(|spot| spot.line), Some(5));
}

#[test]
fn goals_of_an_extension_are_of_its_kind() {
    let goals = "goals:\n- {name: open, values: {/door: true}}\n";
    let text = "kind: extension\nname: racks\nextends: rack\npaths:\n- {path: /door, type: bool}\n";
    let read = read(&format!("{text}{goals}"), None).unwrap();
    let goal = GoalSpec::new("open").kind("rack").value("/door", true);
    assert_eq!(read[0].manifest.goals, [goal]);
}

#[test]
fn findings_of_goals_stand_at_their_line() {
    let goals = "goals:\n  - name: lit\n    values:\n      /lamp: ON\n";
    let told = |goals: &str| -> Vec<String> {
        let read = read(&format!("{LAMP}{goals}"), Some("lamp.yaml")).unwrap();
        check(&read).iter().map(ToString::to_string).collect()
    };
    assert!(!told(goals).iter().any(|finding| finding.contains("goal lit")));
    let wrong = "lamp.yaml:25:7: error[wrong_value]: module lamp, goal lit: /lamp: ONN is not";
    assert!(told(&goals.replace("ON", "ONN"))[0].starts_with(wrong));
}

#[test]
fn objects_are_passed_over() {
    let text = format!("kind: node\nname: n1\n---\n{LAMP}");
    assert_eq!(read(&text, None).unwrap().len(), 1);
    assert!(read("kind: node\nname: n1\n", None).unwrap().is_empty());
}

#[test]
fn faults_stand_at_line_and_key() {
    for (from, to, expected) in [
        ("requires", "require", "line 14, column 5, mutations.0.require: unknown field"),
        ("type: text", "type: txt", "line 8, column 25, extensions.0.paths.1.type: "),
        ("to: OFF", "too: OFF", "line 19, column 34, mutations.1.changes./lamp.too: unknown field"),
    ] {
        let faults = read(&LAMP.replace(from, to), None).unwrap_err();
        let text = faults[0].to_string();
        assert!(text.starts_with(expected), "{text}");
    }
}

#[test]
fn findings_stand_at_file_line_and_column() {
    let text = LAMP.replace("/lamp, type: [OFF, ON, HANG]", "/lamp, type: [OFF, HANG]");
    let found = check(&read(&text, Some("lamp.yaml")).unwrap());
    assert_eq!(
        found[0].to_string(),
        "lamp.yaml:13:16: error[wrong_value]: module lamp, mutation SwitchOn: ON is not one of \
         OFF, HANG"
    );
    let text = LAMP
        .replace("from: [ON, HANG]", "from: ON")
        .replace("    requires: /slots > 0\n", "    failTo:\n      /lamp: HANG\n");
    let found = check(&read(&text, Some("lamp.yaml")).unwrap());
    assert!(
        found[0].to_string().starts_with("lamp.yaml:15:7: error[fail_to_kept]: module lamp"),
        "{found:?}"
    );
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        "[ -~]{0,12}",
        prop::sample::select(vec!["any", "unknown", "cfg", "self", "true", "7", "", "~", "null"])
            .prop_map(str::to_owned),
    ]
}

fn value() -> impl Strategy<Value = Value> {
    prop_oneof![
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        (-1000_i16..1000).prop_map(|n| Value::Float(Finite::new(f64::from(n) / 8.0).unwrap())),
        text().prop_map(|text| Value::from(text.as_str())),
        vec(text().prop_map(|text| Value::from(text.as_str())), 0..3)
            .prop_map(|items| items.into_iter().collect()),
    ]
}

fn value_type() -> impl Strategy<Value = Type> {
    prop_oneof![
        Just(Type::Bool),
        Just(Type::Float),
        Just(Type::Text),
        Just(Type::Texts),
        Just(Type::count()),
        any::<(i64, i64)>().prop_map(|(min, max)| Type::Int { min, max }),
        vec(text(), 0..4).prop_map(Type::Enum),
    ]
}

fn path_spec() -> impl Strategy<Value = PathSpec> {
    let who =
        prop::sample::select(vec![SeenBy::Itself, SeenBy::Parent, SeenBy::Control, SeenBy::Nobody]);
    let set_by =
        prop_oneof![Just(SetBy::User), Just(SetBy::Nobody), text().prop_map(SetBy::Module),];
    let details = (text(), text(), vec(text(), 0..3), any::<Option<u32>>());
    (text(), value_type(), who, set_by, prop::option::of(value()), details).prop_map(
        |(path, value_type, who, set_by, absent, (doc, unit, known_while, ttl))| {
            let mut spec =
                PathSpec::new(&path, value_type).seen_by(who).set_by(set_by).doc(&doc).unit(&unit);
            for condition in &known_while {
                spec = spec.known_while(condition);
            }
            if let Some(ttl) = ttl {
                spec = spec.ttl(Duration::from_millis(ttl.into()));
            }
            let inputs: Vec<&str> = known_while.iter().map(String::as_str).collect();
            let spec = spec.digest_of(&inputs);
            match absent {
                Some(absent) => spec.absent(absent),
                None => spec,
            }
        },
    )
}

fn from() -> impl Strategy<Value = From> {
    prop_oneof![Just(From::Any), Just(From::Unknown), vec(value(), 0..3).prop_map(From::In)]
}

fn mutation() -> impl Strategy<Value = MutationSpec> {
    let context = prop::sample::select(vec![
        Context::Itself,
        Context::Node,
        Context::Parent,
        Context::Control,
    ]);
    let to = prop_oneof![Just(To::Cfg), value().prop_map(To::Value)];
    let guards = (vec(text(), 0..3), vec(text(), 0..3));
    let flags = any::<(bool, bool, u32, u32)>();
    (text(), context, vec((text(), from(), to), 0..3), guards, value(), flags).prop_map(
        |(name, context, changes, (requires, excludes), value, flags)| {
            let (disruptive, cancellable, timeout, cost) = flags;
            let mut spec = MutationSpec::new(&name)
                .kind("rack")
                .context(context)
                .timeout(Duration::from_millis(timeout.into()))
                .cost(Duration::from_millis(cost.into()))
                .fail_to(&name, value.clone())
                .via(&name, value)
                .retry(Retry {
                    attempts_max: timeout,
                    backoff_initial_ms: cost.into(),
                    backoff_max_ms: timeout.into(),
                });
            for (path, from, to) in changes {
                spec = spec.changes(&path, from, to);
            }
            spec = requires.iter().fold(spec, |spec, text| spec.requires(text));
            spec = excludes.iter().fold(spec, |spec, text| spec.excludes(text));
            spec = if disruptive { spec.disruptive() } else { spec };
            if cancellable { spec.cancellable() } else { spec }
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]
    #[test]
    fn whatever_the_builder_makes_is_read_back_as_it_was(
        module in text(),
        paths in vec(path_spec(), 0..3),
        mutations in vec(mutation(), 0..3),
        discovers in vec(text(), 0..3),
        namespaced in any::<bool>(),
        cost in any::<u32>(),
    ) {
        let extension = paths.into_iter().fold(Extension::new("x").kind("rack"), Extension::path);
        let kind = KindSpec::new(&module);
        let kind = if namespaced { kind.namespaced() } else { kind };
        let mut manifest = Manifest::new(&module)
            .doc(&module)
            .extension(extension)
            .kind(kind.singleton(Duration::from_secs(cost.into())))
            .cost(&module, Duration::from_millis(cost.into()))
            .goal(GoalSpec::new(&module).kind(&module).doc(&module).value(&module, i64::from(cost)))
            .poll(Duration::from_millis(cost.into()));
        manifest = discovers.iter().fold(manifest, |manifest, text| manifest.discovers(text));
        manifest = mutations.into_iter().fold(manifest, Manifest::mutation);
        let json = serde_json::to_string(&manifest).unwrap();
        let back = read(&json, None).map_err(|faults| TestCaseError::fail(faults[0].to_string()))?;
        prop_assert_eq!(&back[0].manifest, &manifest);
        let yaml = serde_saphyr::to_string(&manifest).unwrap();
        let back = read(&yaml, None).map_err(|faults| TestCaseError::fail(faults[0].to_string()))?;
        prop_assert_eq!(&back[0].manifest, &manifest);
    }
}
