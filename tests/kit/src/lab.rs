//! Machines that share nothing but a network: network namespaces, made with the `ip` of the system
//! and removed with it, whose cables end in a switch of ours. Needs root and `/dev/net/tun`.

mod switch;

use std::net::Ipv4Addr;

use anyhow::{Context as _, Result};

pub use self::switch::Quality;
use self::switch::Switch;
use crate::tool;

/// How all that a lab makes is named. One lab at a time, by the lock of clusters.
const LAB: &str = "krakenlab";

/// A switch with hosts on it, until dropped.
#[derive(Debug)]
pub struct Lab {
    switch: Switch,
    hosts: Vec<Host>,
}

/// One namespace.
#[derive(Debug, Clone)]
pub struct Host {
    /// Its name.
    pub name: String,
    /// Its address.
    pub address: Ipv4Addr,
    number: usize,
    space: String,
}

impl Lab {
    /// Makes a host for each name and address, and plugs this one in as `gateway`. All are of one
    /// network of 24 bits. What an earlier lab left is removed first.
    pub fn new(gateway: Ipv4Addr, hosts: &[(&str, Ipv4Addr)]) -> Result<Self> {
        let hosts = hosts.iter().zip(1..).map(|((name, address), number)| Host {
            name: (*name).to_owned(),
            address: *address,
            number,
            space: format!("{LAB}-{name}"),
        });
        let hosts: Vec<Host> = hosts.collect();
        remove(&hosts);
        let switch = Switch::start((0..=hosts.len()).map(cable).collect())?;
        let lab = Self { switch, hosts };
        ip(&format!("address add {gateway}/24 dev {}", cable(0)))?;
        ip(&format!("link set {} up", cable(0)))?;
        for host in &lab.hosts {
            host.plug_in()?;
        }
        Ok(lab)
    }

    /// A host by name.
    pub fn host(&self, name: &str) -> Result<&Host> {
        let found = self.hosts.iter().find(|host| host.name == name);
        found.with_context(|| format!("there is no host {name}"))
    }

    /// Pulls the cable of a host out of the switch.
    pub fn unplug(&self, name: &str) -> Result<()> {
        self.switch.rules().unplugged.insert(self.host(name)?.number);
        Ok(())
    }

    /// Puts it back.
    pub fn plug_back(&self, name: &str) -> Result<()> {
        self.switch.rules().unplugged.remove(&self.host(name)?.number);
        Ok(())
    }

    /// Lets nothing more of what one host sends reach another; the other way stays as it is.
    pub fn cut(&self, from: &str, to: &str) -> Result<()> {
        self.switch.rules().cut.insert((self.host(from)?.number, self.host(to)?.number));
        Ok(())
    }

    /// The same both ways, between all hosts of one side and all of the other.
    pub fn part(&self, one: &[String], other: &[String]) -> Result<()> {
        for (here, there) in one.iter().flat_map(|here| other.iter().map(move |o| (here, o))) {
            self.cut(here, there)?;
            self.cut(there, here)?;
        }
        Ok(())
    }

    /// What becomes of all that is sent to a host from now on.
    pub fn degrade(&self, host: &str, quality: Quality) -> Result<()> {
        self.switch.rules().quality.insert(self.host(host)?.number, quality);
        Ok(())
    }

    /// Takes back all cuts, and passes everything on as it comes.
    pub fn heal(&self) {
        let mut rules = self.switch.rules();
        rules.cut.clear();
        rules.quality.clear();
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        remove(&self.hosts);
    }
}

impl Host {
    /// What runs a program on the host: a program and its first arguments. It becomes the program,
    /// so that the pid is the program's own.
    pub fn prefix(&self) -> Vec<String> {
        vec!["nsenter".to_owned(), format!("--net=/run/netns/{}", self.space)]
    }

    fn plug_in(&self) -> Result<()> {
        let Self { space, number, address, .. } = self;
        ip(&format!("netns add {space}"))?;
        ip(&format!("link set {} netns {space} name eth0", cable(*number)))?;
        ip(&format!("-n {space} address add {address}/24 dev eth0"))?;
        ip(&format!("-n {space} link set eth0 up"))?;
        ip(&format!("-n {space} link set lo up"))
    }
}

/// What the cable of a host is called where it comes in; 0 is this one.
fn cable(number: usize) -> String {
    format!("{LAB}{number}")
}

fn remove(hosts: &[Host]) {
    for host in hosts {
        // What is not there cannot be removed, which is as good.
        drop(ip(&format!("netns delete {}", host.space)));
    }
}

fn ip(args: &str) -> Result<()> {
    tool::run("ip", args.split(' '))
}
