//! Maintenance windows and spans of time, as policies write them: `Sat 02:00-06:00 UTC`, `10m`.
//!
//! | part | what may stand there |
//! |---|---|
//! | windows | one or more windows, with commas between |
//! | window | days, then times, then `UTC`, which may be left out |
//! | days | `daily`, a day as `Sat`, or a range of days as `Mon-Fri` |
//! | times | `HH:MM-HH:MM`; `24:00` is midnight; an end before its start is on the next day |
//! | span | a whole number and a unit: `s`, `m`, `h`, `d` |

use std::{fmt, time::Duration};

use crate::time::Millis;

/// Most windows of one policy.
pub const WINDOWS_MAX: usize = 32;
/// The longest span that a policy may name, in milliseconds: 30 days.
pub const SPAN_MS_MAX: u64 = 30 * DAY_MS;

const DAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
const MINUTE_MS: u64 = 60_000;
const DAY_MINUTES: u64 = 24 * 60;
const DAY_MS: u64 = DAY_MINUTES * MINUTE_MS;
const WEEK_MINUTES: u64 = 7 * DAY_MINUTES;

/// One recurring span of the week, in UTC.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Window {
    /// First day, 0 is Monday.
    first: u64,
    /// How many days it recurs on, from the first.
    days: u64,
    /// Minute of the day at which it opens.
    opens: u64,
    /// For how many minutes it stays open; at least 1, at most a day.
    lasts: u64,
    text: String,
}

impl Window {
    /// Reads windows, with commas between them. The error says what would be right.
    pub fn list(text: &str) -> Result<Vec<Self>, String> {
        let windows = text.split(',').map(|part| {
            Self::read(part.trim()).ok_or_else(|| {
                format!("{:?} is not a window: write it as Sat 02:00-06:00 UTC", part.trim())
            })
        });
        let windows: Vec<Self> = windows.collect::<Result<_, _>>()?;
        if windows.len() > WINDOWS_MAX {
            return Err(format!("the number of windows is limited to {WINDOWS_MAX}"));
        }
        Ok(windows)
    }

    fn read(text: &str) -> Option<Self> {
        let mut words = text.split_whitespace();
        let (first, days) = days(words.next()?)?;
        let (opens, closes) = words.next()?.split_once('-')?;
        let (opens, closes) = (minute(opens)?, minute(closes)?);
        let rest: Vec<&str> = words.collect();
        if opens == DAY_MINUTES || opens == closes || !matches!(rest[..], [] | ["UTC"]) {
            return None;
        }
        let lasts = if closes > opens { closes - opens } else { closes + DAY_MINUTES - opens };
        Some(Self { first, days, opens, lasts, text: text.to_owned() })
    }

    /// Whether it is open at a moment.
    pub fn is_open(&self, now: Millis) -> bool {
        self.starts().any(|start| since(start, now) < self.lasts * MINUTE_MS)
    }

    /// When it opens next after a moment at which it is closed.
    pub fn opens_after(&self, now: Millis) -> Millis {
        let week = WEEK_MINUTES * MINUTE_MS;
        let until = self.starts().map(|start| week - since(start, now)).min();
        now.after_ms(until.unwrap_or(week))
    }

