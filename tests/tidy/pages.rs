//! Pages that the code must agree with, and pages that a newcomer reads first.

use std::collections::BTreeMap;

use anyhow::Context as _;

use crate::{
    find::{Finding, hold},
    lexer::{Source, string_value},
    tree::{File, RustFile, Tree, root},
};

const PROBLEM: &str = "http/src/problem.rs";
const ERRORS: &str = "docs/errors.md";
const CI: &str = ".ci/run";
const GLOSSARY: &str = "docs/glossary.md";
const ARCHITECTURE_LINES_MAX: usize = 200;

/// What a newcomer looks for, and finds.
const FRONT_PAGES: [&str; 8] = [
    "README.md",
    "ARCHITECTURE.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "LICENSE",
    CI,
    ERRORS,
    GLOSSARY,
];

/// The stages of the only list of checks, in their order.
const STAGES: [&str; 4] = ["cargo fmt", "cargo clippy", "cargo doc", "cargo test"];

/// The nouns of the domain, one word a concept.
const NOUNS: [&str; 18] = [
    "attempt",
    "Cfg",
    "Dsc",
    "extension",
    "kind",
    "leaf",
    "member",
    "module",
    "mutation",
    "node",
    "object",
    "parent",
    "path",
    "plan",
    "relay",
    "revision",
    "state",
    "value",
];

/// The codes that a user can see: the strings in the body of `fn code`, each with its line.
fn codes(source: &Source) -> BTreeMap<String, usize> {
    let functions = source.functions();
    let bodies = functions.iter().filter(|function| function.name == "code");
    let tokens =
        bodies.flat_map(|body| source.tokens().get(body.tokens.clone()).unwrap_or_default());
    tokens.filter_map(|token| Some((string_value(token)?.to_owned(), token.line))).collect()
}

/// The rows of a table whose first cell is a code in back quotes: line and cells.
fn rows(page: &str) -> BTreeMap<String, (usize, Vec<String>)> {
    let numbered = page.lines().zip(1..);
    let rows = numbered.filter_map(|(text, line)| {
        let inner = text.trim().strip_prefix('|')?.strip_suffix('|')?;
        let cells: Vec<String> = inner.split('|').map(|cell| cell.trim().to_owned()).collect();
        let code = cells.first()?.strip_prefix('`')?.strip_suffix('`')?.to_owned();
        Some((code, (line, cells)))
    });
    rows.collect()
}

fn codes_and_rows_apart(problem: &Source, page: &str) -> Vec<Finding> {
    let (codes, rows) = (codes(problem), rows(page));
    let mut findings = Vec::new();
    if codes.is_empty() {
        let advice =
            "its `fn code` answers with no string; one match arm a problem, one string each";
        findings.push(Finding::new(PROBLEM, 1, advice));
    }
    for (code, line) in codes.iter().filter(|(code, _)| !rows.contains_key(*code)) {
        findings.push(Finding::new(PROBLEM, *line, format!("`{code}` has no row in {ERRORS}")));
    }
    for (code, (line, cells)) in &rows {
        if !codes.contains_key(code) {
            let advice = format!("`{code}` is no code of {PROBLEM}; remove the row");
            findings.push(Finding::new(ERRORS, *line, advice));
        }
        if cells.len() != 4 || cells.iter().any(String::is_empty) {
            let advice = format!("`{code}` needs four cells: code, status, meaning, what to do");
            findings.push(Finding::new(ERRORS, *line, advice));
        }
    }
    findings
}

fn missing_pages(tree: &Tree) -> Vec<Finding> {
    let missing = FRONT_PAGES.iter().filter(|page| tree.text(page).is_none());
    missing.map(|page| Finding::new(page, 1, "is missing; a newcomer looks for it")).collect()
}

fn long_map(page: &str) -> Vec<Finding> {
    let lines = page.lines().count();
    if lines <= ARCHITECTURE_LINES_MAX {
        return Vec::new();
    }
    let advice = format!("{lines} lines, {ARCHITECTURE_LINES_MAX} at most; move detail into docs/");
    vec![Finding::new("ARCHITECTURE.md", ARCHITECTURE_LINES_MAX + 1, advice)]
}

/// The test command of `.ci/run` that README does not give, and stages that are not there.
fn checks_apart(ci: &str, readme: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut from = 0;
    for stage in STAGES {
        let rest = ci.lines().zip(1..).skip(from);
        let mut at =
            rest.filter(|(text, _)| !text.trim_start().starts_with('#') && text.contains(stage));
        if let Some((_, line)) = at.next() {
            from = line;
        } else {
            findings.push(Finding::new(
                CI,
                from.max(1),
                format!("`{stage}` is missing or too early"),
            ));
        }
    }
    let commands = ci.lines().zip(1..).filter_map(|(text, line)| {
        let start = text.find("cargo test").filter(|_| !text.trim_start().starts_with('#'))?;
        Some((text.get(start..)?.trim_end(), line))
    });
    for (command, line) in commands {
        if !readme.lines().any(|text| text.trim() == command) {
            let advice = format!("README.md gives no line `{command}`; both must say the same");
            findings.push(Finding::new(CI, line, advice));
        }
    }
    findings
}

