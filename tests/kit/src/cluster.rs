//! A cluster of real processes: members m1, m2, .. and leaves n1, n2, .. of the very binary that
//! ships, each with a folder and ports of its own that it keeps over its restarts.

mod config;
mod members;

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fs,
    io::{self, Write as _},
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use kraken_http::view::ObjectView;
use nix::sys::signal::Signal;
use tempfile::TempDir;
use tokio::time::timeout;

use self::config::{Come, lab_of, leaf_config, member_config, member_name, relay_config};
use crate::{
    cli::Cli,
    clock::Kept,
    edge::Edge,
    job::Job,
    lab::{Host, Lab},
    lock::Lock,
    ports,
    process::{Process, Sweep},
    wait_until,
};

/// How long a cluster may take until all is attached.
const READY_MAX: Duration = Duration::from_mins(1);

/// This side of the network of members that have one of their own.
const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 78, 0, 254);

/// How long a member may take to say whether it leads.
const LOOK_MAX: Duration = Duration::from_millis(500);

/// Lines that a node may write to its log in one test.
const LOG_LINES_MAX: usize = 2_000;

impl Addresses {
    fn free() -> Result<Self> {
        Ok(Self { http: ports::free()?, raft: ports::free()?, sync: ports::free()? })
    }

    /// On a host of its own every port is free.
    fn on(host: &Host) -> Self {
        let at = |port| SocketAddr::from((host.address, port));
        Self { http: at(3141), raft: at(3143), sync: at(3144) }
    }
}

/// What a cluster is made of.
#[derive(Debug, Clone, Default)]
pub struct Shape {
    /// How many members.
    pub members: usize,
    /// How many leaves.
    pub leaves: usize,
    /// How many relays, to which the leaves attach where there are any.
    pub relays: usize,
    /// Data folders that are elsewhere, by node.
    pub data: BTreeMap<String, PathBuf>,
    /// More of the members' configuration, as it stands in the file.
    pub more: String,
    /// More keys of the members' table `raft`, a line each.
    pub raft: String,
    /// Whether each member has a network of its own, with cables that can be cut. Needs root.
    pub apart: bool,
    /// More of a node's configuration, by node: whole tables.
    pub config: BTreeMap<String, String>,
    /// How politely the nodes ask for a processor, as `nice` counts.
    pub nice: u8,
}

impl Shape {
    /// So many members and leaves.
    pub fn of(members: usize, leaves: usize) -> Self {
        Self { members, leaves, ..Self::default() }
    }
}

/// A cluster. When it is dropped, every process that belongs to its folder is ended, the managed
/// ones included; unless it [passed](Self::pass), the logs are shown.
#[derive(Debug)]
pub struct TestCluster {
    nodes: BTreeMap<String, Node>,
    program: PathBuf,
    passed: bool,
    raft: String,
    // In the order in which they go: the processes, the network, the folder, the right to run.
    _sweep: Sweep,
    clocks: Kept,
    lab: Option<Lab>,
    folder: TempDir,
    _lock: Lock,
}

#[derive(Debug)]
struct Node {
    job: Job,
    data: PathBuf,
    is_paused: AtomicBool,
    /// Where a member is.
    http: Option<SocketAddr>,
    raft: Option<SocketAddr>,
    sync: Option<SocketAddr>,
}

/// The addresses of a member.
#[derive(Debug, Clone, Copy)]
struct Addresses {
    http: SocketAddr,
    raft: SocketAddr,
    sync: SocketAddr,
}

impl Node {
    fn is_at(&mut self, at: Addresses) {
        (self.http, self.raft, self.sync) = (Some(at.http), Some(at.raft), Some(at.sync));
    }

    fn addresses(&self) -> Option<Addresses> {
        Some(Addresses { http: self.http?, raft: self.raft?, sync: self.sync? })
    }
}

impl TestCluster {
    /// Starts a cluster and waits until all members vote and all leaves are attached.
    pub async fn start(program: &str, shape: &Shape) -> Result<Self> {
        let mut cluster = Self::prepare(program, shape)?;
        for node in cluster.nodes.values_mut() {
            node.job.start()?;
        }
        cluster.ready().await?;
        Ok(cluster)
    }

