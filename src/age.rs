//! Times as people read them: how long ago, how long until.

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

/// How long it is until an RFC 3339 time; the time itself where it cannot be read.
pub(crate) fn until(time: &str, now: SystemTime) -> String {
    match parse(time) {
        Some(then) => span(then.duration_since(now).unwrap_or_default()),
        None => time.to_owned(),
    }
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
        assert_eq!(until("1970-01-01T00:01:30Z", now), "30s");
        assert_eq!(since("yesterday", now), "yesterday");
    }
}
