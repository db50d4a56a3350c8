//! The members' HTTP as tests use it: the one client of the project, and beside it answers of any
//! status, which a test judges for itself.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context as _, Result};
use kraken_http::{
    client::{Call, Client, ClusterView, Error, EventsQuery, ListQuery, Settings, WriteQuery},
    view::{EventView, ObjectView},
};
use serde_json::Value as Json;

/// How long one try of one request may take.
const TRY_MAX: Duration = Duration::from_secs(20);

/// A client of one member or of several.
#[derive(Debug, Clone)]
pub struct Edge {
    client: Client,
}

/// An answer of any status.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The revision that was read or written, where the answer says.
    pub revision: Option<u64>,
    /// The body, where it is JSON.
    pub body: Json,
}

impl Answer {
    /// Whether the request was carried out.
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }
}

/// A request with a method such as `POST`.
pub fn call(method: &str, path: &str) -> Result<Call> {
    Ok(Call::new(method.parse()?, path))
}

impl Edge {
    /// A client of the members at these URLs; any of them may answer.
    pub fn new(urls: &[String]) -> Result<Self> {
        Self::hasty(urls, TRY_MAX)
    }

    /// The same, with a time after which a try is given up.
    pub fn hasty(urls: &[String], try_max: Duration) -> Result<Self> {
        let settings = Settings {
            timeout: try_max,
            author: Some("testkit".to_owned()),
            ..Settings::default()
        };
        Ok(Self { client: Client::with(urls, settings)? })
    }

    /// The client itself.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Sends a request. An error means that nobody answered it: what it asked for may have been
    /// done or not.
    pub async fn ask(&self, call: Call) -> Result<Answer> {
        Ok(judged(self.client.send(call).await)?)
    }

    /// Sends a request once to one of the members, counted from 0, as it is: without a request id
    /// unless it has one. An error means that it did not answer.
    pub async fn ask_one(&self, member: usize, call: &Call) -> Result<Answer, Error> {
        judged(self.client.send_to(member, call).await)
    }

    /// All nodes by name, their Cfg as of now and what the member that answers has seen of them.
    pub async fn nodes(&self) -> Result<BTreeMap<String, ObjectView>> {
        let list = self.client.get_nodes(&ListQuery::default()).await?;
        Ok(list.items.into_iter().map(|node| (node.name.clone(), node)).collect())
    }

    /// One node.
    pub async fn node(&self, name: &str) -> Result<ObjectView> {
        Ok(self.client.get("node", name).await?)
    }

    /// Applies manifests and returns the revision.
    pub async fn apply(&self, manifests: &str) -> Result<u64> {
        let written = self.client.apply(manifests.to_owned(), &WriteQuery::default()).await;
        Ok(written.context("apply")?.revision)
    }

    /// Merges a patch into the Cfg of a node and returns the revision.
    pub async fn patch(&self, node: &str, cfg: &Json) -> Result<u64> {
        let written = self.client.patch("node", node, cfg, &WriteQuery::default()).await;
        Ok(written.with_context(|| format!("patch of {node}"))?.revision)
    }

    /// The newest events of a node that the member that answers holds, the oldest first.
    pub async fn events(&self, node: &str) -> Result<Vec<EventView>> {
        let wanted = EventsQuery { object: Some(format!("node/{node}")), ..EventsQuery::default() };
        Ok(self.client.get_events(&wanted).await?.items)
    }

    /// The quorum as the member that answers sees it.
    pub async fn cluster(&self) -> Result<ClusterView> {
        Ok(self.client.cluster().await?)
    }
}

/// A problem is an answer too.
fn judged(answer: Result<kraken_http::client::Answer, Error>) -> Result<Answer, Error> {
    match answer {
        Ok(answer) => {
            let (status, revision) = (answer.status, answer.revision);
            let body = serde_json::from_slice(&answer.body).unwrap_or_default();
            Ok(Answer { status, revision, body })
        }
        Err(Error::Problem { problem, .. }) => {
            let body = serde_json::to_value(&problem).unwrap_or_default();
            Ok(Answer { status: problem.status, revision: None, body })
        }
        Err(error) => Err(error),
    }
}
