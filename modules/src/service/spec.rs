//! What Cfg asks of one service, read from its paths: first the wish, which is cheap and cannot
//! fail, then the launch, whose every mistake is told with what would be right.

use std::{
    collections::BTreeMap,
    env,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    time::Duration,
};

use kraken_engine::{id::Name, path::Pattern, schema::digest_of, state::State};
use nix::unistd::{Uid, User};
use serde::{Deserialize, Serialize};

use super::{
    LOG_BYTES_DEFAULT, LOG_FILES_DEFAULT, READY_INTERVAL_MS_DEFAULT, READY_TIMEOUT_MS_DEFAULT,
    SPEC_INPUTS, STOP_GRACE_MS_DEFAULT,
};
use crate::asked::{Asked, UnknownVariable};

/// Where programs are looked for unless the service's environment says otherwise.
const PATH_DEFAULT: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Why a service cannot be started as Cfg says. Trying again without a change cannot help.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Error {
    /// There is nothing to run.
    #[error("nothing to run: set /services/{service}/command")]
    NoCommand {
        /// The service.
        service: Name,
    },
    /// The program is nowhere on the search path.
    #[error("command {program:?} was not found in {searched}")]
    NotFound {
        /// What was asked for.
        program: String,
        /// The folders.
        searched: String,
    },
    /// There is no such file.
    #[error("command {path:?} does not exist")]
    NoSuchFile {
        /// The file.
        path: PathBuf,
    },
    /// The file is no program.
    #[error("command {path:?} is not an executable file; check its mode")]
    NotExecutable {
        /// The file.
        path: PathBuf,
    },
    /// The working folder does not exist.
    #[error("folder {path:?} is not a folder; create it, or leave /services/{service}/folder out")]
    NoFolder {
        /// The service.
        service: Name,
        /// The folder.
        path: PathBuf,
    },
    /// A variable that is not ours to give.
    #[error(transparent)]
    UnknownVariable(#[from] UnknownVariable),
    /// No such user.
    #[error("user {user:?} does not exist on this machine")]
    NoUser {
        /// The user.
        user: String,
    },
    /// Only root may become another user.
    #[error("only root can start a service as user {user:?}; run the agent as root")]
    NotRoot {
        /// The user.
        user: String,
    },
    /// A probe that cannot be.
    #[error("/services/{service}/{key} {text:?} cannot be probed: {why}")]
    BadProbe {
        /// The service.
        service: Name,
        /// The path below the service.
        key: &'static str,
        /// What was written.
        text: String,
        /// What would be right.
        why: &'static str,
    },
}

/// What is asked of a service, beside how to start it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wish {
    /// What to do when it ends by itself.
    pub(super) restart: Restart,
    /// The digest of what it is to be started with.
    pub(super) digest: String,
    /// How it is stopped.
    pub(super) stop: StopRule,
    /// What is kept of its output.
    pub(super) log: LogRule,
}

/// What to do with a service that has ended by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Restart {
    /// Start it again.
    Always,
    /// Start it again unless it said that all was well.
    OnFailure,
    /// Leave it.
    Never,
}

/// How a service is stopped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct StopRule {
    /// The signal to begin with.
    pub(super) signal: String,
    /// How long it may take before it is killed, in milliseconds.
    pub(super) grace_ms: u64,
}

/// What is kept of a service's output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct LogRule {
    /// The size at which the file is rotated.
    pub(super) bytes_max: u64,
    /// How many rotated files are kept.
    pub(super) files: u64,
}

/// Everything that the shim must know to become the service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Launch {
    /// The program's file.
    pub(super) program: PathBuf,
    /// The command as it was written: what the program sees as its own name.
    pub(super) name: String,
    /// The arguments.
    pub(super) args: Vec<String>,
    /// The whole environment.
    pub(super) env: BTreeMap<String, String>,
    /// The working folder.
    pub(super) folder: PathBuf,
    /// Whom to become; absent: the agent's own user.
    pub(super) user: Option<Owner>,
}

/// A user of the machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Owner {
    /// The login name.
    pub(super) name: String,
    /// The user id.
    pub(super) uid: u32,
    /// The id of the first group.
    pub(super) gid: u32,
}

/// When a started service counts as running.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Ready {
    /// The probe.
    pub(super) probe: Probe,
    /// How long readiness may take.
    pub(super) timeout: Duration,
    /// The wait between two tries.
    pub(super) interval: Duration,
}

/// How readiness is found out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Probe {
    /// Not at all: running is enough.
    Alive,
    /// This command ends with code 0.
    Exec(Vec<String>),
    /// Something listens at this `host:port`.
    Tcp(String),
    /// A GET of this URL is answered with a status below 400.
    Http(hyper::Uri),
}

