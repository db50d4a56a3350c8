//! Steps that were done, read back from what events say of them, so that a graph can show where an
//! object came from. What cannot be told for sure is left out.

use std::collections::BTreeMap;

use crate::{
    catalog::KindCatalog,
    mutation::{From, Instance, MutationId, To},
    path::Path,
    planner::{Step, StepChange},
    state::State,
    value::Value,
};

/// The steps that these names, `module/Name(bindings)`, stand for, with what each changed.
pub(super) fn walked(kind: &KindCatalog, cfg: &State, names: &[String]) -> Vec<Step> {
    let mut now: BTreeMap<Path, Value> = BTreeMap::new();
    let mut steps = Vec::new();
    for instance in names.iter().filter_map(|name| instance(kind, name)) {
        let mut changes = Vec::new();
        for (path, change) in instance.changes() {
            let to = match &change.to {
                To::Value(value) => Some(value),
                To::Cfg => cfg.get(path.as_str()),
            };
            let Some(to) = to.cloned() else { continue };
            let held = now.insert(path.clone(), to.clone());
            let from = match (&change.from, held) {
                (from, Some(held)) if from.admits(Some(&held)) => Some(Some(held)),
                (From::In(values), _) if values.len() == 1 => Some(values.first().cloned()),
                (From::Unknown, _) => Some(None),
                (From::In(_) | From::Any, _) => None,
            };
            changes.extend(from.map(|from| StepChange { path, from, to: Some(to) }));
        }
        let cost_ms = instance.mutation.cost_ms;
        steps.push(Step { instance, changes, cost_ms });
    }
    steps
}

fn instance(kind: &KindCatalog, name: &str) -> Option<Instance> {
    let (id, bindings) = match name.strip_suffix(')').and_then(|name| name.split_once('(')) {
        Some((id, bound)) => (id, bound.split(',').map(Into::into).collect()),
        None => (name, Vec::new()),
    };
    let mutation = kind.mutation(&MutationId::try_from(id.to_owned()).ok()?)?.clone();
    (mutation.stars() == bindings.len()).then_some(Instance { mutation, bindings })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        catalog::Catalog,
        id::Name,
        manifest::{Extension, Manifest, MutationSpec, PathSpec, Type},
    };

    fn shown(value: Option<&Value>) -> String {
        value.map_or_else(|| "unknown".to_owned(), ToString::to_string)
    }

    #[test]
    fn steps_are_read_back_as_far_as_they_can_be_told() {
        let states = Type::enum_of(["OFF", "ON", "RUN"]);
        let all = From::one_of(["OFF", "ON"]);
        let manifest = Manifest::new("m")
            .extension(Extension::new("x").path(PathSpec::new("/s/*/x", states)))
            .mutation(MutationSpec::new("On").changes("/s/*/x", "OFF", "ON"))
            .mutation(MutationSpec::new("Run").changes("/s/*/x", all, "RUN"));
        let catalog = Catalog::build(&[manifest]).unwrap();
        let kind = catalog.kind(&Name::new("node").unwrap()).unwrap();
        let told = |names: &[&str]| -> Vec<String> {
            let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
            let steps = walked(kind, &State::new(), &names);
            let of = |step: &Step| {
                let changes = step
                    .changes
                    .iter()
                    .map(|c| format!(" {}>{}", shown(c.from.as_ref()), shown(c.to.as_ref())));
                format!("{}{}", step.instance, changes.collect::<String>())
            };
            steps.iter().map(of).collect()
        };
        assert_eq!(
            told(&["m/On(a)", "m/Run(a)", "m/Gone(a)", "m/Run(a,b)", "m/Run"]),
            ["m/On(a) OFF>ON", "m/Run(a) ON>RUN"]
        );
        assert_eq!(told(&["m/Run(b)"]), ["m/Run(b)"], "from which of two is not known");
    }
}
