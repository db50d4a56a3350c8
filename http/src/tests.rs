//! The routes over a member in memory, through real sockets.

mod kit;
mod routes;
