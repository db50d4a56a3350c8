//! The configuration of a process that serves: one TOML file, over it the environment, over that
//! the flags. `examples/kraken.toml` documents each key and is held equal to the defaults here.
//!
//! What the fleet is to look like does not stand here but in Cfg, which the quorum keeps.

mod check;
mod endpoint;
mod load;
mod place;

use std::{collections::BTreeMap, fmt, net::SocketAddr, path::PathBuf};

use kraken_engine::{id::Name, object::Labels, span::Share, sync::parents::Parent};
use kraken_http::Origin;
use serde::{Deserialize, Deserializer, Serialize, de};

pub(crate) use self::{
    endpoint::Endpoint,
    load::{Overrides, load},
};

/// The port of HTTP unless configured.
pub(crate) const HTTP_PORT: u16 = 3141;
/// The port of the WebSocket of the old surface unless configured.
pub(crate) const OLD_PORT: u16 = 3142;
/// The port on which members talk to each other unless configured.
pub(crate) const RAFT_PORT: u16 = 3143;
/// The port at which leaves attach unless configured.
pub(crate) const SYNC_PORT: u16 = 3144;
/// Where state is kept unless configured.
const DATA: &str = "/var/lib/kraken";

/// The configuration is not usable.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigError {
    /// The file could not be read.
    #[error("cannot read the configuration {}", file.display())]
    Read {
        /// The file.
        file: PathBuf,
        /// What the file system said.
        #[source]
        source: std::io::Error,
    },
    /// A key that does not exist, or a value that a key cannot have.
    #[error("{place}: {why}")]
    Invalid {
        /// File, line and key, or the variable or flag.
        place: String,
        /// What is wrong and what would be right.
        why: String,
    },
    /// The host has no name that could name the node.
    #[error("this host's name cannot name a node; set node.name")]
    NoName,
}

/// Everything that can be configured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Config {
    /// This machine.
    pub(crate) node: Node,
    /// Where clients come in.
    pub(crate) http: Http,
    /// The surface of the system that came before.
    pub(crate) old: Old,
    /// Where the other members come in.
    pub(crate) raft: Raft,
    /// Where leaves come in.
    #[serde(deserialize_with = "listener::<SYNC_PORT, _>")]
    pub(crate) sync: Listener,
    /// How a member comes to its cluster.
    pub(crate) cluster: Cluster,
    /// How a leaf comes to its parent.
    pub(crate) agent: Agent,
    /// What is written to standard error.
    pub(crate) log: Log,
    /// Where traces go.
    pub(crate) traces: Traces,
    /// The configuration of modules, each in its own words.
    pub(crate) modules: BTreeMap<Name, toml::Table>,
}

/// This machine.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Node {
    /// Its name in the fleet; absent: the host's name.
    pub(crate) name: Option<Name>,
    /// The folder of everything that must survive a restart.
    pub(crate) data: PathBuf,
    /// What selectors select it by.
    pub(crate) labels: Labels,
}

/// One place where others come in.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Listener {
    /// The address to listen at; port 0: the system chooses.
    pub(crate) listen: SocketAddr,
    /// What others are told to connect to; absent: the address that is listened at.
    pub(crate) advertise: Option<String>,
    /// Permits an address that is not loopback, where nobody asks who connects.
    pub(crate) insecure: bool,
}

/// Where clients come in, and which pages may ask.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(from = "WrittenHttp")]
pub(crate) struct Http {
    /// Where clients come in.
    #[serde(flatten)]
    pub(crate) listener: Listener,
    /// Origins of pages that other servers serve and that may ask here all the same.
    pub(crate) cors_origins: Vec<Origin>,
}

/// [`Http`] as it is written.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct WrittenHttp {
    #[serde(deserialize_with = "socket_address")]
    listen: Option<SocketAddr>,
    #[serde(deserialize_with = "some_address")]
    advertise: Option<String>,
    insecure: bool,
    cors_origins: Vec<Origin>,
}

