//! What Cfg asks of one exec: which commands, where, and for how long.

use std::{
    collections::BTreeMap,
    env,
    path::{Path, PathBuf},
    time::Duration,
};

use kraken_engine::{id::Name, path::Pattern, schema::digest_of, state::State};
use tokio::process::Command;

use super::{CHECK_MAX, SPEC_INPUTS, TIMEOUT_MS_DEFAULT};
use crate::asked::{Asked, UnknownVariable};

/// Where programs are looked for unless `env` says otherwise.
const PATH_DEFAULT: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What is asked of one exec.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wish {
    /// The digest of what is to be run.
    pub(super) digest: String,
    /// How long `apply` may take.
    pub(super) limit: Duration,
    /// What is to be run, unless Cfg cannot mean it.
    pub(super) calls: Result<Calls, UnknownVariable>,
}

/// The commands of one exec.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Calls {
    /// Tells whether it is done.
    pub(super) check: Option<Vec<String>>,
    /// Does it.
    pub(super) apply: Option<Vec<String>>,
    env: BTreeMap<String, String>,
    folder: PathBuf,
}

/// Whose Cfg is read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reader<'a> {
    /// The node's name.
    pub(super) node: &'a Name,
    /// The exec's name.
    pub(super) exec: &'a Name,
    /// The folder that the exec may call its own.
    pub(super) data: &'a Path,
}

impl Reader<'_> {
    /// What a Cfg asks of the exec.
    pub(super) fn read(&self, cfg: &State) -> Wish {
        let asked = Asked { cfg, top: "/execs", name: self.exec.as_str() };
        let inputs = SPEC_INPUTS.map(|key| Pattern::new(format!("/execs/*/{key}")));
        let patterns: Vec<Pattern> = inputs.into_iter().flatten().collect();
        let digest = digest_of(cfg, &patterns, &vec![self.exec.as_str().into()]);
        Wish {
            digest: digest.as_str().unwrap_or_default().to_owned(),
            limit: Duration::from_millis(asked.count("timeoutMs").unwrap_or(TIMEOUT_MS_DEFAULT)),
            calls: self.calls(&asked),
        }
    }

    fn calls(&self, asked: &Asked<'_>) -> Result<Calls, UnknownVariable> {
        let data = self.data.display().to_string();
        let variables = [
            ("node.name", self.node.as_str()),
            ("exec.name", self.exec.as_str()),
            ("exec.data", data.as_str()),
        ];
        let command = |key: &str| -> Result<Option<Vec<String>>, UnknownVariable> {
            // An empty list is no command.
            Ok(asked.expanded_texts(key, &variables)?.filter(|words| !words.is_empty()))
        };
        let mut env = inherited();
        for (name, value) in asked.below("env") {
            let value = asked.expand(&format!("env/{name}"), value, &variables)?;
            env.insert(name.to_owned(), value);
        }
        env.insert("KRAKEN_NODE".to_owned(), self.node.to_string());
        env.insert("KRAKEN_EXEC".to_owned(), self.exec.to_string());
        let folder = asked.expanded("folder", &variables)?;
        Ok(Calls {
            check: command("check")?,
            apply: command("apply")?,
            env,
            folder: folder.map_or_else(|| self.data.into(), |folder| self.data.join(folder)),
        })
    }
}

impl Wish {
    /// The command that tells whether it is done.
    pub(super) fn check(&self) -> Option<&[String]> {
        self.calls.as_ref().ok()?.check.as_deref()
    }

    /// How long a check may take.
    pub(super) fn check_limit(&self) -> Duration {
        self.limit.min(CHECK_MAX)
    }
}

impl Calls {
    /// A command of these words, ready to run.
    pub(super) fn command(&self, words: &[String]) -> Command {
        let (program, args) = words.split_first().map_or(("", &[][..]), |(p, args)| (p, args));
        let mut command = Command::new(program);
        command.args(args).env_clear().envs(&self.env).current_dir(&self.folder);
        command
    }
}

/// What of the agent's own environment its commands are given.
fn inherited() -> BTreeMap<String, String> {
    let own = |name: &str| env::var(name).ok().filter(|value| !value.is_empty());
    let mut env = BTreeMap::from([
        ("PATH".to_owned(), PATH_DEFAULT.to_owned()),
        ("LANG".to_owned(), own("LANG").unwrap_or_else(|| "C.UTF-8".to_owned())),
        ("HOME".to_owned(), own("HOME").unwrap_or_else(|| "/".to_owned())),
    ]);
    env.extend(own("TZ").map(|zone| ("TZ".to_owned(), zone)));
    env
}

#[cfg(test)]
mod tests {
    use kraken_engine::value::Value;

    use super::*;

    fn texts(items: &[&str]) -> Value {
        items.iter().map(|item| Value::from(*item)).collect()
    }

    fn read(pairs: &[(&str, Value)]) -> Wish {
        let mut cfg = State::new();
        for (key, value) in pairs {
            let path = kraken_engine::path::Path::new(format!("/execs/tune/{key}")).unwrap();
            cfg.set(path, value.clone()).unwrap();
        }
        let (node, exec) = (Name::new("n1").unwrap(), Name::new("tune").unwrap());
        Reader { node: &node, exec: &exec, data: Path::new("/data/tune") }.read(&cfg)
    }

    #[test]
    fn commands_are_read_with_their_variables() {
        let wish = read(&[
            ("apply", texts(&["echo", "${node.name} ${exec.name} ${HOME} ${exec.data}"])),
            ("check", texts(&[])),
            ("env/A", "${node.name}".into()),
            ("folder", "sub".into()),
        ]);
        let calls = wish.calls.unwrap();
        assert_eq!(calls.apply.unwrap(), ["echo", "n1 tune ${HOME} /data/tune"]);
        assert_eq!(calls.check, None);
        assert_eq!(calls.folder, Path::new("/data/tune/sub"));
        for (name, value) in
            [("A", "n1"), ("PATH", PATH_DEFAULT), ("KRAKEN_NODE", "n1"), ("KRAKEN_EXEC", "tune")]
        {
            assert_eq!(calls.env[name], value, "{name}");
        }
        assert_eq!(wish.limit, Duration::from_millis(TIMEOUT_MS_DEFAULT));
    }

    #[test]
    fn a_variable_that_is_not_ours_is_told() {
        let error = read(&[("apply", texts(&["${exec.nmae}"]))]).calls.unwrap_err().to_string();
        assert!(error.contains("\"${exec.nmae}\" in /execs/tune/apply"), "{error}");
    }

    #[test]
    fn only_what_is_run_moves_the_digest() {
        let base = read(&[("apply", texts(&["true"]))]).digest;
        for (key, value, moves) in [
            ("check", texts(&["true"]), true),
            ("env/A", "1".into(), true),
            ("folder", "/".into(), true),
            ("state", "DONE".into(), false),
            ("timeoutMs", 5.into(), false),
        ] {
            let digest = read(&[("apply", texts(&["true"])), (key, value)]).digest;
            assert_eq!(digest != base, moves, "{key}");
        }
    }

    #[test]
    fn a_check_is_given_no_longer_than_its_limit() {
        for (timeout, expected) in [(5_000, Duration::from_secs(5)), (600_000, CHECK_MAX)] {
            assert_eq!(read(&[("timeoutMs", timeout.into())]).check_limit(), expected);
        }
    }
}
