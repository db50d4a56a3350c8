//! A small world to ask a planner about.

use std::{cell::RefCell, collections::BTreeMap, sync::Arc};

use super::*;
use crate::{catalog::Catalog, id::Name, predicate::Predicate};

/// One object of kind `node` with all that a question needs.
pub(crate) struct World {
    catalog: Arc<Catalog>,
    cfg: State,
    seen: Seen,
    planner: RefCell<Planner>,
}

#[derive(Default)]
pub(crate) struct Seen {
    values: BTreeMap<Path, Value>,
    related: BTreeMap<String, Value>,
}

impl Facts for Seen {
    fn value(&self, path: &Path) -> Option<&Value> {
        self.values.get(path)
    }

    fn related(&self, on: &On, path: &Path) -> Option<Value> {
        let predicate = Predicate {
            on: on.clone(),
            path: path.clone().into(),
            test: crate::predicate::Test::Known,
        };
        let text = predicate.to_string();
        self.related.get(text.trim_end_matches(" known")).cloned()
    }
}

impl World {
    pub(crate) fn new(manifests: &[Manifest]) -> Self {
        Self::of(Arc::new(Catalog::build(manifests).unwrap()))
    }

    pub(crate) fn of(catalog: Arc<Catalog>) -> Self {
        Self {
            catalog,
            cfg: State::new(),
            seen: Seen::default(),
            planner: RefCell::new(Planner::new()),
        }
    }

    pub(crate) fn seen(mut self, path: &str, value: impl Into<Value>) -> Self {
        self.seen.values.insert(Path::new(path).unwrap(), value.into());
        self
    }

    pub(crate) fn related(mut self, on_and_path: &str, value: impl Into<Value>) -> Self {
        self.seen.related.insert(on_and_path.to_owned(), value.into());
        self
    }

    pub(crate) fn asks(mut self, path: &str, value: impl Into<Value>) -> Self {
        self.cfg.set(Path::new(path).unwrap(), value.into()).unwrap();
        self
    }

    pub(crate) fn kind(&self) -> &KindCatalog {
        self.catalog.kind(&Name::new("node").unwrap()).unwrap()
    }

    pub(crate) fn goal(&self) -> BTreeMap<String, Value> {
        let goal = self.kind().schema.goal(&self.cfg, false);
        goal.into_iter().map(|(path, value)| (path.to_string(), value)).collect()
    }

    pub(crate) fn plan(&self) -> Answer {
        self.plan_with(&mut self.planner.borrow_mut())
    }

    pub(crate) fn plan_with(&self, planner: &mut Planner) -> Answer {
        let goal = self.kind().schema.goal(&self.cfg, false);
        planner.plan(&Question {
            kind: self.kind(),
            goal: &goal,
            cfg: &self.cfg,
            facts: &self.seen,
        })
    }

    pub(crate) fn cfg(&self) -> &State {
        &self.cfg
    }

    pub(crate) fn seen_at(&self) -> &Seen {
        &self.seen
    }

    pub(crate) fn stats(&self) -> Stats {
        self.planner.borrow().stats()
    }

    /// The answer in one line.
    pub(crate) fn describe(&self) -> String {
        match self.plan() {
            Ok(plan) => describe(&plan),
            Err(reason) => reason.to_string(),
        }
    }
}

pub(crate) fn describe(plan: &Arc<Plan>) -> String {
    let shown =
        |value: &Option<Value>| value.as_ref().map_or("unknown".to_owned(), Value::to_string);
    let mut parts: Vec<String> = plan
        .steps
        .iter()
        .map(|step| {
            let changes = step.changes.iter();
            let changes =
                changes.map(|c| format!("{} {}->{}", c.path, shown(&c.from), shown(&c.to)));
            format!("{} {}", step.instance, changes.collect::<Vec<_>>().join(", "))
        })
        .collect();
    parts.push(format!("{} ms", plan.cost_ms));
    parts.join("; ")
}

/// Machines with power and a run state, which is known while they are on.
pub(crate) fn node_manifest() -> Manifest {
    let phys = Type::enum_of(["POWER_OFF", "POWER_ON", "PHYS_HANG"]);
    let run = Type::enum_of(["INIT", "SYNC"]);
    let seconds = std::time::Duration::from_secs;
    let on = |name: &str| MutationSpec::new(name).context(Context::Parent);
    Manifest::new("node")
        .extension(
            Extension::new("states")
                .path(PathSpec::new("/physState", phys))
                .path(PathSpec::new("/runState", run).known_while("/physState = POWER_ON")),
        )
        .discovers("/physState")
        .discovers("/runState")
        .mutation(on("Look").changes("/physState", From::Unknown, "POWER_OFF").cost(seconds(1)))
        .mutation(on("PowerOn").changes("/physState", "POWER_OFF", "POWER_ON").cost(seconds(2)))
        .mutation(
            on("PowerOff")
                .changes("/physState", From::one_of(["POWER_ON", "PHYS_HANG"]), "POWER_OFF")
                .cost(seconds(2)),
        )
        .mutation(on("Boot").changes("/runState", From::Unknown, "INIT").cost(seconds(10)))
        .mutation(on("Sync").changes("/runState", "INIT", "SYNC").cost(seconds(1)))
}

/// Services, started with a whole specification at once.
pub(crate) fn services_manifest() -> Manifest {
    let state = Type::enum_of(["STOP", "RUN"]);
    Manifest::new("service")
        .extension(
            Extension::new("services")
                .path(PathSpec::new("/services/*/state", state).absent("STOP"))
                .path(PathSpec::input("/services/*/command", Type::Text))
                .path(
                    PathSpec::fact("/services/*/spec", Type::Text)
                        .digest_of(&["/services/*/command"])
                        .known_while("/services/*/state = RUN"),
                ),
        )
        .discovers("/services/*/state")
        .discovers("/services/*/spec")
        .mutation(MutationSpec::new("Start").changes("/services/*/state", "STOP", "RUN").changes(
            "/services/*/spec",
            From::Any,
            To::Cfg,
        ))
        .mutation(MutationSpec::new("Stop").changes("/services/*/state", "RUN", "STOP"))
}