/// The surface of the system that came before: REST beside ours, and a WebSocket of its own.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Old {
    /// Whether it is served; absent: where `http.listen` is loopback.
    pub(crate) serve: Option<bool>,
    /// Where its WebSocket listens; absent: [`OLD_PORT`] on loopback, any port where that is taken.
    #[serde(deserialize_with = "socket_address")]
    pub(crate) listen: Option<SocketAddr>,
    /// What clients are told to connect to; absent: the address that is listened at.
    #[serde(deserialize_with = "some_address")]
    pub(crate) advertise: Option<String>,
    /// Permits an address that is not loopback, where nobody asks who connects.
    pub(crate) insecure: bool,
}

/// The quorum's part: where the other members come in, and how much of the log is kept.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(from = "WrittenRaft")]
pub(crate) struct Raft {
    /// Where the other members come in.
    #[serde(flatten)]
    pub(crate) listener: Listener,
    /// Writes after which a snapshot is taken, unless the store holds more objects than that.
    pub(crate) snapshot_entries: u64,
    /// Writes that stay in the log behind a snapshot.
    pub(crate) keep_entries: u64,
    /// Bytes of one file of the log.
    pub(crate) segment_bytes: u64,
}

/// [`Raft`] as it is written.
#[derive(Deserialize)]
#[serde(default, deny_unknown_fields)]
struct WrittenRaft {
    #[serde(deserialize_with = "socket_address")]
    listen: Option<SocketAddr>,
    #[serde(deserialize_with = "some_address")]
    advertise: Option<String>,
    insecure: bool,
    snapshot_entries: u64,
    keep_entries: u64,
    segment_bytes: u64,
}

/// A [`Listener`] as it is written: its port, unless given, depends on what it is for.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct WrittenListener {
    #[serde(deserialize_with = "socket_address")]
    listen: Option<SocketAddr>,
    #[serde(deserialize_with = "some_address")]
    advertise: Option<String>,
    insecure: bool,
}

/// How a member comes to its cluster. Without either it waits to be told over HTTP.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Cluster {
    /// Found a cluster, unless this data folder belongs to one.
    pub(crate) init: bool,
    /// Raft addresses of members to join, unless this data folder belongs to a cluster.
    #[serde(deserialize_with = "addresses")]
    pub(crate) join: Vec<String>,
    /// Join as one that does not vote until it is promoted.
    pub(crate) learner: bool,
}

/// How a leaf comes to its parent.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Agent {
    /// Sync addresses of members or relays; any that answers will do. Leaves spread over them, by
    /// their weights where they have some: `m1:3144 weight=2`.
    pub(crate) parents: Vec<Parent>,
    /// Serve leaves in the place of members, where `sync.listen` says.
    pub(crate) relay: bool,
}

/// Where traces go, and how many.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Traces {
    /// The collector, which takes OTLP over HTTP; absent: no traces are made.
    pub(crate) endpoint: Option<Endpoint>,
    /// How many of all traces are sent, of 1.
    pub(crate) share: Share,
    /// How long spans wait for others to be sent with, in milliseconds.
    pub(crate) interval_ms: u64,
}

/// What is written to standard error.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Log {
    /// The least level to write, perhaps by target: `info`, or `info,kraken_raft=debug`.
    pub(crate) level: String,
    /// How a line looks.
    pub(crate) format: LogFormat,
}

/// How a line of the log looks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

impl Default for Node {
    fn default() -> Self {
        Self { name: None, data: DATA.into(), labels: Labels::new() }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            node: Node::default(),
            http: Http::at(Listener::on_loopback(HTTP_PORT)),
            old: Old::default(),
            raft: Raft::at(Listener::on_loopback(RAFT_PORT)),
            sync: Listener::on_loopback(SYNC_PORT),
            cluster: Cluster::default(),
            agent: Agent::default(),
            log: Log::default(),
            traces: Traces::default(),
            modules: BTreeMap::new(),
        }
    }
}

