//! Goals with names, as they are compiled: each asks for something that can be asked for. Whether
//! it can be reached is proved by [`check`](crate::check).

use std::collections::BTreeSet;

use super::{Compiler, NamedGoal, compile::Place};
use crate::{
    catalog::Problem,
    check::Code,
    id::Name,
    manifest::{GoalSpec, Manifest, SetBy},
    path::{Bindings, Path},
    schema::{PathRule, Schema},
    state::State,
};

impl Compiler {
    /// Takes over the goals that a manifest names, once all paths are declared.
    pub(super) fn goals(&mut self, manifest: &Manifest) {
        let mut names = BTreeSet::new();
        for (index, spec) in manifest.goals.iter().enumerate() {
            let keys = ["goals", &index.to_string()];
            let place = Place::new(&manifest.module, format!("goal {}", spec.name), &keys);
            if !names.insert(&spec.name) {
                let why = "a second goal of the same name";
                self.problems.push(place.problem_at(&["name"], Code::Twice, why));
                continue;
            }
            match self.goal(&manifest.module, spec, &place) {
                Ok(()) => {}
                Err(problems) => self.problems.extend(problems),
            }
        }
    }

    fn goal(
        &mut self,
        module: &str,
        spec: &GoalSpec,
        place: &Place<'_>,
    ) -> Result<(), Vec<Problem>> {
        let name = |text: &str, key: &str| {
            let unreadable = |error| vec![place.problem_at(&[key], Code::Unreadable, error)];
            Name::new(text).map_err(unreadable)
        };
        let kind = name(&spec.kind, "kind")?;
        let Some(kind) = self.kinds.get_mut(&kind) else {
            let why = format!("no extension declares paths of kind {kind}");
            return Err(vec![place.problem_at(&["kind"], Code::UnknownKind, why)]);
        };
        if spec.values.is_empty() {
            return Err(vec![place.problem(Code::Unreadable, "it asks for nothing")]);
        }
        let (values, problems) = values(&kind.schema, spec, place);
        if !problems.is_empty() {
            return Err(problems);
        }
        let (module, name) = (name(module, "name")?, name(&spec.name, "name")?);
        kind.goals.push(NamedGoal { module, name, doc: spec.doc.clone(), values });
        Ok(())
    }
}

/// The values of a goal, and what is wrong with them.
fn values(schema: &Schema, spec: &GoalSpec, place: &Place<'_>) -> (State, Vec<Problem>) {
    let (mut values, mut problems) = (State::new(), Vec::new());
    for (text, value) in &spec.values {
        let wrong = |code, why| place.problem_at(&["values", text], code, why);
        let path = match Path::new(text) {
            Ok(path) => path,
            Err(error) => {
                problems.push(wrong(Code::Unreadable, error.to_string()));
                continue;
            }
        };
        let Some((rule, _)) = schema.rule(&path) else {
            let why = format!("no extension declares {path}");
            problems.push(wrong(Code::UnknownPath, why));
            continue;
        };
        if let Err(why) = rule.value_type.check(value) {
            problems.push(wrong(Code::WrongValue, format!("{path}: {why}")));
        } else if rule.set_by == SetBy::Nobody {
            let why = format!("nobody sets {path}, so that it cannot be asked for");
            problems.push(wrong(Code::Contradiction, why));
        } else if let Err(error) = values.set(path, value.clone()) {
            problems.push(wrong(Code::Contradiction, error.to_string()));
        }
    }
    let unknown = values.iter().filter_map(|(path, _)| {
        let (condition, held) = unmet(schema.rule(path)?, &values)?;
        let why = format!("it asks for {condition} = {held}, while which {path} is unknown");
        Some(place.problem_at(&["values", path.as_str()], Code::Contradiction, why))
    });
    problems.extend(unknown.collect::<Vec<_>>());
    (values, problems)
}

/// A value that is asked for beside a path and makes the path unknown.
fn unmet((rule, bindings): (&PathRule, Bindings), values: &State) -> Option<(Path, String)> {
    rule.known_while.iter().find_map(|condition| {
        let cause = condition.pattern.bind(&bindings)?;
        let held = values.get(cause.as_str())?;
        (!condition.allowed.contains(held)).then(|| (cause, held.to_string()))
    })
}
