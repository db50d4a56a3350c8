//! What nodes are called, where they are, and what stands in their configuration files.

use std::net::{Ipv4Addr, SocketAddr};

use anyhow::Result;

use super::{Addresses, GATEWAY};
use crate::lab::Lab;

/// How a member comes to a cluster.
#[derive(Debug, Clone, Copy)]
pub(super) enum Come {
    Found,
    Join(SocketAddr),
    /// Waits to be told.
    Wait,
}

/// What the member of this number, counted from 0, is called.
pub(super) fn member_name(index: usize) -> String {
    format!("m{}", index + 1)
}

/// A network for members, with an address for each.
pub(super) fn lab_of(members: usize) -> Result<Lab> {
    let hosts = (0..members).zip(1..).map(|(index, last)| {
        let [one, two, three, _] = GATEWAY.octets();
        (member_name(index), Ipv4Addr::new(one, two, three, last))
    });
    let hosts: Vec<(String, Ipv4Addr)> = hosts.collect();
    let hosts: Vec<_> = hosts.iter().map(|(name, address)| (name.as_str(), *address)).collect();
    Lab::new(GATEWAY, &hosts)
}

pub(super) fn member_config(own: Addresses, come: &Come, more: &str) -> String {
    let Addresses { http, raft, sync } = own;
    // Nobody else is in a network that was made for them.
    let insecure = !http.ip().is_loopback();
    let cluster = match come {
        Come::Found => "init = true".to_owned(),
        Come::Join(raft) => format!("join = [\"{raft}\"]"),
        Come::Wait => String::new(),
    };
    format!(
        "[http]\nlisten = \"{http}\"\ninsecure = {insecure}\n\
         [old]\nlisten = \"127.0.0.1:0\"\n\
         [raft]\nlisten = \"{raft}\"\ninsecure = {insecure}\n{more}\n\
         [sync]\nlisten = \"{sync}\"\ninsecure = {insecure}\n\
         [cluster]\n{cluster}\n"
    )
}

pub(super) fn leaf_config(parents: &[SocketAddr]) -> String {
    let parents: Vec<String> = parents.iter().map(ToString::to_string).collect();
    format!("[agent]\nparents = {parents:?}\n")
}

/// More of the table `agent`, and where leaves come in.
pub(super) fn relay_config(sync: SocketAddr) -> String {
    format!("relay = true\n[sync]\nlisten = \"{sync}\"\n")
}
