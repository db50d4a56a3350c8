//! What requests take beside their bodies: query parameters, headers and parts of the path.

use serde_json::{Value as Json, json};

use crate::{
    call::{AUTHOR_BYTES_MAX, AUTHOR_HEADER, REQUEST_BYTES_MAX, REQUEST_HEADER},
    fields::FIELDS_BYTES_MAX,
    routes::{EVENTS_PAGE_MAX, HISTORY_ITEMS_MAX, LIST_ITEMS_MAX, NOTE_BYTES_MAX},
};

/// Something that a request takes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Parameter {
    /// What the document calls it, as others may have the same name.
    pub(crate) key: &'static str,
    pub(crate) name: &'static str,
    place: Place,
    form: Form,
    text: &'static str,
    example: Option<&'static str>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Query,
    /// A query parameter without which the request cannot be meant.
    Needed,
    Header,
    Path,
}

#[derive(Debug, Clone, Copy)]
enum Form {
    Text,
    /// A text of at most so many bytes.
    Short(usize),
    OneOf(&'static [&'static str]),
    /// Any whole number from 0.
    Number,
    /// A whole number from 1 to this.
    UpTo(usize),
    Flag,
}

impl Parameter {
    const fn query(name: &'static str, form: Form, text: &'static str) -> Self {
        Self { key: name, name, place: Place::Query, form, text, example: None }
    }

    const fn header(name: &'static str, form: Form, text: &'static str) -> Self {
        Self { key: name, name, place: Place::Header, form, text, example: None }
    }

    const fn path(name: &'static str, text: &'static str, example: &'static str) -> Self {
        let example = Some(example);
        Self { key: name, name, place: Place::Path, form: Form::Text, text, example }
    }

    const fn called(self, key: &'static str) -> Self {
        Self { key, ..self }
    }

    const fn like(self, example: &'static str) -> Self {
        Self { example: Some(example), ..self }
    }

    const fn needed(self) -> Self {
        Self { place: Place::Needed, ..self }
    }

    /// As it stands in the document.
    pub(crate) fn json(&self) -> Json {
        let mut json = json!({
            "name": self.name,
            "in": match self.place {
                Place::Query | Place::Needed => "query",
                Place::Header => "header",
                Place::Path => "path",
            },
            "description": self.text,
            "required": matches!(self.place, Place::Needed | Place::Path),
            "schema": self.form.json(),
        });
        if let Some(example) = self.example {
            let number = example.parse::<u64>().ok().filter(|_| self.form.is_number());
            json["example"] = number.map_or_else(|| example.into(), Json::from);
        }
        json
    }
}

impl Form {
    fn is_number(self) -> bool {
        matches!(self, Self::Number | Self::UpTo(_))
    }

    fn json(self) -> Json {
        match self {
            Self::Text => json!({ "type": "string" }),
            Self::Short(bytes) => json!({ "type": "string", "maxLength": bytes }),
            Self::OneOf(words) => json!({ "type": "string", "enum": words }),
            Self::Number => json!({ "type": "integer", "format": "uint64", "minimum": 0 }),
            Self::UpTo(most) => json!({ "type": "integer", "minimum": 1, "maximum": most }),
            Self::Flag => json!({ "type": "boolean", "default": false }),
        }
    }
}

/// The part of a path that a template names.
pub(crate) fn of_path(name: &str) -> Option<&'static Parameter> {
    PATH.iter().find(|parameter| parameter.name == name)
}

const PATH: &[Parameter] = &[
    Parameter::path("name", "The name or uid of an object.", "n1"),
    Parameter::path("module", "The name of a module.", "service"),
    Parameter::path("kind", "The kind of objects.", "node"),
    Parameter::path("namespace", "The namespace of objects.", "default"),
    Parameter { form: Form::Number, ..Parameter::path("revision", "A revision of Cfg.", "1") },
    Parameter::path("id", "The id or name of a member.", "1"),
    Parameter::path("part", "A part of the node, as the whole answer calls it.", "state"),
];

pub(super) const CONSISTENCY: Parameter = Parameter::query(
    "consistency",
    Form::OneOf(&["linearizable", "leader", "stale"]),
    "How recent what is read of Cfg must be: `linearizable` (the default) sees every write that \
     was acknowledged before, `leader` trusts the lease of the leader, `stale` is what this member \
     has applied.",
);
pub(super) const VIEW: Parameter = Parameter::query(
    "view",
    Form::OneOf(&["both", "cfg", "dsc", "merged"]),
    "Which states are shown; `both` where absent.",
);
pub(super) const SELECTOR: Parameter = Parameter::query(
    "selector",
    Form::Text,
    "Objects whose labels it selects, `rack=r1,role!=gw`.",
)
.like("rack=r1");
pub(super) const NAMES: Parameter = Parameter::query(
    "names",
    Form::Text,
    "Objects of these names, a node set such as `n[1-64,70]`, or `@` and a selector.",
)
.like("n[1-2]");
pub(super) const FIELDS: Parameter = Parameter::query(
    "fields",
    Form::Short(FIELDS_BYTES_MAX),
    "Members of objects that are shown, separated by commas, where `cfg`, `dsc`, `state` and \
     `labels` may be followed by a path: `status,cfg/services/web`. What identifies an object is \
     always shown.",
)
.like("status,cfg/physState");
pub(super) const LIMIT: Parameter =
    Parameter::query("limit", Form::UpTo(LIST_ITEMS_MAX), "Most items of a page.").like("10");
