//! The routes over a member in memory, through real sockets.

mod client;
mod conditions;
mod contract;
mod dashboard;
mod golden;
mod history;
mod kit;
mod limits;
mod modules;
mod negotiation;
mod old;
mod page;
mod problems;
mod routes;
mod schema;
mod sockets;
mod streams;
