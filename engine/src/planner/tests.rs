//! Tests of the planner.

pub(crate) mod brute;
pub(crate) mod kit;
mod reasons;
mod sizes;

use self::kit::{World, node_manifest, services_manifest};
use super::*;
use crate::manifest::{Context, Extension, From, Manifest, MutationSpec, PathSpec, To, Type};

#[test]
fn asking_for_the_run_state_implies_power() {
    let world =
        World::new(&[node_manifest()]).seen("/physState", "POWER_OFF").asks("/runState", "SYNC");
    assert_eq!(
        world.describe(),
        "node/PowerOn /physState POWER_OFF->POWER_ON; node/Boot /runState unknown->INIT; \
         node/Sync /runState INIT->SYNC; 13000 ms"
    );
}

#[test]
fn an_unknown_power_state_is_looked_at_first() {
    let world = World::new(&[node_manifest()]).asks("/runState", "SYNC");
    assert_eq!(
        world.describe(),
        "node/Look /physState unknown->POWER_OFF; node/PowerOn /physState POWER_OFF->POWER_ON; \
         node/Boot /runState unknown->INIT; node/Sync /runState INIT->SYNC; 14000 ms"
    );
}

#[test]
fn powering_off_forgets_the_run_state() {
    let world = World::new(&[node_manifest()])
        .seen("/physState", "POWER_ON")
        .seen("/runState", "SYNC")
        .asks("/physState", "POWER_OFF");
    assert_eq!(world.describe(), "node/PowerOff /physState POWER_ON->POWER_OFF; 2000 ms");
    let world = world.asks("/runState", "SYNC");
    assert_eq!(
        world.describe(),
        "each can be reached, but not together: /physState = POWER_OFF, /runState = SYNC"
    );
}

#[test]
fn a_stale_spec_is_planned_as_stop_then_start() {
    let world = World::new(&[services_manifest()])
        .asks("/services/web/state", "RUN")
        .asks("/services/web/command", "httpd")
        .seen("/services/web/state", "RUN")
        .seen("/services/web/spec", "stale");
    let digest = world.goal()["/services/web/spec"].to_string();
    assert_eq!(
        world.describe(),
        format!(
            "service/Stop(web) /services/web/spec stale->unknown, /services/web/state RUN->STOP; \
             service/Start(web) /services/web/spec unknown->{digest}, \
             /services/web/state STOP->RUN; 2000 ms"
        )
    );
}

#[test]
fn twenty_stale_services_are_no_larger_a_problem_than_twenty_times_one() {
    let mut world = World::new(&[services_manifest()]);
    for service in 0..20 {
        world = world
            .asks(&format!("/services/s{service}/state"), "RUN")
            .asks(&format!("/services/s{service}/command"), "httpd")
            .seen(&format!("/services/s{service}/state"), "RUN")
            .seen(&format!("/services/s{service}/spec"), "stale");
    }
    let plan = world.plan().unwrap();
    assert_eq!(plan.steps.len(), 40);
    assert!(world.stats().states < 20 * 4);
}

#[test]
fn a_mutation_that_hides_what_it_changes_is_not_said_to_show_it() {
    let number = || Type::Int { min: 0, max: 2 };
    let extension = Extension::new("e")
        .path(PathSpec::new("/a", number()))
        .path(PathSpec::new("/b", number()).known_while("/a = 0"));
    let both = MutationSpec::new("Both").changes("/a", 0, 1).changes("/b", From::Any, 1);
    let manifest = Manifest::new("m").extension(extension).mutation(both);
    let world = World::new(&[manifest]).seen("/a", 0).seen("/b", 2).asks("/a", 1);
    assert_eq!(world.describe(), "m/Both /a 0->1, /b 2->unknown; 1000 ms");
}

#[test]
fn a_reached_goal_needs_no_steps() {
    let world = World::new(&[node_manifest()])
        .seen("/physState", "POWER_ON")
        .asks("/physState", "POWER_ON");
    assert_eq!(*world.plan().unwrap(), Plan::default());
    assert_eq!(*World::new(&[node_manifest()]).plan().unwrap(), Plan::default());
}

#[test]
fn another_object_that_is_not_ready_is_waited_for() {
    let parent =
        MutationSpec::new("Cool").changes("/fan", "OFF", "ON").requires("@parent /power = ON");
    let own = MutationSpec::new("Light").changes("/led", "OFF", "ON");
    let extension = Extension::new("e")
        .path(PathSpec::new("/fan", Type::enum_of(["OFF", "ON"])))
        .path(PathSpec::new("/led", Type::enum_of(["OFF", "ON"])));
    let manifest = Manifest::new("m").extension(extension).mutation(parent).mutation(own);
    let world = World::new(&[manifest])
        .seen("/fan", "OFF")
        .seen("/led", "OFF")
        .asks("/fan", "ON")
        .asks("/led", "ON");
    let waiting = world.plan().unwrap();
    assert_eq!(waiting.waits_for, ["@parent /power = ON"]);
    assert_eq!(waiting.steps[0].instance.to_string(), "m/Light", "what need not wait comes first");
    let ready = world.related("@parent /power", "ON").plan().unwrap();
    assert_eq!(ready.waits_for, [""; 0]);
    assert_eq!(ready.steps.len(), 2);
}
