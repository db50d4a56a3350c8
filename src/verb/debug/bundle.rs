//! `kraken debug bundle`: a folder of all that helps somebody else to find what is wrong. What a
//! fleet is asked for may hold secrets, so Cfg and Dsc stay out of it: nodes are told of by their
//! status alone, and what is named like a secret is left out wherever it stands.

use std::{
    fs,
    path::{Path, PathBuf},
    time::SystemTime,
};

use anyhow::Context as _;
use kraken_http::{
    client::{Client, Error, ListQuery},
    view::{List, ObjectView},
};
use serde_json::{Value as Json, json};

use crate::{console::Console, exit::Failure, output};

/// How many events are taken, at most.
const EVENTS_MAX: usize = 1_000;
/// What keys of secrets have in their names, in lower case.
const SECRETS: [&str; 5] = ["password", "passwd", "secret", "token", "credential"];
/// What stands in the place of a secret.
const LEFT_OUT: &str = "(left out)";

/// Gathers versions, quorum, status, events, metrics and what actors say in a folder, for others
///
/// Nothing of Cfg and Dsc is in it, only the status of each node. Look through it all the same
/// before you give it to anybody.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The folder, which must not be there yet [default: kraken-debug-TIME]
    #[arg(long, value_name = "FOLDER")]
    to: Option<PathBuf>,
}

impl Args {
    /// Gathers.
    pub(super) async fn run(self, client: &Client, console: &Console) -> Result<(), Failure> {
        let quorum = client.cluster().await?;
        let folder = self.to.unwrap_or_else(|| PathBuf::from(format!("kraken-debug-{}", stamp())));
        let named = || format!("cannot make the folder {}", folder.display());
        fs::create_dir(&folder).with_context(named)?;
        let bundle = Bundle { folder: &folder };
        let version = env!("CARGO_PKG_VERSION");
        bundle.json("cluster.json", Ok(json!({ "client": version, "quorum": quorum })))?;
        bundle.json("nodes.json", nodes(client).await)?;
        bundle.json("modules.json", client.get_modules().await.map(|list| json!(list.items)))?;
        let events = client.raw_get(&format!("/v1/events?limit={EVENTS_MAX}")).await;
        bundle.json("events.json", events.and_then(|answer| answer.json()))?;
        for member in &quorum.members {
            // One that does not answer is what somebody may be looking for: that is told, too.
            let asked = Client::with(&[&member.http], client.settings().clone());
            bundle.member(&member.name, asked).await?;
        }
        console.print(folder.display().to_string())?;
        console.note("look through it before you give it to anybody");
        Ok(())
    }
}

/// Where things are gathered.
struct Bundle<'a> {
    folder: &'a Path,
}

impl Bundle<'_> {
    /// What one member says of itself.
    async fn member(&self, name: &str, client: Result<Client, Error>) -> Result<(), Failure> {
        let (debug, metrics) = match client {
            Err(error) => (Err(error.clone()), Err(error)),
            Ok(client) => {
                let debug = client.raw_get("/v1/debug").await;
                (debug.and_then(|answer| answer.json()), client.raw_get("/metrics").await)
            }
        };
        self.json(&format!("{name}.debug.json"), debug)?;
        let metrics = metrics.map_or_else(
            |error| format!("# {error}\n"),
            |answer| String::from_utf8_lossy(&answer.body).into_owned(),
        );
        self.write(&format!("{name}.metrics.txt"), &metrics)
    }

    /// A document without what is named like a secret; or why there is none.
    fn json(&self, file: &str, document: Result<Json, Error>) -> Result<(), Failure> {
        let mut document =
            document.unwrap_or_else(|error| json!({ "notAnswered": error.to_string() }));
        leave_out(&mut document);
        self.write(file, &output::json(&document)?)
    }

    fn write(&self, file: &str, text: &str) -> Result<(), Failure> {
        let file = self.folder.join(file);
        fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))?;
        Ok(())
    }
}

/// Where each node stands, and nothing of what is asked or seen of it but its link.
async fn nodes(client: &Client) -> Result<Json, Error> {
    let List { revision, items, .. } = client.get_nodes(&ListQuery::default()).await?;
    let node = |node: &ObjectView| {
        json!({
            "name": node.name, "uid": node.uid, "revision": node.revision, "frozen": node.frozen,
            "deleting": node.deleting, "link": crate::fleet::link(node), "stale": node.stale,
            "status": node.status, "dscAgeMs": node.dsc_age_ms,
        })
    };
    Ok(json!({ "revision": revision, "nodes": items.iter().map(node).collect::<Vec<_>>() }))
}

/// Leaves out the values of keys that are named like secrets.
fn leave_out(document: &mut Json) {
    match document {
        Json::Object(object) => {
            for (key, value) in object {
                let key = key.to_lowercase();
                if SECRETS.iter().any(|secret| key.contains(secret)) {
                    *value = LEFT_OUT.into();
                } else {
                    leave_out(value);
                }
            }
        }
        Json::Array(items) => items.iter_mut().for_each(leave_out),
        Json::Null | Json::Bool(_) | Json::Number(_) | Json::String(_) => {}
    }
}

/// Now, as part of the name of a folder: `20251120T114600Z`.
fn stamp() -> String {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let millis = u64::try_from(since.as_millis()).unwrap_or_default();
    let time = kraken_http::time::format(kraken_engine::time::Millis::new(millis));
    let second = time.get(..19).unwrap_or(&time);
    second.chars().filter(char::is_ascii_alphanumeric).chain(['Z']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_named_like_a_secret_is_left_out() {
        let mut document = json!({
            "a": [{ "apiToken": "x", "name": "n1" }], "Password": { "old": "y" }, "pass": 1,
        });
        leave_out(&mut document);
        let expected = json!({
            "a": [{ "apiToken": LEFT_OUT, "name": "n1" }], "Password": LEFT_OUT, "pass": 1,
        });
        assert_eq!(document, expected);
    }

    #[test]
    fn a_folder_is_named_by_the_time() {
        let stamp = stamp();
        assert!(stamp.len() == 16 && stamp.ends_with('Z') && stamp.contains('T'), "{stamp}");
    }
}
