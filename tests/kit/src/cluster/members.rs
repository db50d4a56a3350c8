//! Members that come and go: new ones, empty ones, and ones that come in another way.

use std::{fs, io::ErrorKind, net::SocketAddr, path::PathBuf};

use anyhow::{Context as _, Result, ensure};

use super::{
    Addresses, Shape, TestCluster,
    config::{Come, member_config},
};
use crate::{cli::Cli, clock};

impl TestCluster {
    /// Adds a member, which joins through another one once it is started.
    pub fn add_member(&mut self, via: &str) -> Result<String> {
        let number = self.members().iter().filter_map(|name| name[1..].parse::<u32>().ok()).max();
        let name = format!("m{}", number.unwrap_or_default() + 1);
        ensure!(self.lab.is_none(), "the network has no place for {name}");
        let at = Addresses::free()?;
        let config = member_config(at, &Come::Join(self.addresses(via)?.raft), &self.raft);
        self.add(&name, "server", &config, &Shape::default())?;
        self.nodes.get_mut(&name).context("it was just added")?.is_at(at);
        Ok(name)
    }

    /// Counts a member no longer, which does not run.
    pub fn forget(&mut self, member: &str) -> Result<()> {
        ensure!(self.job(member)?.process().is_err(), "{member} runs");
        self.nodes.remove(member);
        Ok(())
    }

    /// The data folder of a member.
    pub fn data(&self, member: &str) -> Result<PathBuf> {
        Ok(self.nodes.get(member).with_context(|| format!("there is no {member}"))?.data.clone())
    }

    /// Where leaves attach to a member or a relay.
    pub fn sync(&self, node: &str) -> Result<SocketAddr> {
        let sync = self.nodes.get(node).and_then(|node| node.sync);
        sync.with_context(|| format!("nothing attaches to {node}"))
    }

    /// Takes the data of a member away, which does not run.
    pub fn wipe(&self, member: &str) -> Result<()> {
        ensure!(self.job(member)?.process().is_err(), "{member} runs");
        match fs::remove_dir_all(self.data(member)?) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error.into()),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// Has a member join through another one when it is next started, or wait to be told where
    /// there is none.
    pub fn comes_by(&self, member: &str, via: Option<&str>) -> Result<()> {
        let come = match via {
            Some(via) => Come::Join(self.addresses(via)?.raft),
            None => Come::Wait,
        };
        let file = self.folder.path().join(member).join("kraken.toml");
        let before = fs::read_to_string(&file)?;
        let (node, _) = before.split_once("[http]").context("a member's configuration")?;
        let config = member_config(self.addresses(member)?, &come, &self.raft);
        fs::write(&file, format!("{node}{config}"))?;
        Ok(())
    }

    /// Has the wall clock of a member be off by so many seconds when it is next started.
    pub fn set_clock(&mut self, member: &str, seconds: i64) -> Result<()> {
        let library = clock::library().context("there is no libfaketime here")?;
        for (name, value) in clock::environment(library, seconds) {
            self.job_mut(member)?.set_env(name, value);
        }
        Ok(())
    }

    /// The command line of a person who speaks to one member.
    pub fn cli_of(&self, member: &str) -> Result<Cli> {
        Ok(Cli::new(&self.program, &[self.url(member)?]))
    }

    fn addresses(&self, member: &str) -> Result<Addresses> {
        let node = self.nodes.get(member).and_then(super::Node::addresses);
        node.with_context(|| format!("{member} is no member"))
    }
}
