//! The address of a collector of traces.

use std::{fmt, str::FromStr};

use hyper::Uri;
use serde::{Deserialize, Serialize};

/// Where a collector takes traces unless its address says a path, by OTLP over HTTP
/// (<https://opentelemetry.io/docs/specs/otlp/>).
const PATH: &str = "/v1/traces";

/// The address of a collector, such as `http://127.0.0.1:4318/v1/traces`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) struct Endpoint(String);

/// A text that is no address of a collector.
#[derive(Debug, thiserror::Error)]
#[error("{text:?} is no address of a collector: {why}; write it as http://host:4318")]
pub(crate) struct NoEndpoint {
    text: String,
    why: &'static str,
}

impl FromStr for Endpoint {
    type Err = NoEndpoint;

    fn from_str(text: &str) -> Result<Self, NoEndpoint> {
        let no = |why| NoEndpoint { text: text.to_owned(), why };
        let uri: Uri = text.parse().map_err(|_| no("it cannot be read"))?;
        let authority = match (uri.scheme_str(), uri.authority()) {
            (Some("http"), Some(authority)) => authority,
            (Some("https"), _) => return Err(no("only http is spoken, to a collector nearby")),
            _ => return Err(no("only http is spoken")),
        };
        if uri.query().is_some() {
            return Err(no("it has a query"));
        }
        let path = Some(uri.path()).filter(|path| *path != "/").unwrap_or(PATH);
        Ok(Self(format!("http://{authority}{path}")))
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for Endpoint {
    type Error = NoEndpoint;

    fn try_from(text: String) -> Result<Self, NoEndpoint> {
        text.parse()
    }
}

impl From<Endpoint> for String {
    fn from(endpoint: Endpoint) -> Self {
        endpoint.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_read_as_collectors_tell_it() {
        for (text, read) in [
            ("http://127.0.0.1:4318", "http://127.0.0.1:4318/v1/traces"),
            ("http://collector:4318/", "http://collector:4318/v1/traces"),
            ("http://gateway/otlp/v1/traces", "http://gateway/otlp/v1/traces"),
        ] {
            assert_eq!(text.parse::<Endpoint>().unwrap().to_string(), read, "{text}");
        }
        for (text, why) in [
            ("https://collector:4318", "only http is spoken, to a collector nearby"),
            ("127.0.0.1:4318", "only http is spoken"),
            ("collector", "only http is spoken"),
            ("http://a b", "it cannot be read"),
            ("http://collector:4318/?x", "it has a query"),
        ] {
            let error = text.parse::<Endpoint>().unwrap_err().to_string();
            assert!(error.contains(why), "{text}: {error}");
        }
    }
}
