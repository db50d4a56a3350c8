//! Sizes: files, functions and lines that a reader can take in at once.

use crate::{
    find::{Finding, hold_in_rust, lines_found},
    lexer::Sort,
    tree::RustFile,
};

/// Lines of a file, its test modules not counted.
const FILE_LINES_MAX: usize = 500;
/// Lines of code of a function's body, as clippy counts them.
const FUNCTION_LINES_MAX: usize = 70;
/// Characters of a line.
const LINE_CHARS_MAX: usize = 100;

fn long_files(file: &RustFile) -> Vec<Finding> {
    let lines = file.text.lines().count().saturating_sub(file.source.test_module_lines());
    if file.is_test || lines <= FILE_LINES_MAX {
        return Vec::new();
    }
    let advice =
        format!("{lines} lines of production code, {FILE_LINES_MAX} at most; split by noun");
    vec![Finding::new(&file.path, FILE_LINES_MAX + 1, advice)]
}

fn long_functions(file: &RustFile) -> Vec<Finding> {
    let functions = file.source.functions();
    let long = functions.iter().filter(|function| {
        let excused = ["expect", "too_many_lines", "reason"]
            .iter()
            .all(|word| function.attributes.contains(*word));
        function.code_lines > FUNCTION_LINES_MAX && !excused
    });
    long.map(|function| {
        let advice = format!(
            "{} has {} lines of code, {FUNCTION_LINES_MAX} at most; split it, or say in \
             #[expect(clippy::too_many_lines, reason = \"..\")] why not",
            function.name, function.code_lines
        );
        Finding::new(&file.path, function.line, advice)
    })
    .collect()
}

fn wide_lines(file: &RustFile) -> Vec<Finding> {
    let in_long_string = |line: usize| {
        file.source.tokens().iter().any(|token| {
            token.sort == Sort::Literal
                && token.line < token.last
                && (token.line..=token.last).contains(&line)
        })
    };
    let numbered = file.text.lines().zip(1..);
    let wide = numbered.filter(|(text, line)| {
        text.chars().count() > LINE_CHARS_MAX && !text.contains("://") && !in_long_string(*line)
    });
    wide.map(|(text, line)| {
        let chars = text.chars().count();
        let advice = format!("{chars} characters in a line, {LINE_CHARS_MAX} at most; break it");
        Finding::new(&file.path, line, advice)
    })
    .collect()
}

#[test]
fn files_hold_five_hundred_lines_of_production_code() -> anyhow::Result<()> {
    hold_in_rust(long_files)
}

#[test]
fn functions_hold_seventy_lines() -> anyhow::Result<()> {
    hold_in_rust(long_functions)
}

#[test]
fn lines_hold_a_hundred_characters() -> anyhow::Result<()> {
    hold_in_rust(wide_lines)
}

#[test]
fn long_file_is_found_at_one_line_too_many() -> anyhow::Result<()> {
    let at_limit = "//! x\n".repeat(FILE_LINES_MAX);
    let with_tests = format!("{at_limit}#[cfg(test)]\nmod tests {{\n fn f() {{}}\n}}\n");
    let beyond = format!("{at_limit}use x;\n");
    assert!(lines_found(long_files, "raft/src/x.rs", &at_limit)?.is_empty());
    assert!(lines_found(long_files, "raft/src/x.rs", &with_tests)?.is_empty());
    assert_eq!(lines_found(long_files, "raft/src/x.rs", &beyond)?, [FILE_LINES_MAX + 1]);
    assert!(lines_found(long_files, "tests/sim/main.rs", &beyond)?.is_empty());
    Ok(())
}

#[test]
fn long_function_is_found_at_one_line_too_many() -> anyhow::Result<()> {
    let of = |lines: usize| format!("//! x\nfn f() {{\n{}}}\n", "    g();\n\n".repeat(lines));
    assert!(lines_found(long_functions, "raft/src/x.rs", &of(FUNCTION_LINES_MAX))?.is_empty());
    let long = of(FUNCTION_LINES_MAX + 1);
    assert_eq!(lines_found(long_functions, "raft/src/x.rs", &long)?, [2]);
    let excuse = "#[expect(clippy::too_many_lines, reason = \"a flat table\")]\nfn f()";
    let excused = long.replace("fn f()", excuse);
    assert!(lines_found(long_functions, "raft/src/x.rs", &excused)?.is_empty());
    Ok(())
}

#[test]
fn wide_line_is_found_outside_long_strings_and_addresses() -> anyhow::Result<()> {
    let wide = "y".repeat(LINE_CHARS_MAX);
    let text =
        format!("//! x\n// {wide}\nconst A: &str = \"\n{wide}{wide}\n\";\n// https://{wide}\n");
    assert_eq!(lines_found(wide_lines, "raft/src/x.rs", &text)?, [2]);
    Ok(())
}
