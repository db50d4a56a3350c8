//! `kraken diff`: what differs between two revisions of Cfg.

use kraken_engine::object::OnDelete;
use kraken_http::{
    client::{Client, TargetsQuery},
    view::{AlterationView, DeedView, DiffView, TurnView},
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
        text.extend(altered(&object.alteration, look));
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

/// What is different of an object, a line each.
pub(super) fn altered(
    alteration: &AlterationView,
    look: Look,
) -> impl Iterator<Item = String> + use<'_> {
    let AlterationView { cfg, labels, also } = alteration;
    let paths = cfg.iter().map(move |change| {
        let (from, to) = (shown(&change.from), shown(&change.to));
        format!("  {}: {}", change.path, arrow(&from, &to, look))
    });
    let labels = labels.iter().map(move |change| {
        let (from, to) = (named(change.from.as_deref()), named(change.to.as_deref()));
        format!("  label {}: {}", change.label, arrow(from, to, look))
    });
    let also = also.iter().map(move |turn| format!("  {}", turned(turn, look)));
    paths.chain(labels).chain(also)
}

/// What became of an object beside its Cfg and its labels.
fn turned(turn: &TurnView, look: Look) -> String {
    match turn {
        TurnView::Frozen(frozen) => format!("frozen by {} ({})", frozen.by, frozen.scope),
        TurnView::Thawed => "thawed".to_owned(),
        TurnView::Deleting => "to be deleted".to_owned(),
        TurnView::Kept => "no longer to be deleted".to_owned(),
        TurnView::Owner { from, to } => {
            format!("owner: {}", arrow(named(from.as_deref()), named(to.as_deref()), look))
        }
        TurnView::OnDelete { to: OnDelete::Cascade } => "deleted with its owner".to_owned(),
        TurnView::OnDelete { to: OnDelete::Orphan } => {
            "no longer deleted with its owner".to_owned()
        }
        TurnView::AskedAgain => "asked again; what failed before counts no more".to_owned(),
    }
}

/// A name, or that there is none.
fn named(name: Option<&str>) -> &str {
    name.unwrap_or("-")
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

    fn diff(alteration: Json) -> DiffView {
        let mut object = json!({ "object": "node/n1", "change": "changed" });
        let fields = alteration.as_object().unwrap().clone();
        object.as_object_mut().unwrap().extend(fields);
        serde_json::from_value(json!({ "from": 3, "to": 4, "objects": [object] })).unwrap()
    }

    #[test]
    fn what_was_is_red_and_what_is_is_green() {
        let diff =
            diff(json!({ "labels": [], "cfg": [{ "path": "/lamp", "from": "OFF", "to": "ON" }] }));
        let plain = "changed node/n1\n  /lamp: OFF -> ON\n1 object differs between revision 3 and \
                     revision 4\n";
        assert_eq!(told(&diff, Look::default()), plain);
        let coloured = told(&diff, Look { has_colour: true, ..Look::default() });
        let expected = "\u{1b}[33mchanged node/n1\u{1b}[0m\n  /lamp: \u{1b}[31mOFF\u{1b}[0m -> \
                        \u{1b}[32mON\u{1b}[0m\n";
        assert!(coloured.starts_with(expected), "{coloured:?}");
    }

    #[test]
    fn each_thing_that_became_of_an_object_has_a_line() {
        let frozen = json!({
            "what": "frozen", "by": "ann", "scope": "@rack=r7", "revision": 4,
            "since": "2026-01-01T00:00:00Z",
        });
        let table = [
            (frozen, "frozen by ann (@rack=r7)"),
            (json!({ "what": "thawed" }), "thawed"),
            (json!({ "what": "deleting" }), "to be deleted"),
            (json!({ "what": "kept" }), "no longer to be deleted"),
            (json!({ "what": "owner", "from": null, "to": "rack/r1" }), "owner: - -> rack/r1"),
            (json!({ "what": "onDelete", "to": "cascade" }), "deleted with its owner"),
            (json!({ "what": "onDelete", "to": "orphan" }), "no longer deleted with its owner"),
            (json!({ "what": "askedAgain" }), "asked again; what failed before counts no more"),
        ];
        for (turn, line) in table {
            let diff = diff(json!({ "cfg": [], "also": [turn] }));
            let told = told(&diff, Look::default());
            assert_eq!(told.lines().nth(1), Some(format!("  {line}").as_str()), "{told}");
        }
        let label = json!([{ "label": "rack", "from": "r1", "to": null }]);
        let told = told(&diff(json!({ "cfg": [], "labels": label })), Look::default());
        assert_eq!(told.lines().nth(1), Some("  label rack: r1 -> -"), "{told}");
    }
}
