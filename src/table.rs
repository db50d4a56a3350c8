//! Tables for people: columns without lines, as wide as they must be and the terminal allows, and
//! coloured where a person reads them.

use comfy_table::{
    Attribute, Cell as Drawn, Color, ColumnConstraint, ContentArrangement, Table, Width, presets,
};
use unicode_width::UnicodeWidthStr as _;

use crate::{
    look::{Ink, Look},
    output::{lines, short},
};

/// Spaces between two columns.
const GAP: usize = 3;
/// No column is narrowed below this, however narrow the terminal is.
const COLUMN_MIN: usize = 8;

/// Begins a table with the names of its columns.
pub(crate) fn table<const COLUMNS: usize>(names: [&'static str; COLUMNS]) -> Rows<COLUMNS> {
    Rows { names, rows: Vec::new() }
}

/// How wide the columns of tables were.
#[derive(Debug, Default)]
pub(crate) struct Widths(Vec<usize>);

/// The rows of a table.
pub(crate) struct Rows<const COLUMNS: usize> {
    names: [&'static str; COLUMNS],
    rows: Vec<[Cell; COLUMNS]>,
}

/// One cell.
#[derive(Debug, Clone)]
pub(crate) struct Cell {
    text: String,
    ink: Option<Ink>,
}

impl<const COLUMNS: usize> Rows<COLUMNS> {
    /// Whether there is no row yet.
    pub(crate) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Adds a row.
    pub(crate) fn row(&mut self, cells: [Cell; COLUMNS]) {
        self.rows.push(cells);
    }

    /// The text of the table, each line without trailing spaces.
    pub(crate) fn render(self, look: Look) -> String {
        self.render_within(look, &mut Widths::default())
    }

    /// The same with columns at least as wide as those of tables before, which line up so.
    pub(crate) fn render_within(self, look: Look, widths: &mut Widths) -> String {
        let own = self.widths();
        widths.0.resize(own.len(), 0);
        for (width, own) in widths.0.iter_mut().zip(own) {
            *width = own.max(*width);
        }
        let fitted = match look.columns {
            Some(columns) => fitted(&widths.0, columns),
            None => widths.0.clone(),
        };
        let mut table = Table::new();
        table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
        let names = self.names.iter().zip(&fitted);
        let head = names.map(|(name, width)| short(name, *width));
        table.set_header(head.map(|name| Drawn::new(name).add_attribute(Attribute::Bold)));
        for row in &self.rows {
            table.add_row(row.iter().zip(&fitted).map(|(cell, width)| cell.drawn(*width)));
        }
        table.force_no_tty();
        if look.has_colour {
            table.enforce_styling();
        }
        for (column, width) in table.column_iter_mut().zip(&fitted) {
            column.set_padding((0, u16::try_from(GAP).unwrap_or_default()));
            let with_gap = u16::try_from(width.saturating_add(GAP)).unwrap_or(u16::MAX);
            column.set_constraint(ColumnConstraint::LowerBoundary(Width::Fixed(with_gap)));
        }
        lines(table.lines().map(|line| line.trim_end().to_owned()))
    }

    /// How wide each column would be if it held everything.
    fn widths(&self) -> Vec<usize> {
        let of = |(column, name): (usize, &&str)| {
            let cells = self.rows.iter().filter_map(|row| row.get(column));
            cells.map(|cell| cell.text.width()).max().unwrap_or_default().max(name.width())
        };
        self.names.iter().enumerate().map(of).collect()
    }
}

/// Narrows the widest columns until all of them fit, as far as that goes. The first one, which says
/// what a row is about, gives way only once the others can no more.
fn fitted(widths: &[usize], columns: usize) -> Vec<usize> {
    let mut fitted = widths.to_vec();
    let gaps = GAP * widths.len().saturating_sub(1);
    let mut over = (fitted.iter().sum::<usize>() + gaps).saturating_sub(columns);
    while over > 0 {
        let Some((first, others)) = fitted.split_first_mut() else { break };
        // Of columns of the same width the last one, which says least.
        let widest = others.iter_mut().max().filter(|widest| **widest > COLUMN_MIN);
        let widest = widest.unwrap_or(first);
        if *widest <= COLUMN_MIN {
            break;
        }
        *widest -= 1;
        over -= 1;
    }
    fitted
}

impl Cell {
    fn drawn(&self, width: usize) -> Drawn {
        let drawn = Drawn::new(short(&self.text, width));
        match self.ink {
            None => drawn,
            Some(Ink::Good) => drawn.fg(Color::Green),
            Some(Ink::Bad) => drawn.fg(Color::Red),
            Some(Ink::Warning) => drawn.fg(Color::Yellow),
            Some(Ink::Held) => drawn.fg(Color::Blue),
        }
    }
}

/// A plain cell; `-` where there is nothing.
pub(crate) fn text(text: impl ToString) -> Cell {
    let text = text.to_string();
    // A cell is a line: what has several would break the row.
    let text = if text.is_empty() { "-".to_owned() } else { text.replace(['\n', '\r'], " ") };
    Cell { text, ink: None }
}

/// A cell for a phase, in the colour of the attention it asks for.
pub(crate) fn phase(phase: &str) -> Cell {
    Cell { ink: Ink::of_phase(phase), ..text(phase) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLOURED: Look = Look { has_colour: true, columns: None, rows: None };

    #[test]
    fn the_widest_columns_give_way_until_the_terminal_holds_the_table() {
        for (widths, columns, expected) in [
            (vec![4, 9, 60], 80, vec![4, 9, 60]),
            (vec![4, 9, 60], 40, vec![4, 9, 21]),
            (vec![4, 30, 30], 50, vec![4, 20, 20]),
            (vec![30, 4, 60], 60, vec![30, 4, 20]),
            (vec![60, 4, 60], 60, vec![42, 4, 8]),
            (vec![10, 10], 5, vec![8, 8]),
            (vec![], 5, vec![]),
        ] {
            assert_eq!(fitted(&widths, columns), expected, "{widths:?} in {columns}");
        }
        let mut rows = table(["NAME", "REASON"]);
        rows.row([text("n1"), text("the parent of this node has not answered for a while")]);
        let look = Look { columns: Some(30), ..Look::default() };
        insta::assert_snapshot!(rows.render(look), @r"
        NAME   REASON
        n1     the parent of this nod…
        ");
    }

    #[test]
    fn columns_line_up_and_lines_end_at_their_text() {
        let mut rows = table(["NAME", "PHASE"]);
        rows.row([text("n1"), phase("Converged")]);
        rows.row([text("a-longer-name"), phase("")]);
        insta::assert_snapshot!(rows.render(Look::default()), @r"
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
            let rendered = rows.render_within(Look::default(), &mut widths);
            assert_eq!(rendered.lines().last(), Some(expected));
        }
    }

    #[test]
    fn colour_is_for_people_only() {
        let mut rows = table(["PHASE"]);
        rows.row([phase("Stuck")]);
        assert!(rows.render(COLOURED).contains('\u{1b}'));
        let mut rows = table(["PHASE"]);
        rows.row([phase("Stuck")]);
        assert!(!rows.render(Look::default()).contains('\u{1b}'));
    }
}
