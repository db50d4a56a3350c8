//! The fleet as verbs see it: which servers to ask, what an object says of itself, and what went
//! wrong in words, with what to do about it.

use std::time::Duration;

use kraken_engine::id::Name;
use kraken_http::{
    client::{self, Client, ListQuery, Settings, TargetsQuery},
    view::{List, ObjectView},
};
use nix::unistd::{Uid, User};
use serde_json::Value as Json;

use crate::{
    exit::{Exit, Failure},
    nodes::Nodes,
};

/// Where HTTP is served unless something else is said.
pub(crate) const SERVER: &str = "http://127.0.0.1:3141";

/// How long who follows goes on trying while no server answers: they are started again in less.
const PATIENCE: Duration = Duration::from_secs(30);

/// The variable that names the servers.
const VARIABLE: &str = "KRAKEN_SERVER";
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
}

impl Servers {
    /// A client of them.
    pub(crate) fn connect(&self) -> Result<Client, Failure> {
        let settings = Settings { author: author(), ..Settings::default() };
        let variable = std::env::var(VARIABLE).ok().filter(|urls| !urls.is_empty());
        let split = |urls: String| urls.split(',').map(str::to_owned).collect();
        let servers = self.servers.clone().or_else(|| variable.map(split));
        let servers: Vec<String> = servers.unwrap_or_else(|| vec![SERVER.to_owned()]);
        Client::with(&servers, settings).map_err(|error| Failure::from(error).exiting(Exit::Usage))
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

impl From<client::Error> for Failure {
    fn from(error: client::Error) -> Self {
        if let client::Error::Exhausted { failures, .. } = &error
            && error.is_unreachable()
        {
            let servers: Vec<&str> = failures.iter().map(|f| f.server.as_str()).collect();
            return Self::failed(format!("no server answers at {}", servers.join(", "))).hint(
                "start one with `kraken up`, or name another with --server or KRAKEN_SERVER",
            );
        }
        let code = error.code().unwrap_or_default().to_owned();
        let failure = Self::from(anyhow::Error::new(error));
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
            "no_such_object" => failure.hint("see what there is: kraken get nodes"),
            "not_frozen" => failure.hint("see by whom and how: kraken get nodes -o wide"),
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
fn typed(kind: &str) -> &str {
    if kind == "node" { "nodes" } else { kind }
}

/// An object as `kind/name` or `kind/namespace/name`.
pub(crate) fn reference(object: &ObjectView) -> String {
    let (kind, name) = (&object.kind, &object.name);
    match &object.namespace {
        Some(namespace) => format!("{kind}/{namespace}/{name}"),
        None => format!("{kind}/{name}"),
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
    use kraken_http::problem::ProblemBody;

    use super::*;

    fn problem(code: &'static str, status: u16) -> Failure {
        let problem = ProblemBody {
            code: code.into(),
            status,
            title: String::new(),
            detail: "so it is".to_owned(),
            faults: Vec::new(),
        };
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
    fn without_a_server_the_way_to_start_one_is_told() {
        let failure = client::Failure {
            server: "http://s".to_owned(),
            is_unreachable: true,
            problem: None,
            why: "cannot be reached (Connection refused)".to_owned(),
        };
        let after = std::time::Duration::ZERO;
        let failure = Failure::from(client::Error::Exhausted { failures: vec![failure], after });
        let words = failure.words().unwrap();
        assert!(words.starts_with("no server answers at http://s\n  start one with `kraken up`"));
        assert_eq!(failure.exit(), Exit::Failed);
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
