//! What is proved and what is refuted, each with its message.

mod goals;

use super::*;
use crate::manifest::{Extension, From as Start, MutationSpec, PathSpec, SetBy, To, Type};

fn states() -> Type {
    Type::enum_of(["OFF", "ON", "HANG"])
}

/// A lamp that is switched on and off.
fn lamp() -> Manifest {
    Manifest::new("lamp")
        .extension(Extension::new("lamp").path(PathSpec::new("/lamp", states())))
        .discovers("/lamp")
        .mutation(MutationSpec::new("On").changes("/lamp", "OFF", "ON"))
        .mutation(MutationSpec::new("Off").changes("/lamp", "ON", "OFF"))
}

fn found(manifests: &[Manifest]) -> Vec<String> {
    let sources: Vec<Source> = manifests.iter().cloned().map(Source::from).collect();
    check(&sources).iter().map(ToString::to_string).collect()
}

/// The lamp with one thing more has exactly this finding.
fn refuted(more: MutationSpec, expected: &str) {
    assert_eq!(found(&[lamp().mutation(more)]), [expected]);
}

#[test]
fn what_is_sound_has_no_findings() {
    assert_eq!(found(&[lamp()]), [""; 0]);
}

#[test]
fn problems_of_compiling_are_findings_with_their_code() {
    let wrong = MutationSpec::new("Blink").changes("/lmp", "OFF", "ON");
    refuted(wrong, "error[unknown_path]: module lamp, mutation Blink: no extension declares /lmp");
}

#[test]
fn a_failure_must_leave_what_some_mutation_leaves() {
    refuted(
        MutationSpec::new("Kick").changes("/lamp", "OFF", "ON").fail_to("/lamp", "HANG"),
        "error[fail_to_kept]: module lamp, mutation Kick: its failure leaves /lamp = HANG, and no \
         mutation leads away from there; declare one that starts from HANG, or leave `failTo` out",
    );
}

#[test]
fn a_state_without_a_way_back_is_a_dead_end() {
    // HANG is left, and only to ON by way of a path that cannot come back.
    let fuse = Manifest::new("fuse")
        .extension(Extension::new("fuse").path(PathSpec::new("/fuse", states())))
        .discovers("/fuse")
        .mutation(
            MutationSpec::new("Burn").changes("/fuse", "ON", "OFF").changes("/lamp", "HANG", "OFF"),
        );
    let kick = MutationSpec::new("Kick")
        .changes("/lamp", "OFF", "ON")
        .requires("/fuse = OFF")
        .fail_to("/lamp", "HANG");
    let told = found(&[lamp().mutation(kick), fuse]);
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(
        told[0].starts_with(
            "error[dead_end]: module lamp, mutation Kick: a dead end: a failure of it leaves /lamp \
             at HANG, from where no mutations lead to OFF ("
        ),
        "{told:?}"
    );
    assert!(told[1].contains("from where no mutations lead to ON ("), "{told:?}");
}

#[test]
fn what_other_paths_may_hold_is_assumed_for_the_best() {
    let door = MutationSpec::new("Kick")
        .changes("/lamp", "OFF", "ON")
        .requires("/door = OPEN")
        .requires("@parent /lamp = ON")
        .fail_to("/lamp", "HANG");
    let back = MutationSpec::new("Reset").changes("/lamp", "HANG", "OFF").requires("/load < 0.5");
    let facts = Extension::new("door")
        .path(PathSpec::fact("/door", Type::enum_of(["OPEN", "SHUT"])))
        .path(PathSpec::fact("/load", Type::Float));
    assert_eq!(found(&[lamp().extension(facts).mutation(door).mutation(back)]), [""; 0]);
}

#[test]
fn versions_that_cannot_be_listed_are_proved_as_one() {
    let image = |from: Start| {
        Manifest::new("image")
            .extension(Extension::new("image").path(PathSpec::new("/image", Type::Text)))
            .discovers("/image")
            .mutation(MutationSpec::new("Pull").changes("/image", from, To::Cfg))
    };
    assert_eq!(found(&[image(Start::Any)]), [""; 0]);
    let told = found(&[image(Start::Unknown)]);
    assert!(told[0].contains("leaves /image at another value, from where"), "{told:?}");
}

#[test]
fn what_can_never_hold_together_is_a_contradiction() {
    let text = "what it asks of /lamp can never hold together, so that it never starts; correct \
                `requires`, `excludes` or `from`";
    let expected = format!("error[contradiction]: module lamp, mutation Kick: {text}");
    let kick = || MutationSpec::new("Kick").changes("/lamp", "OFF", "ON");
    refuted(kick().excludes("/lamp in {OFF, HANG}"), &expected);
    refuted(kick().requires("/lamp != OFF"), &expected);
    let unknown = MutationSpec::new("Kick").changes("/lamp", Start::Unknown, "ON");
    let told = found(&[lamp().mutation(unknown.requires("/lamp known"))]);
    assert_eq!(told, [expected]);
}