/// Entries read `* **noun**: one or two sentences`, in the order of the alphabet.
fn glossary_gaps(page: &str) -> Vec<Finding> {
    let numbered = page.lines().zip(1..);
    let entries: Vec<(&str, usize)> = numbered
        .filter_map(|(text, line)| Some((text.strip_prefix("* **")?.split_once("**")?.0, line)))
        .collect();
    let mut findings = Vec::new();
    for noun in NOUNS {
        let count = entries.iter().filter(|(entry, _)| *entry == noun).count();
        if count != 1 {
            let advice = format!("{noun} has {count} entries; it needs one, `* **{noun}**: ..`");
            findings.push(Finding::new(GLOSSARY, 1, advice));
        }
    }
    for pair in entries.windows(2) {
        let [(before, _), (after, line)] = pair else { continue };
        if before.to_lowercase() >= after.to_lowercase() {
            let advice = format!("{after} stands after {before}; keep the order of the alphabet");
            findings.push(Finding::new(GLOSSARY, *line, advice));
        }
    }
    findings
}

/// Records are numbered without a gap, and each has the sections of the template.
fn decision_gaps(records: &[&File]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (record, number) in records.iter().zip(1..) {
        let name = record.path.rsplit('/').next().unwrap_or_default();
        if !name.starts_with(&format!("{number:04}-")) {
            findings.push(Finding::new(&record.path, 1, format!("record {number:04} comes here")));
        }
        for section in ["# ", "## Context", "## Decision", "## Consequences"] {
            if !record.text.lines().any(|line| line.starts_with(section)) {
                let advice = format!("has no `{section}`; copy docs/adr/template.md");
                findings.push(Finding::new(&record.path, 1, advice));
            }
        }
    }
    findings
}

/// Links of a page to files of the project that are not there.
fn dead_links(page: &File, exists: impl Fn(&str) -> bool) -> Vec<Finding> {
    let folder = page.path.rsplit_once('/').map_or("", |(folder, _)| folder);
    let mut findings = Vec::new();
    for (target, line) in links(page) {
        let file = target.split('#').next().unwrap_or_default();
        let elsewhere = file.is_empty() || file.contains(':');
        if !elsewhere && !exists(&joined(folder, file)) {
            findings.push(Finding::new(&page.path, line, format!("{target} is not there")));
        }
    }
    findings
}

/// Where the links of a page lead, each with its line.
pub(crate) fn links(page: &File) -> Vec<(String, usize)> {
    let (mut links, mut in_code) = (Vec::new(), false);
    for (text, line) in page.text.lines().zip(1..) {
        in_code ^= text.trim_start().starts_with("```");
        let targets = text.split("](").skip(1).filter_map(|rest| rest.split_once(')'));
        let targets = targets.filter(|_| !in_code);
        links.extend(targets.map(|(target, _)| (target.to_owned(), line)));
    }
    links
}

/// `file` as seen from `folder`, its dots resolved.
pub(crate) fn joined(folder: &str, file: &str) -> String {
    let mut parts: Vec<&str> = folder.split('/').filter(|part| !part.is_empty()).collect();
    for part in file.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            name => parts.push(name),
        }
    }
    parts.join("/")
}

#[test]
fn every_error_code_has_its_row_and_every_row_its_code() -> anyhow::Result<()> {
    let tree = Tree::load()?;
    // Before the edge has its problems there is nothing to compare.
    let Some(problem) = tree.text(PROBLEM) else { return Ok(()) };
    let page = tree.text(ERRORS).context("docs/errors.md lists the codes")?;
    hold(codes_and_rows_apart(&RustFile::read(PROBLEM, problem)?.source, page));
    Ok(())
}

#[test]
fn front_pages_are_there() -> anyhow::Result<()> {
    hold(missing_pages(&Tree::load()?));
    Ok(())
}

#[test]
fn architecture_is_read_in_ten_minutes() -> anyhow::Result<()> {
    hold(long_map(Tree::load()?.text("ARCHITECTURE.md").unwrap_or_default()));
    Ok(())
}

#[test]
fn readme_gives_the_test_command_that_ci_runs() -> anyhow::Result<()> {
    let tree = Tree::load()?;
    let ci = tree.text(CI).context(".ci/run is the only list of checks")?;
    hold(checks_apart(ci, tree.text("README.md").unwrap_or_default()));
    Ok(())
}

#[test]
fn glossary_has_each_noun_once() -> anyhow::Result<()> {
    hold(glossary_gaps(Tree::load()?.text(GLOSSARY).unwrap_or_default()));
    Ok(())
}

#[test]
fn decisions_are_numbered_and_whole() -> anyhow::Result<()> {
    let tree = Tree::load()?;
    let records = tree.files.iter().filter(|file| file.path.starts_with("docs/adr/"));
    hold(decision_gaps(
        &records.filter(|file| !file.path.ends_with("template.md")).collect::<Vec<_>>(),
    ));
    Ok(())
}

