//! The shells: what each is told once, so that it asks for words, and how it wants to be told them.

use std::path::Path;

use clap_complete::engine::CompletionCandidate;

use super::ARGUMENT;

/// A shell that can be told to ask for words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Shell {
    /// source <(kraken completions bash)
    Bash,
    /// source <(kraken completions zsh)
    Zsh,
    /// kraken completions fish | source
    Fish,
}

const BASH: &str = r#"_kraken() {
    local IFS=$'\n'
    COMPREPLY=($(PROGRAM ARGUMENT bash "$2" -- "${COMP_LINE:0:COMP_POINT}" 2>/dev/null))
    if [[ ${#COMPREPLY[@]} -gt 0 && ${COMPREPLY[0]} == *[=/,] ]]; then
        compopt -o nospace 2>/dev/null
    fi
}
complete -F _kraken kraken
"#;

const ZSH: &str = r#"#compdef kraken
_kraken() {
    local line
    local -a closed open
    for line in "${(@f)$(PROGRAM ARGUMENT zsh "" -- "${(@)words[1,CURRENT]}" 2>/dev/null)}"; do
        if [[ -z $line ]]; then
            continue
        elif [[ ${line%%:*} == *[=/,] ]]; then
            open+=("$line")
        else
            closed+=("$line")
        fi
    done
    (( ${#open} )) && _describe -V kraken open -S ''
    (( ${#closed} )) && _describe -V kraken closed
    (( ${#open} + ${#closed} ))
}
if [[ $funcstack[1] == _kraken ]]; then
    _kraken "$@"
else
    compdef _kraken kraken
fi
"#;

const FISH: &str = r#"function __kraken_words
    PROGRAM ARGUMENT fish "" -- (commandline -opc) (commandline -ct) 2>/dev/null
end
complete -c kraken -f -k -a '(__kraken_words)'
"#;

/// What a shell is told once, so that it asks this program.
pub(crate) fn script(shell: Shell, program: &Path) -> String {
    let program = quoted(&program.display().to_string());
    let script = match shell {
        Shell::Bash => BASH,
        Shell::Zsh => ZSH,
        Shell::Fish => FISH,
    };
    script.replace("PROGRAM", &program).replace("ARGUMENT", ARGUMENT)
}

/// A word that stands for itself in each of these shells.
fn quoted(word: &str) -> String {
    let is_plain = |char: char| char.is_ascii_alphanumeric() || "/._-+".contains(char);
    if word.chars().all(is_plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

/// Words as a shell reads them, without the first `kept` bytes of each, which it keeps as typed.
pub(super) fn printed(shell: Shell, candidates: &[CompletionCandidate], kept: usize) -> String {
    let mut printed = String::new();
    for candidate in candidates.iter().filter(|candidate| !candidate.is_hide_set()) {
        let word = candidate.get_value().to_string_lossy();
        let word = word.get(kept..).unwrap_or(&word);
        let help = candidate.get_help().map(ToString::to_string).unwrap_or_default();
        let help = help.lines().next().unwrap_or_default();
        let line = match (shell, help) {
            (Shell::Bash, _) | (Shell::Fish, "") => word.to_owned(),
            (Shell::Zsh, "") => word.replace(':', "\\:"),
            (Shell::Zsh, help) => format!("{}:{help}", word.replace(':', "\\:")),
            (Shell::Fish, help) => format!("{word}\t{help}"),
        };
        printed.push_str(&line);
        printed.push('\n');
    }
    printed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_shell_is_told_in_its_own_way() {
        let candidates = [
            CompletionCandidate::new("get").help(Some("Lists nodes\nand more".into())),
            CompletionCandidate::new("a:b"),
            CompletionCandidate::new("secret").hide(true),
        ];
        for (shell, kept, expected) in [
            (Shell::Bash, 0, "get\na:b\n"),
            (Shell::Bash, 2, "t\nb\n"),
            (Shell::Zsh, 0, "get:Lists nodes\na\\:b\n"),
            (Shell::Fish, 0, "get\tLists nodes\na:b\n"),
        ] {
            assert_eq!(printed(shell, &candidates, kept), expected);
        }
    }

    #[test]
    fn a_program_in_a_folder_with_spaces_is_found() {
        let script = script(Shell::Bash, Path::new("/my tools/kraken's"));
        assert!(script.contains(r"$('/my tools/kraken'\''s' __complete bash"), "{script}");
    }
}
