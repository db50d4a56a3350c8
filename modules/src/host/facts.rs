//! Facts: what one look has found, by path, and how it differs from what was shown before.

use std::collections::BTreeMap;

use kraken_engine::{path::Path, value::Value};

/// What is shown of a machine.
pub(super) type Shown = BTreeMap<Path, Value>;
/// What is told of it; `None`: it is not known any more.
pub(super) type Report = Vec<(Path, Option<Value>)>;

/// What one look has found.
#[derive(Debug, Default)]
pub(super) struct Facts {
    values: Shown,
    skipped: i64,
}

impl Facts {
    /// Takes what was found at a path, if anything was; one without a leading `/` is below `/host`.
    pub(super) fn put<V: Into<Value>>(&mut self, key: &str, value: Option<V>) {
        if let (Some(value), Ok(path)) = (value, path_of(key)) {
            self.values.insert(path, value.into());
        }
    }

    /// Takes what was found of one thing of many. One whose name fits no path is counted.
    pub(super) fn put_all(&mut self, group: &str, name: &str, values: Vec<(&str, Option<Value>)>) {
        // A slash would make two segments of one name.
        if name.contains('/') || path_of(&format!("{group}/{name}")).is_err() {
            return self.skip(1);
        }
        for (key, value) in values {
            self.put(&format!("{group}/{name}/{key}"), value);
        }
    }

    /// Counts things that are left out.
    pub(super) fn skip(&mut self, count: usize) {
        self.skipped = self.skipped.saturating_add(i64::try_from(count).unwrap_or(i64::MAX));
    }
}

/// A whole number that was shown at a path below `/host`.
pub(super) fn shown_int(shown: &Shown, key: &str) -> Option<i64> {
    shown.get(path_of(key).ok()?.as_str())?.as_int()
}

/// What is to be shown from now on, and the report that says so: what was found, and as unknown
/// what was shown before and was not found any more.
pub(super) fn compare(shown: &Shown, mut facts: Facts) -> (Shown, Report) {
    let skipped = facts.skipped;
    facts.put("skipped", Some(skipped));
    let gone = shown.keys().filter(|path| !facts.values.contains_key(*path));
    let mut report: Report = gone.map(|path| (path.clone(), None)).collect();
    report.extend(facts.values.iter().map(|(path, value)| (path.clone(), Some(value.clone()))));
    (facts.values, report)
}

fn path_of(key: &str) -> Result<Path, kraken_engine::path::InvalidPath> {
    if key.starts_with('/') { Path::new(key) } else { Path::new(format!("/host/{key}")) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn found(names: &[&str]) -> Facts {
        let mut facts = Facts::default();
        for name in names {
            facts.put_all("disks", name, vec![("sizeBytes", Some(1.into())), ("model", None)]);
        }
        facts
    }

    fn texts(report: &[(Path, Option<Value>)]) -> Vec<String> {
        let text = |value: &Option<Value>| value.as_ref().map(ToString::to_string);
        report
            .iter()
            .map(|(path, value)| format!("{path} {}", text(value).as_deref().unwrap_or("unknown")))
            .collect()
    }

    #[test]
    fn what_is_gone_is_told_once() {
        let (first, report) = compare(&Shown::new(), found(&["sda", "sdb"]));
        assert_eq!(
            texts(&report),
            ["/host/disks/sda/sizeBytes 1", "/host/disks/sdb/sizeBytes 1", "/host/skipped 0"]
        );
        let (second, report) = compare(&first, found(&["sda"]));
        let gone =
            ["/host/disks/sdb/sizeBytes unknown", "/host/disks/sda/sizeBytes 1", "/host/skipped 0"];
        assert_eq!(texts(&report), gone);
        assert!(compare(&second, found(&["sda"])).1.iter().all(|(_, value)| value.is_some()));
    }

    #[test]
    fn names_that_fit_no_path_are_counted() {
        let (_, report) = compare(&Shown::new(), found(&["cciss!c0d0", "", "a/b", "ü", "sda"]));
        assert_eq!(texts(&report), ["/host/disks/sda/sizeBytes 1", "/host/skipped 4"]);
    }

    proptest! {
        #[test]
        fn no_name_makes_it_panic(name in ".{0,600}") {
            let (_, report) = compare(&Shown::new(), found(&[&name]));
            prop_assert!(!report.is_empty());
        }
    }
}
