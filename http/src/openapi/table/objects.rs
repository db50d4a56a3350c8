//! Routes below the objects of a kind.

use schemars::{Schema, SchemaGenerator, json_schema};

use super::{
    ANY, ASKED, Answer, At::Family, Body, Content, NAMED, Operation, SENT, Verb, WRITTEN, of, read,
    write,
};
use crate::{
    dry_run::{DryRun, Line},
    media::{JSON, MERGE_PATCH, NDJSON, SSE, YAML},
    openapi::{
        foreign::Manifest,
        parameter::{
            AFTER, AUTHOR, CONSISTENCY, CONTINUE, DRY_RUN, EVENT_KIND, EVENTS_LIMIT, EXPECT,
            FIELDS, FOLLOW, FORCE, HISTORY_LIMIT, IF_ABSENT, IF_MATCH, IF_NONE_MATCH,
            LAST_EVENT_ID, LIMIT, NAMES, NOTE, REQUEST_ID, REVISION, SELECTOR, TYPED, VIEW,
        },
    },
    reply::Written,
    routes::ObjectPlan,
    view::{EventView, HistoryView, List, ObjectView, WhyView},
};

/// Headers of what says a revision.
pub(super) const REVISION_HEADERS: &[&str] = &["Kraken-Revision", "Kraken-Epoch"];
/// The same with a tag.
const TAGGED: &[&str] = &["Kraken-Revision", "Kraken-Epoch", "ETag"];

/// What a write answers, or would do.
fn written_or_planned(generator: &mut SchemaGenerator) -> Schema {
    let forms = [generator.subschema_for::<Written>(), generator.subschema_for::<DryRun>()];
    json_schema!({ "anyOf": forms })
}

/// One manifest, a list of them, or what a list of objects answered.
fn manifests(generator: &mut SchemaGenerator) -> Schema {
    let one = generator.subschema_for::<Manifest>();
    let many = json_schema!({ "type": "array", "items": one, "minItems": 1 });
    json_schema!({ "anyOf": [one, many] })
}

/// A merge patch of Cfg.
fn patch(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "description": "Paths and values as nested objects; null unsets a path and all below it.",
    })
}

/// A line of events that are followed.
fn event_line(generator: &mut SchemaGenerator) -> Schema {
    let alive = json_schema!({
        "type": "object",
        "properties": { "type": { "const": "BOOKMARK" } },
        "required": ["type"],
    });
    json_schema!({ "anyOf": [generator.subschema_for::<EventView>(), alive] })
}

pub(super) const fn content(media_type: &'static str, form: super::Form) -> Content {
    Content { media_type, form }
}

/// JSON or YAML of a form.
pub(super) const fn json_or_yaml(form: super::Form) -> [Content; 5] {
    let [a, b, c, d] = YAML;
    [content(JSON, form), content(a, form), content(b, form), content(c, form), content(d, form)]
}

const MANIFESTS: [Content; 5] = json_or_yaml(manifests);
const MANIFEST: [Content; 5] = json_or_yaml(of::<Manifest>);
const PATCH: [Content; 6] = {
    let [a, b, c, d, e] = json_or_yaml(patch);
    [content(MERGE_PATCH, patch), a, b, c, d, e]
};

/// What a plan that is asked for as lines is answered with.
const PLAN_LINES: Content = content(NDJSON, of::<Line>);

/// The answer to a write that was done, or planned.
pub(super) const DONE: Answer = Answer {
    status: 200,
    text: "It was done; with `dryRun=plan`, what would be done.",
    contents: &[content(JSON, written_or_planned), PLAN_LINES],
    headers: TAGGED,
};
/// The answer to a write that created something.
const CREATED: Answer = Answer {
    status: 201,
    text: "It was created.",
    contents: &[content(JSON, of::<Written>)],
    ..DONE
};
/// The answer to a write of which more is to come.
const MARKED: Answer = Answer {
    status: 202,
    text: "It is marked, and goes when its absent state is seen.",
    contents: &[content(JSON, of::<Written>)],
    ..DONE
};
/// The answer to what only changes.
pub(super) const CHANGED: Answer = Answer {
    status: 200,
    text: "It was done.",
    contents: &[content(JSON, of::<Written>)],
    headers: TAGGED,
};
/// The answer to who has what would be answered.
const UNCHANGED: Answer = Answer {
    status: 304,
    text: "What would be answered has one of the tags of `If-None-Match`.",
    contents: &[],
    headers: TAGGED,
};

/// The answer to a read.
pub(super) const fn found(contents: &'static [Content]) -> Answer {
    Answer { status: 200, text: "It was read.", contents, headers: REVISION_HEADERS }
}

/// What a write of objects may be refused with.
pub(super) const REFUSED: &[&[&str]] = &[ANY, ASKED, SENT, WRITTEN];
const REFUSED_NAMED: &[&[&str]] = &[ANY, ASKED, SENT, WRITTEN, NAMED];
/// What a read of one object may be refused with.
const UNREAD: &[&[&str]] = &[ANY, ASKED, NAMED, &["no_such_object"]];
const UNREAD_PAST: &[&[&str]] = &[ANY, ASKED, NAMED, &["no_such_object", "gone"]];

