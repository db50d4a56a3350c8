//! What `up` runs and where: the members and the leaves, their addresses, folders and configuration
//! files. Kept in the data folder, so that a later `up` on it goes on with the same.

use std::{
    fs,
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
};

use super::ports;
use crate::{
    config::{self, Cluster, Config, HTTP_PORT, Http, Listener, OLD_PORT},
    exit::Failure,
};
use anyhow::Context as _;
use kraken_engine::{id::Name, object::Labels, sync::parents::Parent};
use serde::{Deserialize, Serialize};

/// Members of the cluster.
pub(super) const MEMBERS: usize = 3;
/// Leaves unless asked for otherwise.
const LEAVES: usize = 8;
/// The file that keeps the layout.
const LAYOUT_FILE: &str = "up.toml";
/// A node's configuration, below its folder.
pub(super) const CONFIG_FILE: &str = "kraken.toml";
/// What a node writes to its standard outputs, below its folder.
pub(super) const LOG_FILE: &str = "kraken.log";
/// The folder that a node may call its own, below its folder.
const DATA_FOLDER: &str = "data";

/// What is asked for.
#[derive(Debug, Clone, Default)]
pub(crate) struct Wanted {
    /// How many leaves; absent: as before, else [`LEAVES`].
    pub(crate) leaves: Option<usize>,
    /// Where the first member serves HTTP; absent: as before, else the usual port.
    pub(crate) http: Option<SocketAddr>,
}

/// The members' addresses and the number of leaves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Layout {
    leaves: usize,
    members: Vec<MemberAddresses>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct MemberAddresses {
    http: SocketAddr,
    /// Where the WebSocket of the old surface is; absent in what an older release kept.
    #[serde(default)]
    old: Option<SocketAddr>,
    raft: SocketAddr,
    sync: SocketAddr,
}

/// What a node is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// Votes and serves clients.
    Member,
    /// Runs modules.
    Leaf,
}

impl Role {
    /// The verb that starts it.
    pub(super) fn verb(self) -> &'static str {
        match self {
            Self::Member => "server",
            Self::Leaf => "agent",
        }
    }

    /// As people call it.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Member => "member",
            Self::Leaf => "leaf",
        }
    }
}

/// One process to run.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    /// Its name.
    pub(crate) name: String,
    /// What it is.
    pub(crate) role: Role,
    /// Its folder.
    pub(crate) folder: PathBuf,
    /// Where it serves clients; members only.
    pub(crate) http: Option<SocketAddr>,
    /// Where it serves the WebSocket of the old surface; members only.
    pub(crate) old: Option<SocketAddr>,
}

impl Node {
    /// Its configuration file.
    pub(crate) fn config(&self) -> PathBuf {
        self.folder.join(CONFIG_FILE)
    }

    /// What it writes.
    pub(crate) fn log(&self) -> PathBuf {
        self.folder.join(LOG_FILE)
    }

    /// The folder that it may call its own.
    pub(super) fn data(&self) -> PathBuf {
        self.folder.join(DATA_FOLDER)
    }

    /// The address of a member, nothing of a leaf: nobody connects to one.
    pub(super) fn address(&self) -> String {
        self.http.map_or_else(|| "-".to_owned(), |http| format!("http://{http}"))
    }
}