pub(super) const HISTORY_LIMIT: Parameter =
    Parameter::query("limit", Form::UpTo(HISTORY_ITEMS_MAX), "Most items of a page.")
        .called("historyLimit");
pub(super) const EVENTS_LIMIT: Parameter = Parameter::query(
    "limit",
    Form::UpTo(EVENTS_PAGE_MAX),
    "Most events; of those that are followed, most that lie in the past.",
)
.called("eventsLimit");
pub(super) const CONTINUE: Parameter = Parameter::query(
    "continue",
    Form::Text,
    "Where the page starts, as the page before answered it.",
);
pub(super) const REVISION_CONTINUE: Parameter = Parameter::query(
    "continue",
    Form::Number,
    "Where the page starts, as the page before answered it.",
)
.called("revisionContinue");
pub(super) const REVISION: Parameter = Parameter::query(
    "revision",
    Form::Number,
    "As Cfg was at this revision; what was seen then is not kept.",
)
.called("atRevision");
pub(super) const DRY_RUN: Parameter = Parameter::query(
    "dryRun",
    Form::OneOf(&["plan", "none"]),
    "`plan`: nothing is changed, and the answer is what would change and what would be done.",
);
pub(super) const EXPECT: Parameter = Parameter::query(
    "expect",
    Form::Number,
    "The write is refused with 412 unless Cfg is at this revision.",
);
pub(super) const NOTE: Parameter =
    Parameter::query("note", Form::Short(NOTE_BYTES_MAX), "A word to those who read the history.");
pub(super) const FORCE: Parameter =
    Parameter::query("force", Form::Flag, "Removes at once, whatever still stands.");
pub(super) const TYPED: Parameter = Parameter::query(
    "typed",
    Form::Flag,
    "Texts of the patch are as people type them, and read as the types of their paths say.",
);
pub(super) const FROM: Parameter =
    Parameter::query("from", Form::Number, "The revision after which the stream begins.");
pub(super) const DIFF_FROM: Parameter =
    Parameter::query("from", Form::Number, "The older revision.").called("diffFrom").needed();
pub(super) const DIFF_TO: Parameter =
    Parameter::query("to", Form::Number, "The newer revision; now where absent.");
pub(super) const EPOCH: Parameter = Parameter::query(
    "epoch",
    Form::Number,
    "The epoch of `from`, as a line of the stream told it: 410 where it is no longer this one.",
);
pub(super) const KINDS: Parameter =
    Parameter::query("kinds", Form::Text, "Kinds of objects, separated by commas.").like("node");
pub(super) const STATES: Parameter = Parameter::query(
    "states",
    Form::OneOf(&["cfg", "dsc", "cfg,dsc"]),
    "Which states are watched; both where absent.",
);
pub(super) const OBJECT: Parameter =
    Parameter::query("object", Form::Text, "Of an object: its name, `kind/name` or uid.");
pub(super) const EVENT_KIND: Parameter =
    Parameter::query("kind", Form::Text, "Of this sort, such as `converged`.")
        .called("eventKind")
        .like("converged");
pub(super) const AFTER: Parameter =
    Parameter::query("after", Form::Text, "After the event with this cursor.");
pub(super) const FOLLOW: Parameter =
    Parameter::query("follow", Form::Flag, "The answer is a stream that goes on as events happen.");
pub(super) const GRAPH_KIND: Parameter =
    Parameter::query("kind", Form::Text, "The kind of objects; `node` where absent.")
        .called("graphKind")
        .like("node");
pub(super) const GRAPH_NODE: Parameter = Parameter::query(
    "node",
    Form::Text,
    "The graph of one object and its plan: its name, or `namespace/name`.",
);
pub(super) const GRAPH_FORMAT: Parameter = Parameter::query(
    "format",
    Form::OneOf(&["json", "dot", "mermaid", "svg"]),
    "How the graph is written; `json` where absent.",
);

pub(super) const IF_MATCH: Parameter = Parameter::header(
    "If-Match",
    Form::Text,
    "The write is refused with 412 unless the object has this `ETag`; of a write to many, unless \
     Cfg is at the revision of the list that answered it. `*`: unless it is there.",
);
pub(super) const IF_ABSENT: Parameter = Parameter::header(
    "If-None-Match",
    Form::OneOf(&["*"]),
    "The write is refused with 412 where the object is there.",
)
.called("ifAbsent");
pub(super) const IF_NONE_MATCH: Parameter = Parameter::header(
    "If-None-Match",
    Form::Text,
    "Tags that are held already: the answer is 304 where what would be answered has one of them.",
);
pub(super) const AUTHOR: Parameter =
    Parameter::header(AUTHOR_HEADER, Form::Short(AUTHOR_BYTES_MAX), "Who asks, for the record.")
        .like("operator");
pub(super) const REQUEST_ID: Parameter = Parameter::header(
    REQUEST_HEADER,
    Form::Short(REQUEST_BYTES_MAX),
    "Names the request: it is carried out once, however often it is sent.",
);
pub(super) const LAST_EVENT_ID: Parameter = Parameter::header(
    "Last-Event-ID",
    Form::Text,
    "As `after`, and sent by browsers that connect again.",
);