/// One service of one node: what all reading of Cfg starts from.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reader<'a> {
    /// The node's name.
    pub(super) node: &'a Name,
    /// The service's name.
    pub(super) service: &'a Name,
    /// The folder that the service may call its own.
    pub(super) data: &'a Path,
    /// The Cfg of the node.
    pub(super) cfg: &'a State,
}

impl Wish {
    /// What a Cfg asks of a service. What the schema would have refused counts as absent.
    pub(super) fn read(service: &Name, cfg: &State) -> Self {
        let asked = asked(cfg, service);
        let count = |key: &str, otherwise: u64| asked.count(key).unwrap_or(otherwise);
        let inputs = SPEC_INPUTS.map(|key| Pattern::new(format!("/services/*/{key}")));
        let patterns: Vec<Pattern> = inputs.into_iter().flatten().collect();
        let digest = digest_of(cfg, &patterns, &vec![service.as_str().into()]);
        Self {
            restart: match asked.text("restart") {
                Some("NEVER") => Restart::Never,
                Some("ON_FAILURE") => Restart::OnFailure,
                _ => Restart::Always,
            },
            digest: digest.as_str().unwrap_or_default().to_owned(),
            stop: StopRule {
                signal: asked.text("stop/signal").unwrap_or("SIGTERM").to_owned(),
                grace_ms: count("stop/graceMs", STOP_GRACE_MS_DEFAULT),
            },
            log: LogRule {
                bytes_max: count("log/bytesMax", LOG_BYTES_DEFAULT),
                files: count("log/files", LOG_FILES_DEFAULT),
            },
        }
    }
}

impl Wish {
    /// The wish for a service of which no Cfg is known; its digest is that of none.
    pub(super) fn unknown() -> Self {
        Self {
            restart: Restart::Always,
            digest: String::new(),
            stop: StopRule { signal: "SIGTERM".to_owned(), grace_ms: STOP_GRACE_MS_DEFAULT },
            log: LogRule { bytes_max: LOG_BYTES_DEFAULT, files: LOG_FILES_DEFAULT },
        }
    }
}

impl Restart {
    /// Whether a service that ended like this is left as it is.
    pub(super) fn leaves(self, success: bool) -> bool {
        match self {
            Self::Always => false,
            Self::OnFailure => success,
            Self::Never => true,
        }
    }
}

