//! Every call of the API with its types.

use bytes::Bytes;
use hyper::Method;
use kraken_engine::{event::EventKind, manifest::Manifest};
use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};

use super::{
    Answer, Call, Client, Error, Events, Watch,
    url::{encode, query},
};
use crate::{
    reply::Written,
    routes::{Checked, ObjectPlan},
    view::{EventView, FreezeView, List, ObjectView, WhyView},
};

/// What to list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ListQuery {
    /// A selector, such as `rack=r1,role!=gw`.
    pub selector: Option<String>,
    /// A node set, such as `n[1-64]`, or `@` and a selector.
    pub names: Option<String>,
    /// Only of this namespace.
    pub namespace: Option<String>,
    /// `both`, `cfg`, `dsc` or `merged`.
    pub view: Option<String>,
    /// `linearizable`, `leader` or `stale`.
    pub consistency: Option<String>,
    /// Most items of a page; pages are followed to the last.
    pub limit: Option<usize>,
}

/// How to write.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WriteQuery {
    /// Only if Cfg is at this revision.
    pub expect: Option<u64>,
    /// Only if the object's tag is this one.
    pub if_match: Option<String>,
    /// A word to those who read the history.
    pub note: Option<String>,
    /// Of a patch: texts are as people type them, and read as the types of their paths say.
    pub typed: bool,
}

/// Which objects an operation means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TargetsQuery {
    /// Everything.
    All,
    /// What a selector selects.
    Selector(String),
    /// A node set.
    Names(String),
}

/// Which events to show.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EventsQuery {
    /// Of an object: its name, `kind/name` or uid.
    pub object: Option<String>,
    /// Of a kind of event.
    pub kind: Option<EventKind>,
    /// After the cursor of an event.
    pub after: Option<String>,
    /// Most events; when following, most that lie in the past.
    pub limit: Option<usize>,
}

/// What to watch.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WatchQuery {
    /// After this revision; from now on where absent.
    pub from: Option<u64>,
    /// The epoch of that revision, as an earlier line told it.
    pub epoch: Option<u64>,
    /// Of these kinds, separated by commas.
    pub kinds: Option<String>,
    /// What a selector selects.
    pub selector: Option<String>,
    /// A node set.
    pub names: Option<String>,
    /// `cfg`, `dsc` or both, separated by a comma.
    pub states: Option<String>,
}

/// A member that can serve.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Ready {
    /// The leading member.
    pub leader: u64,
    /// The revision of the answering member.
    pub revision: u64,
}

impl TargetsQuery {
    pub(super) fn body(&self) -> Json {
        match self {
            Self::All => json!({ "all": true }),
            Self::Selector(selector) => json!({ "selector": selector }),
            Self::Names(names) => json!({ "names": names }),
        }
    }
}

/// The path of a kind, and of one object of it, `name` or `namespace/name`.
pub(super) fn path(kind: &str, name: Option<&str>) -> String {
    // Nodes are in no namespace.
    let namespaced = name.filter(|_| kind != "node").and_then(|name| name.split_once('/'));
    if let Some((namespace, name)) = namespaced {
        return format!("{}/{}", within(namespace, kind), encode(name));
    }
    let kind = match kind {
        "node" => "/v1/nodes".to_owned(),
        kind => format!("/v1/objects/{}", encode(kind)),
    };
    match name {
        Some(name) => format!("{kind}/{}", encode(name)),
        None => kind,
    }
}

/// The path of a kind in one namespace.
fn within(namespace: &str, kind: &str) -> String {
    format!("/v1/namespaces/{}/objects/{}", encode(namespace), encode(kind))
}

impl Client {
    /// Any GET.
    pub async fn raw_get(&self, path: &str) -> Result<Answer, Error> {
        self.send(Call::new(Method::GET, path)).await
    }

    /// Any POST of JSON.
    pub async fn raw_post(&self, path: &str, body: &Json) -> Result<Answer, Error> {
        self.send(Call::new(Method::POST, path).json(body)).await
    }

