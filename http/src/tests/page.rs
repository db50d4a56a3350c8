//! The page as files: all of them are there, a browser keeps them no longer than they are so, and
//! nothing in them needs more than this server.

use std::collections::BTreeSet;

use super::kit::{member, raw};
use crate::testing::Fixture;

async fn get(fixture: &Fixture, path: &str, more: &str) -> (String, String) {
    let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{more}\r\n");
    let answer = raw(fixture, request.as_bytes()).await;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.to_owned(), body.to_owned())
}

fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let lines = head.lines().filter_map(|line| line.split_once(": "));
    lines.into_iter().find(|(own, _)| *own == name).map(|(_, value)| value)
}

/// What a file of the page asks for, by name.
fn needs(text: &str) -> Vec<String> {
    let after = |before: &'static str, end: char| {
        let rests = text.split(before).skip(1);
        rests.filter_map(move |rest| rest.split_once(end)).map(|(name, _)| name.to_owned())
    };
    after("'./", '\'').chain(after("\"/page/", '"')).collect()
}

#[tokio::test]
async fn every_file_that_the_page_asks_for_is_there() {
    let (fixture, _client) = member().await;
    let (head, first) = get(&fixture, "/", "").await;
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    assert_eq!(header(&head, "content-type"), Some("text/html; charset=utf-8"));
    let (mut asked, mut seen) = (needs(&first), BTreeSet::new());
    while let Some(name) = asked.pop() {
        if !seen.insert(name.clone()) {
            continue;
        }
        let (head, text) = get(&fixture, &format!("/page/{name}"), "").await;
        assert!(head.starts_with("HTTP/1.1 200"), "{name}: {head}");
        let policy = header(&head, "content-security-policy").unwrap_or_default();
        assert!(policy.starts_with("default-src 'self'"), "{name}: {policy}");
        for banned in ["innerHTML", "insertAdjacentHTML", "document.write", "eval(", "http://www"] {
            assert!(!text.contains(banned) || name == "icon.svg", "{name} holds {banned}");
        }
        assert!(!text.contains("style=") && !text.contains(" onclick=\""), "{name} is inline");
        asked.extend(needs(&text));
    }
    assert!(seen.len() > 20, "{seen:?}");
    let (head, _) = get(&fixture, "/page/..%2fapi.rs", "").await;
    assert!(head.starts_with("HTTP/1.1 404"), "{head}");
}

#[tokio::test]
async fn file_that_a_browser_has_is_not_sent_again() {
    let (fixture, _client) = member().await;
    let (head, body) = get(&fixture, "/page/main.js", "").await;
    let tag = header(&head, "etag").unwrap();
    assert!(!body.is_empty());
    assert_eq!(header(&head, "cache-control"), Some("no-cache"));
    for (held, status) in [(tag, "304"), ("\"0\"", "200"), (&*format!("\"0\", W/{tag}"), "304")] {
        let (head, body) =
            get(&fixture, "/page/main.js", &format!("if-none-match: {held}\r\n")).await;
        assert!(head.starts_with(&format!("HTTP/1.1 {status}")), "{held}: {head}");
        assert_eq!(body.is_empty(), status == "304");
    }
    let (head, _) = get(&fixture, "/page/main.css", "").await;
    assert!(head.starts_with("HTTP/1.1 404"), "{head}");
}