impl Layout {
    /// The layout that the folder keeps, changed to what is asked for, or a new one.
    pub(crate) fn resolve(folder: &Path, wanted: &Wanted) -> Result<Self, Failure> {
        let layout = match Self::read(folder)? {
            Some(kept) => kept.changed(wanted)?,
            None => Self::new(wanted)?,
        };
        let file = folder.join(LAYOUT_FILE);
        let text = toml::to_string(&layout).context("the layout")?;
        fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))?;
        Ok(layout)
    }

    /// Whether a folder was used before.
    pub(super) fn is_kept_in(folder: &Path) -> bool {
        folder.join(LAYOUT_FILE).exists()
    }

    fn read(folder: &Path) -> Result<Option<Self>, Failure> {
        let file = folder.join(LAYOUT_FILE);
        let text = match fs::read_to_string(&file) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => {
                let named = format!("cannot read {}", file.display());
                return Err(anyhow::Error::new(error).context(named).into());
            }
        };
        let layout = toml::from_str(&text);
        Ok(Some(layout.with_context(|| format!("{} is damaged", file.display()))?))
    }

    fn new(wanted: &Wanted) -> Result<Self, Failure> {
        let next = || ports::free().ok_or_else(|| Failure::failed("all ports are taken"));
        let mut members = Vec::new();
        for index in 0..MEMBERS {
            let http = match (index, wanted.http) {
                (0, Some(http)) if on_loopback(http)?.port() != 0 => checked(http)?,
                (0, None) => checked(([127, 0, 0, 1], HTTP_PORT).into())?,
                _ => next()?,
            };
            let old = match (index, wanted.http) {
                (0, None) => checked(([127, 0, 0, 1], OLD_PORT).into())?,
                _ => next()?,
            };
            members.push(MemberAddresses { http, old: Some(old), raft: next()?, sync: next()? });
        }
        Ok(Self { leaves: wanted.leaves.unwrap_or(LEAVES), members })
    }

    fn changed(mut self, wanted: &Wanted) -> Result<Self, Failure> {
        self.leaves = wanted.leaves.unwrap_or(self.leaves);
        for (index, member) in self.members.iter_mut().enumerate() {
            if let (0, Some(http)) = (index, wanted.http) {
                member.http = match on_loopback(http)?.port() {
                    0 => ports::free().ok_or_else(|| Failure::failed("no free port"))?,
                    _ => http,
                };
            }
            let old = match member.old {
                Some(old) => old,
                None => ports::free().ok_or_else(|| Failure::failed("no free port"))?,
            };
            member.old = Some(old);
            for address in [member.http, old, member.raft, member.sync] {
                checked(address)?;
            }
        }
        Ok(self)
    }

    /// Every process to run, members first, below `folder`.
    pub(crate) fn nodes(&self, folder: &Path) -> Vec<Node> {
        let node = |name: String, role, (http, old)| {
            let folder = folder.join(&name);
            Node { name, role, folder, http, old }
        };
        let members = self.members.iter().zip(1..);
        let members = members
            .map(|(m, n): (_, usize)| node(format!("m{n}"), Role::Member, (Some(m.http), m.old)));
        let leaves = (1..=self.leaves).map(|n| node(format!("n{n}"), Role::Leaf, (None, None)));
        members.chain(leaves).collect()
    }

    /// The URL of each member.
    pub(crate) fn servers(&self) -> Vec<String> {
        self.members.iter().map(|member| format!("http://{}", member.http)).collect()
    }

    /// Writes the configuration file of each node.
    pub(crate) fn write_configs(&self, nodes: &[Node]) -> Result<(), Failure> {
        for (index, node) in nodes.iter().enumerate() {
            let mut config = match self.members.get(index) {
                Some(member) => member.config(self.members.first().filter(|_| index > 0)),
                None => self.leaf_config()?,
            };
            let name = Name::new(&node.name).context("a node's name")?;
            let leaf = index.checked_sub(self.members.len());
            let labels = leaf.map(|leaf| self.labels(leaf)).transpose()?.unwrap_or_default();
            config.node = config::Node { name: Some(name), data: node.data(), labels };
            if node.role == Role::Member {
                let (sim, table) = one_world(&node.folder)?;
                config.modules.insert(sim, table);
            }
            fs::create_dir_all(&node.folder)
                .and_then(|()| fs::write(node.config(), config.to_string()))
                .with_context(|| format!("cannot write {}", node.config().display()))?;
        }
        Ok(())
    }

    /// The labels of the leaf at a place: half of the leaves stand in one rack, half in another.
    fn labels(&self, leaf: usize) -> Result<Labels, Failure> {
        let rack = if leaf * 2 < self.leaves { "r1" } else { "r2" };
        Ok([(Name::new("rack").context("a label's name")?, rack.to_owned())].into())
    }

    /// A leaf whose services end with it.
    fn leaf_config(&self) -> Result<Config, Failure> {
        let parents = self.members.iter().map(|member| Parent::at(member.sync)).collect();
        let service = Name::new("service").context("a module's name")?;
        let table = toml::Table::from_iter([("on_shutdown".to_owned(), "stop".into())]);
        Ok(Config {
            agent: config::Agent { parents, relay: false },
            modules: [(service, table)].into(),
            ..Config::default()
        })
    }
}

impl MemberAddresses {
    /// A member that joins through `founder`, or founds where there is none.
    fn config(&self, founder: Option<&Self>) -> Config {
        let join = founder.iter().map(|founder| founder.raft.to_string()).collect();
        Config {
            http: Http::at(Listener::at(self.http)),
            old: config::Old { listen: self.old, ..config::Old::default() },
            raft: config::Raft::at(Listener::at(self.raft)),
            sync: Listener::at(self.sync),
            cluster: Cluster { init: founder.is_none(), join, learner: false },
            ..Config::default()
        }
    }
}

