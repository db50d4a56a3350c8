//! The DevTools protocol: calls with answers, and events between them, over one WebSocket.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value as Json, json};
use tokio::{
    sync::{mpsc, oneshot},
    time::timeout,
};
use tokio_tungstenite::{connect_async, tungstenite::Message};

/// How long an answer may take.
const ANSWER_MAX: Duration = Duration::from_mins(1);
/// Most calls that wait to be sent.
const CALLS_MAX: usize = 64;
/// Most events that are held; the oldest go first.
const EVENTS_MAX: usize = 200_000;

/// A connection to a browser. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Wire {
    out: mpsc::Sender<Message>,
    held: Arc<Mutex<Held>>,
    number: Arc<AtomicU64>,
}

#[derive(Debug, Default)]
struct Held {
    waiting: BTreeMap<u64, oneshot::Sender<Json>>,
    events: Vec<Event>,
}

/// Something that a page said by itself.
#[derive(Debug, Clone)]
pub(super) struct Event {
    pub(super) session: Option<String>,
    pub(super) method: String,
    pub(super) params: Json,
}

impl Wire {
    pub(super) async fn connect(address: &str) -> Result<Self> {
        let (stream, _) = connect_async(address).await.context("the browser does not listen")?;
        let (mut sink, mut stream) = stream.split();
        let (out, mut calls) = mpsc::channel(CALLS_MAX);
        let held = Arc::new(Mutex::new(Held::default()));
        tokio::spawn(async move {
            while let Some(call) = calls.recv().await {
                if sink.send(call).await.is_err() {
                    return;
                }
            }
        });
        let taken = held.clone();
        tokio::spawn(async move {
            while let Some(Ok(message)) = stream.next().await {
                let Ok(text) = message.to_text() else { continue };
                if let Ok(said) = serde_json::from_str(text) {
                    lock(&taken).take(said);
                }
            }
            // Whoever still waits is told that nothing comes any more.
            lock(&taken).waiting.clear();
        });
        Ok(Self { out, held, number: Arc::default() })
    }

    /// Calls a method, of a page where a session is given, and returns its answer.
    pub(super) async fn call(
        &self,
        session: Option<&str>,
        method: &str,
        params: Json,
    ) -> Result<Json> {
        let id = self.number.fetch_add(1, Ordering::Relaxed) + 1;
        let (sender, answer) = oneshot::channel();
        lock(&self.held).waiting.insert(id, sender);
        let mut call = json!({ "id": id, "method": method, "params": params });
        if let Some(session) = session {
            call["sessionId"] = session.into();
        }
        self.out.send(Message::text(call.to_string())).await.context("the browser has gone")?;
        let answer = timeout(ANSWER_MAX, answer).await;
        let answer = answer.with_context(|| format!("{method} is not answered"))?;
        let mut answer = answer.with_context(|| format!("{method}: the browser has gone"))?;
        if let Some(error) = answer.get("error") {
            bail!("{method}: {error}");
        }
        Ok(answer["result"].take())
    }

    /// Takes the events of a page out, those of one method.
    pub(super) fn take(&self, session: &str, method: &str) -> Vec<Json> {
        let is_one =
            |event: &mut Event| event.session.as_deref() == Some(session) && event.method == method;
        lock(&self.held).events.extract_if(.., is_one).map(|event| event.params).collect()
    }
}

impl Held {
    fn take(&mut self, mut said: Json) {
        if let Some(id) = said["id"].as_u64() {
            if let Some(waiting) = self.waiting.remove(&id) {
                // Who no longer waits needs no answer.
                drop(waiting.send(said));
            }
            return;
        }
        let Some(method) = said["method"].as_str().map(str::to_owned) else { return };
        let session = said["sessionId"].as_str().map(str::to_owned);
        if self.events.len() >= EVENTS_MAX {
            self.events.remove(0);
        }
        self.events.push(Event { session, method, params: said["params"].take() });
    }
}

fn lock(held: &Mutex<Held>) -> std::sync::MutexGuard<'_, Held> {
    held.lock().unwrap_or_else(PoisonError::into_inner)
}
