//! How a client asks: one member after the other until one answers, each client beginning with a
//! member of its own, so that all members are asked all the time.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use anyhow::Result;
use kraken_http::client::Call;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::edge::{Answer, Edge};

/// How long one try may take: long enough for a change of leader.
const TRY_MAX: Duration = Duration::from_secs(2);
/// How long a request is repeated until some member answers it.
const PATIENCE: Duration = Duration::from_secs(6);
/// Time between two rounds of tries.
const ROUND_PAUSE: Duration = Duration::from_millis(100);
/// One client in so many speaks to one member only.
const PINNED_IN: usize = 3;
/// The header by which a repeated write is known to be the same.
const REQUEST_HEADER: &str = "kraken-request-id";

/// Members by name and URL in the order in which a client asks them.
type Members = Vec<(String, String)>;

/// Asks on behalf of one client.
pub(super) struct Asker {
    edge: Edge,
    members: Vec<String>,
    stop: CancellationToken,
    /// How many answers each member gave.
    pub(super) served: Served,
}

/// How many reads and writes each member has answered.
pub type Served = BTreeMap<String, Answers>;

/// How many requests were answered.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Answers {
    /// Reads.
    pub reads: usize,
    /// Writes, the refused ones included.
    pub writes: usize,
}

/// What became of a request.
pub(super) enum Outcome {
    /// Some member answered.
    Answered {
        answer: Answer,
        /// An earlier try may have been carried out without an answer.
        was_lost: bool,
    },
    /// Nobody did. `reached`: some member may have carried it out.
    Nothing { reached: bool },
}

/// Which members a client asks, in what order. Clients begin with one member after the other, and
/// every third knows no other one.
fn route(client: usize, members: &Members) -> Members {
    let is_pinned = client.is_multiple_of(PINNED_IN);
    let turn = if is_pinned { client / PINNED_IN } else { client - client / PINNED_IN - 1 };
    let mut route = members.clone();
    route.rotate_left(turn % members.len().max(1));
    route.truncate(if is_pinned { 1 } else { members.len() });
    route
}

impl Asker {
    /// For the client of this number, until `stop`.
    pub(super) fn new(client: usize, members: &Members, stop: CancellationToken) -> Result<Self> {
        let (members, urls): (Vec<_>, Vec<_>) = route(client, members).into_iter().unzip();
        let edge = Edge::hasty(&urls, TRY_MAX)?;
        Ok(Self { edge, members, stop, served: Served::new() })
    }

    /// Reads: whatever the first member says that answers, if any does.
    pub(super) async fn read(&mut self, call: &Call) -> Option<Answer> {
        for (index, member) in self.members.iter().enumerate() {
            let answer = self.edge.ask_one(index, call).await;
            if let Some(answer) = answer.ok().filter(|answer| !is_passed_on(answer)) {
                self.served.entry(member.clone()).or_default().reads += 1;
                return Some(answer);
            }
        }
        None
    }

    /// Writes, and repeats it until somebody answers or patience ends.
    pub(super) async fn write(&mut self, call: Call) -> Outcome {
        let call = call.header(REQUEST_HEADER, self.edge.client().request_id());
        let (began, mut was_lost) = (Instant::now(), false);
        loop {
            for (index, member) in self.members.iter().enumerate() {
                match self.edge.ask_one(index, &call).await {
                    Ok(answer) if !is_passed_on(&answer) => {
                        self.served.entry(member.clone()).or_default().writes += 1;
                        return Outcome::Answered { answer, was_lost };
                    }
                    // It may have been proposed before the member gave up.
                    Ok(_) => was_lost = true,
                    Err(error) => was_lost |= !error.is_unreachable(),
                }
            }
            if began.elapsed() > PATIENCE {
                return Outcome::Nothing { reached: was_lost };
            }
            if timeout(ROUND_PAUSE, self.stop.cancelled()).await.is_ok() {
                return Outcome::Nothing { reached: was_lost };
            }
        }
    }
}

/// Whether a member leaves it to others, or to later, to answer.
fn is_passed_on(answer: &Answer) -> bool {
    answer.status >= 500 || answer.status == 429
}

#[cfg(test)]
mod tests {
    use super::*;

    fn members(count: usize) -> Members {
        (1..=count).map(|n| (format!("m{n}"), format!("http://m{n}"))).collect()
    }

    #[test]
    fn clients_are_spread_over_members() {
        for (count, clients) in [(1, 4), (3, 16), (3, 18), (5, 30)] {
            let (mut first, mut pinned) = (BTreeMap::new(), BTreeMap::new());
            for client in 0..clients {
                let route = route(client, &members(count));
                let distinct: BTreeMap<_, _> = route.iter().cloned().collect();
                assert_eq!(distinct.len(), route.len());
                let begins = if client % 3 == 0 { &mut pinned } else { &mut first };
                assert_eq!(route.len(), if client % 3 == 0 { 1 } else { count });
                *begins.entry(route[0].0.clone()).or_insert(0_usize) += 1;
            }
            for begins in [first, pinned] {
                let (least, most) = (begins.values().min(), begins.values().max());
                assert_eq!(begins.len(), count.min(clients / 3), "{clients} clients: {begins:?}");
                assert!(most.unwrap() - least.unwrap() <= 1, "{clients} clients: {begins:?}");
            }
        }
    }
}