impl Reader<'_> {
    /// How to start the service.
    pub(super) fn launch(&self) -> Result<Launch, Error> {
        let service = self.service.clone();
        let Some(name) = self.text("command")?.filter(|name| !name.is_empty()) else {
            return Err(Error::NoCommand { service });
        };
        let user = self.text("user")?.map(|user| find_user(&user)).transpose()?;
        let folder = self.text("folder")?.map_or_else(|| self.data.into(), |f| self.data.join(f));
        // The service's own folder is made when it starts.
        if folder != self.data && !folder.is_dir() {
            return Err(Error::NoFolder { service, path: folder });
        }
        let env = self.environment(user.as_ref().and_then(Option::as_ref))?;
        let program = find_program(&name, &folder, env.get("PATH").map_or("", String::as_str))?;
        let args = self.texts("args")?.unwrap_or_default();
        let user = user.flatten().map(|user| Owner {
            uid: user.uid.as_raw(),
            gid: user.gid.as_raw(),
            name: user.name,
        });
        Ok(Launch { program, name, args, env, folder, user })
    }

    /// When the service counts as running.
    pub(super) fn ready(&self) -> Result<Ready, Error> {
        let ms = |key: &str, otherwise| {
            Duration::from_millis(self.asked().count(key).unwrap_or(otherwise))
        };
        Ok(Ready {
            probe: self.probe()?,
            timeout: ms("ready/timeoutMs", READY_TIMEOUT_MS_DEFAULT),
            interval: ms("ready/intervalMs", READY_INTERVAL_MS_DEFAULT),
        })
    }

    fn probe(&self) -> Result<Probe, Error> {
        let bad = |key, text: &str, why| Error::BadProbe {
            service: self.service.clone(),
            key,
            text: text.to_owned(),
            why,
        };
        if let Some(command) = self.texts("ready/exec")?.filter(|command| !command.is_empty()) {
            return Ok(Probe::Exec(command));
        }
        if let Some(address) = self.text("ready/tcp")? {
            let port = address.rsplit_once(':').and_then(|(_, port)| port.parse::<u16>().ok());
            return match port {
                Some(_) => Ok(Probe::Tcp(address)),
                None => Err(bad("ready/tcp", &address, "write host:port")),
            };
        }
        let Some(url) = self.text("ready/http")? else { return Ok(Probe::Alive) };
        match url.parse::<hyper::Uri>() {
            Ok(uri) if uri.scheme_str() == Some("http") && uri.host().is_some() => {
                Ok(Probe::Http(uri))
            }
            Ok(_) | Err(_) => Err(bad("ready/http", &url, "write http://host:port/path")),
        }
    }

    fn environment(&self, user: Option<&User>) -> Result<BTreeMap<String, String>, Error> {
        let inherited = |name: &str| env::var(name).ok().filter(|value| !value.is_empty());
        let mut env = BTreeMap::from([
            ("PATH".to_owned(), PATH_DEFAULT.to_owned()),
            ("LANG".to_owned(), inherited("LANG").unwrap_or_else(|| "C.UTF-8".to_owned())),
            ("HOME".to_owned(), inherited("HOME").unwrap_or_else(|| "/".to_owned())),
        ]);
        env.extend(inherited("TZ").map(|zone| ("TZ".to_owned(), zone)));
        if let Some(user) = user {
            env.insert("HOME".to_owned(), user.dir.display().to_string());
            env.insert("USER".to_owned(), user.name.clone());
            env.insert("LOGNAME".to_owned(), user.name.clone());
        }
        for (name, value) in self.asked().below("env") {
            let value = self.asked().expand(&format!("env/{name}"), value, &self.variables())?;
            env.insert(name.to_owned(), value);
        }
        env.insert("KRAKEN_NODE".to_owned(), self.node.to_string());
        env.insert("KRAKEN_SERVICE".to_owned(), self.service.to_string());
        Ok(env)
    }

    fn text(&self, key: &str) -> Result<Option<String>, Error> {
        Ok(self.asked().expanded(key, &self.variables())?)
    }

    fn texts(&self, key: &str) -> Result<Option<Vec<String>>, Error> {
        Ok(self.asked().expanded_texts(key, &self.variables())?)
    }

    fn asked(&self) -> Asked<'_> {
        asked(self.cfg, self.service)
    }

    fn variables(&self) -> [(&str, &str); 3] {
        [
            ("node.name", self.node.as_str()),
            ("service.name", self.service.as_str()),
            // What is not UTF-8 could not be written into Cfg either.
            ("service.data", self.data.to_str().unwrap_or_default()),
        ]
    }
}

fn asked<'a>(cfg: &'a State, service: &'a Name) -> Asked<'a> {
    Asked { cfg, top: "/services", name: service.as_str() }
}

/// The user to become; `None` where that is the agent's own.
fn find_user(user: &str) -> Result<Option<User>, Error> {
    let found = match user.parse::<u32>() {
        Ok(uid) => User::from_uid(Uid::from_raw(uid)),
        Err(_) => User::from_name(user),
    };
    let Ok(Some(found)) = found else { return Err(Error::NoUser { user: user.to_owned() }) };
    if found.uid == Uid::effective() {
        return Ok(None);
    }
    if !Uid::effective().is_root() {
        return Err(Error::NotRoot { user: user.to_owned() });
    }
    Ok(Some(found))
}

fn find_program(name: &str, folder: &Path, search: &str) -> Result<PathBuf, Error> {
    if name.contains('/') {
        let path = folder.join(name);
        return if is_executable(&path) {
            Ok(path)
        } else if path.exists() {
            Err(Error::NotExecutable { path })
        } else {
            Err(Error::NoSuchFile { path })
        };
    }
    let candidates = search.split(':').filter(|folder| !folder.is_empty());
    let found =
        candidates.map(|folder| Path::new(folder).join(name)).find(|path| is_executable(path));
    found.ok_or_else(|| Error::NotFound { program: name.to_owned(), searched: search.to_owned() })
}

