//! The clients: each does one thing after the other, and notes what it was told and when.

use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use kraken_http::{client::Call, view::ObjectView};
use serde_json::{Value as Json, json};

use super::{
    Desk,
    asker::{Asker, Outcome, Served},
};
use crate::{
    appends::Append,
    chance::Chance,
    edge::{Answer, call},
    serial::{Fate, Op, What},
};

/// So many appends of each client go to the same set.
const APPENDS_A_SET: u64 = 24;

/// One client.
pub(super) struct Worker {
    number: usize,
    keys: usize,
    chance: Chance,
    asker: Asker,
    desk: Arc<Desk>,
    /// Numbers its writes, so that no value is written twice in a run.
    count: u64,
    /// Numbers its appends.
    appends: u64,
}

/// What a key is called.
pub(super) fn key(number: u64) -> String {
    format!("key{number}")
}

/// The Cfg of a key that holds a value: a variable that means nothing to any module.
pub(super) fn cfg(value: &str) -> Json {
    json!({ "services": { "key": { "env": { "VALUE": value } } } })
}

/// What a key holds, and since which revision.
pub(super) fn held(item: &ObjectView) -> Option<(String, u64)> {
    let value = item.cfg.as_ref()?.pointer("/services/key/env/VALUE")?.as_str()?;
    Some((value.to_owned(), item.revision))
}

/// What was appended to a set.
pub(super) fn items(item: &ObjectView) -> Option<Vec<String>> {
    let items = item.cfg.as_ref()?.pointer("/services/set/env")?.as_object()?;
    Some(items.keys().cloned().collect())
}

/// A write as a client wants it.
struct Wish {
    call: Call,
    /// Whether members may refuse it because of what others wrote.
    is_conditional: bool,
}

impl Worker {
    pub(super) fn new(
        number: usize,
        keys: usize,
        seed: u64,
        members: &Vec<(String, String)>,
        desk: Arc<Desk>,
    ) -> Result<Self> {
        let chance = Chance::new(seed.wrapping_mul(1_000_003).wrapping_add(number as u64 + 1));
        let asker = Asker::new(number, members, desk.stop.clone())?;
        Ok(Self { number, keys, chance, asker, desk, count: 0, appends: 0 })
    }

    /// Until it is told to stop; returns which members have answered how much.
    pub(super) async fn run(mut self) -> Result<Served> {
        while !self.desk.stop.is_cancelled() {
            let key = key(self.chance.below(self.keys as u64));
            match self.chance.below(10) {
                0..4 => self.read(&key).await?.map(drop).unwrap_or_default(),
                4..6 => self.write(&key, None).await?,
                6 => self.append().await?,
                _ => {
                    if let Some(found) = self.read(&key).await? {
                        self.write(&key, Some(found)).await?;
                    }
                }
            }
        }
        Ok(self.asker.served)
    }

    fn note(&self, key: &str, asked: u64, answered: Option<u64>, what: What) {
        let key = key.to_owned();
        self.desk.put(Op { client: self.number, asked, answered, key, what });
    }

    /// Reads a key; the revision that it holds, 0 where it is not there. Without an answer nothing
    /// is noted: a read changes nothing.
    async fn read(&mut self, key: &str) -> Result<Option<u64>> {
        let asked = self.desk.now();
        let answer = self.asker.read(&call("GET", &format!("/v1/nodes/{key}"))?).await;
        let Some(answer) = answer else { return Ok(None) };
        let answered = Some(self.desk.now());
        if answer.status == 404 {
            self.note(key, asked, answered, What::Absent);
            return Ok(Some(0));
        }
        let Answer { status, revision, body } = answer;
        ensure!(status == 200, "{key}: reading is answered with {status}: {body}");
        let revision = revision.context("a read without a revision")?;
        let found = held(&serde_json::from_value(body).context("a node")?);
        let since = found.as_ref().map_or(0, |(_, since)| *since);
        self.note(key, asked, answered, What::Read { found, revision });
        Ok(Some(since))
    }

    /// Writes a key, or replaces what it holds since revision `over`; 0 creates it.
    async fn write(&mut self, key: &str, over: Option<u64>) -> Result<()> {
        self.count += 1;
        let value = format!("{}.{}", self.number, self.count);
        let call = match over {
            Some(0) => create(key, &cfg(&value))?,
            Some(over) => patch(key, &cfg(&value))?.header("if-match", format!("\"{over}\"")),
            None => call("PUT", &format!("/v1/nodes/{key}"))?.json(&json!({ "cfg": cfg(&value) })),
        };
        let asked = self.desk.now();
        let fate = self.carry_out(Wish { call, is_conditional: over.is_some() }).await?;
        let answered = (fate != Fate::Unknown).then(|| self.desk.now());
        self.note(key, asked, answered, What::Write { value, over, fate });
        Ok(())
    }

    /// Adds an item to a set that others add to at the same time.
    async fn append(&mut self) -> Result<()> {
        let set = format!("set{}", self.appends / APPENDS_A_SET);
        if self.appends.is_multiple_of(APPENDS_A_SET) {
            // Whoever is first creates it.
            let empty = json!({ "services": { "set": { "env": {} } } });
            self.carry_out(Wish { call: create(&set, &empty)?, is_conditional: true }).await?;
        }
        self.appends += 1;
        let item = format!("I{}_{}", self.number, self.appends);
        let more = json!({ "services": { "set": { "env": { &item: "x" } } } });
        // Where creating it was not answered it may not be there, and an append is refused.
        let fate = self.carry_out(Wish { call: patch(&set, &more)?, is_conditional: true }).await?;
        self.desk.append(Append { set, item, fate });
        Ok(())
    }

    async fn carry_out(&mut self, Wish { call, is_conditional }: Wish) -> Result<Fate> {
        let what = format!("{} {}", call.method, call.path);
        match self.asker.write(call).await {
            Outcome::Answered { answer, .. } if answer.is_success() => {
                Ok(Fate::Written(answer.revision.context("a write without a revision")?))
            }
            Outcome::Answered { answer, was_lost } => {
                let is_refusal = matches!(answer.status, 404 | 409 | 412) && is_conditional;
                ensure!(is_refusal, "{what}: {} {}", answer.status, answer.body);
                // What an earlier try has done may be what this one was refused for.
                Ok(if was_lost { Fate::Unknown } else { Fate::Refused })
            }
            Outcome::Nothing { reached: true } => Ok(Fate::Unknown),
            Outcome::Nothing { reached: false } => Ok(Fate::Unsent),
        }
    }
}

fn create(name: &str, cfg: &Json) -> Result<Call> {
    Ok(call("POST", "/v1/nodes")?.json(&json!({ "name": name, "cfg": cfg })))
}

fn patch(name: &str, cfg: &Json) -> Result<Call> {
    Ok(call("PATCH", &format!("/v1/nodes/{name}"))?.json(cfg))
}
