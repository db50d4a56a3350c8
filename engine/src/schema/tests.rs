//! What a Cfg asks for, what an observation makes unknown, what is not shown.

use proptest::prelude::*;

use super::*;
use crate::{
    catalog::Catalog,
    dsc::{Observed, Stamp},
    manifest::{Extension, From, Manifest, MutationSpec, PathSpec, To},
    time::Millis,
};

fn path(text: &str) -> Path {
    Path::new(text).unwrap()
}

fn schema(manifest: Manifest) -> Schema {
    let catalog = Catalog::build(&[manifest]).unwrap();
    let node = Name::new("node").unwrap();
    catalog.kind(&node).unwrap().schema.clone()
}

fn state(values: &[(&str, &str)]) -> State {
    let mut state = State::new();
    for (at, value) in values {
        state.set(path(at), (*value).into()).unwrap();
    }
    state
}

fn dsc(values: &[(&str, Option<&str>)]) -> Dsc {
    let mut dsc = Dsc::new();
    for (at, value) in values {
        let stamp = Stamp { ms: 1, counter: 0, writer: Name::new("w").unwrap() };
        let value = value.map(Value::from);
        dsc.merge(path(at), Observed { value, stamp, seen_at: Millis::ZERO });
    }
    dsc
}

/// Services with a specification, and an input that nothing comes of.
fn services() -> Schema {
    let state = Type::enum_of(["STOP", "RUN"]);
    let spec = PathSpec::fact("/services/*/spec", Type::Text)
        .digest_of(&["/services/*/command", "/services/*/env/*"])
        .known_while("/services/*/state = RUN");
    let extension = Extension::new("services")
        .path(PathSpec::new("/services/*/state", state).absent("STOP"))
        .path(PathSpec::input("/services/*/command", Type::Text))
        .path(PathSpec::input("/services/*/env/*", Type::Text))
        .path(spec)
        .path(
            PathSpec::fact("/services/*/pid", Type::count()).known_while("/services/*/state = RUN"),
        )
        .path(PathSpec::new("/image", Type::Text))
        .path(PathSpec::input("/note", Type::Text));
    let start = MutationSpec::new("Start").changes("/services/*/state", "STOP", "RUN").changes(
        "/services/*/spec",
        From::Any,
        To::Cfg,
    );
    let flash = MutationSpec::new("Flash").changes("/image", From::Any, To::Cfg);
    let manifest = Manifest::new("service").extension(extension).mutation(start).mutation(flash);
    schema(manifest.discovers("/services/*/state"))
}

fn asked(goal: &Goal) -> Vec<String> {
    goal.iter().map(|(path, value)| format!("{path} = {value}")).collect()
}

#[test]
fn a_goal_holds_what_can_be_reached_and_no_inputs() {
    let cfg = state(&[("/services/a/state", "STOP"), ("/image", "v1"), ("/note", "x")]);
    let goal = services().goal(&cfg, false);
    assert_eq!(asked(&goal), ["/image = v1", "/services/a/state = STOP"]);
}

#[test]
fn a_digest_is_wanted_while_it_can_be_known() {
    let schema = services();
    let spec = |values: &[(&str, &str)]| {
        schema.goal(&state(values), false).get(&path("/services/a/spec")).cloned()
    };
    let run = ("/services/a/state", "RUN");
    let one = spec(&[run, ("/services/a/command", "x")]).unwrap();
    assert_eq!(one.as_str().map(str::len), Some(32));
    let cfg = state(&[run, ("/services/a/command", "x"), ("/services/b/command", "z")]);
    let patterns = ["/services/*/env/*", "/services/*/command"].map(|p| Pattern::new(p).unwrap());
    assert_eq!(digest_of(&cfg, &patterns, &vec!["a".into()]), one, "as modules compute it");
    assert_eq!(spec(&[run, ("/services/a/command", "x")]), Some(one.clone()));
    assert_eq!(spec(&[run, ("/services/a/command", "x"), ("/image", "v1")]), Some(one.clone()));
    assert_eq!(
        spec(&[run, ("/services/a/command", "x"), ("/services/b/command", "z")]),
        Some(one.clone()),
        "another service's command is no input"
    );
    for other in [
        spec(&[run, ("/services/a/command", "y")]),
        spec(&[run, ("/services/a/command", "x"), ("/services/a/env/PATH", "y")]),
        spec(&[run, ("/services/a/env/command", "x")]),
    ] {
        assert!(other.is_some_and(|other| other != one));
    }
    assert_eq!(spec(&[("/services/a/state", "STOP"), ("/services/a/command", "x")]), None);
    assert_eq!(spec(&[("/services/a/command", "x")]), None, "nothing is asked of its state");
    assert_eq!(spec(&[run]), None, "there is nothing to take a digest of");
}

