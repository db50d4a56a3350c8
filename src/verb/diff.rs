//! `kraken diff`: what differs between two revisions of Cfg.

use kraken_http::{
    client::{Client, TargetsQuery},
    view::{ChangeView, DeedView, DiffView},
};
use serde_json::Value as Json;

use crate::{
    complete,
    console::Console,
    exit::Failure,
    look::{Ink, Look},
    nodes::Nodes,
    output::{Format, Output, json, lines, short, yaml},
};

/// Characters of a value.
const VALUE_CHARS_MAX: usize = 60;

/// Shows what differs between two revisions of what is asked
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The older one
    from: u64,
    /// The newer one [default: now]
    to: Option<u64>,
    /// Only of these nodes: n1, n[1-64,70] or @rack=r1
    #[arg(long, add = complete::nodes())]
    nodes: Option<Nodes>,
    #[command(flatten)]
    output: Output,
}

impl Args {
    /// Shows.
    pub(crate) async fn run(self, client: &Client, console: &Console) -> Result<(), Failure> {
        let targets = self.nodes.as_ref().map_or(TargetsQuery::All, Nodes::targets);
        let diff = client.diff(self.from, self.to, &targets).await?;
        console.print(match self.output.output {
            Format::Json => json(&diff)?,
            Format::Yaml => yaml(&diff)?,
            Format::Name => lines(diff.objects.iter().map(|object| &object.object)),
            Format::Table | Format::Wide => told(&diff, console.look()),
        })
    }
}

fn told(diff: &DiffView, look: Look) -> String {
    let mut text = Vec::new();
    for object in &diff.objects {
        let head = format!("{} {}", word(object.change), object.object);
        text.push(look.paint(ink(object.change), head));
        text.extend(changes(&object.cfg, look));
        text.extend(object.labels.iter().map(|label| {
            let of = |value: &Option<String>| value.clone().unwrap_or_else(|| "-".to_owned());
            format!("  label {}: {}", label.label, arrow(&of(&label.from), &of(&label.to), look))
        }));
    }
    let differ = match diff.objects.len() {
        0 => "nothing differs".to_owned(),
        1 => "1 object differs".to_owned(),
        count => format!("{count} objects differ"),
    };
    text.push(format!("{differ} between revision {} and revision {}", diff.from, diff.to));
    lines(text)
}

/// What became of an object, in a word.
pub(super) fn word(deed: DeedView) -> &'static str {
    match deed {
        DeedView::Created => "created",
        DeedView::Changed => "changed",
        DeedView::Removed => "removed",
    }
}

fn ink(deed: DeedView) -> Ink {
    match deed {
        DeedView::Created => Ink::Good,
        DeedView::Changed => Ink::Warning,
        DeedView::Removed => Ink::Bad,
    }
}

/// Changed paths, a line each.
pub(super) fn changes(cfg: &[ChangeView], look: Look) -> impl Iterator<Item = String> {
    cfg.iter().map(move |change| {
        let (from, to) = (shown(&change.from), shown(&change.to));
        format!("  {}: {}", change.path, arrow(&from, &to, look))
    })
}

/// What was and what is.
fn arrow(from: &str, to: &str, look: Look) -> String {
    format!("{} -> {}", look.paint(Ink::Bad, from), look.paint(Ink::Good, to))
}

/// A value, or that there is none.
pub(super) fn shown(value: &Json) -> String {
    match value {
        Json::Null => "-".to_owned(),
        Json::String(text) => short(text, VALUE_CHARS_MAX),
        value => short(&value.to_string(), VALUE_CHARS_MAX),
    }
}

/// A number of objects.
pub(super) fn counted(objects: usize) -> String {
    match objects {
        1 => "1 object".to_owned(),
        count => format!("{count} objects"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_was_is_red_and_what_is_is_green() {
        let diff: DiffView = serde_json::from_value(json!({
            "from": 3, "to": 4,
            "objects": [{
                "object": "node/n1", "change": "changed", "labels": [],
                "cfg": [{ "path": "/lamp", "from": "OFF", "to": "ON" }],
            }],
        }))
        .unwrap();
        let plain = "changed node/n1\n  /lamp: OFF -> ON\n1 object differs between revision 3 and \
                     revision 4\n";
        assert_eq!(told(&diff, Look::default()), plain);
        let coloured = told(&diff, Look { has_colour: true, ..Look::default() });
        let expected = "\u{1b}[33mchanged node/n1\u{1b}[0m\n  /lamp: \u{1b}[31mOFF\u{1b}[0m -> \
                        \u{1b}[32mON\u{1b}[0m\n";
        assert!(coloured.starts_with(expected), "{coloured:?}");
    }
}