    /// The minutes of the week at which it opens.
    fn starts(&self) -> impl Iterator<Item = u64> {
        (0..self.days).map(|day| (self.first + day) % 7 * DAY_MINUTES + self.opens)
    }
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Milliseconds since a minute of the week last came.
fn since(start: u64, now: Millis) -> u64 {
    let week = WEEK_MINUTES * MINUTE_MS;
    (week_ms(now) + week - start * MINUTE_MS) % week
}

/// Milliseconds since the last Monday began. The epoch was a Thursday.
fn week_ms(now: Millis) -> u64 {
    (now.get() % (WEEK_MINUTES * MINUTE_MS) + 3 * DAY_MS) % (WEEK_MINUTES * MINUTE_MS)
}

/// A moment as people plan with it: day of the week and time, in UTC.
pub fn day_and_time(at: Millis) -> String {
    let ms = week_ms(at);
    let minutes = ms % DAY_MS / MINUTE_MS;
    let day = usize::try_from(ms / DAY_MS).ok().and_then(|day| DAYS.get(day)).unwrap_or(&"");
    format!("{day} {:02}:{:02} UTC", minutes / 60, minutes % 60)
}

fn days(text: &str) -> Option<(u64, u64)> {
    let day = |text: &str| DAYS.iter().zip(0_u64..).find(|(day, _)| **day == text).map(|(_, n)| n);
    if text == "daily" {
        return Some((0, 7));
    }
    match text.split_once('-') {
        Some((first, last)) => {
            let (first, last) = (day(first)?, day(last)?);
            Some((first, (last + 7 - first) % 7 + 1))
        }
        None => Some((day(text)?, 1)),
    }
}

fn minute(text: &str) -> Option<u64> {
    let (hour, minute) = text.split_once(':')?;
    let two = |text: &str| (text.len() == 2).then(|| text.parse::<u64>().ok()).flatten();
    let (hour, minute) = (two(hour)?, two(minute)?);
    let of_day = hour * 60 + minute;
    (minute < 60 && of_day <= DAY_MINUTES).then_some(of_day)
}

/// Reads a span of time such as `90s`, `10m`, `2h` or `1d`.
pub fn span(text: &str) -> Option<Duration> {
    let text = text.trim();
    let unit_ms = match text.chars().last()? {
        's' => 1_000,
        'm' => MINUTE_MS,
        'h' => 60 * MINUTE_MS,
        'd' => DAY_MS,
        _ => return None,
    };
    let ms = text[..text.len() - 1].parse::<u64>().ok()?.checked_mul(unit_ms)?;
    (ms <= SPAN_MS_MAX).then_some(Duration::from_millis(ms))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-11-21 00:00 UTC, a Saturday.
    const SATURDAY: u64 = 1_795_219_200_000;

    fn at(hours: u64, minutes: u64) -> Millis {
        Millis::new(SATURDAY + (hours * 60 + minutes) * MINUTE_MS)
    }

    #[test]
    fn a_window_is_open_from_its_start_until_its_end() {
        for (text, now, open) in [
            ("Sat 02:00-06:00 UTC", at(1, 59), false),
            ("Sat 02:00-06:00 UTC", at(2, 0), true),
            ("Sat 02:00-06:00", at(5, 59), true),
            ("Sat 02:00-06:00 UTC", at(6, 0), false),
            ("Fri 22:00-04:00 UTC", at(3, 0), true),
            ("Fri 22:00-04:00 UTC", at(4, 0), false),
            ("Sun 22:00-04:00 UTC", at(3, 0), false),
            ("Mon-Fri 00:00-24:00 UTC", at(3, 0), false),
            ("Fri-Mon 00:00-24:00 UTC", at(3, 0), true),
            ("daily 03:00-03:01 UTC", at(3, 0), true),
            ("Mon 01:00-02:00, Sat 02:00-06:00", at(3, 0), true),
        ] {
            let windows = Window::list(text).unwrap();
            assert_eq!(windows.iter().any(|window| window.is_open(now)), open, "{text} {now}");
        }
    }

    #[test]
    fn a_closed_window_says_when_it_opens() {
        for (text, expected) in [
            ("Sat 02:00-06:00 UTC", "Sat 02:00 UTC"),
            ("Fri 22:00-23:00 UTC", "Fri 22:00 UTC"),
            ("Mon-Fri 04:30-05:00", "Mon 04:30 UTC"),
            ("daily 00:00-01:00", "Sun 00:00 UTC"),
        ] {
            let window = &Window::list(text).unwrap()[0];
            let opens = window.opens_after(at(1, 0));
            assert_eq!(day_and_time(opens), expected, "{text}");
            assert!(window.is_open(opens) && !window.is_open(Millis::new(opens.get() - 1)));
        }
    }

    #[test]
    fn what_is_no_window_is_refused() {
        for text in [
            "",
            "Sat",
            "sat 02:00-06:00",
            "Sat 2:00-6:00",
            "Sat 02:00-02:00",
            "Sat 24:00-01:00",
            "Sat 02:60-03:00",
            "Sat 02:00-25:00",
            "Sat 02:00-06:00 CET",
            "Sat-02:00-06:00",
        ] {
            assert!(Window::list(text).is_err(), "{text}");
        }
        let many = vec!["Sat 02:00-06:00"; WINDOWS_MAX + 1].join(",");
        assert!(Window::list(&many).is_err());
        assert!(Window::list(&vec!["Sat 02:00-06:00"; WINDOWS_MAX].join(",")).is_ok());
    }

    #[test]
    fn spans_have_a_unit_and_a_limit() {
        assert_eq!(span("90s"), Some(Duration::from_secs(90)));
        assert_eq!(span("10m"), Some(Duration::from_mins(10)));
        assert_eq!(span("30d"), Some(Duration::from_millis(SPAN_MS_MAX)));
        for text in ["31d", "10", "m", "", "1.5h", "-1s", "ä"] {
            assert_eq!(span(text), None, "{text}");
        }
    }
}