#[test]
fn the_goal_of_what_is_deleted_is_that_it_be_absent() {
    let cfg = state(&[
        ("/services/a/state", "RUN"),
        ("/services/a/command", "x"),
        ("/services/b/state", "STOP"),
        ("/image", "v1"),
    ]);
    let goal = services().goal(&cfg, true);
    assert_eq!(asked(&goal), ["/services/a/state = STOP", "/services/b/state = STOP"]);
}

#[test]
fn errors_say_what_would_be_right() {
    let schema = services();
    let check = |at: &str, value: Value| schema.check_set(&path(at), &value).unwrap_err();
    for (at, value, expected) in [
        (
            "/service/a/state",
            Value::from("RUN"),
            "no extension declares this path (did you mean /services/a/state?)",
        ),
        (
            "/services/a/status",
            "RUN".into(),
            "no extension declares this path (did you mean /services/a/state?)",
        ),
        (
            "/services/a",
            "RUN".into(),
            "no extension declares this path; what can be set here: /services/*/state, \
             /services/*/command, /services/*/env/*",
        ),
        (
            "/colour",
            "RED".into(),
            "no extension declares this path; what can be set here: image, note, services",
        ),
        ("/services/a/state", "run".into(), "run is not one of STOP, RUN (did you mean RUN?)"),
        ("/services/a/state", "x".into(), "x is not one of STOP, RUN"),
        ("/services/a/state", 7.into(), "7 is not one of STOP, RUN"),
        ("/services/a/pid", 7.into(), "it is only discovered and cannot be set"),
        ("/image", true.into(), "true is not a text; put it in quotes"),
    ] {
        assert_eq!(check(at, value), expected);
    }
}

#[test]
fn a_rule_is_found_behind_a_named_segment_and_behind_a_star() {
    let extension = Extension::new("x")
        .path(PathSpec::new("/a/*/x", Type::Bool))
        .path(PathSpec::new("/a/b/y", Type::Text))
        .path(PathSpec::new("/a/b", Type::Float))
        .path(PathSpec::new("/a/*/x/*/*", Type::Texts));
    let schema = schema(Manifest::new("m").extension(extension));
    for (at, found) in [
        ("/a/b/x", Some("/a/*/x")),
        ("/a/c/x", Some("/a/*/x")),
        ("/a/b/y", Some("/a/b/y")),
        ("/a/c/y", None),
        ("/a/b", Some("/a/b")),
        ("/a", None),
        ("/b", None),
        ("/a/b/x/1/2", Some("/a/*/x/*/*")),
        ("/a/b/x/1", None),
    ] {
        let rule = schema.rule(&path(at)).map(|(rule, _)| rule.pattern.as_str());
        assert_eq!(rule, found, "{at}");
    }
}

#[test]
fn values_are_checked_against_their_type() {
    let list: Value = [Value::from("a")].into_iter().collect();
    let mixed: Value = [Value::from("a"), 1.into()].into_iter().collect();
    let range = Type::Int { min: 1, max: 3 };
    for (value_type, value, expected) in [
        (Type::Bool, Value::from(true), None),
        (Type::Bool, 1.into(), Some("1 is neither true nor false")),
        (range.clone(), 3.into(), None),
        (range.clone(), 4.into(), Some("4 is not a whole number from 1 to 3")),
        (range, Value::from_text("1.5"), Some("1.5 is not a whole number from 1 to 3")),
        (Type::Float, 1.into(), None),
        (Type::Float, "1".into(), Some("1 is not a number")),
        (Type::Texts, list, None),
        (Type::Texts, mixed, Some("[a, 1] is not a list of texts")),
        (Type::Texts, "a".into(), Some("a is not a list of texts")),
    ] {
        assert_eq!(value_type.check(&value).err().as_deref(), expected);
    }
}

#[test]
fn what_depends_on_a_value_is_forgotten_with_it() {
    let schema = services();
    let seen = dsc(&[
        ("/services/a/state", Some("RUN")),
        ("/services/a/spec", Some("x")),
        ("/services/a/pid", None),
        ("/services/b/spec", Some("y")),
    ]);
    let forgotten = |value: Option<&str>| {
        let value = value.map(Value::from);
        schema.forgotten_by(&seen, &path("/services/a/state"), value.as_ref())
    };
    assert!(forgotten(Some("RUN")).is_empty());
    let spec = BTreeSet::from([path("/services/a/spec")]);
    assert_eq!(forgotten(Some("STOP")), spec, "nothing of other services, nothing unknown already");
    assert_eq!(forgotten(None), spec);
}

