//! Node sets: many names in few characters, as people who run clusters write them.
//!
//! `n[1-64,70]`, `rack[01-04]-n[1-2]`, `gw,n[1-8]`. Leading zeros are kept. [`expand`] gives the
//! names of a set, [`fold`] the set of names.

use std::collections::{BTreeMap, BTreeSet};

use crate::id::Name;

/// Most names of one node set.
pub const NODESET_NAMES_MAX: usize = 100_000;
/// Longest number of a range in digits.
const DIGITS_MAX: usize = 18;

/// A text is not a node set.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidNodeSet {
    /// Nothing between two commas, or nothing at all.
    #[error("a node set has an empty name; write for example n1 or n[1-64,70]")]
    Empty,
    /// A bracket without its partner, or one within another.
    #[error("{0:?} has brackets that do not match")]
    Brackets(String),
    /// Something in brackets that is no number and no range.
    #[error("{0:?} is neither a number nor a range such as 1-64 or 01-64")]
    Range(String),
    /// A range that ends before it starts.
    #[error("range {0:?} ends before it starts")]
    Backwards(String),
    /// A range with leading zeros whose ends differ in length.
    #[error("range {0:?} has leading zeros, so both ends need the same number of digits")]
    Padding(String),
    /// What a set stands for is no name.
    #[error(transparent)]
    Name(#[from] crate::id::InvalidId),
    /// More than [`NODESET_NAMES_MAX`] names.
    #[error("a node set is limited to {NODESET_NAMES_MAX} names")]
    TooMany,
}

/// The names that a node set stands for, as written, each once.
pub fn expand(text: &str) -> Result<Vec<Name>, InvalidNodeSet> {
    let mut names = Vec::new();
    let mut seen = BTreeSet::new();
    let mut room = NODESET_NAMES_MAX;
    for item in split(text)? {
        let expanded = expand_item(item.trim(), room)?;
        room -= expanded.len();
        for name in expanded {
            let name = Name::new(name)?;
            if seen.insert(name.clone()) {
                names.push(name);
            }
        }
    }
    Ok(names)
}

