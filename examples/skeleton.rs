//! A whole `kraken` with the module `skeleton`, as `kraken module new` copies it: of each node it
//! keeps a switch, which is a file of the node's name. Put what is yours in the place of the file;
//! the tests at the end hold it to what every module must do.

use std::{fs, process::ExitCode, sync::Arc};

use actix::{Actor, Context, Handler, ResponseFuture};
use kraken_actors::module::{ConfigureError, Kit, Module, Mutate, MutateError, ObjectView, Poll};
use kraken_engine::{
    manifest::{Extension, Manifest, MutationSpec, PathSpec, Type},
    path::Path,
};

/// The module. It lives as long as its node runs, and is made again after a failure.
struct Skeleton(Kit);

impl Module for Skeleton {
    /// What operators may configure; serde reads it, and `()` is nothing.
    type Config = ();

    /// What it can see and change: everything else the engine finds out.
    fn manifest() -> Manifest {
        let switch = PathSpec::new("/skeleton", Type::enum_of(["OFF", "ON"]));
        Manifest::new("skeleton")
            .extension(Extension::new("skeleton").path(switch))
            .discovers("/skeleton")
            .mutation(MutationSpec::new("SwitchOn").changes("/skeleton", "OFF", "ON"))
            .mutation(MutationSpec::new("SwitchOff").changes("/skeleton", "ON", "OFF"))
    }

    fn build((): (), kit: Kit) -> Result<Self, ConfigureError> {
        Ok(Self(kit))
    }
}

/// Looks at the switches of these nodes, and reports what it sees.
async fn look(kit: Kit, nodes: Vec<Arc<ObjectView>>) {
    for node in nodes {
        // The look begins before the world is read, so that a change in between counts as newer.
        let look = kit.reporter.look();
        let seen = fs::read_to_string(kit.data.join(node.key.name.as_str()));
        let seen = seen.unwrap_or_else(|_| "OFF".to_owned());
        look.saw(node.uid, Path::new("/skeleton").map(|path| (path, Some(seen.into())))).await;
    }
}

impl Actor for Skeleton {
    type Context = Context<Self>;
}

impl Handler<Mutate> for Skeleton {
    type Result = ResponseFuture<Result<(), MutateError>>;

    /// Carries out one mutation; asked twice, it changes nothing more and succeeds.
    fn handle(&mut self, ask: Mutate, _: &mut Context<Self>) -> Self::Result {
        let switch = self.0.data.join(ask.object.key.name.as_str());
        let done = match ask.mutation.as_str() {
            "SwitchOn" => fs::write(switch, "ON").map_err(MutateError::transient),
            "SwitchOff" => fs::write(switch, "OFF").map_err(MutateError::transient),
            other => Err(MutateError::permanent(format!("there is no mutation {other}"))),
        };
        let look = look(self.0.clone(), vec![ask.object]);
        Box::pin(async {
            look.await;
            done
        })
    }
}

impl Handler<Poll> for Skeleton {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, poll: Poll, _: &mut Context<Self>) -> Self::Result {
        Box::pin(look(self.0.clone(), poll.objects))
    }
}

fn main() -> ExitCode {
    kraken::run([Skeleton::factory()])
}

#[cfg(test)]
mod tests {
    use kraken_actors::module::{
        conformance::{self, Case},
        fake,
        harness::{self, Harness, Time},
    };

    use super::*;

    #[test]
    fn what_is_switched_is_seen() {
        harness::run(Time::Paused, async {
            let node = fake::node("n1");
            let mut module = Harness::start(Skeleton::factory(), ().into()).await.unwrap();
            for (mutation, expected) in [("SwitchOn", "ON"), ("SwitchOff", "OFF")] {
                module.mutate(mutation, &[], &node).await.unwrap();
                assert_eq!(module.seen(&node, "/skeleton"), Some(&expected.into()));
            }
        });
    }

    #[test]
    fn it_does_what_every_module_must_do() {
        harness::run(Time::Paused, async {
            for mutation in ["SwitchOn", "SwitchOff"] {
                let case = Case::new(Skeleton::factory(), fake::node("n1"), mutation);
                assert_eq!(conformance::check(&case).await, []);
            }
        });
    }
}