#[test]
fn modules_that_undo_each_other_fight() {
    let fan = |name: &str, to: &str| {
        Manifest::new(name).mutation(MutationSpec::new("Turn").changes("/fan", "IDLE", to))
    };
    let speeds = Type::enum_of(["IDLE", "SLOW", "FAST"]);
    let base = |set_by: SetBy| {
        let mut path = PathSpec::new("/fan", speeds.clone());
        path.set_by = set_by;
        Manifest::new("base").extension(Extension::new("fan").path(path)).discovers("/fan")
    };
    let told = found(&[base(SetBy::Nobody), fan("a", "SLOW"), fan("b", "FAST")]);
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(
        told[0].starts_with(
            "error[fight]: module b, mutation Turn: it leads /fan elsewhere than a/Turn does from \
             the same value, and nobody sets that path"
        ),
        "{told:?}"
    );
    let mut apart = fan("b", "FAST");
    apart.mutations[0].requires = vec!["/fan != IDLE".to_owned()];
    let told = found(&[base(SetBy::Nobody), fan("a", "SLOW"), apart]);
    assert!(!told.iter().any(|text| text.contains("fight")), "{told:?}");
    let set = found(&[base(SetBy::User), fan("a", "SLOW"), fan("b", "FAST")]);
    assert!(!set.iter().any(|text| text.contains("fight")), "{set:?}");
}

/// Two kinds, each with a path that waits for the other by these relations.
fn waiting(of_rack: &str, of_node: &str) -> Vec<String> {
    let path = |path: &str| PathSpec::new(path, states());
    let on = |name: &str, path: &str| MutationSpec::new(name).changes(path, "OFF", "ON");
    let off = |name: &str, path: &str| MutationSpec::new(name).changes(path, "ON", "OFF");
    found(&[Manifest::new("m")
        .extension(
            Extension::new("node").path(path("/power")).path(PathSpec::input("/rack", Type::Text)),
        )
        .extension(Extension::new("rack").kind("rack").path(path("/supply")))
        .discovers("/power")
        .discovers("/supply")
        .mutation(on("PowerOn", "/power").requires(of_node))
        .mutation(off("PowerOff", "/power"))
        .mutation(on("Supply", "/supply").kind("rack").requires(of_rack))
        .mutation(off("Cut", "/supply").kind("rack"))])
}

#[test]
fn circles_of_waits_between_kinds_are_warned_of() {
    let told = waiting("@parent /power = ON", "@owner /supply = ON");
    assert_eq!(
        told,
        ["warning[wait_cycle]: module m, mutation PowerOn: objects may wait for each other in a \
          circle: /power of kind node, /supply of kind rack; break it by requiring less of one of \
          them"]
    );
    assert_eq!(waiting("/supply = OFF", "@owner /supply = ON"), [""; 0]);
    assert_eq!(waiting("/supply = OFF", "@parent /power = ON"), [""; 0]);
}

#[test]
fn paths_of_related_objects_are_known_too() {
    let told = waiting("/supply = OFF", "@parent /powr = ON");
    assert_eq!(
        told,
        ["warning[unknown_path]: module m, mutation PowerOn: no extension declares what `@parent \
          /powr = ON` speaks of; declare the path or correct its name"]
    );
}

#[test]
fn what_nobody_discovers_and_what_deletion_never_finds_is_warned_of() {
    let silent = Manifest::new("silent")
        .extension(Extension::new("x").path(PathSpec::new("/x", states())))
        .mutation(MutationSpec::new("Go").changes("/x", "OFF", "ON"));
    let told = found(&[silent]);
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].starts_with("warning[never_seen]: module silent, mutation Go: it changes /x"));
    let mut kept = lamp();
    kept.extensions[0].paths[0].absent = Some("HANG".into());
    let told = found(&[kept]);
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].starts_with("warning[dead_end]: module lamp, path /lamp: deletion asks for"));
}

#[test]
fn a_product_that_is_too_large_is_a_warning() {
    let names: Vec<String> = (0..70).map(|index| format!("S{index}")).collect();
    let manifest = Manifest::new("dial")
        .extension(Extension::new("x").path(PathSpec::new("/dial", Type::Enum(names))))
        .discovers("/dial")
        .mutation(MutationSpec::new("Turn").changes("/dial", "S1", "S2"))
        .mutation(MutationSpec::new("Back").changes("/dial", "S2", "S1"));
    let told = found(&[manifest]);
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(
        told[0].starts_with(
            "warning[too_large]: module dial, path /dial: whether S1 can be reached from S2 is \
             too large to be proved"
        ),
        "{told:?}"
    );
}

#[test]
fn findings_stand_at_the_innermost_place_that_is_known() {
    let kick = MutationSpec::new("Kick").changes("/lamp", "OFF", "ON").fail_to("/lamp", "HANG");
    let mut source = Source::from(lamp().mutation(kick));
    source.file = Some("lamp.yaml".to_owned());
    let key = |keys: &[&str]| keys.iter().map(|key| (*key).to_owned()).collect::<Vec<_>>();
    source.spots.insert(Vec::new(), Spot { line: 1, column: 1 });
    source.spots.insert(key(&["mutations", "2"]), Spot { line: 20, column: 5 });
    let told = check(std::slice::from_ref(&source));
    assert!(
        told[0].to_string().starts_with("lamp.yaml:20:5: error[fail_to_kept]: module lamp, "),
        "{told:?}"
    );
    let keys = key(&["mutations", "2", "failTo", "/lamp"]);
    source.spots.insert(keys, Spot { line: 24, column: 7 });
    assert_eq!(check(&[source])[0].line, Some(24));
}

#[test]
fn what_is_sound_is_compiled_and_warnings_are_passed_over() {
    let mut silent = lamp();
    silent.discovers.clear();
    assert!(!found(&[silent.clone()]).is_empty());
    assert!(sound(&[silent]).is_ok());
    let kick = MutationSpec::new("Kick").changes("/lamp", "OFF", "ON").fail_to("/lamp", "HANG");
    assert_eq!(sound(&[lamp().mutation(kick)]).unwrap_err()[0].code, Code::FailToKept);
}
