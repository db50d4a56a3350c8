//! The kinds over which plans are measured: a realistic one, and such as are hard to plan.

use kraken_engine::manifest::{
    Context, Extension, From, Manifest, MutationSpec, PathSpec, To, Type,
};

fn state(values: &[&str]) -> Type {
    Type::Enum(values.iter().map(|value| (*value).to_owned()).collect())
}

/// Machines with twelve mutations over power, boot, image, run state and address.
pub(super) fn boot() -> Manifest {
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

/// The name of a path of [`ladders`] and [`dense`].
pub(super) fn path(number: usize) -> String {
    format!("/p{number}")
}

fn paths(count: usize, values: &[&str]) -> Manifest {
    let with =
        |extension: Extension, number| extension.path(PathSpec::new(&path(number), state(values)));
    let extension = (0..count).fold(Extension::new("paths"), with);
    let discovers = |manifest: Manifest, number: usize| manifest.discovers(&path(number));
    (0..count).fold(Manifest::new("m").extension(extension), discovers)
}

/// Paths that each go A, B, C and back. Chained: those of a path need the path before at C.
pub(super) fn ladders(count: usize, is_chained: bool) -> Manifest {
    let step = |number: usize, from: &str, to: &str| {
        let name = format!("P{number}-{from}-{to}");
        let step = MutationSpec::new(&name).changes(&path(number), from, to);
        match number.checked_sub(1).filter(|_| is_chained) {
            Some(before) => step.requires(&format!("{} = C", path(before))),
            None => step,
        }
    };
    let steps = (0..count).flat_map(|number| {
        let ways = [("A", "B"), ("B", "C"), ("C", "B"), ("B", "A")];
        ways.map(|(from, to)| step(number, from, to))
    });
    steps.fold(paths(count, &["A", "B", "C"]), Manifest::mutation)
}

/// Paths of two values in a Gray code: one turns only where the one before it is B and all earlier
/// ones are A, so that no bound helps and nearly all states are met.
pub(super) fn dense(count: usize) -> Manifest {
    let flip = |number: usize, name: &str, from: &str, to: &str| {
        let flip = MutationSpec::new(&format!("{name}{number}"));
        let flip = flip.changes(&path(number), from, to);
        (0..number).fold(flip, |flip, earlier| {
            let value = if earlier + 1 == number { "B" } else { "A" };
            flip.requires(&format!("{} = {value}", path(earlier)))
        })
    };
    let flips = (0..count)
        .flat_map(|number| [flip(number, "Up", "A", "B"), flip(number, "Down", "B", "A")]);
    flips.fold(paths(count, &["A", "B"]), Manifest::mutation)
}