    /// Nodes.
    pub async fn get_nodes(&self, wanted: &ListQuery) -> Result<List<ObjectView>, Error> {
        self.get_objects("node", wanted).await
    }

    /// Objects of a kind, all pages of them. The revision is that of the first page.
    pub async fn get_objects(
        &self,
        kind: &str,
        wanted: &ListQuery,
    ) -> Result<List<ObjectView>, Error> {
        let mut all = self.page(kind, wanted, None).await?;
        while let Some(next) = all.r#continue.take() {
            let page = self.page(kind, wanted, Some(next)).await?;
            all.items.extend(page.items);
            all.r#continue = page.r#continue;
        }
        Ok(all)
    }

    /// The first of them.
    pub async fn get_first(
        &self,
        kind: &str,
        wanted: &ListQuery,
    ) -> Result<Option<ObjectView>, Error> {
        let wanted = ListQuery { limit: Some(1), ..wanted.clone() };
        Ok(self.page(kind, &wanted, None).await?.items.pop())
    }

    async fn page(
        &self,
        kind: &str,
        wanted: &ListQuery,
        next: Option<String>,
    ) -> Result<List<ObjectView>, Error> {
        let query = query(&[
            ("selector", wanted.selector.clone()),
            ("names", wanted.names.clone()),
            ("view", wanted.view.clone()),
            ("consistency", wanted.consistency.clone()),
            ("limit", wanted.limit.map(|limit| limit.to_string())),
            ("continue", next),
        ]);
        let base = match &wanted.namespace {
            Some(namespace) => within(namespace, kind),
            None => path(kind, None),
        };
        self.raw_get(&format!("{base}{query}")).await?.json()
    }

    /// One object by name or uid.
    pub async fn get(&self, kind: &str, name: &str) -> Result<ObjectView, Error> {
        self.raw_get(&path(kind, Some(name))).await?.json()
    }

    /// The same with its tag, for `If-Match`.
    pub async fn get_tagged(
        &self,
        kind: &str,
        name: &str,
    ) -> Result<(ObjectView, Option<String>), Error> {
        let answer = self.raw_get(&path(kind, Some(name))).await?;
        Ok((answer.json()?, answer.tag))
    }

    /// Replaces what is asked of an object, or creates it.
    pub async fn put(
        &self,
        kind: &str,
        name: &str,
        manifest: &Json,
        how: &WriteQuery,
    ) -> Result<Written, Error> {
        let call = Call::new(Method::PUT, how.on(&path(kind, Some(name)))).json(manifest);
        self.send(how.guard(call)).await?.json()
    }

    /// The same with the manifest as people write it, YAML or JSON.
    pub async fn put_text(
        &self,
        kind: &str,
        name: &str,
        manifest: impl Into<Bytes>,
        how: &WriteQuery,
    ) -> Result<Written, Error> {
        self.send(put_text((kind, name), manifest, how, false)).await?.json()
    }

    /// Changes some of what is asked of an object: a merge patch of its Cfg.
    pub async fn patch(
        &self,
        kind: &str,
        name: &str,
        patch: &Json,
        how: &WriteQuery,
    ) -> Result<Written, Error> {
        self.send(patch_one((kind, name), patch, how, false)).await?.json()
    }

    /// The same for all nodes of a node set, or for all that a selector selects.
    pub async fn patch_nodes(
        &self,
        targets: &TargetsQuery,
        patch: &Json,
        how: &WriteQuery,
    ) -> Result<Written, Error> {
        self.send(patch_many(targets, patch, how, false)).await?.json()
    }

    /// Marks an object for removal; with `force` removes it at once.
    pub async fn delete(&self, kind: &str, name: &str, force: bool) -> Result<Written, Error> {
        let query = query(&[("force", force.then(|| "true".to_owned()))]);
        let path = format!("{}{query}", path(kind, Some(name)));
        self.send(Call::new(Method::DELETE, path)).await?.json()
    }

    /// Creates or updates what manifests declare, YAML or JSON, all or nothing.
    pub async fn apply(
        &self,
        manifests: impl Into<Bytes>,
        how: &WriteQuery,
    ) -> Result<Written, Error> {
        let call = Call::new(Method::POST, how.on("/v1/apply")).body(YAML, manifests);
        self.send(call).await?.json()
    }

    /// A transaction.
    pub async fn txn(&self, txn: &Json) -> Result<Written, Error> {
        self.raw_post("/v1/txn", txn).await?.json()
    }

    /// What will be done for an object.
    pub async fn plan_of(&self, kind: &str, name: &str) -> Result<ObjectPlan, Error> {
        self.raw_get(&format!("{}/plan", path(kind, Some(name)))).await?.json()
    }

    /// Why an object stands where it stands.
    pub async fn why(&self, kind: &str, name: &str) -> Result<WhyView, Error> {
        self.raw_get(&format!("{}/why", path(kind, Some(name)))).await?.json()
    }

    /// The newest events, or those after a cursor; oldest first.
    pub async fn get_events(&self, wanted: &EventsQuery) -> Result<List<EventView>, Error> {
        self.raw_get(&format!("/v1/events{}", wanted.write(false))).await?.json()
    }

    /// Follows events as they happen, over reconnections and other servers.
    pub fn events(&self, wanted: EventsQuery) -> Events {
        Events::new(self.clone(), wanted)
    }

    /// Watches changes, over reconnections and other servers.
    pub fn watch(&self, wanted: WatchQuery) -> Watch {
        Watch::new(self.clone(), wanted)
    }

    /// Stops dispatching for objects until they are thawed.
    pub async fn freeze(&self, targets: &TargetsQuery) -> Result<Written, Error> {
        self.raw_post("/v1/freeze", &targets.body()).await?.json()
    }

    /// The freezes in force, oldest first.
    pub async fn get_freezes(&self) -> Result<List<FreezeView>, Error> {
        self.raw_get("/v1/freeze").await?.json()
    }

    /// Takes a freeze back, in the words in which it was asked for.
    pub async fn thaw(&self, targets: &TargetsQuery) -> Result<Written, Error> {
        self.raw_post("/v1/thaw", &targets.body()).await?.json()
    }

    /// Has objects tried again.
    pub async fn retry(&self, targets: &TargetsQuery) -> Result<Written, Error> {
        self.raw_post("/v1/retry", &targets.body()).await?.json()
    }

    /// A mutation graph as `json`, `dot`, `mermaid` or `svg`, of a node or of a kind.
    pub async fn graph(
        &self,
        kind: Option<&str>,
        node: Option<&str>,
        format: &str,
    ) -> Result<String, Error> {
        let query = query(&[
            ("kind", kind.map(str::to_owned)),
            ("node", node.map(str::to_owned)),
            ("format", Some(format.to_owned())),
        ]);
        let answer = self.raw_get(&format!("/v1/graph{query}")).await?;
        Ok(String::from_utf8_lossy(&answer.body).into_owned())
    }

    /// The modules that are declared, each in a few words.
    pub async fn get_modules(&self) -> Result<List<Json>, Error> {
        self.raw_get("/v1/modules").await?.json()
    }

    /// What a module declares.
    pub async fn get_module(&self, name: &str) -> Result<Manifest, Error> {
        self.raw_get(&format!("/v1/modules/{}", encode(name))).await?.json()
    }

    /// What all modules declare.
    pub async fn get_manifests(&self) -> Result<Vec<Manifest>, Error> {
        let mut manifests = Vec::new();
        for module in self.get_modules().await?.items {
            let Some(name) = module["name"].as_str() else { continue };
            match self.get_module(name).await {
                Ok(manifest) => manifests.push(manifest),
                // It was withdrawn meanwhile.
                Err(error) if error.code() == Some("no_such_thing") => {}
                Err(error) => return Err(error),
            }
        }
        Ok(manifests)
    }

    /// Declares modules, YAML or JSON.
    pub async fn add_modules(&self, declarations: impl Into<Bytes>) -> Result<Written, Error> {
        let call = Call::new(Method::POST, "/v1/modules").body(YAML, declarations);
        self.send(call).await?.json()
    }

    /// Withdraws what a module declares; by force also what a release brought.
    pub async fn withdraw_module(&self, name: &str, force: bool) -> Result<Written, Error> {
        let force = force.then(|| "true".to_owned());
        let path = format!("/v1/modules/{}{}", encode(name), query(&[("force", force)]));
        self.send(Call::new(Method::DELETE, path)).await?.json()
    }

    /// What is found in declarations together with what is declared.
    pub async fn check(&self, declarations: impl Into<Bytes>) -> Result<Checked, Error> {
        let call = Call::new(Method::POST, "/v1/graph/check").body(YAML, declarations);
        self.send(call).await?.json()
    }

    /// Whether a server can serve.
    pub async fn ready(&self) -> Result<Ready, Error> {
        self.raw_get("/readyz").await?.json()
    }
}

