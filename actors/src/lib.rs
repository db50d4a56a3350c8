//! The actor system of a node, and the SDK of module authors.
//!
//! actix, time and sockets live here; decisions do not: every actor is a mailbox round a struct of
//! `kraken_engine`, whose effects it carries out.

mod above;
pub mod clock;
pub mod dirty;
pub mod downlink;
mod feed;
pub mod host;
mod journal;
pub mod module;
pub mod node;
mod orders;
pub mod quorum;
pub mod reconciler;
mod registration;
pub mod spans;
pub mod state;
pub mod uplink;
mod whole;
mod wire;
