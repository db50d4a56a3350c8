//! Manifests: one place for versions and lints, and no dependency that nothing uses.

use std::collections::BTreeSet;

use anyhow::Context as _;
use toml::{Table, Value};

use crate::{
    find::{Finding, hold},
    tree::{File, Tree},
};

/// Keys of `[package]` that the workspace answers for all.
const INHERITED: [&str; 5] = ["edition", "license", "publish", "rust-version", "version"];
const DEPENDENCY_TABLES: [&str; 3] = ["dependencies", "dev-dependencies", "build-dependencies"];

/// The manifests of this workspace; the fuzz targets are one of their own.
fn manifests(tree: &Tree) -> impl Iterator<Item = &File> {
    let named = |file: &&File| file.path == "Cargo.toml" || file.path.ends_with("/Cargo.toml");
    tree.files.iter().filter(named).filter(|file| !file.path.starts_with("fuzz/"))
}

fn parse(file: &File) -> anyhow::Result<Table> {
    file.text.parse().with_context(|| format!("{} is TOML", file.path))
}

/// Every table of dependencies in a manifest, those for one target too.
fn dependency_tables(manifest: &Table) -> Vec<&Table> {
    let targets = manifest.get("target").and_then(Value::as_table).into_iter().flatten();
    let holders = targets.filter_map(|(_, target)| target.as_table()).chain([manifest]);
    let tables =
        holders.flat_map(|holder| DEPENDENCY_TABLES.iter().filter_map(|name| holder.get(*name)));
    tables.filter_map(Value::as_table).collect()
}

/// The last line that sets `key`: in the root manifest the workspace's own table stands above.
fn line_of(text: &str, key: &str) -> usize {
    let sets = |line: &str| {
        let rest = line.trim_start().strip_prefix(key);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', ' ', '=']))
    };
    text.lines().zip(1..).filter(|(line, _)| sets(line)).last().map_or(1, |(_, line)| line)
}

fn inherits(value: &Value) -> bool {
    value.get("workspace").and_then(Value::as_bool) == Some(true)
}

fn own_versions(file: &File) -> anyhow::Result<Vec<Finding>> {
    let manifest = parse(file)?;
    let mut findings = Vec::new();
    let mut find = |key: &str, advice: &str| {
        findings.push(Finding::new(
            &file.path,
            line_of(&file.text, key),
            format!("{key}: {advice}"),
        ));
    };
    for (name, value) in dependency_tables(&manifest).into_iter().flatten() {
        if !inherits(value) {
            find(name, "its version stands in [workspace.dependencies]; write `.workspace = true`");
        }
    }
    if let Some(package) = manifest.get("package").and_then(Value::as_table) {
        for key in INHERITED {
            if !package.get(key).is_some_and(inherits) {
                find(key, "the workspace says it for all; write `.workspace = true`");
            }
        }
        if !manifest.get("lints").is_some_and(inherits) {
            find("[lints]", "every package lints alike; write `workspace = true` below it");
        }
    }
    Ok(findings)
}

/// Dependencies of `file` that none of `sources`, the Rust text of its package, names.
fn unused(file: &File, sources: &str) -> anyhow::Result<Vec<Finding>> {
    let manifest = parse(file)?;
    let words: BTreeSet<&str> =
        sources.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').collect();
    let tables = dependency_tables(&manifest);
    let names = tables.into_iter().flatten().map(|(name, _)| name);
    Ok(names
        .filter(|name| !words.contains(name.replace('-', "_").as_str()))
        .map(|name| {
            let advice = format!("nothing in the package names {name}; remove the dependency");
            Finding::new(&file.path, line_of(&file.text, name), advice)
        })
        .collect())
}

/// The Rust text of the package whose manifest is `manifest`.
fn package_text(tree: &Tree, manifest: &File) -> String {
    let folder = manifest.path.trim_end_matches("Cargo.toml");
    let rooms = ["src/", "tests/", "examples/", "benches/"].map(|room| format!("{folder}{room}"));
    let own = tree.files.iter().filter(|file| {
        let is_kit = folder.is_empty() && file.path.starts_with("tests/kit/");
        !is_kit
            && file.has_extension("rs")
            && (rooms.iter().any(|room| file.path.starts_with(room))
                || file.path == format!("{folder}build.rs"))
    });
    own.map(|file| file.text.as_str()).collect::<Vec<_>>().join("\n")
}

#[test]
fn versions_and_lints_stand_in_the_workspace() -> anyhow::Result<()> {
    let tree = Tree::load()?;
    for manifest in manifests(&tree) {
        hold(own_versions(manifest)?);
    }
    Ok(())
}

#[test]
fn every_dependency_is_used() -> anyhow::Result<()> {
    let tree = Tree::load()?;
    let mut findings = Vec::new();
    for manifest in manifests(&tree) {
        findings.extend(unused(manifest, &package_text(&tree, manifest))?);
    }
    hold(findings);
    Ok(())
}

fn sample(text: &str) -> File {
    File { path: "raft/Cargo.toml".to_owned(), text: text.to_owned() }
}

#[test]
fn version_of_its_own_is_found() -> anyhow::Result<()> {
    let good = "[package]\nname = \"x\"\nversion.workspace = true\nedition.workspace = true\n\
                rust-version.workspace = true\nlicense.workspace = true\npublish.workspace = true\n\
                [dependencies]\nserde = { workspace = true, features = [\"rc\"] }\n\
                [lints]\nworkspace = true\n";
    assert_eq!(own_versions(&sample(good))?, []);
    for (from, to, line) in [
        ("serde = {", "tokio = \"1\"\nserde = {", 9),
        ("[lints]", "[target.x.dev-dependencies]\nmio = { version = \"1\" }\n[lints]", 11),
        ("license.workspace = true", "license = \"MIT\"", 6),
        ("[lints]\nworkspace = true", "[lints.rust]", 1),
    ] {
        let found = own_versions(&sample(&good.replace(from, to)))?;
        assert_eq!(found.iter().map(Finding::line).collect::<Vec<_>>(), [line], "{to}");
    }
    Ok(())
}

#[test]
fn unused_dependency_is_found() -> anyhow::Result<()> {
    let manifest =
        sample("[dependencies]\nserde_bytes.workspace = true\nrmp-serde.workspace = true\n");
    let used = "#[serde(with = \"serde_bytes\")] use rmp_serde::x;";
    assert_eq!(unused(&manifest, used)?, []);
    let found = unused(&manifest, "use rmp_serde_other::x;")?;
    assert_eq!(found.iter().map(Finding::line).collect::<Vec<_>>(), [3, 2]);
    Ok(())
}
