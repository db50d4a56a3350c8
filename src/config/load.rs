//! Reads the file, lays the environment and the flags over it, and says of every mistake where it
//! was made.

use std::{fs, path::Path};

use serde::Deserialize;
use toml::{Table, Value};

use super::{Config, ConfigError, check, place};

/// The prefix of our environment variables.
const PREFIX: &str = "KRAKEN_";

/// Where a configuration was read from; names the place of each of its keys.
#[derive(Debug, Default)]
pub(super) struct Source {
    file: Option<(String, String)>,
    overrides: Vec<Override>,
}

/// What is laid over the file, the later over the earlier.
#[derive(Debug, Default)]
pub(crate) struct Overrides(Vec<Override>);

/// One key that is laid over the file.
#[derive(Debug)]
struct Override {
    /// The variable or the flag.
    from: String,
    /// The dotted key.
    key: String,
    /// The value as it was typed.
    text: String,
}

/// What is wrong with one key, before its place is known.
#[derive(Debug)]
pub(super) struct Fault {
    /// The dotted key.
    pub(super) key: &'static str,
    /// What is wrong and what would be right.
    pub(super) why: String,
}

impl Overrides {
    /// Those of the environment: `KRAKEN_HTTP_LISTEN` is `http.listen`. What does not begin with
    /// the name of a table of ours is somebody else's.
    pub(crate) fn from_environment(variables: impl IntoIterator<Item = (String, String)>) -> Self {
        let tables = Table::try_from(Config::default()).unwrap_or_default();
        let split = |name: &str| {
            let rest = name.strip_prefix(PREFIX)?.to_lowercase();
            let (table, key) = rest.split_once('_')?;
            let ours = tables.contains_key(table) && table != "modules";
            ours.then(|| format!("{table}.{key}"))
        };
        let ours = variables
            .into_iter()
            .filter_map(|(name, text)| Some(Override { key: split(&name)?, from: name, text }));
        let mut ours: Vec<Override> = ours.collect();
        ours.sort_by(|one, other| one.from.cmp(&other.from));
        Self(ours)
    }

    /// Lays one more key over all before.
    pub(crate) fn push(&mut self, from: &str, key: &str, text: impl Into<String>) {
        self.0.push(Override { from: from.to_owned(), key: key.to_owned(), text: text.into() });
    }

    /// Lays `table.key=value`, as a flag gives it, over all before.
    pub(crate) fn push_typed(&mut self, from: &str, typed: &str) -> Result<(), ConfigError> {
        let (key, text) = typed.split_once('=').ok_or_else(|| ConfigError::Invalid {
            place: format!("{from} {typed}"),
            why: "write table.key=value, such as http.listen=127.0.0.1:0".to_owned(),
        })?;
        self.push(&format!("{from} {}", key.trim()), key.trim(), text.trim());
        Ok(())
    }
}

/// Reads and checks a configuration. Without a file the defaults stand below the overrides.
pub(crate) fn load(file: Option<&Path>, overrides: Overrides) -> Result<Config, ConfigError> {
    let text = file.map(|file| {
        fs::read_to_string(file)
            .map_err(|source| ConfigError::Read { file: file.to_owned(), source })
    });
    let text = text.transpose()?;
    let named = file.map(|file| file.display().to_string()).zip(text);
    parse(Source { file: named, overrides: overrides.0 })
}

fn parse(source: Source) -> Result<Config, ConfigError> {
    let mut config = Config::default();
    let mut table = Table::new();
    if let Some((file, text)) = &source.file {
        let invalid = |error| in_file(file, text, &error);
        config = toml::from_str(text).map_err(invalid)?;
        table = toml::from_str(text).map_err(invalid)?;
    }
    for item in &source.overrides {
        (config, table) = lay_over(&table, item)?;
    }
    check::check(&config).map_err(|fault| source.locate(fault))?;
    Ok(config)
}

