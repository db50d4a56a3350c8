//! The clients: each does one thing after the other, and notes what it was told and when.

use std::sync::{Arc, atomic::Ordering};

use anyhow::{Context as _, Result, ensure};
use kraken_http::{
    client::{WatchKind, WatchQuery},
    view::ObjectView,
};
use serde_json::{Value as Json, json};
use tokio_util::sync::CancellationToken;

use super::{Desk, nemesis::Chance};
use crate::{
    edge::{Edge, call},
    serial::{Op, Told, What},
};

/// One client.
pub(super) struct Worker {
    number: usize,
    keys: usize,
    chance: Chance,
    edge: Edge,
    desk: Arc<Desk>,
    /// Numbers its writes, so that no value is written twice in a run.
    count: u64,
}

/// What a key is called.
fn key(number: u64) -> String {
    format!("key{number}")
}

/// The Cfg of a key that holds a value: a variable that means nothing to any module.
fn cfg(value: &str) -> Json {
    json!({ "services": { "key": { "env": { "VALUE": value } } } })
}

/// What a key holds, and since which revision.
fn held(item: &ObjectView) -> Option<(String, u64)> {
    let value = item.cfg.as_ref()?.pointer("/services/key/env/VALUE")?.as_str()?;
    Some((value.to_owned(), item.revision))
}

impl Worker {
    pub(super) fn new(number: usize, keys: usize, seed: u64, edge: Edge, desk: Arc<Desk>) -> Self {
        let chance = Chance::new(seed.wrapping_mul(1_000_003).wrapping_add(number as u64 + 1));
        Self { number, keys, chance, edge, desk, count: 0 }
    }

    pub(super) async fn run(mut self) -> Result<()> {
        while !self.desk.stop.load(Ordering::Relaxed) {
            let key = key(self.chance.below(self.keys as u64));
            match self.chance.below(10) {
                0..4 => self.read(&key).await?.map(drop).unwrap_or_default(),
                4..7 => self.write(&key, None).await?,
                _ => {
                    if let Some(found) = self.read(&key).await? {
                        self.write(&key, Some(found)).await?;
                    }
                }
            }
        }
        Ok(())
    }

    fn note(&self, key: &str, asked: u64, answered: Option<u64>, what: What) {
        let key = key.to_owned();
        self.desk.put(Op { client: self.number, asked, answered, key, what });
    }

    /// Reads a key; the revision that it holds, 0 where it is not there. Without an answer nothing
    /// is noted: a read changes nothing.
    async fn read(&self, key: &str) -> Result<Option<u64>> {
        let asked = self.desk.now();
        let Ok(answer) = self.edge.ask(call("GET", &format!("/v1/nodes/{key}"))?).await else {
            return Ok(None);
        };
        let answered = Some(self.desk.now());
        let found = match answer.status {
            200 => held(&serde_json::from_value(answer.body).context("a node")?),
            404 => None,
            500.. => return Ok(None),
            status => anyhow::bail!("{key}: reading is answered with {status}: {}", answer.body),
        };
        // An absence is answered without a revision, and shows nothing that could be held against
        // an order beside what the writes that follow show.
        let Some(revision) = answer.revision else { return Ok(Some(0)) };
        let since = found.as_ref().map_or(0, |(_, since)| *since);
        self.note(key, asked, answered, What::Read { found, revision });
        Ok(Some(since))
    }

    /// Writes a key, or replaces what it holds since revision `over`; 0 creates it.
    async fn write(&mut self, key: &str, over: Option<u64>) -> Result<()> {
        self.count += 1;
        let value = format!("{}.{}", self.number, self.count);
        let ask_for = match over {
            Some(0) => {
                let manifest = json!({ "name": key, "cfg": cfg(&value) });
                call("POST", "/v1/nodes")?.json(&manifest)
            }
            Some(over) => {
                let patch = call("PATCH", &format!("/v1/nodes/{key}"))?.json(&cfg(&value));
                patch.header("if-match", format!("\"{over}\""))
            }
            None => {
                let path = format!("/v1/nodes/{key}");
                call("PUT", &path)?.json(&json!({ "cfg": cfg(&value) }))
            }
        };
        let asked = self.desk.now();
        let answer = self.edge.ask(ask_for).await;
        let answered = Some(self.desk.now());
        let over = over.filter(|over| *over > 0);
        match answer {
            Ok(answer) if answer.is_success() => {
                let revision = Some(answer.revision.context("a write without a revision")?);
                self.note(key, asked, answered, What::Write { value, over, revision });
            }
            // Somebody else was faster; or an answer was lost, and the repeated request finds what
            // it did itself.
            Ok(answer) if matches!(answer.status, 409 | 412) => {
                self.note(key, asked, None, What::Write { value, over: None, revision: None });
            }
            Ok(answer) => {
                ensure!(answer.status >= 500, "{key}: {} {}", answer.status, answer.body);
                self.note(key, asked, None, What::Write { value, over: None, revision: None });
            }
            Err(_) => {
                self.note(key, asked, None, What::Write { value, over: None, revision: None });
            }
        }
        Ok(())
    }
}

/// Watches a member until told that it is enough: everything that it was told without a break.
pub(super) async fn watch(
    edge: Edge,
    member: String,
    enough: CancellationToken,
) -> Result<Vec<Told>> {
    let wanted = WatchQuery { states: Some("cfg".to_owned()), ..WatchQuery::default() };
    let mut lines = edge.client().watch(wanted);
    let (mut all, mut told) = (Vec::new(), None::<Told>);
    loop {
        let line = tokio::select! {
            line = lines.next() => line,
            () = enough.cancelled() => {
                all.extend(told);
                return Ok(all);
            }
        };
        let Ok(line) = line else {
            // The member that is there holds less than what was missed, or is away for long.
            all.extend(told.take());
            continue;
        };
        match line.r#type {
            WatchKind::Lagged => all.extend(told.take()),
            WatchKind::Connected | WatchKind::Delete | WatchKind::Bookmark => {
                let begun = Told {
                    by: member.clone(),
                    after: line.revision,
                    upto: line.revision,
                    writes: Vec::new(),
                };
                let told = told.get_or_insert(begun);
                told.upto = told.upto.max(line.revision);
            }
            WatchKind::Put => {
                let Some(told) = &mut told else { continue };
                told.upto = told.upto.max(line.revision);
                let item = line.object.as_deref();
                if let Some((item, (value, since))) = item.and_then(|i| Some((i, held(i)?))) {
                    told.writes.push((since, item.name.clone(), value));
                }
            }
        }
    }
}
