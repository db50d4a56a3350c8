//! A cluster as it is founded by hand: a first member, a second one, and its way out again.

use std::{fs, path::Path, time::Duration};

use anyhow::{Result, ensure};
use kraken_testkit::{
    cli::Cli, edge::Edge, job::Job, lock::Lock, ports, process::Sweep, wait_until,
};

use crate::{
    KRAKEN,
    steady::Steady,
    transcript::{Book, cli},
};

/// How long anything may take on a busy machine.
const BOUND: Duration = Duration::from_secs(30);

/// A server that belongs to no cluster, and who speaks to it.
pub(crate) struct Server {
    _job: Job,
    pub(crate) edge: Edge,
    pub(crate) cli: Cli,
    raft: String,
}

/// A folder for servers, what sweeps it, and who writes down what is said there.
pub(crate) struct Stage {
    _lock: Lock,
    pub(crate) folder: tempfile::TempDir,
    _sweep: Sweep,
    pub(crate) steady: Steady,
}

impl Stage {
    pub(crate) fn set() -> Result<Self> {
        let lock = Lock::take()?;
        let folder = tempfile::Builder::new().prefix("kraken-golden-").tempdir()?;
        let sweep = Sweep::of(folder.path());
        let steady = Steady::new()?.also(folder.path().display().to_string(), "<folder>");
        Ok(Self { _lock: lock, folder, _sweep: sweep, steady })
    }

    /// Servers `a` and `b`, and a book.
    async fn two(&self) -> Result<(Server, Server, Book)> {
        let first = Server::start("a", self.folder.path()).await?;
        let second = Server::start("b", self.folder.path()).await?;
        Ok((first, second, Book::new(self.steady.clone())))
    }
}

impl Server {
    pub(crate) async fn start(name: &str, folder: &Path) -> Result<Self> {
        Self::start_with(name, folder, "").await
    }

    /// The same with more in its configuration.
    pub(crate) async fn start_with(name: &str, folder: &Path, more: &str) -> Result<Self> {
        let [http, raft, sync] = [ports::free()?, ports::free()?, ports::free()?];
        let folder = folder.join(name);
        fs::create_dir(&folder)?;
        let (config, data) = (folder.join("kraken.toml"), folder.join("data"));
        let node = format!("[node]\nname = \"{name}\"\ndata = \"{}\"\n", data.display());
        let listeners = [("http", http), ("raft", raft), ("sync", sync)];
        let listeners = listeners.map(|(table, at)| format!("[{table}]\nlisten = \"{at}\"\n"));
        fs::write(&config, node + &listeners.concat() + more)?;
        let job = Job::new(name, KRAKEN, &folder);
        let mut job = job.args(["server", "--exit-with-parent", "--config"]).args([config]);
        job.start()?;
        let url = format!("http://{http}");
        let server = Self {
            _job: job,
            edge: Edge::new(std::slice::from_ref(&url))?,
            cli: cli(&folder, &url)?,
            raft: raft.to_string(),
        };
        wait_until("it answers", BOUND, async || Ok(server.edge.cluster().await?)).await?;
        Ok(server)
    }

    pub(crate) async fn sees(&self, voters: usize) -> Result<()> {
        wait_until(&format!("{voters} vote"), BOUND, async || {
            let quorum = self.edge.cluster().await?;
            let voting = quorum.members.iter().filter(|member| member.voter).count();
            ensure!(voting == voters && quorum.leader.is_some(), "{quorum:?}");
            Ok(())
        })
        .await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_by_hand() -> Result<()> {
    let stage = Stage::set()?;
    let (first, second, mut book) = stage.two().await?;

    book.ends(&first.cli, "cluster_init", "cluster status", 0).await?;
    book.ends(&first.cli, "cluster_init", "cluster init", 0).await?;
    book.ends(&first.cli, "cluster_init", "cluster init", 4).await?;
    first.sees(1).await?;
    book.ends(&first.cli, "cluster_init", "cluster status", 0).await?;

    book.ends(&second.cli, "cluster_join", "get nodes", 1).await?;
    let join = format!("cluster join {}", first.raft);
    book.ends(&second.cli, "cluster_join", &join, 0).await?;
    second.sees(2).await?;
    book.ends(&second.cli, "cluster_join", &join, 4).await?;
    book.ends(&first.cli, "cluster_join", "cluster status", 0).await?;
    book.ends(&first.cli, "cluster_join", "cluster status -o json", 0).await?;

    book.ends(&first.cli, "cluster_remove", "cluster remove b", 0).await?;
    first.sees(1).await?;
    book.ends(&first.cli, "cluster_remove", "cluster status", 0).await?;
    book.ends(&first.cli, "cluster_remove", "cluster remove b", 1).await?;
    book.ends(&first.cli, "cluster_remove", "cluster remove a", 4).await?;
    book.close()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_does_not_vote_at_first() -> Result<()> {
    let stage = Stage::set()?;
    let (first, second, mut book) = stage.two().await?;
    first.cli.run(&["cluster", "init"]).await?;
    first.sees(1).await?;
    let join = format!("cluster join --learner {}", first.raft);
    book.ends(&second.cli, "cluster_promote", &join, 0).await?;
    first.sees(1).await?;
    book.ends(&first.cli, "cluster_promote", "cluster status", 0).await?;
    book.ends(&first.cli, "cluster_promote", "cluster leader b", 4).await?;
    book.ends(&first.cli, "cluster_promote", "cluster promote b", 0).await?;
    first.sees(2).await?;
    book.ends(&first.cli, "cluster_promote", "cluster promote c", 1).await?;
    book.close()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_from_a_backup_and_from_its_last_member() -> Result<()> {
    let stage = Stage::set()?;
    let (first, second, mut book) = stage.two().await?;
    first.cli.run(&["cluster", "init"]).await?;
    first.sees(1).await?;

    let page = "cluster_snapshot";
    book.ends(&first.cli, page, "cluster snapshot save ../all.backup", 0).await?;
    book.ends(&first.cli, page, "cluster snapshot save ../all.backup", 1).await?;
    book.ends(&first.cli, page, "cluster snapshot verify ../all.backup", 0).await?;
    book.ends(&first.cli, page, "cluster snapshot restore ../all.backup", 4).await?;
    book.ends(&second.cli, page, "cluster snapshot restore kraken.toml", 1).await?;
    book.ends(&second.cli, page, "cluster snapshot restore ../all.backup", 0).await?;
    second.sees(1).await?;

    let page = "cluster_recover";
    let recover = "cluster recover --data data";
    book.ends(&first.cli, page, recover, 4).await?;
    let (cli, lost) = (first.cli.clone(), "cluster recover --data data --others-are-lost");
    book.ends(&cli, page, lost, 1).await?;
    drop(first);
    book.ends(&cli, page, lost, 0).await?;
    book.ends(&cli, page, "cluster recover --data nothing --others-are-lost", 1).await?;
    book.close()
}
