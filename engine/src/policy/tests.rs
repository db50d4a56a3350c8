//! Policies at work: what is refused at write and at apply, who goes next, and how rollouts go on.

mod admitted;
mod foreseen;
mod guarded;
mod kit;
mod rolled;
mod written;
