//! Habits that show in the text of a file: its header, its excuses, its promises, and what a test
//! must not do.

use crate::{
    find::{Finding, hold_in_rust, lines_found},
    lexer::{Sort, string_value},
    tree::RustFile,
};

/// Marks of work that is promised and not done.
const PROMISES: [&str; 3] = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X")];
/// What sleeps in real or in paused time.
const SLEEPS: [&str; 3] = ["sleep", "sleep_until", "sleep_ms"];
/// Loopback, before the colon and the port.
const LOOPBACK: [&str; 4] = ["127.0.0.1:", "localhost:", "[::1]:", "0.0.0.0:"];
/// Where every port is the kernel's choice.
const PORTLESS: [&str; 3] = ["tests/cluster/", "tests/sim/", "tests/kit/"];

fn missing_header(file: &RustFile) -> Vec<Finding> {
    if file.text.starts_with("//! ") {
        return Vec::new();
    }
    vec![Finding::new(&file.path, 1, "open with `//!`: what the file is, and why it exists")]
}

fn silent_excuses(file: &RustFile) -> Vec<Finding> {
    let bare = file.source.find("# [ allow (").chain(file.source.find("# ! [ allow ("));
    let conditional = conditional_attributes(file, "allow");
    let advice = "write #[expect(lint, reason = \"..\")]: it tells when it is no longer needed";
    bare.chain(conditional)
        .map(|index| Finding::new(&file.path, file.source.line(index), advice))
        .collect()
}

/// Where a `cfg_attr` gives the attribute `name`.
fn conditional_attributes<'a>(
    file: &'a RustFile,
    name: &'a str,
) -> impl Iterator<Item = usize> + 'a {
    file.source.find("cfg_attr").filter(move |&index| {
        file.source.inside(index + 1).iter().skip(1).any(|token| token.text == name)
    })
}

fn ignored_tests(file: &RustFile) -> Vec<Finding> {
    let marks = file.source.find("# [ ignore").chain(conditional_attributes(file, "ignore"));
    marks
        .map(|index| {
            let advice = "a test that does not run proves nothing; mend it or remove it";
            Finding::new(&file.path, file.source.line(index), advice)
        })
        .collect()
}

fn promises(file: &RustFile) -> Vec<Finding> {
    let is_promise = |word: &str| PROMISES.contains(&word);
    let numbered = file.text.lines().zip(1..);
    let marked = numbered.filter(|(text, _)| {
        text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').any(is_promise)
    });
    marked
        .map(|(_, line)| Finding::new(&file.path, line, "do it now, or say why it is as it is"))
        .collect()
}

fn sleeping_tests(file: &RustFile) -> Vec<Finding> {
    let is_kit = file.path.starts_with("tests/kit/");
    let functions = file.source.functions();
    let waits = |index: &usize| {
        let here = functions.iter().filter(|function| function.tokens.contains(index));
        is_kit && here.into_iter().any(|function| function.name == "wait_until")
    };
    let calls = SLEEPS.iter().flat_map(|sleep| file.source.find(sleep));
    calls
        .filter(|&index| file.source.reads(index + 1, "(") && (is_kit || file.in_test(index)))
        .filter(|index| !waits(index))
        .map(|index| {
            let advice = "wait for the condition, with a bound, or advance paused time";
            Finding::new(&file.path, file.source.line(index), advice)
        })
        .collect()
}

fn fixed_ports(file: &RustFile) -> Vec<Finding> {
    if !PORTLESS.iter().any(|room| file.path.starts_with(room)) {
        return Vec::new();
    }
    let literals = file.source.tokens().iter().filter(|token| token.sort == Sort::Literal);
    let fixed = literals.filter(|token| {
        let text = string_value(token).unwrap_or_default();
        LOOPBACK.iter().flat_map(|host| text.split(host).skip(1)).any(names_a_port)
    });
    fixed.map(|token| Finding::new(&file.path, token.line, "bind port 0 and ask which")).collect()
}

