//! A list that is drawn again in its place on a terminal as it changes, and each second, so that
//! ages go on.

use std::time::Duration;

use kraken_http::{
    client::{Client, ListQuery, WatchKind, WatchQuery},
    view::{List, ObjectView},
};
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::{
    console::Console,
    exit::Failure,
    fleet,
    look::Look,
    output::{Format, lines},
    table::Widths,
};

/// How often a list that changes is asked for and drawn again, at most.
const CHANGED_INTERVAL: Duration = Duration::from_millis(250);
/// How often one that does not is drawn again.
const SAME_INTERVAL: Duration = Duration::from_secs(1);
/// Lines of the terminal that are left to what is no row: the last line, and how many are hidden.
const LINES_KEPT: usize = 2;

/// What is listed.
pub(super) struct Board {
    pub(super) kind: String,
    pub(super) query: ListQuery,
    pub(super) format: Format,
    pub(super) list: List<ObjectView>,
}

impl Board {
    /// Draws it until the program is ended.
    pub(super) async fn show(mut self, client: &Client, console: &Console) -> Result<(), Failure> {
        let client = fleet::patient(client)?;
        let mut watch = client.watch(WatchQuery {
            from: Some(self.list.revision),
            kinds: Some(self.kind.clone()),
            names: self.query.names.clone(),
            ..WatchQuery::default()
        });
        let mut clock = interval(CHANGED_INTERVAL);
        clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut is_stale, mut drawn) = (false, None::<Instant>);
        loop {
            tokio::select! {
                line = watch.next() => is_stale |= line?.r#type != WatchKind::Bookmark,
                _ = clock.tick() => {
                    if std::mem::take(&mut is_stale) {
                        self.list = client.get_objects(&self.kind, &self.query).await?;
                        drawn = None;
                    }
                    if drawn.is_none_or(|drawn| drawn.elapsed() >= SAME_INTERVAL) {
                        console.redraw(&self.drawn(console.look()))?;
                        drawn = Some(Instant::now());
                    }
                }
            }
        }
    }

    /// As many rows as the terminal holds, and how many it does not.
    fn drawn(&self, look: Look) -> String {
        if self.list.items.is_empty() {
            return format!("{}\n", super::nothing(&self.kind, self.query.names.is_some()));
        }
        let table = super::table(&self.list.items, self.format, look, &mut Widths::default());
        let Some(rows) = look.rows.map(|rows| rows.saturating_sub(LINES_KEPT)) else {
            return table;
        };
        let hidden = table.lines().count().saturating_sub(rows);
        if hidden == 0 {
            return table;
        }
        let shown = table.lines().take(rows).map(str::to_owned);
        lines(shown.chain([format!("and {hidden} more, for which this terminal is too low")]))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_terminal_that_is_too_low_shows_how_many_it_hides() {
        let node = |number: usize| {
            json!({
                "kind": "node", "name": format!("n{number}"), "uid": "u", "revision": 1,
                "created": "1970-01-01T00:00:00.000Z",
            })
        };
        let items: Vec<_> = (1..=9).map(node).collect();
        let list = json!({ "revision": 1, "items": items, "continue": null });
        let board = Board {
            kind: "node".to_owned(),
            query: ListQuery::default(),
            format: Format::Table,
            list: serde_json::from_value(list).unwrap(),
        };
        for (rows, lines, last) in [
            (None, 10, "n9     -      -       -       -      -"),
            (Some(12), 10, "n9     -      -       -       -      -"),
            (Some(11), 10, "and 1 more, for which this terminal is too low"),
            (Some(5), 4, "and 7 more, for which this terminal is too low"),
        ] {
            let drawn = board.drawn(Look { rows, ..Look::default() });
            assert_eq!((drawn.lines().count(), drawn.lines().last()), (lines, Some(last)));
        }
    }
}
