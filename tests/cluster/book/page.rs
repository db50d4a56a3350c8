//! What a page has its reader type, and what it says comes of that.

use anyhow::{Context as _, Result, bail, ensure};

/// Interrupts what a line began that goes on.
const CTRL_C: &str = "^C";
/// Begins a line that is typed.
const PROMPT: &str = "$ ";
/// Begins the line that tells with which code a command ends, where that is not 0.
const EXIT: &str = "exit: ";

/// One thing that a reader does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    /// A block of commands, copied as a whole.
    Script { line: usize, text: String },
    /// A command that is typed, and what comes of it.
    Typed(Typed),
    /// A command that is not for here, as it takes hours or machines: that it is one is held.
    Form { line: usize, text: String },
}

/// A command that is typed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Typed {
    /// Its line in the page.
    pub(crate) line: usize,
    /// What is typed, with what follows on further lines.
    pub(crate) command: String,
    /// The lines that it prints.
    pub(crate) shown: Vec<String>,
    /// What it prints after Ctrl-C, where it goes on until then.
    pub(crate) after: Option<Vec<String>>,
    /// The code that it ends with.
    pub(crate) exit: i32,
}

/// The steps of a page, from top to bottom.
pub(crate) fn steps(page: &str) -> Result<Vec<Step>> {
    let (mut steps, mut lines) = (Vec::new(), (1..).zip(page.lines()));
    while let Some((line, text)) = lines.next() {
        let Some(sort) = text.trim_start().strip_prefix("```") else {
            let inside = text.strip_prefix("    ").unwrap_or_default();
            ensure!(!is_command(inside), "line {line} looks like a command; write it in ```sh");
            continue;
        };
        let indent = text.len() - text.trim_start().len();
        let inside: Vec<(usize, &str)> = lines
            .by_ref()
            .take_while(|(_, text)| text.trim() != "```")
            .map(|(at, text)| (at, text.get(indent..).unwrap_or_default()))
            .collect();
        match sort.trim() {
            "sh" => steps.push(Step::Script { line, text: joined(&inside) }),
            "sh,form" => {
                let lines = inside.iter().filter(|(_, text)| !text.is_empty());
                steps.extend(
                    lines.map(|(line, text)| Step::Form { line: *line, text: (*text).into() }),
                );
            }
            "" if inside.iter().any(|(_, text)| text.starts_with(PROMPT)) => {
                steps.extend(typed(&inside)?.into_iter().map(Step::Typed));
            }
            "" => {
                let hidden = inside.iter().find(|(_, text)| is_command(text));
                ensure!(hidden.is_none(), "{hidden:?} looks like a command; write it in ```sh");
            }
            _ => {}
        }
    }
    Ok(steps)
}

/// Whether a line is one that readers would type; how a verb is used is none.
fn is_command(text: &str) -> bool {
    let first = ["kraken ", "cargo ", "target/", "curl ", PROMPT];
    first.iter().any(|first| text.starts_with(first)) && !is_usage(text)
}

/// Whether a line of the command line's page says how a verb is used.
fn is_usage(text: &str) -> bool {
    text.contains(" [OPTIONS]") || text.ends_with(" <COMMAND>")
}

fn joined(lines: &[(usize, &str)]) -> String {
    lines.iter().flat_map(|(_, text)| [text, "\n"]).collect()
}

/// The commands of a transcript.
fn typed(lines: &[(usize, &str)]) -> Result<Vec<Typed>> {
    let (mut all, mut lines) = (Vec::<Typed>::new(), lines.iter());
    while let Some((line, text)) = lines.next() {
        if let Some(command) = text.strip_prefix(PROMPT) {
            let mut command = command.to_owned();
            while command.ends_with('\\') {
                let (_, further) = lines.next().context("nothing follows a \\")?;
                command.extend(["\n", further]);
            }
            if let Some(end) = heredoc(&command) {
                for (_, text) in lines.by_ref() {
                    command.extend(["\n", text]);
                    if *text == end {
                        break;
                    }
                }
            }
            all.push(Typed { line: *line, command, ..Typed::default() });
            continue;
        }
        let Some(last) = all.last_mut() else { bail!("line {line}: nobody has typed anything") };
        match (text.strip_prefix(EXIT), *text == CTRL_C) {
            (Some(code), _) => last.exit = code.parse().with_context(|| format!("line {line}"))?,
            (None, true) => last.after = Some(Vec::new()),
            (None, false) => last.after.as_mut().unwrap_or(&mut last.shown).push((*text).into()),
        }
    }
    Ok(all)
}

/// The word that ends what is read from the lines that follow.
fn heredoc(command: &str) -> Option<String> {
    let word = command.split_once("<<")?.1.split_whitespace().next()?;
    Some(word.trim_matches('\'').to_owned())
}

#[test]
fn what_is_typed_is_told_from_what_is_shown() {
    let page = "# X\n\n```\n$ a b\nsaid\n$ c <<END\nin\nEND\n$ d\nexit: 3\n```\n\n```sh\ne\nf\n```\n\
                ```yaml\n$ g\n```\n```sh,form\nh --i\n```\n```\nno command\n```\n\
                ```\n$ j\n1\n^C\n2\n```\n";
    let typed = |line, command: &str| Typed { line, command: command.into(), ..Typed::default() };
    let expected = [
        Step::Typed(Typed { shown: vec!["said".into()], ..typed(4, "a b") }),
        Step::Typed(typed(6, "c <<END\nin\nEND")),
        Step::Typed(Typed { exit: 3, ..typed(9, "d") }),
        Step::Script { line: 13, text: "e\nf\n".into() },
        Step::Form { line: 21, text: "h --i".into() },
        Step::Typed(Typed {
            shown: vec!["1".into()],
            after: Some(vec!["2".into()]),
            ..typed(27, "j")
        }),
    ];
    assert_eq!(steps(page).unwrap(), expected);
    assert!(steps("see\n\n    kraken get nodes\n").is_err());
    assert!(steps("```\nsaid\n$ a\n```\n").is_err());
    assert!(steps("```\nkraken get nodes\n```\n").is_err());
    assert_eq!(steps("```\nkraken up [OPTIONS]\n```\n").unwrap(), []);
}
