//! Where a server is, and how a path to it is written.

use super::Error;

/// The address of a server, such as `http://127.0.0.1:3141`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Base(String);

impl Base {
    /// Reads an address; without a scheme it is HTTP.
    pub(super) fn parse(text: &str) -> Result<Self, Error> {
        let wrong = |why: &str| Error::BadServer { url: text.to_owned(), why: why.to_owned() };
        let text_with_scheme =
            if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
        let uri: hyper::Uri =
            text_with_scheme.parse().map_err(|_| wrong("write it as http://host:port"))?;
        match (uri.scheme_str(), uri.authority(), uri.path()) {
            (Some("http"), Some(authority), "/" | "") => Ok(Self(format!("http://{authority}"))),
            (Some("http"), Some(_), _) => Err(wrong("it has a path; write it as http://host:port")),
            _ => Err(wrong("only http is spoken; write it as http://host:port")),
        }
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }

    pub(super) fn join(&self, path: &str) -> String {
        format!("{}{path}", self.0)
    }
}

const HEX: [&str; 16] =
    ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "A", "B", "C", "D", "E", "F"];

/// Writes a text so that it may stand in a path or a query.
pub fn encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~') {
            encoded.push(char::from(byte));
        } else {
            encoded.extend(["%", HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 0xF)]]);
        }
    }
    encoded
}

/// Writes a query of what is given.
pub(super) fn query(parameters: &[(&str, Option<String>)]) -> String {
    let given = parameters.iter().filter_map(|(name, value)| Some((name, value.as_ref()?)));
    let written: Vec<String> =
        given.map(|(name, value)| format!("{name}={}", encode(value))).collect();
    if written.is_empty() { String::new() } else { format!("?{}", written.join("&")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_as_people_write_them() {
        for text in ["http://127.0.0.1:3141", "127.0.0.1:3141", "http://127.0.0.1:3141/"] {
            assert_eq!(Base::parse(text).unwrap().as_str(), "http://127.0.0.1:3141", "{text}");
        }
        for text in ["https://x:1", "http://x:1/v1", "ftp://x", "", "http://"] {
            assert!(Base::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn queries_hold_what_is_given() {
        let parameters = [
            ("selector", Some("rack=r1,role!=gw".to_owned())),
            ("limit", None),
            ("names", Some("n[1-8]".to_owned())),
        ];
        assert_eq!(query(&parameters), "?selector=rack%3Dr1%2Crole%21%3Dgw&names=n%5B1-8%5D");
        assert_eq!(query(&[("limit", None)]), "");
    }
}
