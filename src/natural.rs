//! The order that people expect of names: `n2` before `n10`.

use std::cmp::Ordering;

/// Names as people order them: `n2` before `n10`.
pub(crate) fn natural(one: &str, other: &str) -> Ordering {
    parts(one).cmp(parts(other)).then_with(|| one.cmp(other))
}

/// A name in turns of what is no number and of a number, which longer ones are greater than.
fn parts(name: &str) -> impl Iterator<Item = (&str, usize, &str)> {
    let mut rest = name;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let word = rest.find(|char: char| char.is_ascii_digit()).unwrap_or(rest.len());
        let (before, after) = rest.split_at(word);
        let end = after.find(|char: char| !char.is_ascii_digit()).unwrap_or(after.len());
        let (number, left) = after.split_at(end);
        rest = left;
        let number = number.trim_start_matches('0');
        Some((before, number.len(), number))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_in_names_count_by_their_value() {
        let mut names = ["n10", "n2", "m1", "n2-a", "n02", "gw", "n18446744073709551617", "n"];
        names.sort_by(|one, other| natural(one, other));
        assert_eq!(names, ["gw", "m1", "n", "n02", "n2", "n2-a", "n10", "n18446744073709551617"]);
    }
}
