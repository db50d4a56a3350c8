//! Machines that share nothing but a network: network namespaces on one bridge, made with the `ip`
//! of the system and removed with it. Needs root.

use std::{net::Ipv4Addr, process::Command};

use anyhow::{Context as _, Result, ensure};

/// The bridge; also how all else is named. One lab at a time, by the lock of clusters.
const BRIDGE: &str = "krakenlab";

/// A bridge with namespaces on it, until dropped.
#[derive(Debug)]
pub struct Lab {
    hosts: Vec<Host>,
}

/// One namespace.
#[derive(Debug, Clone)]
pub struct Host {
    /// Its name.
    pub name: String,
    /// Its address on the bridge.
    pub address: Ipv4Addr,
    space: String,
}

impl Lab {
    /// Makes a host for each name and address, and gives this side of the bridge `gateway`. All are
    /// of one network of 24 bits. What an earlier lab left is removed first.
    pub fn new(gateway: Ipv4Addr, hosts: &[(&str, Ipv4Addr)]) -> Result<Self> {
        let hosts = hosts.iter().map(|(name, address)| Host {
            name: (*name).to_owned(),
            address: *address,
            space: format!("{BRIDGE}-{name}"),
        });
        let lab = Self { hosts: hosts.collect() };
        lab.remove();
        ip(&format!("link add {BRIDGE} type bridge"))?;
        ip(&format!("address add {gateway}/24 dev {BRIDGE}"))?;
        ip(&format!("link set {BRIDGE} up"))?;
        for (host, number) in lab.hosts.iter().zip(1..) {
            host.plug_in(number)?;
        }
        Ok(lab)
    }

    /// The hosts, in the order in which they were asked for.
    pub fn hosts(&self) -> &[Host] {
        &self.hosts
    }

    fn remove(&self) {
        // What is not there cannot be removed, which is as good. A veth goes with its namespace.
        for host in &self.hosts {
            drop(ip(&format!("netns delete {}", host.space)));
        }
        drop(ip(&format!("link delete {BRIDGE}")));
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        self.remove();
    }
}

impl Host {
    /// What runs a program on the host: a program and its first arguments. It becomes the program,
    /// so that the pid is the program's own.
    pub fn prefix(&self) -> Vec<String> {
        vec!["nsenter".to_owned(), format!("--net=/run/netns/{}", self.space)]
    }

    fn plug_in(&self, number: usize) -> Result<()> {
        let Self { space, address, .. } = self;
        let port = format!("{BRIDGE}{number}");
        ip(&format!("netns add {space}"))?;
        ip(&format!("link add {port} type veth peer name eth0 netns {space}"))?;
        ip(&format!("link set {port} master {BRIDGE} up"))?;
        ip(&format!("-n {space} address add {address}/24 dev eth0"))?;
        ip(&format!("-n {space} link set eth0 up"))?;
        ip(&format!("-n {space} link set lo up"))
    }
}

fn ip(args: &str) -> Result<()> {
    let output = Command::new("ip").args(args.split(' ')).output().context("cannot run ip")?;
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "ip {args}: {}", errors.trim());
    Ok(())
}
