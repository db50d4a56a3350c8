//! `kraken describe`: everything about one object, what is asked beside what was seen.

use std::{collections::BTreeMap, time::SystemTime};

use kraken_http::{
    client::Client,
    view::{ObjectView, StatusView},
};
use serde_json::Value as Json;

use crate::{
    age, complete,
    console::Console,
    exit::Failure,
    fleet::{self, called, link},
    look::Look,
    objects::Objects,
    output::{Format, Output, json, named, short, yaml},
    table,
};

/// Characters of a value in the table.
const VALUE_CHARS_MAX: usize = 60;

/// Shows everything about nodes: what is asked of them beside what was seen
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Which: n1, n[1-64,70], @rack=r1 or NAMESPACE/NAME
    #[arg(add = complete::nodes())]
    names: Objects,
    /// The kind
    #[arg(short, long, default_value = "node", add = complete::kinds())]
    kind: String,
    #[command(flatten)]
    output: Output,
}

impl Args {
    /// Describes.
    pub(crate) async fn run(self, client: &Client, console: &Console) -> Result<(), Failure> {
        let kind = fleet::kind(&self.kind);
        let found = Objects::find(client, kind, Some(&self.names)).await?;
        for (index, object) in found.items.iter().enumerate() {
            let text = match self.output.output {
                Format::Json => json(object)?,
                Format::Yaml => format!("---\n{}", yaml(object)?),
                Format::Name => format!("{}\n", fleet::reference(object)),
                Format::Table | Format::Wide => {
                    let gap = if index == 0 { "" } else { "\n" };
                    format!("{gap}{}", describe(object, SystemTime::now(), console.look()))
                }
            };
            console.print(text)?;
        }
        if found.items.is_empty() && self.names.names().is_none() {
            console.note(super::get::nothing(kind, true));
        }
        self.names.require(client, kind, &found).await
    }
}

fn describe(object: &ObjectView, now: SystemTime, look: Look) -> String {
    let mut lines = vec![
        ("kind", object.kind.clone()),
        ("name", called(object)),
        ("uid", object.uid.clone()),
        ("labels", labels(object)),
        ("owner", object.owner.clone().unwrap_or_default()),
        ("revision", object.revision.to_string()),
        ("created", object.created.clone()),
        ("link", link(object).to_owned()),
    ];
    if object.deleting {
        lines.push(("deleting", "yes".to_owned()));
    }
    if let Some(host) = &object.former_host {
        lines.push(("still on", host.clone()));
    }
    if let Some(frozen) = &object.frozen {
        let ago = age::since(&frozen.since, now);
        lines.push(("frozen", format!("by {} ({}), {ago} ago", frozen.by, frozen.scope)));
    }
    lines.extend(object.status.iter().flat_map(|status| status_lines(status, now)));
    let (head, paths) = (named(lines), paths(object));
    if paths.is_empty() { head } else { format!("{head}\n{}", paths.render(look)) }
}

fn labels(object: &ObjectView) -> String {
    let labels: Vec<String> = object.labels.iter().map(|(k, v)| format!("{k}={v}")).collect();
    labels.join(",")
}

/// A status as names and values; empty values say nothing.
pub(crate) fn status_lines(status: &StatusView, now: SystemTime) -> Vec<(&'static str, String)> {
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    let attempts = if status.attempts == 0 { String::new() } else { status.attempts.to_string() };
    let since = age::since(&status.since, now);
    let retry = status.next_retry.as_ref().map(|at| age::until(at, now));
    vec![
        ("phase", format!("{} for {since}, as of revision {}", status.phase, status.revision)),
        ("step", text(&status.step)),
        ("reason", text(&status.reason)),
        ("waits for", text(&status.waits_for)),
        ("failures", attempts),
        ("error", text(&status.last_error)),
        ("retry", retry.unwrap_or_default()),
    ]
}