    /// The same, with nothing started yet.
    pub fn prepare(program: &str, shape: &Shape) -> Result<Self> {
        let lock = Lock::take()?;
        let folder = tempfile::Builder::new().prefix("kraken-cluster-").tempdir()?;
        let lab = shape.apart.then(|| lab_of(shape.members)).transpose()?;
        let addresses = (0..shape.members).map(|index| match &lab {
            Some(lab) => Ok(Addresses::on(lab.host(&member_name(index))?)),
            None => Addresses::free(),
        });
        let addresses = addresses.collect::<Result<Vec<Addresses>>>()?;
        let mut cluster = Self {
            nodes: BTreeMap::new(),
            program: program.into(),
            passed: false,
            raft: shape.raft.clone(),
            _sweep: Sweep::of(folder.path()),
            clocks: Kept::default(),
            lab,
            folder,
            _lock: lock,
        };
        for (index, member) in addresses.iter().enumerate() {
            let come = match addresses.first().filter(|_| index > 0) {
                None => Come::Found,
                Some(founder) => Come::Join(founder.raft),
            };
            let config = member_config(*member, &come, &shape.raft) + &shape.more;
            cluster.add(&member_name(index), "server", &config, shape)?;
        }
        let mut parents: Vec<SocketAddr> = addresses.iter().map(|member| member.sync).collect();
        let relays = (1..=shape.relays).map(|relay| Ok((format!("r{relay}"), ports::free()?)));
        let relays = relays.collect::<Result<Vec<(String, SocketAddr)>>>()?;
        for (relay, sync) in &relays {
            let config = leaf_config(&parents) + &relay_config(*sync);
            cluster.add(relay, "agent", &config, shape)?;
            cluster.nodes.get_mut(relay).context("it was just added")?.sync = Some(*sync);
        }
        if !relays.is_empty() {
            parents = relays.into_iter().map(|(_, sync)| sync).collect();
        }
        for leaf in 1..=shape.leaves {
            cluster.add(&format!("n{leaf}"), "agent", &leaf_config(&parents), shape)?;
        }
        for (index, member) in addresses.iter().enumerate() {
            let node = cluster.nodes.get_mut(&member_name(index));
            node.context("a member")?.is_at(*member);
        }
        Ok(cluster)
    }

    fn add(&mut self, name: &str, verb: &str, config: &str, shape: &Shape) -> Result<()> {
        let folder = self.folder.path().join(name);
        fs::create_dir(&folder)?;
        let data = shape.data.get(name).cloned().unwrap_or_else(|| folder.join("data"));
        let file = folder.join("kraken.toml");
        let place = data.display();
        let more = shape.config.get(name).map(String::as_str).unwrap_or_default();
        fs::write(&file, format!("[node]\nname = \"{name}\"\ndata = \"{place}\"\n{config}{more}"))?;
        let host = self.lab.as_ref().and_then(|lab| lab.host(name).ok());
        let mut words: Vec<OsString> =
            host.map(Host::prefix).unwrap_or_default().into_iter().map(Into::into).collect();
        if shape.nice > 0 {
            // It becomes the program, as what gives it a network does.
            words.extend(["nice".into(), "-n".into(), shape.nice.to_string().into()]);
        }
        words.push(self.program.clone().into());
        let job = Job::new(name, words.remove(0), &folder).args(words);
        let job = job.args([verb, "--exit-with-parent", "--config"]).args([file]);
        let is_paused = AtomicBool::new(false);
        let node = Node { job, data, is_paused, http: None, raft: None, sync: None };
        self.nodes.insert(name.to_owned(), node);
        Ok(())
    }

    /// Waits until all members vote and can serve, and all nodes are attached.
    pub async fn ready(&self) -> Result<()> {
        let members = self.members();
        let edge = self.edge()?;
        wait_until("all members vote", READY_MAX, async || {
            let quorum = edge.cluster().await?;
            let voters = quorum.members.iter().filter(|member| member.voter).count();
            ensure!(voters == members.len() && quorum.leader.is_some(), "{quorum:?}");
            Ok(())
        })
        .await?;
        for member in &members {
            let edge = self.edge_of(member)?;
            wait_until(&format!("{member} can serve"), READY_MAX, async || {
                Ok(edge.client().ready().await?)
            })
            .await?;
        }
        // A member attaches to the others: one that is alone, to nobody.
        let attaches = |node: &Node| node.http.is_none() || members.len() > 1;
        let nodes = self.names(attaches);
        let nodes: Vec<&str> = nodes.iter().map(String::as_str).collect();
        self.linked(&nodes, "UP", READY_MAX).await.map(drop)
    }

