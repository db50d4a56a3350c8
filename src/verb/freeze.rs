//! `kraken freeze`: nothing is dispatched for objects until they are thawed; and what is frozen.

use std::time::SystemTime;

use clap::ArgGroup;
use kraken_engine::manifest::NODE_KIND;
use kraken_http::{
    Written,
    client::{Client, TargetsQuery},
    view::{FreezeView, List},
};

use super::set::report;
use crate::{
    age, complete,
    console::Console,
    exit::Failure,
    look::Look,
    nodes::Nodes,
    objects,
    output::{Format, Output, json, lines, yaml},
    table::{self, text},
};

/// Freezes nodes: nothing is done to them until they are thawed
#[derive(Debug, clap::Args)]
#[command(group = ArgGroup::new("frozen").required(true).args(["nodes", "all", "list"]))]
pub(crate) struct Args {
    /// Which: n1, n[1-64,70] or @rack=r1
    #[arg(add = complete::nodes())]
    nodes: Option<Nodes>,
    /// The whole fleet, what is yet to come included
    #[arg(long)]
    all: bool,
    /// Shows what is frozen, in the words in which it is thawed, and freezes nothing
    #[arg(long)]
    list: bool,
    #[command(flatten)]
    output: Output,
}

/// Which objects an operation means.
#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
pub(crate) struct Targets {
    /// Which: n1, n[1-64,70] or @rack=r1
    #[arg(add = complete::nodes())]
    nodes: Option<Nodes>,
    /// The whole fleet, what is yet to come included
    #[arg(long)]
    all: bool,
}

impl Targets {
    /// As they are sent.
    pub(super) fn query(&self) -> TargetsQuery {
        self.nodes.as_ref().map_or(TargetsQuery::All, Nodes::targets)
    }

    /// The nodes, where they are not all.
    pub(super) fn nodes(&self) -> Option<&Nodes> {
        self.nodes.as_ref()
    }
}

impl Args {
    /// Freezes, or shows what is frozen.
    pub(crate) async fn run(self, client: &Client, console: &Console) -> Result<(), Failure> {
        if self.list {
            return self.listed(&client.get_freezes().await?, console);
        }
        let targets = self.nodes.as_ref().map_or(TargetsQuery::All, Nodes::targets);
        let written = client.freeze(&targets).await?;
        // A freeze by labels is for nodes to come, too: then it has done something all the same.
        if let (0, Some(nodes @ Nodes::Selector(selector))) = (written.changed, &self.nodes) {
            let is_any = objects::is_any(client, NODE_KIND, nodes).await?;
            return console.print(kept(&written, &selector.to_string(), is_any));
        }
        console.print(report(&written))
    }

    fn listed(&self, freezes: &List<FreezeView>, console: &Console) -> Result<(), Failure> {
        match self.output.output {
            Format::Json => return console.print(json(freezes)?),
            Format::Yaml => return console.print(yaml(freezes)?),
            Format::Name => return console.print(lines(freezes.items.iter().map(words))),
            Format::Table | Format::Wide if freezes.items.is_empty() => {
                console.note("nothing is frozen");
                return Ok(());
            }
            Format::Table | Format::Wide => {}
        }
        console.print(rendered(&freezes.items, SystemTime::now(), console.look()))
    }
}

/// What a freeze by labels has done that changed no object.
fn kept(written: &Written, selector: &str, is_any: bool) -> String {
    let revision = written.revision;
    let so = if is_any {
        "all that have it were frozen before, and those that get it will be"
    } else {
        "none has it now, and those that get it will be"
    };
    format!("revision {revision}: frozen for nodes with {selector}; {so}")
}

/// What a freeze freezes, as it is typed to thaw it.
fn words(freeze: &FreezeView) -> String {
    match (&freeze.names, &freeze.selector) {
        (Some(name), _) => name.clone(),
        (None, Some(selector)) => format!("@{selector}"),
        (None, None) => "--all".to_owned(),
    }
}

fn rendered(freezes: &[FreezeView], now: SystemTime, look: Look) -> String {
    let mut rows = table::table(["FROZEN", "BY", "SINCE", "REVISION"]);
    for freeze in freezes {
        let since = age::since(&freeze.since, now);
        rows.row([text(words(freeze)), text(&freeze.by), text(since), text(freeze.revision)]);
    }
    rows.render(look)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_frozen_is_told_as_it_is_thawed() {
        let freeze = |mut of: serde_json::Value| -> FreezeView {
            of["by"] = json!("ann");
            of["since"] = json!("1970-01-01T00:00:00.000Z");
            of["revision"] = json!(7);
            serde_json::from_value(of).unwrap()
        };
        let freezes =
            [json!({ "names": "n1" }), json!({ "selector": "all" }), json!({ "all": true })];
        let now = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(30);
        insta::assert_snapshot!(rendered(&freezes.map(freeze), now, Look::default()), @r"
        FROZEN   BY    SINCE   REVISION
        n1       ann   30s     7
        @all     ann   30s     7
        --all    ann   30s     7
        ");
    }

    #[test]
    fn a_freeze_for_nodes_to_come_says_so() {
        let written = Written { revision: 62, changed: 0 };
        let none = "revision 62: frozen for nodes with rack=r7; none has it now, and those that get \
                    it will be";
        assert_eq!(kept(&written, "rack=r7", false), none);
        assert!(kept(&written, "rack=r7", true).contains("all that have it were frozen before"));
    }
}
