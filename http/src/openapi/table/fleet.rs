//! Routes that speak of many objects, of what happens to them, of their past and of what is
//! declared for them.

use schemars::{Schema, SchemaGenerator, json_schema};

use super::{
    ANY, ASKED, Answer,
    At::Path,
    Body, Content, Operation, SENT, Verb, WRITTEN,
    objects::{CHANGED, DONE, EVENTS, REFUSED, REVISION_HEADERS, content, found, json_or_yaml},
    of, read, write,
};
use crate::{
    media::{JSON, NDJSON, SSE},
    openapi::{
        foreign::{Declaration, Graph, Manifest},
        parameter::{
            AFTER, AUTHOR, CONSISTENCY, DIFF_FROM, DIFF_TO, DRY_RUN, EPOCH, EVENT_KIND,
            EVENTS_LIMIT, EXPECT, FIELDS, FOLLOW, FORCE, FROM, GRAPH_FORMAT, GRAPH_KIND,
            GRAPH_NODE, HISTORY_LIMIT, IF_MATCH, KINDS, LAST_EVENT_ID, NAMES, NOTE, OBJECT,
            REQUEST_ID, REVISION_CONTINUE, SELECTOR, STATES,
        },
    },
    routes::{Checked, RollbackBody, TargetsBody, TxnBody, WatchLine},
    view::{DiffView, FreezeView, List, ModuleView, RevisionList, RevisionView},
};

/// Any text.
fn text(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "string" })
}

/// A declaration as people write it, which may be shorter than what is answered.
fn written_declaration() -> Schema {
    json_schema!({
        "type": "object",
        "description": "A module or an extension, as docs/declarations.md tells.",
        "properties": { "kind": { "enum": ["module", "extension"] }, "name": { "type": "string" } },
        "required": ["kind", "name"],
    })
}

/// Manifests of objects and declarations, one or many.
fn documents(generator: &mut SchemaGenerator) -> Schema {
    let one = json_schema!({ "anyOf": [
        generator.subschema_for::<Manifest>(),
        written_declaration(),
    ] });
    let many = json_schema!({ "type": "array", "items": one, "minItems": 1 });
    json_schema!({ "anyOf": [one, many] })
}

/// Declarations, one or many.
fn declarations(_: &mut SchemaGenerator) -> Schema {
    let one = written_declaration();
    let many = json_schema!({ "type": "array", "items": one, "minItems": 1 });
    json_schema!({ "anyOf": [one, many] })
}

const DOCUMENTS: [Content; 5] = json_or_yaml(documents);
/// A path of one's own, as one may declare it.
const COLOUR: &str = r#"{
    "kind": "extension", "name": "colour",
    "paths": [{"path": "/colour", "type": ["RED", "BLUE"], "seenBy": "nobody"}]
}"#;
const TARGETS: [Content; 1] = [content(JSON, of::<TargetsBody>)];
const DECLARATIONS: [Content; 5] = json_or_yaml(declarations);

/// What a look at the past may be refused with.
const PAST: &[&[&str]] = &[ANY, ASKED, &["gone", "no_such_thing"]];

