//! How far the search looks: pinned in states, which are the same on every machine.

use super::*;

const VALUES: [&str; 3] = ["A", "B", "C"];

fn paths(count: usize, values: &[&str]) -> Manifest {
    let state = Type::Enum(values.iter().map(|value| (*value).to_owned()).collect());
    let mut extension = Extension::new("paths");
    let mut manifest = Manifest::new("m");
    for path in 0..count {
        extension = extension.path(PathSpec::new(&format!("/p{path}"), state.clone()));
        manifest = manifest.discovers(&format!("/p{path}"));
    }
    manifest.extension(extension)
}

/// Paths that each go A, B, C and back; `guard` is what the steps of a path require.
fn ladders(count: usize, guard: impl Fn(usize) -> Option<String>) -> Manifest {
    let mut manifest = paths(count, &VALUES);
    for path in 0..count {
        for (from, to) in [("A", "B"), ("B", "C"), ("C", "B"), ("B", "A")] {
            let name = format!("P{path}-{from}-{to}");
            let step = MutationSpec::new(&name).changes(&format!("/p{path}"), from, to);
            manifest = manifest.mutation(match guard(path) {
                Some(guard) => step.requires(&guard),
                None => step,
            });
        }
    }
    manifest
}

fn ladder_world(manifest: Manifest, count: usize, goals: &[usize]) -> World {
    let mut world = World::new(&[manifest]);
    for path in 0..count {
        world = world.seen(&format!("/p{path}"), "A");
    }
    goals.iter().fold(world, |world, path| world.asks(&format!("/p{path}"), "C"))
}

fn chained(path: usize) -> Option<String> {
    path.checked_sub(1).map(|before| format!("/p{before} = C"))
}

/// Machines with twelve mutations over power, boot, image and address.
fn boot() -> Manifest {
    let state = |values: &[&str]| Type::Enum(values.iter().map(|v| (*v).to_owned()).collect());
    let on = |path: PathSpec| path.known_while("/physState = POWER_ON");
    let extension = Extension::new("boot")
        .path(PathSpec::new("/physState", state(&["POWER_OFF", "POWER_ON", "PHYS_HANG"])))
        .path(on(PathSpec::new("/bootState", state(&["PXE", "LOADED", "UP"]))))
        .path(on(PathSpec::new("/runState", state(&["INIT", "SYNC", "DRAINED"]))))
        .path(on(PathSpec::new("/image", Type::Text)))
        .path(on(PathSpec::new("/address", Type::Text)))
        .path(PathSpec::new("/temperature", Type::Float));
    let mutation = |name: &str, path: &str, from: From, to: To| {
        MutationSpec::new(name).context(Context::Parent).changes(path, from, to)
    };
    let manifest = ["/physState", "/bootState", "/runState", "/image", "/address", "/temperature"]
        .iter()
        .fold(Manifest::new("boot").extension(extension), |manifest, path| {
            manifest.discovers(path)
        });
    [
        mutation("Look", "/physState", From::Unknown, "POWER_OFF".into()),
        mutation("PowerOn", "/physState", "POWER_OFF".into(), "POWER_ON".into())
            .requires("/temperature < 80"),
        mutation("PowerOff", "/physState", "POWER_ON".into(), "POWER_OFF".into())
            .requires("/runState in {DRAINED, INIT}"),
        mutation("Reset", "/physState", "PHYS_HANG".into(), "POWER_OFF".into()),
        mutation("Pxe", "/bootState", From::Unknown, "PXE".into()),
        mutation("Load", "/bootState", "PXE".into(), "LOADED".into()).changes(
            "/image",
            From::Any,
            To::Cfg,
        ),
        mutation("Up", "/bootState", "LOADED".into(), "UP".into()),
        mutation("Init", "/runState", From::Unknown, "INIT".into()).requires("/bootState = UP"),
        mutation("Sync", "/runState", "INIT".into(), "SYNC".into()).requires("/address known"),
        mutation("Drain", "/runState", "SYNC".into(), "DRAINED".into()),
        mutation("Join", "/runState", "DRAINED".into(), "SYNC".into()),
        mutation("Address", "/address", From::Any, To::Cfg).requires("/bootState = UP"),
    ]
    .into_iter()
    .fold(manifest, Manifest::mutation)
}

