//! The peer of measurements: three etcd with defaults for everything but their addresses and
//! folders, and what is past given up after five minutes, as a server of Kubernetes asks of it
//! (`--etcd-compaction-interval`). Each syncs its log before it answers, as ours do.

mod body;
mod grpc;

use std::{
    env, fs,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use tempfile::TempDir;

pub use self::{
    body::Sent,
    grpc::{Grpc, GrpcWatch, Status},
};
use crate::{
    job::Job,
    ports,
    process::{Process, Sweep},
};

/// How it gives up what is past.
const COMPACTION: [&str; 2] = ["--auto-compaction-mode=periodic", "--auto-compaction-retention=5m"];
/// How many they are.
pub const MEMBERS: usize = 3;

/// Three of them.
pub struct Etcd {
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
pub fn program() -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    env::split_paths(&path).map(|folder| folder.join("etcd")).find(|file| file.is_file())
}

impl Etcd {
    /// Starts them with their data below `folder`.
    pub fn start(folder: &Path) -> Result<Self> {
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
            let job = Job::new(&name, &program, &own).args(COMPACTION).args([
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

    /// Where clients of one connect.
    pub fn address(&self, member: usize) -> SocketAddr {
        self.members[member].address
    }

    /// Where their data lies.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The process of one.
    pub fn process(&self, member: usize) -> Result<Process> {
        self.members[member].job.process()
    }

    /// Ends one as a crash does.
    pub fn kill9(&mut self, member: usize) -> Result<()> {
        self.members[member].job.kill9()
    }

    /// Starts one that has ended.
    pub fn start_again(&mut self, member: usize) -> Result<()> {
        self.members[member].job.start().map(drop)
    }
}
