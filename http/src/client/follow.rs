//! Streams that outlive connections: events and changes, line by line, over reconnections.

use std::{
    collections::{BTreeSet, VecDeque},
    time::Duration,
};

use bytes::{Buf, BytesMut};
use http_body_util::BodyExt;
use hyper::{Method, body::Incoming};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use tokio::time::timeout;

use super::{Call, Client, Error, EventsQuery, WatchQuery, error::Broken, url::Base};
use crate::view::{EventView, ObjectView};

/// Longest line of a stream in bytes.
const LINE_BYTES_MAX: usize = 64 << 20;
/// A stream without a line for so long is broken: servers send one every few seconds.
const SILENCE_MAX: Duration = Duration::from_secs(20);
/// Events that are remembered, so that none is shown twice after a change of server.
const SEEN_MAX: usize = 4_096;

/// One connection's lines.
pub(super) struct Lines {
    pub(super) server: String,
    body: Incoming,
    buffer: BytesMut,
    /// How much of the buffer is known to hold no end of a line.
    searched: usize,
}

impl Client {
    /// Opens a stream at whichever server takes it.
    async fn open(&self, path: String) -> Result<Lines, Error> {
        let call = Call::new(Method::GET, path);
        self.persist(&call, Self::try_lines).await
    }

    pub(super) async fn try_lines(&self, base: &Base, call: &Call) -> Result<Lines, Broken> {
        let after = self.settings().timeout;
        let opened = timeout(after, self.try_open(base, call)).await;
        let response = opened.map_err(|_| Broken::Slow { after })??;
        let server = base.as_str().to_owned();
        Ok(Lines { server, body: response.into_body(), buffer: BytesMut::new(), searched: 0 })
    }
}

impl Lines {
    /// The next line; nothing when the connection has ended. Cancel safe.
    pub(super) async fn next<T: DeserializeOwned>(&mut self) -> Result<Option<T>, Error> {
        loop {
            if let Some(line) = self.take_line()? {
                return Ok(Some(line));
            }
            let Ok(Some(Ok(frame))) = timeout(SILENCE_MAX, self.body.frame()).await else {
                return Ok(None);
            };
            if let Ok(data) = frame.into_data() {
                self.buffer.extend_from_slice(&data);
            }
            if self.buffer.len() > LINE_BYTES_MAX {
                let why = format!("a line is over the limit of {LINE_BYTES_MAX} bytes");
                return Err(self.wrong(why));
            }
        }
    }

    fn take_line<T: DeserializeOwned>(&mut self) -> Result<Option<T>, Error> {
        let rest = self.buffer.get(self.searched..).unwrap_or_default();
        let Some(end) = rest.iter().position(|byte| *byte == b'\n') else {
            self.searched = self.buffer.len();
            return Ok(None);
        };
        let line = self.buffer.split_to(self.searched + end);
        self.buffer.advance(1);
        self.searched = 0;
        let parsed = serde_json::from_slice(&line);
        parsed.map(Some).map_err(|error| self.wrong(error.to_string()))
    }

    pub(super) fn wrong(&self, why: String) -> Error {
        Error::BadAnswer { server: self.server.clone(), why }
    }
}

/// Events as they happen.
pub struct Events {
    client: Client,
    wanted: EventsQuery,
    lines: Option<Lines>,
    seen: BTreeSet<String>,
    order: VecDeque<String>,
}

/// A line of events: an event, or a sign of life.
#[derive(Deserialize)]
#[serde(untagged)]
enum EventLine {
    Event(Box<EventView>),
    Other(#[expect(dead_code, reason = "read to know that it is a line")] serde_json::Value),
}

impl Events {
    pub(super) fn new(client: Client, wanted: EventsQuery) -> Self {
        let (seen, order) = (BTreeSet::new(), VecDeque::new());
        Self { client, wanted, lines: None, seen, order }
    }

    /// The cursor of the last event: a later call with `after` goes on from there.
    pub fn position(&self) -> Option<&str> {
        self.wanted.after.as_deref()
    }

    /// The next event; waits for it as long as it takes. Fails only when no server can be reached
    /// or one refuses. Cancel safe.
    pub async fn next(&mut self) -> Result<EventView, Error> {
        loop {
            let Some(lines) = &mut self.lines else {
                let path = format!("/v1/events{}", self.wanted.write(true));
                self.lines = Some(self.client.open(path).await?);
                continue;
            };
            match lines.next().await? {
                None => self.lines = None,
                Some(EventLine::Other(_)) => {}
                Some(EventLine::Event(event)) => {
                    self.wanted.after = Some(event.cursor.clone());
                    if self.is_new(&event.id) {
                        return Ok(*event);
                    }
                }
            }
        }
    }

    fn is_new(&mut self, id: &str) -> bool {
        if !self.seen.insert(id.to_owned()) {
            return false;
        }
        self.order.push_back(id.to_owned());
        if self.order.len() > SEEN_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.seen.remove(&oldest);
        }
        true
    }
}

