//! Support for tests of the whole system: clusters of real processes of the very binary that ships,
//! conditions with a bound, readings of the machine's processes, and checks of what was written
//! against what is read.
//!
//! Tests with it take real time, so that [`wait_until`] is the only place that sleeps, and
//! [`lock::Lock`] lets one cluster run at a time.

pub mod appends;
pub mod browser;
mod chance;
pub mod cli;
pub mod clock;
pub mod cluster;
pub mod collector;
pub mod disk;
pub mod edge;
pub mod etcd;
mod failing;
pub mod history;
pub mod job;
pub mod lab;
pub mod load;
pub mod lock;
mod needs;
pub mod page;
pub mod ports;
pub mod process;
pub mod pty;
pub mod serial;
mod starve;
pub mod tool;
pub mod torture;
mod wait;
pub mod worlds;
pub mod writer;

pub use self::{
    needs::{is_root, measured, needs},
    wait::wait_until,
};