#[test]
fn what_a_false_condition_covers_is_hidden() {
    let schema = services();
    let spec = path("/services/a/spec");
    for (state, hidden) in [
        (vec![], false),
        (vec![("/services/a/state", Some("RUN"))], false),
        (vec![("/services/a/state", Some("STOP"))], true),
        (vec![("/services/a/state", None)], true),
        (vec![("/services/b/state", Some("STOP"))], false),
    ] {
        let mut seen = state.clone();
        seen.push(("/services/a/spec", Some("x")));
        assert_eq!(schema.is_hidden(&dsc(&seen), &spec), hidden, "{state:?}");
    }
}

const PATHS: [&str; 6] = ["/a", "/b", "/c", "/d", "/e", "/f"];

/// A schema in which each path may be known while earlier ones hold a value.
fn random_schema() -> impl Strategy<Value = Schema> {
    let conditions = prop::collection::vec((0..6_usize, 0..6_usize, "[xy]"), 0..10);
    conditions.prop_map(|conditions| {
        let mut paths = PATHS.map(|path| PathSpec::new(path, Type::Text));
        for (one, other, value) in conditions {
            let (cause, dependent) = (one.min(other), one.max(other));
            if cause != dependent {
                let condition = format!("{} = {value}", PATHS[cause]);
                paths[dependent] = paths[dependent].clone().known_while(&condition);
            }
        }
        schema(
            Manifest::new("m")
                .extension(paths.into_iter().fold(Extension::new("x"), Extension::path)),
        )
    })
}

fn random_dsc() -> impl Strategy<Value = Dsc> {
    let value = prop::option::of(prop::option::weighted(0.9, "[xy]"));
    prop::collection::vec(value, 6).prop_map(|values| {
        let seen = PATHS.iter().zip(&values);
        let seen = seen.filter_map(|(path, value)| Some((*path, value.as_ref()?.as_deref())));
        dsc(&seen.collect::<Vec<_>>())
    })
}

mod properties {
    use super::*;

    proptest! {
        #[test]
        fn forgetting_reaches_a_fixpoint(
            schema in random_schema(),
            before in random_dsc(),
            place in 0..6_usize,
            value in prop::option::of("[xy]"),
        ) {
            let cause = path(PATHS[place]);
            let value = value.as_deref().map(Value::from);
            let forgotten = schema.forgotten_by(&before, &cause, value.as_ref());
            prop_assert!(!forgotten.contains(&cause));
            let mut after = before.clone();
            let stamp = Stamp { ms: 2, counter: 0, writer: Name::new("w").unwrap() };
            let seen = |value| Observed { value, stamp: stamp.clone(), seen_at: Millis::ZERO };
            after.merge(cause.clone(), seen(value.clone()));
            for path in &forgotten {
                let known = before.value(path.as_str()).is_some();
                prop_assert!(known, "only what was known is forgotten");
                after.merge(path.clone(), seen(None));
            }
            prop_assert!(schema.forgotten_by(&after, &cause, value.as_ref()).is_empty());
            for (place, _) in after.iter().filter(|(place, _)| forgotten.contains(*place)) {
                prop_assert!(schema.forgotten_by(&after, place, None).is_empty());
            }
        }
    }
}

#[test]
fn what_is_typed_is_read_as_its_path_wants_it() {
    let int = Type::Int { min: 0, max: 9 };
    let on = Type::enum_of(["ON", "1"]);
    for (kind, text, expected) in [
        (&Type::Text, "1", Value::from("1")),
        (&Type::Text, "true", "true".into()),
        (&Type::Text, "0.5", "0.5".into()),
        (&on, "1", "1".into()),
        (&Type::Bool, "true", true.into()),
        (&Type::Bool, "1", "1".into()),
        (&int, "7", 7.into()),
        (&int, "77", 77.into()),
        (&int, "x", "x".into()),
        (&Type::Float, "2", 2.into()),
        (&Type::Float, "warm", "warm".into()),
        (&Type::Texts, "-v", "-v".into()),
        (&Type::Share, "10", 10.into()),
        (&Type::Share, "10%", "10%".into()),
    ] {
        assert_eq!(kind.read(text), expected, "{kind:?} {text}");
    }
}
