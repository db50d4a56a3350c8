//! Words: the project speaks of itself alone, never of who wrote it, where, or when.

use crate::{
    find::{Finding, hold},
    tree::{File, Tree},
};

/// Phrases that speak of the making instead of the thing, split here so that this file may stand.
const BANNED: [&str; 20] = [
    concat!("ai ", "assistant"),
    concat!("ai", "-generated"),
    concat!("as an ", "ai"),
    concat!("anth", "ropic"),
    concat!("chat", "gpt"),
    concat!("clau", "de"),
    concat!("earlier ", "session"),
    concat!("generated ", "by ai"),
    concat!("helper ", "agent"),
    concat!("issues ", "show"),
    concat!("language ", "model"),
    concat!("previous ", "session"),
    concat!("shared", "/design"),
    concat!("sub", "-agent"),
    concat!("sub", "agent"),
    concat!("sub", "agents"),
    concat!("the ", "issue"),
    concat!("tool ", "library"),
    concat!("/wo", "rk/"),
    concat!("working ", "session"),
];

/// Besides, in pages: sources may speak of a session, which is a noun of the sync protocol.
const BANNED_IN_PAGES: [&str; 1] = [concat!("this ", "session")];

fn banned_words(file: &File) -> Vec<Finding> {
    let is_page = file.has_extension("md");
    let in_pages: &[&str] = if is_page { &BANNED_IN_PAGES } else { &[] };
    let mut findings = Vec::new();
    for (text, line) in file.text.lines().zip(1..) {
        let text = text.to_lowercase();
        for phrase in BANNED.iter().chain(in_pages).filter(|phrase| says(&text, phrase)) {
            let advice = format!("{phrase:?} speaks of the making; speak of the thing itself");
            findings.push(Finding::new(&file.path, line, advice));
        }
    }
    findings
}

/// Whether `phrase` stands in `text` between things that are no letters or digits.
fn says(text: &str, phrase: &str) -> bool {
    text.match_indices(phrase).any(|(start, _)| {
        let before = text.get(..start).and_then(|head| head.chars().next_back());
        let after = text.get(start + phrase.len()..).and_then(|tail| tail.chars().next());
        let is_edge = |side: Option<char>| side.is_none_or(|c| !c.is_alphanumeric());
        let starts_open = phrase.starts_with('/') || is_edge(before);
        starts_open && (phrase.ends_with('/') || is_edge(after))
    })
}

#[test]
fn project_speaks_of_itself_alone() -> anyhow::Result<()> {
    let tree = Tree::load()?;
    hold(tree.files.iter().filter(|file| file.path != "Cargo.lock").flat_map(banned_words));
    Ok(())
}

#[test]
fn banned_word_is_found_only_as_a_word() {
    let lines = |path: &str, text: String| {
        let file = File { path: path.to_owned(), text };
        banned_words(&file).iter().map(Finding::line).collect::<Vec<_>>()
    };
    let text = format!("fine\nAs {} says.\nthe issuer of a tissue\n", concat!("The ", "Issue"));
    assert_eq!(lines("src/x.rs", text), [2]);
    let path = format!("see {}main\n", concat!("/wo", "rk/"));
    assert_eq!(lines("docs/x.md", path), [1]);
    let session = format!("{} is over\n", concat!("this ", "session"));
    assert_eq!(lines("engine/src/sync.rs", session.clone()), [0; 0]);
    assert_eq!(lines("docs/x.md", session), [1]);
}
