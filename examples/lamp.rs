//! A whole `kraken` with a module in under 60 lines: a lamp that the parent of a node switches.
use std::{fs, process::ExitCode, sync::Arc};

use actix::{Actor, Context, Handler, ResponseFuture};
use kraken_actors::module::{ConfigureError, Kit, Module, Mutate, MutateError, ObjectView, Poll};
use kraken_engine::{
    manifest::{Context::Parent, Extension, Manifest, MutationSpec, PathSpec, SeenBy, Type},
    path::Path,
};
struct Lamp(Kit);

impl Module for Lamp {
    type Config = ();
    fn manifest() -> Manifest {
        let lamp = PathSpec::new("/lamp", Type::enum_of(["OFF", "ON"])).seen_by(SeenBy::Parent);
        let switch = |name| MutationSpec::new(name).context(Parent);
        Manifest::new("lamp")
            .extension(Extension::new("lamp").path(lamp))
            .discovers("/lamp")
            .mutation(switch("SwitchOn").changes("/lamp", "OFF", "ON"))
            .mutation(switch("SwitchOff").changes("/lamp", "ON", "OFF"))
    }
    fn build((): (), kit: Kit) -> Result<Self, ConfigureError> {
        Ok(Self(kit))
    }
}
/// A file of the node's name stands for its lamp.
async fn look(kit: Kit, nodes: Vec<Arc<ObjectView>>) {
    for node in nodes {
        let look = kit.reporter.look();
        let lamp = fs::read_to_string(kit.data.join(node.key.name.as_str()));
        let lamp = Some(lamp.unwrap_or("OFF".into()).into());
        look.saw(node.uid, Path::new("/lamp").map(|path| (path, lamp))).await;
    }
}
impl Actor for Lamp {
    type Context = Context<Self>;
}
impl Handler<Mutate> for Lamp {
    type Result = ResponseFuture<Result<(), MutateError>>;
    fn handle(&mut self, ask: Mutate, _: &mut Context<Self>) -> Self::Result {
        let lamp = if ask.mutation.as_str() == "SwitchOn" { "ON" } else { "OFF" };
        let switched = fs::write(self.0.data.join(ask.object.key.name.as_str()), lamp);
        let look = look(self.0.clone(), vec![ask.object]);
        Box::pin(async {
            look.await;
            switched.map_err(MutateError::transient)
        })
    }
}
impl Handler<Poll> for Lamp {
    type Result = ResponseFuture<()>;
    fn handle(&mut self, poll: Poll, _: &mut Context<Self>) -> Self::Result {
        Box::pin(look(self.0.clone(), poll.objects))
    }
}
fn main() -> ExitCode {
    kraken::run([Lamp::factory()])
}
