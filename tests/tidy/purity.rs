//! The engine asks for nothing: no clock, thread, file, environment or socket in its sources. Time,
//! ids and random bits come in as arguments.

use crate::{
    find::{Finding, hold_in_rust, lines_found},
    lexer::{Sort, Source},
    tree::RustFile,
};

/// Paths of the standard library that the engine must not name, nor anything below them.
const BANNED: [&str; 13] = [
    "std::*",
    "std::collections::hash_map::RandomState",
    "std::env",
    "std::fs",
    "std::hash::RandomState",
    "std::net",
    "std::os",
    "std::process",
    "std::thread",
    "std::time::*",
    "std::time::Instant",
    "std::time::SystemTime",
    "std::time::UNIX_EPOCH",
];

/// Every full path that begins at `index`, braces of a `use` opened.
fn paths_from(source: &Source, index: usize, prefix: &str) -> Vec<(String, usize)> {
    let Some(token) = source.tokens().get(index) else { return Vec::new() };
    let path = match (token.sort, token.text.as_str()) {
        (Sort::Open, "{") => return paths_in_braces(source, index, prefix),
        (Sort::Word, "self") => prefix.to_owned(),
        (Sort::Word, _) | (Sort::Sign, "*") if prefix.is_empty() => token.text.clone(),
        (Sort::Word, _) | (Sort::Sign, "*") => format!("{prefix}::{}", token.text),
        (Sort::Open | Sort::Close | Sort::Literal | Sort::Sign, _) => return Vec::new(),
    };
    if source.reads(index + 1, ": :") {
        return paths_from(source, index + 3, &path);
    }
    vec![(path, token.line)]
}

fn paths_in_braces(source: &Source, open: usize, prefix: &str) -> Vec<(String, usize)> {
    let (mut paths, mut depth) = (Vec::new(), 0_usize);
    for (offset, token) in source.inside(open).iter().enumerate() {
        let begins = offset == 0 || source.reads(open + offset, ",");
        if depth == 0 && begins {
            paths.extend(paths_from(source, open + 1 + offset, prefix));
        }
        match token.sort {
            Sort::Open => depth += 1,
            Sort::Close => depth = depth.saturating_sub(1),
            Sort::Word | Sort::Sign | Sort::Literal => {}
        }
    }
    paths
}

fn is_banned(path: &str) -> bool {
    // The module itself, imported by name, would hide what is then taken from it.
    let below = |banned: &str| path.strip_prefix(banned).is_some_and(|r| r.starts_with("::"));
    path == "std::time" || BANNED.iter().any(|banned| path == *banned || below(banned))
}

fn impure_paths(file: &RustFile) -> Vec<Finding> {
    if !file.path.starts_with("engine/src/") {
        return Vec::new();
    }
    let starts = file.source.find("std").filter(|&index| !file.in_test(index));
    let paths = starts.flat_map(|index| paths_from(&file.source, index, ""));
    paths
        .filter(|(path, _)| is_banned(path))
        .map(|(path, line)| {
            let advice = format!("the engine names {path}; take it as an argument instead");
            Finding::new(&file.path, line, advice)
        })
        .collect()
}

#[test]
fn engine_names_no_clock_thread_file_or_socket() -> anyhow::Result<()> {
    hold_in_rust(impure_paths)
}

#[test]
fn impure_path_is_found_however_it_is_imported() -> anyhow::Result<()> {
    let text = "//! std::fs\nuse std::{fmt, time::{Duration,\n Instant}, collections::BTreeMap};\n\
                use std::time;\nuse std::{\nthread};\nfn f() { std::fs::read(\"std::env\"); }\n\
                #[cfg(test)]\nmod tests { use std::fs; }\n";
    assert_eq!(lines_found(impure_paths, "engine/src/x.rs", text)?, [3, 4, 6, 7]);
    assert!(lines_found(impure_paths, "actors/src/x.rs", text)?.is_empty());
    let pure = "//! x\nuse std::{fmt, io_like, time::Duration};\n";
    assert!(lines_found(impure_paths, "engine/src/x.rs", pure)?.is_empty());
    Ok(())
}