    /// The network of members that have one of their own.
    pub fn lab(&self) -> Result<&Lab> {
        self.lab.as_ref().context("the members have no network of their own")
    }

    /// The folder of all.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The names of the members.
    pub fn members(&self) -> Vec<String> {
        self.names(|node| node.http.is_some())
    }

    /// The names of the leaves, relays among them.
    pub fn leaves(&self) -> Vec<String> {
        self.names(|node| node.http.is_none())
    }

    /// The names of the relays.
    pub fn relays(&self) -> Vec<String> {
        self.names(|node| node.http.is_none() && node.sync.is_some())
    }

    fn names(&self, which: impl Fn(&Node) -> bool) -> Vec<String> {
        let chosen = self.nodes.iter().filter(|(_, node)| which(node));
        chosen.map(|(name, _)| name.clone()).collect()
    }

    /// What a node is run by.
    pub fn job(&self, name: &str) -> Result<&Job> {
        Ok(&self.nodes.get(name).with_context(|| format!("there is no {name}"))?.job)
    }

    fn job_mut(&mut self, name: &str) -> Result<&mut Job> {
        Ok(&mut self.nodes.get_mut(name).with_context(|| format!("there is no {name}"))?.job)
    }

    /// The URL of a member.
    pub fn url(&self, member: &str) -> Result<String> {
        let http = self.nodes.get(member).and_then(|node| node.http);
        Ok(format!("http://{}", http.with_context(|| format!("{member} is no member"))?))
    }

    /// Those of the members that are not paused: one that is takes a request and never answers.
    fn urls(&self) -> Vec<String> {
        let awake = self.nodes.values().filter(|node| !node.is_paused.load(Ordering::Relaxed));
        let all = awake.filter_map(|node| node.http);
        all.map(|http| format!("http://{http}")).collect()
    }

    /// A client of all members that are not paused, of which any may answer.
    pub fn edge(&self) -> Result<Edge> {
        Edge::new(&self.urls())
    }

    /// A client of one member.
    pub fn edge_of(&self, member: &str) -> Result<Edge> {
        Edge::new(&[self.url(member)?])
    }

    /// The command line of a person at another terminal.
    pub fn cli(&self) -> Cli {
        Cli::new(&self.program, &self.urls())
    }

    /// Starts a node that does not run.
    pub fn start_node(&mut self, name: &str) -> Result<Process> {
        let node = self.nodes.get_mut(name).with_context(|| format!("there is no {name}"))?;
        let process = node.job.start()?;
        *node.is_paused.get_mut() = false;
        self.clocks.add(process.pid);
        Ok(process)
    }

    /// Ends a node at once, as a crash does.
    pub fn kill9(&mut self, name: &str) -> Result<()> {
        self.job_mut(name)?.kill9()
    }

    /// Asks a node to end, and waits until it has in good order.
    pub async fn terminate(&mut self, name: &str, bound: Duration) -> Result<()> {
        let job = self.job_mut(name)?;
        job.signal(Signal::SIGTERM)?;
        let status = job.end_within(bound).await?;
        ensure!(status.success(), "{name} ended with {status}; {}", job.tail());
        Ok(())
    }

    /// Whether a node does not run, be it that it was ended or that it ended by itself.
    pub fn has_ended(&mut self, name: &str) -> Result<bool> {
        let job = self.job_mut(name)?;
        Ok(!job.was_started() || job.ended()?.is_some())
    }

    /// Waits until a node has ended by itself, and returns its exit code.
    pub async fn ended(&mut self, name: &str, bound: Duration) -> Result<Option<i32>> {
        Ok(self.job_mut(name)?.end_within(bound).await?.code())
    }

    /// Stops a node where it is, without its knowledge.
    pub fn pause(&self, name: &str) -> Result<()> {
        self.set_paused(name, true)
    }

    /// Lets a paused node go on.
    pub fn resume(&self, name: &str) -> Result<()> {
        self.set_paused(name, false)
    }

    fn set_paused(&self, name: &str, is_paused: bool) -> Result<()> {
        let node = self.nodes.get(name).with_context(|| format!("there is no {name}"))?;
        node.job.signal(if is_paused { Signal::SIGSTOP } else { Signal::SIGCONT })?;
        node.is_paused.store(is_paused, Ordering::Relaxed);
        Ok(())
    }

