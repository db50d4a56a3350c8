//! The model of the fleet and every decision taken about it: pure, synchronous, deterministic.
//!
//! Nothing here asks a clock, a socket, a disk or a generator of random numbers: time, ids and bits
//! come in as arguments, effects go out as values. See ARCHITECTURE.md for which file holds what.

pub mod catalog;
pub mod check;
pub mod command;
pub mod decider;
pub mod dsc;
pub mod event;
pub mod explain;
pub mod fleet;
pub mod graph;
pub mod history;
pub mod id;
mod intern;
pub mod invariants;
pub mod journal;
pub mod machine;
pub mod manifest;
pub mod mutation;
pub mod nearest;
pub mod nodeset;
pub mod object;
pub mod order;
pub mod path;
pub mod planner;
pub mod policy;
pub mod predicate;
pub mod presumed;
pub mod route;
pub mod schema;
pub mod selector;
pub mod singleton;
pub mod span;
pub mod state;
pub mod status;
pub mod store;
pub mod sync;
pub mod time;
pub mod value;
pub mod view;
pub mod world;
