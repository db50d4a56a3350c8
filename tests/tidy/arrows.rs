//! The arrows between the rooms, and what each room may ask of other people's crates: read from
//! `cargo metadata`, from `Cargo.lock` and from the sources.

use std::{collections::BTreeSet, process::Command};

use anyhow::{Context as _, ensure};
use serde_json::Value;

use crate::{
    find::{Finding, hold, hold_in_rust, lines_found},
    tree::{RustFile, root},
};

/// Who may depend on whom; the test kit counts as a dependency like any other.
const ARROWS: [(&str, &[&str]); 7] = [
    ("kraken-engine", &[]),
    ("kraken-raft", &["kraken-engine"]),
    ("kraken-actors", &["kraken-engine"]),
    ("kraken-modules", &["kraken-engine", "kraken-actors"]),
    ("kraken-http", &["kraken-engine", "kraken-actors"]),
    ("kraken-testkit", &["kraken-engine", "kraken-actors", "kraken-http"]),
    (
        "kraken",
        &[
            "kraken-engine",
            "kraken-raft",
            "kraken-actors",
            "kraken-modules",
            "kraken-http",
            "kraken-testkit",
        ],
    ),
];

/// Crates with a home: what begins with this name is named only by these packages. `actix-rt`
/// starts the system in the binary, and an example module is an actor too.
const HOMES: [(&str, &[&str]); 4] = [
    ("openraft", &["kraken-raft"]),
    ("warp", &["kraken-http"]),
    ("actix", &["kraken-actors", "kraken-modules", "kraken"]),
    ("anyhow", &["kraken", "kraken-testkit"]),
];

/// The same in sources: a re-export is no way round a manifest.
const ROOMS: [(&str, &[&str]); 4] = [
    ("openraft", &["raft"]),
    ("warp", &["http"]),
    ("actix", &["actors", "modules", "examples"]),
    ("actix_rt", &["actors", "modules", "src"]),
];

/// What brings time, threads, files, entropy or logging: none of it below the engine.
const IMPURE: [&str; 23] = [
    "actix",
    "async-std",
    "chrono",
    "crossbeam",
    "env_logger",
    "fastrand",
    "futures",
    "getrandom",
    "hyper",
    "jiff",
    "libc",
    "log",
    "mio",
    "nix",
    "openraft",
    "rayon",
    "rustix",
    "slog",
    "socket2",
    "time",
    "tokio",
    "tracing",
    "warp",
];

const LICENCE: &str = "Apache-2.0";

#[derive(Debug)]
struct Package {
    name: String,
    licence: String,
    manifest: String,
    dependencies: Vec<Dependency>,
}

#[derive(Debug)]
struct Dependency {
    name: String,
    for_tests: bool,
}

fn packages(metadata: &str) -> anyhow::Result<Vec<Package>> {
    let parsed: Value = serde_json::from_str(metadata).context("cargo metadata is JSON")?;
    let list = parsed["packages"].as_array().context("cargo metadata lists packages")?;
    Ok(list.iter().map(package).collect())
}

fn package(value: &Value) -> Package {
    let word = |key: &str| value[key].as_str().unwrap_or_default().to_owned();
    let dependencies = value["dependencies"].as_array().into_iter().flatten();
    Package {
        name: word("name"),
        licence: word("license"),
        manifest: word("manifest_path"),
        dependencies: dependencies
            .map(|dependency| Dependency {
                name: dependency["name"].as_str().unwrap_or_default().to_owned(),
                for_tests: dependency["kind"].as_str() == Some("dev"),
            })
            .collect(),
    }
}

fn metadata() -> anyhow::Result<String> {
    cargo(&["metadata", "--no-deps", "--offline", "--format-version", "1"])
}

/// The engine and all that it is built of by itself, a crate a line: what only tests use, or have
/// others built with, is left out.
fn below_the_engine() -> anyhow::Result<String> {
    cargo(&[
        "tree",
        "--offline",
        "--locked",
        "--package=kraken-engine",
        "--edges=normal",
        "--prefix=none",
        "--format={p}",
    ])
}

fn cargo(arguments: &[&str]) -> anyhow::Result<String> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo).args(arguments).current_dir(root()).output();
    let output = output.context("cargo starts")?;
    let stderr = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "cargo {arguments:?} failed: {stderr}");
    String::from_utf8(output.stdout).context("cargo tells UTF-8")
}

/// Whether `name` is `family` or one of its crates: `tokio` and `tokio-util`, never `tokioid`.
fn is_of(name: &str, family: &str) -> bool {
    name.strip_prefix(family).is_some_and(|rest| rest.is_empty() || rest.starts_with(['-', '_']))
}

fn wrong_arrows(packages: &[Package]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for package in packages {
        let row = ARROWS.iter().find(|(name, _)| *name == package.name);
        let Some((_, allowed)) = row else {
            let advice = "a package without a row in ARROWS of tests/tidy/arrows.rs; give it one";
            findings.push(Finding::new(&package.manifest, 1, advice));
            continue;
        };
        for dependency in &package.dependencies {
            let name = dependency.name.as_str();
            if is_of(name, "kraken") && name != package.name && !allowed.contains(&name) {
                let advice =
                    format!("{} may not know {name}; it may know {allowed:?}", package.name);
                findings.push(Finding::new(&package.manifest, 1, advice));
            }
            if name == "kraken-testkit" && !dependency.for_tests {
                let advice = "the test kit ships with nothing; make it a dev-dependency";
                findings.push(Finding::new(&package.manifest, 1, advice));
            }
        }
    }
    findings
}

