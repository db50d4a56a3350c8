//! The module `ladder`: machines that come up in many steps, none of which takes any time. For
//! measuring how many steps a fleet is taken through in a second. It runs only on nodes whose
//! configuration has a table `[modules.ladder]`, which has no keys.
//!
//! # Paths of kind `node`, seen by the parent
//!
//! | path | values | meaning |
//! |---|---|---|
//! | `/ladder` | S0, S1, up to S47 | how far the machine is |
//!
//! # Mutations, decided by the leader
//!
//! | mutation | changes |
//! |---|---|
//! | Look | ladder: unknown to S0 (whatever is seen) |
//! | Step1 to Step47 | ladder: from the value before to the next |
//! | Restart | ladder: from any other value to S0 |
//!
//! A machine that this actor has not met stands where it was last seen, or at S0. Where each stands
//! is kept in the file `machines` of the module's folder: 20 bytes a machine, its uid and its step,
//! the numbers big-endian.
//!
//! Restarted by the module host on a panic and on a changed configuration; nothing is lost by that.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, Read},
    os::unix::fs::FileExt,
    path::Path as FilePath,
    sync::{Arc, Mutex, PoisonError},
};

use actix::{Actor, Context, Handler, ResponseFuture};
use kraken_actors::module::{
    ConfigureError, Kit, Module, Mutate, MutateError, ObjectView, Poll, Reporter,
};
use kraken_engine::{
    id::Uid,
    manifest::{Context as Lane, Extension, From, Manifest, MutationSpec, PathSpec, SeenBy, Type},
    path::Path,
};
use serde::Deserialize;

/// The steps of a ladder.
pub const LADDER_STEPS: u32 = 47;
const LADDER: &str = "/ladder";

/// The table `[modules.ladder]`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {}

/// The actor.
pub struct Ladder {
    machines: Arc<Machines>,
}

/// How far each machine is. Those of removed objects stay; there are as many as objects were worked
/// on.
struct Machines {
    steps: Mutex<Steps>,
    reporter: Reporter,
}

/// The steps of machines, in memory and in a file.
struct Steps {
    /// The place in the file and the step, by machine.
    held: BTreeMap<Uid, (u64, u32)>,
    file: File,
}

/// Bytes of a machine in the file.
const MACHINE_BYTES: usize = 20;

impl Steps {
    fn open(path: &FilePath) -> io::Result<Self> {
        let mut file =
            File::options().read(true).write(true).create(true).truncate(false).open(path)?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        // What a crash cut off at the end was a machine that was about to be met.
        let (machines, _) = bytes.as_chunks::<MACHINE_BYTES>();
        let read = |(place, machine): (u64, &[u8; MACHINE_BYTES])| {
            let (uid, step) = machine.split_last_chunk::<4>()?;
            let uid = Uid::from_bytes(uid.try_into().ok()?);
            Some((uid, (place, u32::from_be_bytes(*step).min(LADDER_STEPS))))
        };
        Ok(Self { held: (0..).zip(machines).filter_map(read).collect(), file })
    }

    /// Takes a machine to a step, if one is given, and tells where it stands.
    fn climb(&mut self, object: &ObjectView, to: Option<u32>) -> io::Result<u32> {
        let next = self.held.len() as u64;
        let held = self.held.get(&object.uid).copied();
        let (place, step) = held.unwrap_or_else(|| (next, last_seen(object)));
        let now = to.unwrap_or(step);
        if held != Some((place, now)) {
            let mut bytes = object.uid.to_bytes().to_vec();
            bytes.extend(now.to_be_bytes());
            self.file.write_all_at(&bytes, place * MACHINE_BYTES as u64)?;
            self.held.insert(object.uid, (place, now));
        }
        Ok(now)
    }
}

/// The value of `/ladder` after so many steps.
pub fn value(step: u32) -> String {
    format!("S{step}")
}

impl Module for Ladder {
    type Config = Config;

    fn manifest() -> Manifest {
        let path = PathSpec::new(LADDER, Type::Enum((0..=LADDER_STEPS).map(value).collect()))
            .seen_by(SeenBy::Parent)
            .doc("How far the machine is.");
        let mutation = |name: &str| MutationSpec::new(name).context(Lane::Parent);
        let look = mutation("Look").changes(LADDER, From::Unknown, value(0).as_str());
        let step = |step: u32| {
            let (from, to) = (value(step - 1), value(step));
            mutation(&format!("Step{step}")).changes(LADDER, from.as_str(), to.as_str())
        };
        let later = (1..=LADDER_STEPS).map(|step| value(step).into()).collect();
        let restart = mutation("Restart").changes(LADDER, From::In(later), value(0).as_str());
        let manifest = Manifest::new("ladder").mutation(look).mutation(restart);
        (1..=LADDER_STEPS)
            .map(step)
            .fold(manifest, Manifest::mutation)
            .doc("Machines of many steps that take no time, for measuring.")
            .extension(Extension::new("ladder").path(path))
            .discovers(LADDER)
    }

