//! `docs/paths.md` as the manifests would write it, so that neither says what the other does not.

#![expect(clippy::format_push_string, reason = "a page is short, and the texts read so")]

use std::{fs, path::Path};

use kraken_engine::manifest::{
    ChangeSpec, From, Manifest, MutationSpec, PathSpec, SeenBy, SetBy, To, Type,
};

use super::{base, builtin, on_request};

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/paths.md");
/// What stands above it is written by hand.
const MARK: &str = "<!-- What follows is written by \
                    `INSTA_UPDATE=always cargo test -p kraken-modules page`. -->\n";

#[test]
fn the_page_tells_the_paths_of_all_modules() {
    let page = fs::read_to_string(Path::new(PAGE)).unwrap();
    let (by_hand, _) = page.split_once(MARK).expect("docs/paths.md has no mark");
    let mut written = format!("{by_hand}{MARK}");
    let modules = [builtin(), on_request()].concat();
    section(&base(), &mut written);
    for factory in &modules {
        section(factory.manifest(), &mut written);
    }
    if page == written {
        return;
    }
    if std::env::var("INSTA_UPDATE").is_ok_and(|update| update == "always") {
        return fs::write(Path::new(PAGE), written).unwrap();
    }
    let differs = page.lines().zip(written.lines()).find(|(is, would)| is != would);
    panic!("docs/paths.md is not what the manifests say; INSTA_UPDATE=always: {differs:?}");
}

fn section(manifest: &Manifest, written: &mut String) {
    let Manifest { module, doc, extensions, mutations, .. } = manifest;
    written.push_str(&format!("\n## {module}\n\n{doc}\n"));
    for extension in extensions {
        written.push_str(&format!(
            "\n| path of a {} | what | values | asked for | seen by |\n|---|---|---|---|---|\n",
            extension.kind
        ));
        for path in &extension.paths {
            row(path, written);
        }
    }
    if !mutations.is_empty() {
        written.push_str("\n| mutation | changes |\n|---|---|\n");
        for mutation in mutations {
            changed(mutation, written);
        }
    }
}

fn row(path: &PathSpec, written: &mut String) {
    let values = match &path.value_type {
        Type::Bool => "`true`, `false`".to_owned(),
        Type::Int { min, max } if (*min, *max) == (i64::MIN, i64::MAX) => "whole number".to_owned(),
        Type::Int { min, max: i64::MAX } => format!("whole number from {min}"),
        Type::Int { min, max } => format!("{min} to {max}"),
        Type::Float => "number".to_owned(),
        Type::Text => "text".to_owned(),
        Type::Enum(values) => {
            values.iter().map(|v| format!("`{v}`")).collect::<Vec<_>>().join(", ")
        }
        Type::Texts => "texts".to_owned(),
        Type::Share => "count or `%`".to_owned(),
    };
    let unit = path.unit.as_ref().map(|unit| format!(" {unit}")).unwrap_or_default();
    let asked = match &path.set_by {
        SetBy::User => "yes".to_owned(),
        SetBy::Module(module) => format!("by module {module}"),
        SetBy::Nobody => "no".to_owned(),
    };
    let seen = match path.seen_by {
        SeenBy::Itself => "its node",
        SeenBy::Parent => "the node's parent",
        SeenBy::Control => "the leader",
        SeenBy::Nobody => "nobody",
    };
    let PathSpec { path, doc, .. } = path;
    written.push_str(&format!("| `{path}` | {doc} | {values}{unit} | {asked} | {seen} |\n"));
}

fn changed(mutation: &MutationSpec, written: &mut String) {
    let one = |(path, change): (&String, &ChangeSpec)| {
        let from = match &change.from {
            From::Any => "anything".to_owned(),
            From::Unknown => "unknown".to_owned(),
            From::In(values) => {
                values.iter().map(ToString::to_string).collect::<Vec<_>>().join(" or ")
            }
        };
        let to = match &change.to {
            To::Cfg => "what is asked".to_owned(),
            To::Value(value) => value.to_string(),
        };
        format!("`{path}` from {from} to {to}")
    };
    let changes: Vec<String> = mutation.changes.iter().map(one).collect();
    let disruptive = if mutation.disruptive { "; interrupts what runs" } else { "" };
    let name = &mutation.name;
    written.push_str(&format!("| `{name}` | {}{disruptive} |\n", changes.join(", ")));
}
