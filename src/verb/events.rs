//! `kraken events`: what happened, and what happens.

use std::collections::BTreeSet;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use kraken_engine::{event::EventKind, manifest::NODE_KIND};
use kraken_http::{
    client::{Client, EventsQuery},
    view::EventView,
};

use crate::{
    complete,
    console::Console,
    exit::Failure,
    fleet::{self, patient, reference},
    natural::natural,
    nodes::Nodes,
    objects,
    output::{Format, Output, json_line, yaml},
};

/// Most events of one answer.
const EVENTS_MAX: usize = 1_000;

/// Shows what happened; with -f also what happens from now on
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Of which: n1, n[1-64,70] or @rack=r1 of nodes, NAME or NAMESPACE/NAME of another kind
    /// [default: all]
    #[arg(add = complete::nodes())]
    objects: Option<String>,
    /// Of objects of this kind [default: all; node where objects are given]
    #[arg(short, long, add = complete::kinds())]
    kind: Option<String>,
    /// Only events of this type
    #[arg(long = "type", value_name = "TYPE", value_parser = read_type())]
    event: Option<EventKind>,
    /// Goes on with what happens
    #[arg(short, long)]
    follow: bool,
    /// How many of the past
    #[arg(long, default_value_t = 50, value_name = "N", value_parser = read_limit)]
    limit: usize,
    #[command(flatten)]
    output: Output,
}

/// Events in order of their time: those that were heard late, as after a restart, come where they
/// belong.
fn in_time(mut events: Vec<&EventView>) -> Vec<&EventView> {
    events
        .sort_by(|one, other| one.time.cmp(&other.time).then_with(|| natural(&one.id, &other.id)));
    events
}

/// Reads how many events are wanted.
fn read_limit(text: &str) -> Result<usize, String> {
    let limit = text.parse().ok().filter(|limit| (1..=EVENTS_MAX).contains(limit));
    limit.ok_or_else(|| format!("write a number from 1 to {EVENTS_MAX}"))
}

fn read_type() -> impl TypedValueParser<Value = EventKind> {
    let types = EventKind::ALL.map(EventKind::as_str);
    PossibleValuesParser::new(types).try_map(|text| EventKind::named(&text))
}

/// The objects of which events are wanted, as events name them.
enum Wanted {
    All,
    OfKind(String),
    These(BTreeSet<String>),
}

impl Wanted {
    fn takes(&self, event: &EventView) -> bool {
        let object = event.object.as_deref().unwrap_or_default();
        match self {
            Self::All => true,
            Self::OfKind(kind) => object.split('/').next() == Some(kind),
            Self::These(objects) => objects.contains(object),
        }
    }
}

impl Args {
    /// Shows.
    pub(crate) async fn run(self, client: &Client, console: &Console) -> Result<(), Failure> {
        let objects = self.objects(client).await?;
        let is_wanted = |event: &EventView| objects.takes(event);
        // Of some objects: those of the others are passed over here, so ask for all that there are.
        let limit = if matches!(objects, Wanted::All) { self.limit } else { EVENTS_MAX };
        let mut wanted = EventsQuery { limit: Some(limit), kind: self.event, ..<_>::default() };
        let past = client.get_events(&wanted).await?;
        let shown = in_time(past.items.iter().filter(|event| is_wanted(event)).collect());
        for event in shown.iter().skip(shown.len().saturating_sub(self.limit)) {
            console.print(render(event, self.output.output)?)?;
        }
        if !self.follow {
            if shown.is_empty() {
                objects::declared(client, fleet::kind(self.kind.as_deref().unwrap_or(NODE_KIND)))
                    .await?;
                console.note("there are no such events; members keep only the latest ones");
            }
            return Ok(());
        }
        wanted.after = past.items.last().map(|event| event.cursor.clone());
        let mut stream = patient(client)?.events(wanted);
        loop {
            let event = stream.next().await?;
            if is_wanted(&event) {
                console.print(render(&event, self.output.output)?)?;
            }
        }
    }

    async fn objects(&self, client: &Client) -> Result<Wanted, Failure> {
        let kind = self.kind.as_deref().map(fleet::kind);
        let Some(objects) = &self.objects else {
            return Ok(kind.map_or(Wanted::All, |kind| Wanted::OfKind(kind.to_owned())));
        };
        if let Some(kind) = kind.filter(|kind| *kind != NODE_KIND) {
            let name = fleet::object_name(objects).map_err(Failure::usage)?;
            return Ok(Wanted::These(BTreeSet::from([format!("{kind}/{name}")])));
        }
        Ok(Wanted::These(match objects.parse::<Nodes>().map_err(Failure::usage)? {
            Nodes::Names(names) => names.iter().map(|name| format!("node/{name}")).collect(),
            Nodes::Selector(selector) => {
                let nodes = Nodes::Selector(selector);
                let found = client.get_nodes(&Nodes::listed(Some(&nodes))).await?;
                found.items.iter().map(reference).collect()
            }
        }))
    }
}

fn render(event: &EventView, format: Format) -> Result<String, Failure> {
    let object = event.object.as_deref().unwrap_or("-");
    Ok(match format {
        Format::Json => json_line(event)?,
        Format::Yaml => format!("---\n{}", yaml(event)?),
        Format::Name => event.id.clone(),
        Format::Table => {
            let time = event.time.get(11..19).unwrap_or(&event.time);
            format!("{time}  {object:<10} {:<17} {}", event.kind, event.text)
        }
        Format::Wide => {
            let attempt = event.attempt.as_deref().unwrap_or("-");
            let (time, kind, text) = (&event.time, &event.kind, &event.text);
            format!("{time}  {object:<10} {kind:<17} {attempt:<24} {text}")
        }
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_past_is_told_in_order_of_time() {
        let event = |(id, second): (&str, u32)| -> EventView {
            serde_json::from_value(json!({
                "id": id, "time": format!("2025-11-20T11:46:{second:02}.123Z"), "kind": "link",
                "object": "node/n1", "attempt": null, "text": "", "cursor": id,
            }))
            .unwrap()
        };
        let events = [("a-1-9", 7), ("b-1-10", 5), ("b-1-9", 5), ("a-1-2", 6)].map(event);
        let ids: Vec<&str> =
            in_time(events.iter().collect()).iter().map(|e| e.id.as_str()).collect();
        assert_eq!(ids, ["b-1-9", "b-1-10", "a-1-2", "a-1-9"]);
    }

    #[test]
    fn an_event_is_a_line() {
        let event: EventView = serde_json::from_value(json!({
            "id": "n1-5-7", "time": "2025-11-20T11:46:00.123Z", "kind": "stepDone",
            "object": "node/n1", "attempt": "n1-5-2", "text": "service/Start(web) done",
            "cursor": "1",
        }))
        .unwrap();
        let render = |format| render(&event, format).unwrap();
        let line = "11:46:00  node/n1    stepDone          service/Start(web) done";
        assert_eq!(render(Format::Table), line);
        let wide = "2025-11-20T11:46:00.123Z  node/n1    stepDone          n1-5-2                   \
                    service/Start(web) done";
        assert_eq!(render(Format::Wide), wide);
        assert_eq!(render(Format::Json).lines().count(), 1);
    }
}
