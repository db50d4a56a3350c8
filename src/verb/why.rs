//! `kraken why`: where a node stands on its way, what it waits for, and who must act.

use std::time::SystemTime;

use kraken_http::{
    client::Client,
    view::{OtherDeclarationsView, WhyView},
};

use super::{describe::status_lines, plan};
use crate::{
    age, complete,
    console::Console,
    exit::Failure,
    fleet,
    look::Look,
    objects,
    output::{Format, Output, json, lines, named, short, yaml},
    table,
};

/// Characters of a value in the table of differences.
const VALUE_CHARS_MAX: usize = 40;

/// Explains where a node or another object stands on its way, and who must act
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The node, or the object of another kind: name or namespace/name
    #[arg(value_parser = fleet::object_name, add = complete::object())]
    name: String,
    /// The kind, where it is no node
    #[arg(short, long, default_value = "node", add = complete::kinds())]
    kind: String,
    #[command(flatten)]
    output: Output,
}

impl Args {
    /// Explains.
    pub(crate) async fn run(self, client: &Client, console: &Console) -> Result<(), Failure> {
        let (kind, name) = (fleet::kind(&self.kind), self.name.as_str());
        let why = objects::about(client, (kind, name), client.why(kind, name)).await?;
        console.print(match self.output.output {
            Format::Json => json(&why)?,
            Format::Yaml => yaml(&why)?,
            Format::Name => format!("{}\n", why.object),
            Format::Table | Format::Wide => explain(&why, SystemTime::now(), console.look()),
        })
    }
}

/// An explanation in words.
pub(super) fn explain(why: &WhyView, now: SystemTime, look: Look) -> String {
    let mut said = vec![("object", why.object.clone())];
    if why.deleting {
        said.push(("deleting", "yes".to_owned()));
    }
    let link = why.link.as_ref().and_then(|link| link.as_str()).unwrap_or_default();
    said.push(("link", link.to_owned()));
    if let Some(host) = &why.former_host {
        said.push(("still on", host.clone()));
    }
    if let Some(OtherDeclarationsView { node, digest, quorum }) = &why.other_declarations {
        let others = format!("{node} decides by {digest}, the quorum has {quorum}");
        said.push(("declared", others));
    }
    if let Some(frozen) = &why.frozen {
        let ago = age::since(&frozen.since, now);
        said.push(("frozen", format!("by {} ({}), {ago} ago", frozen.by, frozen.scope)));
    }
    said.extend(why.status.iter().flat_map(|status| status_lines(status, now)));
    said.push(("who acts", why.who_must_act.clone()));
    let mut text = named(said);
    if !why.differences.is_empty() {
        let mut rows = table::table(["PATH", "WANTED", "SEEN", ""]);
        for difference in &why.differences {
            let (wanted, seen) = (shown(&difference.wanted), shown(&difference.seen));
            let mark = if difference.stale { "stale" } else { " " };
            rows.row([&difference.path, &wanted, &seen, mark].map(table::text));
        }
        text.push('\n');
        text.push_str(&rows.render(look));
    }
    let steps = plan::steps(&why.plan);
    if !steps.is_empty() {
        text.push_str("\nplan:\n");
        text.push_str(&lines(steps));
    }
    text
}

fn shown(value: &serde_json::Value) -> String {
    match value {
        serde_json::Value::Null => "unknown".to_owned(),
        serde_json::Value::String(text) => short(text, VALUE_CHARS_MAX),
        value => short(&value.to_string(), VALUE_CHARS_MAX),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_explanation_names_step_error_retry_and_who_acts() {
        let status = json!({
            "phase": "BackingOff", "revision": 9, "step": "service/Start(web)",
            "reason": null, "waitsFor": null, "since": "1970-01-01T00:00:00.000Z",
            "attempts": 2, "lastError": "command \"nginx\" was not found",
            "nextRetry": "1970-01-01T00:00:40.000Z",
        });
        let why: WhyView = serde_json::from_value(json!({
            "object": "node/n3", "uid": "u3", "revision": 9, "deleting": false, "frozen": null,
            "link": "UP",
            "otherDeclarations": { "node": "n3", "digest": "0a1b", "quorum": "2c3d" },
            "differences": [
                { "path": "/services/web/state", "wanted": "RUN", "seen": null, "stale": false },
                { "path": "/lamp", "wanted": "ON", "seen": "OFF", "stale": true },
            ],
            "status": status,
            "lanes": { "self": null, "quorum": null },
            "plan": { "steps": [], "costMs": 0, "waitsFor": [], "blocked": [] },
            "whoMustAct": "nobody: it is tried again by itself",
        }))
        .unwrap();
        let now = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(30);
        insta::assert_snapshot!(explain(&why, now, Look::default()), @r#"
        object:    node/n3
        link:      UP
        declared:  n3 decides by 0a1b, the quorum has 2c3d
        phase:     BackingOff for 30s, as of revision 9
        step:      service/Start(web)
        failures:  2
        error:     command "nginx" was not found
        retry:     in 10s
        who acts:  nobody: it is tried again by itself

        PATH                  WANTED   SEEN
        /services/web/state   RUN      unknown
        /lamp                 ON       OFF       stale
        "#);
    }
}
