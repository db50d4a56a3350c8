//! Commands that a page only names, in its sentences or in blocks of what takes hours or machines:
//! that there are such programs, verbs and options, which is found out without running them.

use std::{fs, path::Path, process::Command};

use anyhow::{Context as _, Result, bail, ensure};
use clap::Parser as _;

use crate::{KRAKEN, edge, quorum};

/// Programs that are not ours.
const FOREIGN: [&str; 6] =
    [".ci/run", "apt-get", "head", "perf", "source", "target/mdbook/bin/mdbook"];
/// Words that stand for a number.
const NUMBERS: [&str; 3] = ["FROM", "REVISION", "TO"];
/// What cargo does without a program of ours.
const OF_CARGO: [&str; 4] = ["build", "doc", "install", "test"];

/// Holds one line, which may be several commands; in square brackets stands what may be left out,
/// and after `#` a word to the reader.
pub(super) fn hold(line: &str) -> Result<()> {
    let line = line.split(" #").next().unwrap_or_default();
    for command in line.split([';', '|', '&', '>']) {
        let words = command.split_whitespace().map(|word| word.trim_start_matches('['));
        let words =
            words.map(|word| if word.contains('[') { word } else { word.trim_end_matches(']') });
        let words = words.map(|word| if NUMBERS.contains(&word) { "1" } else { word });
        let words = words.filter(|word| !matches!(*word, "..." | ".." | "time"));
        let words = words.skip_while(|word| word.contains('=') && !word.starts_with('-'));
        let words: Vec<&str> = words.collect();
        one(&words).with_context(|| format!("there is no `{command}`"))?;
    }
    Ok(())
}

fn one(words: &[&str]) -> Result<()> {
    match words {
        [] | ["/dev/null"] => Ok(()),
        ["kraken", args @ ..] | ["cargo", "run", "--", args @ ..] => verb(args),
        ["cargo", "bench", "--bench", "quorum", "--", args @ ..] => {
            quorum::Args::try_parse_from(["quorum"].iter().chain(args))
                .map(drop)
                .map_err(Into::into)
        }
        ["cargo", "bench", "--bench", "edge", "--", args @ ..] => {
            edge::Args::try_parse_from(["edge"].iter().chain(args)).map(drop).map_err(Into::into)
        }
        ["cargo", "run", "--release", "-p", "kraken-testkit", "--bin", name, "--", args @ ..] => {
            of_kit(name, args)
        }
        ["cargo", first, ..] if OF_CARGO.contains(first) => Ok(()),
        [first, ..] if FOREIGN.contains(first) => Ok(()),
        [first, args @ ..] => {
            let name = first.strip_prefix("target/release/");
            of_kit(name.with_context(|| format!("nobody knows {first}"))?, args)
        }
    }
}

/// The program reads what stands before `--help` as it would read it else.
fn verb(args: &[&str]) -> Result<()> {
    let mut command = Command::new(KRAKEN);
    command.args(args.iter().map(|word| word.trim_matches(['"', '\'']))).arg("--help");
    let output = command.output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

/// Programs of the test kit are not built with the tests: their options are looked up in their
/// source, where each is a field.
fn of_kit(name: &str, args: &[&str]) -> Result<()> {
    let file = format!("{}/tests/kit/src/bin/{name}.rs", env!("CARGO_MANIFEST_DIR"));
    let source = fs::read_to_string(Path::new(&file)).context(file)?;
    for option in args.iter().filter_map(|word| word.strip_prefix("--")) {
        let field = format!("    {}:", option.replace('-', "_"));
        if !source.contains(&field) {
            bail!("{name} has no --{option}");
        }
    }
    Ok(())
}

/// The commands that the sentences and tables of a page name: `kraken` and a verb between back
/// quotes, with the lines in which they stand.
pub(super) fn named(page: &str) -> Vec<(usize, String)> {
    let (mut named, mut in_code) = (Vec::new(), false);
    for (line, text) in (1..).zip(page.lines()) {
        in_code ^= text.trim_start().starts_with("```");
        if in_code {
            continue;
        }
        let spans = text.split('`').skip(1).step_by(2);
        let is_command = |span: &&str| {
            let verb = span.strip_prefix("kraken ").and_then(|rest| rest.chars().next());
            verb.is_some_and(|first| first.is_ascii_lowercase())
        };
        named.extend(spans.filter(is_command).map(|span| (line, span.replace("\\|", "|"))));
    }
    named
}

#[test]
fn what_is_not_there_is_found() -> Result<()> {
    for line in [
        "kraken sim --nodes 100 --faults fail=1",
        "kraken get nodes @rack=r1 -o wide",
        "cargo bench --bench quorum -- [--json] [--runs 5] [ROWS ..]   # a word",
        "target/release/kraken-load --leaves 1000 [--relays 4] --plots DIR",
        "time kraken plan -f a.yaml | head -1; kraken plan -f a.yaml > /dev/null",
    ] {
        hold(line)?;
    }
    for line in [
        "kraken conquer",
        "kraken sim --knots 100",
        "kraken sim --faults luck=1",
        "cargo bench --bench quorum -- --jason",
        "target/release/kraken-load --leafs 1000",
        "target/release/kraken-lode",
        "conquer",
    ] {
        assert!(hold(line).is_err(), "{line}");
    }
    let page = "see `kraken get` and `kraken`\n```\n`kraken no`\n```\n| `kraken why n1` |\n";
    let expected = [(1, "kraken get".to_owned()), (5, "kraken why n1".to_owned())];
    assert_eq!(named(page), expected);
    Ok(())
}
