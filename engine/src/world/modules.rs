//! What the modules of the world declare: services and a file, which each node keeps itself, and
//! machines, which the leader powers and boots.

use std::time::Duration;

use crate::{
    manifest::{
        Context, Extension, From, KindSpec, Manifest, MutationSpec, PathSpec, Retry, SeenBy, To,
        Type,
    },
    object::HOST_PATH,
    policy,
};

const RETRY: Retry = Retry { attempts_max: 4, backoff_initial_ms: 300, backoff_max_ms: 4_000 };

/// The services of every node.
pub(super) const SERVICES: [&str; 3] = ["db", "log", "web"];
/// The power of a machine.
pub(super) const PHYS: &str = "/physState";
/// How far a machine's system is.
pub(super) const RUN: &str = "/runState";
/// The kind of lamps, which belong to nodes.
pub(super) const LAMP_KIND: &str = "lamp";
/// Whether a lamp shines.
pub(super) const LIGHT: &str = "/light";
/// The kind of posts, which are kept by one node at a time.
pub(super) const POST_KIND: &str = "post";
/// Whether a post does its duty.
pub(super) const DUTY: &str = "/duty";
/// What stands in the file.
pub(super) const MOTD: &str = "/motd";

/// Whether a node is drained.
pub(super) const DRAIN: &str = "/drainState";
/// The modules that members run; leaves run all others.
pub(super) const MACHINES: [&str; 2] = ["lamps", "machine"];

/// All manifests.
pub(super) fn manifests() -> Vec<Manifest> {
    vec![services(), file(), machines(), lamps(), drains(), posts(), policy::manifest()]
}

/// The path of a service's state.
pub(super) fn service(name: &str) -> String {
    format!("/services/{name}/state")
}

fn mutation(name: &str, timeout_ms: u64) -> MutationSpec {
    MutationSpec::new(name).timeout(Duration::from_millis(timeout_ms)).retry(RETRY)
}

fn services() -> Manifest {
    const STATE: &str = "/services/*/state";
    let values = Type::enum_of(["STOP", "RUN", "STARTING", "FAILED"]);
    Manifest::new("service")
        .extension(Extension::new("service").path(PathSpec::new(STATE, values).absent("STOP")))
        .discovers(STATE)
        .mutation(
            mutation("Start", 4_000)
                .changes(STATE, From::one_of(["STOP", "FAILED"]), "RUN")
                .via(STATE, "STARTING")
                .cancellable(),
        )
        .mutation(mutation("Stop", 4_000).changes(STATE, From::one_of(["RUN", "STARTING"]), "STOP"))
        .mutation(mutation("Clear", 4_000).changes(STATE, "FAILED", "STOP"))
}

fn file() -> Manifest {
    Manifest::new("file")
        .extension(Extension::new("file").path(PathSpec::new(MOTD, Type::Text)))
        .discovers(MOTD)
        .mutation(mutation("Write", 3_000).changes(MOTD, From::Any, To::Cfg))
}

fn machines() -> Manifest {
    let phys = Type::enum_of(["OFF", "ON", "CYCLE", "HANG"]);
    let phys = PathSpec::new(PHYS, phys).seen_by(SeenBy::Parent);
    let run = PathSpec::new(RUN, Type::enum_of(["INIT", "SYNC"])).seen_by(SeenBy::Parent);
    let of = |name: &str| mutation(name, 6_000).context(Context::Parent);
    let inside = |name: &str, from: From, to: &str| {
        of(name).changes(RUN, from, to).requires("/physState = ON").cancellable()
    };
    Manifest::new("machine")
        .extension(Extension::new("machine").path(phys).path(run.known_while("/physState = ON")))
        .discovers(PHYS)
        .discovers(RUN)
        .mutation(of("Look").changes(PHYS, From::Unknown, "OFF").cancellable())
        .mutation(
            of("PowerOn")
                .changes(PHYS, "OFF", "ON")
                .changes(RUN, From::Any, "INIT")
                .fail_to(PHYS, "HANG"),
        )
        .mutation(of("PowerOff").changes(PHYS, "ON", "OFF").fail_to(PHYS, "HANG").disruptive())
        .mutation(of("Reset").changes(PHYS, "HANG", "OFF").via(PHYS, "CYCLE").disruptive())
        .mutation(of("Await").changes(PHYS, "CYCLE", "OFF").cancellable())
        .mutation(inside("LookInside", From::Unknown, "INIT"))
        .mutation(inside("Boot", "INIT".into(), "SYNC"))
}

/// Lamps, which the leader switches, and only while the machine of their node has power.
fn lamps() -> Manifest {
    let light = Type::enum_of(["DARK", "BRIGHT", "BROKEN"]);
    let light = PathSpec::new(LIGHT, light).seen_by(SeenBy::Parent).absent("DARK");
    let of = |name: &str| mutation(name, 3_000).kind(LAMP_KIND).context(Context::Parent);
    Manifest::new("lamps")
        .extension(Extension::new("lamp").kind(LAMP_KIND).path(light))
        .discovers(LIGHT)
        .mutation(of("Find").changes(LIGHT, From::Unknown, "DARK").cancellable())
        .mutation(of("Mend").changes(LIGHT, "BROKEN", "DARK").disruptive())
        .mutation(of("Darken").changes(LIGHT, "BRIGHT", "DARK").disruptive())
        .mutation(
            of("Lighten")
                .changes(LIGHT, "DARK", "BRIGHT")
                .requires("@owner /physState = ON")
                .fail_to(LIGHT, "BROKEN"),
        )
}

/// Posts, which must never be kept twice.
fn posts() -> Manifest {
    let duty = PathSpec::new(DUTY, Type::enum_of(["OFF", "ON", "FAILED"])).absent("OFF");
    let host = PathSpec::new(HOST_PATH, Type::Text).seen_by(SeenBy::Nobody);
    let of = |name: &str| mutation(name, 2_000).kind(POST_KIND);
    Manifest::new("post")
        .kind(KindSpec::new(POST_KIND).singleton(Duration::from_secs(5)))
        .extension(Extension::new("post").kind(POST_KIND).path(duty).path(host))
        .discovers(DUTY)
        .mutation(of("TakeUp").changes(DUTY, "OFF", "ON").cancellable())
        .mutation(of("LayDown").changes(DUTY, "ON", "OFF"))
        .mutation(of("Clear").changes(DUTY, "FAILED", "OFF"))
}

/// Draining, which the leader decides and each node carries out itself.
fn drains() -> Manifest {
    let drain = PathSpec::new(DRAIN, Type::enum_of(["NO", "DRAINED", "STUCK"]));
    let of = |name: &str| mutation(name, 5_000).context(Context::Node);
    Manifest::new("drain")
        .extension(Extension::new("drain").path(drain))
        .discovers(DRAIN)
        .mutation(of("Drain").changes(DRAIN, "NO", "DRAINED").fail_to(DRAIN, "STUCK").disruptive())
        .mutation(of("Resume").changes(DRAIN, "DRAINED", "NO").cancellable())
        .mutation(of("Release").changes(DRAIN, "STUCK", "NO"))
}
