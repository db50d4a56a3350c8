//! `kraken get`: objects, one a line, once or as they change.

mod board;

use std::{collections::BTreeMap, time::SystemTime};

use kraken_engine::{id::Name, manifest::NODE_KIND};
use kraken_http::{
    client::{Client, WatchKind, WatchQuery},
    view::{List, ObjectView},
};

use self::board::Board;
use crate::{
    age, complete,
    console::Console,
    exit::Failure,
    fleet::{self, called, link, reference},
    look::Look,
    objects::Objects,
    output::{Format, Output, json, json_line, lines, short, yaml},
    table::{self, Widths},
};

/// Characters of a reason in a table.
const REASON_CHARS_MAX: usize = 60;

/// Lists nodes, or objects of another kind
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The kind: nodes, or another one
    #[arg(default_value = "nodes", value_parser = read_kind, add = complete::kinds())]
    kind: String,
    /// Which: n1, n[1-64,70], @rack=r1 or NAMESPACE/NAME [default: all]
    #[arg(add = complete::nodes())]
    names: Option<Objects>,
    #[command(flatten)]
    output: Output,
    /// Goes on and shows what changes: on a terminal the list in its place, else a line a change
    #[arg(short, long)]
    watch: bool,
}

/// Reads a kind; what is none was meant as the nodes.
fn read_kind(text: &str) -> Result<String, String> {
    let meant = |_| format!("it is no kind; which nodes comes after it: kraken get nodes {text}");
    Name::new(text).map(|kind| kind.to_string()).map_err(meant)
}

impl Args {
    /// Lists.
    pub(crate) async fn run(self, client: &Client, console: &Console) -> Result<(), Failure> {
        let kind = fleet::kind(&self.kind);
        let list = Objects::find(client, kind, self.names.as_ref()).await?;
        let format = self.output.output;
        let is_for_people = matches!(format, Format::Table | Format::Wide);
        if self.watch && is_for_people && console.is_terminal() {
            let query = Objects::listed(self.names.as_ref());
            return Board { kind: kind.to_owned(), query, format, list }
                .show(client, console)
                .await;
        }
        // Who asks for more columns wants all of them.
        let is_wide = format == Format::Wide;
        let look = if is_wide { console.look().unbounded() } else { console.look() };
        let mut shown = Shown::new(format, look);
        if list.items.is_empty() && is_for_people {
            // Of what was named it is told below that it is missing.
            if self.watch || self.names.as_ref().and_then(Objects::names).is_none() {
                console.note(nothing(kind, self.names.is_some()));
            }
        } else {
            console.print(shown.list(&list)?)?;
        }
        if self.watch {
            return self.follow(client, (shown, list.revision), console).await;
        }
        match &self.names {
            Some(names) => names.require(client, kind, &list).await,
            None => Ok(()),
        }
    }

