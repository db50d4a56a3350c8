//! Names of files and modules: a thing lives where its noun lives.

use crate::{
    find::{Finding, hold_in_rust, lines_found},
    lexer::Sort,
    tree::RustFile,
};

/// Names that say nothing of what is inside.
const EMPTY_NAMES: [&str; 9] =
    ["common", "helper", "helpers", "manager", "misc", "shared", "util", "utilities", "utils"];

fn mod_files(file: &RustFile) -> Vec<Finding> {
    if !file.path.ends_with("/mod.rs") {
        return Vec::new();
    }
    vec![Finding::new(&file.path, 1, "name the file for its folder: foo.rs beside foo/")]
}

fn empty_names(file: &RustFile) -> Vec<Finding> {
    let mut findings = Vec::new();
    let stem = file.path.trim_end_matches(".rs");
    let advice = |name| format!("{name} says nothing; put its content where its noun lives");
    for part in stem.split('/').filter(|part| EMPTY_NAMES.contains(part)) {
        findings.push(Finding::new(&file.path, 1, advice(part)));
    }
    for index in file.source.find("mod") {
        let name = file.source.tokens().get(index + 1).filter(|token| token.sort == Sort::Word);
        if let Some(token) = name.filter(|token| EMPTY_NAMES.contains(&token.text.as_str())) {
            findings.push(Finding::new(&file.path, token.line, advice(&token.text)));
        }
    }
    findings
}

#[test]
fn no_file_is_called_mod() -> anyhow::Result<()> {
    hold_in_rust(mod_files)
}

#[test]
fn modules_are_named_for_a_noun_of_the_domain() -> anyhow::Result<()> {
    hold_in_rust(empty_names)
}

#[test]
fn file_called_mod_is_found() -> anyhow::Result<()> {
    assert_eq!(lines_found(mod_files, "engine/src/store/mod.rs", "//! x\n")?, [1]);
    assert!(lines_found(mod_files, "engine/src/store.rs", "//! x\n")?.is_empty());
    Ok(())
}

#[test]
fn empty_name_is_found_in_path_and_in_declaration() -> anyhow::Result<()> {
    assert_eq!(lines_found(empty_names, "raft/src/util.rs", "//! x\n")?, [1]);
    assert_eq!(lines_found(empty_names, "raft/src/x.rs", "//! x\n\nmod helpers {}\n")?, [3]);
    assert!(lines_found(empty_names, "raft/src/x.rs", "//! util\nmod log;\n")?.is_empty());
    Ok(())
}
