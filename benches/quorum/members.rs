//! Our side: three members as whole-system tests start them, with defaults for everything but
//! their addresses and the folder of their data.

use std::{collections::BTreeMap, net::SocketAddr, path::Path};

use anyhow::{Context as _, Result};
use kraken_testkit::{
    cluster::{Shape, TestCluster},
    process::Process,
};
use tempfile::TempDir;

use super::{rest::Rest, system::MEMBERS};

/// Three members.
pub(crate) struct Members {
    names: Vec<String>,
    addresses: Vec<SocketAddr>,
    /// Before the folder, which goes only after its users.
    cluster: TestCluster,
    folder: TempDir,
}

impl Members {
    pub(crate) async fn start(program: &str, folder: &Path) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("kraken-bench-").tempdir_in(folder)?;
        let names: Vec<String> = (1..=MEMBERS).map(|number| format!("m{number}")).collect();
        let at = |name: &String| (name.clone(), folder.path().join(name));
        let data: BTreeMap<_, _> = names.iter().map(at).collect();
        let shape = Shape { data, ..Shape::of(MEMBERS, 0) };
        let cluster = TestCluster::start(program, &shape).await?;
        let address = |name: &String| {
            let url = cluster.url(name)?;
            Ok(url.trim_start_matches("http://").parse()?)
        };
        let addresses = names.iter().map(address).collect::<Result<Vec<SocketAddr>>>()?;
        let first = addresses.first().context("there are members")?;
        Rest::connect(*first).await?.declare().await?;
        Ok(Self { names, addresses, cluster, folder })
    }

    pub(crate) fn address(&self, member: usize) -> SocketAddr {
        self.addresses[member]
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn process(&self, member: usize) -> Result<Process> {
        self.cluster.job(&self.names[member])?.process()
    }

    pub(crate) fn kill9(&mut self, member: usize) -> Result<()> {
        self.cluster.kill9(&self.names[member])
    }

    pub(crate) fn start_again(&mut self, member: usize) -> Result<()> {
        self.cluster.start_node(&self.names[member]).map(drop)
    }

    /// Ends all of it; a defect that a member survived is a failure.
    pub(crate) fn end(self) -> Result<()> {
        self.cluster.pass()
    }
}
