//! News of the fleet, fetched as it changes: the nodes, the quorum, and why a node stands where it
//! stands.

use std::sync::Arc;

use kraken_http::client::{Client, Error, ListQuery, WatchKind, WatchQuery};
use tokio::{
    sync::{Mutex, mpsc},
    task::JoinHandle,
    time::{Duration, Instant, MissedTickBehavior, interval, sleep},
};

use super::state::Input;
use crate::exit::Failure;

/// How often a fleet that changes is listed, at most.
const LIST_INTERVAL: Duration = Duration::from_millis(500);
/// A list that takes long is asked for so many times less often than it takes.
const LIST_SHARE: u32 = 3;
/// How often the quorum is asked how it is, and the fleet is listed though nothing has changed.
const QUORUM_INTERVAL: Duration = Duration::from_secs(2);
/// How long is waited after a failure.
const FAILED_WAIT: Duration = Duration::from_secs(1);

/// Whoever fetches.
pub(super) struct Feed {
    client: Client,
    inputs: mpsc::Sender<Input>,
    tasks: [JoinHandle<()>; 2],
    /// Held by the one question that is under way.
    asking: Arc<Mutex<()>>,
}

impl Feed {
    /// Begins to fetch.
    pub(super) fn start(client: Client, query: ListQuery, inputs: mpsc::Sender<Input>) -> Self {
        let nodes = tokio::spawn(nodes(client.clone(), query, inputs.clone()));
        let quorum = tokio::spawn(quorum(client.clone(), inputs.clone()));
        Self { client, inputs, tasks: [nodes, quorum], asking: Arc::default() }
    }

    /// Asks about one node, unless an earlier question is still open.
    pub(super) fn why(&self, name: String) {
        let Ok(asking) = self.asking.clone().try_lock_owned() else { return };
        let (client, inputs) = (self.client.clone(), self.inputs.clone());
        tokio::spawn(async move {
            let why = client.why("node", &name).await.map(Box::new).map_err(words);
            // Who has left wants no answer.
            drop(inputs.send(Input::Why(name, why)).await);
            drop(asking);
        });
    }

    /// Fetches no more.
    pub(super) fn end(&self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

fn words(error: Error) -> String {
    let words = Failure::from(error).words().unwrap_or_default();
    words.lines().next().unwrap_or_default().to_owned()
}

/// Lists the nodes whenever something has changed, and tells when they cannot be listed.
async fn nodes(client: Client, query: ListQuery, inputs: mpsc::Sender<Input>) {
    let mut watch = client.watch(WatchQuery {
        kinds: Some("node".to_owned()),
        names: query.names.clone(),
        ..WatchQuery::default()
    });
    let mut clock = interval(LIST_INTERVAL);
    clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut is_stale, mut listed) = (false, Instant::now());
    loop {
        let failed = tokio::select! {
            line = watch.next() => match line {
                Ok(line) => {
                    is_stale |= line.r#type != WatchKind::Bookmark;
                    None
                }
                Err(error) => Some(error),
            },
            _ = clock.tick(), if is_stale || listed.elapsed() >= QUORUM_INTERVAL => {
                let begun = Instant::now();
                let list = client.get_nodes(&query).await;
                sleep(begun.elapsed() * LIST_SHARE).await;
                (is_stale, listed) = (false, Instant::now());
                match list {
                    Err(error) => Some(error),
                    Ok(list) => {
                        if inputs.send(Input::Nodes(list)).await.is_err() {
                            return;
                        }
                        None
                    }
                }
            }
        };
        if let Some(error) = failed {
            if inputs.send(Input::Lost(words(error))).await.is_err() {
                return;
            }
            sleep(FAILED_WAIT).await;
        }
    }
}

async fn quorum(client: Client, inputs: mpsc::Sender<Input>) {
    let mut clock = interval(QUORUM_INTERVAL);
    clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        clock.tick().await;
        // That it cannot be asked is told by who lists the nodes.
        if let Ok(quorum) = client.cluster().await
            && inputs.send(Input::Quorum(Box::new(quorum))).await.is_err()
        {
            return;
        }
    }
}