pub(super) const YAML: &str = "application/yaml";

pub(super) fn put_text(
    (kind, name): (&str, &str),
    manifest: impl Into<Bytes>,
    how: &WriteQuery,
    dry: bool,
) -> Call {
    let path = dry_path(how.on(&path(kind, Some(name))), dry);
    how.guard(Call::new(Method::PUT, path).body(YAML, manifest))
}

/// Asks for a plan only, where it is to be dry.
fn dry_path(path: String, dry: bool) -> String {
    match (dry, path.contains('?')) {
        (false, _) => path,
        (true, true) => path + "&dryRun=plan",
        (true, false) => path + "?dryRun=plan",
    }
}

pub(super) fn patch_one(
    (kind, name): (&str, &str),
    patch: &Json,
    how: &WriteQuery,
    dry: bool,
) -> Call {
    let path = dry_path(how.on(&path(kind, Some(name))), dry);
    how.guard(Call::new(Method::PATCH, path).json(patch))
}

pub(super) fn patch_many(
    targets: &TargetsQuery,
    patch: &Json,
    how: &WriteQuery,
    dry: bool,
) -> Call {
    let (selector, names) = match targets {
        TargetsQuery::All => (None, None),
        TargetsQuery::Selector(selector) => (Some(selector.clone()), None),
        TargetsQuery::Names(names) => (None, Some(names.clone())),
    };
    let query = query(&[
        ("selector", selector),
        ("names", names),
        ("expect", how.expect.map(|revision| revision.to_string())),
        ("note", how.note.clone()),
        ("dryRun", dry.then(|| "plan".to_owned())),
        ("typed", how.typed.then(|| "true".to_owned())),
    ]);
    Call::new(Method::PATCH, format!("/v1/nodes{query}")).json(patch)
}

