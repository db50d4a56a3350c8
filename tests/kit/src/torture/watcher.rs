//! A watcher: everything that one member tells of changes, over its deaths and returns.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::Result;
use kraken_http::client::{WatchKind, WatchLine, WatchQuery};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::clients::held;
use crate::{edge::Edge, serial::Told};

/// How long one try to open the stream may take.
const TRY_MAX: Duration = Duration::from_secs(5);
/// Time after which a member that is away is tried again.
const AGAIN_AFTER: Duration = Duration::from_millis(50);

/// What a watch has told so far.
#[derive(Debug)]
struct Record {
    by: String,
    all: Vec<Told>,
    told: Option<Told>,
}

/// Watches a member until told that it is enough: everything that it was told without a break.
/// `reached` is the revision up to which that is.
pub(super) async fn watch(
    (member, url): (String, String),
    reached: Arc<AtomicU64>,
    enough: CancellationToken,
) -> Result<Vec<Told>> {
    let wanted = WatchQuery { states: Some("cfg".to_owned()), ..WatchQuery::default() };
    let mut lines = Edge::hasty(&[url], TRY_MAX)?.client().watch(wanted);
    let mut record = Record::new(&member);
    loop {
        let line = tokio::select! {
            line = lines.next() => line,
            () = enough.cancelled() => return Ok(record.end()),
        };
        match line {
            Ok(line) => record.take(line),
            Err(error) => {
                record.fail(error.code());
                if timeout(AGAIN_AFTER, enough.cancelled()).await.is_ok() {
                    return Ok(record.end());
                }
            }
        }
        reached.store(record.upto(), Ordering::Relaxed);
    }
}

impl Record {
    fn new(by: &str) -> Self {
        Self { by: by.to_owned(), all: Vec::new(), told: None }
    }

    fn upto(&self) -> u64 {
        self.told.as_ref().map_or(0, |told| told.upto)
    }

    fn end(self) -> Vec<Told> {
        self.all.into_iter().chain(self.told).collect()
    }

    /// What was missed is told by nobody from here on.
    fn cut(&mut self) {
        self.all.extend(self.told.take());
    }

    /// The stream goes on from where it was when the member is there again, unless the member says
    /// that it no longer knows that far back.
    fn fail(&mut self, code: Option<&str>) {
        if code == Some("gone") {
            self.cut();
        }
    }

    fn take(&mut self, line: WatchLine) {
        match line.r#type {
            WatchKind::Lagged => self.cut(),
            WatchKind::Connected | WatchKind::Delete | WatchKind::Bookmark => {
                let (by, after, upto) = (self.by.clone(), line.revision, line.revision);
                let begun = Told { by, after, upto, writes: Vec::new() };
                let told = self.told.get_or_insert(begun);
                told.upto = told.upto.max(line.revision);
            }
            WatchKind::Put => {
                let Some(told) = &mut self.told else { return };
                told.upto = told.upto.max(line.revision);
                let item = line.object.as_deref();
                if let Some((item, (value, since))) = item.and_then(|i| Some((i, held(i)?))) {
                    told.writes.push((since, item.name.clone(), value));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::serial::{self, Fate, Op, What};

    fn mark(r#type: WatchKind, revision: u64) -> WatchLine {
        WatchLine { r#type, state: None, revision, epoch: None, object: None }
    }

    fn put(revision: u64, value: &str) -> WatchLine {
        let object = json!({
            "kind": "node", "name": "k", "uid": "u", "revision": revision, "created": "",
            "cfg": super::super::clients::cfg(value),
        });
        let object = Some(serde_json::from_value(object).unwrap());
        let state = Some("cfg".to_owned());
        WatchLine { r#type: WatchKind::Put, state, revision, epoch: None, object }
    }

    fn write(value: &str, revision: u64) -> Op {
        let (value, fate) = (value.to_owned(), Fate::Written(revision));
        let what = What::Write { value, over: None, fate };
        let (asked, answered) = (revision * 10, Some(revision * 10 + 5));
        Op { client: 0, asked, answered, key: "k".to_owned(), what }
    }

    fn watched(lines: Vec<Result<WatchLine, Option<&str>>>) -> Result<serial::Checked> {
        let mut record = Record::new("m1");
        for line in lines {
            match line {
                Ok(line) => record.take(line),
                Err(code) => record.fail(code),
            }
        }
        let ops = [write("a", 3), write("b", 5), write("c", 7)];
        serial::check(&ops, &record.end())
    }

    #[test]
    fn gap_over_a_reconnection_is_told() {
        let connected = |revision| Ok(mark(WatchKind::Connected, revision));
        let whole = vec![
            connected(2),
            Ok(put(3, "a")),
            Err(None),
            Err(Some("unavailable")),
            connected(3),
            Ok(put(5, "b")),
            Ok(put(7, "c")),
        ];
        assert_eq!(watched(whole).unwrap().told, 3);
        let gap = vec![connected(2), Ok(put(3, "a")), Err(None), connected(3), Ok(put(7, "c"))];
        let told = format!("{:#}", watched(gap).unwrap_err());
        assert!(told.contains("is told where (5, "), "{told}");
        // Nobody promises what the member says that it no longer knows.
        let gone =
            vec![connected(2), Ok(put(3, "a")), Err(Some("gone")), connected(6), Ok(put(7, "c"))];
        assert_eq!(watched(gone).unwrap().told, 2);
        let lagged = vec![
            connected(2),
            Ok(put(3, "a")),
            Ok(mark(WatchKind::Lagged, 6)),
            connected(6),
            Ok(put(7, "c")),
        ];
        assert_eq!(watched(lagged).unwrap().told, 2);
    }
}
