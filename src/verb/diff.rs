//! `kraken diff`: what differs between two revisions of Cfg.

use kraken_http::{
    client::{Client, TargetsQuery},
    view::{ChangeView, DeedView, DiffView},
};
use serde_json::Value as Json;

use crate::{
    console::Console,
    exit::Failure,
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
    #[arg(long)]
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
            Format::Table | Format::Wide => told(&diff),
        })
    }
}

fn told(diff: &DiffView) -> String {
    let mut text = Vec::new();
    for object in &diff.objects {
        text.push(format!("{} {}", word(object.change), object.object));
        text.extend(changes(&object.cfg));
        text.extend(object.labels.iter().map(|label| {
            let of = |value: &Option<String>| value.clone().unwrap_or_else(|| "-".to_owned());
            format!("  label {}: {} -> {}", label.label, of(&label.from), of(&label.to))
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

/// Changed paths, a line each.
pub(super) fn changes(cfg: &[ChangeView]) -> impl Iterator<Item = String> {
    cfg.iter().map(|change| {
        let (from, to) = (shown(&change.from), shown(&change.to));
        format!("  {}: {from} -> {to}", change.path)
    })
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
