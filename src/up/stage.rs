//! The way of a fresh fleet from its first process to the state that is asked for, each step a
//! condition that is waited for.

use std::{path::PathBuf, time::Duration};

use kraken_engine::nodeset;
use kraken_http::{
    client::{Client, ListQuery, Settings, WriteQuery},
    view::ObjectView,
};
use tokio::time::{Instant, sleep};

use crate::{
    console::{Console, Progress},
    exit::Failure,
    fleet::{SERVER, author, is_attached, is_converged},
    output::lines,
    standing::Standing,
};

/// The state that is asked for unless another is given.
const FIRST_RUN: &str = include_str!("../../examples/first-run.yaml");
/// The nodes that it speaks of.
const FIRST_RUN_NODES: &str = "n[1-8]";
/// How often is looked.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);

/// How long all nodes may rest where they are not asked to be before that is the news.
const REST_MAX: Duration = Duration::from_secs(5);
/// How long nothing may move before that is the news.
const STANDSTILL_MAX: Duration = Duration::from_mins(1);

/// Where a fleet is to come.
pub(super) struct Stage {
    /// The URL of each member.
    pub(super) servers: Vec<String>,
    /// The name of each leaf.
    pub(super) leaves: Vec<String>,
    /// The manifests to apply.
    pub(super) state: Option<State>,
}

/// Manifests, and the file that they are from.
pub(super) struct State {
    /// The file, or what stands for it.
    pub(super) file: String,
    /// YAML or JSON, many documents.
    pub(super) text: String,
}

/// The built-in example for these leaves; nothing where there are none.
pub(super) fn first_run(leaves: &[String]) -> Option<State> {
    let set = nodeset::fold(leaves.iter().map(String::as_str));
    let text = FIRST_RUN.replace(FIRST_RUN_NODES, &set);
    (!set.is_empty()).then(|| State { file: "the built-in example".to_owned(), text })
}

impl Stage {
    /// Brings the fleet there.
    pub(super) async fn run(&self, console: &Console) -> Result<(), Failure> {
        let settings = Settings { author: author(), ..Settings::default() };
        let client = Client::with(&self.servers, settings)?;
        let mut progress = console.progress();
        let members = self.servers.len();
        self.until(members, |done| progress.set("members vote", done, members), || voters(&client))
            .await;
        let total = self.leaves.len();
        self.until(
            total,
            |done| progress.set("leaves are attached", done, total),
            || self.attached(&client),
        )
        .await;
        if let Some(state) = &self.state {
            let applied = client.apply(state.text.clone(), &WriteQuery::default()).await;
            applied.map_err(|error| Failure::from(error).within(&state.file))?;
        }
        let standing = self.converge(&client, &mut progress).await;
        drop(progress);
        if standing.is_done() {
            console.note("all have converged");
        } else {
            console.note(format!("not all have converged:\n  {}", standing.reasons().join("\n  ")));
        }
        Ok(())
    }

    /// Looks until all have converged, or until nothing moves any more.
    async fn converge(&self, client: &Client, progress: &mut Progress) -> Standing {
        let (mut last, mut moved) = (Standing::default(), Instant::now());
        loop {
            if let Ok(nodes) = self.views(client).await {
                let now = Standing::of(&nodes, is_converged);
                progress.detail("nodes have converged", now.done, now.total, &now.worst());
                if now != last {
                    (last, moved) = (now, Instant::now());
                }
                let all_rest = last.done + last.resting == last.total;
                let patience = if all_rest { REST_MAX } else { STANDSTILL_MAX };
                if last.is_done() || moved.elapsed() > patience {
                    return last;
                }
            }
            sleep(LOOK_INTERVAL).await;
        }
    }

    /// What to try next.
    pub(super) fn next_commands(&self) -> String {
        let server = self.servers.first().map_or("", String::as_str);
        let set = nodeset::fold(self.leaves.iter().take(4).map(String::as_str));
        let first = self.leaves.first().map_or("n1", String::as_str);
        // Whoever knows all members goes on when one of them dies.
        let all = self.servers.join(",");
        let export = (all != SERVER).then(|| format!("  export KRAKEN_SERVER={all}"));
        let alias = not_on_path().map(|program| format!("  alias kraken={}", program.display()));
        let ready = lines(alias.into_iter().chain(export));
        format!(
            "now in a browser:\n  {server}/\nor in a second terminal:\n{ready}  \
             kraken get nodes\n  \
             kraken set {set} services/web/state=STOP\n  \
             kraken wait {set} --for converged\n  \
             kraken why {first}\n  \
             kraken events -f\n\
             Ctrl-C here ends everything"
        )
    }

    /// Looks until so many are done. What cannot be looked at counts as nothing done.
    async fn until<F: Future<Output = Result<usize, Failure>>>(
        &self,
        total: usize,
        mut show: impl FnMut(usize),
        look: impl Fn() -> F,
    ) {
        loop {
            let done = look().await.unwrap_or(0);
            show(done);
            if done >= total {
                return;
            }
            sleep(LOOK_INTERVAL).await;
        }
    }

    async fn attached(&self, client: &Client) -> Result<usize, Failure> {
        Ok(self.views(client).await?.iter().filter(|node| is_attached(node)).count())
    }

    async fn views(&self, client: &Client) -> Result<Vec<ObjectView>, Failure> {
        let names = nodeset::fold(self.leaves.iter().map(String::as_str));
        if names.is_empty() {
            return Ok(Vec::new());
        }
        let wanted = ListQuery { names: Some(names), ..ListQuery::default() };
        Ok(client.get_nodes(&wanted).await?.items)
    }
}

/// This program, where typing `kraken` would not find it.
fn not_on_path() -> Option<PathBuf> {
    let program = std::env::current_exe().ok()?;
    let path = std::env::var_os("PATH").unwrap_or_default();
    let is_this =
        |folder: PathBuf| folder.join("kraken").canonicalize().is_ok_and(|p| p == program);
    (!std::env::split_paths(&path).any(is_this)).then_some(program)
}

/// How many members vote under a leader.
async fn voters(client: &Client) -> Result<usize, Failure> {
    let quorum = client.cluster().await?;
    let voters = quorum.members.iter().filter(|member| member.voter).count();
    Ok(if quorum.leader.is_some() { voters } else { 0 })
}
