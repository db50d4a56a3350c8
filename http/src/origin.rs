//! Origins: where pages come from whose scripts may ask here although another server served them.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use warp::http::{
    HeaderMap, HeaderName, HeaderValue,
    header::{
        ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
        ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, VARY,
    },
};

/// Most origins of one server.
pub const ORIGINS_MAX: usize = 64;
/// How long a browser may rely on what it was told, in seconds.
const MAX_AGE: HeaderValue = HeaderValue::from_static("600");
/// Headers that a script may send.
const SENT: HeaderValue = HeaderValue::from_static(
    "content-type, if-match, if-none-match, kraken-author, kraken-request-id, last-event-id",
);
/// Headers that a script may read.
const SHOWN: HeaderValue =
    HeaderValue::from_static("kraken-revision, kraken-epoch, etag, retry-after, allow");

/// Where a page comes from: `https://host` or `https://host:port`, exactly as browsers say it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Origin(String);

/// A text is no origin.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no origin; write scheme://host or scheme://host:port in lower case, such as \
     https://console.example, without a path and without the usual port of the scheme"
)]
pub struct NoOrigin(String);

impl Origin {
    /// As browsers say it.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Tells a browser that scripts of this origin may read the answer.
    pub(crate) fn allow(&self, headers: &mut HeaderMap) {
        if let Ok(origin) = HeaderValue::from_str(&self.0) {
            headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
            headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, SHOWN);
        }
    }

    /// Tells a browser that asks beforehand what scripts of this origin may send.
    pub(crate) fn allow_methods(&self, methods: &HeaderValue, headers: &mut HeaderMap) {
        self.allow(headers);
        headers.insert(ACCESS_CONTROL_ALLOW_METHODS, methods.clone());
        headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, SENT);
        headers.insert(ACCESS_CONTROL_MAX_AGE, MAX_AGE);
    }
}

/// Says that an answer depends on a header of its request.
pub(crate) fn vary(headers: &mut HeaderMap, by: &HeaderName) {
    headers.append(VARY, HeaderValue::from(by.clone()));
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Origin {
    type Err = NoOrigin;

    fn from_str(text: &str) -> Result<Self, NoOrigin> {
        let wrong = || NoOrigin(text.chars().take(256).collect());
        let (scheme, rest) = text.split_once("://").ok_or_else(wrong)?;
        let usual = match scheme {
            "http" => "80",
            "https" => "443",
            _ => return Err(wrong()),
        };
        let (host, port) = match rest.rsplit_once(':') {
            // The last colon of an address in brackets may be part of it.
            Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
            _ => (rest, None),
        };
        let is_plain =
            |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-._[]:".contains(c);
        let is_port = |port: &str| port != usual && port.parse::<u16>().is_ok_and(|p| p > 0);
        let fits = !host.is_empty() && host.chars().all(is_plain) && port.is_none_or(is_port);
        if fits { Ok(Self(text.to_owned())) } else { Err(wrong()) }
    }
}

impl TryFrom<String> for Origin {
    type Error = NoOrigin;

    fn try_from(text: String) -> Result<Self, NoOrigin> {
        text.parse()
    }
}

impl From<Origin> for String {
    fn from(origin: Origin) -> Self {
        origin.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_are_written_as_browsers_say_them() {
        for text in [
            "http://localhost:8080",
            "https://console.example",
            "https://10.0.0.1:444",
            "http://[::1]:3000",
            "http://[::1]",
        ] {
            assert_eq!(text.parse::<Origin>().map(String::from).as_deref(), Ok(text));
        }
        for text in [
            "",
            "*",
            "null",
            "console.example",
            "https://",
            "https://Console.example",
            "https://console.example/",
            "https://console.example/page",
            "https://*.example",
            "https://console.example:443",
            "http://console.example:80",
            "http://console.example:0",
            "http://console.example:x",
            "ftp://console.example",
        ] {
            assert!(text.parse::<Origin>().is_err(), "{text}");
        }
    }
}
