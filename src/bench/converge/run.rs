//! One run: posts all machines, looks how many have converged, and kills the leader in between
//! where that is asked for.

use std::time::Duration;

use kraken_http::client::ListQuery;
use serde_json::Value as Json;
use tokio::time::{Instant, sleep};

use super::{Members, converged};
use crate::{
    console::{Console, Progress},
    exit::Failure,
};

/// Least time between two looks.
const LOOK_MIN: Duration = Duration::from_millis(20);
/// How much longer for each object, so that looking takes no more than a small share of a core.
const LOOK_PER_OBJECT: Duration = Duration::from_micros(10);
/// How long nothing may move before is looked what holds up the rest.
const QUIET: Duration = Duration::from_secs(3);
/// How long nothing may move before that is a failure.
const STANDSTILL_MAX: Duration = Duration::from_mins(1);

/// Machines that a failure tells of.
const REST_SHOWN_MAX: usize = 5;

/// What is to be done.
pub(super) struct Run {
    /// The bodies to post, in order.
    pub(super) bodies: Vec<Json>,
    /// How many machines that are.
    pub(super) total: usize,
    /// Whether the leader is killed once half of them have converged.
    pub(super) kill_leader: bool,
}

impl Run {
    /// From the first POST until all have converged.
    pub(super) async fn go(
        self,
        members: &mut Members,
        console: &Console,
    ) -> Result<Duration, Failure> {
        let client = members.client().clone();
        let begun = Instant::now();
        let posting = async {
            for body in &self.bodies {
                client.raw_post("/v1/nodes", body).await?;
            }
            Ok::<_, Failure>(begun.elapsed())
        };
        let mut progress = console.progress();
        let watching = self.watch(members, begun, &mut progress);
        let (posted, (done, held)) = tokio::try_join!(posting, watching)?;
        drop(progress);
        console.note(format!(
            "posted after {:.3} s, converged after {:.3} s",
            posted.as_secs_f64(),
            done.as_secs_f64()
        ));
        if held > 0 {
            console.note(format!(
                "{held} wait until a disruptive attempt of the killed leader is over for sure"
            ));
        }
        Ok(done)
    }

    /// Looks until all have converged; tells when that was, and how many rightly have not: a
    /// disruptive attempt was on its way when its leader was killed.
    async fn watch(
        &self,
        members: &mut Members,
        begun: Instant,
        progress: &mut Progress,
    ) -> Result<(Duration, usize), Failure> {
        let client = members.client().clone();
        let mut before = members.count();
        let pause = LOOK_MIN + LOOK_PER_OBJECT * u32::try_from(self.total).unwrap_or(u32::MAX);
        let (mut last, mut moved, mut to_kill) = (0, Instant::now(), self.kill_leader);
        loop {
            sleep(pause).await;
            // What the next leader has not heard of yet does not count as gone.
            let done = converged(&client).await?.saturating_sub(before).max(last);
            if done != last {
                (last, moved) = (done, Instant::now());
                progress.set("machines have converged", done, self.total);
            }
            if to_kill && done >= self.total / 2 {
                to_kill = false;
                members.kill_leader().await?;
                // Its own node is not converged any more.
                before -= 1;
            }
            if done >= self.total && !to_kill {
                return Ok((begun.elapsed(), 0));
            }
            if self.kill_leader && moved.elapsed() > QUIET {
                let held = held(members).await?;
                if done + held >= self.total {
                    return Ok((moved - begun, held));
                }
            }
            if moved.elapsed() > STANDSTILL_MAX {
                let words = format!("{done} of {} have converged, and nothing moves", self.total);
                return Err(Failure::failed(words).hint(rest(members).await?));
            }
        }
    }
}

/// Where the first of those that have not converged stand, and why.
async fn rest(members: &Members) -> Result<String, Failure> {
    let nodes = members.client().get_nodes(&ListQuery::default()).await?;
    let rest = nodes.items.iter().filter_map(|node| match &node.status {
        Some(status) if status.phase == "Converged" => None,
        Some(status) => {
            let why = status.reason.as_deref().or(status.step.as_deref()).unwrap_or_default();
            Some(format!("{} is {}: {why}", node.name, status.phase))
        }
        None => Some(format!("of {} nothing is said", node.name)),
    });
    Ok(rest.take(REST_SHOWN_MAX).collect::<Vec<_>>().join("; "))
}

/// How many wait because an attempt of a leader before may still be under way.
async fn held(members: &Members) -> Result<usize, Failure> {
    let nodes = members.client().get_nodes(&ListQuery::default()).await?;
    let is_held = |reason: &str| reason.contains("attempt") && reason.contains("open");
    let waits = nodes.items.iter().filter_map(|node| node.status.as_ref());
    let waits = waits.filter(|status| status.phase == "Waiting");
    Ok(waits.filter(|status| status.reason.as_deref().is_some_and(is_held)).count())
}
