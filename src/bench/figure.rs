//! A measured figure and the forms in which it is printed.

use serde::Serialize;

use crate::{
    console::Console,
    exit::Failure,
    output::json_line,
    table::{table, text},
};

/// One figure. There is no peer to run beside these, so that the ratio is to the target.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Figure {
    /// What was measured, `plan.cold.boot`.
    pub(super) name: String,
    /// The median of all runs.
    pub(super) value: f64,
    /// `s`, `us`, `bytes` or `count`.
    pub(super) unit: &'static str,
    /// Who ran beside us: nobody.
    peer: Option<&'static str>,
    peer_value: Option<f64>,
    /// The value over the target; absent where there is no target.
    pub(super) ratio: Option<f64>,
    /// How many runs there were.
    pub(super) n: usize,
    /// The least and the greatest run.
    #[serde(skip)]
    spread: (f64, f64),
    #[serde(skip)]
    target: Option<f64>,
}

impl Figure {
    /// The median of some runs, of which there is at least one.
    pub(super) fn of(
        name: impl Into<String>,
        unit: &'static str,
        target: Option<f64>,
        runs: impl IntoIterator<Item = f64>,
    ) -> Self {
        let mut runs: Vec<f64> = runs.into_iter().collect();
        runs.sort_by(f64::total_cmp);
        let at = |place: usize| runs.get(place).copied().unwrap_or_default();
        let value = at(runs.len() / 2);
        Self {
            name: name.into(),
            value,
            unit,
            peer: None,
            peer_value: None,
            ratio: target.filter(|target| *target > 0.0).map(|target| value / target),
            n: runs.len(),
            spread: (at(0), at(runs.len().saturating_sub(1))),
            target,
        }
    }

    /// What is counted and not measured.
    pub(super) fn count(name: impl Into<String>, count: usize) -> Self {
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        Self::of(name, "count", None, [f64::from(count)])
    }
}

/// Prints figures, one a line or as a table.
pub(super) fn print(figures: &[Figure], is_json: bool, console: &Console) -> Result<(), Failure> {
    if is_json {
        return figures.iter().try_for_each(|figure| console.print(json_line(figure)?));
    }
    let mut rows = table(["NAME", "MEDIAN", "UNIT", "FROM", "TO", "TARGET", "RATIO", "RUNS"]);
    for figure in figures {
        rows.row([
            text(&figure.name),
            text(number(figure.value)),
            text(figure.unit),
            text(number(figure.spread.0)),
            text(number(figure.spread.1)),
            text(figure.target.map(number).unwrap_or_default()),
            text(figure.ratio.map(number).unwrap_or_default()),
            text(figure.n),
        ]);
    }
    console.print(rows.render(console.has_colour()))
}

/// A number in about three digits.
fn number(value: f64) -> String {
    match value.abs() {
        large if large >= 100.0 => format!("{value:.0}"),
        middle if middle >= 10.0 => format!("{value:.1}"),
        middle if middle >= 1.0 => format!("{value:.2}"),
        small if small > 0.0 => format!("{value:.3}"),
        _ => "0".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::console::memory;

    #[test]
    fn a_figure_is_a_line_with_the_median_and_its_ratio_to_the_target() {
        let (console, data, _) = memory::console();
        let figure = Figure::of("plan.cold.boot", "us", Some(100.0), [70.0, 50.0, 90.0]);
        print(&[figure], true, &console).unwrap();
        assert_eq!(
            data.text(),
            "{\"name\":\"plan.cold.boot\",\"value\":70.0,\"unit\":\"us\",\"peer\":null,\
             \"peer_value\":null,\"ratio\":0.7,\"n\":3}\n"
        );
    }

    #[test]
    fn people_see_a_table_with_the_spread() {
        let (console, data, _) = memory::console();
        let figures = [
            Figure::of("converge.1k", "s", Some(2.0), [1.234, 0.5, 11.0]),
            Figure::of("converge.kept", "count", None, [0.0]),
        ];
        print(&figures, false, &console).unwrap();
        insta::assert_snapshot!(data.text(), @r"
        NAME            MEDIAN   UNIT    FROM    TO     TARGET   RATIO   RUNS
        converge.1k     1.23     s       0.500   11.0   2.00     0.617   3
        converge.kept   0        count   0       0      -        -       1
        ");
    }
}
