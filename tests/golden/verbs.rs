//! Every verb has its transcript: one that is added is held here until it has, too.

use std::{collections::BTreeMap, fs, path::Path};

use anyhow::{Context as _, Result};
use kraken_testkit::cli::Cli;

use crate::KRAKEN;

/// The codes with which each verb ends in the transcripts; `cluster` and `module` count as their
/// verbs.
fn written() -> Result<BTreeMap<String, Vec<String>>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/transcripts");
    let mut codes = BTreeMap::<String, Vec<String>>::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.file_stem().is_some_and(|stem| stem == "help") {
            continue;
        }
        for entry in fs::read_to_string(&path)?.split("$ kraken ").skip(1) {
            let code = entry.lines().find_map(|line| line.strip_prefix("exit: "));
            let code = code.with_context(|| format!("no exit: {entry}"))?;
            codes.entry(verb(entry)).or_default().push(code.to_owned());
        }
    }
    Ok(codes)
}

fn verb(typed: &str) -> String {
    let mut words = typed.split_whitespace();
    match words.next() {
        Some(group @ ("cluster" | "context" | "debug" | "module")) => {
            format!("{group} {}", words.next().unwrap_or_default())
        }
        word => word.unwrap_or_default().to_owned(),
    }
}

/// The commands that a help names.
async fn commands(cli: &Cli, above: &str) -> Result<Vec<String>> {
    let words: Vec<&str> = above.split_whitespace().chain(["--help"]).collect();
    let help = cli.run(&words).await?;
    let lines = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    // What is said of a verb may go on in a line that begins further in.
    let lines = lines.filter(|line| line.is_empty() || !line.starts_with("   "));
    let named = lines.map_while(|line| line.split_whitespace().next());
    let named = named.filter(|name| *name != "help");
    Ok(named.map(|name| format!("{above} {name}").trim().to_owned()).collect())
}

#[tokio::test]
async fn every_verb_has_a_transcript_in_which_it_succeeds() -> Result<()> {
    let (cli, written) = (Cli::new(KRAKEN, &["http://127.0.0.1:1".to_owned()]), written()?);
    let mut verbs = commands(&cli, "").await?;
    let groups = ["cluster", "context", "debug", "module"];
    verbs.retain(|verb| !groups.contains(&verb.as_str()));
    for group in groups {
        verbs.extend(commands(&cli, group).await?);
    }
    assert!(verbs.len() >= 20, "{verbs:?}");
    for verb in verbs {
        let codes = written.get(&verb).cloned().unwrap_or_default();
        assert!(codes.iter().any(|code| code == "0"), "{verb} ends with {codes:?}");
    }
    Ok(())
}
