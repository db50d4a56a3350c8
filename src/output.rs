//! The forms in which data is printed: a table for people, JSON and YAML for programs, names for
//! other commands.

use serde::Serialize;
use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

use crate::exit::Failure;

/// In which form.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Format {
    /// Columns for people
    #[default]
    Table,
    /// More columns
    Wide,
    /// JSON
    Json,
    /// YAML
    Yaml,
    /// One kind/name a line
    Name,
}

/// The choice of a form.
#[derive(Debug, Clone, Copy, Default, clap::Args)]
pub(crate) struct Output {
    /// In which form
    #[arg(short, long, value_name = "FORM", default_value = "table")]
    pub(crate) output: Format,
}

/// Data as JSON, with a line end.
pub(crate) fn json(data: &impl Serialize) -> Result<String, Failure> {
    let text = serde_json::to_string_pretty(data);
    text.map(|text| text + "\n").map_err(|error| Failure::failed(format!("no JSON: {error}")))
}

/// Data as one line of JSON.
pub(crate) fn json_line(data: &impl Serialize) -> Result<String, Failure> {
    let text = serde_json::to_string(data);
    text.map(|text| text + "\n").map_err(|error| Failure::failed(format!("no JSON: {error}")))
}

/// Data as YAML, with a line end.
pub(crate) fn yaml(data: &impl Serialize) -> Result<String, Failure> {
    serde_saphyr::to_string(data).map_err(|error| Failure::failed(format!("no YAML: {error}")))
}

/// Texts as lines, each with its end.
pub(crate) fn lines<T: AsRef<str>>(texts: impl IntoIterator<Item = T>) -> String {
    let mut lines = String::new();
    for text in texts {
        lines.push_str(text.as_ref());
        lines.push('\n');
    }
    lines
}

/// Names and values as lines that line up; what has no value is passed over.
pub(crate) fn named(values: Vec<(&str, String)>) -> String {
    let said = values.into_iter().filter(|(_, value)| !value.is_empty());
    lines(said.map(|(name, value)| format!("{:<10} {value}", format!("{name}:"))))
}

/// The first line of a text in so many columns of a terminal, cut with an ellipsis.
pub(crate) fn short(text: &str, columns_max: usize) -> String {
    let line = text.lines().next().unwrap_or_default();
    if line.width() <= columns_max {
        return line.to_owned();
    }
    let (mut cut, mut columns) = (String::new(), 1);
    for char in line.chars() {
        columns += char.width().unwrap_or_default();
        if columns > columns_max {
            break;
        }
        cut.push(char);
    }
    cut + "…"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_are_cut_at_characters() {
        for (text, expected) in [
            ("", ""),
            ("äöüß", "äöüß"),
            ("äöüßx", "äöü…"),
            ("ab\ncd", "ab"),
            ("abcd", "abcd"),
            ("日本語", "日…"),
        ] {
            assert_eq!(short(text, 4), expected);
        }
    }
}
