//! Events: what happened, as a list or followed as it happens.
//!
//! A position in the stream is a text: the node that serves, when its server started, the number of
//! the event here, and when it happened. On the same server it is exact; on another one the stream
//! goes on a little before that time, and a client drops what it has seen by id.

use std::{sync::Arc, time::Duration};

use kraken_engine::{
    event::{Event, EventKind},
    id::{Name, Uid},
    store::Store,
    time::Millis,
};
use serde_json::json;
use warp::{
    Filter,
    http::{HeaderMap, StatusCode},
    reply::Response,
    ws::Ws,
};

use super::{
    Routes, answered,
    family::{Family, family},
};
use crate::{
    api::Shared,
    call::{Call, call},
    problem::Problem,
    reply::{self, with_status},
    socket,
    stream::{Gone, Lines, open},
    view::{EventView, List, reference},
};

/// Most events of one answer, and of one look while following.
pub(crate) const EVENTS_PAGE_MAX: usize = 1_000;
/// How far before a position of another server the stream goes on: clocks of members may differ.
const OVERLAP: Duration = Duration::from_secs(30);

pub(super) fn routes(shared: &Arc<Shared>) -> Routes {
    let all = warp::path!("v1" / "events")
        .and(warp::get())
        .and(socket::upgrade())
        .and(call(shared))
        .then(|socket, call| answered("events", of_all(socket, call)));
    let one = family()
        .and(warp::path::param::<String>())
        .and(warp::path("events"))
        .and(warp::path::end())
        .and(warp::get())
        .and(socket::upgrade())
        .and(call(shared))
        .then(|family, name, socket, call| {
            answered("objects.events", of_object((family, name), socket, call))
        });
    all.or(one).unify().boxed()
}

async fn of_all(socket: Option<Ws>, mut call: Call) -> Result<Response, Problem> {
    let object = call.query.take("object").map(Wanted::Named);
    events(call, socket, Filtered { object, ..<_>::default() }).await
}

async fn of_object(
    (family, name): (Family, String),
    socket: Option<Ws>,
    call: Call,
) -> Result<Response, Problem> {
    let find = |store: &Store| family.get(store, &name).map(|object| object.uid);
    let uid = call.read(<_>::default(), find).await??;
    events(call, socket, Filtered { object: Some(Wanted::Uid(uid)), ..<_>::default() }).await
}

/// Which events are wanted.
#[derive(Debug, Default)]
struct Filtered {
    object: Option<Wanted>,
    kind: Option<EventKind>,
    /// Of another server's stream: those before that time are not.
    since: Option<Millis>,
}

#[derive(Debug)]
enum Wanted {
    Uid(Uid),
    /// A name, `kind/name`, or a uid.
    Named(String),
}

impl Filtered {
    fn takes(&self, event: &Event) -> bool {
        let object = match &self.object {
            None => true,
            Some(Wanted::Uid(uid)) => event.uid == Some(*uid),
            Some(Wanted::Named(text)) => event.object.as_ref().is_some_and(|key| {
                key.name.as_str() == text
                    || reference(key) == *text
                    || event.uid.is_some_and(|uid| uid.to_string() == *text)
            }),
        };
        let kind = self.kind.is_none_or(|kind| event.kind == kind);
        object && kind && self.since.is_none_or(|since| event.time >= since)
    }
}

async fn events(
    mut call: Call,
    socket: Option<Ws>,
    mut filter: Filtered,
) -> Result<Response, Problem> {
    socket::check(socket.as_ref(), &call.headers)?;
    if socket.is_some() {
        // A browser lets every page open one.
        call.check_origin()?;
    }
    // Who comes with a WebSocket comes to follow.
    let follow = call.query.flag("follow")? || socket.is_some();
    let limit = call.query.parse::<usize>("limit")?.unwrap_or(EVENTS_PAGE_MAX);
    if limit == 0 || limit > EVENTS_PAGE_MAX {
        return Err(Problem::query("limit", format!("it must be from 1 to {EVENTS_PAGE_MAX}")));
    }
    let after = call.query.take("after").or_else(|| last_event_id(&call.headers));
    let kind = call.query.take("kind").map(|kind| EventKind::named(&kind)).transpose();
    filter.kind = kind.map_err(|error| Problem::query("kind", error.to_string()))?;
    std::mem::take(&mut call.query).done()?;
    let series = Series { node: call.shared.api.node.clone(), boot: call.shared.boot };
    let after = match after {
        None => None,
        Some(text) => Some(series.position(&text, &mut filter)?),
    };
    if follow {
        let (lines, response) = open(&call.shared, &call.headers, socket)?;
        let follower = Follower { shared: call.shared.clone(), series, filter, lines };
        let shutdown = call.shared.shutdown.clone();
        tokio::spawn(async move {
            shutdown.run_until_cancelled(follower.run(after, limit)).await;
        });
        return Ok(response);
    }
    list(&call, &series, &filter, after, limit).await
}

