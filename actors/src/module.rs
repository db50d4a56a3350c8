//! The SDK of module authors: what a module is, what it is asked, and what it may report.
//!
//! A module is an actix actor that implements [`Module`], handles [`Mutate`] and [`Poll`], and is
//! handed to a node as a [`Factory`]. It never decides: the engine plans, the module carries out
//! one mutation at a time and says what it sees. See `examples/lamp.rs` for a whole one.

pub mod authority;
#[cfg(any(test, feature = "testing"))]
pub mod conformance;
pub mod factory;
#[cfg(any(test, feature = "testing"))]
pub mod fake;
#[cfg(any(test, feature = "testing"))]
pub mod harness;
pub mod messages;
pub mod reporter;
#[cfg(test)]
pub(crate) mod wild;

use std::path::PathBuf;

use actix::{Actor, Context, Handler, ResponseFuture};
use kraken_engine::{id::Name, manifest::Manifest};
use serde::de::DeserializeOwned;

pub use self::{
    authority::Authority,
    factory::{Ended, Factory, Home, Running},
    messages::{Configure, ConfigureError, Looker, Mutate, MutateError, ObjectView, Poll},
    reporter::{Look, Report, Reporter, Sighted},
};

/// Requests that wait in a module's mailbox; at the bound the sender is answered BUSY.
pub const MODULE_MAILBOX_MAX: usize = 256;

/// A module actor.
///
/// Restarted by the node's module host when it panics or stops, with backoff; what it kept in
/// memory is then lost, so it must find again what it started (see `adopt` in the module
/// `service`).
///
/// It runs on a thread of its own, on which it is also built. An answer to [`Mutate`] that is
/// dropped, as by a panic in its future, counts as a panic of the module. Before it is ended in
/// good order it is asked for its [`shutdown`](Module::shutdown); after a panic, or when it hangs,
/// it is not.
pub trait Module: Actor<Context = Context<Self>> + Handler<Mutate> + Handler<Poll> {
    /// The module's own configuration, from the table `[modules.<name>]` of the node's file.
    type Config: DeserializeOwned + Default + Send + 'static;

    /// What the module can discover and change.
    fn manifest() -> Manifest;

    /// Makes the actor. An error is shown as the module's state and tried again with backoff.
    fn build(config: Self::Config, kit: Kit) -> Result<Self, ConfigureError>;

    /// The last work of this actor before it is ended, waited for within a bound (a few seconds);
    /// the cancel tokens of its attempts have fired already. What it starts is stopped here if the
    /// node stops and its configuration asks for that; when only the module ends, another one
    /// follows that must find things as they are.
    fn shutdown(&mut self, why: Stopping) -> ResponseFuture<()> {
        tracing::debug!(?why, "the module ends");
        Box::pin(async {})
    }

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

/// Why a module is asked to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stopping {
    /// The node stops.
    Node,
    /// The module alone is stopped or restarted, as for a changed configuration.
    Module,
}

/// Reads a module's configuration; an absent table is the default one.
pub fn read_config<M: Module>(config: serde_json::Value) -> Result<M::Config, ConfigureError> {
    if config.is_null() {
        return Ok(M::Config::default());
    }
    serde_json::from_value(config).map_err(|error| ConfigureError::Invalid(error.to_string()))
}
