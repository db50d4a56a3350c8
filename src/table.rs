//! Tables for people: columns without lines, as wide as they must be, and coloured where a person
//! reads them.

use comfy_table::{
    Attribute, Cell, Color, ColumnConstraint, ContentArrangement, Table, Width, presets,
};

use crate::output::lines;

/// Spaces between two columns.
const GAP: u16 = 3;

/// Begins a table with the names of its columns.
pub(crate) fn table<const COLUMNS: usize>(names: [&str; COLUMNS]) -> Rows<COLUMNS> {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(names.map(|name| Cell::new(name).add_attribute(Attribute::Bold)));
    Rows(table)
}

/// How wide the columns of tables were.
#[derive(Debug, Default)]
pub(crate) struct Widths(Vec<u16>);

/// The rows of a table.
pub(crate) struct Rows<const COLUMNS: usize>(Table);

impl<const COLUMNS: usize> Rows<COLUMNS> {
    /// Whether there is no row yet.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds a row.
    pub(crate) fn row(&mut self, cells: [Cell; COLUMNS]) {
        self.0.add_row(cells);
    }

    /// The text of the table, each line without trailing spaces.
    pub(crate) fn render(self, has_colour: bool) -> String {
        self.render_within(has_colour, &mut Widths::default())
    }

    /// The same with columns at least as wide as those of tables before, which line up so.
    pub(crate) fn render_within(mut self, has_colour: bool, widths: &mut Widths) -> String {
        self.0.force_no_tty();
        if has_colour {
            self.0.enforce_styling();
        }
        let own = self.0.column_max_content_widths();
        widths.0.resize(own.len(), 0);
        for ((column, width), own) in self.0.column_iter_mut().zip(&mut widths.0).zip(own) {
            *width = own.max(*width);
            column.set_padding((0, GAP));
            let with_gap = Width::Fixed(width.saturating_add(GAP));
            column.set_constraint(ColumnConstraint::LowerBoundary(with_gap));
        }
        lines(self.0.lines().map(|line| line.trim_end().to_owned()))
    }
}

/// A plain cell; `-` where there is nothing.
pub(crate) fn text(text: impl ToString) -> Cell {
    let text = text.to_string();
    Cell::new(if text.is_empty() { "-".to_owned() } else { text })
}

/// A cell for a phase, in the colour of the attention it asks for.
pub(crate) fn phase(phase: &str) -> Cell {
    let cell = text(phase);
    match phase {
        "Converged" => cell.fg(Color::Green),
        "Stuck" | "Quarantined" => cell.fg(Color::Red),
        "BackingOff" => cell.fg(Color::Yellow),
        "Frozen" => cell.fg(Color::Blue),
        _ => cell,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_and_lines_end_at_their_text() {
        let mut rows = table(["NAME", "PHASE"]);
        rows.row([text("n1"), phase("Converged")]);
        rows.row([text("a-longer-name"), phase("")]);
        insta::assert_snapshot!(rows.render(false), @r"
        NAME            PHASE
        n1              Converged
        a-longer-name   -
        ");
    }

    #[test]
    fn later_rows_line_up_with_earlier_ones() {
        let mut widths = Widths::default();
        for (name, expected) in
            [("a-longer-name", "a-longer-name   x"), ("n1", "n1              x")]
        {
            let mut rows = table(["NAME", "PHASE"]);
            rows.row([text(name), text("x")]);
            let rendered = rows.render_within(false, &mut widths);
            assert_eq!(rendered.lines().last(), Some(expected));
        }
    }

    #[test]
    fn colour_is_for_people_only() {
        let mut rows = table(["PHASE"]);
        rows.row([phase("Stuck")]);
        assert!(rows.render(true).contains('\u{1b}'));
        let mut rows = table(["PHASE"]);
        rows.row([phase("Stuck")]);
        assert!(!rows.render(false).contains('\u{1b}'));
    }
}
