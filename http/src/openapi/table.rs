//! The one table of routes: what each is called, what it takes, what it answers and how it fails.
//! The document is made of it, and so are the answers to methods that a path does not take and to
//! media types that nobody speaks. A route that has no row here fails a test.

mod fleet;
mod objects;
mod quorum;

use schemars::{JsonSchema, Schema, SchemaGenerator};

pub(crate) use self::quorum::SCHEMA_JSON;
use super::parameter::Parameter;

/// What a route is asked with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verb {
    Get,
    Post,
    Put,
    Patch,
    Delete,
}

/// Where a route is.
#[derive(Debug, Clone, Copy)]
pub(crate) enum At {
    /// At one path.
    Path(&'static str),
    /// Below the objects of each kind, where nodes have a shorter path.
    Family(&'static str),
}

/// The form of something, as a generator is to describe it.
pub(crate) type Form = fn(&mut SchemaGenerator) -> Schema;

/// The form of a type.
pub(super) fn of<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    generator.subschema_for::<T>()
}

/// A body in one of a few media types.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Content {
    pub(crate) media_type: &'static str,
    pub(crate) form: Form,
}

/// The body of a request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Body {
    /// Without one the request cannot be meant.
    pub(crate) required: bool,
    pub(crate) contents: &'static [Content],
    /// One that can be sent, JSON.
    pub(crate) example: &'static str,
}

/// An answer that is no problem.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) text: &'static str,
    pub(crate) contents: &'static [Content],
    /// Headers that it has, by name.
    pub(crate) headers: &'static [&'static str],
}

/// One route.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Operation {
    /// The name under which it is counted.
    pub(crate) name: &'static str,
    pub(crate) verb: Verb,
    pub(crate) at: At,
    pub(crate) text: &'static str,
    /// Its query parameters and headers; those of its path are known by their names.
    pub(crate) takes: &'static [Parameter],
    pub(crate) body: Option<Body>,
    pub(crate) answers: &'static [Answer],
    /// The codes of its problems, in groups.
    pub(crate) fails: &'static [&'static [&'static str]],
}

/// Paths at which the objects of a kind are, with what their operations are called after.
pub(crate) const FAMILIES: [(&str, &str); 3] = [
    ("nodes", "/v1/nodes"),
    ("objects", "/v1/objects/{kind}"),
    ("namespaced", "/v1/namespaces/{namespace}/objects/{kind}"),
];

/// What may go wrong with any request.
pub(super) const ANY: &[&str] =
    &["bad_query", "bad_header", "not_acceptable", "overloaded", "internal", "unavailable"];
/// What may go wrong where the quorum is asked.
pub(super) const ASKED: &[&str] = &["timeout"];
/// What may go wrong with a path that names objects.
pub(super) const NAMED: &[&str] = &["no_such_thing"];
/// What may go wrong with a body.
pub(super) const SENT: &[&str] = &[
    "bad_body",
    "body_too_large",
    "body_too_slow",
    "too_many",
    "unsupported_media_type",
    "foreign_origin",
];
/// What may go wrong with a write of objects.
pub(super) const WRITTEN: &[&str] = &[
    "invalid",
    "no_such_object",
    "exists",
    "deleting",
    "has_guest",
    "precondition_failed",
    "base_moved",
];

/// A route that only reads.
pub(super) const fn read(
    name: &'static str,
    at: At,
    text: &'static str,
    answers: &'static [Answer],
) -> Operation {
    Operation { name, verb: Verb::Get, at, text, takes: &[], body: None, answers, fails: &[ANY] }
}

/// A route that changes something.
pub(super) const fn write(
    name: &'static str,
    (verb, at): (Verb, At),
    text: &'static str,
    answers: &'static [Answer],
) -> Operation {
    Operation { name, verb, at, text, takes: &[], body: None, answers, fails: &[ANY, ASKED, SENT] }
}

/// Every route.
pub(crate) fn all() -> impl Iterator<Item = &'static Operation> {
    objects::OPERATIONS.iter().chain(fleet::OPERATIONS).chain(quorum::OPERATIONS)
}

/// The routes at a path of a request, one for each method.
pub(crate) fn at(path: &str) -> impl Iterator<Item = &'static Operation> {
    all().filter(move |operation| operation.at.fits(path))
}

