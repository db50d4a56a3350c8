//! A pump that the leader has switched on the node itself, and that writes down each time it is.

use std::{cell::Cell, io::Write, path::Path as File, rc::Rc, time::Duration};

use actix::{Actor, Context, Handler, ResponseFuture};
use kraken_engine::{
    id::Uid,
    manifest::{Context as Where, Extension, Manifest, MutationSpec, PathSpec, Type},
    path::Path,
};

use crate::module::{ConfigureError, Kit, Module, Mutate, MutateError, Poll};

/// How long the pump takes to start.
pub(super) const SLOW: Duration = Duration::from_millis(300);

pub(super) struct Pump {
    kit: Kit,
    state: Rc<Cell<(bool, bool)>>,
}

impl Actor for Pump {
    type Context = Context<Self>;
}

/// What the pump of a node has done, in order.
pub(super) fn deeds(folder: &File, node: &str) -> Vec<String> {
    let file = folder.join(node).join("modules/pump/deeds");
    let text = std::fs::read_to_string(file).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

impl Module for Pump {
    type Config = ();

    fn manifest() -> Manifest {
        let pump = Extension::new("pump")
            .path(PathSpec::new("/pump", Type::enum_of(["OFF", "ON"])))
            .path(PathSpec::new("/valve", Type::enum_of(["SHUT", "OPEN"])));
        let start = MutationSpec::new("Start").context(Where::Node).changes("/pump", "OFF", "ON");
        let purge = MutationSpec::new("Purge").context(Where::Node).disruptive();
        Manifest::new("pump")
            .extension(pump)
            .discovers("/pump")
            .discovers("/valve")
            .mutation(start.requires("/valve = SHUT"))
            .mutation(purge.changes("/valve", "SHUT", "OPEN"))
            .poll(Duration::from_mins(10))
    }

    fn build((): (), kit: Kit) -> Result<Self, ConfigureError> {
        Ok(Self { kit, state: Rc::default() })
    }
}

impl Pump {
    fn show(&self, uid: Uid) -> impl Future<Output = ()> + use<> {
        let (look, state) = (self.kit.reporter.look(), self.state.clone());
        async move {
            let (on, open) = state.get();
            let pump = if on { "ON" } else { "OFF" }.into();
            let valve = if open { "OPEN" } else { "SHUT" }.into();
            let values = [("/pump", pump), ("/valve", valve)];
            let values = values.map(|(at, value)| (Path::new(at).unwrap(), Some(value)));
            look.saw(uid, values).await;
        }
    }
}

impl Handler<Mutate> for Pump {
    type Result = ResponseFuture<Result<(), MutateError>>;

    fn handle(&mut self, mutate: Mutate, _: &mut Self::Context) -> Self::Result {
        let file = self.kit.data.join("deeds");
        let mut file = std::fs::OpenOptions::new().create(true).append(true).open(file).unwrap();
        writeln!(file, "{}", mutate.mutation).unwrap();
        let state = self.state.clone();
        let (on, open) = state.get();
        let shown = Pump { kit: self.kit.clone(), state: state.clone() };
        Box::pin(async move {
            mutate.reporter.progress(&mutate.attempt, "priming".to_owned()).await;
            let _primed = tokio::time::timeout(SLOW, std::future::pending::<()>()).await;
            match mutate.mutation.as_str() {
                "Start" => state.set((true, open)),
                _ => state.set((on, true)),
            }
            shown.show(mutate.object.uid).await;
            Ok(())
        })
    }
}

impl Handler<Poll> for Pump {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, poll: Poll, _: &mut Self::Context) -> Self::Result {
        let shown: Vec<_> = poll.objects.iter().map(|object| self.show(object.uid)).collect();
        Box::pin(async move {
            futures_util::future::join_all(shown).await;
        })
    }
}
