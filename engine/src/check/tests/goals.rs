//! Goals with names: what is proved of them, and each message where it is not.

use super::{found, lamp, states};
use crate::{
    check::{Source, Spot, check},
    manifest::{Extension, From as Start, GoalSpec, Manifest, MutationSpec, PathSpec, To, Type},
};

/// What is found once the lamp, a door beside it and a system within it have this goal.
fn told(goal: GoalSpec) -> Vec<String> {
    found(&[house().goal(goal)])
}

/// The door opens only while the lamp is off, the system is known only while it is on.
fn house() -> Manifest {
    let door = PathSpec::new("/door", Type::enum_of(["SHUT", "OPEN"]));
    let system = PathSpec::new("/system", Type::enum_of(["INIT", "SYNC"]));
    let extension = Extension::new("house")
        .path(door)
        .path(system.known_while("/lamp = ON"))
        .path(PathSpec::input("/colour", Type::Text))
        .path(PathSpec::fact("/heat", Type::Float));
    let mut house = lamp().extension(extension).discovers("/door").discovers("/system");
    house.mutations[0] = MutationSpec::new("On")
        .changes("/lamp", "OFF", "ON")
        .changes("/system", Start::Any, "INIT")
        .requires("/door = SHUT");
    house
        .mutation(
            MutationSpec::new("Boot").changes("/system", "INIT", "SYNC").requires("/lamp = ON"),
        )
        .mutation(
            MutationSpec::new("Open").changes("/door", "SHUT", "OPEN").requires("/lamp = OFF"),
        )
        .mutation(MutationSpec::new("Shut").changes("/door", "OPEN", "SHUT"))
}

#[test]
fn goals_that_can_be_reached_together_are_proved() {
    assert_eq!(told(GoalSpec::new("dark").value("/lamp", "OFF").value("/door", "OPEN")), [""; 0]);
    let serving = GoalSpec::new("serving").value("/lamp", "ON").value("/system", "SYNC");
    assert_eq!(told(serving.value("/door", "SHUT").value("/colour", "red")), [""; 0]);
    let image = Manifest::new("image")
        .extension(Extension::new("image").path(PathSpec::new("/image", Type::Text)))
        .discovers("/image")
        .mutation(MutationSpec::new("Pull").changes("/image", Start::Any, To::Cfg))
        .goal(GoalSpec::new("pulled").value("/image", "v2"));
    assert_eq!(found(&[image]), [""; 0]);
}

#[test]
fn each_path_may_be_reached_and_not_all_together() {
    let told = told(GoalSpec::new("welcome").value("/lamp", "ON").value("/door", "OPEN"));
    assert_eq!(
        told,
        [
            "error[dead_end]: module lamp, goal welcome: a dead end: success of lamp/Off leaves /lamp \
          = OFF, from where no mutations lead to it (each can be reached, but not together: /door \
          = OPEN, /lamp = ON); declare a way back, or have the goal ask for what can be had \
          together"
        ]
    );
}

#[test]
fn a_failure_may_be_where_the_way_ends() {
    // HANG is left, and then the door is jammed for good.
    let mut house = house();
    house.extensions[1].paths[0].value_type = Type::enum_of(["SHUT", "OPEN", "JAMMED"]);
    house.mutations[0] = house.mutations[0].clone().fail_to("/lamp", "HANG");
    let reset = MutationSpec::new("Reset").changes("/lamp", "HANG", "OFF").changes(
        "/door",
        Start::Any,
        "JAMMED",
    );
    let goal = GoalSpec::new("lit").value("/lamp", "ON").value("/door", "SHUT");
    let told = found(&[house.mutation(reset).goal(goal)]);
    let text = "error[dead_end]: module lamp, goal lit: a dead end: a failure of lamp/On leaves \
                /door = SHUT, /lamp = HANG, from where no mutations lead to it (";
    assert!(told.iter().any(|told| told.starts_with(text)), "{told:?}");
}

