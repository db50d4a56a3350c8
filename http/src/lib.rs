//! The edge: HTTP routes over the quorum and the state of a member, streams of changes and events,
//! and the one client of all that speaks to them.
//!
//! Nothing is decided here. A request becomes a proposal to the quorum or a reading of it; what is
//! flat inside becomes nested JSON ([`json`], [`view`]), and what goes wrong becomes a [`problem`].

mod api;
mod aside;
mod call;
pub mod client;
pub mod declaration;
mod document;
mod dry_run;
mod fields;
mod front;
mod guard;
mod gzip;
mod hub;
pub mod json;
mod manifest_schema;
mod media;
mod metrics;
pub mod old;
mod openapi;
mod origin;
pub mod problem;
mod query;
mod reply;
mod routes;
mod server;
mod socket;
mod spans;
pub mod state_file;
mod stream;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
#[cfg(test)]
mod tests;
pub mod time;
pub mod view;

pub use self::{
    api::Api,
    dry_run::{DryRun, Kind, Line, Outlook, Planned, WAVES_SHOWN_MAX, WaveView},
    origin::{NoOrigin, ORIGINS_MAX, Origin},
    reply::Written,
    routes::{Checked, ObjectPlan},
    server::{
        BODY_BYTES_MAX, DRAIN_TIMEOUT, Limits, Options, ServeError, Server, serve, serve_on,
        serve_with, serve_with_old,
    },
};
