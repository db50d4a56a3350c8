//! `kraken plan`: which mutations a change would run, where and in what order, before anything
//! runs; or which ones run next for a node.

use std::{path::PathBuf, time::Duration};

use kraken_engine::{command::OPS_MAX, manifest::NODE_KIND};
use kraken_http::{
    DryRun, Kind, ObjectPlan, Outlook, Planned,
    client::{Client, Error, PlanPart, Plans},
    view::{PlanView, StepView},
};

use super::apply::Source;
use crate::{
    age, complete,
    console::{Console, Progress},
    exit::Failure,
    fleet, objects,
    output::{Format, Output, json, lines, yaml},
};

/// Shows what a file would change and run, or what runs next for an object
#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("what").required(true).args(["file", "node"]))]
pub(crate) struct Args {
    /// The node whose plan is shown, or the object of another kind: name or namespace/name
    #[arg(value_parser = fleet::object_name, add = complete::object())]
    node: Option<String>,
    /// The kind, where it is no node
    #[arg(short, long, default_value = NODE_KIND, add = complete::kinds())]
    kind: String,
    /// The file, YAML or JSON, that would be applied; - is standard input
    #[arg(short, long, value_name = "FILE")]
    file: Option<PathBuf>,
    #[command(flatten)]
    output: Output,
}

impl Args {
    /// Plans.
    pub(crate) async fn run(self, client: &Client, console: &Console) -> Result<(), Failure> {
        if let Some(node) = &self.node {
            let kind = fleet::kind(&self.kind);
            let plan = objects::about(client, (kind, node), client.plan_of(kind, node)).await?;
            return console.print(match self.output.output {
                Format::Json => json(&plan)?,
                Format::Yaml => yaml(&plan)?,
                Format::Table | Format::Wide | Format::Name => object_plan(&plan),
            });
        }
        let source = Source { file: self.file.unwrap_or_default(), expect: None };
        let plans = client.plan(source.read()?).await.map_err(|error| source.named(error))?;
        let named = |error| source.named(error);
        show(plans, self.output, "kraken apply -f FILE", console, named).await
    }
}

/// Rows are printed when they are so many bytes.
const ROWS_BYTES: usize = 16 << 10;

/// Shows what a write would do: each object as it comes, with how far planning is.
pub(super) async fn show(
    mut plans: Plans,
    output: Output,
    command: &str,
    console: &Console,
    named: impl Fn(Error) -> Failure,
) -> Result<(), Failure> {
    let format = output.output;
    if matches!(format, Format::Json | Format::Yaml) {
        let mut bar = Bar::new(console);
        let planned = plans.whole_with(|done, of| bar.set(done, of)).await.map_err(named)?;
        drop(bar);
        return console.print(if format == Format::Json {
            json(&planned)
        } else {
            yaml(&planned)
        }?);
    }
    let (mut bar, mut rows, mut count) = (Bar::new(console), String::new(), 0);
    while let Some(part) = plans.next().await.map_err(&named)? {
        match part {
            PlanPart::Progress { done, of } => bar.set(done, of),
            PlanPart::Object(planned) => {
                bar.clear();
                count += 1;
                match format {
                    Format::Name => rows += &lines([planned.object]),
                    Format::Json | Format::Yaml | Format::Table | Format::Wide => {
                        rows += &lines(row(&planned));
                    }
                }
                if count == 1 || rows.len() >= ROWS_BYTES {
                    console.print(std::mem::take(&mut rows))?;
                }
            }
            PlanPart::End { .. } if format == Format::Name && rows.is_empty() => return Ok(()),
            PlanPart::End { .. } if format == Format::Name => return console.print(rows),
            PlanPart::End { revision, outlook } => {
                bar.clear();
                console.print(rows + &lines(end(count, revision, &outlook)))?;
                console.note(advice(revision, &outlook, command));
                return Ok(());
            }
        }
    }
    Err(named(plans.cut()))
}

/// What a write would do, all of it.
pub(super) fn told(planned: &DryRun) -> String {
    let rows = planned.objects.iter().flat_map(row);
    lines(rows.chain(end(planned.objects.len(), planned.revision, &planned.outlook)))
}

/// How far planning is, for a person, once it takes long enough for that to be told.
struct Bar<'a> {
    console: &'a Console,
    progress: Option<Progress>,
}

impl<'a> Bar<'a> {
    fn new(console: &'a Console) -> Self {
        Self { console, progress: None }
    }

    fn set(&mut self, done: usize, of: usize) {
        if of > 0 && self.progress.is_none() {
            self.progress = self.console.bar();
        }
        if let Some(progress) = &mut self.progress {
            progress.set("objects are planned", done, of);
        }
    }

    fn clear(&mut self) {
        self.progress = None;
    }
}

/// How to do what was planned.
fn advice(revision: u64, outlook: &Outlook, command: &str) -> String {
    match outlook.writes {
        0 | 1 => format!("to do exactly this: {command} --expect {revision}"),
        writes => format!(
            "one write takes {OPS_MAX} objects at most: send this in {writes} parts, in this order"
        ),
    }
}

