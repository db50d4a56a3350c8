//! What was measured, and the forms in which it is printed.

use std::fmt::Write as _;

use anyhow::Result;
use serde::Serialize;

/// One figure. Its ratio is to the peer that ran beside us or, where nobody did, to the target.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Figure {
    /// What was measured, `fanout.one.1k.p50`.
    pub name: String,
    /// What it came to.
    pub value: f64,
    /// `us`, `bytes`, `bytes_per_s`, `per_s`, `count`, or `cores`.
    pub unit: &'static str,
    /// Who ran beside us.
    pub peer: Option<&'static str>,
    /// What it came to there.
    pub peer_value: Option<f64>,
    /// The value over the peer's, or over the target.
    pub ratio: Option<f64>,
    /// How many measurements there were.
    pub n: usize,
    /// What it should come to.
    #[serde(skip)]
    target: Option<f64>,
}

impl Figure {
    /// A figure of so many measurements.
    pub fn new(name: impl Into<String>, value: f64, unit: &'static str, n: usize) -> Self {
        let (peer, peer_value, ratio, target) = (None, None, None, None);
        Self { name: name.into(), value, unit, peer, peer_value, ratio, n, target }
    }

    /// The same with what it should come to.
    #[must_use]
    pub fn target(mut self, target: f64) -> Self {
        self.target = Some(target);
        if self.peer.is_none() {
            self.ratio = (target > 0.0).then(|| self.value / target);
        }
        self
    }

    /// The same beside what it came to with a peer, if one ran.
    #[must_use]
    pub fn beside(mut self, peer: &'static str, value: Option<f64>) -> Self {
        if let Some(value) = value {
            (self.peer, self.peer_value) = (Some(peer), Some(value));
            self.ratio = (value > 0.0).then(|| self.value / value);
        }
        self
    }
}

/// A number as another one that can be divided.
pub(super) fn float(number: usize) -> f64 {
    u32::try_from(number).map_or(f64::MAX, f64::from)
}

/// The value that so many thousandths of all are at most, of values in order; 0 of none.
pub(super) fn quantile(sorted: &[u64], thousandths: usize) -> f64 {
    let last = sorted.len().saturating_sub(1);
    let place = (last * thousandths).div_ceil(1_000);
    sorted.get(place).map_or(0.0, |micros| u32::try_from(*micros).map_or(f64::MAX, f64::from))
}

/// The middle one of some values.
pub(super) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}

/// How a size is called in names: `1k` for 1,000.
pub(super) fn size(leaves: usize) -> String {
    if leaves >= 1_000 && leaves.is_multiple_of(1_000) {
        return format!("{}k", leaves / 1_000);
    }
    leaves.to_string()
}

/// Figures as one object a line.
pub fn lines(figures: &[Figure]) -> Result<String> {
    let mut text = String::new();
    for figure in figures {
        text.push_str(&serde_json::to_string(figure)?);
        text.push('\n');
    }
    Ok(text)
}

/// Figures as a table for people.
pub fn table(figures: &[Figure]) -> String {
    let names = ["NAME", "VALUE", "UNIT", "TARGET", "PEER", "ITS VALUE", "RATIO", "N"];
    let mut rows = vec![names.map(str::to_owned)];
    for figure in figures {
        let shown = |value: Option<f64>| value.map(number).unwrap_or_default();
        rows.push([
            figure.name.clone(),
            number(figure.value),
            figure.unit.to_owned(),
            shown(figure.target),
            figure.peer.unwrap_or_default().to_owned(),
            shown(figure.peer_value),
            shown(figure.ratio),
            figure.n.to_string(),
        ]);
    }
    let width = |column: usize| rows.iter().map(|row| row[column].len()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..names.len()).map(width).collect();
    let mut text = String::new();
    for row in &rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            // Text takes all that is written.
            write!(line, "{cell:width$}   ").ok();
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
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

    #[test]
    fn a_figure_is_a_line_with_its_ratio_to_the_peer_or_to_the_target() {
        let figure = Figure::new("fanout.one.1k.p50", 4_000.0, "us", 9).target(5_000.0);
        let beside = figure.clone().beside("etcd", Some(8_000.0));
        let none = figure.clone().beside("etcd", None);
        assert_eq!((figure.ratio, beside.ratio, none.peer), (Some(0.8), Some(0.5), None));
        assert_eq!(
            lines(&[beside]).unwrap(),
            "{\"name\":\"fanout.one.1k.p50\",\"value\":4000.0,\"unit\":\"us\",\"peer\":\"etcd\",\
             \"peer_value\":8000.0,\"ratio\":0.5,\"n\":9}\n"
        );
    }

    #[test]
    fn people_see_a_table() {
        let figures = [Figure::new("a", 1.0, "us", 1).target(2.0), Figure::new("bb", 0.0, "us", 2)];
        let shown = table(&figures);
        let lines: Vec<&str> = shown.lines().collect();
        assert_eq!(lines[1], "a      1.00    us     2.00                        0.500   1");
        assert_eq!(lines.len(), 3);
    }

    #[test]
    fn quantiles_and_sizes_are_as_they_are_called() {
        let sorted: Vec<u64> = (1..=100).collect();
        let of = |thousandths| quantile(&sorted, thousandths);
        assert_eq!((of(500), of(990), of(1_000)), (51.0, 100.0, 100.0));
        assert_eq!((quantile(&[], 500), median(vec![3.0, 1.0, 2.0])), (0.0, 2.0));
        assert_eq!((size(45_000), size(60)), ("45k".to_owned(), "60".to_owned()));
    }
}
