//! `kraken history`: what was written, of one node or of the whole fleet, and who set what stands.

use kraken_http::{
    client::Client,
    view::{HistoryView, RevisionItem, RevisionList},
};

use super::diff::{altered, counted, word};
use crate::{
    complete,
    console::Console,
    exit::Failure,
    fleet,
    look::Look,
    objects,
    output::{Format, Output, json, lines, yaml},
    table,
};

/// Most writes that are shown.
const ITEMS_MAX: usize = 1_000;

/// Shows what was asked in the past, of a node or of the whole fleet, and by whom
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The node, or the object of another kind: name or namespace/name
    #[arg(value_parser = fleet::object_name, add = complete::object())]
    name: Option<String>,
    /// The kind, where it is no node
    #[arg(short, long, default_value = "node", add = complete::kinds())]
    kind: String,
    /// How many writes, newest first
    #[arg(long, default_value_t = 20, value_name = "N", value_parser = read_limit)]
    limit: usize,
    /// Who set each path that is asked for now
    #[arg(long, requires = "name")]
    blame: bool,
    #[command(flatten)]
    output: Output,
}

fn read_limit(text: &str) -> Result<usize, String> {
    let limit = text.parse().ok().filter(|limit| (1..=ITEMS_MAX).contains(limit));
    limit.ok_or_else(|| format!("write a number from 1 to {ITEMS_MAX}"))
}

impl Args {
    /// Shows.
    pub(crate) async fn run(self, client: &Client, console: &Console) -> Result<(), Failure> {
        let Some(name) = &self.name else { return self.fleet(client, console).await };
        let kind = fleet::kind(&self.kind);
        let history = client.history(kind, name, self.limit);
        let history = objects::about(client, (kind, name), history).await?;
        console.print(match self.output.output {
            Format::Json => json(&history)?,
            Format::Yaml => yaml(&history)?,
            Format::Name => revisions(history.items.iter().map(|item| item.revision)),
            Format::Table | Format::Wide if self.blame => blame(&history, console.look()),
            Format::Table | Format::Wide => versions(&history, console.look()),
        })?;
        Self::note_horizon(history.horizon, console);
        Ok(())
    }

    async fn fleet(&self, client: &Client, console: &Console) -> Result<(), Failure> {
        let list = client.revisions(self.limit).await?;
        console.print(match self.output.output {
            Format::Json => json(&list)?,
            Format::Yaml => yaml(&list)?,
            Format::Name => revisions(list.items.iter().map(|item| item.revision)),
            Format::Table | Format::Wide => writes(&list, console.look()),
        })?;
        Self::note_horizon(list.horizon, console);
        Ok(())
    }

    fn note_horizon(horizon: u64, console: &Console) {
        if horizon > 0 {
            console.note(format!("this member remembers nothing before revision {horizon}"));
        }
    }
}

fn revisions(revisions: impl Iterator<Item = u64>) -> String {
    lines(revisions.map(|revision| revision.to_string()))
}

fn versions(history: &HistoryView, look: Look) -> String {
    let mut text = Vec::new();
    for item in &history.items {
        let note = item.note.as_ref().map(|note| format!(": {note}")).unwrap_or_default();
        let (word, by) = (word(item.change), &item.author);
        text.push(format!("revision {}  {}  {word} by {by}{note}", item.revision, item.time));
        text.extend(altered(&item.alteration, look));
    }
    if text.is_empty() {
        text.push("no write of it is remembered".to_owned());
    }
    lines(text)
}

fn blame(history: &HistoryView, look: Look) -> String {
    let mut rows = table::table(["PATH", "VALUE", "REVISION", "TIME", "BY"]);
    for blame in &history.blame {
        let value = super::diff::shown(&blame.value);
        let revision = blame.revision.to_string();
        rows.row([&blame.path, &value, &revision, &blame.time, &blame.author].map(table::text));
    }
    if rows.is_empty() {
        return "no write of what is asked of it now is remembered\n".to_owned();
    }
    rows.render(look)
}

fn writes(list: &RevisionList, look: Look) -> String {
    let mut rows = table::table(["REVISION", "TIME", "BY", "CHANGED", "NOTE"]);
    for RevisionItem { revision, time, author, note, changed } in &list.items {
        let (revision, changed) = (revision.to_string(), counted(*changed));
        let note = note.clone().unwrap_or_default();
        rows.row([&revision, time, author, &changed, &note].map(table::text));
    }
    if rows.is_empty() {
        return "no write is remembered\n".to_owned();
    }
    rows.render(look)
}
