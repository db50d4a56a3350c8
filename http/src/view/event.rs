//! Events as they stand in JSON.

use kraken_engine::{event::Event, id::Revision};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};

use super::reference;
use crate::time;

/// One event.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Event")]
pub struct EventView {
    /// Its identity: the node that wrote it, when that started, and a count.
    pub id: String,
    /// When, RFC 3339, by the clock of its writer.
    pub time: String,
    /// What sort of thing happened, such as `converged`.
    pub kind: String,
    /// The object it happened to, `kind/name`.
    #[serde(default)]
    pub object: Option<String>,
    /// The object's uid.
    #[serde(default)]
    pub uid: Option<String>,
    /// The Cfg revision it speaks for.
    #[serde(default)]
    pub revision: Option<u64>,
    /// The attempt it belongs to.
    #[serde(default)]
    pub attempt: Option<String>,
    /// In words.
    pub text: String,
    /// What else there is to know.
    #[serde(default)]
    pub data: Map<String, Json>,
    /// Where it stands in the stream of this member: what follows it is asked for with `after`.
    pub cursor: String,
}

impl EventView {
    /// An event with its place in the stream.
    pub fn of(event: &Event, cursor: String) -> Self {
        Self {
            id: event.id.to_string(),
            time: time::format(event.time),
            kind: event.kind.as_str().to_owned(),
            object: event.object.as_ref().map(reference),
            uid: event.uid.map(|uid| uid.to_string()),
            revision: event.revision.map(Revision::get),
            attempt: event.attempt.as_ref().map(ToString::to_string),
            text: event.text.clone(),
            data: Map::new(),
            cursor,
        }
    }
}