fn names_a_port(after_colon: &str) -> bool {
    after_colon.starts_with(|first: char| first.is_ascii_digit() && first != '0')
}

#[test]
fn every_file_opens_with_its_purpose() -> anyhow::Result<()> {
    hold_in_rust(missing_header)
}

#[test]
fn lints_are_expected_with_a_reason_and_never_allowed() -> anyhow::Result<()> {
    hold_in_rust(silent_excuses)
}

#[test]
fn no_test_is_ignored() -> anyhow::Result<()> {
    hold_in_rust(ignored_tests)
}

#[test]
fn nothing_is_promised_for_later() -> anyhow::Result<()> {
    hold_in_rust(promises)
}

#[test]
fn tests_wait_for_conditions_and_never_sleep() -> anyhow::Result<()> {
    hold_in_rust(sleeping_tests)
}

#[test]
fn tests_leave_ports_to_the_kernel() -> anyhow::Result<()> {
    hold_in_rust(fixed_ports)
}

#[test]
fn file_without_purpose_is_found() -> anyhow::Result<()> {
    for text in ["use x;\n", "// x\n", "//!\n", "\n//! late\n"] {
        assert_eq!(lines_found(missing_header, "raft/src/x.rs", text)?, [1], "{text:?}");
    }
    assert!(lines_found(missing_header, "raft/src/x.rs", "//! What it is.\n")?.is_empty());
    Ok(())
}

#[test]
fn allowed_lint_is_found() -> anyhow::Result<()> {
    let text = "//! x\n#[allow(dead_code)]\nfn f() {}\n#[cfg_attr(test, allow(unused))]\nfn g() {}\n\
                #[expect(dead_code, reason = \"#[allow(x)]\")]\nfn h() {}\n";
    assert_eq!(lines_found(silent_excuses, "raft/src/x.rs", text)?, [2, 4]);
    assert_eq!(lines_found(silent_excuses, "raft/src/x.rs", "#![allow(unused)]")?, [1]);
    Ok(())
}

#[test]
fn ignored_test_is_found() -> anyhow::Result<()> {
    let text = "//! x\n#[test]\n#[ignore = \"slow\"]\nfn f() {}\n\
                #[cfg_attr(miri, ignore)]\nfn g(ignore: u8) { h(1, ignore) }\n";
    assert_eq!(lines_found(ignored_tests, "raft/src/x.rs", text)?, [3, 5]);
    Ok(())
}

#[test]
fn promise_is_found_in_comments_and_code() -> anyhow::Result<()> {
    let mark = PROMISES[0];
    let text = format!("//! x\n// {mark}: later\nfn f() {{}} // {mark}(me)\n// TODOS, todo\n");
    assert_eq!(lines_found(promises, "raft/src/x.rs", &text)?, [2, 3]);
    Ok(())
}

#[test]
fn sleep_in_a_test_is_found() -> anyhow::Result<()> {
    let text = "//! x\nfn wait_until() {\n sleep(a);\n}\n#[cfg(test)]\nmod tests {\n fn f() {\n  \
                std::thread::sleep(a);\n }\n}\n";
    assert_eq!(lines_found(sleeping_tests, "raft/src/x.rs", text)?, [8]);
    assert_eq!(lines_found(sleeping_tests, "tests/cluster/x.rs", text)?, [3, 8]);
    assert_eq!(lines_found(sleeping_tests, "tests/kit/src/x.rs", text)?, [8]);
    Ok(())
}

#[test]
fn fixed_port_is_found() -> anyhow::Result<()> {
    let port = 3141;
    let text = format!(
        "//! x\nconst A: &str = \"http://127.0.0.1:{port}/\";\nconst B: &str = \"[::1]:0\";\n"
    );
    assert_eq!(lines_found(fixed_ports, "tests/cluster/x.rs", &text)?, [2]);
    assert!(lines_found(fixed_ports, "src/x.rs", &text)?.is_empty());
    Ok(())
}
