//! Each reason why there is no plan.

use super::*;

/// Two lamps and a switch.
fn lamps() -> Manifest {
    let state = || Type::enum_of(["A", "B", "C"]);
    let extension = Extension::new("lamps")
        .path(PathSpec::new("/x", state()))
        .path(PathSpec::new("/y", state()))
        .path(PathSpec::new("/z", state()))
        .path(PathSpec::new("/image", Type::Text));
    Manifest::new("lamp")
        .extension(extension)
        .discovers("/x")
        .discovers("/y")
        .discovers("/z")
        .discovers("/image")
}

fn check(manifest: Manifest, expected: &str) {
    let world = World::new(&[manifest]).seen("/x", "A").seen("/y", "C").asks("/x", "B");
    assert_eq!(world.describe(), expected);
}

#[test]
fn no_mutation_changes_the_path() {
    check(lamps(), "nothing changes /x from A towards B");
    check(
        lamps().mutation(MutationSpec::new("M").changes("/x", "C", "B")),
        "nothing changes /x from A towards B",
    );
}

#[test]
fn a_mutation_needs_what_is_not_so() {
    check(
        lamps().mutation(MutationSpec::new("M").changes("/x", "A", "B").requires("/y = B")),
        "nothing changes /x from A towards B while /y = C (lamp/M needs /y = B)",
    );
    check(
        lamps().mutation(MutationSpec::new("M").changes("/x", "A", "B").excludes("/y = C")),
        "nothing changes /x from A towards B while /y = C (lamp/M needs not /y = C)",
    );
    check(
        lamps().mutation(MutationSpec::new("M").changes("/x", "A", "B").requires("/z known")),
        "nothing changes /x from A towards B while /z = unknown (lamp/M needs /z known)",
    );
}

#[test]
fn the_missing_link_is_named_where_it_is_and_who_needs_it() {
    check(
        lamps()
            .mutation(MutationSpec::new("M").changes("/x", "A", "B").requires("/y = B"))
            .mutation(MutationSpec::new("N").changes("/y", "A", "B")),
        "nothing changes /y from C towards B; lamp/M needs it",
    );
    check(
        lamps()
            .mutation(MutationSpec::new("M").changes("/x", "A", "B").requires("/y = B"))
            .mutation(MutationSpec::new("N").changes("/y", "C", "B").requires("/z = A")),
        "nothing changes /y from C towards B while /z = unknown (lamp/N needs /z = A); \
         lamp/M needs it",
    );
}

#[test]
fn two_mutations_that_wait_for_each_other_are_a_gap() {
    check(
        lamps()
            .mutation(MutationSpec::new("M").changes("/x", "A", "B").requires("/y = B"))
            .mutation(MutationSpec::new("N").changes("/y", "C", "B").requires("/x = B")),
        "nothing changes /y from C towards B while /x = A (lamp/N needs /x = B); lamp/M needs it",
    );
}

#[test]
fn a_mutation_that_waits_for_cfg_is_named() {
    check(
        lamps().mutation(MutationSpec::new("M").changes("/x", "A", "B").changes(
            "/image",
            From::Any,
            To::Cfg,
        )),
        "nothing changes /x from A towards B; lamp/M would, if /image were set",
    );
}

#[test]
fn a_service_without_a_command_is_told_what_to_set() {
    let world = World::new(&[services_manifest()])
        .seen("/services/web/state", "STOP")
        .asks("/services/web/state", "RUN");
    assert_eq!(
        world.describe(),
        "nothing changes /services/web/state from STOP towards RUN; \
         service/Start(web) would, if /services/web/command were set"
    );
}

#[test]
fn goals_that_exclude_each_other_are_a_conflict() {
    let manifest = lamps()
        .mutation(MutationSpec::new("M").changes("/x", "A", "B").changes("/y", "C", "A"))
        .mutation(MutationSpec::new("N").changes("/y", "A", "C").changes("/x", "B", "A"));
    let world =
        World::new(&[manifest]).seen("/x", "A").seen("/y", "C").asks("/x", "B").asks("/y", "C");
    assert_eq!(world.describe(), "each can be reached, but not together: /x = B, /y = C");
}

#[test]
fn one_goal_whose_steps_undo_each_other_is_told_alone() {
    let manifest = lamps()
        .mutation(MutationSpec::new("M").changes("/x", "A", "B").requires("/y = C"))
        .mutation(MutationSpec::new("N").changes("/y", "A", "C").changes("/x", "A", "C"));
    let world = World::new(&[manifest]).seen("/x", "A").seen("/y", "A").asks("/x", "B");
    let told = "mutations lead to /x = B, but no order of them does from here";
    assert_eq!(world.describe(), told);
}

#[test]
fn parts_without_a_plan_leave_the_other_parts_theirs() {
    let manifest = lamps().mutation(MutationSpec::new("M").changes("/x", "A", "B"));
    let world = World::new(&[manifest]).seen("/x", "A").asks("/x", "B").asks("/y", "B");
    let plan = world.plan().unwrap();
    assert_eq!(plan.steps.len(), 1);
    assert_eq!(plan.blocked.len(), 1);
    assert_eq!(plan.blocked[0].to_string(), "nothing changes /y from unknown towards B");
    let world = world.seen("/x", "B").asks("/z", "B");
    assert_eq!(
        world.describe(),
        "nothing changes /y from unknown towards B; nothing changes /z from unknown towards B"
    );
}
