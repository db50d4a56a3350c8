//! One message of the WebSocket, as old clients read it.

use kraken_engine::{id::Uid, path::Path, value::Value};
use serde::Serialize;
use serde_json::json;

use crate::old::{
    names::{Enums, url_of},
    show::text,
};

/// What a client may hear of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::old) enum Topic {
    /// A node is created, changed or deleted.
    Change,
    /// A mutation begins.
    Mutation,
    /// Somebody has seen something.
    Discovery,
}

impl Topic {
    /// All of them.
    pub(in crate::old) const ALL: [Self; 3] = [Self::Change, Self::Mutation, Self::Discovery];

    /// As clients name it.
    pub(in crate::old) fn as_str(self) -> &'static str {
        match self {
            Self::Change => "STATE_CHANGE",
            Self::Mutation => "STATE_MUTATION",
            Self::Discovery => "DISCOVERY",
        }
    }

    /// As messages number it.
    pub(in crate::old) fn number(self) -> u8 {
        match self {
            Self::Change => 1,
            Self::Mutation => 2,
            Self::Discovery => 5,
        }
    }
}

/// The number of what is no event: the answer to a command that cannot be read.
const REFUSED: u8 = 0;

/// What sort of change there was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::old) enum Word {
    /// A node was created.
    Create,
    /// Something else is seen.
    Update,
    /// Something else is asked.
    CfgUpdate,
    /// A node was removed.
    Delete,
}

impl Word {
    fn as_str(self) -> &'static str {
        match self {
            Self::Create => "CREATE",
            Self::Update => "UPDATE",
            Self::CfgUpdate => "CFG_UPDATE",
            Self::Delete => "DELETE",
        }
    }
}

/// One message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(in crate::old) struct Notice {
    r#type: u8,
    url: String,
    data: String,
    #[serde(rename = "nodeid")]
    node: String,
    value: String,
}

impl Notice {
    /// A node is there, or no longer.
    pub(super) fn node(word: Word, id: Uid) -> Self {
        Self::of_change(word, id, String::new(), format!("Node<{id}>"))
    }

    /// A path holds something else, or nothing.
    pub(super) fn change(
        word: Word,
        id: Uid,
        path: &Path,
        value: Option<&Value>,
        enums: &Enums,
    ) -> Self {
        let value = value.map_or_else(|| enums.zero(path.as_str()).to_owned(), text);
        Self::of_change(word, id, url_of(path), value)
    }

    fn of_change(word: Word, id: Uid, url: String, value: String) -> Self {
        let data = format!("({}) {id}:{url} = {value}", word.as_str());
        Self { r#type: Topic::Change.number(), url, data, node: id.to_string(), value }
    }

    /// A mutation begins.
    pub(super) fn mutation(id: Uid, service: &str, mutation: &str) -> Self {
        Self {
            r#type: Topic::Mutation.number(),
            url: String::new(),
            data: format!("(MUTATE) {id} : {service} -> {mutation}"),
            node: id.to_string(),
            value: mutation.to_owned(),
        }
    }

    /// A module has seen something.
    pub(super) fn discovery(id: Uid, service: &str, path: &Path, value: &Value) -> Self {
        let (url, value) = (url_of(path), text(value));
        Self {
            r#type: Topic::Discovery.number(),
            data: format!("({service}) {id}:{url} == {value}"),
            url,
            node: id.to_string(),
            value,
        }
    }

    /// A command cannot be carried out.
    pub(in crate::old) fn refusal(why: &str) -> Self {
        Self {
            r#type: REFUSED,
            url: String::new(),
            data: format!("(REFUSED) {why}"),
            node: String::new(),
            value: String::new(),
        }
    }

    /// What it tells of.
    pub(in crate::old) fn topic(&self) -> Option<Topic> {
        Topic::ALL.into_iter().find(|topic| topic.number() == self.r#type)
    }

    /// The message as it is sent.
    pub(in crate::old) fn to_json(&self) -> String {
        json!(self).to_string()
    }
}