/// The route that a request is for.
pub(crate) fn find(method: &str, path: &str) -> Option<&'static Operation> {
    let method = if method == "HEAD" { "GET" } else { method };
    // Asked of every request: the quick test first.
    all().find(|operation| operation.verb.as_str() == method && operation.at.fits(path))
}

/// Whether a path is one of a template, of which these are the segments.
fn fits<'a>(mut ours: impl Iterator<Item = &'a str>, path: &str) -> bool {
    let path = path.strip_suffix('/').filter(|rest| !rest.is_empty()).unwrap_or(path);
    let mut theirs = path.split('/');
    loop {
        match (ours.next(), theirs.next()) {
            (None, None) => return true,
            (Some(our), Some(their)) if our == their => {}
            (Some(our), Some(their)) if our.starts_with('{') && !their.is_empty() => {}
            _ => return false,
        }
    }
}

impl Verb {
    /// As a request says it.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Patch => "PATCH",
            Self::Delete => "DELETE",
        }
    }
}

impl At {
    /// Whether a path of a request is there.
    fn fits(self, path: &str) -> bool {
        match self {
            Self::Path(template) => fits(template.split('/'), path),
            Self::Family(rest) => FAMILIES
                .iter()
                .any(|(_, root)| fits(root.split('/').chain(rest.split('/').skip(1)), path)),
        }
    }
}

impl Operation {
    /// What it is called at each of its paths, and those.
    pub(crate) fn paths(&self) -> impl Iterator<Item = (String, String)> + use<'_> {
        let (one, rest) = match self.at {
            At::Path(path) => (Some((self.name.to_owned(), path.to_owned())), None),
            At::Family(rest) => (None, Some(rest)),
        };
        let last = self.name.rsplit('.').next().unwrap_or(self.name);
        let families = rest.into_iter().flat_map(move |rest| {
            FAMILIES.map(|(family, root)| (format!("{family}.{last}"), format!("{root}{rest}")))
        });
        one.into_iter().chain(families)
    }

    /// What it is called at a path of a request, and the template of that.
    pub(crate) fn at(&self, path: &str) -> Option<(String, String)> {
        self.paths().find(|(_, template)| fits(template.split('/'), path))
    }

    /// The media types of its answers.
    pub(crate) fn offers(&self) -> Vec<&'static str> {
        let contents = self.answers.iter().flat_map(|answer| answer.contents);
        contents.map(|content| content.media_type).collect()
    }

    /// The media types of bodies that it reads; none where it takes no body.
    pub(crate) fn reads(&self) -> Vec<&'static str> {
        let contents = self.body.iter().flat_map(|body| body.contents);
        contents.map(|content| content.media_type).collect()
    }

    /// The codes of its problems.
    pub(crate) fn codes(&self) -> impl Iterator<Item = &'static str> + use<> {
        self.fails.iter().copied().flatten().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_fit_their_templates_alone() {
        for (template, path, expected) in [
            ("/v1/nodes", "/v1/nodes", true),
            ("/v1/nodes", "/v1/nodes/", true),
            ("/v1/nodes", "/v1/node", false),
            ("/v1/nodes/{name}", "/v1/nodes/n1", true),
            ("/v1/nodes/{name}", "/v1/nodes//", false),
            ("/v1/nodes/{name}/why", "/v1/nodes/n1/plan", false),
            ("/v1/nodes/{name}", "/v1/nodes/n1/why", false),
        ] {
            assert_eq!(fits(template.split('/'), path), expected, "{template} {path}");
        }
    }

    #[test]
    fn the_objects_of_each_kind_have_the_routes_of_nodes() {
        for (method, path, expected) in [
            ("GET", "/v1/nodes", Some("objects.list")),
            ("HEAD", "/v1/nodes/n1", Some("objects.get")),
            ("GET", "/v1/objects/rack/r1/why", Some("objects.why")),
            ("PUT", "/v1/namespaces/lab/objects/rack/r1", Some("objects.put")),
            ("GET", "/v1/cluster/snapshot", Some("cluster.save")),
            ("PUT", "/v1/namespaces/lab/objects/rack", None),
            ("GET", "/v1/objects", None),
            ("GET", "/", None),
        ] {
            let found = find(method, path).map(|operation| operation.name);
            assert_eq!(found, expected, "{method} {path}");
        }
    }

    #[test]
    fn every_operation_is_called_something_else() {
        let mut names: Vec<String> =
            all().flat_map(|operation| operation.paths().map(|(name, _)| name)).collect();
        let count = names.len();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), count);
    }
}