fn is_executable(path: &Path) -> bool {
    path.metadata().is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use kraken_engine::{path::Path as StatePath, value::Value};

    use super::*;

    fn cfg(pairs: &[(&str, Value)]) -> State {
        let mut state = State::new();
        for (key, value) in pairs {
            let path = StatePath::new(format!("/services/web/{key}")).unwrap();
            state.set(path, value.clone()).unwrap();
        }
        state
    }

    fn texts(items: &[&str]) -> Value {
        items.iter().map(|item| Value::from(*item)).collect()
    }

    struct World(Name, Name, State);

    impl World {
        fn new(pairs: &[(&str, Value)]) -> Self {
            Self(Name::new("n1").unwrap(), Name::new("web").unwrap(), cfg(pairs))
        }

        fn reader(&self) -> Reader<'_> {
            let data = Path::new("/var/lib/web");
            Reader { node: &self.0, service: &self.1, data, cfg: &self.2 }
        }
    }

    fn launch(pairs: &[(&str, Value)]) -> Result<Launch, String> {
        World::new(pairs).reader().launch().map_err(|error| error.to_string())
    }

    fn ready(pairs: &[(&str, Value)]) -> Result<Ready, String> {
        World::new(pairs).reader().ready().map_err(|error| error.to_string())
    }

    #[test]
    fn a_launch_is_read_with_its_variables() {
        let pairs = [
            ("command", "sh".into()),
            ("args", texts(&["-c", "echo ${node.name} ${HOME} ${service.name}:${service.data} $"])),
            ("env/WHO", "${node.name}".into()),
        ];
        let launch = launch(&pairs).unwrap();
        assert_eq!(launch.program.file_name().unwrap(), "sh");
        assert_eq!(launch.args[1], "echo n1 ${HOME} web:/var/lib/web $");
        assert_eq!(launch.env["WHO"], "n1");
        assert_eq!(launch.env["KRAKEN_NODE"], "n1");
        assert_eq!(launch.env["PATH"], PATH_DEFAULT);
        assert_eq!(launch.folder, Path::new("/var/lib/web"));
    }

    #[test]
    fn mistakes_are_told_with_what_would_be_right() {
        let none = "nothing to run: set /services/web/command";
        let cases: [(&[(&str, Value)], &str); 7] = [
            (&[], none),
            (&[("command", "".into())], none),
            (&[("command", "no-such-program".into())], "was not found in /usr/local/sbin:"),
            (&[("command", "/no/such/file".into())], "command \"/no/such/file\" does not exist"),
            (&[("command", "/etc/passwd".into())], "is not an executable file"),
            (
                &[("command", "sh".into()), ("folder", "/no/such/folder".into())],
                "folder \"/no/such/folder\" is not a folder",
            ),
            (
                &[("command", "sh".into()), ("args", texts(&["${node.nmae}"]))],
                "unknown variable \"${node.nmae}\" in /services/web/args",
            ),
        ];
        for (pairs, expected) in cases {
            let error = launch(pairs).unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
        let user = [("command", "sh".into()), ("user", "nobody-of-this-name".into())];
        let error = launch(&user).unwrap_err();
        assert_eq!(error, "user \"nobody-of-this-name\" does not exist on this machine");
    }

    #[test]
    fn probes_are_read_and_wrong_ones_refused() {
        for (key, value, good) in [
            ("ready/exec", texts(&["true"]), true),
            ("ready/tcp", "127.0.0.1:80".into(), true),
            ("ready/tcp", "[::1]:80".into(), true),
            ("ready/tcp", "127.0.0.1".into(), false),
            ("ready/tcp", "host:99999".into(), false),
            ("ready/http", "http://127.0.0.1:80/healthz".into(), true),
            ("ready/http", "https://127.0.0.1/".into(), false),
            ("ready/http", "/healthz".into(), false),
        ] {
            let ready = ready(&[(key, value.clone())]);
            assert_eq!(ready.is_ok(), good, "{key} {value}: {ready:?}");
        }
        let ready = ready(&[("ready/timeoutMs", 1_500.into())]).unwrap();
        assert_eq!((ready.probe, ready.timeout), (Probe::Alive, Duration::from_millis(1_500)));
    }

    #[test]
    fn only_what_the_process_is_started_with_moves_the_digest() {
        let service = Name::new("web").unwrap();
        let base = Wish::read(&service, &cfg(&[("command", "sh".into())])).digest;
        for (key, value, moves) in [
            ("args", texts(&["x"]), true),
            ("env/A", "1".into(), true),
            ("folder", "/".into(), true),
            ("user", "root".into(), true),
            ("state", "RUN".into(), false),
            ("restart", "NEVER".into(), false),
            ("ready/tcp", "a:1".into(), false),
            ("stop/graceMs", 1.into(), false),
            ("log/files", 1.into(), false),
        ] {
            let wish = Wish::read(&service, &cfg(&[("command", "sh".into()), (key, value)]));
            assert_eq!(wish.digest != base, moves, "{key}");
        }
    }

    #[test]
    fn the_restart_policy_says_what_is_left_as_it_is() {
        for (restart, success, leaves) in [
            (Restart::Always, true, false),
            (Restart::Always, false, false),
            (Restart::OnFailure, true, true),
            (Restart::OnFailure, false, false),
            (Restart::Never, true, true),
            (Restart::Never, false, true),
        ] {
            assert_eq!(restart.leaves(success), leaves, "{restart:?} {success}");
        }
    }
}