/// An error of the TOML reader as file, line, key and reason.
fn in_file(file: &str, text: &str, error: &toml::de::Error) -> ConfigError {
    let at = error.span().map(|span| span.start);
    let line = at.map(|at| format!(":{}", place::line_at(text, at))).unwrap_or_default();
    let key = at.and_then(|at| place::key_at(text, at));
    let key = key.map(|key| format!(": {key}")).unwrap_or_default();
    ConfigError::Invalid { place: format!("{file}{line}{key}"), why: error.message().to_owned() }
}

/// The table with one key set, in the first of the ways to read its value that fits the key.
fn lay_over(table: &Table, item: &Override) -> Result<(Config, Table), ConfigError> {
    let mut errors = Vec::new();
    for value in readings(&item.text) {
        let mut changed = table.clone();
        let read = set(&mut changed, &item.key, value).and_then(|()| {
            Config::deserialize(changed.clone()).map_err(|e| e.message().to_owned())
        });
        match read {
            Ok(config) => return Ok((config, changed)),
            Err(why) => errors.push(why),
        }
    }
    // A reading of another type than the key's says nothing of what was typed.
    let of_type = errors.iter().position(|why| !why.starts_with("invalid type"));
    let why = errors.into_iter().nth(of_type.unwrap_or_default()).unwrap_or_default();
    Err(ConfigError::Invalid { place: item.from.clone(), why })
}

/// The ways in which a typed value can be meant: text, TOML, a list with commas, labels.
fn readings(text: &str) -> Vec<Value> {
    let toml = format!("value = {text}").parse::<Table>().ok();
    let toml = toml.filter(|table| table.len() == 1).and_then(|mut table| table.remove("value"));
    let items = || text.split(',').map(str::trim).filter(|item| !item.is_empty());
    let list = items().map(|item| Value::String(item.to_owned())).collect();
    let label = |item: &str| {
        let (name, value) = item.split_once('=')?;
        Some((name.trim().to_owned(), Value::String(value.trim().to_owned())))
    };
    let labels = items().map(label).collect::<Option<Table>>().map(Value::Table);
    let text = Value::String(text.to_owned());
    [Some(text), toml, Some(Value::Array(list)), labels].into_iter().flatten().collect()
}

fn set(table: &mut Table, key: &str, value: Value) -> Result<(), String> {
    let (mut segments, mut here) = (key.split('.').peekable(), table);
    while let Some(segment) = segments.next() {
        if segments.peek().is_none() {
            here.insert(segment.to_owned(), value);
            return Ok(());
        }
        let below = here.entry(segment).or_insert_with(|| Value::Table(Table::new()));
        here = below.as_table_mut().ok_or_else(|| format!("{segment} is no table"))?;
    }
    Ok(())
}

impl Source {
    /// Gives a fault its place: the variable or flag that set the key, else file and line.
    fn locate(&self, fault: Fault) -> ConfigError {
        let typed = self.overrides.iter().rev().find(|item| item.key == fault.key);
        let in_file = self.file.as_ref().and_then(|(file, text)| {
            let line = place::line_of(text, fault.key)?;
            Some(format!("{file}:{line}: {}", fault.key))
        });
        let typed = typed.map(|item| item.from.clone());
        let place = typed.or(in_file).unwrap_or_else(|| fault.key.to_owned());
        ConfigError::Invalid { place, why: fault.why }
    }
}

#[cfg(test)]
mod tests {
    use kraken_engine::sync::parents::Parent;
    use kraken_http::ORIGINS_MAX;

    use super::*;

    fn read(text: &str, overrides: Overrides) -> Result<Config, String> {
        let file = Some(("k.toml".to_owned(), text.to_owned()));
        parse(Source { file, overrides: overrides.0 }).map_err(|error| error.to_string())
    }

