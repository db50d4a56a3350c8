//! A module that misbehaves on demand, for the tests of what must bear it.

use std::{future::pending, time::Duration};

use actix::{Actor, ActorContext, Context, Handler, ResponseFuture};
use kraken_engine::{
    id::Uid,
    manifest::{Extension, From, Manifest, MutationSpec, PathSpec, Type},
    path::Path,
    value::Value,
};
use serde::Deserialize;

use super::{
    Configure, ConfigureError, Factory, Kit, Module, Mutate, MutateError, Poll, Reporter, Stopping,
};

/// What [`Wild`] may do to an object, each under the name of a mutation.
pub(crate) const DEEDS: [&str; 10] =
    ["Fine", "Slow", "Fail", "Patient", "Hang", "Lie", "Panic", "PanicInside", "Quit", "Block"];
/// How long `Slow` takes.
pub(crate) const SLOW: Duration = Duration::from_secs(5);

/// The module.
pub(crate) struct Wild {
    level: i64,
    kit: Kit,
}

/// Its configuration.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct WildConfig {
    /// Shown at `/level`.
    level: i64,
    /// Does not start.
    refuses: bool,
    /// Panics when it is built.
    panics: bool,
}

impl Actor for Wild {
    type Context = Context<Self>;
}

impl Module for Wild {
    type Config = WildConfig;

    fn manifest() -> Manifest {
        let extension = Extension::new("wild")
            .path(PathSpec::new("/wild", Type::enum_of(["OFF", "ON"])))
            .path(PathSpec::fact("/level", Type::count()));
        let manifest = Manifest::new("wild")
            .extension(extension)
            .discovers("/wild")
            .discovers("/level")
            .poll(Duration::from_secs(10));
        DEEDS.into_iter().fold(manifest, |manifest, deed| {
            let timeout = Duration::from_secs(10);
            manifest.mutation(
                MutationSpec::new(deed).changes("/wild", From::Any, "ON").timeout(timeout),
            )
        })
    }

    fn build(config: WildConfig, kit: Kit) -> Result<Self, ConfigureError> {
        assert!(!config.panics, "told to panic");
        if config.refuses {
            return Err(ConfigureError::Start("told to refuse".to_owned()));
        }
        Ok(Self { level: config.level, kit })
    }

    fn shutdown(&mut self, why: Stopping) -> ResponseFuture<()> {
        let reporter = self.kit.reporter.clone();
        Box::pin(async move {
            reporter.event(Uid::from_bytes([0; 16]), format!("ends for {why:?}")).await;
        })
    }
}

impl Wild {
    pub(crate) fn live() -> Factory {
        Factory::live::<Self>()
    }
}

impl Handler<Mutate> for Wild {
    type Result = ResponseFuture<Result<(), MutateError>>;

    fn handle(&mut self, mutate: Mutate, context: &mut Context<Self>) -> Self::Result {
        match mutate.mutation.as_str() {
            "Panic" => panic!("told to panic"),
            "Quit" => context.stop(),
            "Block" => loop {
                std::thread::park();
            },
            _ => {}
        }
        Box::pin(misbehave(mutate))
    }
}

async fn misbehave(mutate: Mutate) -> Result<(), MutateError> {
    let uid = mutate.object.uid;
    match mutate.mutation.as_str() {
        "Slow" => {
            // Takes as long as nothing comes.
            let _nothing = tokio::time::timeout(SLOW, pending::<()>()).await;
        }
        "Fail" => return Err(MutateError::permanent("told to fail")),
        "Patient" => {
            mutate.cancel.cancelled().await;
            return Err(MutateError::Cancelled);
        }
        "Hang" | "Quit" => pending().await,
        "PanicInside" => panic!("told to panic inside"),
        "Lie" => see(&mutate.reporter, uid, "/not/mine", "LIE").await,
        _ => {}
    }
    see(&mutate.reporter, uid, "/wild", "ON").await;
    Ok(())
}

async fn see(reporter: &Reporter, uid: Uid, path: &str, value: impl Into<Value>) {
    reporter.look().saw(uid, [(Path::new(path).unwrap(), Some(value.into()))]).await;
}

impl Handler<Poll> for Wild {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, poll: Poll, _: &mut Context<Self>) -> Self::Result {
        let (reporter, level) = (self.kit.reporter.clone(), self.level);
        Box::pin(async move {
            for object in poll.objects {
                see(&reporter, object.uid, "/level", level).await;
            }
        })
    }
}

impl Handler<Configure> for Wild {
    type Result = Result<(), ConfigureError>;

    fn handle(&mut self, configure: Configure, _: &mut Context<Self>) -> Self::Result {
        let config = configure.read::<Self>()?;
        if config.refuses {
            return Err(ConfigureError::NeedsRestart);
        }
        self.level = config.level;
        Ok(())
    }
}