    fn build(_: Config, kit: Kit) -> Result<Self, ConfigureError> {
        let path = kit.data.join("machines");
        let steps = Steps::open(&path)
            .map_err(|error| ConfigureError::Start(format!("{}: {error}", path.display())))?;
        let machines = Machines { steps: Mutex::new(steps), reporter: kit.reporter };
        Ok(Self { machines: Arc::new(machines) })
    }
}

impl Actor for Ladder {
    type Context = Context<Self>;
}

impl Handler<Mutate> for Ladder {
    type Result = ResponseFuture<Result<(), MutateError>>;

    fn handle(&mut self, ask: Mutate, _: &mut Self::Context) -> Self::Result {
        let machines = self.machines.clone();
        Box::pin(async move {
            let step = match ask.mutation.as_str() {
                "Look" => None,
                "Restart" => Some(0),
                name => Some(step_of(name).ok_or_else(|| {
                    MutateError::permanent(format!("there is no mutation {name}"))
                })?),
            };
            machines
                .climb(&ask.object, step)
                .await
                .map_err(|error| MutateError::transient(format!("cannot keep it: {error}")))
        })
    }
}

impl Handler<Poll> for Ladder {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, poll: Poll, _: &mut Self::Context) -> Self::Result {
        let machines = self.machines.clone();
        Box::pin(async move {
            // What was seen of a machine stands: whoever takes it a step says so.
            let is_new = |object: &&Arc<ObjectView>| {
                object.cfg(LADDER).is_some() && !object.dsc.contains_key(LADDER)
            };
            for object in poll.objects.iter().filter(is_new) {
                if let Err(error) = machines.climb(object, None).await {
                    tracing::warn!(%error, "cannot keep where a machine stands");
                }
            }
        })
    }
}

impl Machines {
    /// Takes a machine to a step, if one is given, and reports where it stands.
    async fn climb(&self, object: &ObjectView, to: Option<u32>) -> io::Result<()> {
        let look = self.reporter.look();
        let step = self.steps.lock().unwrap_or_else(PoisonError::into_inner).climb(object, to)?;
        // The path is constant and valid.
        let path = Path::new(LADDER).ok();
        look.saw(object.uid, path.map(|path| (path, Some(value(step).into())))).await;
        Ok(())
    }
}

/// The step to which a mutation leads.
fn step_of(mutation: &str) -> Option<u32> {
    let step = mutation.strip_prefix("Step")?.parse().ok()?;
    (1..=LADDER_STEPS).contains(&step).then_some(step)
}

fn last_seen(object: &ObjectView) -> u32 {
    let seen = object.dsc.get(LADDER).and_then(|value| value.as_str());
    seen.and_then(|seen| seen.strip_prefix('S')?.parse().ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use kraken_actors::module::{
        conformance::{self, Case},
        fake,
        harness::{self, Harness, Time},
    };
    use kraken_engine::{catalog::Catalog, id::Name};
    use serde_json::json;

    use super::*;

    fn node() -> Arc<ObjectView> {
        fake::asked(&fake::node("n1"), LADDER, "S47")
    }

    #[test]
    fn a_machine_climbs_and_goes_on_from_where_it_was_seen() {
        harness::run(Time::Paused, async {
            let mut harness = Harness::start(Ladder::factory(), json!({})).await.unwrap();
            for (mutation, expected) in
                [("Look", "S0"), ("Step1", "S1"), ("Step47", "S47"), ("Restart", "S0")]
            {
                harness.mutate(mutation, &[], &node()).await.unwrap();
                assert_eq!(harness.seen(&node(), LADDER), Some(&expected.into()), "{mutation}");
            }
            let mut again = Harness::start(Ladder::factory(), json!({})).await.unwrap();
            let seen = fake::seen(&node(), LADDER, "S7");
            again.poll(std::slice::from_ref(&seen)).await;
            assert_eq!(again.seen(&seen, LADDER), None);
            again.mutate("Look", &[], &seen).await.unwrap();
            assert_eq!(again.seen(&seen, LADDER), Some(&"S7".into()));
        });
    }

    #[test]
    fn the_manifest_has_all_steps_and_the_module_keeps_the_rules() {
        let catalog = Catalog::build(&[Ladder::manifest()]).unwrap();
        let kind = catalog.kind(&Name::new("node").unwrap()).unwrap();
        assert_eq!(kind.mutations.len(), usize::try_from(LADDER_STEPS).unwrap() + 2);
        let case = Case::new(Ladder::factory(), node(), "Step1");
        assert_eq!(harness::run(Time::Paused, conformance::check(&case)), []);
    }
}
