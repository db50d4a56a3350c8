//! The dashboard among the examples shows what members tell, and nothing that they do not.

use std::collections::BTreeSet;

use serde_json::Value as Json;

/// The dashboard as Grafana imports it.
const DASHBOARD: &str = include_str!("../../../examples/grafana.json");
/// Where each metric is described.
const DESCRIBED: &str = include_str!("../metrics.rs");
/// What every metric's name begins with.
const PREFIX: &str = "kraken_";

/// The names of metrics in a query.
fn metrics(query: &str) -> impl Iterator<Item = &str> {
    let words = query.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    words.filter(|word| word.starts_with(PREFIX))
}

/// All metrics that are described.
fn described() -> BTreeSet<&'static str> {
    DESCRIBED.split('"').filter(|word| word.starts_with(PREFIX)).collect()
}

#[test]
fn the_dashboard_shows_each_metric_that_is_told_and_no_other() {
    let dashboard: Json = serde_json::from_str(DASHBOARD).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let targets = panels.iter().flat_map(|panel| panel["targets"].as_array().unwrap());
    let queries: Vec<&str> = targets.map(|target| target["expr"].as_str().unwrap()).collect();
    let shown: BTreeSet<&str> = queries.iter().flat_map(|query| metrics(query)).collect();
    let known = described();
    for metric in &shown {
        let name = metric.strip_suffix("_bucket").unwrap_or(metric);
        assert!(known.contains(name), "{metric} is not described in metrics.rs");
    }
    for metric in known {
        let is_shown = shown.iter().any(|shown| shown.strip_suffix("_bucket") == Some(metric));
        assert!(is_shown || shown.contains(metric), "no panel shows {metric}");
    }
}
