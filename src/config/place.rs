//! Where in a TOML text something stands: the key that an error means, the line of a key.

use std::ops::Range;

use toml::de::{DeTable, DeValue};

/// The dotted key whose name or value holds the byte at `at`, the innermost one.
pub(super) fn key_at(text: &str, at: usize) -> Option<String> {
    let (table, _) = DeTable::parse_recoverable(text);
    let mut found = None;
    walk(table.get_ref(), "", &mut |key, spans| {
        if spans.iter().any(|span| span.start <= at && at < span.end.max(span.start + 1)) {
            found = Some(key.to_owned());
        }
    });
    found
}

/// The line of a dotted key, from 1.
pub(super) fn line_of(text: &str, key: &str) -> Option<usize> {
    let (table, _) = DeTable::parse_recoverable(text);
    let mut found = None;
    walk(table.get_ref(), "", &mut |here, [name, _]| {
        if here == key {
            found = Some(line_at(text, name.start));
        }
    });
    found
}

/// The line of the byte at `at`, from 1.
pub(super) fn line_at(text: &str, at: usize) -> usize {
    text.bytes().take(at).filter(|byte| *byte == b'\n').count() + 1
}

/// Visits every key, outer before inner, with the places of its name and of its value.
fn walk(table: &DeTable<'_>, above: &str, visit: &mut dyn FnMut(&str, [Range<usize>; 2])) {
    for (name, value) in table {
        let key = match above {
            "" => name.get_ref().to_string(),
            above => format!("{above}.{}", name.get_ref()),
        };
        visit(&key, [name.span(), value.span()]);
        if let DeValue::Table(inner) = value.get_ref() {
            walk(inner, &key, visit);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "[http]\nlisten = \"x\"\n\n[modules.service]\nlogs = { keep = 3 }\n";

    #[test]
    fn a_place_in_the_text_has_its_key() {
        for (needle, expected) in [
            ("listen", Some("http.listen")),
            ("\"x\"", Some("http.listen")),
            ("keep", Some("modules.service.logs.keep")),
            ("3", Some("modules.service.logs.keep")),
        ] {
            let at = TEXT.find(needle).unwrap();
            assert_eq!(key_at(TEXT, at).as_deref(), expected, "{needle}");
        }
    }

    #[test]
    fn a_key_has_its_line() {
        assert_eq!(line_of(TEXT, "http.listen"), Some(2));
        assert_eq!(line_of(TEXT, "modules.service.logs.keep"), Some(5));
        assert_eq!(line_of(TEXT, "http.insecure"), None);
    }
}
