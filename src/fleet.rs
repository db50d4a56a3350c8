//! The fleet as verbs see it: which servers to ask, what an object says of itself, and what went
//! wrong in words, with what to do about it.

use std::time::Duration;

use kraken_engine::{id::Name, manifest::NODE_KIND, span::SpanContext};
use kraken_http::{
    client::{self, Client, ListQuery, Settings, TargetsQuery, Trouble},
    problem::REPEAT,
    view::{List, ObjectView},
};
use nix::unistd::{Uid, User};
use serde_json::Value as Json;

use crate::{
    age, complete,
    contexts::Place,
    exit::{Exit, Failure},
    nodes::Nodes,
};

/// Where HTTP is served unless something else is said.
pub(crate) const SERVER: &str = "http://127.0.0.1:3141";

/// How long who follows goes on trying while no server answers: they are started again in less.
const PATIENCE: Duration = Duration::from_secs(30);

/// The variable that names the servers.
const VARIABLE: &str = "KRAKEN_SERVER";
/// The variable that names a context.
const CONTEXT_VARIABLE: &str = "KRAKEN_CONTEXT";
/// The place of what all verbs have in their help, below what each has of its own.
const LAST: usize = 100;

/// Which servers to ask.
#[derive(Debug, clap::Args)]
pub(crate) struct Servers {
    /// Members to ask, separated by commas; the first that answers will do [env: KRAKEN_SERVER]
    /// [default: http://127.0.0.1:3141]
    // Read by hand: a variable that is set would count as typed, and stand in each usage line.
    #[arg(
        long = "server",
        global = true,
        value_name = "URL",
        value_delimiter = ',',
        display_order = LAST
    )]
    servers: Option<Vec<String>>,
    /// The fleet to ask, as `kraken context` knows it, unless servers are named
    /// [env: KRAKEN_CONTEXT]
    #[arg(
        long,
        global = true,
        value_name = "NAME",
        display_order = LAST,
        add = complete::contexts()
    )]
    context: Option<Name>,
    /// How long one answer may take, such as 500ms or 30s [default: 30s]
    #[arg(
        long,
        global = true,
        value_name = "TIME",
        display_order = LAST,
        value_parser = age::read
    )]
    request_timeout: Option<Duration>,
}

impl Servers {
    /// Those of a command line that is still being typed.
    pub(crate) fn typed(servers: Option<&str>, context: Option<&str>) -> Self {
        let split = |urls: &str| urls.split(',').map(str::to_owned).collect();
        Self {
            servers: servers.map(split),
            context: context.and_then(|name| Name::new(name).ok()),
            request_timeout: None,
        }
    }

    /// A client of them.
    pub(crate) fn connect(&self) -> Result<Client, Failure> {
        let (author, caller) = (author(), caller());
        let mut settings = Settings { author, caller, ..Settings::default() };
        if let Some(timeout) = self.request_timeout {
            settings.timeout = timeout;
            // Who does not wait long for one server does not wait longer for all of them.
            settings.patience = settings.patience.min(timeout);
        }
        self.client(settings)
    }

    /// A client that asks each of them once, for so long.
    pub(crate) fn hasty(&self, timeout: Duration) -> Result<Client, Failure> {
        let patience = Duration::ZERO;
        self.client(Settings { connect_timeout: timeout, timeout, patience, ..<_>::default() })
    }

    fn client(&self, settings: Settings) -> Result<Client, Failure> {
        let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let servers = self.named(&variable, &Place::of_process())?;
        Client::with(&servers, settings).map_err(|error| Failure::from(error).exiting(Exit::Usage))
    }

    /// The servers that are meant: those that are named, else those of the context that is.
    fn named(
        &self,
        variable: &impl Fn(&str) -> Option<String>,
        place: &Place,
    ) -> Result<Vec<String>, Failure> {
        if let Some(servers) = &self.servers {
            return Ok(servers.clone());
        }
        match (variable(VARIABLE), &self.context) {
            (None, _) => {}
            (Some(urls), None) => return Ok(urls.split(',').map(str::to_owned).collect()),
            // Either could be the fleet that was meant, and the other one may not be touched.
            (Some(_), Some(context)) => {
                let words = format!("--context {context} and {VARIABLE} both say which fleet");
                let hint = format!("leave one of them out: unset {VARIABLE}");
                return Err(Failure::usage(words).hint(hint));
            }
        }
        let contexts = place.read()?;
        let context = match (&self.context, variable(CONTEXT_VARIABLE), &contexts.current) {
            (Some(typed), _, _) => typed.clone(),
            (None, Some(name), _) => name
                .parse()
                .map_err(|error| Failure::usage(format!("{CONTEXT_VARIABLE}: {error}")))?,
            (None, None, Some(current)) => current.clone(),
            (None, None, None) => return Ok(vec![SERVER.to_owned()]),
        };
        contexts.servers(&context, place)
    }
}

