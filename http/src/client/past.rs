//! The calls that speak of the past.

use hyper::Method;
use serde_json::json;

use super::{Call, Client, Error, Plans, TargetsQuery, WriteQuery, typed::path, url::query};
use crate::{
    reply::Written,
    view::{DiffView, HistoryView, RevisionList, RevisionView},
};

impl Client {
    /// The history of one object, newest first.
    pub async fn history(
        &self,
        kind: &str,
        name: &str,
        limit: usize,
    ) -> Result<HistoryView, Error> {
        let query = query(&[("limit", Some(limit.to_string()))]);
        let path = path(kind, Some(name));
        self.raw_get(&format!("{path}/history{query}")).await?.json()
    }

    /// The newest writes, newest first.
    pub async fn revisions(&self, limit: usize) -> Result<RevisionList, Error> {
        let query = query(&[("limit", Some(limit.to_string()))]);
        self.raw_get(&format!("/v1/revisions{query}")).await?.json()
    }

    /// One write and what it changed.
    pub async fn revision(&self, revision: u64) -> Result<RevisionView, Error> {
        self.raw_get(&format!("/v1/revisions/{revision}")).await?.json()
    }

    /// What differs between two revisions; without `to`, from then to now.
    pub async fn diff(
        &self,
        from: u64,
        to: Option<u64>,
        targets: &TargetsQuery,
    ) -> Result<DiffView, Error> {
        let (names, selector) = match targets {
            TargetsQuery::All => (None, None),
            TargetsQuery::Names(names) => (Some(names.clone()), None),
            TargetsQuery::Selector(selector) => (None, Some(selector.clone())),
        };
        let query = query(&[
            ("from", Some(from.to_string())),
            ("to", to.map(|to| to.to_string())),
            ("names", names),
            ("selector", selector),
        ]);
        self.raw_get(&format!("/v1/diff{query}")).await?.json()
    }

    /// Brings back what people had set at a revision.
    pub async fn rollback(
        &self,
        to: u64,
        targets: &TargetsQuery,
        how: &WriteQuery,
    ) -> Result<Written, Error> {
        self.send(rollback(to, targets, how, false)).await?.json()
    }

    /// What that would do.
    pub async fn plan_rollback(
        &self,
        to: u64,
        targets: &TargetsQuery,
        how: &WriteQuery,
    ) -> Result<Plans, Error> {
        self.plans(rollback(to, targets, how, true)).await
    }
}

fn rollback(to: u64, targets: &TargetsQuery, how: &WriteQuery, dry: bool) -> Call {
    let query = query(&[
        ("expect", how.expect.map(|revision| revision.to_string())),
        ("note", how.note.clone()),
        ("dryRun", dry.then(|| "plan".to_owned())),
    ]);
    let mut body = targets.body();
    body["to"] = json!(to);
    Call::new(Method::POST, format!("/v1/rollback{query}")).json(&body)
}
