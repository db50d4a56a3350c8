//! The peer: three etcd with defaults for everything but their addresses and folders. Each syncs
//! its log before it answers, as ours do.

use std::{
    env, fs,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use kraken_testkit::{
    job::Job,
    ports,
    process::{Process, Sweep},
};
use tempfile::TempDir;

use super::system::MEMBERS;

/// Three of them.
pub(crate) struct Etcd {
    members: Vec<Member>,
    // In the order in which they go: the processes, then the folder.
    _sweep: Sweep,
    folder: TempDir,
}

struct Member {
    job: Job,
    address: SocketAddr,
}

/// Where the program is, where it is installed.
pub(crate) fn program() -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    env::split_paths(&path).map(|folder| folder.join("etcd")).find(|file| file.is_file())
}

impl Etcd {
    pub(crate) fn start(folder: &Path) -> Result<Self> {
        let program = program().context("there is no etcd")?;
        let folder = tempfile::Builder::new().prefix("etcd-bench-").tempdir_in(folder)?;
        let ports = || (0..MEMBERS).map(|_| ports::free()).collect::<Result<Vec<SocketAddr>>>();
        let (clients, peers) = (ports()?, ports()?);
        let named = |(number, peer): (usize, &SocketAddr)| format!("e{number}=http://{peer}");
        let cluster: Vec<String> = peers.iter().enumerate().map(named).collect();
        let mut members = Vec::new();
        for (number, (client, peer)) in clients.iter().zip(&peers).enumerate() {
            let name = format!("e{number}");
            let own = folder.path().join(&name);
            fs::create_dir(&own)?;
            let (client_url, peer_url) = (format!("http://{client}"), format!("http://{peer}"));
            let job = Job::new(&name, &program, &own).args([
                "--name",
                &name,
                "--data-dir",
                &own.join("data").display().to_string(),
                "--listen-client-urls",
                &client_url,
                "--advertise-client-urls",
                &client_url,
                "--listen-peer-urls",
                &peer_url,
                "--initial-advertise-peer-urls",
                &peer_url,
                "--initial-cluster",
                &cluster.join(","),
            ]);
            members.push(Member { job, address: *client });
        }
        let mut etcd = Self { members, _sweep: Sweep::of(folder.path()), folder };
        for member in &mut etcd.members {
            member.job.start()?;
        }
        Ok(etcd)
    }

    pub(crate) fn address(&self, member: usize) -> SocketAddr {
        self.members[member].address
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn process(&self, member: usize) -> Result<Process> {
        self.members[member].job.process()
    }

    pub(crate) fn kill9(&mut self, member: usize) -> Result<()> {
        self.members[member].job.kill9()
    }

    pub(crate) fn start_again(&mut self, member: usize) -> Result<()> {
        self.members[member].job.start().map(drop)
    }
}