/// A client that goes on when no server answers for a while: for who follows and has had an answer.
pub(crate) fn patient(client: &Client) -> Result<Client, Failure> {
    let settings = Settings { unreachable_patience: PATIENCE, ..client.settings().clone() };
    Ok(Client::with(&client.servers(), settings)?)
}

/// Who asks, for the record: the user at this machine.
pub(crate) fn author() -> Option<String> {
    let user = User::from_uid(Uid::current()).ok().flatten().map(|user| user.name);
    user.filter(|name| name.bytes().all(|byte| byte.is_ascii_graphic()))
}

/// The span that this command is part of, as whoever started it says in the way that Trace Context
/// is told to processes. No attention is paid to what cannot be read.
fn caller() -> Option<SpanContext> {
    std::env::var("TRACEPARENT").ok()?.parse().ok()
}

/// What to do where an address is not that of a member.
const ADDRESS: &str = "members serve HTTP at http://127.0.0.1:3141 unless configured otherwise; \
                       name another server with --server or KRAKEN_SERVER";

/// What to do where nobody knows what became of a write.
const UNKNOWN: &str = "whether it was done is not known; before you repeat it see who leads, and \
                       what was written:\nkraken cluster status, kraken history, kraken get";

/// What it means that no server gave an answer, by why they did not.
fn unanswered(failures: &[client::Failure], after: Duration) -> Failure {
    let are = |trouble| failures.iter().all(|failure| failure.trouble == trouble);
    let any = |trouble| failures.iter().find(|failure| failure.trouble == trouble);
    let said: Vec<String> = failures.iter().map(ToString::to_string).collect();
    let said = said.join("; ");
    if are(Trouble::Unreachable) {
        let servers: Vec<&str> = failures.iter().map(|f| f.server.as_str()).collect();
        return Failure::failed(format!("no server answers at {}", servers.join(", ")))
            .hint("start one with `kraken up`, or name another with --server or KRAKEN_SERVER");
    }
    if any(Trouble::Foreign).is_some() {
        return Failure::failed(said).hint(ADDRESS);
    }
    if any(Trouble::Slow).is_some() {
        return Failure::new(Exit::TimedOut, said).hint(
            "see whether the server is stopped or busy, ask another one with --server, or wait \
             longer with --request-timeout; a write may have been done all the same: see kraken \
             history before you repeat it",
        );
    }
    Failure::failed(format!("no server answered within {after:.1?}: {said}")).hint(ADDRESS)
}

impl From<client::Error> for Failure {
    fn from(error: client::Error) -> Self {
        match &error {
            client::Error::Exhausted { failures, after } if error.code().is_none() => {
                return unanswered(failures, *after);
            }
            client::Error::BadAnswer { server, why } => {
                let words = format!("what answers at {server} is no Kraken server, or one of ");
                return Self::failed(format!("{words}another release: {why}")).hint(ADDRESS);
            }
            client::Error::Exhausted { .. }
            | client::Error::BadServer { .. }
            | client::Error::Problem { .. }
            | client::Error::Unsendable(_) => {}
        }
        let code = error.code().unwrap_or_default().to_owned();
        // Each command has an id of its own, which cannot be typed.
        let failure = match error.to_string() {
            words if words.contains(REPEAT) => Self::failed(words.replace(REPEAT, "")),
            _ => Self::from(anyhow::Error::new(error)),
        };
        let exit = match code.as_str() {
            "precondition_failed"
            | "base_moved"
            | "exists"
            | "deleting"
            | "has_guest"
            | "in_use"
            | "built_in"
            | "not_frozen"
            | "cluster_refused"
            | "stale_term"
            | "foreign_origin" => Exit::Refused,
            "timeout" => Exit::TimedOut,
            _ => Exit::Failed,
        };
        let failure = failure.exiting(exit);
        match code.as_str() {
            "unavailable" => failure.hint("see who votes and who leads: kraken cluster status"),
            "timeout" => failure.hint(UNKNOWN),
            "no_such_object" => {
                let words = failure.words().unwrap_or_default();
                let kind = words.strip_prefix("there is no ").and_then(|of| of.split(' ').next());
                let kind = typed(kind.unwrap_or(NODE_KIND));
                failure.hint(format!("see what there is: kraken get {kind}"))
            }
            "not_frozen" => {
                failure.hint("see what is frozen, by whom and how: kraken freeze --list")
            }
            _ => failure,
        }
    }
}