fn paths(object: &ObjectView) -> table::Rows<4> {
    let mut rows = table::table(["PATH", "CFG", "DSC", ""]);
    let cfg = object.cfg.as_ref().map(flat).unwrap_or_default();
    let dsc = object.dsc.as_ref().map(flat).unwrap_or_default();
    let all: std::collections::BTreeSet<&String> = cfg.keys().chain(dsc.keys()).collect();
    let stale = object.stale.clone().unwrap_or_default();
    for path in all {
        let shown = |values: &BTreeMap<String, String>| {
            values.get(path).map(|value| short(value, VALUE_CHARS_MAX)).unwrap_or_default()
        };
        let mark = if stale.contains(path) { "stale" } else { " " };
        rows.row([path.clone(), shown(&cfg), shown(&dsc), mark.to_owned()].map(table::text));
    }
    rows
}

/// A nested state as paths and values.
fn flat(state: &Json) -> BTreeMap<String, String> {
    fn walk(at: &str, value: &Json, into: &mut BTreeMap<String, String>) {
        match value {
            Json::Object(below) => {
                for (key, value) in below {
                    // The value of a path that has others below it stands at the empty key.
                    let path = if key.is_empty() { at.to_owned() } else { format!("{at}/{key}") };
                    walk(&path, value, into);
                }
            }
            Json::String(text) => drop(into.insert(at.to_owned(), text.clone())),
            value => drop(into.insert(at.to_owned(), value.to_string())),
        }
    }
    let mut paths = BTreeMap::new();
    walk("", state, &mut paths);
    paths
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_asked_stands_beside_what_was_seen() {
        let object: ObjectView = serde_json::from_value(json!({
            "kind": "node", "name": "n1", "uid": "u1", "labels": { "rack": "r1" },
            "owner": null, "revision": 9, "created": "1970-01-01T00:00:00.000Z",
            "frozen": {
                "by": "ann", "scope": "all", "since": "1970-01-01T00:00:00.000Z", "revision": 8,
            },
            "cfg": { "services": { "web": { "state": "RUN", "args": ["-v"] } } },
            "dsc": { "link": "UP", "services": { "web": { "state": "STOP", "pid": 7 } } },
            "stale": ["/services/web/pid"],
            "status": {
                "phase": "Frozen", "revision": 9, "step": "service/Start(web)",
                "reason": "frozen by ann", "waitsFor": null,
                "since": "1970-01-01T00:00:00.000Z", "attempts": 0, "lastError": null,
                "nextRetry": null,
            },
        }))
        .unwrap();
        let now = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(30);
        insta::assert_snapshot!(describe(&object, now, Look::default()), @r#"
        kind:      node
        name:      n1
        uid:       u1
        labels:    rack=r1
        revision:  9
        created:   1970-01-01T00:00:00.000Z
        link:      UP
        frozen:    by ann (all), 30s ago
        phase:     Frozen for 30s, as of revision 9
        step:      service/Start(web)
        reason:    frozen by ann

        PATH                  CFG      DSC
        /link                 -        UP
        /services/web/args    ["-v"]   -
        /services/web/pid     -        7      stale
        /services/web/state   RUN      STOP
        "#);
    }

    #[test]
    fn paths_are_whole_where_the_terminal_is_narrow() {
        let mac = "the address of an interface that is as long as all that";
        let object: ObjectView = serde_json::from_value(json!({
            "kind": "node", "name": "n1", "uid": "u1", "revision": 9, "created": "",
            "dsc": { "host": { "interfaces": { "eth0": { "mac": mac, "mtu": 1500 } } } },
        }))
        .unwrap();
        let look = Look { columns: Some(60), ..Look::default() };
        insta::assert_snapshot!(paths(&object).render(look), @r"
        PATH                        CFG   DSC
        /host/interfaces/eth0/mac   -     the address of an int…
        /host/interfaces/eth0/mtu   -     1500
        ");
    }
}
