//! `kraken wait`: until nodes are where they are asked to be. A node counts only once its decider
//! speaks for the write that is waited for, so that what was true before the write does not count.

use std::time::{Duration, SystemTime};

use kraken_engine::manifest::NODE_KIND;
use kraken_http::{client::Client, view::ObjectView};
use tokio::time::{Instant, sleep_until};

use crate::{
    age, complete,
    console::Console,
    exit::{Exit, Failure},
    fleet::{is_attached, is_converged, patient},
    nodes::Nodes,
    objects::nobody,
    standing::Standing,
};

/// How often is looked at least, whatever the watch says.
const LOOK_INTERVAL: Duration = Duration::from_millis(250);

/// Waits until nodes have converged, are attached or are gone
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Which: n1, n[1-64,70] or @rack=r1
    #[arg(add = complete::nodes())]
    nodes: Nodes,
    /// For what
    #[arg(long, value_name = "CONDITION", default_value = "converged")]
    r#for: Condition,
    /// For how long, such as 30s or 5m
    #[arg(long, value_name = "TIME", default_value = "5m", value_parser = age::read)]
    timeout: Duration,
}

/// What is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Condition {
    /// What is seen is what is asked
    Converged,
    /// Attached to a member
    Attached,
    /// Removed from Cfg
    Deleted,
}

impl Condition {
    fn done(self) -> &'static str {
        match self {
            Self::Converged => "have converged",
            Self::Attached => "are attached",
            Self::Deleted => "are gone",
        }
    }

    fn holds(self, node: &ObjectView) -> bool {
        match self {
            Self::Converged => is_converged(node),
            Self::Attached => is_attached(node),
            Self::Deleted => false,
        }
    }
}

impl Args {
    /// Waits.
    pub(crate) async fn run(self, client: &Client, console: &Console) -> Result<(), Failure> {
        let deadline = Instant::now() + self.timeout;
        let mut progress = console.progress();
        let mut standing = None;
        let mut client = client.clone();
        let waited = async {
            loop {
                let begun = Instant::now();
                let total = standing.as_ref().map_or(0, |before: &Standing| before.total);
                let now = self.look(&client, total).await?;
                let what = format!("nodes {}", self.r#for.done());
                let slowest = now.slowest(SystemTime::now());
                progress.detail(&what, now.done, now.total, &slowest);
                if now.is_done() {
                    return Ok::<_, Failure>(now.total);
                }
                if standing.replace(now).is_none() {
                    client = patient(&client)?;
                }
                sleep_until(begun + LOOK_INTERVAL).await;
            }
        };
        let waited = tokio::time::timeout_at(deadline, waited).await;
        drop(progress);
        match waited {
            Ok(total) => console.print(format!("{0} of {0} nodes {1}", total?, self.r#for.done())),
            Err(_) => Err(self.timed_out(standing)),
        }
    }

    /// Looks how far the nodes are; before there were so many.
    async fn look(&self, client: &Client, before: usize) -> Result<Standing, Failure> {
        let found = client.get_nodes(&Nodes::listed(Some(&self.nodes))).await?;
        let mut standing = Standing::of(&found.items, |node| self.r#for.holds(node));
        if self.r#for == Condition::Deleted {
            standing.gone(self.nodes.named().unwrap_or(before));
        } else {
            self.nodes.require(NODE_KIND, &found)?;
            if let (Nodes::Selector(selector), true) = (&self.nodes, found.items.is_empty()) {
                return Err(nobody(NODE_KIND, selector));
            }
        }
        Ok(standing)
    }

    /// Says how many are not there and why, most first.
    fn timed_out(&self, standing: Option<Standing>) -> Failure {
        let after = age::span(self.timeout);
        let Some(standing) = standing else {
            return Failure::new(Exit::TimedOut, format!("no answer within {after}"));
        };
        let (done, total) = (standing.done, standing.total);
        let words = format!("after {after} only {done} of {total} nodes {}", self.r#for.done());
        Failure::new(Exit::TimedOut, words).hint(standing.told())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value as Json, json};

    use super::*;

    fn node(name: &str, revision: u64, status: Json) -> ObjectView {
        serde_json::from_value(json!({
            "kind": "node", "name": name, "uid": name, "revision": revision,
            "created": "1970-01-01T00:00:00.000Z", "dsc": { "link": "UP" }, "status": status,
        }))
        .unwrap()
    }

    fn status(phase: &str, revision: u64, error: Option<&str>) -> Json {
        json!({
            "phase": phase, "revision": revision, "step": "service/Start(web)", "reason": null,
            "waitsFor": null, "since": "1970-01-01T00:00:00.000Z", "attempts": 1,
            "lastError": error, "nextRetry": null,
        })
    }

    #[test]
    fn a_node_counts_once_its_decider_speaks_for_the_write() {
        let nodes = [
            node("n1", 5, status("Converged", 5, None)),
            node("n2", 5, status("Converged", 4, None)),
            node("n3", 5, status("BackingOff", 5, Some("no such file"))),
            node("n4", 5, status("BackingOff", 5, Some("no such file"))),
            node("n5", 5, Json::Null),
        ];
        let standing = Standing::of(&nodes, |node| Condition::Converged.holds(node));
        assert_eq!(standing.resting, 0);
        let slowest = standing.slowest(SystemTime::UNIX_EPOCH + Duration::from_secs(9));
        assert_eq!(slowest, "n2 for 9s: it has not seen the last change yet");
        assert_eq!((standing.done, standing.total), (1, 5));
        let args = Args {
            nodes: "n[1-5]".parse().unwrap(),
            r#for: Condition::Converged,
            timeout: Duration::from_secs(30),
        };
        let failure = args.timed_out(Some(standing));
        assert_eq!(failure.exit(), Exit::TimedOut);
        insta::assert_snapshot!(failure.words().unwrap(), @r"
        after 30s only 1 of 5 nodes have converged
          n[3-4]: BackingOff at service/Start(web): no such file
          n2: it has not seen the last change yet
          n5: it was never attached, so nobody decides for it
          start its agent; see who is attached: kraken get nodes n5
          what it waits for, and who must act: kraken why n2
        ");
    }

    #[test]
    fn attached_and_deleted_are_conditions_of_their_own() {
        let node = node("n1", 5, Json::Null);
        assert!(Condition::Attached.holds(&node));
        assert!(!Condition::Deleted.holds(&node));
    }
}
