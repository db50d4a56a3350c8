//! The OpenAPI document, made of the [table of routes](table) and of the types that stand in
//! bodies. `docs/openapi.json` holds it, for those who have no server at hand.

pub(crate) mod foreign;
mod parameter;
pub(crate) mod problems;
pub(crate) mod table;

use std::collections::BTreeMap;

use schemars::{
    SchemaGenerator,
    generate::{Contract, SchemaSettings},
};
use serde_json::{Map, Value as Json, json};

use self::{
    parameter::{Parameter, of_path},
    table::{Answer, At, Body, Content, Operation},
};
use crate::fields::IDENTITY;

/// The version of the specification that the document follows.
const OPENAPI: &str = "3.1.0";

/// The whole document.
pub(crate) fn document() -> Json {
    let mut pen = Pen::new();
    let mut paths: BTreeMap<String, Map<String, Json>> = BTreeMap::new();
    for operation in table::all() {
        for (name, path) in operation.paths() {
            let method = operation.verb.as_str().to_ascii_lowercase();
            let told = pen.operation(operation, &name, &path);
            paths.entry(path).or_default().insert(method, told);
        }
    }
    json!({
        "openapi": OPENAPI,
        "info": {
            "title": "Kraken",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Keeps a fleet in the state that its operators asked for. HEAD is \
                answered wherever GET is, OPTIONS with `Allow` everywhere. docs/http.md tells more.",
            "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
        },
        "servers": [{ "url": "/" }],
        "paths": paths,
        "components": pen.components(),
    })
}

/// Describes operations, and gathers what they have in common.
struct Pen {
    /// Of what is answered: what is written stands there always.
    answers: SchemaGenerator,
    /// Of what is asked: what has a default may be left out.
    requests: SchemaGenerator,
    parameters: BTreeMap<&'static str, Json>,
    problems: BTreeMap<String, Json>,
}

impl Pen {
    fn new() -> Self {
        let generator = |contract: Contract| {
            let settings = SchemaSettings::draft2020_12().with(|settings| {
                settings.definitions_path = "/components/schemas".into();
                settings.meta_schema = None;
                settings.contract = contract;
            });
            settings.into_generator()
        };
        Self {
            answers: generator(Contract::Serialize),
            requests: generator(Contract::Deserialize),
            parameters: BTreeMap::new(),
            problems: BTreeMap::new(),
        }
    }

    fn operation(&mut self, operation: &Operation, name: &str, path: &str) -> Json {
        let of_path = path
            .split('/')
            .filter_map(|segment| of_path(segment.strip_prefix('{')?.strip_suffix('}')?));
        let parameters: Vec<Json> =
            of_path.chain(operation.takes).map(|parameter| self.parameter(parameter)).collect();
        let mut responses = problems::answers(operation, &mut self.problems);
        for answer in operation.answers {
            responses.insert(answer.status.to_string(), self.answer(answer));
        }
        let mut told = json!({
            "operationId": name,
            "summary": operation.text,
            "tags": [tag(operation, path)],
            "responses": responses,
        });
        if !parameters.is_empty() {
            told["parameters"] = parameters.into();
        }
        if let Some(body) = &operation.body {
            told["requestBody"] = self.body(body);
        }
        told
    }

    fn parameter(&mut self, parameter: &'static Parameter) -> Json {
        self.parameters.entry(parameter.key).or_insert_with(|| parameter.json());
        json!({ "$ref": format!("#/components/parameters/{}", parameter.key) })
    }

    fn body(&mut self, body: &Body) -> Json {
        let mut content = contents(&mut self.requests, body.contents);
        if let Ok(example) = serde_json::from_str::<Json>(body.example) {
            for media in content.values_mut() {
                media["example"] = example.clone();
            }
        }
        json!({ "required": body.required, "content": content })
    }

    fn answer(&mut self, answer: &Answer) -> Json {
        let mut told = json!({ "description": answer.text });
        if !answer.contents.is_empty() {
            told["content"] = contents(&mut self.answers, answer.contents).into();
        }
        if !answer.headers.is_empty() {
            let named = answer.headers.iter().map(|name| {
                let header = json!({ "$ref": format!("#/components/headers/{name}") });
                ((*name).to_owned(), header)
            });
            told["headers"] = Json::Object(named.collect());
        }
        told
    }

    /// What all operations refer to.
    fn components(mut self) -> Json {
        let problem = problems::form(&mut self.answers);
        let mut schemas = self.requests.take_definitions(true);
        schemas.extend(self.answers.take_definitions(true));
        schemas.insert("Problem".to_owned(), problem);
        // What `fields` may leave out of an object is not sure to be there.
        if let Some(object) = schemas.get_mut("Object") {
            object["required"] = json!(IDENTITY);
        }
        json!({
            "schemas": schemas,
            "parameters": self.parameters,
            "responses": self.problems,
            "headers": headers(),
        })
    }
}

/// Bodies by their media types.
fn contents(generator: &mut SchemaGenerator, contents: &[Content]) -> Map<String, Json> {
    let told = contents.iter().map(|content| {
        let schema = (content.form)(generator).to_value();
        (content.media_type.to_owned(), json!({ "schema": schema }))
    });
    told.collect()
}

/// Under which heading an operation stands.
fn tag(operation: &Operation, path: &str) -> &'static str {
    match (operation.at, path.split('/').nth(2)) {
        (At::Family(_), _) => "objects",
        (At::Path(_), Some("cluster")) => "cluster",
        (At::Path(_), Some("modules" | "graph" | "schema")) => "declarations",
        (At::Path(_), Some("revisions" | "diff" | "rollback")) => "past",
        (At::Path(_), Some("watch" | "events")) => "streams",
        (At::Path(_), Some("debug") | None) => "process",
        (At::Path(_), Some(_)) => "many",
    }
}

fn headers() -> Json {
    let number = json!({ "type": "integer", "format": "uint64", "minimum": 0 });
    json!({
        "Kraken-Revision": {
            "description": "The revision at which Cfg was read, or that the write has.",
            "schema": number,
        },
        "Kraken-Epoch": {
            "description": "The history that revisions belong to: those of different epochs \
                cannot be compared.",
            "schema": number,
        },
        "ETag": {
            "description": "The tag for `If-Match` and `If-None-Match`.",
            "schema": { "type": "string" },
        },
        "Retry-After": {
            "description": "After how many seconds it may be tried again.",
            "schema": number,
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_and_what_is_answered_have_names_of_their_own() {
        let mut pen = Pen::new();
        for operation in table::all() {
            pen.operation(operation, "", "");
        }
        let asked = pen.requests.take_definitions(true);
        let mut answered = pen.answers.take_definitions(true);
        answered.retain(|name, form| asked.get(name).is_some_and(|other| other != form));
        assert_eq!(answered.keys().collect::<Vec<_>>(), [""; 0]);
    }
}