impl Nodes {
    /// As what to list.
    pub(crate) fn listed(nodes: Option<&Self>) -> ListQuery {
        ListQuery { names: nodes.map(ToString::to_string), ..ListQuery::default() }
    }

    /// As the targets of an operation.
    pub(crate) fn targets(&self) -> TargetsQuery {
        match self {
            Self::Names(_) => TargetsQuery::Names(self.to_string()),
            Self::Selector(selector) => TargetsQuery::Selector(selector.to_string()),
        }
    }

    /// Fails where some of what was asked for by name was not found.
    pub(crate) fn require(&self, kind: &str, found: &List<ObjectView>) -> Result<(), Failure> {
        let there = found.items.iter().map(|object| object.name.as_str());
        let missing: Vec<&str> = self.missing(there).iter().map(|name| name.as_str()).collect();
        if missing.is_empty() {
            return Ok(());
        }
        let missing = kraken_engine::nodeset::fold(missing);
        Err(Failure::failed(format!("there is no {kind} {missing}"))
            .hint(format!("see what there is: kraken get {}", typed(kind))))
    }
}

/// A kind as people write it: the plural of `node` is known.
pub(crate) fn kind(typed: &str) -> &str {
    if typed == "nodes" { "node" } else { typed }
}

/// The name of an object as people write it: `name`, or `namespace/name` where its kind has
/// namespaces.
pub(crate) fn object_name(typed: &str) -> Result<String, String> {
    let (namespace, name) = typed.split_once('/').map_or((None, typed), |(n, o)| (Some(n), o));
    for part in namespace.into_iter().chain([name]) {
        Name::new(part).map_err(|error| error.to_string())?;
    }
    Ok(typed.to_owned())
}

/// A kind as it is asked for in the plural.
pub(crate) fn typed(kind: &str) -> &str {
    if kind == "node" { "nodes" } else { kind }
}

/// An object as `kind/name` or `kind/namespace/name`.
pub(crate) fn reference(object: &ObjectView) -> String {
    format!("{}/{}", object.kind, called(object))
}

/// The name of an object as people write it: `name` or `namespace/name`.
pub(crate) fn called(object: &ObjectView) -> String {
    match &object.namespace {
        Some(namespace) => format!("{namespace}/{}", object.name),
        None => object.name.clone(),
    }
}

/// What the link of a node was last heard to be; empty where nothing was.
pub(crate) fn link(object: &ObjectView) -> &str {
    let link = object.dsc.as_ref().and_then(|dsc| dsc.get("link"));
    link.and_then(Json::as_str).unwrap_or_default()
}

/// Whether a node is attached to a member.
pub(crate) fn is_attached(object: &ObjectView) -> bool {
    link(object) == "UP"
}

/// Whether an object is where it is asked to be, and its decider speaks for its last change.
pub(crate) fn is_converged(object: &ObjectView) -> bool {
    object
        .status
        .as_ref()
        .is_some_and(|status| status.phase == "Converged" && status.revision >= object.revision)
}

#[cfg(test)]
mod tests {
    use kraken_http::problem::{Problem, ProblemBody};

    use super::*;
    use crate::contexts::{Context, Contexts};

    fn body(code: &'static str, status: u16) -> ProblemBody {
        ProblemBody {
            code: code.into(),
            status,
            title: String::new(),
            detail: "so it is".to_owned(),
            faults: Vec::new(),
        }
    }

    fn problem(code: &'static str, status: u16) -> Failure {
        let problem = body(code, status);
        client::Error::Problem { server: "http://s".to_owned(), problem: Box::new(problem) }.into()
    }

    #[test]
    fn problems_have_their_exit_codes_and_hints() {
        for (code, status, exit) in [
            ("base_moved", 412, Exit::Refused),
            ("cluster_refused", 409, Exit::Refused),
            ("timeout", 504, Exit::TimedOut),
            ("invalid", 422, Exit::Failed),
            ("no_such_object", 404, Exit::Failed),
            ("unavailable", 503, Exit::Failed),
        ] {
            let failure = problem(code, status);
            assert_eq!(failure.exit(), exit, "{code}");
            assert!(failure.words().unwrap().starts_with("so it is"), "{code}");
        }
    }