/// Splits at the commas outside of brackets.
fn split(text: &str) -> Result<Vec<&str>, InvalidNodeSet> {
    let mut items = Vec::new();
    let mut inside = false;
    let mut start = 0;
    for (at, char) in text.char_indices() {
        match char {
            '[' | ']' if inside == (char == '[') => {
                return Err(InvalidNodeSet::Brackets(shorten(text)));
            }
            '[' | ']' => inside = char == '[',
            ',' if !inside => {
                items.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    if inside {
        return Err(InvalidNodeSet::Brackets(shorten(text)));
    }
    items.push(&text[start..]);
    Ok(items)
}

/// The texts of one item without commas outside of brackets, at most `room` of them.
fn expand_item(item: &str, room: usize) -> Result<Vec<String>, InvalidNodeSet> {
    if item.is_empty() {
        return Err(InvalidNodeSet::Empty);
    }
    let mut names = vec![String::new()];
    let mut rest = item;
    while !rest.is_empty() {
        let (plain, bracket) = rest.split_once('[').unwrap_or((rest, ""));
        for name in &mut names {
            name.push_str(plain);
        }
        if plain.len() == rest.len() {
            break;
        }
        let (ranges, after) = bracket.split_once(']').unwrap_or((bracket, ""));
        let numbers = numbers(ranges, room / names.len().max(1))?;
        names = names
            .iter()
            .flat_map(|name| numbers.iter().map(move |number| format!("{name}{number}")))
            .collect();
        rest = after;
    }
    if names.len() > room { Err(InvalidNodeSet::TooMany) } else { Ok(names) }
}

/// The numbers of `1-4,7` as texts, at most `room` of them.
fn numbers(ranges: &str, room: usize) -> Result<Vec<String>, InvalidNodeSet> {
    let mut numbers = Vec::new();
    for range in ranges.split(',').map(str::trim) {
        let (low_text, high_text) = range.split_once('-').unwrap_or((range, range));
        let (low, high) = (number(low_text, range)?, number(high_text, range)?);
        let padded = is_padded(low_text) || is_padded(high_text);
        if padded && low_text.len() != high_text.len() {
            return Err(InvalidNodeSet::Padding(shorten(range)));
        }
        if low > high {
            return Err(InvalidNodeSet::Backwards(shorten(range)));
        }
        let left = room.saturating_sub(numbers.len());
        if high - low >= u64::try_from(left).unwrap_or(u64::MAX) {
            return Err(InvalidNodeSet::TooMany);
        }
        let width = low_text.len();
        numbers.extend((low..=high).map(|number| format!("{number:0width$}")));
    }
    Ok(numbers)
}

fn number(text: &str, range: &str) -> Result<u64, InvalidNodeSet> {
    let plain = text.len() <= DIGITS_MAX && text.bytes().all(|byte| byte.is_ascii_digit());
    let invalid = || InvalidNodeSet::Range(shorten(range));
    if plain { text.parse().map_err(|_| invalid()) } else { Err(invalid()) }
}

fn is_padded(text: &str) -> bool {
    text.len() > 1 && text.starts_with('0')
}

fn shorten(text: &str) -> String {
    text.chars().take(64).collect()
}

/// A number as it stands in names: its value first, for the order, then its length in digits.
type Digits = (u64, usize);

/// Names that differ in their numbers only: the text between the numbers, and for each place of a
/// number all that stand there. Means every combination.
type Folded = BTreeSet<(Vec<String>, Vec<BTreeSet<Digits>>)>;

/// The node set that stands for these names: sorted, shortest where names differ in one number.
pub fn fold<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    let mut folded: Folded = names.into_iter().map(cut).collect();
    let places = folded.iter().map(|(_, numbers)| numbers.len()).max().unwrap_or(0);
    for place in (0..places).rev() {
        folded = fold_place(folded, place);
    }
    let items: Vec<String> = folded.iter().map(|(texts, numbers)| write(texts, numbers)).collect();
    items.join(",")
}

/// Cuts `rack1-n02` into its texts and its numbers.
fn cut(name: &str) -> (Vec<String>, Vec<BTreeSet<Digits>>) {
    let (mut texts, mut numbers) = (vec![String::new()], Vec::new());
    let mut rest = name;
    while let Some(head) = rest.chars().next() {
        let is_digit = head.is_ascii_digit();
        let end = rest.find(|c: char| c.is_ascii_digit() != is_digit).unwrap_or(rest.len());
        let (part, after) = rest.split_at(end);
        match part.parse() {
            Ok(value) if is_digit && part.len() <= DIGITS_MAX => {
                numbers.push(BTreeSet::from([(value, part.len())]));
                texts.push(String::new());
            }
            _ => texts.iter_mut().last().into_iter().for_each(|text| text.push_str(part)),
        }
        rest = after;
    }
    (texts, numbers)
}

/// Joins what differs at one place only.
fn fold_place(folded: Folded, place: usize) -> Folded {
    let mut joined: BTreeMap<_, BTreeSet<Digits>> = BTreeMap::new();
    for (texts, mut numbers) in folded {
        let here = numbers.get_mut(place).map(std::mem::take).unwrap_or_default();
        joined.entry((texts, numbers)).or_default().extend(here);
    }
    joined
        .into_iter()
        .map(|((texts, mut numbers), here)| {
            numbers.iter_mut().skip(place).take(1).for_each(|number| number.clone_from(&here));
            (texts, numbers)
        })
        .collect()
}

fn write(texts: &[String], numbers: &[BTreeSet<Digits>]) -> String {
    let number = |place: usize| match numbers.get(place) {
        Some(one) if one.len() == 1 => ranges(one),
        Some(many) => format!("[{}]", ranges(many)),
        None => String::new(),
    };
    texts.iter().enumerate().flat_map(|(place, text)| [text.clone(), number(place)]).collect()
}

fn ranges(numbers: &BTreeSet<Digits>) -> String {
    let mut ranges: Vec<(Digits, Digits)> = Vec::new();
    for next in numbers {
        match ranges.last_mut() {
            Some((low, high)) if follows(*low, *high, *next) => *high = *next,
            _ => ranges.push((*next, *next)),
        }
    }
    let text = |(value, width): Digits| format!("{value:0width$}");
    let range = |(low, high): (Digits, Digits)| {
        if low == high { text(low) } else { format!("{}-{}", text(low), text(high)) }
    };
    ranges.into_iter().map(range).collect::<Vec<String>>().join(",")
}

/// Whether `next` may extend the range from `low` to `high`.
fn follows(low: Digits, high: Digits, next: Digits) -> bool {
    let plain = |digits: Digits| digits.0.to_string().len() == digits.1;
    high.0 + 1 == next.0 && (high.1 == next.1 || (plain(low) && plain(next)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn names(text: &str) -> Vec<String> {
        expand(text).unwrap().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_set_stands_for_its_names() {
        for (text, expected) in [
            ("n1", "n1"),
            ("n[1-3,7]", "n1 n2 n3 n7"),
            ("n[08-10]", "n08 n09 n10"),
            ("n[9-11]", "n9 n10 n11"),
            ("r[1-2]-n[01-02]", "r1-n01 r1-n02 r2-n01 r2-n02"),
            ("gw, n[1-2]x", "gw n1x n2x"),
            ("n[1-2],n[2-3]", "n1 n2 n3"),
            ("n[0-0]", "n0"),
        ] {
            assert_eq!(names(text).join(" "), expected, "{text}");
        }
    }

    #[test]
    fn errors_name_what_is_wrong() {
        for (text, expected) in [
            ("", "a node set has an empty name; write for example n1 or n[1-64,70]"),
            ("n1,", "a node set has an empty name; write for example n1 or n[1-64,70]"),
            ("n[1-2", "\"n[1-2\" has brackets that do not match"),
            ("n1]", "\"n1]\" has brackets that do not match"),
            ("n[[1]]", "\"n[[1]]\" has brackets that do not match"),
            ("n[]", "\"\" is neither a number nor a range such as 1-64 or 01-64"),
            ("n[1-x]", "\"1-x\" is neither a number nor a range such as 1-64 or 01-64"),
            ("n[1--2]", "\"1--2\" is neither a number nor a range such as 1-64 or 01-64"),
            ("n[5-2]", "range \"5-2\" ends before it starts"),
            (
                "n[01-100]",
                "range \"01-100\" has leading zeros, so both ends need the same number of digits",
            ),
            ("n[1-99999999999]", "a node set is limited to 100000 names"),
        ] {
            assert_eq!(expand(text).unwrap_err().to_string(), expected, "{text}");
        }
        assert!(matches!(expand("-[1-2]"), Err(InvalidNodeSet::Name(_))));
    }

    #[test]
    fn the_limit_of_names_holds() {
        assert_eq!(expand("n[1-100000]").unwrap().len(), NODESET_NAMES_MAX);
        assert_eq!(expand("r[1-100]n[1-1000]").unwrap().len(), NODESET_NAMES_MAX);
        for text in
            ["n[1-100001]", "n[1-100000],m", "r[1-101]n[1-1000]", "a[1-999]b[1-999]c[1-999]"]
        {
            assert_eq!(expand(text), Err(InvalidNodeSet::TooMany), "{text}");
        }
    }

    #[test]
    fn folding_is_short() {
        for (list, expected) in [
            ("", ""),
            ("n1", "n1"),
            ("n3 n1 n2 n70", "n[1-3,70]"),
            ("n8 n9 n10 n11", "n[8-11]"),
            ("n08 n09 n10", "n[08-10]"),
            ("n98 n99 n100", "n[98-100]"),
            ("n098 n099 n100", "n[098-100]"),
            ("n1 n01", "n[1,01]"),
            ("r1-n1 r1-n2 r2-n1 r2-n2", "r[1-2]-n[1-2]"),
            ("r1-n1 r1-n2 r2-n1", "r1-n[1-2],r2-n1"),
            ("gw login1 login2", "gw,login[1-2]"),
        ] {
            assert_eq!(fold(list.split_whitespace()), expected, "{list}");
        }
    }

    proptest! {
        #[test]
        fn folding_and_expanding_gives_the_same_names(
            list in prop::collection::btree_set("[ab][0-9]{0,3}(-[0-9]{1,2}){0,2}", 0..40),
        ) {
            let folded = fold(list.iter().map(String::as_str));
            let again: BTreeSet<String> = match folded.as_str() {
                "" => BTreeSet::new(),
                folded => names(folded).into_iter().collect(),
            };
            prop_assert_eq!(again, list, "{}", folded);
        }

        #[test]
        fn no_text_panics(text in "[n0-9,\\[\\]\\- ]{0,24}") {
            let _ = expand(&text);
        }
    }
}
