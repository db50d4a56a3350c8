//! What clients say of media types and codings, and what of it can be met: the headers `Accept`,
//! `Accept-Encoding` and `Content-Type`.

use warp::http::{
    HeaderMap, HeaderName,
    header::{ACCEPT, ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_TYPE},
};

/// JSON.
pub(crate) const JSON: &str = "application/json";
/// Lines of JSON.
pub(crate) const NDJSON: &str = "application/x-ndjson";
/// Server-sent events.
pub(crate) const SSE: &str = "text/event-stream";
/// JSON in which null unsets, RFC 7386.
pub(crate) const MERGE_PATCH: &str = "application/merge-patch+json";
/// YAML, RFC 9512, and what it was called before.
pub(crate) const YAML: [&str; 4] =
    ["application/yaml", "text/yaml", "application/x-yaml", "text/x-yaml"];
/// What curl and browsers say of a body of which nobody has said anything.
const UNSAID: [&str; 2] = ["application/x-www-form-urlencoded", "text/plain"];

/// How much something is wanted, in thousandths; 0 is not at all.
type Quality = u16;
const FULL: Quality = 1_000;

/// Which of what is offered a client wants most, the first of those that it wants alike; nothing
/// where it takes none of them. A client that says nothing takes everything.
pub(crate) fn wanted<'a>(headers: &HeaderMap, offered: &[&'a str]) -> Option<&'a str> {
    let asked = said(headers, &ACCEPT);
    if asked.is_empty() {
        return offered.first().copied();
    }
    let weighed = offered.iter().map(|offer| (quality(&asked, offer), *offer));
    // The first of the greatest: of equals `max_by_key` takes the last.
    let best = weighed.rev().max_by_key(|(quality, _)| *quality);
    best.filter(|(quality, _)| *quality > 0).map(|(_, offer)| offer)
}

/// Whether a client takes gzip, and no other form rather than that.
pub(crate) fn takes_gzip(headers: &HeaderMap) -> bool {
    let asked = said(headers, &ACCEPT_ENCODING);
    let of = |name: &str| asked.iter().find(|(said, _)| said == name).map(|(_, quality)| *quality);
    let gzip = of("gzip").or_else(|| of("x-gzip")).or_else(|| of("*")).unwrap_or_default();
    gzip > 0 && gzip >= of("identity").unwrap_or_default()
}

/// What is said of a body that is none of what can be read; nothing where it can be, or where
/// nothing is said.
pub(crate) fn unreadable(headers: &HeaderMap, readable: &[&str]) -> Option<String> {
    let text = |name: &HeaderName| {
        let value = headers.get(name)?;
        Some(value.to_str().unwrap_or("what is no text").trim().to_ascii_lowercase())
    };
    let coding = text(&CONTENT_ENCODING).filter(|coding| coding != "identity");
    if let Some(coding) = coding.filter(|coding| !coding.is_empty()) {
        return Some(coding);
    }
    let essence = text(&CONTENT_TYPE)?.split(';').next().unwrap_or_default().trim().to_owned();
    let is_said = !essence.is_empty() && !UNSAID.contains(&essence.as_str());
    (is_said && !readable.contains(&essence.as_str())).then_some(essence)
}

/// The items of a header, in lower case and without parameters, each with its quality.
fn said(headers: &HeaderMap, name: &HeaderName) -> Vec<(String, Quality)> {
    let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    let items = values.flat_map(|value| value.split(','));
    let item = |item: &str| {
        let mut parts = item.split(';').map(str::trim);
        let name = parts.next().filter(|name| !name.is_empty())?.to_ascii_lowercase();
        let quality = parts.find_map(|part| part.strip_prefix("q=").or(part.strip_prefix("Q=")));
        Some((name, quality.map_or(FULL, thousandths)))
    };
    items.filter_map(item).collect()
}