    /// Prints what changes. Most of what is seen changes nothing that is shown.
    async fn follow(
        &self,
        client: &Client,
        (mut shown, revision): (Shown, u64),
        console: &Console,
    ) -> Result<(), Failure> {
        let (kind, query) = (fleet::kind(&self.kind), Objects::listed(self.names.as_ref()));
        let client = fleet::patient(client)?;
        let mut watch = client.watch(WatchQuery {
            from: Some(revision),
            kinds: Some(kind.to_owned()),
            names: query.names.clone(),
            ..WatchQuery::default()
        });
        loop {
            let line = watch.next().await?;
            let is_meant =
                |object: &ObjectView| self.names.as_ref().is_none_or(|names| names.holds(object));
            if line.object.as_ref().is_some_and(|object| !is_meant(object)) {
                continue;
            }
            match (line.r#type, line.object) {
                (WatchKind::Connected, _) => {
                    for object in client.get_objects(kind, &query).await?.items {
                        shown.change(&object)?.map_or(Ok(()), |text| console.print(text))?;
                    }
                }
                (WatchKind::Put, Some(object)) => match client.get(kind, &called(&object)).await {
                    Ok(now) => shown.change(&now)?.map_or(Ok(()), |text| console.print(text))?,
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

/// Says that there is nothing, or nothing of what was chosen.
pub(super) fn nothing(kind: &str, is_chosen: bool) -> String {
    match kind {
        NODE_KIND => "there are no such nodes".to_owned(),
        kind if is_chosen => format!("there are no such objects of kind {kind}"),
        kind => format!("there are no objects of kind {kind}"),
    }
}

/// What was printed, so that what changes lines up with it and nothing is printed twice.
struct Shown {
    format: Format,
    look: Look,
    widths: Widths,
    /// Of each object what was printed of it, ages left out: they change by themselves.
    faces: BTreeMap<String, String>,
}

impl Shown {
    fn new(format: Format, look: Look) -> Self {
        Self { format, look, widths: Widths::default(), faces: BTreeMap::new() }
    }

    /// A list in the form that was asked for.
    fn list(&mut self, list: &List<ObjectView>) -> Result<String, Failure> {
        for object in &list.items {
            self.is_news(object)?;
        }
        match self.format {
            Format::Table | Format::Wide => {
                Ok(table(&list.items, self.format, self.look, &mut self.widths))
            }
            Format::Json => json(list),
            Format::Yaml => yaml(list),
            Format::Name => Ok(lines(list.items.iter().map(reference))),
        }
    }

    /// One object that has changed, a row without the head, a document or a line; nothing where
    /// what is printed of it has not.
    fn change(&mut self, object: &ObjectView) -> Result<Option<String>, Failure> {
        if !self.is_news(object)? {
            return Ok(None);
        }
        let items = std::slice::from_ref(object);
        Ok(Some(match self.format {
            Format::Table | Format::Wide => {
                let table = table(items, self.format, self.look, &mut self.widths);
                lines(table.lines().skip(1))
            }
            Format::Json => json_line(object)?,
            Format::Yaml => format!("---\n{}", yaml(object)?),
            Format::Name => lines([reference(object)]),
        }))
    }

    fn is_news(&mut self, object: &ObjectView) -> Result<bool, Failure> {
        let face = match self.format {
            Format::Table | Format::Wide => {
                let [phase, _, step, reason] = standing(object, SystemTime::UNIX_EPOCH);
                [link(object), &phase, &step, &reason, &labels(object)].join("\n")
            }
            Format::Json | Format::Yaml => json_line(object)?,
            Format::Name => String::new(),
        };
        Ok(self.faces.insert(called(object), face.clone()) != Some(face))
    }
}

/// A table of objects with few columns or, where it is wide, with many.
fn table(items: &[ObjectView], format: Format, look: Look, widths: &mut Widths) -> String {
    let now = SystemTime::now();
    if format == Format::Wide {
        return wide(items, now).render_within(look, widths);
    }
    narrow(items, now).render_within(look, widths)
}

fn narrow(items: &[ObjectView], now: SystemTime) -> table::Rows<6> {
    let mut rows = table::table(["NAME", "LINK", "PHASE", "SINCE", "STEP", "REASON"]);
    for object in items {
        let [phase, since, step, reason] = standing(object, now);
        rows.row([
            table::text(called(object)),
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
        let attempts = object.status.as_ref().map(|status| status.attempts).unwrap_or_default();
        rows.row([
            table::text(called(object)),
            table::text(link(object)),
            table::phase(&phase),
            table::text(since),
            table::text(object.revision),
            table::text(labels(object)),
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

fn labels(object: &ObjectView) -> String {
    let labels: Vec<String> = object.labels.iter().map(|(k, v)| format!("{k}={v}")).collect();
    labels.join(",")
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

    fn render(list: &List<ObjectView>, format: Format, look: Look) -> Result<String, Failure> {
        Shown::new(format, look).list(list)
    }

    #[test]
    fn a_list_has_its_forms() {
        insta::assert_snapshot!(render(&list(), Format::Table, Look::default()).unwrap(), @r#"
        NAME   LINK   PHASE        SINCE   STEP                 REASON
        n1     UP     BackingOff   0s      service/Start(web)   command "nginx" was not found
        n2     UP     -            -       -                    -
        "#);
        insta::assert_snapshot!(render(&list(), Format::Wide, Look::default()).unwrap(), @r#"
        NAME   LINK   PHASE        SINCE   REVISION   LABELS    ATTEMPTS   STEP                 REASON                          UID
        n1     UP     BackingOff   0s      9          rack=r1   2          service/Start(web)   command "nginx" was not found   u1
        n2     UP     -            -       9          rack=r1   0          -                    -                               u1
        "#);
        insta::assert_snapshot!(render(&list(), Format::Name, Look::default()).unwrap(), @"
        node/n1
        node/n2
        ");
        let again: List<ObjectView> =
            serde_json::from_str(&render(&list(), Format::Json, Look::default()).unwrap()).unwrap();
        assert_eq!(again, list());
        assert!(render(&list(), Format::Yaml, Look::default()).unwrap().contains("name: n1"));
    }

    #[test]
    fn what_changes_is_one_row_in_line_with_the_list() {
        let mut list = list();
        let mut shown = Shown::new(Format::Table, Look::default());
        shown.list(&list).unwrap();
        let object = &mut list.items[0];
        let mut status = object.status.take().unwrap();
        status.since = "1970-01-01T00:00:00.000Z".to_owned();
        object.status = Some(status.clone());
        assert_eq!(shown.change(object).unwrap(), None, "only its age has changed");
        status.phase = "Stuck".to_owned();
        status.since = "2999-01-01T00:00:00.000Z".to_owned();
        object.status = Some(status);
        let row = "n1     UP     Stuck        0s      service/Start(web)   command \"nginx\" was not \
                   found\n";
        assert_eq!(shown.change(object).unwrap().as_deref(), Some(row));
        assert_eq!(shown.change(object).unwrap(), None);
    }
}
