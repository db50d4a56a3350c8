//! The whole system as real processes of the very binary that ships: what it does when all is well,
//! and what when processes are killed, disks fill up and clients misbehave.
//!
//! One cluster runs at a time. What a test measures it tells as `measured: ..`; what it cannot do
//! on this machine as `skipped: ..`, unless `KRAKEN_REQUIRE=all` forbids that.

mod bench;
mod book;
mod contract;
mod disk;
// The measurement itself, for its small form.
#[path = "../../benches/edge/measure.rs"]
mod edge;
mod epochs;
mod failover;
mod fanout;
mod first_run;
mod healing;
mod input;
mod leaf;
mod manifests;
mod membership;
mod modules;
mod old;
mod orders;
mod page;
mod partition;
mod policies;
// The measurement itself, for its small form.
#[path = "../../benches/quorum/measure.rs"]
mod quorum;
mod relays;
mod rollout;
mod terminal;
mod three_nodes;
mod traces;
mod watcher;
mod writes;

/// The binary under test.
const KRAKEN: &str = env!("CARGO_BIN_EXE_kraken");
