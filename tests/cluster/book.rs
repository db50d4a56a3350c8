//! The book in `docs/`, and the README: whatever a page has its reader type is typed here, from top
//! to bottom, by a shell in an empty folder, and what is printed is held against what the page
//! shows (`loose.rs` tells what may differ). A page that drifts from the program fails.
//!
//! In a page, a block that begins with ```` ```sh ```` is commands that must succeed, and a block
//! without a word is a transcript: `$ ` begins what is typed, what is printed follows, then perhaps
//! `exit: 3` where it ends with another code than 0. A command that goes on (`kraken up`, or one
//! with a line `^C`) is left running, or interrupted there. A block that begins with
//! ```` ```sh,form ```` is commands that take hours or other machines: that such verbs and options
//! exist is held, and nothing is run.

mod desk;
mod form;
mod loose;
mod page;

use std::{fs, path::Path, time::Instant};

use anyhow::{Context as _, Result, ensure};
use kraken_testkit::{measured, needs, tool};

use self::{
    desk::Desk,
    page::{Step, steps},
};
use crate::KRAKEN;

/// Pages that have their reader type something.
const READ: [&str; 11] = [
    "README.md",
    "docs/cli.md",
    "docs/concepts.md",
    "docs/configuration.md",
    "docs/declarations.md",
    "docs/http.md",
    "docs/modules.md",
    "docs/old.md",
    "docs/operations.md",
    "docs/policies.md",
    "docs/tutorial.md",
];

/// The text of a page.
fn text(page: &str) -> Result<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(page);
    fs::read_to_string(&path).with_context(|| format!("cannot read {page}"))
}

/// Reads pages at one desk, one after the other; returns all that was printed.
async fn read(desk: &mut Desk, pages: &[&str]) -> Result<String> {
    let mut printed = String::new();
    for page in pages {
        let since = Instant::now();
        printed += &desk.read(&text(page)?).await.with_context(|| (*page).to_owned())?;
        measured(format!("{page}, each command"), since.elapsed());
    }
    Ok(printed)
}

#[tokio::test(flavor = "multi_thread")]
async fn readme_does_what_it_says() -> Result<()> {
    read(&mut Desk::set(true)?, &["README.md"]).await.map(drop)
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_minutes_do_what_they_say() -> Result<()> {
    read(&mut Desk::set(true)?, &["docs/tutorial.md"]).await.map(drop)
}

#[tokio::test(flavor = "multi_thread")]
async fn verbs_do_what_their_page_says() -> Result<()> {
    read(&mut Desk::set(true)?, &["docs/cli.md"]).await.map(drop)
}

#[tokio::test(flavor = "multi_thread")]
async fn operations_do_what_they_say() -> Result<()> {
    let said = read(&mut Desk::set(false)?, &["docs/operations.md"]).await?;
    for told in ["led by m2", "a quorum is begun with monday.backup", "goes on in epoch"] {
        ensure!(said.contains(told), "nothing said {told:?}: {said}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_without_a_fleet_do_what_they_say() -> Result<()> {
    read(&mut Desk::set(false)?, &["docs/concepts.md", "docs/configuration.md"]).await.map(drop)
}

/// Pages that one fleet will do for.
#[tokio::test(flavor = "multi_thread")]
async fn pages_of_a_small_fleet_do_what_they_say() -> Result<()> {
    let mut desk = Desk::set(true)?;
    read(&mut desk, &["docs/policies.md", "docs/declarations.md"]).await?;
    if needs("curl", tool::has("curl"))? {
        read(&mut desk, &["docs/http.md", "docs/old.md"]).await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn modules_are_written_as_their_page_says() -> Result<()> {
    let lamp = Path::new(KRAKEN).with_file_name("examples/lamp");
    if !needs("the example lamp (cargo build --example lamp)", lamp.is_file())? {
        return Ok(());
    }
    read(&mut Desk::set(true)?, &["docs/modules.md"]).await.map(drop)
}

/// A word that is another one, in a sentence of the program or in what is typed, is found.
#[tokio::test(flavor = "multi_thread")]
async fn page_that_drifts_is_found() -> Result<()> {
    let page =
        "```\n$ kraken context use nowhere\n..\nexit: 2\n$ echo so || kraken why n1\nso\n```\n";
    Desk::set(false)?.read(page).await?;
    for (word, other) in [("\nso\n", "\nno\n"), ("exit: 2\n", ""), ("..", "so")] {
        let drifted = page.replacen(word, other, 1);
        ensure!(Desk::set(false)?.read(&drifted).await.is_err(), "{drifted}");
    }
    Ok(())
}

/// All pages that people read, by their paths from the root.
fn pages() -> Result<Vec<String>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut pages = vec!["README.md".to_owned(), "CONTRIBUTING.md".to_owned()];
    for entry in fs::read_dir(root.join("docs"))? {
        let name = entry?.file_name().into_string().ok().context("a name that is no text")?;
        if Path::new(&name).extension().is_some_and(|extension| extension == "md") {
            pages.push(format!("docs/{name}"));
        }
    }
    Ok(pages)
}

#[test]
fn commands_that_are_named_are_there() -> Result<()> {
    let (mut wrong, mut count) = (Vec::new(), 0);
    for page in pages()? {
        let text = text(&page)?;
        let forms = steps(&text).with_context(|| page.clone())?.into_iter();
        let forms = forms.filter_map(|step| match step {
            Step::Form { line, text } => Some((line, text)),
            Step::Script { .. } | Step::Typed(_) => None,
        });
        for (line, command) in forms.chain(form::named(&text)) {
            count += 1;
            let held = form::hold(&command);
            wrong.extend(held.err().map(|error| format!("{page}:{line}: {error:#}")));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(count > 50, "{count} commands");
    Ok(())
}

#[test]
fn each_page_with_commands_is_read() -> Result<()> {
    for page in pages()? {
        let is_read = READ.contains(&page.as_str());
        let has_commands =
            steps(&text(&page)?)?.iter().any(|step| !matches!(step, Step::Form { .. }));
        assert_eq!(is_read, has_commands, "{page}: a test in tests/cluster/book.rs reads it");
    }
    Ok(())
}
