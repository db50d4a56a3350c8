//! `kraken edit`: what people ask of an object, in their editor. What a changed text would do is
//! shown before it is written, and it is written only if nobody has written meanwhile.

mod editor;
mod text;

use kraken_engine::{
    manifest::{Manifest, SetBy},
    path::Pattern,
};
use kraken_http::{
    client::{Client, Error, WriteQuery},
    json,
    view::ObjectView,
};
use serde_json::Value as Json;

use self::{
    editor::{Editor, Sheet},
    text::{Asked, Text},
};
use super::{plan, set::report};
use crate::{
    complete,
    console::Console,
    exit::{Exit, Failure},
    fleet, objects,
};

/// How often a text is opened again because of what is wrong with it.
const ROUNDS_MAX: usize = 100;

/// Opens what people ask of a node or another object in an editor
///
/// The editor is that of VISUAL or EDITOR, else vi. What the changed text would do is shown and has
/// to be confirmed. It is refused if somebody else has changed the object meanwhile; then, and
/// whenever a text is not written, the file in which it is kept is told.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The node, or the object of another kind: name or namespace/name
    #[arg(value_parser = fleet::object_name, add = complete::object())]
    name: String,
    /// The kind, where it is no node
    #[arg(short, long, default_value = "node", add = complete::kinds())]
    kind: String,
    /// Writes without asking
    #[arg(short, long)]
    yes: bool,
    /// A word to those who read the history
    #[arg(long, value_name = "TEXT")]
    note: Option<String>,
}

/// What becomes of a text that was read from the editor.
enum Next {
    /// It is done, with what is told of it.
    Done(String),
    /// It is opened again.
    Again(String),
}

impl Args {
    /// Edits.
    pub(crate) async fn run(self, client: &Client, console: &Console) -> Result<(), Failure> {
        let kind = fleet::kind(&self.kind);
        let asked_for = client.get_tagged(kind, &self.name);
        let (object, tag) = objects::about(client, (kind, &self.name), asked_for).await?;
        let text = Text::of(&object, asked(client, &object).await?)?;
        let how = WriteQuery { if_match: tag, note: self.note.clone(), ..WriteQuery::default() };
        let mut sheet = Sheet::new(&text.whole())?;
        let mut editor = Editor::of_process()?;
        let told = self.edited((client, console), text, &how, (&mut sheet, &mut editor)).await;
        match told {
            Ok(told) => console.print(told),
            Err(failure) => Err(sheet.keep_for(failure)),
        }
    }

    /// Opens the text until it is written or given up.
    async fn edited(
        &self,
        (client, console): (&Client, &Console),
        mut text: Text,
        how: &WriteQuery,
        (sheet, editor): (&mut Sheet, &mut Editor),
    ) -> Result<String, Failure> {
        let mut wrong = None::<String>;
        for _ in 0..ROUNDS_MAX {
            sheet.write(&text.whole())?;
            editor.open(sheet).await?;
            let edited = sheet.read()?;
            match (text.take(&edited), wrong) {
                (false, Some(wrong)) => return Err(Failure::failed(wrong)),
                (false, None) => return Ok("nothing was changed".to_owned()),
                (true, _) if text.is_empty() => {
                    return Ok("the text is empty; nothing was changed".to_owned());
                }
                (true, _) => {}
            }
            match self.tried((client, console), &text, how, editor).await? {
                Next::Done(told) => return Ok(told),
                Next::Again(said) => {
                    text.explain(&said);
                    wrong = (!said.is_empty()).then_some(said);
                }
            }
        }
        let words = format!("it was opened {ROUNDS_MAX} times, and is ");
        Err(match wrong {
            Some(wrong) => Failure::failed(format!("{words}still wrong: {wrong}")),
            None => Failure::failed(format!("{words}not confirmed")),
        })
    }

    /// Plans a text, asks, and writes it.
    async fn tried(
        &self,
        (client, console): (&Client, &Console),
        text: &Text,
        how: &WriteQuery,
        editor: &mut Editor,
    ) -> Result<Next, Failure> {
        let (kind, body) = (fleet::kind(&self.kind), text.body().to_owned());
        let planned = match client.plan_put(kind, &self.name, body.clone(), how).await {
            Ok(plans) => plans.whole().await,
            Err(error) => Err(error),
        };
        let planned = match planned {
            Err(error) => return self.opens_again(error).map(Next::Again),
            Ok(planned) => planned,
        };
        if planned.objects.is_empty() {
            return Ok(Next::Done(
                "this asks for what is asked already; nothing was changed".into(),
            ));
        }
        console.print(plan::told(&planned))?;
        let answer = if self.yes { "yes".to_owned() } else { editor.ask(console).await? };
        match answer.to_ascii_lowercase().as_str() {
            "y" | "yes" => {}
            "e" | "edit" => return Ok(Next::Again(String::new())),
            _ => {
                return Err(Failure::new(
                    Exit::Refused,
                    "it was not confirmed; nothing was changed",
                ));
            }
        }
        match client.put_text(kind, &self.name, body, how).await {
            Ok(written) => Ok(Next::Done(report(&written))),
            Err(error) => self.opens_again(error).map(Next::Again),
        }
    }

    /// What is wrong with a text, where that can be mended in it.
    fn opens_again(&self, error: Error) -> Result<String, Failure> {
        let code = error.code().unwrap_or_default().to_owned();
        let is_changed = matches!(code.as_str(), "precondition_failed" | "base_moved" | "deleting");
        let failure = Failure::from(error);
        match code.as_str() {
            "bad_body" | "invalid" => Ok(failure.words().unwrap_or_default()),
            _ if is_changed => {
                let words =
                    format!("{} has changed since it was opened; nothing was written", self.name);
                Err(Failure::new(Exit::Refused, words))
            }
            _ => Err(failure),
        }
    }
}

/// What people ask of an object: without what modules have decided.
async fn asked(client: &Client, object: &ObjectView) -> Result<Asked, Failure> {
    let decided = decided(&client.get_manifests().await?, &object.kind);
    let cfg = object.cfg.clone().unwrap_or_else(|| Json::Object(<_>::default()));
    let flat = json::flatten(&cfg).map_err(|fault| Failure::failed(fault.to_string()))?;
    let is_decided = |path| decided.iter().any(|pattern| pattern.matches(path).is_some());
    let own = flat.set.iter().filter(|(path, _)| !is_decided(path));
    Ok(Asked::of(object, json::nest(own)))
}

/// The paths of a kind that are not people's to set.
fn decided(manifests: &[Manifest], kind: &str) -> Vec<Pattern> {
    let extensions = manifests.iter().flat_map(|manifest| &manifest.extensions);
    let paths = extensions.filter(|extension| extension.kind == kind).flat_map(|e| &e.paths);
    let decided = paths.filter(|path| path.set_by != SetBy::User);
    decided.filter_map(|path| Pattern::new(&path.path).ok()).collect()
}