fn last_event_id(headers: &HeaderMap) -> Option<String> {
    let id = headers.get("last-event-id")?.to_str().ok()?;
    Some(id.to_owned()).filter(|id| !id.is_empty())
}

/// The stream of one server.
#[derive(Debug, Clone)]
struct Series {
    node: Name,
    boot: Millis,
}

impl Series {
    fn cursor(&self, number: u64, event: &Event) -> String {
        format!("{}~{:x}~{number}~{}", self.node, self.boot.get(), event.time)
    }

    /// The number after which to go on. A position of another server becomes a time.
    fn position(&self, text: &str, filter: &mut Filtered) -> Result<u64, Problem> {
        let wrong = || Problem::query("after", "give the cursor of an event, as it was answered");
        let parts: Vec<&str> = text.split('~').collect();
        let [node, boot, number, time] = parts.as_slice() else { return Err(wrong()) };
        let number: u64 = number.parse().map_err(|_| wrong())?;
        let time: u64 = time.parse().map_err(|_| wrong())?;
        let boot = u64::from_str_radix(boot, 16).map_err(|_| wrong())?;
        if *node == self.node.as_str() && boot == self.boot.get() {
            return Ok(number);
        }
        let overlap = u64::try_from(OVERLAP.as_millis()).unwrap_or_default();
        filter.since = Some(Millis::new(time.saturating_sub(overlap)));
        Ok(0)
    }

    fn view(&self, number: u64, event: &Event) -> EventView {
        EventView::of(event, self.cursor(number, event))
    }
}

/// The newest events, or those after a position; oldest first.
async fn list(
    call: &Call,
    series: &Series,
    filter: &Filtered,
    after: Option<u64>,
    limit: usize,
) -> Result<Response, Problem> {
    let state = &call.shared.api.state;
    let mut found = Vec::new();
    match after {
        None => {
            let all = state.newest_events(usize::MAX).await?;
            let wanted = all.iter().rev().filter(|(_, event)| filter.takes(event)).take(limit);
            found.extend(wanted.map(|(number, event)| series.view(*number, event)));
            found.reverse();
        }
        Some(mut after) => {
            while found.len() < limit {
                let page = state.events_since(after, EVENTS_PAGE_MAX).await?;
                let Some((last, _)) = page.last() else { break };
                after = *last;
                let wanted = page.iter().filter(|(_, event)| filter.takes(event));
                let room = limit - found.len();
                found.extend(wanted.take(room).map(|(number, event)| series.view(*number, event)));
            }
        }
    }
    let next = found.last().map(|event: &EventView| event.cursor.clone());
    let revision = call.shared.api.quorum.status().revision;
    let body = List { revision: revision.get(), items: found, r#continue: next };
    Ok(with_status(reply::json(&body)?, StatusCode::OK))
}

/// One client that follows.
struct Follower {
    shared: Arc<Shared>,
    series: Series,
    filter: Filtered,
    lines: Lines,
}

impl Follower {
    /// Writes events as they come until the client has gone. Without a position it starts with the
    /// newest `limit`.
    async fn run(mut self, after: Option<u64>, limit: usize) {
        let mut arrivals = self.shared.api.state.arrivals();
        let Ok(mut after) = self.start(after, limit).await else { return };
        loop {
            arrivals.mark_unchanged();
            match self.write_since(after).await {
                Ok(last) => after = last,
                Err(Gone) => return,
            }
            tokio::select! {
                () = self.lines.closed() => return,
                changed = arrivals.changed() => {
                    if changed.is_err() {
                        return;
                    }
                }
                () = tokio::time::sleep(self.shared.limits.heartbeat) => {
                    let line = json!({ "type": "BOOKMARK" });
                    let written = self.lines.write(None, &line).await;
                    if written.is_err() || self.lines.flush().await.is_err() {
                        return;
                    }
                }
            }
        }
    }

    async fn start(&self, after: Option<u64>, limit: usize) -> Result<u64, Gone> {
        if let Some(after) = after {
            return Ok(after);
        }
        let newest = self.shared.api.state.newest_events(usize::MAX).await.map_err(|_| Gone)?;
        let wanted = newest.iter().rev().filter(|(_, event)| self.filter.takes(event));
        let first = wanted.take(limit).last();
        let last = newest.last().map_or(0, |(number, _)| *number);
        Ok(first.map_or(last, |(number, _)| number - 1))
    }

    /// Writes what has arrived after a number; returns the last number that was looked at.
    async fn write_since(&mut self, mut after: u64) -> Result<u64, Gone> {
        loop {
            let state = &self.shared.api.state;
            let page = state.events_since(after, EVENTS_PAGE_MAX).await.map_err(|_| Gone)?;
            for (number, event) in &page {
                if self.filter.takes(event) {
                    let view = self.series.view(*number, event);
                    self.lines.write(Some(&view.cursor), &view).await?;
                }
            }
            match page.last() {
                Some((last, _)) => after = *last,
                None => return self.lines.flush().await.map(|()| after),
            }
        }
    }
}