/// One line of a watch.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WatchLine {
    /// What happened.
    pub r#type: WatchKind,
    /// `cfg` or `dsc`, where an object changed.
    #[serde(default)]
    pub state: Option<String>,
    /// The revision up to which Cfg has been told.
    pub revision: u64,
    /// The history that revisions belong to, where the line is about no object.
    #[serde(default)]
    pub epoch: Option<u64>,
    /// The object as it is now, or was last.
    #[serde(default)]
    pub object: Option<Box<ObjectView>>,
}

/// What a line of a watch tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum WatchKind {
    /// A connection was opened. What was seen before it may have been missed: list what matters.
    Connected,
    /// An object is now so.
    Put,
    /// An object is gone.
    Delete,
    /// Nothing has changed up to this revision.
    Bookmark,
    /// The client fell behind: list again and watch from there.
    Lagged,
}

/// Changes as they happen.
pub struct Watch {
    client: Client,
    wanted: WatchQuery,
    lines: Option<Lines>,
    /// Whether the connection has not said anything yet.
    is_fresh: bool,
    told: Told,
}

/// What was told of the newest write: a connection may end in the middle of it.
#[derive(Default)]
struct Told {
    revision: u64,
    uids: BTreeSet<String>,
}

impl Told {
    /// Takes a line; `None` where the same was told before. Else where to resume from after it.
    fn take(&mut self, line: &WatchLine) -> Option<u64> {
        let object = line.object.as_ref().filter(|_| line.state.as_deref() == Some("cfg"));
        let Some(object) = object else { return Some(line.revision) };
        if line.revision > self.revision {
            self.revision = line.revision;
            self.uids.clear();
        }
        let is_new = line.revision == self.revision && self.uids.insert(object.uid.clone());
        // Whether it is the last of its write is not known before something else comes.
        is_new.then(|| line.revision.saturating_sub(1))
    }
}

impl Watch {
    pub(super) fn new(client: Client, wanted: WatchQuery) -> Self {
        Self { client, wanted, lines: None, is_fresh: true, told: Told::default() }
    }

    /// The next line; waits for it as long as it takes. The first line of every connection is
    /// [`WatchKind::Connected`]. After [`WatchKind::Lagged`], or a problem with code `gone`, the
    /// next call starts from now on. Cancel safe.
    pub async fn next(&mut self) -> Result<WatchLine, Error> {
        loop {
            let Some(lines) = &mut self.lines else {
                self.open().await?;
                continue;
            };
            let Some(mut line) = lines.next::<WatchLine>().await? else {
                self.lines = None;
                continue;
            };
            let Some(resume) = self.told.take(&line) else { continue };
            self.wanted.from = Some(resume);
            self.wanted.epoch = line.epoch.or(self.wanted.epoch);
            if line.r#type == WatchKind::Lagged {
                self.begin_anew();
                self.lines = None;
            }
            if std::mem::take(&mut self.is_fresh) && line.r#type == WatchKind::Bookmark {
                line.r#type = WatchKind::Connected;
            }
            return Ok(line);
        }
    }

    /// From now on, wherever the server is: who lists what a server holds that is behind the last
    /// one has to be told again what comes after that.
    fn begin_anew(&mut self) {
        self.wanted.from = None;
        self.told = Told::default();
    }

    async fn open(&mut self) -> Result<(), Error> {
        let path = format!("/v1/watch{}", self.wanted.write());
        let opened = self.client.open(path).await;
        if opened.as_ref().is_err_and(|error| error.code() == Some("gone")) {
            self.begin_anew();
        }
        self.lines = Some(opened?);
        self.is_fresh = true;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(r#type: WatchKind, state: &str, revision: u64, uid: &str) -> WatchLine {
        let object = serde_json::from_value(serde_json::json!({
            "kind": "node", "name": "n", "uid": uid, "revision": revision, "created": "",
        }));
        let object = object.ok().filter(|_| !uid.is_empty());
        WatchLine { r#type, state: Some(state.to_owned()), revision, epoch: None, object }
    }

    #[test]
    fn a_write_of_many_objects_is_resumed_whole_and_told_once() {
        let mut told = Told::default();
        for (r#type, state, revision, uid, resume) in [
            (WatchKind::Bookmark, "", 4, "", Some(4)),
            (WatchKind::Put, "cfg", 5, "a", Some(4)),
            (WatchKind::Put, "cfg", 5, "b", Some(4)),
            // A new connection that was resumed from 4.
            (WatchKind::Put, "cfg", 5, "a", None),
            (WatchKind::Put, "cfg", 5, "b", None),
            (WatchKind::Delete, "cfg", 5, "c", Some(4)),
            (WatchKind::Put, "dsc", 5, "a", Some(5)),
            (WatchKind::Put, "cfg", 9, "a", Some(8)),
            (WatchKind::Put, "cfg", 5, "d", None),
        ] {
            let line = line(r#type, state, revision, uid);
            assert_eq!(told.take(&line), resume, "{line:?}");
        }
    }
}
