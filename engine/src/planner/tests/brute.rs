//! The planner against a search without any cleverness, on random small kinds.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::{kit::World, *};
use crate::{
    catalog::Catalog,
    manifest::MutationSpec,
    mutation::{Change, Mutation},
    predicate::Predicate,
};

pub(crate) const PATHS: [&str; 4] = ["/a", "/b", "/c", "/d"];

/// A random kind and question over four paths of three values.
#[derive(Debug, Clone)]
pub(crate) struct Case {
    pub(crate) manifest: Manifest,
    pub(crate) start: Vec<Option<i64>>,
    pub(crate) goal: Vec<Option<i64>>,
    pub(crate) parent: Option<i64>,
}

impl Case {
    fn world(&self) -> World {
        self.world_of(&Arc::new(Catalog::build(std::slice::from_ref(&self.manifest)).unwrap()))
    }

    /// The case's question, of a kind that is compiled already.
    fn world_of(&self, catalog: &Arc<Catalog>) -> World {
        let mut world = World::of(catalog.clone());
        for (path, (start, goal)) in PATHS.iter().zip(self.start.iter().zip(&self.goal)) {
            if let Some(start) = start {
                world = world.seen(path, *start);
            }
            if let Some(goal) = goal {
                world = world.asks(path, *goal);
            }
        }
        match self.parent {
            Some(value) => world.related("@parent /a", value),
            None => world,
        }
    }
}

fn predicate() -> impl Strategy<Value = String> {
    let test = prop_oneof![
        4 => (0..3_i64).prop_map(|value| format!("= {value}")),
        1 => (0..3_i64).prop_map(|value| format!("!= {value}")),
        1 => (0..3_i64).prop_map(|value| format!("< {value}")),
        1 => (0..3_i64).prop_map(|value| format!(">= {value}")),
        1 => Just("known".to_owned()),
    ];
    let path = prop_oneof![
        8 => prop::sample::select(&PATHS[..]).prop_map(str::to_owned),
        1 => Just("@parent /a".to_owned()),
    ];
    (path, test).prop_map(|(path, test)| format!("{path} {test}"))
}

type Changes = BTreeMap<usize, (From, To)>;

fn changes() -> impl Strategy<Value = Changes> {
    let from = prop_oneof![
        1 => Just(From::Any),
        1 => Just(From::Unknown),
        6 => prop::collection::btree_set(0..3_i64, 1..3)
            .prop_map(|values| From::In(values.into_iter().map(Value::from).collect())),
    ];
    let to = prop_oneof![
        6 => (0..3_i64).prop_map(To::from),
        1 => Just(To::Cfg),
    ];
    prop::collection::btree_map(0..PATHS.len(), (from, to), 1..3)
}

fn mutation() -> impl Strategy<Value = MutationSpec> {
    let requires = prop::collection::vec(predicate(), 0..3);
    let excludes = prop::collection::vec(predicate(), 0..2);
    (changes(), requires, excludes, 1..4_u64).prop_map(|(changes, requires, excludes, cost)| {
        let mut mutation = MutationSpec::new("m");
        for (path, (from, to)) in changes {
            let from = match (from, &to) {
                (From::In(values), To::Value(to)) if values.contains(to) => From::Any,
                (from, _) => from,
            };
            mutation = mutation.changes(PATHS[path], from, to);
        }
        mutation.requires = requires;
        mutation.excludes = excludes;
        mutation.cost_ms = cost;
        mutation
    })
}

/// The manifest without what contradicts itself, which is refused; the rest is still a kind.
fn sound(all: Manifest) -> Manifest {
    let is_sound = |manifest: &Manifest| Catalog::build(std::slice::from_ref(manifest)).is_ok();
    if is_sound(&all) {
        return all;
    }
    let mut manifest = Manifest { mutations: Vec::new(), ..all.clone() };
    for mutation in all.mutations {
        let more = manifest.clone().mutation(mutation);
        if is_sound(&more) {
            manifest = more;
        }
    }
    manifest
}