impl Http {
    /// One that is listened to there, for pages of its own alone.
    pub(crate) fn at(listener: Listener) -> Self {
        Self { listener, cors_origins: Vec::new() }
    }
}

impl From<WrittenHttp> for Http {
    fn from(written: WrittenHttp) -> Self {
        let WrittenHttp { listen, advertise, insecure, cors_origins } = written;
        let listen = listen.unwrap_or_else(|| Listener::on_loopback(HTTP_PORT).listen);
        Self { listener: Listener { listen, advertise, insecure }, cors_origins }
    }
}

impl Raft {
    /// One that is listened to there, with defaults for the rest.
    pub(crate) fn at(listener: Listener) -> Self {
        let kraken_raft::Limits { snapshot_entries, keep_entries, segment_bytes, .. } =
            kraken_raft::Limits::default();
        Self { listener, snapshot_entries, keep_entries, segment_bytes }
    }
}

impl Default for WrittenRaft {
    fn default() -> Self {
        let Raft { listener: _, snapshot_entries, keep_entries, segment_bytes } =
            Config::default().raft;
        let (listen, advertise, insecure) = (None, None, false);
        Self { listen, advertise, insecure, snapshot_entries, keep_entries, segment_bytes }
    }
}

impl From<WrittenRaft> for Raft {
    fn from(written: WrittenRaft) -> Self {
        let WrittenRaft { listen, advertise, insecure, .. } = written;
        let WrittenRaft { snapshot_entries, keep_entries, segment_bytes, .. } = written;
        let listen = listen.unwrap_or_else(|| Listener::on_loopback(RAFT_PORT).listen);
        let listener = Listener { listen, advertise, insecure };
        Self { listener, snapshot_entries, keep_entries, segment_bytes }
    }
}

impl Listener {
    /// One that is told to others as it is.
    pub(crate) fn at(listen: SocketAddr) -> Self {
        Self { listen, advertise: None, insecure: false }
    }

    fn on_loopback(port: u16) -> Self {
        Self::at(([127, 0, 0, 1], port).into())
    }

    /// What others are told, once it is known where it listens.
    pub(crate) fn advertised(&self, bound: SocketAddr) -> String {
        self.advertise.clone().unwrap_or_else(|| bound.to_string())
    }
}

impl Default for Traces {
    fn default() -> Self {
        Self { endpoint: None, share: Share::ALL, interval_ms: 1_000 }
    }
}

impl Default for Log {
    fn default() -> Self {
        Self { level: "info".to_owned(), format: LogFormat::Text }
    }
}

impl Config {
    /// The node's name: the configured one, else the host's.
    pub(crate) fn name(&self) -> Result<Name, ConfigError> {
        self.node.name.clone().or_else(host_name).ok_or(ConfigError::NoName)
    }

    /// Whether the surface of the system that came before is served.
    pub(crate) fn serves_old(&self) -> bool {
        self.old.serve.unwrap_or_else(|| self.http.listener.listen.ip().is_loopback())
    }

    /// The modules' configurations as modules read them.
    pub(crate) fn modules(&self) -> Result<BTreeMap<String, serde_json::Value>, serde_json::Error> {
        let json = |(name, table): (&Name, &toml::Table)| {
            Ok((name.to_string(), serde_json::to_value(table)?))
        };
        self.modules.iter().map(json).collect()
    }
}

impl fmt::Display for Config {
    /// As TOML that would be read back as the same.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&toml::to_string(self).map_err(|_| fmt::Error)?)
    }
}

fn host_name() -> Option<Name> {
    let text = std::fs::read_to_string("/proc/sys/kernel/hostname").ok()?;
    Name::new(text.trim()).ok()
}

fn listener<'de, const PORT: u16, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Listener, D::Error> {
    let WrittenListener { listen, advertise, insecure } = Deserialize::deserialize(deserializer)?;
    let listen = listen.unwrap_or_else(|| Listener::on_loopback(PORT).listen);
    Ok(Listener { listen, advertise, insecure })
}

