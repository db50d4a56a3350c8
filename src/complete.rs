//! What a shell offers when somebody presses TAB: verbs and options as the command line knows them;
//! names, kinds, paths and labels as the fleet does. A fleet that does not answer at once is not
//! waited for: then nothing of it is offered, and nothing is said.

mod asked;
mod offered;
mod shell;
mod words;

use std::{ffi::OsStr, process::ExitCode, sync::OnceLock};

use clap::CommandFactory as _;
use clap_complete::engine::{ArgValueCompleter, CompletionCandidate, complete};

pub(crate) use self::shell::{Shell, script};
use self::{asked::Asked, offered::Place, words::Words};
use crate::{args::Cli, contexts};

/// The first argument of a process that a shell asks for words.
pub(crate) const ARGUMENT: &str = "__complete";
/// Most words that are offered at a time.
const OFFERED_MAX: usize = 1_000;

/// What was typed, for those who are asked for the values of one argument.
static WORDS: OnceLock<Words> = OnceLock::new();

/// Answers a shell: what may stand where it asks. Whatever goes wrong, there is nothing to offer.
pub(crate) fn answer(arguments: impl Iterator<Item = String>) -> ExitCode {
    let offered = offered(arguments).unwrap_or_default();
    // A shell that has gone needs no words.
    drop(std::io::Write::write_all(&mut std::io::stdout(), offered.as_bytes()));
    ExitCode::SUCCESS
}

/// Of `SHELL CURRENT -- WORD...` the words that may stand in the place of the last one. Bash gives
/// the whole line as one word, and as `CURRENT` the part of the last one that it will replace.
fn offered(mut arguments: impl Iterator<Item = String>) -> Option<String> {
    let shell: Shell = clap::ValueEnum::from_str(&arguments.next()?, false).ok()?;
    let current = arguments.next()?;
    let words = Words::read(shell, arguments.skip_while(|word| word != "--").skip(1))?;
    let kept = words.last().len().saturating_sub(current.len());
    let words = WORDS.get_or_init(|| words);
    let folder = std::env::current_dir().ok();
    let (typed, last) = (words.as_os(), words.index());
    let mut candidates = complete(&mut Cli::command(), typed, last, folder.as_deref()).ok()?;
    candidates.truncate(OFFERED_MAX);
    let kept = if shell == Shell::Bash { kept } else { 0 };
    Some(shell::printed(shell, &candidates, kept))
}

/// Offers what a function makes of what was typed and of what the fleet says.
fn offering(offers: fn(&Words, &str, &Asked) -> Vec<String>) -> ArgValueCompleter {
    ArgValueCompleter::new(move |current: &OsStr| {
        let (Some(words), Some(current)) = (WORDS.get(), current.to_str()) else {
            return Vec::new();
        };
        let asked = Asked::of(words);
        let offers = offers(words, current, &asked).into_iter();
        offers.filter(|offer| offer.starts_with(current)).map(CompletionCandidate::new).collect()
    })
}

/// Node sets and selectors; of the kind that was typed, where one was.
pub(crate) fn nodes() -> ArgValueCompleter {
    offering(|words, current, asked| {
        let objects = asked.objects(words.kind());
        offered::set(current, &objects)
    })
}

/// The name of one object of the kind that was typed.
pub(crate) fn object() -> ArgValueCompleter {
    offering(|words, _, asked| offered::names(&asked.objects(words.kind())))
}

/// Node sets and selectors, and objects of other kinds as `kind/name`.
pub(crate) fn which() -> ArgValueCompleter {
    offering(|_, current, asked| match current.split_once('/') {
        Some((kind, _)) if !current.starts_with('@') => {
            let names = offered::names(&asked.objects(kind));
            names.into_iter().map(|name| format!("{kind}/{name}")).collect()
        }
        _ => {
            let mut offers = offered::set(current, &asked.objects("node"));
            let others = asked.kinds().into_iter().filter(|kind| kind != "node");
            offers.extend(others.map(|kind| format!("{kind}/")));
            offers
        }
    })
}

/// Kinds.
pub(crate) fn kinds() -> ArgValueCompleter {
    offering(|_, _, asked| {
        let plural = |kind: String| if kind == "node" { "nodes".to_owned() } else { kind };
        asked.kinds().into_iter().map(plural).collect()
    })
}

/// `path=value` of what is changed.
pub(crate) fn changes() -> ArgValueCompleter {
    offering(|words, current, asked| {
        let (kind, which) = words.which();
        let place = Place { rules: asked.rules(kind), seen: asked.seen(kind, which) };
        place.changes(current)
    })
}

/// `label=value`.
pub(crate) fn labels() -> ArgValueCompleter {
    offering(|_, current, asked| offered::labels(current, &asked.objects("node")))
}

/// Members of the quorum.
pub(crate) fn members() -> ArgValueCompleter {
    offering(|_, _, asked| asked.members())
}

/// Modules that are declared.
pub(crate) fn modules() -> ArgValueCompleter {
    offering(|_, _, asked| asked.modules())
}

/// Contexts of the person who types.
pub(crate) fn contexts() -> ArgValueCompleter {
    offering(|_, _, _| {
        let contexts = contexts::Place::of_process().read().unwrap_or_default().contexts;
        contexts.into_keys().map(|name| name.to_string()).collect()
    })
}