    fn environment(variables: &[(&str, &str)]) -> Overrides {
        let owned = variables.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned()));
        Overrides::from_environment(owned)
    }

    #[test]
    fn the_old_surface_is_not_for_others_unless_that_is_said() {
        for (text, expected) in [
            (
                "[http]\nlisten = \"10.0.0.1:3141\"\ninsecure = true\n[old]\nserve = true\n",
                "k.toml:5: old.serve: any page of any site may write over it, and 10.0.0.1:3141 is \
                 not loopback; set old.insecure = true if the network may be trusted",
            ),
            (
                "[old]\nlisten = \"10.0.0.1:3142\"\n",
                "k.toml:2: old.listen: 10.0.0.1:3142 is not loopback, and nobody asks who \
                 connects; set old.insecure = true if the network may be trusted",
            ),
        ] {
            assert_eq!(read(text, Overrides::default()).unwrap_err(), expected, "{text}");
        }
        let http = "[http]\nlisten = \"10.0.0.1:1\"\ninsecure = true\n";
        for old in ["listen = \"10.0.0.1:2\"", "serve = true\ninsecure = true"] {
            read(&format!("{http}[old]\n{old}\n"), Overrides::default()).unwrap();
        }
    }

    #[test]
    fn errors_name_file_line_and_key() {
        for (text, expected) in [
            (
                "[http]\n\nlisen = \"127.0.0.1:0\"\n",
                "k.toml:3: http.lisen: unknown field `lisen`, expected one of `listen`, \
                 `advertise`, `insecure`, `cors_origins`",
            ),
            (
                "[http]\nlisten = \"nowhere\"\n",
                "k.toml:2: http.listen: \"nowhere\" is no address; write ip:port, such as \
                 127.0.0.1:3141",
            ),
            (
                "[cluster]\ninit = 3\n",
                "k.toml:2: cluster.init: invalid type: integer `3`, expected a boolean",
            ),
            (
                "[agent]\nparents = [\n  \"m1:3144\",\n  \"m2\",\n]\n",
                "k.toml:2: agent.parents: \"m2\" is no address; write host:port",
            ),
            (
                "[agent]\nparents = [\"m1:3144 weight=900\"]\n",
                "k.toml:2: agent.parents: \"weight=900\" is no weight; write host:port weight=N, N \
                 from 1 to 100",
            ),
            (
                "[log]\nformat = \"xml\"\n",
                "k.toml:2: log.format: unknown variant `xml`, expected `text` or `json`",
            ),
            (
                "[log]\nlevel = \"loud=loud\"\n",
                "k.toml:2: log.level: \"loud=loud\" is no level; write error, warn, info, debug or \
                 trace, perhaps by target: info,kraken_raft=debug",
            ),
            (
                "[raft]\nsnapshot_entries = 0\n",
                "k.toml:2: raft.snapshot_entries: a snapshot needs something that is new; write 1 \
                 or more",
            ),
            (
                "[raft]\nsegment_bytes = 4095\n",
                "k.toml:2: raft.segment_bytes: a file of the log has 4096 to 2147483648 bytes",
            ),
            (
                "[raft]\nkeep_entries = -1\n",
                "k.toml:2: raft.keep_entries: invalid value: integer `-1`, expected u64",
            ),
            (
                "[raft]\nlisten = \"10.0.0.1:3143\"\n",
                "k.toml:2: raft.listen: 10.0.0.1:3143 is not loopback, and nobody asks who \
                 connects; set raft.insecure = true if the network may be trusted",
            ),
            (
                "[sync]\nlisten = \"0.0.0.0:3144\"\ninsecure = true\n",
                "k.toml:2: sync.listen: nobody can connect to 0.0.0.0:3144; set sync.advertise to \
                 the address that others use",
            ),
            (
                "[cluster]\nlearner = true\n",
                "k.toml:2: cluster.learner: a learner joins a cluster; give cluster.join",
            ),
            (
                "[cluster]\ninit = true\njoin = [\"m1:3143\"]\n",
                "k.toml:3: cluster.join: a member founds a cluster or joins one; give one of init \
                 and join",
            ),
        ] {
            assert_eq!(read(text, Overrides::default()).unwrap_err(), expected);
        }
    }

    #[test]
    fn origins_are_read_as_such_and_only_so_many() {
        let wrong = "[http]\ncors_origins = [\n  \"http://a.example\",\n  \"*\",\n]\n";
        let why = read(wrong, Overrides::default()).unwrap_err();
        let expected = "k.toml:2: http.cors_origins: \"*\" is no origin; write scheme://host or";
        assert!(why.starts_with(expected), "{why}");
        for (count, is_taken) in [(ORIGINS_MAX, true), (ORIGINS_MAX + 1, false)] {
            let origins: Vec<String> =
                (0..count).map(|n| format!("https://a{n}.example")).collect();
            let text = format!("[http]\ncors_origins = {origins:?}\n");
            let found = read(&text, Overrides::default()).map(|config| config.http.cors_origins);
            assert_eq!(found.is_ok(), is_taken, "{count}: {found:?}");
        }
    }

    #[test]
    fn the_environment_lies_over_the_file_and_flags_over_both() {
        let file = "[node]\nname = \"a\"\n[http]\nlisten = \"127.0.0.1:1\"\n";
        let mut overrides = environment(&[
            ("KRAKEN_NODE_NAME", "b"),
            ("KRAKEN_NODE_LABELS", "rack=r1,role=web"),
            ("KRAKEN_CLUSTER_INIT", "true"),
            ("KRAKEN_AGENT_PARENTS", "m1:1,m2:2"),
            ("KRAKEN_SERVER", "http://elsewhere"),
            ("KRAKEN_NODE", "left to the services"),
        ]);
        overrides.push("--name", "node.name", "c");
        overrides.push_typed("--set", "modules.service.grace=5").unwrap();
        let config = read(file, overrides).unwrap();
        assert_eq!(config.node.name.as_ref().map(kraken_engine::id::Name::as_str), Some("c"));
        assert_eq!(config.node.labels.len(), 2);
        assert_eq!(config.http.listener.listen.port(), 1);
        let parents: Vec<String> = config.agent.parents.iter().map(Parent::to_string).collect();
        assert_eq!(parents, ["m1:1", "m2:2"]);
        assert!(config.cluster.init);
        let service = &config.modules[&kraken_engine::id::Name::new("service").unwrap()];
        assert_eq!(service["grace"].as_str(), Some("5"));
    }

    #[test]
    fn errors_name_the_variable_or_the_flag() {
        let mut flags = Overrides::default();
        flags.push_typed("--set", "http.port=1").unwrap();
        for (overrides, expected) in [
            (
                environment(&[("KRAKEN_HTTP_LISTEN", "x")]),
                "KRAKEN_HTTP_LISTEN: \"x\" is no address; write ip:port, such as 127.0.0.1:3141",
            ),
            (
                environment(&[("KRAKEN_AGENT_PARENTS", "m1")]),
                "KRAKEN_AGENT_PARENTS: \"m1\" is no address; write host:port",
            ),
            (
                environment(&[("KRAKEN_LOG_LOUD", "x")]),
                "KRAKEN_LOG_LOUD: unknown field `loud`, expected `level` or `format`",
            ),
            (
                environment(&[("KRAKEN_HTTP_LISTEN", "1.2.3.4:5")]),
                "KRAKEN_HTTP_LISTEN: 1.2.3.4:5 is not loopback, and nobody asks who connects; set \
                 http.insecure = true if the network may be trusted",
            ),
            (
                flags,
                "--set http.port: unknown field `port`, expected one of `listen`, `advertise`, \
                 `insecure`, `cors_origins`",
            ),
        ] {
            assert_eq!(read("", overrides).unwrap_err(), expected);
        }
        let untyped = Overrides::default().push_typed("--set", "http.listen").unwrap_err();
        assert!(untyped.to_string().starts_with("--set http.listen: write table.key=value"));
    }
}
