//! Times as people read and write them: how long ago, how long until, for how long.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A duration in the largest unit that fits, and the next one where that says something.
pub(crate) fn span(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let (minutes, hours, days) = (seconds / 60, seconds / 3_600, seconds / 86_400);
    match seconds {
        0..120 => format!("{seconds}s"),
        120..600 => format!("{minutes}m{}s", seconds % 60),
        600..7_200 => format!("{minutes}m"),
        7_200..172_800 => format!("{hours}h{}m", minutes % 60),
        _ => format!("{days}d{}h", hours % 24),
    }
}

/// How long ago an RFC 3339 time was; the time itself where it cannot be read.
pub(crate) fn since(time: &str, now: SystemTime) -> String {
    match parse(time) {
        Some(then) => span(now.duration_since(then).unwrap_or_default()),
        None => time.to_owned(),
    }
}

/// When an RFC 3339 time comes, such as `in 5s`; the time itself where it cannot be read.
pub(crate) fn until(time: &str, now: SystemTime) -> String {
    let left = |then: SystemTime| then.duration_since(now).unwrap_or_default();
    match parse(time).map(left) {
        Some(left) if left < Duration::from_secs(1) => "now".to_owned(),
        Some(left) => format!("in {}", span(left)),
        None => time.to_owned(),
    }
}

/// Reads `500ms`, `30s`, `5m`, `2h`; a bare number is seconds.
pub(crate) fn read(text: &str) -> Result<Duration, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let unit_ms = match unit {
        "ms" => 1,
        "" | "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return Err("write a number and ms, s, m or h, such as 30s".to_owned()),
    };
    let number: u64 = number.parse().map_err(|_| "write for example 30s or 5m".to_owned())?;
    number.checked_mul(unit_ms).map(Duration::from_millis).ok_or_else(|| "too long".to_owned())
}

fn parse(time: &str) -> Option<SystemTime> {
    Some(UNIX_EPOCH + Duration::from_millis(kraken_http::time::parse(time)?.get()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_short() {
        for (seconds, expected) in [
            (0, "0s"),
            (119, "119s"),
            (120, "2m0s"),
            (600, "10m"),
            (7_199, "119m"),
            (7_260, "2h1m"),
            (172_800, "2d0h"),
        ] {
            assert_eq!(span(Duration::from_secs(seconds)), expected);
        }
    }

    #[test]
    fn times_are_told_from_now() {
        let now = UNIX_EPOCH + Duration::from_mins(1);
        assert_eq!(since("1970-01-01T00:00:30.5Z", now), "29s");
        assert_eq!(until("1970-01-01T00:01:30Z", now), "in 30s");
        assert_eq!(until("1970-01-01T00:01:00.5Z", now), "now");
        assert_eq!(until("1970-01-01T00:00:30Z", now), "now");
        assert_eq!(since("yesterday", now), "yesterday");
    }

    #[test]
    fn times_are_read() {
        for (text, ms) in [("500ms", 500), ("30s", 30_000), ("30", 30_000), ("5m", 300_000)] {
            assert_eq!(read(text), Ok(Duration::from_millis(ms)), "{text}");
        }
        for text in ["", "s", "5 minutes", "-1s", "99999999999999999999h"] {
            assert!(read(text).is_err(), "{text}");
        }
    }
}
