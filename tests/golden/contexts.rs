//! Fleets by their names, what shells are told, manual pages: what a person sets up once.

use std::{fs, path::Path};

use anyhow::{Context as _, Result, ensure};
use kraken_testkit::{cli::Cli, ports};

use crate::{KRAKEN, steady::Steady, transcript::Book};

/// The program as somebody types it whose configuration lies in this folder, with these variables.
fn cli(folder: &Path, variables: &[&str]) -> Result<Cli> {
    let folder = folder.to_str().context("a folder whose name is no text")?;
    let own = format!("XDG_CONFIG_HOME={folder}/config");
    let clean = ["-u", "NO_COLOR", "-u", "KRAKEN_SERVER", "-u", "KRAKEN_CONTEXT"];
    let mut prefix = vec!["env", "-C", folder];
    prefix.extend(clean);
    prefix.extend([own.as_str(), "COLUMNS=100"]);
    prefix.extend(variables);
    Ok(Cli::new(KRAKEN, &[]).through(&prefix))
}

#[tokio::test]
async fn contexts() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let steady = Steady::new()?.also(folder.path().display().to_string(), "<folder>");
    let mut book = Book::new(steady);
    let (lab, prod) = (ports::free()?, ports::free()?);
    let person = cli(folder.path(), &[])?;
    for (line, code) in [
        ("context list", 0),
        ("context list -o json", 0),
        ("context use lab", 2),
        (&format!("context set lab http://{lab}"), 0),
        (&format!("context set prod http://{prod},http://{lab}"), 0),
        ("context set prod https://m1", 2),
        ("context set a/b http://m1", 2),
        ("context use lab", 0),
        ("context list", 0),
        ("context list -o json", 0),
        ("context list -o yaml", 0),
        ("context list -o name", 0),
        ("get nodes", 1),
        ("get nodes --context prod", 1),
        ("get nodes --context pord", 2),
        (&format!("get nodes --context prod --server http://{lab}"), 1),
        ("context remove lab", 0),
        ("context remove lab", 2),
        ("context list", 0),
    ] {
        book.ends(&person, "context", line, code).await?;
    }
    let other = cli(folder.path(), &["KRAKEN_CONTEXT=prod"])?;
    book.ends(&other, "context", "get nodes", 1).await?;
    let server = format!("KRAKEN_SERVER=http://{lab}");
    let both = cli(folder.path(), &[&server, "KRAKEN_CONTEXT=prod"])?;
    book.ends(&both, "context", "get nodes", 1).await?;
    book.ends(&both, "context", "get nodes --context prod", 2).await?;
    fs::write(folder.path().join("config/kraken/contexts.toml"), "curent = \"lab\"\n")?;
    book.ends(&person, "context", "get nodes", 2).await?;
    book.ends(&person, "context", "context list", 2).await?;
    book.close()
}

#[tokio::test]
async fn shells_and_pages() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let steady = Steady::new()?.also(folder.path().display().to_string(), "<folder>");
    let mut book = Book::new(steady);
    let person = cli(folder.path(), &[])?;
    for shell in ["bash", "zsh", "fish"] {
        book.ends(&person, "completions", &format!("completions {shell}"), 0).await?;
    }
    book.ends(&person, "completions", "completions tcsh", 2).await?;
    // Without a fleet what the program knows is offered, and nothing is said of the rest.
    for line in ["", "get nodes -", "set n1 ", "why ", "wait n1 --for ", "completions "] {
        let typed = format!("kraken {line}");
        let said = person.try_run(&["__complete", "bash", "", "--", &typed]).await?;
        book.write("completions", &format!("{line}<TAB>"), &said, &said.code.to_string())?;
    }
    book.ends(&person, "man", "man pages", 0).await?;
    let mut pages: Vec<String> = Vec::new();
    for page in fs::read_dir(folder.path().join("pages"))? {
        let page = page?;
        let text = fs::read_to_string(page.path())?;
        let has_all = [".TH ", ".SH NAME", ".SH SYNOPSIS"].iter().all(|part| text.contains(part));
        ensure!(has_all, "{}: {text}", page.path().display());
        pages.push(page.file_name().to_string_lossy().into_owned());
    }
    pages.sort();
    let names = pages.join("\n") + "\n";
    let said = kraken_testkit::cli::Said { code: 0, out: names, err: String::new() };
    book.write("man", "man pages (the folder)", &said, "as written")?;
    book.ends(&person, "man", "man /dev/null/pages", 1).await?;
    book.close()
}