/// The configuration with which members see the same simulated machines: any of them may be the one
/// that controls a machine.
fn one_world(folder: &Path) -> Result<(Name, toml::Table), Failure> {
    let sim = Name::new("sim").context("a module's name")?;
    let world = folder.parent().unwrap_or(folder).join("machines");
    let world = world.to_str().context("the folder is no text")?;
    Ok((sim, toml::Table::from_iter([("world".to_owned(), world.into())])))
}

/// The address, if it can be listened at.
fn checked(address: SocketAddr) -> Result<SocketAddr, Failure> {
    match TcpListener::bind(on_loopback(address)?) {
        Ok(_) => Ok(address),
        Err(error) => Err(Failure::failed(format!("cannot listen on {address}: {error}")).hint(
            "is another `kraken up` running? end it, or take any free port: kraken up --http \
             127.0.0.1:0",
        )),
    }
}

/// The address, if it is on this machine alone.
fn on_loopback(address: SocketAddr) -> Result<SocketAddr, Failure> {
    if address.ip().is_loopback() {
        return Ok(address);
    }
    let words = format!("{address} is not loopback; `up` is for one machine");
    Err(Failure::usage(words).hint("for several machines see examples/three_nodes"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Overrides, load};

    fn wanted(leaves: usize) -> Wanted {
        Wanted { leaves: Some(leaves), http: Some(([127, 0, 0, 1], 0).into()) }
    }

    #[test]
    fn every_node_has_a_configuration_that_can_be_read() {
        let folder = tempfile::tempdir().unwrap();
        let layout = Layout::resolve(folder.path(), &wanted(2)).unwrap();
        let nodes = layout.nodes(folder.path());
        layout.write_configs(&nodes).unwrap();
        let names: Vec<&str> = nodes.iter().map(|node| node.name.as_str()).collect();
        assert_eq!(names, ["m1", "m2", "m3", "n1", "n2"]);
        for (index, node) in nodes.iter().enumerate() {
            let config = load(Some(&node.config()), Overrides::default()).unwrap();
            assert_eq!(config.name().unwrap().as_str(), node.name);
            assert_eq!(config.cluster.init, index == 0, "{}", node.name);
            let founder = layout.members[0].raft.to_string();
            let joins = node.role == Role::Member && index > 0;
            assert_eq!(config.cluster.join == [founder], joins, "{}", node.name);
            assert_eq!(config.agent.parents.len(), if index < 3 { 0 } else { 3 });
            let rack = config.node.labels.values().next().map(String::as_str);
            assert_eq!(rack, [None, None, None, Some("r1"), Some("r2")][index]);
            let world = config.modules.values().find_map(|table| table.get("world"));
            let machines = folder.path().join("machines");
            let machines = (index < 3).then(|| machines.to_str().unwrap().into());
            assert_eq!(world, machines.as_ref(), "members see the same machines");
            assert_eq!(node.http, (index < 3).then_some(config.http.listener.listen));
            assert_eq!(node.old, config.old.listen);
            assert_eq!(node.old.is_some(), index < 3 && config.serves_old(), "{}", node.name);
        }
    }

    #[test]
    fn a_folder_is_resumed_with_the_same_addresses() {
        let folder = tempfile::tempdir().unwrap();
        let first = Layout::resolve(folder.path(), &wanted(2)).unwrap();
        let again = Layout::resolve(folder.path(), &Wanted::default()).unwrap();
        assert_eq!(first, again);
        let grown = Wanted { leaves: Some(3), http: None };
        let grown = Layout::resolve(folder.path(), &grown).unwrap();
        assert_eq!((grown.leaves, grown.members), (3, first.members));
    }

    #[test]
    fn a_taken_or_far_address_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        for (http, expected) in [
            (taken.local_addr().unwrap(), "cannot listen on "),
            (([0, 0, 0, 0], 1).into(), "0.0.0.0:1 is not loopback; `up` is for one machine"),
            (([0, 0, 0, 0], 0).into(), "0.0.0.0:0 is not loopback; `up` is for one machine"),
        ] {
            let wanted = Wanted { http: Some(http), ..Wanted::default() };
            let words = Layout::resolve(folder.path(), &wanted).unwrap_err().words().unwrap();
            assert!(words.starts_with(expected), "{words}");
        }
    }
}
