//! What is under load: three members with defaults, and the objects of the leaves.

use std::{net::SocketAddr, path::Path, time::Duration};

use anyhow::{Context as _, Result, ensure};
use kraken_engine::{
    object::Labels,
    sync::pace::{BULK, HEARTBEAT_LABEL},
};
use kraken_http::client::{Client, ListQuery, TargetsQuery, WriteQuery};
use serde_json::{Value as Json, json};
use tokio::time::timeout;

use super::{LABEL, Load, leaf::name, orders::now};
use crate::{
    cluster::{Shape, TestCluster},
    process::Process,
    wait_until,
};

/// How many members.
pub(super) const MEMBERS: usize = 3;
/// Objects of one POST.
const BATCH_OBJECTS: usize = 1_000;
/// How long all members may take to know of all objects.
const KNOWN_MAX: Duration = Duration::from_mins(2);

/// The members.
pub(super) struct System {
    cluster: TestCluster,
    client: Client,
}

/// What members have used.
#[derive(Debug, Clone, Copy)]
pub(super) struct Used {
    /// Bytes that all of them hold.
    pub(super) memory: u64,
    /// Seconds of processors that all of them have had.
    pub(super) cpu: f64,
}

impl System {
    /// Three members that know of the leaves, and relays.
    pub(super) async fn start(load: &Load, folder: &Path) -> Result<Self> {
        let mut shape = Shape { relays: load.relays, ..Shape::of(MEMBERS, 0) };
        let members = (1..=MEMBERS).map(|number| format!("m{number}"));
        for name in members.chain((1..=load.relays).map(|number| format!("r{number}"))) {
            shape.data.insert(name.clone(), folder.join(name));
        }
        if !load.pace.is_normal() {
            // Relays with many leaves are as seldom heard of as those.
            let labels = format!("[node.labels]\n{HEARTBEAT_LABEL} = \"{BULK}\"\n");
            let relays = (1..=load.relays).map(|number| (format!("r{number}"), labels.clone()));
            shape.config.extend(relays);
        }
        let cluster = TestCluster::start(&load.program, &shape).await?;
        let client = cluster.edge()?.client().clone();
        let system = Self { cluster, client };
        system.client.add_modules(module().to_string()).await.context("the module of the load")?;
        system.create(load.leaves, &load.labels()?).await?;
        Ok(system)
    }

    async fn create(&self, leaves: usize, labels: &Labels) -> Result<()> {
        let numbers: Vec<usize> = (0..leaves).collect();
        for batch in numbers.chunks(BATCH_OBJECTS) {
            let node =
                |number: &usize| json!({ "name": name(*number), "labels": labels, "cfg": {} });
            let nodes: Vec<Json> = batch.iter().map(node).collect();
            self.client.raw_post("/v1/nodes", &nodes.into()).await.context("nodes")?;
        }
        let last = name(leaves.saturating_sub(1));
        for member in self.members() {
            let edge = self.cluster.edge_of(&member)?;
            let wanted = ListQuery {
                names: Some(last.clone()),
                consistency: Some("stale".to_owned()),
                ..ListQuery::default()
            };
            wait_until(&format!("{member} knows of all"), KNOWN_MAX, async || {
                let found = edge.client().get_nodes(&wanted).await?;
                ensure!(found.items.len() == 1, "not yet of {last}");
                Ok(())
            })
            .await?;
        }
        Ok(())
    }

    /// The names of the members that run.
    pub(super) fn members(&self) -> Vec<String> {
        self.cluster.members()
    }

    /// A client of one member.
    pub(super) fn client_of(&self, member: &str) -> Result<Client> {
        Ok(self.cluster.edge_of(member)?.client().clone())
    }

    /// Where leaves attach.
    pub(super) fn parents(&self) -> Result<Vec<SocketAddr>> {
        self.parent_nodes().iter().map(|parent| self.cluster.sync(parent)).collect()
    }

    /// To whom leaves attach.
    fn parent_nodes(&self) -> Vec<String> {
        let relays = self.cluster.relays();
        if relays.is_empty() { self.members() } else { relays }
    }

    fn processes(&self) -> Result<Vec<Process>> {
        self.members().iter().map(|member| self.cluster.job(member)?.process()).collect()
    }

    /// What all members have used up to now.
    pub(super) fn used(&self) -> Result<Used> {
        let processes = self.processes()?;
        Ok(Used {
            memory: processes.iter().map(Process::memory).sum::<Result<u64>>()?,
            cpu: processes.iter().map(Process::cpu_seconds).sum::<Result<f64>>()?,
        })
    }

    /// Has one leaf be asked for a word; returns when that was sent and when it was accepted.
    pub(super) async fn ask_one(&self, leaf: usize, word: i64) -> Result<(u64, u64)> {
        let (sent, how) = (now(), WriteQuery::default());
        self.client.patch("node", &name(leaf), &cfg(word), &how).await?;
        Ok((sent, now()))
    }

    /// Has all leaves be asked for a word, by one write.
    pub(super) async fn ask_all(&self, word: i64) -> Result<(u64, u64)> {
        let all = TargetsQuery::Selector(format!("{}={}", LABEL.0, LABEL.1));
        let sent = now();
        self.client.patch_nodes(&all, &cfg(word), &WriteQuery::default()).await?;
        Ok((sent, now()))
    }

    /// Kills a member that does not lead, or a relay, as a crash does; returns where leaves were
    /// attached to it.
    pub(super) async fn lose_one(&mut self) -> Result<(SocketAddr, u64)> {
        let leader = self.cluster.leader().await?;
        let other = self.parent_nodes().into_iter().find(|parent| *parent != leader);
        let other = other.context("only one parent")?;
        let sync = self.cluster.sync(&other)?;
        let at = now();
        self.cluster.kill9(&other)?;
        Ok((sync, at))
    }

    /// Ends all; a defect that a member survived is a failure.
    pub(super) fn end(self) -> Result<()> {
        self.cluster.pass_within(usize::MAX)
    }
}

fn cfg(word: i64) -> Json {
    json!({ "load": { "word": word } })
}

/// What is declared for the leaves: a word that they are asked for, and something that they see.
fn module() -> Json {
    json!({
        "kind": "module", "name": "load", "discovers": [super::SEEN_PATH],
        "extensions": [{ "name": "load", "paths": [
            { "path": super::WORD_PATH, "type": "count", "setBy": "user", "seenBy": "nobody" },
            { "path": super::SEEN_PATH, "type": "count", "setBy": "nobody" },
        ] }],
    })
}

/// Lets time pass while others are measured.
pub(super) async fn pass(time: Duration) {
    drop(timeout(time, std::future::pending::<()>()).await);
}
