//! The book: its table of contents has every page, its pages lead nowhere but to each other, and
//! links lead to headings that are there.

use std::collections::BTreeMap;

use anyhow::Context as _;

use crate::{
    find::{Finding, hold},
    pages::{joined, links},
    tree::{File, Tree},
};

const BOOK: &str = "docs/";
const SUMMARY: &str = "docs/SUMMARY.md";

/// Pages that the table of contents lacks, has twice, or has though they are not there.
fn contents_apart(summary: &File, pages: &[&str]) -> Vec<Finding> {
    let mut listed = BTreeMap::<String, Vec<usize>>::new();
    for (target, line) in links(summary) {
        listed.entry(joined(BOOK, &target)).or_default().push(line);
    }
    let mut findings = Vec::new();
    for page in pages.iter().filter(|page| !listed.contains_key(**page)) {
        findings.push(Finding::new(page, 1, format!("stands in no line of {SUMMARY}")));
    }
    for (page, lines) in &listed {
        if !pages.contains(&page.as_str()) {
            findings.push(Finding::new(SUMMARY, lines[0], format!("{page} is not there")));
        }
        for line in lines.iter().skip(1) {
            findings.push(Finding::new(SUMMARY, *line, format!("{page} stands there twice")));
        }
    }
    findings
}

/// Links of a page of the book to what is not in the book.
fn ways_out(page: &File) -> Vec<Finding> {
    let folder = page.path.rsplit_once('/').map_or("", |(folder, _)| folder);
    let mut findings = Vec::new();
    for (target, line) in links(page) {
        let file = target.split('#').next().unwrap_or_default();
        let is_out = !file.is_empty() && !file.contains(':');
        if is_out && !joined(folder, file).starts_with(BOOK) {
            let advice = format!("{target} is not in the book; name the file without a link");
            findings.push(Finding::new(&page.path, line, advice));
        }
    }
    findings
}

/// Links to headings that are not there.
fn dead_anchors(page: &File, pages: &[File]) -> Vec<Finding> {
    let folder = page.path.rsplit_once('/').map_or("", |(folder, _)| folder);
    let mut findings = Vec::new();
    for (target, line) in links(page) {
        let Some((file, anchor)) = target.split_once('#') else { continue };
        let path = if file.is_empty() { page.path.clone() } else { joined(folder, file) };
        // What is elsewhere, or not there at all, is not for here.
        let Some(other) = pages.iter().find(|other| other.path == path) else { continue };
        if !anchors(&other.text).iter().any(|known| known == anchor) {
            let advice = format!("{path} has no heading #{anchor}");
            findings.push(Finding::new(&page.path, line, advice));
        }
    }
    findings
}

/// The anchors of a page's headings, as mdBook and others make them.
fn anchors(text: &str) -> Vec<String> {
    let (mut anchors, mut in_code) = (Vec::<String>::new(), false);
    for line in text.lines() {
        in_code ^= line.trim_start().starts_with("```");
        let heading = line.trim_start_matches('#');
        if in_code || heading.len() == line.len() || !heading.starts_with(' ') {
            continue;
        }
        let kept = heading.trim().chars().filter_map(|letter| match letter {
            ' ' => Some('-'),
            '-' | '_' => Some(letter),
            _ => letter.is_alphanumeric().then(|| letter.to_ascii_lowercase()),
        });
        let anchor: String = kept.collect();
        let before = anchors.iter().filter(|known| **known == anchor).count();
        anchors.push(if before == 0 { anchor } else { format!("{anchor}-{before}") });
    }
    anchors
}

fn is_page(file: &File) -> bool {
    file.has_extension("md") && file.path.starts_with(BOOK) && file.path != SUMMARY
}

#[test]
fn contents_have_every_page() -> anyhow::Result<()> {
    let tree = Tree::load()?;
    let summary = tree.files.iter().find(|file| file.path == SUMMARY);
    let pages = tree.files.iter().filter(|file| is_page(file));
    let pages: Vec<&str> = pages.map(|page| page.path.as_str()).collect();
    hold(contents_apart(summary.context("the book has a table of contents")?, &pages));
    Ok(())
}

#[test]
fn pages_of_the_book_lead_to_each_other() -> anyhow::Result<()> {
    let tree = Tree::load()?;
    hold(tree.files.iter().filter(|file| is_page(file)).flat_map(ways_out));
    Ok(())
}

#[test]
fn links_lead_to_headings() -> anyhow::Result<()> {
    let tree = Tree::load()?;
    let pages = tree.files.iter().filter(|file| file.has_extension("md"));
    hold(pages.flat_map(|page| dead_anchors(page, &tree.files)));
    Ok(())
}

fn page(path: &str, text: &str) -> File {
    File { path: path.to_owned(), text: text.to_owned() }
}

#[test]
fn page_that_is_not_listed_or_not_there_is_found() {
    let lines = |text: &str| {
        let found = contents_apart(&page(SUMMARY, text), &["docs/a.md", "docs/adr/b.md"]);
        found.iter().map(Finding::line).collect::<Vec<_>>()
    };
    assert_eq!(lines("- [A](a.md)\n- [B](adr/b.md)\n"), [0; 0]);
    assert_eq!(lines("- [A](a.md)\n"), [1]);
    assert_eq!(lines("- [A](a.md)\n- [B](adr/b.md)\n- [C](c.md)\n"), [3]);
    assert_eq!(lines("- [A](a.md)\n- [B](adr/b.md)\n- [A](a.md)\n"), [3]);
}

#[test]
fn way_out_and_dead_anchor_are_found() {
    let out = page("docs/adr/x.md", "[a](../y.md) [b](../../README.md#c) [d](https://e) [f](#g)\n");
    assert_eq!(ways_out(&out).len(), 1);
    let pages = [
        page("docs/x.md", "# The `x`, again\n\n```\n# no\n```\n## Two\n## Two\n"),
        page(
            "README.md",
            "[a](docs/x.md#the-x-again) [b](docs/x.md#two-1)\n[c](docs/x.md#no)\n[d](#e)",
        ),
    ];
    let found = dead_anchors(&pages[1], &pages);
    assert_eq!(found.iter().map(Finding::line).collect::<Vec<_>>(), [2, 3]);
}
