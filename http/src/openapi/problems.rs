//! Problems in the document: each status with the codes that come with it.

use std::collections::BTreeMap;

use serde_json::{Map, Value as Json, json};

use super::table::Operation;
use crate::problem::{Fault, PROBLEM_JSON, Problem};

/// One problem of each code.
pub(crate) fn every() -> Vec<Problem> {
    let text = String::new;
    vec![
        Problem::NoSuchRoute(text()),
        Problem::MethodNotAllowed { method: text(), path: text() },
        Problem::NotAcceptable { offered: text() },
        Problem::UnsupportedMediaType { found: text(), readable: text() },
        Problem::BadQuery { name: text(), why: text() },
        Problem::BadHeader { name: text(), why: text() },
        Problem::BadBody(Vec::new()),
        Problem::Invalid(Vec::new()),
        Problem::BodyTooLarge { limit: 0 },
        Problem::BodyTooSlow { limit_s: 0 },
        Problem::TooMany { what: text(), limit: 0 },
        Problem::NoSuchObject(text()),
        Problem::NoSuchThing(text()),
        Problem::Exists(Vec::new()),
        Problem::Deleting(text()),
        Problem::HasGuest(text()),
        Problem::PreconditionFailed(text()),
        Problem::BaseMoved { expected: 0, found: 0 },
        Problem::InUse { text: text(), faults: Vec::new(), more: 0 },
        Problem::BuiltIn(text()),
        Problem::NotFrozen(text()),
        Problem::ForeignOrigin(text()),
        Problem::Gone { from: 0, oldest: 0 },
        Problem::ClusterRefused(text()),
        Problem::BadBackup(text()),
        Problem::StaleTerm(text()),
        Problem::Unavailable(text()),
        Problem::Overloaded(text()),
        Problem::Timeout(text()),
        Problem::Internal(text()),
    ]
}

/// The form of every problem.
pub(super) fn form(generator: &mut schemars::SchemaGenerator) -> Json {
    let codes: Vec<&str> = every().iter().map(Problem::code).collect();
    json!({
        "type": "object",
        "description": "What went wrong, RFC 9457; docs/errors.md tells of each code what to do.",
        "properties": {
            "type": { "type": "string", "format": "uri-reference" },
            "title": { "type": "string" },
            "status": { "type": "integer", "minimum": 400, "maximum": 599 },
            "code": { "type": "string", "enum": codes },
            "detail": { "type": "string" },
            "faults": { "type": "array", "items": generator.subschema_for::<Fault>() },
            "more": { "type": "integer", "minimum": 0 },
            "exists": { "type": "array", "items": { "type": "string" } },
            "oldest": { "type": "integer", "minimum": 0 },
        },
        "required": ["type", "title", "status", "code", "detail"],
    })
}

/// The problems of an operation by their status. Of each set of them one answer is told for all
/// operations; `told` gathers these.
pub(super) fn answers(
    operation: &Operation,
    told: &mut BTreeMap<String, Json>,
) -> Map<String, Json> {
    let every = every();
    let mut by_status: BTreeMap<u16, Vec<&Problem>> = BTreeMap::new();
    for problem in &every {
        if operation.codes().any(|code| code == problem.code()) {
            by_status.entry(problem.status().as_u16()).or_default().push(problem);
        }
    }
    let refer = |(status, problems): (&u16, &Vec<&Problem>)| {
        let codes: Vec<&str> = problems.iter().map(|problem| problem.code()).collect();
        let key = format!("{status}.{}", codes.join("."));
        let pointer = format!("#/components/responses/{key}");
        told.entry(key).or_insert_with(|| answer(*status, problems));
        (status.to_string(), json!({ "$ref": pointer }))
    };
    by_status.iter().map(refer).collect()
}

fn answer(status: u16, told: &[&Problem]) -> Json {
    let codes: Vec<&str> = told.iter().map(|problem| problem.code()).collect();
    let words: Vec<String> =
        told.iter().map(|problem| format!("{} (`{}`)", problem.title(), problem.code())).collect();
    let schema = json!({ "allOf": [
        { "$ref": "#/components/schemas/Problem" },
        { "properties": { "status": { "const": status }, "code": { "enum": codes } } },
    ] });
    let mut answer = json!({
        "description": format!("{}.", words.join(", or ")),
        "content": { PROBLEM_JSON: { "schema": schema } },
    });
    if told.iter().any(|problem| problem.may_be_repeated()) {
        answer["headers"] =
            json!({ "Retry-After": { "$ref": "#/components/headers/Retry-After" } });
    }
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_that_people_are_told_of_is_among_them() {
        let page = include_str!("../../../docs/errors.md");
        let rows = page.lines().filter_map(|line| line.strip_prefix("| `")?.split_once("` | "));
        let mut told: Vec<(&str, &str)> =
            rows.filter_map(|(code, rest)| Some((code, rest.get(..3)?))).collect();
        let every = every();
        let statuses: Vec<String> =
            every.iter().map(|problem| problem.status().as_u16().to_string()).collect();
        let mut ours: Vec<(&str, &str)> =
            every.iter().map(Problem::code).zip(statuses.iter().map(String::as_str)).collect();
        // What only the command line says has no status.
        told.retain(|(_, status)| status.parse::<u16>().is_ok());
        told.sort_unstable();
        ours.sort_unstable();
        assert_eq!(ours, told);
    }
}
