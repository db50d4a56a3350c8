//! Machines that share nothing but a network: network namespaces on one bridge, made with the `ip`
//! of the system and removed with it; what is to be lost between them, `iptables` drops where it
//! would come in. Needs root.

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
    port: String,
}

impl Lab {
    /// Makes a host for each name and address, and gives this side of the bridge `gateway`. All are
    /// of one network of 24 bits. What an earlier lab left is removed first.
    pub fn new(gateway: Ipv4Addr, hosts: &[(&str, Ipv4Addr)]) -> Result<Self> {
        let hosts = hosts.iter().zip(1..).map(|((name, address), number)| Host {
            name: (*name).to_owned(),
            address: *address,
            space: format!("{BRIDGE}-{name}"),
            port: format!("{BRIDGE}{number}"),
        });
        let lab = Self { hosts: hosts.collect() };
        lab.remove();
        ip(&format!("link add {BRIDGE} type bridge"))?;
        ip(&format!("address add {gateway}/24 dev {BRIDGE}"))?;
        ip(&format!("link set {BRIDGE} up"))?;
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

    /// Pulls the cable of a host out of the bridge.
    pub fn unplug(&self, name: &str) -> Result<()> {
        ip(&format!("link set {} down", self.host(name)?.port))
    }

    /// Puts it back.
    pub fn plug_back(&self, name: &str) -> Result<()> {
        ip(&format!("link set {} up", self.host(name)?.port))
    }

    /// Lets nothing more of what one host sends reach another; the other way stays as it is.
    pub fn cut(&self, from: &str, to: &str) -> Result<()> {
        self.host(to)?.drops(&format!("-s {}", self.host(from)?.address))
    }

    /// The same both ways, between all hosts of one side and all of the other.
    pub fn part(&self, one: &[String], other: &[String]) -> Result<()> {
        for (here, there) in one.iter().flat_map(|here| other.iter().map(move |o| (here, o))) {
            self.cut(here, there)?;
            self.cut(there, here)?;
        }
        Ok(())
    }

    /// Loses so many percent of the packets that come to a host, whoever sent them.
    pub fn lose(&self, host: &str, percent: u32) -> Result<()> {
        let chance = f64::from(percent) / 100.0;
        let which = format!("-i eth0 -m statistic --mode random --probability {chance}");
        self.host(host)?.drops(&which)
    }

    /// Takes back all cuts and losses.
    pub fn heal(&self) -> Result<()> {
        self.hosts.iter().try_for_each(|host| host.iptables("-F INPUT"))
    }

    fn remove(&self) {
        // What is not there cannot be removed, which is as good. A veth goes with its namespace, if
        // only some time after that was deleted, and its name is wanted again at once.
        for host in &self.hosts {
            drop(ip(&format!("link delete {}", host.port)));
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

    /// Drops what comes in and is so.
    fn drops(&self, which: &str) -> Result<()> {
        self.iptables(&format!("-A INPUT {which} -j DROP"))
    }

    fn iptables(&self, args: &str) -> Result<()> {
        let net = format!("--net=/run/netns/{}", self.space);
        run("nsenter", &format!("{net} iptables -w {args}"))
    }

    fn plug_in(&self) -> Result<()> {
        let Self { space, port, address, .. } = self;
        ip(&format!("netns add {space}"))?;
        ip(&format!("link add {port} type veth peer name eth0 netns {space}"))?;
        ip(&format!("link set {port} master {BRIDGE} up"))?;
        ip(&format!("-n {space} address add {address}/24 dev eth0"))?;
        ip(&format!("-n {space} link set eth0 up"))?;
        ip(&format!("-n {space} link set lo up"))
    }
}

fn ip(args: &str) -> Result<()> {
    run("ip", args)
}

fn run(program: &str, args: &str) -> Result<()> {
    let output = Command::new(program).args(args.split(' ')).output();
    let output = output.with_context(|| format!("cannot run {program}"))?;
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{program} {args}: {}", errors.trim());
    Ok(())
}
