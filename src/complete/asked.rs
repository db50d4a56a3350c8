//! What a fleet says of itself to who completes words: asked at most once each, and for a short
//! time only.

use std::{cell::OnceCell, collections::BTreeSet, time::Duration};

use kraken_engine::manifest::{Manifest, PathSpec, SetBy};
use kraken_http::{
    client::{Client, encode},
    view::{List, ObjectView},
};
use serde_json::Value as Json;

use super::words::Words;
use crate::fleet::Servers;

/// How long a fleet may take for all that it is asked: a person has pressed a key.
const ANSWER_MAX: Duration = Duration::from_millis(700);
/// Most objects that are asked for.
const OBJECTS_MAX: usize = 10_000;
/// Objects whose paths are asked for.
const SEEN_MAX: usize = 100;

/// A fleet that may answer.
pub(super) struct Asked {
    client: Option<Client>,
    deadline: std::time::Instant,
    manifests: OnceCell<Vec<Manifest>>,
}

impl Asked {
    /// The fleet that the words are about.
    pub(super) fn of(words: &Words) -> Self {
        let (server, context) = (words.option(&["--server"]), words.option(&["--context"]));
        let client = Servers::typed(server, context).hasty(ANSWER_MAX).ok();
        let deadline = std::time::Instant::now() + ANSWER_MAX;
        Self { client, deadline, manifests: OnceCell::new() }
    }

    /// Asks, as long as there is time.
    fn ask<T, F: Future<Output = Option<T>>>(&self, ask: impl FnOnce(Client) -> F) -> Option<T> {
        let client = self.client.clone()?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().ok()?;
        let left = self.deadline.saturating_duration_since(std::time::Instant::now());
        let answer = runtime.block_on(async { tokio::time::timeout(left, ask(client)).await });
        // Nobody waits for what is still under way.
        runtime.shutdown_background();
        answer.ok().flatten()
    }

    /// Objects of a kind: one page of what the server holds.
    pub(super) fn objects(&self, kind: &str) -> Vec<ObjectView> {
        self.page(kind, &format!("view=cfg&limit={OBJECTS_MAX}"))
    }

    fn page(&self, kind: &str, query: &str) -> Vec<ObjectView> {
        let base = match kind {
            "node" => "/v1/nodes".to_owned(),
            kind => format!("/v1/objects/{}", encode(kind)),
        };
        let path = format!("{base}?consistency=stale&{query}");
        let ask = |client: Client| async move {
            client.raw_get(&path).await.ok()?.json::<List<ObjectView>>().ok()
        };
        self.ask(ask).map(|list| list.items).unwrap_or_default()
    }

    /// The names of all kinds.
    pub(super) fn kinds(&self) -> BTreeSet<String> {
        let extensions = self.manifests().iter().flat_map(|manifest| &manifest.extensions);
        extensions.map(|extension| extension.kind.clone()).collect()
    }

    /// The paths of a kind that people may set.
    pub(super) fn rules(&self, kind: &str) -> Vec<PathSpec> {
        let extensions = self.manifests().iter().flat_map(|manifest| &manifest.extensions);
        let of_kind = extensions.filter(|extension| extension.kind == kind);
        let paths = of_kind.flat_map(|extension| &extension.paths);
        paths.filter(|path| path.set_by == SetBy::User).cloned().collect()
    }

    /// Paths that are asked for or seen of some objects.
    pub(super) fn seen(&self, kind: &str, which: &str) -> BTreeSet<String> {
        let names = if kind == "node" { which.to_owned() } else { String::new() };
        let names = if names.is_empty() { names } else { format!("&names={}", encode(&names)) };
        let objects = self.page(kind, &format!("limit={SEEN_MAX}{names}"));
        let mut seen = BTreeSet::new();
        for state in objects.iter().flat_map(|object| object.cfg.iter().chain(&object.dsc)) {
            walk(state, String::new(), &mut seen);
        }
        seen
    }

    pub(super) fn members(&self) -> Vec<String> {
        let ask = |client: Client| async move { client.cluster().await.ok() };
        let quorum = self.ask(ask);
        quorum.into_iter().flat_map(|quorum| quorum.members).map(|member| member.name).collect()
    }

    pub(super) fn modules(&self) -> Vec<String> {
        self.manifests().iter().map(|manifest| manifest.module.clone()).collect()
    }

    fn manifests(&self) -> &[Manifest] {
        let ask = |client: Client| async move { client.get_manifests().await.ok() };
        self.manifests.get_or_init(|| self.ask(ask).unwrap_or_default())
    }
}

/// The paths of a nested state, without their first slash.
fn walk(state: &Json, at: String, into: &mut BTreeSet<String>) {
    let Json::Object(below) = state else {
        into.insert(at);
        return;
    };
    for (key, value) in below {
        let path = match (at.as_str(), key.as_str()) {
            ("", key) => key.to_owned(),
            (at, "") => at.to_owned(),
            (at, key) => format!("{at}/{key}"),
        };
        walk(value, path, into);
    }
}
