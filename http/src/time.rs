//! Times at the edge: RFC 3339 in UTC, to the millisecond.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use kraken_engine::time::Millis;

/// A moment as text, such as `2026-11-20T11:45:18.000Z`.
pub fn format(at: Millis) -> String {
    /// The last millisecond of the year 9999: what the format can hold.
    const LAST_MS: u64 = 253_402_300_799_999;
    let since = Duration::from_millis(at.get().min(LAST_MS));
    humantime::format_rfc3339_millis(UNIX_EPOCH + since).to_string()
}

/// A moment from text; `None` where it is no RFC 3339 time of this era.
pub fn parse(text: &str) -> Option<Millis> {
    let time: SystemTime = humantime::parse_rfc3339(text).ok()?;
    Some(Millis::ZERO.after(time.duration_since(UNIX_EPOCH).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_survives_its_text() {
        for (ms, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (1_795_176_918_007, "2026-11-20T12:15:18.007Z"),
            (253_402_300_799_999, "9999-12-31T23:59:59.999Z"),
        ] {
            assert_eq!(format(Millis::new(ms)), text);
            assert_eq!(parse(text), Some(Millis::new(ms)));
        }
        assert_eq!(format(Millis::NEVER), "9999-12-31T23:59:59.999Z");
        assert_eq!(parse("yesterday"), None);
    }
}