impl WriteQuery {
    fn on(&self, path: &str) -> String {
        let expect = self.expect.map(|revision| revision.to_string());
        let typed = self.typed.then(|| "true".to_owned());
        let query = query(&[("expect", expect), ("note", self.note.clone()), ("typed", typed)]);
        format!("{path}{query}")
    }

    fn guard(&self, call: Call) -> Call {
        match &self.if_match {
            Some(tag) => call.header("if-match", tag.clone()),
            None => call,
        }
    }
}

impl EventsQuery {
    pub(super) fn write(&self, follow: bool) -> String {
        query(&[
            ("object", self.object.clone()),
            ("kind", self.kind.map(|kind| kind.as_str().to_owned())),
            ("after", self.after.clone()),
            ("limit", self.limit.map(|limit| limit.to_string())),
            ("follow", follow.then(|| "true".to_owned())),
        ])
    }
}

impl WatchQuery {
    pub(super) fn write(&self) -> String {
        query(&[
            ("from", self.from.map(|revision| revision.to_string())),
            ("epoch", self.from.and(self.epoch).map(|epoch| epoch.to_string())),
            ("kinds", self.kinds.clone()),
            ("selector", self.selector.clone()),
            ("names", self.names.clone()),
            ("states", self.states.clone()),
        ])
    }
}