    #[test]
    fn of_a_write_whose_outcome_is_not_known_it_is_told_where_to_look() {
        let detail = Problem::Timeout("the quorum did not answer".to_owned()).to_string();
        let problem = ProblemBody { detail, ..body("timeout", 504) };
        let (server, problem) = ("http://s".to_owned(), Box::new(problem));
        let failure = Failure::from(client::Error::Problem { server, problem });
        assert_eq!(failure.exit(), Exit::TimedOut);
        insta::assert_snapshot!(failure.words().unwrap(), @r"
        the quorum did not answer
          whether it was done is not known; before you repeat it see who leads, and what was written:
          kraken cluster status, kraken history, kraken get
        ");
    }

    #[test]
    fn what_is_missing_is_looked_for_among_its_kind() {
        for (detail, hint) in [
            ("there is no node n9", "kraken get nodes"),
            ("there is no rack default/r9", "kraken get rack"),
        ] {
            let problem = ProblemBody { detail: detail.to_owned(), ..body("no_such_object", 404) };
            let (server, problem) = ("http://s".to_owned(), Box::new(problem));
            let words = Failure::from(client::Error::Problem { server, problem }).words().unwrap();
            assert_eq!(words, format!("{detail}\n  see what there is: {hint}"));
        }
    }

    #[test]
    fn without_a_server_the_way_to_start_one_is_told() {
        let failed = |trouble| {
            let (server, why) = ("http://s".to_owned(), "so it is".to_owned());
            let failures = vec![client::Failure { server, trouble, problem: None, why }];
            Failure::from(client::Error::Exhausted { failures, after: Duration::ZERO })
        };
        let starts = "no server answers at http://s\n  start one with `kraken up`";
        for (trouble, exit, starts) in [
            (Trouble::Unreachable, Exit::Failed, starts),
            (Trouble::Foreign, Exit::Failed, "http://s: so it is\n  members serve HTTP at"),
            (Trouble::Slow, Exit::TimedOut, "http://s: so it is\n  see whether the server is"),
            (Trouble::Cut, Exit::Failed, "no server answered within 0.0ns: http://s: so it is\n"),
        ] {
            let failure = failed(trouble);
            assert!(failure.words().unwrap().starts_with(starts), "{failure:?}");
            assert_eq!(failure.exit(), exit, "{trouble:?}");
        }
    }

    #[test]
    fn servers_win_over_contexts_and_what_is_typed_over_the_environment() {
        let folder = tempfile::tempdir().unwrap();
        let place = Place::at(folder.path().join("contexts.toml"));
        let name = |text: &str| Name::new(text).unwrap();
        let context = |url: &str| Context { servers: vec![url.to_owned()] };
        let contexts = [("a", "http://a"), ("b", "http://b"), ("c", "http://c")];
        let contexts = contexts.map(|(of, url)| (name(of), context(url))).into();
        place.write(&Contexts { current: Some(name("a")), contexts }).unwrap();
        for (typed, server, context, expected) in [
            ((Some("http://t"), Some("c")), Some("http://v"), Some("b"), Ok("http://t")),
            ((None, None), Some("http://v"), Some("b"), Ok("http://v")),
            ((None, Some("c")), None, Some("b"), Ok("http://c")),
            ((None, None), None, Some("b"), Ok("http://b")),
            ((None, None), None, None, Ok("http://a")),
            ((None, Some("c")), Some("http://v"), None, Err("both say which fleet")),
            ((None, Some("d")), None, None, Err("there is no context d in ")),
            ((None, None), None, Some("?"), Err("KRAKEN_CONTEXT: ")),
        ] {
            let servers = Servers {
                servers: typed.0.map(|url| vec![url.to_owned()]),
                context: typed.1.map(name),
                request_timeout: None,
            };
            let variable = |of: &str| {
                let value = if of == VARIABLE { server } else { context };
                value.map(str::to_owned)
            };
            match (servers.named(&variable, &place), expected) {
                (Ok(servers), Ok(expected)) => assert_eq!(servers, [expected]),
                (Err(failure), Err(part)) => {
                    assert!(failure.words().unwrap().contains(part), "{failure:?}");
                    assert_eq!(failure.exit(), Exit::Usage);
                }
                (named, expected) => panic!("{named:?}, not {expected:?}"),
            }
        }
        let nowhere = Place::at(folder.path().join("none.toml"));
        let servers = Servers { servers: None, context: None, request_timeout: None };
        assert_eq!(servers.named(&|_| None, &nowhere).unwrap(), [SERVER]);
    }

    #[test]
    fn what_was_named_must_be_there() {
        let found = List { revision: 1, items: Vec::new(), r#continue: None };
        let nodes: Nodes = "n[1-3]".parse().unwrap();
        let words = nodes.require("node", &found).unwrap_err().words().unwrap();
        assert_eq!(words, "there is no node n[1-3]\n  see what there is: kraken get nodes");
        assert!("@rack".parse::<Nodes>().unwrap().require("node", &found).is_ok());
    }
}