fn crates_away_from_home(packages: &[Package]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for package in packages {
        for dependency in &package.dependencies {
            let home = HOMES.iter().find(|(family, _)| is_of(&dependency.name, family));
            if let Some((_, homes)) = home
                && !homes.contains(&package.name.as_str())
            {
                let advice = format!("{} belongs to {homes:?} alone", dependency.name);
                findings.push(Finding::new(&package.manifest, 1, advice));
            }
        }
    }
    findings
}

fn names_away_from_home(file: &RustFile) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (name, rooms) in ROOMS.iter().filter(|(_, rooms)| !rooms.contains(&file.room())) {
        for index in file.source.find(name) {
            let is_path = file.source.reads(index + 1, ": :")
                || index.checked_sub(1).is_some_and(|before| file.source.reads(before, "use"));
            if is_path {
                let advice = format!("only {rooms:?} name {name}; go through their handles");
                findings.push(Finding::new(&file.path, file.source.line(index), advice));
            }
        }
    }
    findings
}

fn wrong_licences(packages: &[Package]) -> Vec<Finding> {
    let others = packages.iter().filter(|package| package.licence != LICENCE);
    others
        .map(|package| {
            let advice =
                format!("licence is {:?}; write license.workspace = true", package.licence);
            Finding::new(&package.manifest, 1, advice)
        })
        .collect()
}

/// What is impure among these crates, of which each line has one.
fn impurities(below: &str) -> Vec<Finding> {
    let names = below.lines().filter_map(|line| line.split(' ').next());
    let names: BTreeSet<&str> = names.collect();
    let bad = names.into_iter().filter(|name| IMPURE.iter().any(|family| is_of(name, family)));
    bad.map(|name| {
        let advice = format!(
            "{name} lies below the engine, which is pure; `cargo tree -p kraken-engine -e normal \
             -i {name}`"
        );
        Finding::new("engine/Cargo.toml", 1, advice)
    })
    .collect()
}

#[test]
fn arrows_point_only_where_the_house_says() -> anyhow::Result<()> {
    hold(wrong_arrows(&packages(&metadata()?)?));
    Ok(())
}

#[test]
fn crates_with_a_home_are_named_only_there() -> anyhow::Result<()> {
    hold(crates_away_from_home(&packages(&metadata()?)?));
    hold_in_rust(names_away_from_home)
}

#[test]
fn nothing_impure_lies_below_the_engine() -> anyhow::Result<()> {
    let below = below_the_engine()?;
    ensure!(below.contains("petgraph v"), "these are not the crates of the engine: {below}");
    hold(impurities(&below));
    Ok(())
}

#[test]
fn every_package_carries_the_licence() -> anyhow::Result<()> {
    hold(wrong_licences(&packages(&metadata()?)?));
    Ok(())
}

/// A workspace of the engine and of one package `name`, which depends on `dependency`.
fn sample(name: &str, dependency: &str, kind: &str) -> anyhow::Result<Vec<Package>> {
    packages(&format!(
        r#"{{"packages":[
            {{"name":"kraken-engine","license":"Apache-2.0","manifest_path":"e","dependencies":[]}},
            {{"name":"{name}","license":"MIT","manifest_path":"m",
              "dependencies":[{{"name":"{dependency}","kind":{kind}}}]}}]}}"#
    ))
}

#[test]
fn arrow_the_house_does_not_draw_is_found() -> anyhow::Result<()> {
    for (name, dependency, kind, count) in [
        ("kraken-raft", "kraken-engine", "null", 0),
        ("kraken-raft", "kraken-actors", "null", 1),
        ("kraken-actors", "kraken-raft", r#""dev""#, 1),
        ("kraken-engine", "kraken-http", "null", 1),
        ("kraken", "kraken-testkit", r#""dev""#, 0),
        ("kraken", "kraken-testkit", "null", 1),
        ("kraken-common", "serde", "null", 1),
    ] {
        let found = wrong_arrows(&sample(name, dependency, kind)?);
        assert_eq!(found.len(), count, "{name} -> {dependency}: {found:?}");
    }
    Ok(())
}

#[test]
fn crate_away_from_its_home_is_found() -> anyhow::Result<()> {
    for (name, dependency, count) in [
        ("kraken-raft", "openraft-rt-tokio", 0),
        ("kraken-actors", "openraft", 1),
        ("kraken-actors", "warp", 1),
        ("kraken-http", "actix", 1),
        ("kraken-engine", "anyhow", 1),
    ] {
        let found = crates_away_from_home(&sample(name, dependency, "null")?);
        assert_eq!(found.len(), count, "{name} -> {dependency}: {found:?}");
    }
    let text = "//! warp\nuse openraft;\nfn f() { kraken_raft::warp::x(); let warp = 1; }\n";
    assert_eq!(lines_found(names_away_from_home, "actors/src/x.rs", text)?, [2, 3]);
    assert_eq!(lines_found(names_away_from_home, "raft/src/x.rs", text)?, [3]);
    Ok(())
}

#[test]
fn impure_crate_below_the_engine_is_found() {
    let found = impurities("petgraph v0.8.2\ntokio-util v0.7.1\nlibc v0.2.9 (*)\ntokioid v1.0.0\n");
    assert_eq!(found.len(), 2, "{found:?}");
}

#[test]
fn another_licence_is_found() -> anyhow::Result<()> {
    assert_eq!(wrong_licences(&sample("kraken-raft", "serde", "null")?).len(), 1);
    Ok(())
}