#[test]
fn changelog_has_room_for_what_comes_next() -> anyhow::Result<()> {
    let tree = Tree::load()?;
    let page = tree.text("CHANGELOG.md").context("CHANGELOG.md tells users what changed")?;
    assert!(
        page.lines().any(|line| line == "## [Unreleased]"),
        "CHANGELOG.md: add `## [Unreleased]`"
    );
    Ok(())
}

#[test]
fn links_between_pages_lead_somewhere() -> anyhow::Result<()> {
    let tree = Tree::load()?;
    let below = |folder: &str| format!("{folder}/");
    // Pictures are no text, so that the tree does not hold them.
    let is_picture = |path: &str| path.starts_with("docs/images/") && root().join(path).is_file();
    let exists = |path: &str| {
        let mut texts = tree.files.iter();
        is_picture(path)
            || texts.any(|file| file.path == path || file.path.starts_with(&below(path)))
    };
    let pages = tree.files.iter().filter(|file| file.has_extension("md"));
    hold(pages.flat_map(|page| dead_links(page, exists)));
    Ok(())
}

fn page(path: &str, text: &str) -> File {
    File { path: path.to_owned(), text: text.to_owned() }
}

#[test]
fn code_without_row_and_row_without_code_are_found() -> anyhow::Result<()> {
    let problem = Source::lex(
        "impl P { fn code(&self) -> &str { match self { A => \"not_found\", B => \"too_large\" } }\n\
         fn title(&self) -> &str { \"x\" } }",
    )?;
    let table = "| code | status | meaning | what to do |\n|---|---|---|---|\n";
    let row = |code: &str| format!("| `{code}` | 404 | nothing by that name | look |\n");
    let whole = format!("{table}{}{}", row("not_found"), row("too_large"));
    assert_eq!(codes_and_rows_apart(&problem, &whole), []);
    let lacking = format!("{table}{}", row("not_found"));
    assert_eq!(codes_and_rows_apart(&problem, &lacking).len(), 1);
    let surplus = format!("{whole}{}", row("gone"));
    assert_eq!(codes_and_rows_apart(&problem, &surplus).len(), 1);
    let empty = whole.replacen("look", "", 1);
    assert_eq!(codes_and_rows_apart(&problem, &empty).len(), 1);
    assert_eq!(codes_and_rows_apart(&Source::lex("fn x() {}")?, table).len(), 1);
    Ok(())
}

#[test]
fn missing_page_and_long_map_are_found() {
    let tree = Tree { files: vec![page("README.md", "")] };
    assert_eq!(missing_pages(&tree).len(), FRONT_PAGES.len() - 1);
    assert_eq!(long_map(&"x\n".repeat(ARCHITECTURE_LINES_MAX)), []);
    assert_eq!(long_map(&"x\n".repeat(ARCHITECTURE_LINES_MAX + 1)).len(), 1);
}

#[test]
fn test_command_that_differs_is_found() {
    let ci = "# cargo test\nstage a cargo fmt\nstage b cargo clippy\nstage c cargo doc\n\
              stage d cargo test --workspace\n";
    assert_eq!(checks_apart(ci, "Run\n\n    cargo test --workspace\n"), []);
    assert_eq!(checks_apart(ci, "cargo test\n").len(), 1);
    let lacking = ci.replace("stage b cargo clippy\n", "");
    assert_eq!(checks_apart(&lacking, "cargo test --workspace").len(), 1);
}

#[test]
fn noun_that_is_missing_doubled_or_misplaced_is_found() {
    let mut nouns = NOUNS.map(|noun| format!("* **{noun}**: what it is.\n"));
    assert_eq!(glossary_gaps(&nouns.concat()), []);
    assert_eq!(glossary_gaps(&nouns[1..].concat()).len(), 1);
    nouns.swap(3, 4);
    assert_eq!(glossary_gaps(&nouns.concat()).len(), 1);
    nouns[0] = nouns[1].clone();
    assert_eq!(glossary_gaps(&nouns.concat()).len(), 4);
}

#[test]
fn gap_between_decisions_is_found() {
    let whole = "# 1. X\n## Context\n## Decision\n## Consequences\n";
    let (first, third) = (page("docs/adr/0001-a.md", whole), page("docs/adr/0003-b.md", whole));
    assert_eq!(decision_gaps(&[&first]), []);
    assert_eq!(decision_gaps(&[&first, &third]).len(), 1);
    assert_eq!(decision_gaps(&[&page("docs/adr/0001-a.md", "# 1. X\n")]).len(), 3);
}

#[test]
fn dead_link_is_found() {
    let text = "[a](../README.md#x) [b](https://x.y/z) [c](#d)\n```\n[e](f)\n```\n[g](h.md)\n";
    let found = dead_links(&page("docs/x.md", text), |path| path == "README.md");
    assert_eq!(found.iter().map(Finding::line).collect::<Vec<_>>(), [5]);
}