/// What would be done to one object.
fn row(object: &Planned) -> Vec<String> {
    let mut text = vec![format!("{} {}", word(object.change), object.object)];
    text.extend(object.cfg.iter().map(|change| {
        let (from, to) = (shown(&change.from), shown(&change.to));
        format!("  {}: {from} -> {to}", change.path)
    }));
    text.extend(steps(&object.plan));
    text.extend(object.wave.map(|wave| format!("  disrupted in wave {wave}")));
    text.extend(object.held.as_ref().map(|held| format!("  held: {held}")));
    text
}

/// What is told of the whole change.
fn end(count: usize, revision: u64, outlook: &Outlook) -> Vec<String> {
    let changed = match count {
        0 => "nothing would change".to_owned(),
        1 => "1 object would change".to_owned(),
        changed => format!("{changed} objects would change"),
    };
    let changed = format!("{changed}; Cfg is at revision {revision}");
    waves(outlook).into_iter().chain([changed]).collect()
}

/// In how many waves policies let disruptive steps run, and what holds some; nothing, where the
/// change disrupts nothing.
fn waves(outlook: &Outlook) -> Option<String> {
    let mut parts = Vec::new();
    if outlook.wave_count > 0 {
        let ends = age::span(Duration::from_millis(outlook.ends_after_ms.max(1_000)));
        let waves = if outlook.wave_count == 1 { "wave" } else { "waves" };
        parts.push(format!("{} {waves} of disruption, done in about {ends}", outlook.wave_count));
    }
    for (policy, times) in &outlook.pauses {
        let times = if *times == 1 { "once".to_owned() } else { format!("{times} times") };
        parts.push(format!("policy {policy} pauses {times} for a person"));
    }
    if outlook.held > 0 {
        parts.push(format!("{} held as things are", outlook.held));
    }
    if outlook.cut {
        parts.push("the last are not foreseen".to_owned());
    }
    (!parts.is_empty()).then(|| {
        parts.push(format!("{} objects are not touched", outlook.untouched));
        parts.join("; ")
    })
}

fn object_plan(plan: &ObjectPlan) -> String {
    let mut text = vec![format!("{} at revision {}", plan.object, plan.revision)];
    text.extend(steps(&plan.plan));
    if text.len() == 1 {
        text.push("  nothing to do".to_owned());
    }
    lines(text)
}

/// The steps of a plan, one a line, then what stands in its way.
pub(super) fn steps(plan: &PlanView) -> Vec<String> {
    let step = |(number, step): (usize, &StepView)| {
        let cost = age::span(Duration::from_millis(step.cost_ms).max(Duration::from_secs(1)));
        let disruptive = if step.disruptive { ", disruptive" } else { "" };
        format!("  {number}. {} on {}, about {cost}{disruptive}", step.step, step.context)
    };
    let steps = (1..).zip(&plan.steps).map(step);
    let waits = plan.waits_for.iter().map(|waits_for| format!("  waits for {waits_for}"));
    let blocked = plan.blocked.iter().map(|blocked| format!("  cannot: {}", blocked.text));
    steps.chain(waits).chain(blocked).collect()
}

fn word(change: Kind) -> &'static str {
    match change {
        Kind::Create => "create",
        Kind::Update => "update",
        Kind::Delete => "delete",
    }
}

fn shown(value: &serde_json::Value) -> String {
    match value {
        serde_json::Value::Null => "nothing".to_owned(),
        serde_json::Value::String(text) => text.clone(),
        value => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_plan_says_what_changes_and_what_runs() {
        let planned: DryRun = serde_json::from_value(json!({
            "revision": 12,
            "objects": [{
                "object": "node/n1",
                "change": "update",
                "cfg": [
                    { "path": "/services/web/state", "from": "RUN", "to": "STOP" },
                    { "path": "/services/web/args", "from": null, "to": ["-v"] },
                ],
                "plan": {
                    "steps": [{
                        "step": "service/Stop(web)", "module": "service", "mutation": "Stop",
                        "bindings": ["web"], "context": "self", "lane": "self",
                        "disruptive": true, "changes": [], "costMs": 500,
                    }],
                    "costMs": 500,
                    "waitsFor": ["node n2: /link = UP"],
                    "blocked": [{ "text": "nothing changes /lamp", "reason": null }],
                },
            }],
        }))
        .unwrap();
        insta::assert_snapshot!(told(&planned), @r#"
        update node/n1
          /services/web/state: RUN -> STOP
          /services/web/args: nothing -> ["-v"]
          1. service/Stop(web) on self, about 1s, disruptive
          waits for node n2: /link = UP
          cannot: nothing changes /lamp
        1 object would change; Cfg is at revision 12
        "#);
    }

    #[test]
    fn what_is_too_much_for_one_write_is_not_advised() {
        let advice = |writes| advice(12, &Outlook { writes, ..Outlook::default() }, "kraken set");
        assert_eq!(advice(1), "to do exactly this: kraken set --expect 12");
        let parts = "one write takes 10000 objects at most: send this in 3 parts, in this order";
        assert_eq!(advice(3), parts);
    }
}
