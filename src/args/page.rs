//! `docs/cli.md` as the command line would write it, so that neither says what the other does not.

#![expect(clippy::format_push_string, reason = "a page is short, and the texts read so")]

use std::{fs, path::Path};

use clap::{Arg, Command, CommandFactory as _};

use super::Cli;

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/cli.md");
/// What stands above it is written by hand.
const MARK: &str =
    "<!-- What follows is written by `INSTA_UPDATE=always cargo test --lib page`. -->\n";
/// Columns of a line, as in other pages.
const COLUMNS: usize = 100;

#[test]
fn the_page_says_of_each_verb_what_the_program_does() {
    let page = fs::read_to_string(Path::new(PAGE)).unwrap();
    let (by_hand, _) = page.split_once(MARK).expect("docs/cli.md has no mark");
    let mut command = Cli::command().disable_help_subcommand(true);
    command.build();
    let mut written = format!("{by_hand}{MARK}\n## Options of all verbs\n\n");
    let common = command.get_arguments().filter(|arg| arg.is_global_set());
    common.for_each(|arg| argument(arg, &mut written));
    for verb in command.get_subcommands() {
        section(verb, 2, &mut written);
    }
    if page == written {
        return;
    }
    if std::env::var("INSTA_UPDATE").is_ok_and(|update| update == "always") {
        return fs::write(PAGE, written).unwrap();
    }
    let (is, should): (Vec<&str>, Vec<&str>) = (page.lines().collect(), written.lines().collect());
    let apart = (0..is.len().max(should.len())).find(|line| is.get(*line) != should.get(*line));
    let at = |lines: &[&str]| apart.and_then(|line| lines.get(line).map(|text| (*text).to_owned()));
    panic!(
        "docs/cli.md, line {:?}: {:?}, not {:?}; INSTA_UPDATE=always rewrites it",
        apart.map(|line| line + 1),
        at(&is),
        at(&should)
    );
}

/// A verb and the verbs below it.
fn section(command: &Command, depth: usize, into: &mut String) {
    let name = command.get_display_name().unwrap_or_else(|| command.get_name()).replace('-', " ");
    into.push_str(&format!("\n{} {name}\n\n", "#".repeat(depth)));
    let about = command.get_long_about().or_else(|| command.get_about()).unwrap();
    for paragraph in about.to_string().split("\n\n") {
        into.push_str(&format!("{}\n\n", filled(&sentence(paragraph), "")));
    }
    let usage = command.clone().render_usage().to_string();
    let usage = usage.trim_start_matches("Usage: ").replace("\n       ", "\n");
    into.push_str(&format!("```\n{usage}\n```\n\n"));
    let own = command.get_arguments().filter(|arg| {
        !arg.is_hide_set()
            && !arg.is_global_set()
            && !matches!(arg.get_id().as_str(), "help" | "version")
    });
    own.for_each(|arg| argument(arg, into));
    while into.ends_with("\n\n") {
        into.pop();
    }
    for below in command.get_subcommands().filter(|below| !below.is_hide_set()) {
        section(below, depth + 1, into);
    }
}

fn argument(arg: &Arg, into: &mut String) {
    let name = arg.to_string();
    let name = match arg.get_short() {
        Some(short) => format!("-{short}, {name}"),
        None => name,
    };
    let help = arg.get_long_help().or_else(|| arg.get_help()).map(ToString::to_string);
    let mut said = sentence(&help.unwrap_or_default());
    let values: Vec<String> = arg
        .get_possible_values()
        .iter()
        .filter(|value| !value.is_hide_set())
        .map(|value| format!("`{}`", value.get_name()))
        .collect();
    let takes_value = arg.get_num_args().is_some_and(|count| count.takes_values());
    if takes_value && !values.is_empty() {
        said.push_str(&format!(" One of {}.", values.join(", ")));
    }
    let default: Vec<String> =
        arg.get_default_values().iter().map(|value| value.to_string_lossy().into_owned()).collect();
    if takes_value && !default.is_empty() && !default.iter().all(String::is_empty) {
        said.push_str(&format!(" Default: `{}`.", default.join(" ")));
    }
    into.push_str(&format!("{}\n", filled(&format!("* `{name}`: {said}"), "  ")));
}

fn sentence(text: &str) -> String {
    let text = text.trim().replace('\n', " ");
    if text.is_empty() || text.ends_with(['.', '?', '!']) { text } else { format!("{text}.") }
}

/// A text in lines of a page.
fn filled(text: &str, indent: &str) -> String {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= COLUMNS => {
                line.push(' ');
                line.push_str(word);
            }
            Some(_) => lines.push(format!("{indent}{word}")),
            None => lines.push(word.to_owned()),
        }
    }
    lines.join("\n")
}
