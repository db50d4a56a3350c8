//! The table of routes, row by row, and the spread of the hashing.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::{NoRoute, Route, Standing, heaviest, route};
use crate::{
    id::{ClusterId, Name, Revision, Uid},
    manifest::Context,
    object::Tenure,
    object::{Labels, Object, ObjectRef},
    path::Path,
    state::State,
    time::Millis,
};

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

/// Leader `m1`; the leaf `n1` is attached to `m2`, `n2` to the leader, `n3` to nobody; `lamp` runs
/// where it is told.
struct Fleet {
    leader: Name,
    reached: BTreeSet<Name>,
    parents: BTreeMap<Name, Name>,
    runs: BTreeSet<Name>,
}

impl Fleet {
    fn new(reached: &[&str], runs: &[&str]) -> Self {
        let names = |names: &[&str]| names.iter().map(|text| name(text)).collect();
        Self {
            leader: name("m1"),
            reached: names(reached),
            parents: [(name("n1"), name("m2")), (name("n2"), name("m1"))].into(),
            runs: names(runs),
        }
    }
}

impl Standing for Fleet {
    fn leader(&self) -> &Name {
        &self.leader
    }

    fn is_member(&self, node: &Name) -> bool {
        *node == self.leader || self.reached.contains(node)
    }

    fn members(&self) -> Vec<Name> {
        self.reached.iter().cloned().chain([self.leader.clone()]).collect()
    }

    fn parent_of(&self, node: &Name) -> Option<Name> {
        self.parents.get(node).cloned()
    }

    fn runs(&self, node: &Name, _: &Name) -> bool {
        self.runs.contains(node)
    }
}

fn object(kind: &str, named: &str, ordinal: u32) -> Object {
    Object {
        uid: Uid::derive(ClusterId::new(1), Revision::new(1), ordinal),
        key: ObjectRef { kind: name(kind), namespace: None, name: name(named) },
        labels: Labels::new(),
        owner: None,
        on_delete: <_>::default(),
        tenure: Tenure::default(),
        created: Millis::ZERO,
        revision: Revision::new(1),
        generation: 1,
        deleting: false,
        frozen: None,
        cfg: State::new(),
    }
}

fn routed(fleet: &Fleet, context: Context, of: &str) -> Result<(String, Option<String>), String> {
    let found = route(context, &name("lamp"), &object("node", of, 1), fleet);
    let Route { to, first } = found.map_err(|error| error.to_string())?;
    Ok((to.to_string(), first.map(|first| first.to_string())))
}

#[test]
fn routes_are_as_the_table_says() {
    let everywhere = Fleet::new(&["m2", "m3"], &["m1", "m2", "m3", "n1", "n2", "n3"]);
    let leaves = Fleet::new(&["m2", "m3"], &["n1", "n2", "n3"]);
    let third = Fleet::new(&["m2", "m3"], &["m3"]);
    let cut = Fleet::new(&["m3"], &["m1", "m2", "m3", "n1", "n2"]);
    let to = |to: &str, first: Option<&str>| Ok((to.to_owned(), first.map(str::to_owned)));
    let no = |why: &str| Err(why.to_owned());
    let table = [
        (&everywhere, Context::Node, "n1", to("n1", Some("m2"))),
        (&everywhere, Context::Node, "n2", to("n2", Some("n2"))),
        (&everywhere, Context::Node, "n3", no("n3 is not attached")),
        (&everywhere, Context::Node, "m1", to("m1", None)),
        (&everywhere, Context::Node, "m2", to("m2", Some("m2"))),
        (&third, Context::Node, "n1", no("module lamp does not run on n1")),
        (&cut, Context::Node, "n1", no("n1 is not attached")),
        (&everywhere, Context::Parent, "n1", to("m2", Some("m2"))),
        (&everywhere, Context::Parent, "n2", to("m1", None)),
        (&third, Context::Parent, "n1", to("m3", Some("m3"))),
        (&third, Context::Parent, "n3", to("m3", Some("m3"))),
        (&leaves, Context::Parent, "n1", no("module lamp runs on no member that can be reached")),
        (&everywhere, Context::Control, "n1", to("m1", None)),
        (&third, Context::Control, "n1", no("module lamp does not run on m1")),
    ];
    for (fleet, context, of, expected) in table {
        assert_eq!(routed(fleet, context, of), expected, "{context:?} of {of}");
    }
}

