//! What somebody who mistyped a word may have meant, so that an error can say it.

use strsim::osa_distance;

/// The known word that is nearest to what was given, if it is near: the same but for case and
/// separators, or not more than a third of its letters apart.
pub fn nearest<'a>(given: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let given = plain(given);
    let apart = |word: &str| {
        let word = plain(word);
        let apart = osa_distance(&word, &given);
        (apart * 3 <= word.chars().count().min(given.chars().count())).then_some(apart)
    };
    let near = known.into_iter().filter_map(|word| Some((apart(word)?, word)));
    near.filter(|_| !given.is_empty()).min().map(|(_, word)| word)
}

/// The same, or else the first known word of which what was given is a part.
pub fn nearest_or_longer<'a>(given: &str, known: &[&'a str]) -> Option<&'a str> {
    let part = plain(given);
    let is_longer = |word: &&&str| !part.is_empty() && plain(word).contains(&part);
    nearest(given, known.iter().copied()).or_else(|| known.iter().find(is_longer).copied())
}

/// A word without what people take for the same.
fn plain(word: &str) -> String {
    word.to_ascii_uppercase().replace(['-', '_', ' '], "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_near_is_found_and_what_is_far_is_not() {
        let states = ["RUN", "STOP", "INIT", "POWER_ON", "POWER_OFF"];
        for (given, expected) in [
            ("run", Some("RUN")),
            ("STOPP", Some("STOP")),
            ("RNU", Some("RUN")),
            ("STPO", Some("STOP")),
            ("poweron", Some("POWER_ON")),
            ("WALK", None),
            ("ON", None),
            ("", None),
        ] {
            assert_eq!(nearest(given, states), expected, "{given}");
        }
        assert_eq!(nearest_or_longer("ON", &states), Some("POWER_ON"));
        assert_eq!(nearest_or_longer("-", &states), None);
        let paths = ["/services/web/state", "/services/web/spec"];
        assert_eq!(nearest("/servces/web/sate", paths), Some("/services/web/state"));
        assert_eq!(nearest("/colour", paths), None);
    }
}
