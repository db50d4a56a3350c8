//! `kraken get`: objects, one a line, once or as they change.

use std::{collections::BTreeMap, time::SystemTime};

use kraken_engine::manifest::NODE_KIND;
use kraken_http::{
    client::{Client, WatchKind, WatchQuery},
    view::{List, ObjectView},
};

use crate::{
    age,
    console::Console,
    exit::Failure,
    fleet::{self, link, reference},
    nodes::Nodes,
    output::{Format, Output, json, json_line, lines, short, yaml},
    table,
};

/// Characters of a reason in a table.
const REASON_CHARS_MAX: usize = 60;

/// Lists nodes, or objects of another kind
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The kind: nodes, or another one
    #[arg(default_value = "nodes")]
    kind: String,
    /// Which: n1, n[1-64,70] or @rack=r1 [default: all]
    names: Option<Nodes>,
    #[command(flatten)]
    output: Output,
    /// Goes on and prints what changes
    #[arg(short, long)]
    watch: bool,
}

impl Args {
    /// Lists.
    pub(crate) async fn run(self, client: &Client, console: &Console) -> Result<(), Failure> {
        let kind = fleet::kind(&self.kind);
        let list = client.get_objects(kind, &Nodes::listed(self.names.as_ref())).await?;
        let format = self.output.output;
        if list.items.is_empty() && matches!(format, Format::Table | Format::Wide) {
            console.note(nothing(kind));
        } else {
            console.print(render(&list, format, console.has_colour())?)?;
        }
        if self.watch {
            return self.follow(client, list, console).await;
        }
        self.names.as_ref().map_or(Ok(()), |names| names.require(kind, &list))
    }

    /// Prints what changes. Most of what is seen changes nothing that is shown.
    async fn follow(
        &self,
        client: &Client,
        list: List<ObjectView>,
        console: &Console,
    ) -> Result<(), Failure> {
        let (kind, query) = (fleet::kind(&self.kind), Nodes::listed(self.names.as_ref()));
        let mut shown = Shown { format: self.output.output, rows: BTreeMap::new() };
        shown.of(&list.items, console)?;
        let mut watch = client.watch(WatchQuery {
            from: Some(list.revision),
            kinds: Some(kind.to_owned()),
            names: query.names.clone(),
            ..WatchQuery::default()
        });
        loop {
            let line = watch.next().await?;
            match (line.r#type, line.object) {
                (WatchKind::Connected, _) => {
                    let now = client.get_objects(kind, &query).await?;
                    shown.print(&now.items, console)?;
                }
                (WatchKind::Put, Some(object)) => match client.get(kind, &object.name).await {
                    Ok(now) => shown.print(&[now], console)?,
                    // It was removed meanwhile, which another line tells.
                    Err(error) if error.code() == Some("no_such_object") => {}
                    Err(error) => return Err(error.into()),
                },
                (WatchKind::Delete, Some(object)) => {
                    console.note(format!("{} is gone", fleet::reference(&object)));
                }
                (WatchKind::Put | WatchKind::Delete, None)
                | (WatchKind::Bookmark | WatchKind::Lagged, _) => {}
            }
        }
    }
}

/// Says that there is nothing, and what may have been meant.
fn nothing(kind: &str) -> String {
    match kind {
        NODE_KIND => "there are no such nodes".to_owned(),
        kind => {
            format!(
                "there are no objects of kind {kind}; a node is shown by `kraken get nodes {kind}`"
            )
        }
    }
}

/// What was printed of each object last.
struct Shown {
    format: Format,
    rows: BTreeMap<String, String>,
}

impl Shown {
    /// Takes objects as printed.
    fn of(&mut self, objects: &[ObjectView], console: &Console) -> Result<(), Failure> {
        for object in objects {
            let text = render_one(object, self.format, console.has_colour())?;
            self.rows.insert(object.name.clone(), text);
        }
        Ok(())
    }

    /// Prints those of the objects that look otherwise than before.
    fn print(&mut self, objects: &[ObjectView], console: &Console) -> Result<(), Failure> {
        for object in objects {
            let text = render_one(object, self.format, console.has_colour())?;
            if self.rows.insert(object.name.clone(), text.clone()).as_ref() != Some(&text) {
                console.print(text)?;
            }
        }
        Ok(())
    }
}

/// A list in the form that was asked for.
fn render(list: &List<ObjectView>, format: Format, colour: bool) -> Result<String, Failure> {
    let now = SystemTime::now();
    match format {
        Format::Table => Ok(narrow(&list.items, now).render(colour)),
        Format::Wide => Ok(wide(&list.items, now).render(colour)),
        Format::Json => json(list),
        Format::Yaml => yaml(list),
        Format::Name => Ok(lines(list.items.iter().map(reference))),
    }
}