#[test]
fn a_member_that_cannot_be_reached_is_not_chosen() {
    let cut = Fleet::new(&[], &["m1", "m2"]);
    assert_eq!(routed(&cut, Context::Parent, "n1"), Ok(("m1".to_owned(), None)));
}

#[test]
fn what_is_no_node_has_no_node_of_its_own() {
    let fleet = Fleet::new(&[], &["m1"]);
    let app = object("app", "shop", 1);
    let found = route(Context::Node, &name("lamp"), &app, &fleet);
    assert_eq!(found, Err(NoRoute::NoHost { object: name("shop") }));
    let found = route(Context::Parent, &name("lamp"), &app, &fleet);
    assert_eq!(found, Ok(Route { to: name("m1"), first: None }));
}

#[test]
fn what_is_no_node_is_carried_out_where_it_is_hosted_and_through_what_it_is_reached() {
    let fleet = Fleet::new(&["m2"], &["m1", "m2", "n1", "n2", "n3"]);
    let to = |to: &str, first: Option<&str>| Ok(Route { to: name(to), first: first.map(name) });
    let gone = || Err(NoRoute::NotAttached { node: name("n3") });
    let table = [
        ("app", Context::Node, "/host", "n1", to("n1", Some("m2"))),
        ("app", Context::Itself, "/host", "n2", to("n2", Some("n2"))),
        ("app", Context::Node, "/host", "m1", to("m1", None)),
        ("app", Context::Node, "/host", "n3", gone()),
        ("app", Context::Node, "/via", "n1", Err(NoRoute::NoHost { object: name("it") })),
        ("app", Context::Parent, "/via", "n1", to("n1", Some("m2"))),
        ("app", Context::Parent, "/via", "n3", gone()),
        // A node that is reached through another, as a machine without a way of its own is.
        ("node", Context::Parent, "/via", "n2", to("n2", Some("n2"))),
        ("node", Context::Node, "/host", "n2", gone_it()),
    ];
    for (kind, context, at, node, expected) in table {
        let mut object = object(kind, "it", 1);
        object.cfg.set(Path::new(at).unwrap(), node.into()).unwrap();
        let found = route(context, &name("lamp"), &object, &fleet);
        assert_eq!(found, expected, "{context:?} of a {kind} with {at} = {node}");
    }
}

/// A node is hosted by itself alone.
fn gone_it() -> Result<Route, NoRoute> {
    Err(NoRoute::NotAttached { node: name("it") })
}

#[test]
fn objects_spread_over_the_members() {
    let mut shares: BTreeMap<Name, u32> = BTreeMap::new();
    for ordinal in 0..3_000 {
        let members = ["m1", "m2", "m3"].map(name);
        let chosen = heaviest(object("node", "n", ordinal).uid, members.into_iter()).unwrap();
        *shares.entry(chosen).or_default() += 1;
    }
    assert!(shares.len() == 3 && shares.values().all(|share| (900..1_100).contains(share)));
}

proptest! {
    #[test]
    fn a_member_that_goes_moves_only_its_own_share(
        ordinal in any::<u32>(),
        members in prop::collection::btree_set(0..9_u32, 1..7),
        gone in any::<prop::sample::Index>(),
    ) {
        let uid = object("node", "n", ordinal).uid;
        let members: Vec<Name> = members.iter().map(|m| name(&format!("m{m}"))).collect();
        let chosen = heaviest(uid, members.iter().cloned()).unwrap();
        prop_assert!(members.contains(&chosen));
        let reversed = heaviest(uid, members.iter().rev().cloned());
        prop_assert_eq!(reversed.as_ref(), Some(&chosen), "order does not matter");
        let gone = gone.get(&members);
        let left = members.iter().filter(|member| *member != gone).cloned();
        let after = heaviest(uid, left);
        if *gone != chosen {
            prop_assert_eq!(after, Some(chosen));
        }
    }
}
