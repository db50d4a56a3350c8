//! The states of modules as ordinary Dsc of their node, under `/modules`.

use std::collections::BTreeMap;

use kraken_engine::{
    id::{Name, Uid},
    manifest::{Extension, Manifest, PathSpec, Type},
    path::Path,
    value::Value,
};

use super::supervision::{ModuleState, Supervision};
use crate::module::authority::Values;

/// The module name under which the host itself reports.
pub const HOST_MODULE: &str = "modules";

/// What the host itself declares: the states of modules.
pub fn manifest() -> Manifest {
    let states = ["INIT", "RUN", "STOP", "ERROR"];
    Manifest::new(HOST_MODULE)
        .doc("Shows the modules of each node")
        .extension(
            Extension::new(HOST_MODULE)
                .path(
                    PathSpec::fact("/modules/*/state", Type::enum_of(states))
                        .doc("Whether the module runs"),
                )
                .path(
                    PathSpec::fact("/modules/*/error", Type::Text)
                        .doc("Why the module does not run"),
                )
                .path(
                    PathSpec::fact("/modules/*/restarts", Type::count())
                        .doc("How often the module was started again since the agent started"),
                ),
        )
        .discovers("/modules/*/state")
        .discovers("/modules/*/error")
        .discovers("/modules/*/restarts")
}

/// Finds what is new in the states of modules since they were last told.
#[derive(Debug, Default)]
pub(crate) struct States {
    node: Option<Uid>,
    told: BTreeMap<Path, Option<Value>>,
}

impl States {
    /// What is to be told of `node` now; everything, if it was not told of this node before.
    pub(crate) fn news<'a>(
        &mut self,
        node: Uid,
        modules: impl IntoIterator<Item = (&'a Name, &'a Supervision)>,
    ) -> Values {
        if self.node.replace(node) != Some(node) {
            self.told.clear();
        }
        let facts =
            modules.into_iter().flat_map(|(module, supervision)| facts(module, supervision));
        let news: Values =
            facts.filter(|(path, value)| self.told.get(path) != Some(value)).collect();
        self.told.extend(news.iter().cloned());
        news
    }
}

fn facts(module: &Name, supervision: &Supervision) -> Values {
    let state = match supervision.state() {
        ModuleState::Init => "INIT",
        ModuleState::Run => "RUN",
        ModuleState::Stop => "STOP",
        ModuleState::Error => "ERROR",
    };
    let restarts = i64::try_from(supervision.restarts()).unwrap_or(i64::MAX);
    let facts = [
        ("state", Some(state.into())),
        ("error", supervision.error().map(Value::from)),
        ("restarts", Some(restarts.into())),
    ];
    // A name is always a segment, and three segments are never too long.
    let path = |tail| Path::new(format!("/modules/{module}/{tail}")).ok();
    facts.into_iter().filter_map(|(tail, value)| Some((path(tail)?, value))).collect()
}

#[cfg(test)]
mod tests {
    use kraken_engine::{catalog::Catalog, time::Millis};

    use super::*;
    use crate::module::Authority;

    #[test]
    fn the_manifest_is_sound_and_covers_what_is_told() {
        Catalog::build(&[manifest()]).unwrap();
        let name = Name::new("lamp").unwrap();
        let facts = facts(&name, &Supervision::new(1));
        let (_, refused) = Authority::of(&manifest()).admit(facts);
        assert_eq!(refused, []);
    }

    #[test]
    fn only_news_is_told_and_all_of_it_to_a_new_node() {
        let name = Name::new("lamp").unwrap();
        let (n1, n2) = (Uid::from_bytes([1; 16]), Uid::from_bytes([2; 16]));
        let mut supervision = Supervision::new(1);
        let mut states = States::default();
        let mut count =
            |node, supervision: &Supervision| states.news(node, [(&name, supervision)]).len();
        assert_eq!(count(n1, &supervision), 3);
        assert_eq!(count(n1, &supervision), 0);
        let generation = supervision.start();
        supervision.failed_to_start(generation, Millis::ZERO, "no".to_owned());
        assert_eq!(count(n1, &supervision), 1, "the error; INIT it was before");
        assert_eq!(count(n2, &supervision), 3);
    }
}
