//! The routes over a member in memory, through real sockets.

mod client;
mod golden;
mod history;
mod kit;
mod limits;
mod modules;
mod old;
mod page;
mod problems;
mod routes;
mod streams;