/// A quality as it is written, from `0` to `1.000`; what is none is full.
fn thousandths(text: &str) -> Quality {
    let (whole, fraction) = text.trim().split_once('.').unwrap_or((text.trim(), ""));
    let fraction = format!("{fraction:0<3}");
    match (whole, fraction.get(..3).and_then(|digits| digits.parse::<Quality>().ok())) {
        ("0", Some(thousandths)) => thousandths,
        _ => FULL,
    }
}

/// How much an offer is wanted: what is said of itself counts, else what is said of its type, else
/// what is said of all.
fn quality(asked: &[(String, Quality)], offer: &str) -> Quality {
    let of_type = offer.split_once('/').map(|(of_type, _)| format!("{of_type}/*"));
    let names = [Some(offer.to_owned()), of_type, Some("*/*".to_owned())];
    let of = |name: String| asked.iter().find(|(said, _)| *said == name).map(|(_, q)| *q);
    names.into_iter().flatten().find_map(of).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use warp::http::HeaderValue;

    use super::*;

    fn headers(pairs: &[(HeaderName, &'static str)]) -> HeaderMap {
        let pair = |(name, value): &(HeaderName, &'static str)| {
            (name.clone(), HeaderValue::from_static(value))
        };
        pairs.iter().map(pair).collect()
    }

    #[test]
    fn what_is_wanted_most_is_given_and_nothing_where_none_is() {
        let offered = [NDJSON, SSE];
        for (accept, expected) in [
            ("", Some(NDJSON)),
            ("*/*", Some(NDJSON)),
            ("text/event-stream", Some(SSE)),
            ("Text/Event-Stream", Some(SSE)),
            ("text/*", Some(SSE)),
            ("text/event-stream;q=0.4, application/x-ndjson;q=0.5", Some(NDJSON)),
            ("text/event-stream;q=0.5, */*;q=0.1", Some(SSE)),
            ("application/x-ndjson;q=0, */*", Some(SSE)),
            ("text/html, application/xhtml+xml", None),
            ("text/event-stream;q=0", None),
            (",;,", Some(NDJSON)),
        ] {
            assert_eq!(wanted(&headers(&[(ACCEPT, accept)]), &offered), expected, "{accept:?}");
        }
        assert_eq!(wanted(&HeaderMap::new(), &offered), Some(NDJSON));
    }

    #[test]
    fn gzip_is_taken_only_by_who_asks_for_it() {
        for (asked, expected) in [
            ("gzip", true),
            ("deflate, GZIP;q=0.5", true),
            ("*", true),
            ("br, x-gzip", true),
            ("", false),
            ("br", false),
            ("gzip;q=0", false),
            ("gzip;q=0.000, *", false),
            ("gzip;q=0.2, identity;q=0.9", false),
        ] {
            let headers = headers(&[(ACCEPT_ENCODING, asked)]);
            assert_eq!(takes_gzip(&headers), expected, "{asked:?}");
        }
        assert!(!takes_gzip(&HeaderMap::new()));
    }

    #[test]
    fn bodies_that_cannot_be_read_are_known_by_what_is_said_of_them() {
        let readable = [JSON, MERGE_PATCH];
        for (said, expected) in [
            (vec![], None),
            (vec![(CONTENT_TYPE, "")], None),
            (vec![(CONTENT_TYPE, "application/json; charset=utf-8")], None),
            (vec![(CONTENT_TYPE, "Application/Merge-Patch+JSON")], None),
            (vec![(CONTENT_TYPE, "application/x-www-form-urlencoded")], None),
            (vec![(CONTENT_TYPE, "text/xml")], Some("text/xml")),
            (vec![(CONTENT_TYPE, "application/yaml")], Some("application/yaml")),
            (vec![(CONTENT_ENCODING, "identity")], None),
            (vec![(CONTENT_ENCODING, "gzip"), (CONTENT_TYPE, "application/json")], Some("gzip")),
        ] {
            let found = unreadable(&headers(&said), &readable);
            assert_eq!(found.as_deref(), expected, "{said:?}");
        }
    }
}