/// Events, as a list or as they happen.
pub(super) const EVENTS: Answer = Answer {
    status: 200,
    text: "The events, oldest first; with `follow=true` a stream of lines, each an event or a sign \
           of life.",
    contents: &[
        content(JSON, of::<List<EventView>>),
        content(NDJSON, event_line),
        content(SSE, event_line),
    ],
    headers: &[],
};

pub(super) const OPERATIONS: &[Operation] = &[
    Operation {
        takes: &[CONSISTENCY, VIEW, FIELDS, SELECTOR, NAMES, LIMIT, CONTINUE, REVISION],
        fails: &[ANY, ASKED, NAMED, &["gone"]],
        ..read(
            "objects.list",
            Family(""),
            "Lists objects, in order of name.",
            &[Answer { headers: TAGGED, ..found(&[content(JSON, of::<List<ObjectView>>)]) }],
        )
    },
    Operation {
        takes: &[DRY_RUN, EXPECT, NOTE, IF_MATCH, AUTHOR, REQUEST_ID],
        body: Some(Body {
            required: true,
            contents: &MANIFESTS,
            example: r#"{"name": "n[7-8]", "labels": {"rack": "r2"}, "cfg": {}}"#,
        }),
        fails: REFUSED_NAMED,
        ..write(
            "objects.create",
            (Verb::Post, Family("")),
            "Creates one object or a list of them, all or nothing.",
            &[Answer { text: "What would be created (`dryRun=plan`).", ..DONE }, CREATED],
        )
    },
    Operation {
        takes: &[SELECTOR, NAMES, TYPED, DRY_RUN, EXPECT, NOTE, IF_MATCH, AUTHOR, REQUEST_ID],
        body: Some(Body { required: true, contents: &PATCH, example: "{}" }),
        fails: REFUSED_NAMED,
        ..write(
            "objects.patchMany",
            (Verb::Patch, Family("")),
            "Merges a patch into the Cfg of many objects, chosen by `selector` or `names`, in one \
             transaction.",
            &[DONE],
        )
    },
    Operation {
        takes: &[CONSISTENCY, VIEW, FIELDS, REVISION, IF_NONE_MATCH],
        fails: UNREAD_PAST,
        ..read(
            "objects.get",
            Family("/{name}"),
            "Reads one object.",
            &[Answer { headers: TAGGED, ..found(&[content(JSON, of::<ObjectView>)]) }, UNCHANGED],
        )
    },
    Operation {
        takes: &[DRY_RUN, EXPECT, NOTE, IF_MATCH, IF_ABSENT, AUTHOR, REQUEST_ID],
        body: Some(Body { required: true, contents: &MANIFEST, example: r#"{"cfg": {}}"# }),
        fails: REFUSED_NAMED,
        ..write(
            "objects.put",
            (Verb::Put, Family("/{name}")),
            "Replaces what users asked of one object, or creates it.",
            &[DONE, CREATED],
        )
    },
    Operation {
        takes: &[TYPED, DRY_RUN, EXPECT, NOTE, IF_MATCH, AUTHOR, REQUEST_ID],
        body: Some(Body { required: true, contents: &PATCH, example: "{}" }),
        fails: REFUSED_NAMED,
        ..write(
            "objects.patch",
            (Verb::Patch, Family("/{name}")),
            "Merges a patch (RFC 7386) into the Cfg of one object.",
            &[DONE],
        )
    },
    Operation {
        takes: &[FORCE, DRY_RUN, EXPECT, NOTE, IF_MATCH, AUTHOR, REQUEST_ID],
        fails: REFUSED_NAMED,
        ..write(
            "objects.delete",
            (Verb::Delete, Family("/{name}")),
            "Marks one object for removal, or removes it at once.",
            &[DONE, MARKED],
        )
    },
    Operation {
        takes: &[CONSISTENCY],
        fails: UNREAD,
        ..read(
            "objects.why",
            Family("/{name}/why"),
            "Tells what differs, where the object stands, what is planned, and who must act.",
            &[found(&[content(JSON, of::<WhyView>)])],
        )
    },
    Operation {
        takes: &[CONSISTENCY],
        fails: UNREAD,
        ..read(
            "objects.plan",
            Family("/{name}/plan"),
            "Tells what will be done for one object, step by step, or what is missing.",
            &[found(&[content(JSON, of::<ObjectPlan>)])],
        )
    },
    Operation {
        takes: &[EVENT_KIND, EVENTS_LIMIT, AFTER, FOLLOW, LAST_EVENT_ID],
        fails: UNREAD,
        ..read(
            "objects.events",
            Family("/{name}/events"),
            "What happened to one object.",
            &[EVENTS],
        )
    },
    Operation {
        takes: &[CONSISTENCY, HISTORY_LIMIT],
        fails: UNREAD,
        ..read(
            "objects.history",
            Family("/{name}/history"),
            "What was written of one object, newest first, and who set what is asked of it now.",
            &[found(&[content(JSON, of::<HistoryView>)])],
        )
    },
    Operation {
        takes: &[AUTHOR, REQUEST_ID],
        fails: REFUSED_NAMED,
        ..write(
            "objects.retry",
            (Verb::Post, Family("/{name}/retry")),
            "Has one node tried again: failures are forgotten, quarantine ends.",
            &[CHANGED],
        )
    },
];
