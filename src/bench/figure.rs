//! A measured figure and the forms in which it is printed.

use serde::Serialize;

use crate::{
    console::Console,
    exit::Failure,
    look::Look,
    output::json_line,
    table::{table, text},
};

/// One figure. Its ratio is to the peer that ran beside us or, where nobody did, to the target.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Figure {
    /// What was measured, `plan.cold.boot`.
    pub(super) name: String,
    /// The median of all runs.
    pub(super) value: f64,
    /// `s`, `us`, `bytes`, `per_s`, `count`, or `share` of the machine.
    pub(super) unit: &'static str,
    /// Who ran beside us.
    peer: Option<&'static str>,
    peer_value: Option<f64>,
    /// The value over the peer's, or over the target; absent where there is neither.
    pub(super) ratio: Option<f64>,
    /// How many runs there were.
    pub(super) n: usize,
    /// The least and the greatest run.
    #[serde(skip)]
    spread: (f64, f64),
    #[serde(skip)]
    peer_spread: (f64, f64),
    #[serde(skip)]
    target: Option<f64>,
}

/// The median of some runs, and the least and the greatest of them.
struct Runs {
    count: usize,
    median: f64,
    spread: (f64, f64),
}

impl Runs {
    fn of(runs: impl IntoIterator<Item = f64>) -> Self {
        let mut runs: Vec<f64> = runs.into_iter().collect();
        runs.sort_by(f64::total_cmp);
        let at = |place: usize| runs.get(place).copied().unwrap_or_default();
        let spread = (at(0), at(runs.len().saturating_sub(1)));
        Self { count: runs.len(), median: at(runs.len() / 2), spread }
    }
}

impl Figure {
    /// The median of some runs, of which there is at least one.
    pub fn of(
        name: impl Into<String>,
        unit: &'static str,
        target: Option<f64>,
        runs: impl IntoIterator<Item = f64>,
    ) -> Self {
        let Runs { count, median: value, spread } = Runs::of(runs);
        Self {
            name: name.into(),
            value,
            unit,
            peer: None,
            peer_value: None,
            ratio: target.filter(|target| *target > 0.0).map(|target| value / target),
            n: count,
            spread,
            peer_spread: (0.0, 0.0),
            target,
        }
    }

    /// The same beside what runs of a peer came to. Without any the figure stands alone.
    pub fn beside(mut self, peer: &'static str, runs: impl IntoIterator<Item = f64>) -> Self {
        let Runs { count, median, spread } = Runs::of(runs);
        if count > 0 {
            (self.peer, self.peer_value, self.peer_spread) = (Some(peer), Some(median), spread);
            self.ratio = (median > 0.0).then(|| self.value / median);
        }
        self
    }

    /// What was measured.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The median of all runs.
    pub fn value(&self) -> f64 {
        self.value
    }

    /// In what it is measured: `s`, `us`, `bytes`, `per_s`, `count`, or `share` of the machine.
    pub fn unit(&self) -> &'static str {
        self.unit
    }

    /// The median of the peer's runs.
    pub fn peer_value(&self) -> Option<f64> {
        self.peer_value
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
    console.print(aims(figures, console.look()))
}

/// Prints figures of ours beside those of a peer to standard output, one a line or as a table.
/// Whether that could be done.
pub fn print_beside(figures: &[Figure], is_json: bool) -> bool {
    let console = Console::of_process();
    if is_json {
        return print(figures, true, &console).is_ok();
    }
    console.print(pairs(figures, console.look())).is_ok()
}

/// Figures with their targets.
fn aims(figures: &[Figure], look: Look) -> String {
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
    rows.render(look)
}

/// Figures beside those of a peer.
fn pairs(figures: &[Figure], look: Look) -> String {
    let names = ["NAME", "MEDIAN", "UNIT", "FROM-TO", "PEER", "MEDIAN", "FROM-TO", "RATIO", "RUNS"];
    let span = |(from, to): (f64, f64)| format!("{}-{}", number(from), number(to));
    let mut rows = table(names);
    for figure in figures {
        rows.row([
            text(&figure.name),
            text(number(figure.value)),
            text(figure.unit),
            text(span(figure.spread)),
            text(figure.peer.unwrap_or_default()),
            text(figure.peer_value.map(number).unwrap_or_default()),
            text(figure.peer.map(|_| span(figure.peer_spread)).unwrap_or_default()),
            text(figure.ratio.map(number).unwrap_or_default()),
            text(figure.n),
        ]);
    }
    rows.render(look)
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

    #[test]
    fn the_ratio_is_to_a_peer_that_ran_beside() {
        let figure = Figure::of("quorum.put.64", "per_s", None, [30.0, 20.0, 40.0]);
        let figure = figure.beside("etcd", [10.0, 9.0, 16.0]);
        insta::assert_snapshot!(pairs(std::slice::from_ref(&figure), Look::default()), @r"
        NAME            MEDIAN   UNIT    FROM-TO     PEER   MEDIAN   FROM-TO     RATIO   RUNS
        quorum.put.64   30.0     per_s   20.0-40.0   etcd   10.0     9.00-16.0   3.00    3
        ");
        let line = json_line(&figure).unwrap();
        assert!(line.contains("\"peer\":\"etcd\",\"peer_value\":10.0,\"ratio\":3.0,\"n\":3}"));
        let alone = Figure::of("quorum.put.64", "per_s", None, [1.0]).beside("etcd", []);
        assert_eq!((alone.peer, alone.peer_value, alone.ratio), (None, None, None));
    }
}
