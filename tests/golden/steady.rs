//! Makes what is printed the same in each run: what differs by nature becomes a placeholder.

use std::sync::LazyLock;

use anyhow::Result;
use nix::unistd::{Uid, User};
use regex::Regex;

use crate::table;

/// What differs from run to run, and what stands for it.
const RULES: &[(&str, &str)] = &[
    (r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "<uid>"),
    (r"20[0-9]{2}-[0-9]{2}-[0-9]{2}T[0-9:.]+Z", "<time>"),
    (r"(?m)^[0-9]{2}:[0-9]{2}:[0-9]{2}  ", "hh:mm:ss  "),
    (r"127\.0\.0\.1:[0-9]{5}", "127.0.0.1:<port>"),
    (r"[mn][0-9]-[0-9a-f]{10,12}-[0-9]+ {2,}", "<attempt>  "),
    (r"[mn][0-9]-[0-9a-f]{10,12}-[0-9]+", "<id>"),
    (r"[mn][0-9]~[0-9a-f~]+", "<cursor>"),
    (r"[0-9a-f]{32}", "<digest>"),
    (r"kraken-[0-9A-Za-z]{6}/", "kraken-<random>/"),
    (r"kraken-edit-[0-9A-Za-z]{6}", "kraken-edit-<random>"),
    (r"(?m)^revision:  [0-9]+$", "revision:  <revision>"),
    (r"revision [0-9]+", "revision <revision>"),
    (r"(diff|rollback) [0-9]+", "$1 <revision>"),
    (r#"(?m)(["]?)(from|to|continue)(["]?): [0-9]+(,?)$"#, "$1$2$3: <revision>$4"),
    (r"--expect [0-9]{2,}", "--expect <revision>"),
    (r"cluster [0-9a-f]{1,16},", "cluster <id>,"),
    (r"cluster [0-9a-f]{1,16} goes", "cluster <id> goes"),
    (r"epoch [0-9]{2,}", "epoch <epoch>"),
    (r"[0-9]+ bytes, by", "<bytes> bytes, by"),
    (r"[0-9]+ objects (at|as of)", "<count> objects $1"),
    (r"term [0-9]+", "term <term>"),
    (r"member [0-9]+", "member <id>"),
    (r"joined as learner [0-9]+", "joined as learner <id>"),
    (r"kraken: [0-9]+ is no voting member", "kraken: <id> is no voting member"),
    (r"(process|pid) [0-9]+", "$1 <pid>"),
    (r"for [0-9]+(m[0-9]+)?s, as of", "for <age>, as of"),
    (r"[0-9]+(m[0-9]+)?s ago", "<age> ago"),
    (r"(?m)in [0-9]+ ms$", "in <time>"),
    (r"within [0-9.]+m?s", "within <time>"),
    (r"attached to m[0-9]", "attached to <member>"),
    (r#""(value|ratio)":[0-9.e-]+"#, "\"$1\":<$1>"),
    (r"after [0-9]+\.[0-9]{3} s", "after <time>"),
    (r"(?m)^retry:     (now|in [0-9hms]+)$", "retry:     in <time>"),
    (r"done in about [0-9]+h[0-9]+m", "done in about <time>"),
    (r"(Mon|Tue|Wed|Thu|Fri|Sat|Sun) [0-9]{2}:[0-9]{2} UTC", "<day> hh:mm UTC"),
];
/// Keys of JSON and YAML whose numbers and texts differ from run to run.
const KEYS: &str = "revision|cluster|term|applied|lastLog|matched|pid|dscAgeMs|sinceMs|id|member|\
                    leader|arch|platform";

static COMPILED: LazyLock<Vec<(Regex, &str)>> = LazyLock::new(|| {
    let of_key = [
        (format!(r#""({KEYS})": ?([0-9]+|"[^"]*")"#), r#""$1": <$1>"#),
        (format!(r"(?m)^([ -]*)({KEYS}): ([0-9]+|[a-z0-9_ ]+)$"), "$1$2: <$2>"),
    ];
    let rules = RULES.iter().map(|(rule, with)| ((*rule).to_owned(), *with)).chain(of_key);
    rules.map(|(rule, with)| (Regex::new(&rule).unwrap(), with)).collect()
});

/// How far something is, told as a line a change.
static PROGRESS: LazyLock<Regex> = LazyLock::new(|| Regex::new("^[0-9]+ of [0-9]+ (.*)$").unwrap());

/// Makes texts the same in each run.
#[derive(Debug, Clone, Default)]
pub(crate) struct Steady {
    literals: Vec<(String, String)>,
}

impl Steady {
    /// One that knows who runs it and which program.
    pub(crate) fn new() -> Result<Self> {
        let mut steady = Self::default();
        if let Some(user) = User::from_uid(Uid::current())? {
            let name = user.name;
            steady = steady.also(format!("by {name}"), "by <user>");
            steady = steady.also(format!("{name} froze"), "<user> froze");
            steady = steady.also(format!("by: {name}"), "by: <user>");
            steady = steady.also(format!("author: {name}"), "author: <user>");
            steady = steady.also(format!("\"author\": \"{name}\""), "\"author\": \"<user>\"");
            steady = steady.also(format!("\"by\": \"{name}\""), "\"by\": \"<user>\"");
        }
        Ok(steady.also(crate::KRAKEN, "/path/to/kraken"))
    }

    /// Knows another text and what stands for it.
    pub(crate) fn also(mut self, text: impl Into<String>, with: &str) -> Self {
        self.literals.push((text.into(), with.to_owned()));
        self
    }

    /// A text as it would be in each run.
    pub(crate) fn text(&self, text: &str) -> Result<String> {
        let mut text = text.to_owned();
        for (literal, with) in &self.literals {
            text = text.replace(literal, with);
        }
        let text = ruled(&table::settle(&text, ruled)?);
        Ok(without_facts(&last_of_progress(&text)))
    }
}

fn ruled(text: &str) -> String {
    let rule =
        |text: String, (rule, with): &(Regex, &str)| rule.replace_all(&text, *with).into_owned();
    COMPILED.iter().fold(text.to_owned(), rule)
}

/// Of lines that say how far the same thing is, the last.
fn last_of_progress(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    let what = |line: &str| Some(PROGRESS.captures(line)?.get(1)?.as_str().to_owned());
    let is_last = |(index, line): &(usize, &&str)| {
        let of = what(line);
        let mut later = lines.iter().skip(index + 1);
        of.is_none() || !later.any(|later| what(later) == of)
    };
    lines.iter().enumerate().filter(is_last).map(|(_, line)| format!("{line}\n")).collect()
}

/// JSON or YAML without what is said of the machine.
fn without_facts(text: &str) -> String {
    let depth = |line: &str| line.len() - line.trim_start().len();
    let (mut kept, mut lines) = (String::new(), text.lines().peekable());
    while let Some(line) = lines.next() {
        let is_json = line.trim() == "\"host\": {";
        if !is_json && line.trim() != "host:" {
            kept += &format!("{line}\n");
            continue;
        }
        while lines.next_if(|below| depth(below) > depth(line)).is_some() {}
        let comma = match is_json.then(|| lines.next()).flatten() {
            Some(end) if end.ends_with(',') => ",",
            _ => "",
        };
        kept += &format!("{line} <facts>{}{comma}\n", if is_json { " }" } else { "" });
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_varies_becomes_a_placeholder() {
        for (text, expected) in [
            ("revision 7: 1 object changed\n", "revision <revision>: 1 object changed\n"),
            (
                "phase:     Frozen for 2m3s, as of revision 26\n",
                "phase:     Frozen for <age>, as of revision <revision>\n",
            ),
            ("0 of 2 nodes vote\nother\n1 of 2 nodes vote\n", "other\n1 of 2 nodes vote\n"),
            (
                "{\n  \"host\": {\n    \"cpus\": 2\n  },\n  \"pid\": 7\n}\n",
                "{\n  \"host\": { <facts> },\n  \"pid\": <pid>\n}\n",
            ),
            ("dsc:\n  host:\n    cpus: 2\n  link: UP\n", "dsc:\n  host: <facts>\n  link: UP\n"),
        ] {
            assert_eq!(Steady::default().text(text).unwrap(), expected);
        }
    }
}