fn boot_world() -> World {
    World::new(&[boot()])
        .seen("/physState", "POWER_ON")
        .seen("/bootState", "UP")
        .seen("/runState", "SYNC")
        .seen("/image", "v1")
        .seen("/address", "10.0.0.1")
        .seen("/temperature", 40)
        .asks("/runState", "SYNC")
        .asks("/image", "v2")
        .asks("/address", "10.0.0.1")
}

/// Eighteen paths of two values, all of which must be moved there and back by mutations that each
/// need the others in some pattern: no bound helps.
fn dense() -> World {
    let count = 18;
    let mut manifest = paths(count, &["A", "B"]);
    for path in 0..count {
        let flip = |name: &str, from: &str, to: &str| {
            let mut flip = MutationSpec::new(&format!("{name}{path}"));
            flip = flip.changes(&format!("/p{path}"), from, to);
            // A Gray code: a bit turns only where the one before it is B and all earlier ones A.
            for earlier in 0..path {
                let value = if earlier + 1 == path { "B" } else { "A" };
                flip = flip.requires(&format!("/p{earlier} = {value}"));
            }
            flip
        };
        manifest = manifest.mutation(flip("Up", "A", "B")).mutation(flip("Down", "B", "A"));
    }
    let mut world = World::new(&[manifest]);
    for path in 0..count {
        let last = path + 1 == count;
        world = world.seen(&format!("/p{path}"), "A");
        world = world.asks(&format!("/p{path}"), if last { "B" } else { "A" });
    }
    world
}

fn check(world: &World, steps: usize, states_max: u64) {
    let plan = world.plan().unwrap();
    assert_eq!(plan.steps.len(), steps);
    let states = world.stats().states;
    assert!(states <= states_max, "{states} states");
}

#[test]
fn paths_that_do_not_touch_are_searched_apart() {
    check(&ladder_world(ladders(8, |_| None), 8, &[0, 1, 2, 3, 4, 5, 6, 7]), 16, 8 * 3);
    let all: Vec<usize> = (0..200).collect();
    check(&ladder_world(ladders(200, |_| None), 200, &all), 400, 200 * 3);
}

#[test]
fn chained_paths_are_walked_straight() {
    check(&ladder_world(ladders(8, chained), 8, &[7]), 16, 100);
    check(&ladder_world(ladders(12, chained), 12, &[11]), 24, 200);
    let all: Vec<usize> = (0..12).collect();
    check(&ladder_world(ladders(12, chained), 12, &all), 24, 200);
}

#[test]
fn a_machine_is_taken_through_its_boot() {
    let world = boot_world();
    check(&world, 9, 12);
    insta::assert_snapshot!(world.describe().replace("; ", "\n").replace(", ", ",\n  "), @r"
    boot/Drain /runState SYNC->DRAINED
    boot/PowerOff /address 10.0.0.1->unknown,
      /bootState UP->unknown,
      /image v1->unknown,
      /physState POWER_ON->POWER_OFF,
      /runState DRAINED->unknown
    boot/PowerOn /physState POWER_OFF->POWER_ON
    boot/Pxe /bootState unknown->PXE
    boot/Load /bootState PXE->LOADED,
      /image unknown->v2
    boot/Up /bootState LOADED->UP
    boot/Address /address unknown->10.0.0.1
    boot/Init /runState unknown->INIT
    boot/Sync /runState INIT->SYNC
    9000 ms
    ");
}

#[test]
fn a_search_that_is_too_large_says_over_which_paths() {
    let world = dense();
    let reason = world.plan().unwrap_err();
    assert!(matches!(&*reason, NoPlan::TooLarge { paths } if paths.len() == 18), "{reason}");
    assert!(reason.to_string().starts_with("no plan within 200000 states over /p0, /p1"));
    assert!(world.stats().states <= u64::try_from(SEARCH_STATES_MAX).unwrap() + 100);
}
