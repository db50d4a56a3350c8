//! Routes about the quorum and about the process that answers.

use schemars::{Schema, SchemaGenerator, json_schema};

use super::{
    ANY, ASKED, Answer,
    At::Path,
    Body, Operation, SENT, Verb,
    objects::{REVISION_HEADERS, content, found},
    of, read, write,
};
use crate::{
    client::ClusterView,
    media::JSON,
    openapi::parameter::CONSISTENCY,
    routes::{JoinBody, LeaderBody, PromoteBody},
    view::{BegunView, HealthView, LeaderView, MembershipView, ReadyView},
};

/// The media type of a JSON Schema.
pub(crate) const SCHEMA_JSON: &str = "application/schema+json";
/// The media type of a backup.
const BYTES: &str = "application/octet-stream";

/// Any bytes.
fn bytes(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "string", "format": "binary" })
}

/// Any text.
fn text(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "string" })
}

/// Any JSON object.
fn any_object(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "object" })
}

/// Anything that JSON can say.
fn anything(_: &mut SchemaGenerator) -> Schema {
    json_schema!({})
}

/// An answer of JSON without a revision.
const fn told(contents: &'static [super::Content]) -> Answer {
    Answer { headers: &[], ..found(contents) }
}

/// A change of the quorum that has been made.
const fn made(contents: &'static [super::Content]) -> Answer {
    Answer { text: "It was done.", headers: &[], ..found(contents) }
}

const REFUSED: &[&[&str]] = &[ANY, ASKED, SENT, &["cluster_refused"]];
const REFUSED_NAMED: &[&[&str]] = &[ANY, ASKED, SENT, &["cluster_refused", "no_such_thing"]];

pub(super) const OPERATIONS: &[Operation] = &[
    read(
        "cluster.show",
        Path("/v1/cluster"),
        "How the quorum is, seen from this member.",
        &[found(&[content(JSON, of::<ClusterView>)])],
    ),
    Operation {
        fails: REFUSED,
        ..write(
            "cluster.init",
            (Verb::Post, Path("/v1/cluster/init")),
            "Founds a cluster of this member.",
            &[Answer { status: 201, ..made(&[content(JSON, of::<MembershipView>)]) }],
        )
    },
    Operation {
        body: Some(Body {
            required: true,
            contents: &[content(JSON, of::<JoinBody>)],
            example: r#"{"via": ["127.0.0.1:3143"]}"#,
        }),
        fails: REFUSED,
        ..write(
            "cluster.join",
            (Verb::Post, Path("/v1/cluster/join")),
            "Joins the cluster of which one of these raft addresses is a member.",
            &[made(&[content(JSON, of::<MembershipView>)])],
        )
    },
    Operation {
        body: Some(Body {
            required: true,
            contents: &[content(JSON, of::<PromoteBody>)],
            example: r#"{"member": "m1"}"#,
        }),
        fails: REFUSED_NAMED,
        ..write(
            "cluster.promote",
            (Verb::Post, Path("/v1/cluster/promote")),
            "Lets a learner vote.",
            &[made(&[content(JSON, of::<MembershipView>)])],
        )
    },
    Operation {
        fails: REFUSED_NAMED,
        ..write(
            "cluster.remove",
            (Verb::Delete, Path("/v1/cluster/members/{id}")),
            "Removes a member.",
            &[made(&[content(JSON, of::<MembershipView>)])],
        )
    },
    Operation {
        body: Some(Body {
            required: true,
            contents: &[content(JSON, of::<LeaderBody>)],
            example: r#"{"to": "m1"}"#,
        }),
        fails: REFUSED_NAMED,
        ..write(
            "cluster.leader",
            (Verb::Post, Path("/v1/cluster/leader")),
            "Hands leadership over.",
            &[made(&[content(JSON, of::<LeaderView>)])],
        )
    },
    Operation {
        takes: &[CONSISTENCY],
        fails: &[ANY, ASKED],
        ..read(
            "cluster.save",
            Path("/v1/cluster/snapshot"),
            "All Cfg as a backup; with `consistency=stale` also from a member without a quorum.",
            &[told(&[content(BYTES, bytes)])],
        )
    },
    Operation {
        body: Some(Body { required: true, contents: &[content(BYTES, bytes)], example: "" }),
        fails: &[ANY, ASKED, SENT, &["cluster_refused", "bad_backup"]],
        ..write(
            "cluster.restore",
            (Verb::Post, Path("/v1/cluster/snapshot")),
            "Begins a cluster with a backup at a member that belongs to none yet.",
            &[Answer {
                status: 201,
                headers: REVISION_HEADERS,
                ..made(&[content(JSON, of::<BegunView>)])
            }],
        )
    },
    read(
        "healthz",
        Path("/healthz"),
        "Whether the process lives.",
        &[told(&[content(JSON, of::<HealthView>)])],
    ),
    read(
        "readyz",
        Path("/readyz"),
        "Whether a leader is known and Cfg can be served.",
        &[told(&[content(JSON, of::<ReadyView>)])],
    ),
    read(
        "metrics",
        Path("/metrics"),
        "Metrics in Prometheus's text form.",
        &[told(&[content("text/plain", text)])],
    ),
    read(
        "debug.all",
        Path("/v1/debug"),
        "What the actors of the node say of themselves; its form may change at any time.",
        &[told(&[content(JSON, any_object)])],
    ),
    Operation {
        fails: &[ANY, &["no_such_thing"]],
        ..read(
            "debug.one",
            Path("/v1/debug/{part}"),
            "What one of them says.",
            &[told(&[content(JSON, anything)])],
        )
    },
    read("openapi", Path("/openapi.json"), "This document.", &[told(&[content(JSON, any_object)])]),
    Operation {
        takes: &[CONSISTENCY],
        fails: &[ANY, ASKED],
        ..read(
            "schema",
            Path("/v1/schema"),
            "The JSON Schema of manifests, of all that is declared.",
            &[found(&[content(SCHEMA_JSON, any_object), content(JSON, any_object)])],
        )
    },
];