    /// The member that leads now, once it says so itself.
    pub async fn leader(&self) -> Result<String> {
        wait_until("a member leads", Duration::from_secs(15), async || {
            for member in self.members() {
                let runs = self.job(&member)?.process().is_ok();
                if !runs {
                    continue;
                }
                // One that sleeps, or that nobody reaches, is not waited for.
                let edge = self.edge_of(&member)?;
                let answer = timeout(LOOK_MAX, edge.cluster()).await;
                if answer.is_ok_and(|quorum| quorum.is_ok_and(|quorum| quorum.role == "LEADER")) {
                    return Ok(member);
                }
            }
            bail!("nobody does")
        })
        .await
    }

    /// Waits until the link of nodes is as said; returns how long that took.
    pub async fn linked(&self, nodes: &[&str], link: &str, bound: Duration) -> Result<Duration> {
        let (since, edge) = (Instant::now(), self.edge()?);
        wait_until(&format!("the link of {nodes:?} is {link}"), bound, async || {
            let seen = edge.nodes().await?;
            for node in nodes {
                let now = seen.get(*node).map(|view| text(view, "/link"));
                ensure!(now.as_deref() == Some(link), "that of {node} is {now:?}");
            }
            Ok(since.elapsed())
        })
        .await
    }

    /// Waits until nodes have converged, all that was written to them before included; returns how
    /// all nodes are then.
    pub async fn converged(
        &self,
        nodes: &[&str],
        bound: Duration,
    ) -> Result<BTreeMap<String, ObjectView>> {
        let edge = self.edge()?;
        wait_until(&format!("{nodes:?} have converged"), bound, async || {
            let seen = edge.nodes().await?;
            for node in nodes {
                let view = seen.get(*node).with_context(|| format!("there is no {node}"))?;
                let status = view.status.as_ref();
                let status = status.with_context(|| format!("nobody decides for {node}"))?;
                let there = status.phase == "Converged" && status.revision >= view.revision;
                ensure!(there, "{node} at {}: {status:?}, seen: {:?}", view.revision, view.dsc);
            }
            Ok(seen)
        })
        .await
    }

    /// The managed processes, by node and service, of which each that is told as running is read
    /// from the machine as well.
    pub async fn services(&self) -> Result<BTreeMap<(String, String), Process>> {
        services(&self.edge()?.nodes().await?)
    }

    /// The test has come to its end: there is nothing to show. A defect that a node survived counts
    /// as a failure all the same, and so does a node that says the same thing without end.
    pub fn pass(self) -> Result<()> {
        self.pass_within(LOG_LINES_MAX)
    }

    /// The same with another number of lines that a node may have written to its log.
    pub fn pass_within(mut self, log_lines_max: usize) -> Result<()> {
        for node in self.nodes.values() {
            let errors = node.job.errors();
            let defect = errors.lines().find(|line| line.contains("panicked at"));
            ensure!(defect.is_none(), "{}: {defect:?}", node.job.name());
            let lines = errors.lines().count();
            ensure!(lines < log_lines_max, "{} wrote {lines} lines", node.job.name());
        }
        self.passed = true;
        Ok(())
    }
}

/// The managed processes that nodes tell of, by node and service, each read from the machine.
pub fn services(
    nodes: &BTreeMap<String, ObjectView>,
) -> Result<BTreeMap<(String, String), Process>> {
    let mut found = BTreeMap::new();
    for (node, view) in nodes {
        let services = view.dsc.as_ref().and_then(|dsc| dsc.get("services")?.as_object());
        for (service, seen) in services.into_iter().flatten() {
            let Some(pid) = seen.get("pid").and_then(serde_json::Value::as_i64) else { continue };
            let process = Process::of(i32::try_from(pid)?);
            let process =
                process.with_context(|| format!("{service} of {node}: no process {pid}"))?;
            found.insert((node.clone(), service.clone()), process);
        }
    }
    Ok(found)
}

/// What was seen of a node at a path, as text; empty where it is unknown.
pub fn text(view: &ObjectView, path: &str) -> String {
    let seen = view.dsc.as_ref().and_then(|dsc| dsc.pointer(path));
    match seen {
        Some(serde_json::Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
        None => String::new(),
    }
}

impl Drop for TestCluster {
    fn drop(&mut self) {
        for node in self.nodes.values().filter(|_| !self.passed) {
            // Nobody to show it to is no other failure.
            drop(writeln!(io::stderr(), "--- {}", node.job.tail()));
        }
        // The processes first: then what they kept, and then the folder.
        self.nodes.clear();
    }
}
