//! Shares: a count or a percentage, as policies say how many.

use std::fmt;

use crate::value::Value;

/// So many, or so many of a hundred.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Share {
    /// So many objects.
    Count(u32),
    /// So many of a hundred objects, from 0 to 100.
    Percent(u8),
}

impl Share {
    /// Reads a share as it stands in Cfg: a whole number, or a text such as `10%`. The error says
    /// what would be right.
    pub fn of_value(value: &Value) -> Result<Self, String> {
        let read = match value {
            Value::Int(count) => u32::try_from(*count).ok().map(Self::Count),
            Value::Str(text) => Self::of_text(text),
            Value::Bool(_) | Value::Float(_) | Value::List(_) => None,
        };
        read.ok_or_else(|| format!("{value} is neither a count such as 2 nor a share such as 10%"))
    }

    /// Reads a share as a person writes it: `2` or `10%`.
    pub fn of_text(text: &str) -> Option<Self> {
        match text.trim().strip_suffix('%') {
            Some(percent) => {
                percent.parse().ok().filter(|percent| *percent <= 100).map(Self::Percent)
            }
            None => text.trim().parse().ok().map(Self::Count),
        }
    }

    /// The most that a limit lets through of `total`: rounded down, but one where it is more than
    /// 0 %, for a limit of none would be a freeze.
    pub fn at_most(self, total: u32) -> u32 {
        match self {
            Self::Count(count) => count,
            Self::Percent(0) => 0,
            Self::Percent(percent) => scaled(percent, total, 0).max(1),
        }
    }

    /// How many a demand asks for of `total`: rounded up.
    pub fn at_least(self, total: u32) -> u32 {
        match self {
            Self::Count(count) => count,
            Self::Percent(percent) => scaled(percent, total, 99),
        }
    }
}

fn scaled(percent: u8, total: u32, round: u64) -> u32 {
    let scaled = (u64::from(total) * u64::from(percent) + round) / 100;
    u32::try_from(scaled).unwrap_or(u32::MAX)
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Count(count) => count.fmt(f),
            Self::Percent(percent) => write!(f, "{percent}%"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_rounds_down_to_one_at_least_and_a_demand_rounds_up() {
        for (text, total, most, least) in [
            ("2", 100, 2, 2),
            ("0", 100, 0, 0),
            ("0%", 100, 0, 0),
            ("10%", 100, 10, 10),
            ("10%", 19, 1, 2),
            ("10%", 5, 1, 1),
            ("100%", 7, 7, 7),
            ("34%", 3, 1, 2),
        ] {
            let share = Share::of_text(text).unwrap();
            assert_eq!((share.at_most(total), share.at_least(total)), (most, least), "{text}");
            assert_eq!(share.to_string(), text);
        }
    }

    #[test]
    fn what_is_no_share_is_refused() {
        for value in [Value::from("101%"), "-1".into(), "a".into(), "".into(), Value::Int(-1)] {
            assert!(Share::of_value(&value).is_err(), "{value}");
        }
        assert_eq!(Share::of_value(&Value::Int(3)), Ok(Share::Count(3)));
        assert_eq!(Share::of_value(&"3".into()), Ok(Share::Count(3)));
    }
}