#[test]
fn what_a_goal_cannot_ask_for_is_told_with_its_reason() {
    let of = |path: &str, value: &str| GoalSpec::new("g").value(path, value);
    for (goal, expected) in [
        (of("/lmp", "ON"), "error[unknown_path]: module lamp, goal g: no extension declares /lmp"),
        (
            of("lamp", "ON"),
            "error[unreadable]: module lamp, goal g: \"lamp\" is not a path: it must start with \
             `/`",
        ),
        (
            of("/door", "AJAR"),
            "error[wrong_value]: module lamp, goal g: /door: AJAR is not one of SHUT, OPEN",
        ),
        (
            GoalSpec::new("g").value("/heat", 1),
            "error[contradiction]: module lamp, goal g: nobody sets /heat, so that it cannot be \
             asked for",
        ),
        (
            of("/lamp", "OFF").value("/system", "SYNC"),
            "error[contradiction]: module lamp, goal g: it asks for /lamp = OFF, while which \
             /system is unknown",
        ),
        (GoalSpec::new("g"), "error[unreadable]: module lamp, goal g: it asks for nothing"),
        (
            of("/lamp", "ON").kind("rack"),
            "error[unknown_kind]: module lamp, goal g: no extension declares paths of kind rack",
        ),
        (
            of("/lamp", "HANG"),
            "error[dead_end]: module lamp, goal g: no mutation leads /lamp to HANG; declare one, \
             or have the goal ask for another value",
        ),
    ] {
        assert_eq!(told(goal), [expected]);
    }
    let twice = house()
        .goal(GoalSpec::new("dark").value("/lamp", "OFF"))
        .goal(GoalSpec::new("dark").value("/lamp", "ON"));
    assert_eq!(
        found(&[twice]),
        ["error[twice]: module lamp, goal dark: a second goal of the same name"]
    );
}

#[test]
fn a_goal_that_is_too_large_is_a_warning() {
    let names: Vec<String> = (0..70).map(|index| format!("S{index}")).collect();
    let manifest = Manifest::new("dial")
        .extension(Extension::new("x").path(PathSpec::new("/dial", Type::Enum(names))))
        .discovers("/dial")
        .mutation(MutationSpec::new("Turn").changes("/dial", "S1", "S2"))
        .mutation(MutationSpec::new("Back").changes("/dial", "S2", "S1"))
        .goal(GoalSpec::new("turned").value("/dial", "S2"));
    let told = found(&[manifest]);
    assert_eq!(
        told[0],
        "warning[too_large]: module dial, goal turned: whether it can be reached is too large to \
         be proved; split what depends on each other into fewer paths, or ask for less at once"
    );
}

#[test]
fn findings_of_goals_stand_where_the_goal_is_written() {
    let goal = GoalSpec::new("welcome").value("/lamp", "HANG").value("/door", "OPEN");
    let mut source = Source::from(house().goal(goal));
    source.file = Some("house.yaml".to_owned());
    let keys = |keys: &[&str]| keys.iter().map(|key| (*key).to_owned()).collect::<Vec<_>>();
    source.spots.insert(keys(&["goals", "0"]), Spot { line: 30, column: 3 });
    source.spots.insert(keys(&["goals", "0", "values", "/lamp"]), Spot { line: 32, column: 7 });
    let told = check(std::slice::from_ref(&source));
    assert!(told[0].to_string().starts_with("house.yaml:32:7: error[dead_end]"), "{told:?}");
    source.manifest.goals[0].values.insert("/lamp".to_owned(), "ON".into());
    let told = check(&[source]);
    assert!(told[0].to_string().starts_with("house.yaml:30:3: error[dead_end]"), "{told:?}");
}

#[test]
fn paths_of_one_pattern_may_be_asked_for_apart() {
    let services = Manifest::new("services")
        .extension(Extension::new("s").path(PathSpec::new("/services/*/state", states())))
        .discovers("/services/*/state")
        .mutation(MutationSpec::new("Start").changes("/services/*/state", "OFF", "ON"))
        .mutation(MutationSpec::new("Stop").changes("/services/*/state", "ON", "OFF"))
        .goal(
            GoalSpec::new("split")
                .value("/services/a/state", "ON")
                .value("/services/b/state", "OFF"),
        );
    assert_eq!(found(&[services]), [""; 0]);
}