/// One object that has changed: a row without the head, a document or a line.
fn render_one(object: &ObjectView, format: Format, colour: bool) -> Result<String, Failure> {
    let now = SystemTime::now();
    let items = std::slice::from_ref(object);
    let row = |table: String| lines(table.lines().skip(1));
    match format {
        Format::Table => Ok(row(narrow(items, now).render(colour))),
        Format::Wide => Ok(row(wide(items, now).render(colour))),
        Format::Json => json_line(object),
        Format::Yaml => Ok(format!("---\n{}", yaml(object)?)),
        Format::Name => Ok(format!("{}\n", reference(object))),
    }
}

fn narrow(items: &[ObjectView], now: SystemTime) -> table::Rows<6> {
    let mut rows = table::table(["NAME", "LINK", "PHASE", "SINCE", "STEP", "REASON"]);
    for object in items {
        let [phase, since, step, reason] = standing(object, now);
        rows.row([
            table::text(&object.name),
            table::text(link(object)),
            table::phase(&phase),
            table::text(since),
            table::text(step),
            table::text(short(&reason, REASON_CHARS_MAX)),
        ]);
    }
    rows
}

fn wide(items: &[ObjectView], now: SystemTime) -> table::Rows<10> {
    let names = [
        "NAME", "LINK", "PHASE", "SINCE", "REVISION", "LABELS", "ATTEMPTS", "STEP", "REASON", "UID",
    ];
    let mut rows = table::table(names);
    for object in items {
        let [phase, since, step, reason] = standing(object, now);
        let labels: Vec<String> = object.labels.iter().map(|(k, v)| format!("{k}={v}")).collect();
        let attempts = object.status.as_ref().map(|status| status.attempts).unwrap_or_default();
        rows.row([
            table::text(&object.name),
            table::text(link(object)),
            table::phase(&phase),
            table::text(since),
            table::text(object.revision),
            table::text(labels.join(",")),
            table::text(attempts),
            table::text(step),
            table::text(reason),
            table::text(&object.uid),
        ]);
    }
    rows
}

/// Phase, since when, step, and why.
fn standing(object: &ObjectView, now: SystemTime) -> [String; 4] {
    let Some(status) = &object.status else { return <_>::default() };
    let why = status.last_error.as_ref().or(status.reason.as_ref()).or(status.waits_for.as_ref());
    [
        status.phase.clone(),
        age::since(&status.since, now),
        status.step.clone().unwrap_or_default(),
        why.cloned().unwrap_or_default(),
    ]
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn list() -> List<ObjectView> {
        let status = json!({
            "phase": "BackingOff", "revision": 9, "step": "service/Start(web)",
            "reason": null, "waitsFor": null, "since": "2999-01-01T00:00:00.000Z", "attempts": 2,
            "lastError": "command \"nginx\" was not found", "nextRetry": null,
        });
        let node = |name: &str, status: serde_json::Value| {
            json!({
                "kind": "node", "name": name, "uid": "u1", "labels": { "rack": "r1" },
                "owner": null, "revision": 9, "created": "1970-01-01T00:00:00.000Z",
                "dsc": { "link": "UP" }, "status": status,
            })
        };
        let items = [node("n1", status), node("n2", json!(null))];
        serde_json::from_value(json!({ "revision": 9, "items": items, "continue": null })).unwrap()
    }

    #[test]
    fn a_list_has_its_forms() {
        insta::assert_snapshot!(render(&list(), Format::Table, false).unwrap(), @r#"
        NAME   LINK   PHASE        SINCE   STEP                 REASON
        n1     UP     BackingOff   0s      service/Start(web)   command "nginx" was not found
        n2     UP     -            -       -                    -
        "#);
        insta::assert_snapshot!(render(&list(), Format::Wide, false).unwrap(), @r#"
        NAME   LINK   PHASE        SINCE   REVISION   LABELS    ATTEMPTS   STEP                 REASON                          UID
        n1     UP     BackingOff   0s      9          rack=r1   2          service/Start(web)   command "nginx" was not found   u1
        n2     UP     -            -       9          rack=r1   0          -                    -                               u1
        "#);
        insta::assert_snapshot!(render(&list(), Format::Name, false).unwrap(), @"
        node/n1
        node/n2
        ");
        let again: List<ObjectView> =
            serde_json::from_str(&render(&list(), Format::Json, false).unwrap()).unwrap();
        assert_eq!(again, list());
        assert!(render(&list(), Format::Yaml, false).unwrap().contains("name: n1"));
    }

    #[test]
    fn what_changes_is_a_row_without_head() {
        let row = render_one(&list().items[1], Format::Table, false).unwrap();
        assert_eq!(row, "n2     UP     -       -       -      -\n");
    }
}
