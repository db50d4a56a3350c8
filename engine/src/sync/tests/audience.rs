//! What is told of many nodes by what has changed, is what is told of them at once.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use proptest::prelude::*;

use super::kit::{NOW, name, object, path, uid};
use crate::{
    catalog::Catalog,
    dsc::Stamp,
    fleet::Fleet,
    id::{Revision, Uid},
    manifest::{Extension, From, Manifest, MutationSpec, PathSpec, SeenBy, To, Type},
    object::{HOST_PATH, Object, VIA_PATH},
    sync::{
        audience::{Audience, Change},
        views::{Sight, Sights},
    },
};

/// The nodes are 1 to 4, all others are apps.
const NODES: u32 = 4;

#[derive(Debug, Clone)]
enum Act {
    /// An app is hosted by a node, reached through another, and names a third.
    Put {
        ordinal: u32,
        host: u32,
        via: u32,
        rack: u32,
    },
    /// A node is written again, or after it was removed.
    PutNode {
        ordinal: u32,
    },
    Remove {
        ordinal: u32,
    },
    /// The member sees something of an object.
    See {
        ordinal: u32,
        value: bool,
    },
    /// A node is below from now on, or no longer.
    Below {
        node: u32,
        stays: bool,
    },
    /// What has changed is told.
    Tell,
}

fn act() -> impl Strategy<Value = Act> {
    let node = || 1..=NODES;
    let app = || NODES + 1..NODES + 5;
    prop_oneof![
        4 => (app(), node(), 0..=NODES, 0..=NODES + 1)
            .prop_map(|(ordinal, host, via, rack)| Act::Put { ordinal, host, via, rack }),
        1 => node().prop_map(|ordinal| Act::PutNode { ordinal }),
        1 => (1..NODES + 5).prop_map(|ordinal| Act::Remove { ordinal }),
        3 => (1..NODES + 5, any::<bool>())
            .prop_map(|(ordinal, value)| Act::See { ordinal, value }),
        3 => (node(), any::<bool>()).prop_map(|(node, stays)| Act::Below { node, stays }),
        4 => Just(Act::Tell),
    ]
}

/// Apps run once the node at `/rack` has power; of both the member sees something.
fn fleet() -> Fleet {
    let seen = |at| PathSpec::new(at, Type::Text).seen_by(SeenBy::Parent);
    let app = Extension::new("app")
        .kind("app")
        .path(PathSpec::new("/run", Type::Text))
        .path(seen("/fuse"))
        .path(PathSpec::input("/rack", Type::Text))
        .path(PathSpec::input(HOST_PATH, Type::Text))
        .path(PathSpec::input(VIA_PATH, Type::Text));
    let power = Extension::new("power").path(seen("/power"));
    let run = MutationSpec::new("Run").kind("app").requires("@/rack /power = ON");
    let run = run.requires("/fuse = ON").changes("/run", From::Any, To::Cfg);
    let manifest = Manifest::new("power").extension(power).extension(app).mutation(run);
    let manifest = manifest.discovers("/power").discovers("/run").discovers("/fuse");
    Fleet::new(name("m1"), Arc::new(Catalog::build(&[manifest]).unwrap()))
}

fn app(ordinal: u32, (host, via, rack): (u32, u32, u32), revision: u64) -> Arc<Object> {
    let mut app = (*object(ordinal, revision)).clone();
    app.key.kind = name("app");
    for (at, node) in [(HOST_PATH, host), (VIA_PATH, via), ("/rack", rack)] {
        if node > 0 {
            app.cfg.set(path(at), format!("n{node}").into()).unwrap();
        }
    }
    Arc::new(app)
}

/// A member, what it has told of the nodes below a relay, and what it is yet to tell.
struct Told {
    fleet: Fleet,
    audience: Audience,
    below: BTreeSet<u32>,
    changed: BTreeSet<Uid>,
    revision: u64,
    objects: BTreeMap<Uid, Arc<Object>>,
    sights: Sights,
}

impl Told {
    fn new() -> Self {
        let (fleet, audience) = (fleet(), Audience::default());
        let mut told = Self {
            fleet,
            audience,
            below: BTreeSet::new(),
            changed: BTreeSet::new(),
            revision: 0,
            objects: BTreeMap::new(),
            sights: Sights::new(),
        };
        (1..=NODES).for_each(|ordinal| told.act(Act::PutNode { ordinal }));
        told
    }