pub(crate) fn case() -> impl Strategy<Value = Case> {
    let known_while = prop::collection::vec(prop::option::weighted(0.3, (0..4_usize, 0..3_i64)), 4);
    let mutations = prop::collection::vec(mutation(), 1..10);
    let values = || prop::collection::vec(prop::option::weighted(0.7, 0..3_i64), 4);
    (known_while, mutations, values(), values(), prop::option::of(0..3_i64)).prop_map(
        |(known_while, mutations, start, goal, parent)| {
            let mut extension = Extension::new("e");
            for (place, condition) in known_while.into_iter().enumerate() {
                let path = PathSpec::new(PATHS[place], Type::Int { min: 0, max: 2 });
                extension = extension.path(match condition {
                    Some((cause, value)) if cause < place => {
                        path.known_while(&format!("{} = {value}", PATHS[cause]))
                    }
                    _ => path,
                });
            }
            let mut manifest = Manifest::new("m").extension(extension);
            manifest.discovers = PATHS.map(str::to_owned).to_vec();
            for (place, mut mutation) in mutations.into_iter().enumerate() {
                mutation.name = format!("m{place}");
                manifest = manifest.mutation(mutation);
            }
            Case { manifest: sound(manifest), start, goal, parent }
        },
    )
}

type Values = BTreeMap<Path, Option<Value>>;

/// The meaning of mutations, as plainly as it can be said.
struct Plain<'a> {
    world: &'a World,
    goal: Goal,
    /// Whether tests of other objects are taken as met.
    lenient: bool,
}

impl Plain<'_> {
    /// What a mutation makes of values; `None` where it cannot start, or would not be seen to work.
    fn after(&self, mutation: &Mutation, values: &Values) -> Option<Values> {
        let holds = |predicate: &Predicate, wanted: bool| {
            if predicate.on != On::Itself {
                let path = predicate.path(&Vec::new()).unwrap();
                let found = self.world.seen_at().related(&predicate.on, &path);
                return self.lenient || predicate.test.holds(found.as_ref()) == wanted;
            }
            let path = predicate.path(&Vec::new()).unwrap();
            predicate.test.holds(values[&path].as_ref()) == wanted
        };
        let starts = mutation.changes.iter().all(|change| {
            change.from.admits(values[&plain(change)].as_ref())
                && (change.to != To::Cfg || self.goal.contains_key(&plain(change)))
        });
        let may = starts
            && mutation.requires.iter().all(|predicate| holds(predicate, true))
            && mutation.excludes.iter().all(|predicate| holds(predicate, false));
        if !may {
            return None;
        }
        let mut after = values.clone();
        for change in &mutation.changes {
            after.insert(plain(change), self.led(change));
        }
        let led: BTreeSet<Path> = mutation.changes.iter().map(plain).collect();
        let forgotten = self.forget(&mut after, &led);
        let stays = led.difference(&forgotten).all(|path| {
            self.conditions(path).all(|(cause, allowed)| {
                let is_set = led.contains(&cause) || forgotten.contains(&cause);
                let known = values[&cause].as_ref().map(|value| allowed.contains(value));
                is_set || known.unwrap_or_else(|| !self.can_be_made(&cause, &allowed))
            })
        });
        stays.then_some(after)
    }

    fn led(&self, change: &Change) -> Option<Value> {
        match &change.to {
            To::Value(value) => Some(value.clone()),
            To::Cfg => self.goal.get(&plain(change)).cloned(),
        }
    }

    fn forget(&self, after: &mut Values, led: &BTreeSet<Path>) -> BTreeSet<Path> {
        let mut forgotten = BTreeSet::new();
        loop {
            let moved: BTreeSet<Path> = led.union(&forgotten).cloned().collect();
            let next = after.keys().find(|path| {
                !forgotten.contains(*path)
                    && self.conditions(path).any(|(cause, allowed)| {
                        moved.contains(&cause)
                            && after[&cause].as_ref().is_none_or(|value| !allowed.contains(value))
                    })
            });
            let Some(path) = next.cloned() else { return forgotten };
            after.insert(path.clone(), None);
            forgotten.insert(path);
        }
    }

    fn conditions(&self, path: &Path) -> impl Iterator<Item = (Path, BTreeSet<Value>)> {
        let (rule, _) = self.world.kind().schema.rule(path).unwrap();
        let conditions = rule.known_while.iter();
        let plain = conditions.map(|c| (c.pattern.bind(&[]).unwrap(), c.allowed.clone()));
        plain.collect::<Vec<_>>().into_iter()
    }

    fn can_be_made(&self, path: &Path, allowed: &BTreeSet<Value>) -> bool {
        let usable = |mutation: &&Arc<Mutation>| {
            let asked = |c: &Change| c.to != To::Cfg || self.goal.contains_key(&plain(c));
            mutation.changes.iter().all(asked)
        };
        self.world.kind().mutations.iter().filter(usable).any(|mutation| {
            let mut changes = mutation.changes.iter().filter(|change| plain(change) == *path);
            changes.any(|change| self.led(change).is_some_and(|value| allowed.contains(&value)))
        })
    }

    /// The least cost to the goal.
    fn cheapest(&self) -> Option<u64> {
        let mut queue = BTreeSet::from([(0, self.start())]);
        let mut done: BTreeSet<Values> = BTreeSet::new();
        while let Some((cost, values)) = queue.pop_first() {
            if self.is_goal(&values) {
                return Some(cost);
            }
            if !done.insert(values.clone()) {
                continue;
            }
            for mutation in &self.world.kind().mutations {
                let after = self.after(mutation, &values).filter(|after| !done.contains(after));
                queue.extend(after.map(|after| (cost + mutation.cost_ms, after)));
            }
        }
        None
    }

    fn start(&self) -> Values {
        let paths = PATHS.iter().map(|path| Path::new(path).unwrap());
        paths.map(|path| (path.clone(), self.world.seen_at().value(&path).cloned())).collect()
    }

    fn is_goal(&self, values: &Values) -> bool {
        self.goal.iter().all(|(path, value)| values[path].as_ref() == Some(value))
    }
}