fn socket_address<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<SocketAddr>, D::Error> {
    let text = String::deserialize(deserializer)?;
    text.parse().map(Some).map_err(|_| {
        de::Error::custom(format!("{text:?} is no address; write ip:port, such as 127.0.0.1:3141"))
    })
}

fn address<E: de::Error>(text: String) -> Result<String, E> {
    let port = text.rsplit_once(':').filter(|(host, _)| !host.is_empty());
    match port.map(|(_, port)| port.parse::<u16>()) {
        Some(Ok(_)) => Ok(text),
        Some(Err(_)) | None => Err(E::custom(format!("{text:?} is no address; write host:port"))),
    }
}

fn some_address<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    Option::<String>::deserialize(deserializer)?.map(address).transpose()
}

fn addresses<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    Vec::<String>::deserialize(deserializer)?.into_iter().map(address).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOCUMENTED: &str = include_str!("../examples/kraken.toml");

    /// The documented file with its commented-out keys put in force.
    fn uncommented() -> String {
        let uncomment = |line: &str| {
            let key = line.strip_prefix('#').filter(|rest| rest.starts_with(char::is_alphabetic));
            key.filter(|rest| rest.contains(" = ")).unwrap_or(line).to_owned()
        };
        DOCUMENTED.lines().map(uncomment).collect::<Vec<String>>().join("\n")
    }

    #[test]
    fn the_documented_example_is_the_default() {
        assert_eq!(toml::from_str::<Config>(DOCUMENTED).unwrap(), Config::default());
    }

    #[test]
    fn the_documented_example_names_every_key() {
        let example: toml::Table = uncommented().parse().unwrap();
        toml::from_str::<Config>(&uncommented()).unwrap();
        let full = Config {
            node: Node { name: Name::new("n1").ok(), ..Node::default() },
            http: Http::at(Listener { advertise: Some(String::new()), ..Listener::on_loopback(1) }),
            old: Old {
                serve: Some(true),
                listen: Some(([127, 0, 0, 1], OLD_PORT).into()),
                advertise: Some(String::new()),
                insecure: false,
            },
            raft: Raft::at(Listener { advertise: Some(String::new()), ..Listener::on_loopback(2) }),
            sync: Listener { advertise: Some(String::new()), ..Listener::on_loopback(3) },
            traces: Traces { endpoint: "http://c:1".parse().ok(), ..Traces::default() },
            ..Config::default()
        };
        for (table, keys) in toml::Table::try_from(full).unwrap() {
            let documented = example[&table].as_table().unwrap();
            for (key, _) in keys.as_table().unwrap() {
                assert!(documented.contains_key(key), "{table}.{key} is not documented");
            }
        }
    }

    #[test]
    fn the_old_surface_is_served_where_only_this_machine_comes_in() {
        for (text, expected) in [
            ("", true),
            ("[old]\nserve = false\n", false),
            ("[http]\nlisten = \"10.0.0.1:1\"\n", false),
            ("[http]\nlisten = \"10.0.0.1:1\"\n[old]\nserve = true\n", true),
        ] {
            assert_eq!(toml::from_str::<Config>(text).unwrap().serves_old(), expected, "{text}");
        }
    }

    #[test]
    fn the_files_for_three_machines_are_sound() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/three_nodes");
        for (file, founds, parents) in
            [("m1", true, 0), ("m2", false, 0), ("m3", false, 0), ("leaf", false, 3)]
        {
            let file = folder.join(format!("{file}.toml"));
            let config = load(Some(&file), Overrides::default()).unwrap();
            assert_eq!(config.cluster.init, founds, "{}", file.display());
            assert_eq!(config.agent.parents.len(), parents, "{}", file.display());
        }
    }

    #[test]
    fn what_is_printed_reads_back_as_the_same() {
        let config: Config = toml::from_str(&uncommented()).unwrap();
        assert_eq!(toml::from_str::<Config>(&config.to_string()).unwrap(), config);
    }
}