    fn put(&mut self, object: Arc<Object>) {
        self.changed.insert(object.uid);
        self.fleet.set_object(object);
        self.fleet.set_revision(Revision::new(self.revision), NOW);
    }

    fn act(&mut self, act: Act) {
        self.revision += 1;
        match act {
            Act::Put { ordinal, host, via, rack } => {
                self.put(app(ordinal, (host, via, rack), self.revision));
            }
            Act::PutNode { ordinal } => self.put(object(ordinal, self.revision)),
            Act::Remove { ordinal } => {
                self.fleet.remove_object(uid(ordinal));
                self.changed.insert(uid(ordinal));
            }
            Act::See { ordinal, value } => {
                let at = if ordinal > NODES { "/fuse" } else { "/power" };
                let value = value.then(|| "ON".into());
                let stamp = Stamp { ms: self.revision, counter: 0, writer: name("m1") };
                self.fleet.see(uid(ordinal), &stamp, vec![(path(at), value)], NOW);
                self.changed.insert(uid(ordinal));
            }
            Act::Below { node, stays: true } => {
                self.audience.add(name(&format!("n{node}")), uid(node));
                self.below.insert(node);
            }
            Act::Below { node, stays: false } => {
                self.audience.remove(&name(&format!("n{node}")));
                self.below.remove(&node);
            }
            Act::Tell => self.tell(),
        }
    }

    fn tell(&mut self) {
        let changed = std::mem::take(&mut self.changed);
        // What was not there when it was named may be by now: whoever tells looks for it.
        self.audience.look_for_lacking();
        let Change { revision, set, gone, sights, .. } =
            self.audience.gather(&self.fleet, &changed);
        assert_eq!(revision, self.fleet.revision());
        let objects = set.into_iter().map(|object| (object.uid, object));
        self.objects.extend(objects);
        self.sights.extend(sights);
        for uid in gone {
            assert!(self.objects.remove(&uid).is_some(), "what goes was there");
            self.sights.remove(&uid);
        }
        self.sights.retain(|_, sight| *sight != Sight::default());
    }

    /// The same, told to one that knows nothing.
    fn at_once(&self) -> (BTreeMap<Uid, Arc<Object>>, Sights) {
        let mut audience = Audience::default();
        for node in &self.below {
            audience.add(name(&format!("n{node}")), uid(*node));
        }
        let Change { set, gone, mut sights, .. } = audience.gather(&self.fleet, &BTreeSet::new());
        assert!(gone.is_empty(), "{gone:?}");
        sights.retain(|_, sight| *sight != Sight::default());
        (set.into_iter().map(|object| (object.uid, object)).collect(), sights)
    }
}

#[test]
fn only_those_whom_a_change_concerns_are_told_of_it() {
    let mut told = Told::new();
    for node in [1, 2, 3] {
        told.act(Act::Below { node, stays: true });
    }
    told.act(Act::Put { ordinal: 5, host: 1, via: 2, rack: 4 });
    told.tell();
    let mut of = |act: Act| {
        told.act(act);
        let changed = std::mem::take(&mut told.changed);
        let change = told.audience.gather(&told.fleet, &changed);
        (change.set.iter().map(|object| object.uid).collect::<BTreeSet<_>>(), change.gone)
    };
    assert_eq!(of(Act::See { ordinal: 3, value: true }), ([uid(3)].into(), [].into()));
    let about_its_rack = of(Act::See { ordinal: 4, value: true });
    assert_eq!(about_its_rack, ([uid(1), uid(2), uid(5)].into(), [].into()), "the app names it");
    let others = of(Act::Put { ordinal: 6, host: 4, via: 0, rack: 0 });
    assert_eq!(others, ([].into(), [].into()));
    let left = of(Act::Below { node: 1, stays: false });
    assert_eq!(left, ([uid(2), uid(5)].into(), [uid(1)].into()), "the app is another's by now");
    let moved = of(Act::Put { ordinal: 5, host: 4, via: 0, rack: 0 });
    assert_eq!(moved, ([uid(2)].into(), [uid(5)].into()), "it is reached another way");
}

proptest! {
    #[test]
    fn what_is_told_by_and_by_is_what_is_told_at_once(
        acts in proptest::collection::vec(act(), 1..60),
    ) {
        let mut told = Told::new();
        for act in acts {
            let tells = matches!(act, Act::Tell);
            told.act(act);
            if tells {
                prop_assert_eq!((told.objects.clone(), told.sights.clone()), told.at_once());
            }
        }
    }
}