fn plain(change: &Change) -> Path {
    change.path.bind(&[]).unwrap()
}

/// Walks the steps of a plan; each must be possible, and do what the plan says.
fn walk(plain: &Plain<'_>, plan: &Plan) -> Values {
    let mut values = plain.start();
    for step in &plan.steps {
        let after = plain.after(&step.instance.mutation, &values);
        let after = after.unwrap_or_else(|| panic!("{} cannot be done", step.instance));
        for change in &step.changes {
            assert_eq!(values[&change.path], change.from, "{}", step.instance);
            assert_eq!(after[&change.path], change.to, "{}", step.instance);
        }
        values = after;
    }
    values
}

fn check(case: &Case) {
    let world = case.world();
    let goal = world.kind().schema.goal(world.cfg(), false);
    let strict = Plain { world: &world, goal: goal.clone(), lenient: false };
    let lenient = Plain { world: &world, goal, lenient: true };
    match world.plan() {
        Ok(plan) if plan.waits_for.is_empty() => {
            let end = walk(&strict, &plan);
            if plan.blocked.is_empty() {
                assert!(strict.is_goal(&end));
                assert_eq!(strict.cheapest(), Some(plan.cost_ms));
            } else {
                assert_eq!(lenient.cheapest(), None, "{:?}", plan.blocked);
            }
        }
        Ok(plan) => {
            assert_eq!(strict.cheapest(), None, "it need not wait for {:?}", plan.waits_for);
            let end = walk(&lenient, &plan);
            assert!(!plan.blocked.is_empty() || lenient.is_goal(&end));
        }
        Err(reason) => assert_eq!(lenient.cheapest(), None, "{reason}"),
    }
}

mod properties {
    use super::*;

    proptest! {
        #[test]
        fn plans_cost_what_a_plain_search_finds_and_each_step_can_be_done(case in case()) {
            check(&case);
        }

        #[test]
        fn the_same_question_has_the_same_answer(case in case()) {
            let world = case.world();
            prop_assert_eq!(world.plan(), world.plan_with(&mut Planner::new()));
        }

        #[test]
        fn the_memo_never_changes_an_answer(
            case in case(),
            others in prop::collection::vec(
                (prop::collection::vec(prop::option::weighted(0.7, 0..3_i64), 4), any::<bool>()),
                1..6,
            ),
            size in 2..6_usize,
        ) {
            let mut shared = Planner::with_memo(size, size);
            let mut cases = vec![case.clone()];
            for (values, is_goal) in others {
                let mut other = case.clone();
                if is_goal { other.goal = values } else { other.start = values }
                cases.push(other);
            }
            let catalog = Catalog::build(std::slice::from_ref(&case.manifest)).unwrap();
            let catalog = Arc::new(catalog);
            for case in cases.iter().chain(&cases) {
                let world = case.world_of(&catalog);
                prop_assert_eq!(world.plan_with(&mut shared), world.plan_with(&mut Planner::new()));
            }
            prop_assert!(shared.kept() <= size.max(2) + 1);
        }
    }
}
