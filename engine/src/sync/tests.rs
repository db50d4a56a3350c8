//! The protocol, held to its two tables, to its bounds, to its bytes, and to a link that breaks.

mod audience;
mod below;
mod child;
mod delta;
mod kept;
mod kit;
mod link;
mod orders;
mod pace;
mod parent;
mod views;
mod wire;
