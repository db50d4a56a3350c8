//! The transition table, row by row.

mod braked;
mod chosen;
mod disruptive;
mod failing;
mod flying;
mod frozen;
mod handed;
mod kit;
mod properties;
