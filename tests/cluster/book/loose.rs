//! Whether what was printed is what a page shows, but for what differs from run to run:
//!
//! * a line `..` stands for any number of lines;
//! * times, lengths of time, pids, ports, revisions, terms, ids, digests and temporary folders may
//!   be any, and so may every number of three digits and more;
//! * which member leads, or serves a leaf, may be another one: `attached to m2`, `led by m2`;
//! * spaces may be more or fewer, as the widths of columns follow from what stands in them;
//! * whoever runs the test is called `root`;
//! * of lines that say how far the same thing is (`3 of 8 nodes have converged`) the last counts.

#![expect(clippy::unwrap_used, reason = "a pattern that does not compile should fail the test")]

use std::sync::LazyLock;

use regex::Regex;

/// Stands for any number of lines.
const ELISION: &str = "..";

/// What differs from run to run, and what stands for it.
const RULES: &[(&str, &str)] = &[
    (r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "<uid>"),
    (r"20[0-9]{2}-[0-9]{2}-[0-9]{2}T[0-9:.]+Z", "<time>"),
    (r"(?-u:\b)[0-9]{2}:[0-9]{2}:[0-9]{2}(?-u:\b)", "<time>"),
    (r"127\.0\.0\.1:[0-9]+", "127.0.0.1:<port>"),
    (r"[mn][0-9]+-[0-9a-f]{10,12}-[0-9]+", "<id>"),
    (r"(?-u:\b)[0-9a-f]{32}(?-u:\b)", "<digest>"),
    (r"/[^ ]*/kraken-[0-9A-Za-z]{6}(?-u:\b)", "<folder>"),
    (r"kraken-debug-[0-9A-Za-z-]+", "kraken-debug-<time>"),
    (r"cluster [0-9a-f]{1,16}(?-u:\b)", "cluster <id>"),
    (r"(?-u:\b)(revision|term|epoch|process|pid)(:? +)[0-9]+", "$1$2<n>"),
    (r#"("?(?:revision|term|epoch|pid|from|to)"?: ?)[0-9]+"#, "$1<n>"),
    (r"--expect [0-9]+", "--expect <n>"),
    (r"(?-u:\b)(attached to|led by) m[0-9]+", "$1 <member>"),
    (r"(?-u:\b)[0-9]+(\.[0-9]+)? (us|ms|s)(?-u:\b)", "<age>"),
    (r"(?-u:\b)([0-9]+(\.[0-9]+)?(us|ms|s|m|h|d))+(?-u:\b)", "<age>"),
    (r"(?-u:\b)[0-9]{1,3}(,[0-9]{3})+(?-u:\b)", "<n>"),
    (r"(?-u:\b)[0-9]{3,}(?-u:\b)", "<n>"),
    (r" +", " "),
];

static COMPILED: LazyLock<Vec<(Regex, &str)>> =
    LazyLock::new(|| RULES.iter().map(|(rule, with)| (Regex::new(rule).unwrap(), *with)).collect());

/// How far something is, told as a line a change.
static PROGRESS: LazyLock<Regex> = LazyLock::new(|| Regex::new("^[0-9]+ of [0-9]+ (.*)$").unwrap());

/// The lines of `shown` beside those that were `printed` in their places; the error tells where
/// they part. With `is_begun` more may yet be printed.
pub(crate) fn compare(
    shown: &[String],
    printed: &str,
    is_begun: bool,
) -> Result<Vec<(String, String)>, String> {
    let printed: Vec<&str> = last_of_progress(printed);
    let settled: Vec<String> = printed.iter().map(|line| settle(line)).collect();
    let mut parts = shown.split(|line| line == ELISION).peekable();
    let (mut pairs, mut at, mut is_first) = (Vec::new(), 0, true);
    while let Some(part) = parts.next() {
        let wanted: Vec<String> = part.iter().map(|line| settle(line)).collect();
        let rest = settled.get(at..).unwrap_or_default();
        let is_last = parts.peek().is_none() && !is_begun;
        let found = match (is_first, is_last) {
            (true, true) => (rest == wanted).then_some(0),
            (true, false) => rest.starts_with(&wanted).then_some(0),
            (false, true) => rest.ends_with(&wanted).then(|| rest.len() - wanted.len()),
            (false, false) => (0..=rest.len()).find(|from| rest[*from..].starts_with(&wanted)),
        };
        let from = at + found.ok_or_else(|| told(&wanted, rest, is_first))?;
        let beside = printed.iter().skip(from);
        pairs.extend(part.iter().zip(beside).map(|(a, b)| (a.clone(), (*b).to_owned())));
        (at, is_first) = (from + part.len(), false);
    }
    Ok(pairs)
}

/// The numbers of a page that are others here, such as a pid or a revision, each with the one that
/// was printed in its place.
pub(crate) fn numbers(pairs: &[(String, String)]) -> Vec<(String, String)> {
    let words = |text: &str| -> Vec<String> {
        text.split_whitespace().map(|word| word.trim_end_matches([':', ',']).to_owned()).collect()
    };
    let is_number = |word: &str| word.len() > 1 && word.bytes().all(|byte| byte.is_ascii_digit());
    let beside =
        pairs.iter().flat_map(|(shown, printed)| words(shown).into_iter().zip(words(printed)));
    beside.filter(|(shown, printed)| is_number(shown) && is_number(printed)).collect()
}

fn told(shown: &[String], printed: &[String], is_first: bool) -> String {
    let mut pairs = shown.iter().zip(printed);
    let apart = pairs.find(|(shown, printed)| is_first && shown != printed);
    let first = apart.map(|(shown, printed)| format!("shown: {shown:?}, printed: {printed:?}\n"));
    let (first, shown, printed) =
        (first.unwrap_or_default(), shown.join("\n  "), printed.join("\n  "));
    format!("{first}the page shows\n  {shown}\nwhere this is printed\n  {printed}\n")
}

/// A line as it would be in each run.
fn settle(line: &str) -> String {
    let rule =
        |text: String, (rule, with): &(Regex, &str)| rule.replace_all(&text, *with).into_owned();
    COMPILED.iter().fold(line.trim().to_owned(), rule)
}

/// Of lines that say how far the same thing is, the last.
fn last_of_progress(text: &str) -> Vec<&str> {
    let lines: Vec<&str> = text.lines().collect();
    let what = |line: &str| Some(PROGRESS.captures(line)?.get(1)?.as_str().to_owned());
    let is_last = |(index, line): &(usize, &&str)| {
        let of = what(line);
        let mut later = lines.iter().skip(index + 1);
        of.is_none() || !later.any(|later| what(later) == of)
    };
    lines.iter().enumerate().filter(is_last).map(|(_, line)| *line).collect()
}

#[test]
fn what_differs_by_nature_is_the_same_and_words_are_not() {
    let differs = |shown: &str, printed: &str| {
        let shown: Vec<String> = shown.lines().map(str::to_owned).collect();
        compare(&shown, printed, false).is_err()
    };
    for (shown, printed) in [
        ("n1   UP   Converged   11s", "n1   UP     Converged   1m3s"),
        ("revision 7: 4 objects changed", "revision 1234: 4 objects changed"),
        ("12:00:01  node/n1  process 10 killed", "03:10:59 node/n1 process 99999 killed"),
        ("a\n..\nd\n..", "a\nb\nc\nd\n"),
        ("..\nb", "a\nb"),
        ("..", ""),
        ("4 of 4 nodes", "1 of 4 nodes\n4 of 4 nodes\n"),
        (
            concat!("/tmp/kraken-AbC123/m1 on http://127.0.0.1", ":3141"),
            concat!("/x/y/kraken-ZZZZZ9/m1 on http://127.0.0.1", ":9"),
        ),
    ] {
        assert!(!differs(shown, printed), "{shown:?} and {printed:?}");
    }
    for (shown, printed) in [
        ("n1   UP   Converged   11s", "n1   UP   Waiting   11s"),
        ("4 objects changed", "5 objects changed"),
        ("a\n..\nd", "a\nb\nc\nd\ne\n"),
        ("a", "a\nb"),
        ("", "a"),
        ("a\nb", "a"),
        ("a\n..\nx\n..", "a\nb\n"),
    ] {
        assert!(differs(shown, printed), "{shown:?} and {printed:?}");
    }
    assert!(compare(&["a".to_owned()], "a\nb\n", true).is_ok());
    assert!(compare(&["a".to_owned(), "b".to_owned()], "a\n", true).is_err());
    let shown = ["..", "pid   10685 of 8", "revision 21: 4 objects"].map(str::to_owned);
    let pairs = compare(&shown, "x\npid 733 of 8\nrevision 9876: 4 objects\n", false).unwrap();
    let expected = [("10685", "733"), ("21", "9876")].map(|(a, b)| (a.to_owned(), b.to_owned()));
    assert_eq!(numbers(&pairs), expected);
}