/// A route that does something to chosen objects.
const fn operate(name: &'static str, path: &'static str, text: &'static str) -> Operation {
    Operation {
        takes: &[AUTHOR, REQUEST_ID],
        body: Some(Body { required: true, contents: &TARGETS, example: r#"{"names": "n[1-2]"}"# }),
        fails: &[ANY, ASKED, SENT, &["no_such_object", "not_frozen", "deleting"]],
        ..write(name, (Verb::Post, Path(path)), text, &[CHANGED])
    }
}

pub(super) const OPERATIONS: &[Operation] = &[
    Operation {
        takes: &[DRY_RUN, EXPECT, NOTE, IF_MATCH, AUTHOR, REQUEST_ID],
        body: Some(Body {
            required: true,
            contents: &DOCUMENTS,
            example: r#"{"kind": "node", "name": "n[1-2]", "labels": {"rack": "r1"}}"#,
        }),
        fails: &[ANY, ASKED, SENT, WRITTEN, &["in_use", "built_in"]],
        ..write(
            "apply",
            (Verb::Post, Path("/v1/apply")),
            "Creates or updates what manifests of any kinds declare, in one transaction. \
             Declarations of modules among them are committed first.",
            &[DONE],
        )
    },
    Operation {
        takes: &[DRY_RUN, EXPECT, NOTE, IF_MATCH, AUTHOR, REQUEST_ID],
        body: Some(Body {
            required: true,
            contents: &[content(JSON, of::<TxnBody>)],
            example: r#"{"ops": [{"op": "merge", "kind": "node", "name": "n1", "cfg": {}}]}"#,
        }),
        fails: REFUSED,
        ..write(
            "txn",
            (Verb::Post, Path("/v1/txn")),
            "Carries out operations if all preconditions hold, all or nothing.",
            &[DONE],
        )
    },
    Operation {
        takes: &[FROM, EPOCH, KINDS, SELECTOR, NAMES, STATES, FIELDS],
        fails: &[ANY, ASKED, &["gone", "foreign_origin"]],
        ..read(
            "watch",
            Path("/v1/watch"),
            "Follows changes: of Cfg all in order, each once; of Dsc what objects look like now. A \
             WebSocket, where the connection is to be upgraded to one, has each line as a message.",
            &[
                Answer {
                    status: 200,
                    text: "A stream of lines; the first is a bookmark.",
                    contents: &[
                        content(NDJSON, of::<WatchLine<'static>>),
                        content(SSE, of::<WatchLine<'static>>),
                    ],
                    headers: &[],
                },
                Answer {
                    status: 101,
                    text: "A WebSocket, of which each message is a line.",
                    contents: &[],
                    headers: &[],
                },
            ],
        )
    },
    Operation {
        takes: &[CONSISTENCY],
        fails: &[ANY, ASKED],
        ..read(
            "freezes.list",
            Path("/v1/freeze"),
            "The freezes in force, oldest first.",
            &[found(&[content(JSON, of::<List<FreezeView>>)])],
        )
    },
    operate("freeze", "/v1/freeze", "Freezes objects: nothing is dispatched for them."),
    operate("thaw", "/v1/thaw", "Thaws what was frozen in the same words."),
    operate("retry", "/v1/retry", "Has objects tried again: failures are forgotten."),
    Operation {
        takes: &[OBJECT, EVENT_KIND, EVENTS_LIMIT, AFTER, FOLLOW, LAST_EVENT_ID],
        ..read("events", Path("/v1/events"), "What happened.", &[EVENTS])
    },
    Operation {
        takes: &[CONSISTENCY, HISTORY_LIMIT, REVISION_CONTINUE],
        fails: PAST,
        ..read(
            "revisions.list",
            Path("/v1/revisions"),
            "The writes, newest first.",
            &[found(&[content(JSON, of::<RevisionList>)])],
        )
    },
    Operation {
        takes: &[CONSISTENCY],
        fails: PAST,
        ..read(
            "revisions.get",
            Path("/v1/revisions/{revision}"),
            "One write and what it changed.",
            &[found(&[content(JSON, of::<RevisionView>)])],
        )
    },
    Operation {
        takes: &[CONSISTENCY, DIFF_FROM, DIFF_TO, SELECTOR, NAMES],
        fails: PAST,
        ..read(
            "diff",
            Path("/v1/diff"),
            "What differs between two revisions.",
            &[found(&[content(JSON, of::<DiffView>)])],
        )
    },
    Operation {
        takes: &[DRY_RUN, EXPECT, NOTE, IF_MATCH, AUTHOR, REQUEST_ID],
        body: Some(Body {
            required: true,
            contents: &[content(JSON, of::<RollbackBody>)],
            example: r#"{"to": 1, "names": "n1"}"#,
        }),
        fails: &[ANY, ASKED, SENT, WRITTEN, &["gone"]],
        ..write(
            "rollback",
            (Verb::Post, Path("/v1/rollback")),
            "Brings back what people had set at a revision, in one write.",
            &[DONE],
        )
    },
    Operation {
        takes: &[GRAPH_KIND, GRAPH_NODE, GRAPH_FORMAT],
        fails: &[ANY, ASKED, &["no_such_thing", "no_such_object"]],
        ..read(
            "graph",
            Path("/v1/graph"),
            "The mutations of a kind, or of one object with its plan.",
            &[found(&[
                content(JSON, of::<Graph>),
                content("text/vnd.graphviz", text),
                content("text/plain", text),
                content("image/svg+xml", text),
            ])],
        )
    },
    Operation {
        body: Some(Body { required: false, contents: &DECLARATIONS, example: "" }),
        ..write(
            "graph.check",
            (Verb::Post, Path("/v1/graph/check")),
            "What can be proved of declarations together with what is declared.",
            &[found(&[content(JSON, of::<Checked>)])],
        )
    },
    Operation {
        takes: &[CONSISTENCY],
        fails: &[ANY, ASKED],
        ..read(
            "modules.list",
            Path("/v1/modules"),
            "The modules that are declared.",
            &[found(&[content(JSON, of::<List<ModuleView>>)])],
        )
    },
    Operation {
        takes: &[AUTHOR, REQUEST_ID],
        body: Some(Body { required: true, contents: &DECLARATIONS, example: COLOUR }),
        fails: &[ANY, ASKED, SENT, &["invalid", "in_use", "built_in"]],
        ..write(
            "modules.add",
            (Verb::Post, Path("/v1/modules")),
            "Declares modules that the release does not bring, or replaces what they declared.",
            &[CHANGED],
        )
    },
    Operation {
        takes: &[CONSISTENCY],
        fails: &[ANY, ASKED, &["no_such_thing"]],
        ..read(
            "modules.get",
            Path("/v1/modules/{module}"),
            "All that one module declares.",
            &[Answer { headers: REVISION_HEADERS, ..found(&[content(JSON, of::<Declaration>)]) }],
        )
    },
    Operation {
        takes: &[FORCE, AUTHOR, REQUEST_ID],
        fails: &[ANY, ASKED, SENT, &["no_such_thing", "in_use", "built_in"]],
        ..write(
            "modules.withdraw",
            (Verb::Delete, Path("/v1/modules/{module}")),
            "Withdraws what a module declares.",
            &[CHANGED],
        )
    },
];
