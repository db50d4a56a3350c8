//! Tables among the printed lines: checked for their alignment, then set anew, as widths depend on
//! values that differ from run to run.

use std::collections::BTreeSet;

use anyhow::{Result, ensure};

/// Spaces between two columns.
const GAP: usize = 3;
/// Columns whose cells differ from run to run.
const VOLATILE: [&str; 5] = ["SINCE", "REVISION", "HELD", "ID", "PID"];
/// Rows whose values differ from run to run, by the end of their path.
const VOLATILE_ROWS: [&str; 4] = ["/pid", "/sinceMs", "/arch", "/platform"];
/// Rows of machine facts, of which only that they are there is shown.
const FACTS: &str = "/host/";

/// The text with each of its tables set anew, its cells as `steady` makes them.
pub(crate) fn settle(text: &str, steady: impl Fn(&str) -> String) -> Result<String> {
    let (mut settled, mut lines) = (String::new(), text.lines().peekable());
    while let Some(line) = lines.next() {
        let Some(head) = head(line) else {
            settled.push_str(line);
            settled.push('\n');
            continue;
        };
        let mut rows = Vec::new();
        while let Some(row) = lines.next_if(|row| !row.is_empty() && starts(&head, row)) {
            let row = cells(&head, row)?;
            rows.push(placeholders(&head, row).iter().map(|cell| steady(cell)).collect());
        }
        settled.push_str(&render(&head, rows));
    }
    Ok(settled)
}

/// The columns that a line names, each with the character at which it begins; `None` where the line
/// is no head.
fn head(line: &str) -> Option<Vec<(usize, String)>> {
    let names: Vec<&str> = line.split("   ").map(str::trim).filter(|n| !n.is_empty()).collect();
    let is_name = |name: &&str| name.bytes().all(|byte| byte.is_ascii_uppercase());
    if names.len() < 2 || !names.iter().all(is_name) {
        return None;
    }
    let mut from = 0;
    let columns = names.into_iter().map(|name| {
        let at = from + line.get(from..)?.find(name)?;
        from = at + name.len();
        Some((at, name.to_owned()))
    });
    columns.collect()
}

/// Whether a line has something where the first column begins.
fn starts(head: &[(usize, String)], row: &str) -> bool {
    head.first().is_some_and(|(at, _)| row.chars().nth(*at).is_some_and(|c| c != ' '))
}

/// The cells of a row. One that does not begin where its column does is a fault of the table.
fn cells(head: &[(usize, String)], row: &str) -> Result<Vec<String>> {
    let chars: Vec<char> = row.chars().collect();
    let mut cells = Vec::new();
    for (index, (at, name)) in head.iter().enumerate() {
        let end = head.get(index + 1).map_or(chars.len(), |(next, _)| *next).min(chars.len());
        let cell: String = chars.get(*at..end).unwrap_or_default().iter().collect();
        ensure!(!cell.is_empty() && !cell.starts_with(' '), "{name} is out of line: {row:?}");
        let is_last = index + 1 == head.len();
        ensure!(is_last || cell.ends_with("   "), "{name} runs into the next column: {row:?}");
        // The last column may be followed by one without a name.
        cells.extend(
            cell.trim_end()
                .split("   ")
                .map(str::trim)
                .filter(|c| !c.is_empty())
                .map(str::to_owned),
        );
    }
    ensure!(cells.len() >= head.len(), "a cell of {row:?} is empty");
    Ok(cells)
}

/// A row with placeholders in the place of what varies by its column or its path.
fn placeholders(head: &[(usize, String)], mut row: Vec<String>) -> Vec<String> {
    let path = row.first().cloned().unwrap_or_default();
    let by_path = VOLATILE_ROWS.iter().find(|end| path.starts_with('/') && path.ends_with(*end));
    for (index, cell) in row.iter_mut().enumerate().filter(|(_, cell)| *cell != "-") {
        let name = head.get(index).map_or("", |(_, name)| name.as_str());
        if VOLATILE.contains(&name) {
            *cell = format!("<{}>", name.to_lowercase());
        } else if let Some(end) = by_path.filter(|_| index > 0) {
            *cell = format!("<{}>", end.trim_start_matches('/'));
        }
    }
    row
}

fn render(head: &[(usize, String)], mut rows: Vec<Vec<String>>) -> String {
    let facts = rows.iter().position(|row| row.first().is_some_and(|c| c.starts_with(FACTS)));
    if let Some(at) = facts {
        rows.retain(|row| row.first().is_some_and(|cell| !cell.starts_with(FACTS)));
        rows.insert(at, vec![format!("{FACTS}.."), "-".to_owned(), "<facts>".to_owned()]);
    }
    rows.insert(0, head.iter().map(|(_, name)| name.clone()).collect());
    let columns = rows.iter().map(Vec::len).max().unwrap_or_default();
    let widths: Vec<usize> = (0..columns)
        .map(|column| {
            let cells = rows.iter().filter_map(|row| row.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or_default() + GAP
        })
        .collect();
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        format!("{}\n", cells.collect::<String>().trim_end())
    };
    rows.iter().map(line).collect()
}

/// The text without lines that were there before.
pub(crate) fn once(text: &str) -> String {
    let mut seen = BTreeSet::new();
    text.lines().filter(|line| seen.insert(*line)).map(|line| format!("{line}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn as_is(cell: &str) -> String {
        cell.to_owned()
    }

    #[test]
    fn what_varies_has_no_say_in_the_widths() {
        let [short, long] = ["7", "123456789"].map(|pid| {
            let width = pid.len().max(3);
            let head = format!("NODE   {:width$}   ADDRESS", "PID");
            format!(
                "some words\n{head}\nm1     {pid:width$}   here\nn1     {pid:width$}   -\n\nend\n"
            )
        });
        assert_eq!(settle(&short, as_is).unwrap(), settle(&long, as_is).unwrap());
        insta::assert_snapshot!(settle(&long, as_is).unwrap(), @r"
        some words
        NODE   PID     ADDRESS
        m1     <pid>   here
        n1     <pid>   -

        end
        ");
    }

    #[test]
    fn a_table_out_of_line_is_a_fault() {
        for row in ["m123456 x", "m1    x", "m1"] {
            assert!(settle(&format!("NODE   NAME\n{row}\n"), as_is).is_err(), "{row:?}");
        }
    }
}
