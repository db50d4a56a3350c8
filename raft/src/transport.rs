//! How members talk: TCP, one connection a purpose, bounded frames, answers paired by number.

mod link;
mod network;
mod server;
#[cfg(test)]
mod tests;
mod wire;

pub(crate) use self::{
    link::{Link, LinkError},
    network::{Factory, Links, encoded, stranger},
    server::{Service, accept},
    wire::{Channel, Greeting, Hello, Reply, Request, VERSION, decode},
};
