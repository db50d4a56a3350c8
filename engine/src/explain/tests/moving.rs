//! What is told of objects whose hosts are away, or that go from one host to another.

use std::time::Duration;

use super::*;
use crate::{
    command::Targets,
    fleet::Link,
    manifest::{KindSpec, SeenBy},
    object::{HOST_PATH, Object},
};

/// Posts, which must never run twice, and guests, which may.
fn manifests() -> Vec<Manifest> {
    let of = |kind: &str| {
        let duty = PathSpec::new("/duty", Type::enum_of(["OFF", "ON"])).absent("OFF");
        let host = PathSpec::new(HOST_PATH, Type::Text).seen_by(SeenBy::Nobody);
        let mutation =
            |name: &str| MutationSpec::new(name).kind(kind).timeout(Duration::from_secs(3));
        Manifest::new(kind)
            .extension(Extension::new(kind).kind(kind).path(duty).path(host))
            .discovers("/duty")
            .mutation(mutation("TakeUp").changes("/duty", "OFF", "ON"))
            .mutation(mutation("LayDown").changes("/duty", "ON", "OFF"))
    };
    let lease = KindSpec::new("post").singleton(Duration::from_secs(10));
    vec![manifest(), of("post").kind(lease), of("guest")]
}

struct Told {
    store: Store,
    dsc: BTreeMap<Uid, Arc<Dsc>>,
}

impl Told {
    fn new() -> Self {
        let mut store = Store::new();
        apply(&mut store, Command::Declare { manifests: manifests() });
        let mut told = Self { store, dsc: BTreeMap::new() };
        for node in ["a", "b"] {
            told.put("node", node, &[]);
        }
        told
    }

    fn put(&mut self, kind: &str, of: &str, cfg: &[(&str, &str)]) {
        let object = ObjectRef { kind: name(kind), namespace: None, name: name(of) };
        let mut state = State::new();
        for (at, value) in cfg {
            state.set(path(at), Value::from(*value)).unwrap();
        }
        let op = Op::Put { object, labels: None, owner: None, cfg: state };
        apply(&mut self.store, Command::Txn(Txn { ops: vec![op], ..Txn::default() }));
    }

    fn find(&self, kind: &str, of: &str) -> Arc<Object> {
        let key = ObjectRef { kind: name(kind), namespace: None, name: name(of) };
        self.store.find(&key).unwrap().clone()
    }

    fn see(&mut self, kind: &str, of: &str, values: Vec<(Path, Option<Value>)>) {
        let uid = self.find(kind, of).uid;
        let dsc = Arc::make_mut(self.dsc.entry(uid).or_default());
        let stamp = HybridClock::new(name("a")).stamp(NOW);
        for (path, value) in values {
            dsc.merge(path, Observed { value, stamp: stamp.clone(), seen_at: NOW });
        }
    }

    fn link(&mut self, link: Link) {
        self.dsc.remove(&self.find("node", "a").uid);
        self.see("node", "a", vec![(path(LINK_PATH), Some(link.as_str().into()))]);
    }

    fn says(&mut self, kind: &str, phase: PhaseName) {
        let object = self.find(kind, "p");
        self.dsc.remove(&object.uid);
        let status = Status {
            phase,
            revision: object.revision,
            step: Some(format!("{kind}/LayDown")),
            reason: None,
            waits_for: None,
            since: NOW,
            attempts: 0,
            last_error: None,
            next_retry: None,
        };
        self.see(kind, "p", status.to_values(Lane::Itself));
    }

    fn why(&self, kind: &str) -> Why {
        let scene = Scene::new(self.store.clone(), self.dsc.clone());
        let object = self.find(kind, "p");
        why(scene.subject(&object), &mut Planner::new(), NOW)
    }
}

#[test]
fn a_host_that_is_away_may_go_on_with_it_or_not() {
    let mut told = Told::new();
    for kind in ["post", "guest"] {
        told.put(kind, "p", &[("/duty", "ON"), (HOST_PATH, "a")]);
    }
    told.link(Link::Down);
    let away = "whoever brings a back: it is not attached, and what it last said may be outdated";
    for (kind, alone) in [
        ("post", "; it stops there after 10 s without the quorum"),
        ("guest", "; it may go on running there, and twice if it is given another host"),
    ] {
        assert_eq!(told.why(kind).who_must_act, format!("{away}{alone}"));
    }
}

#[test]
fn what_goes_to_another_host_waits_for_the_former_one() {
    let mut told = Told::new();
    told.put("post", "p", &[("/duty", "ON"), (HOST_PATH, "a")]);
    told.put("post", "p", &[("/duty", "ON"), (HOST_PATH, "b")]);
    told.link(Link::Up);
    let acts = |told: &Told| told.why("post").who_must_act;
    assert_eq!(told.why("post").former_host, Some(name("a")));
    assert_eq!(acts(&told), "a: it stops it first, then b has it");
    told.says("post", PhaseName::Quarantined);
    assert!(acts(&told).starts_with("an operator: mend what makes post/LayDown fail"));
    told.says("post", PhaseName::Converged);
    assert_eq!(acts(&told), "nobody yet: the leader is about to give it to b");
    let status = told.why("post").status.unwrap();
    assert_eq!(status.phase, PhaseName::Waiting, "it is not where it is asked to be");
    told.says("post", PhaseName::InFlight);
    told.link(Link::Down);
    let text = "nobody yet: a is away, and stops it after 10 s without the quorum; b has it once a \
                has been away for 28 s";
    assert_eq!(acts(&told), text);
    apply(&mut told.store, Command::Freeze { targets: Targets::All });
    assert!(acts(&told).starts_with("whoever thaws it"));
    apply(&mut told.store, Command::Thaw { targets: Targets::All });
    assert!(acts(&told).starts_with("whoever brings a back: it is away and may not know"));
}

#[test]
fn a_host_that_decides_by_other_declarations_is_named() {
    let mut told = Told::new();
    told.put("guest", "p", &[("/duty", "ON"), (HOST_PATH, "a")]);
    assert_eq!(told.why("guest").other_declarations, None, "it has said nothing of them");
    let quorum = told.store.catalog().word();
    let other = OtherDeclarations { node: name("a"), digest: "0a".to_owned(), quorum };
    for (word, expected) in [("0a", Some(&other)), (other.quorum.as_str(), None)] {
        told.dsc.clear();
        told.see("node", "a", vec![(Path::constant(CATALOG_PATH), Some(word.into()))]);
        assert_eq!(told.why("guest").other_declarations.as_ref(), expected);
        let scene = Scene::new(told.store.clone(), told.dsc.clone());
        let of_node = why(scene.subject(&told.find("node", "a")), &mut Planner::new(), NOW);
        assert_eq!(of_node.other_declarations.as_ref(), expected, "of the node itself");
    }
}
