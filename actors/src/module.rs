//! The SDK of module authors: what a module is, what it is asked, and what it may report.
//!
//! A module is an actix actor that implements [`Module`], handles [`Mutate`] and [`Poll`], and is
//! handed to a node as a [`Factory`]. It never decides: the engine plans, the module carries out one
//! mutation at a time and says what it sees. See `examples/lamp.rs` for a whole one.

pub mod messages;
pub mod reporter;

use std::{path::PathBuf, sync::Arc};

use actix::{Actor, Addr, Arbiter, Context, Handler, Recipient};
use kraken_engine::{id::Name, manifest::Manifest};
use serde::de::DeserializeOwned;

pub use self::{
    messages::{Configure, ConfigureError, Mutate, MutateError, ObjectView, Poll},
    reporter::{Look, Report, Reporter, Sighted},
};

/// Requests that wait in a module's mailbox; at the bound the sender is answered BUSY.
pub const MODULE_MAILBOX_MAX: usize = 256;

/// A module actor.
///
/// Restarted by the node's module host when it panics or stops, with backoff; what it kept in memory
/// is then lost, so it must find again what it started (see `adopt` in the module `service`).
pub trait Module: Actor<Context = Context<Self>> + Handler<Mutate> + Handler<Poll> + Send {
    /// The module's own configuration, from the table `[modules.<name>]` of the node's file.
    type Config: DeserializeOwned + Default + Send + 'static;

    /// What the module can discover and change.
    fn manifest() -> Manifest;

    /// Makes the actor. An error is shown as the module's state and tried again with backoff.
    fn build(config: Self::Config, kit: Kit) -> Result<Self, ConfigureError>;

    /// The factory that a node is given. With this one a changed configuration restarts the module;
    /// one that handles [`Configure`] may return [`Factory::live`] instead.
    fn factory() -> Factory {
        Factory::of::<Self>()
    }
}

/// What a module is given when it is made.
#[derive(Clone)]
pub struct Kit {
    /// The node on which it runs.
    pub node: Name,
    /// A folder of its own, that survives restarts. Exists.
    pub data: PathBuf,
    /// Where it reports what it sees.
    pub reporter: Reporter,
}

/// Makes and remakes one module.
#[derive(Clone)]
pub struct Factory {
    manifest: Arc<Manifest>,
    start: Arc<StartModule>,
}

type StartModule =
    dyn Fn(serde_json::Value, Kit) -> Result<Running, ConfigureError> + Send + Sync + 'static;

/// A module that runs, on an arbiter of its own: one that blocks or panics costs no other.
pub struct Running {
    /// Takes mutations.
    pub mutate: Recipient<Mutate>,
    /// Takes requests to look.
    pub poll: Recipient<Poll>,
    /// Takes a changed configuration, where the module takes it live.
    pub configure: Option<Recipient<Configure>>,
    arbiter: Arbiter,
}

impl Factory {
    /// A module that is restarted when its configuration changes.
    pub fn of<M: Module>() -> Self {
        Self::with::<M>(|_| None)
    }

    /// A module that takes a changed configuration while it runs.
    pub fn live<M: Module + Handler<Configure>>() -> Self {
        Self::with::<M>(|address| Some(address.recipient()))
    }

    fn with<M: Module>(
        configure: impl Fn(Addr<M>) -> Option<Recipient<Configure>> + Send + Sync + 'static,
    ) -> Self {
        let start = move |config: serde_json::Value, kit: Kit| {
            let config = read_config::<M>(config)?;
            let module = M::build(config, kit)?;
            let arbiter = Arbiter::new();
            let address = M::start_in_arbiter(&arbiter.handle(), move |context| {
                context.set_mailbox_capacity(MODULE_MAILBOX_MAX);
                module
            });
            Ok(Running {
                mutate: address.clone().recipient(),
                poll: address.clone().recipient(),
                configure: configure(address),
                arbiter,
            })
        };
        Self { manifest: Arc::new(M::manifest()), start: Arc::new(start) }
    }

    /// What the module declares.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Starts the module on a new arbiter. Must be called within an actix system.
    pub fn start(&self, config: serde_json::Value, kit: Kit) -> Result<Running, ConfigureError> {
        (self.start)(config, kit)
    }
}

/// Reads a module's configuration; an absent table is the default one.
pub fn read_config<M: Module>(config: serde_json::Value) -> Result<M::Config, ConfigureError> {
    if config.is_null() {
        return Ok(M::Config::default());
    }
    serde_json::from_value(config).map_err(|error| ConfigureError::Invalid(error.to_string()))
}

impl Running {
    /// Whether the actor still takes messages.
    pub fn is_connected(&self) -> bool {
        self.mutate.connected()
    }

    /// Stops the arbiter and all that runs on it.
    pub fn stop(&self) {
        self.arbiter.stop();
    }
}
