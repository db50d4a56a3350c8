//! Both ends over a link that breaks: whatever is lost with a connection, both come to hold the
//! same.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use proptest::prelude::*;

use super::kit::{self, charge, child, event, name, object, path, sighting, uid, welcome};
use crate::{
    catalog::Catalog,
    dsc::{Dsc, HybridClock, Observed, Sighting},
    event::EventId,
    fleet::Fleet,
    id::{Revision, Uid},
    manifest::{Extension, KindSpec, Manifest, MutationSpec, PathSpec, SeenBy, Type},
    object::{HOST_PATH, Object},
    predicate::On,
    singleton::Assured,
    sync::{
        BATCH_MS,
        child::{self, Child},
        decode, encode,
        frame::{Frame, Hello, Welcome},
        parent::{self, Authority, Session},
        views::{RelatedSight, Relation, Sight, Sights},
    },
    time::Millis,
};

#[derive(Debug, Clone)]
enum Act {
    /// The next revision changes the objects that the child may see.
    Cfg { ordinals: Vec<u32> },
    /// A parent applies so many more revisions.
    Apply { parent: usize, count: usize },
    /// The child sees something of an object that it holds.
    See { ordinal: u32, at: u8, value: u8 },
    /// Others see something of an object, and of one that its predicates name.
    Elsewhere { ordinal: u32, value: u8 },
    /// Nobody knows any more of the object that its predicates name.
    Unnamed { ordinal: u32 },
    /// A module more is declared, or one less.
    Declare,
    /// The child has something to tell.
    Happen,
    /// So many frames arrive above, or below.
    Deliver { up: bool, count: usize },
    /// The connection breaks; what was on its way is lost. The next is to a parent.
    Break { parent: usize },
    /// One frame is lost without the connection, as only a defect could: digests find it.
    Lose,
    /// Time passes.
    Tick { ms: u64 },
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        2 => prop::collection::vec(2..5_u32, 0..3).prop_map(|ordinals| Act::Cfg { ordinals }),
        2 => (0..2_usize, 1..4_usize).prop_map(|(parent, count)| Act::Apply { parent, count }),
        4 => (1..5_u32, 0..2_u8, 0..9_u8)
            .prop_map(|(ordinal, at, value)| Act::See { ordinal, at, value }),
        3 => (1..5_u32, 0..9_u8).prop_map(|(ordinal, value)| Act::Elsewhere { ordinal, value }),
        1 => (1..5_u32).prop_map(|ordinal| Act::Unnamed { ordinal }),
        1 => Just(Act::Declare),
        1 => Just(Act::Happen),
        8 => (any::<bool>(), 1..6_usize).prop_map(|(up, count)| Act::Deliver { up, count }),
        1 => (0..2_usize).prop_map(|parent| Act::Break { parent }),
        1 => Just(Act::Lose),
        4 => (1..1_500_u64).prop_map(|ms| Act::Tick { ms }),
    ]
}

/// What is declared: objects of kind `app` must never run twice.
fn manifests() -> Vec<Manifest> {
    let host = PathSpec::new(HOST_PATH, Type::Text).seen_by(SeenBy::Nobody);
    let duty = PathSpec::new("/duty", Type::enum_of(["OFF", "ON"])).absent("OFF");
    let alone = Manifest::new("alone")
        .kind(KindSpec::new("app").singleton(Duration::from_secs(5)))
        .extension(Extension::new("alone").kind("app").path(host).path(duty))
        .mutation(MutationSpec::new("Stop").kind("app").changes("/duty", "ON", "OFF"));
    // In order of module, as children keep them.
    [alone].into_iter().chain(kit::manifests()).collect()
}

fn catalog() -> Catalog {
    Catalog::build(&manifests()).unwrap()
}

/// A parent between sessions: how much Cfg it has applied, and what it holds of the child.
#[derive(Default)]
struct Parent {
    applied: usize,
    /// When it last had all that was committed.
    assured: Assured,
    dsc: BTreeMap<Uid, Dsc>,
    events: BTreeSet<EventId>,
}

struct World {
    catalog: Catalog,
    now: Millis,
    /// What the child may see, by revision, and when that was committed.
    log: Vec<Vec<Arc<Object>>>,
    committed: Vec<Millis>,
    /// How often the child was assured of the quorum.
    assured: usize,
    parents: [Parent; 2],
    at: usize,
    session: Session,
    up: VecDeque<Vec<u8>>,
    down: VecDeque<Vec<u8>>,
    child: Child,
    clock: HybridClock,
    cfg: BTreeMap<Uid, Arc<Object>>,
    dsc: BTreeMap<Uid, Dsc>,
    /// What others know, and both parents at once.
    elsewhere: Sights,
    declared: Arc<Catalog>,
    /// What the child knows of others.
    leaf: Fleet,
    revision: Revision,
    happened: u64,
    lost: bool,
}

impl World {
    fn new() -> Self {
        let now = Millis::new(1_000_000);
        let mut world = Self {
            catalog: catalog(),
            now,
            log: vec![vec![object(1, 1)]],
            committed: vec![now],
            assured: 0,
            parents: [
                Parent { applied: 1, ..Parent::default() },
                Parent { applied: 1, ..Parent::default() },
            ],
            at: 0,
            session: Session::new(now),
            up: VecDeque::new(),
            down: VecDeque::new(),
            child: child().declaring(manifests()),
            elsewhere: Sights::new(),
            declared: Arc::new(catalog()),
            leaf: Fleet::new(name("n1"), Arc::new(catalog())),
            clock: HybridClock::new(name("n1")),
            cfg: BTreeMap::new(),
            dsc: BTreeMap::new(),
            revision: Revision::default(),
            happened: 0,
            lost: false,
        };
        world.dial(0);
        world
    }

    fn dial(&mut self, parent: usize) {
        self.at = parent;
        self.up.clear();
        self.down.clear();
        self.session = Session::new(self.now);
        self.child.disconnected();
        let effects = self.child.connected(self.now);
        self.below(effects);
    }

    fn act(&mut self, act: Act) {
        match act {
            Act::Cfg { ordinals } => {
                let revision = self.log.len() as u64 + 1;
                let ordinals: BTreeSet<u32> = ordinals.into_iter().chain([1]).collect();
                self.log.push(
                    ordinals.into_iter().map(|o| charge(o, revision, HOST_PATH, "n1")).collect(),
                );
                self.now = self.now.after_ms(1);
                self.committed.push(self.now);
            }
            Act::Apply { parent, count } => {
                let parent = &mut self.parents[parent];
                parent.applied = self.log.len().min(parent.applied + count);
                self.offer();
            }
            Act::See { ordinal, at, value } => self.see(ordinal, at, value),
            Act::Elsewhere { ordinal, value } => self.see_elsewhere(ordinal, value),
            Act::Unnamed { ordinal } => {
                if let Some(sight) = self.elsewhere.get_mut(&uid(ordinal)) {
                    sight.related.clear();
                }
                self.offer();
            }
            Act::Declare => {
                let more = Manifest::new("more").cost("level/Set", Duration::from_secs(7));
                let had = self.declared.manifests().len() > manifests().len();
                let more = (!had).then_some(more);
                let all: Vec<Manifest> = manifests().into_iter().chain(more).collect();
                self.declared = Arc::new(Catalog::build(&all).unwrap());
                self.offer();
            }
            Act::Happen => {
                self.happened += 1;
                let effects = self.child.record(vec![event(self.happened)], self.now);
                self.below(effects);
            }
            Act::Deliver { up, count } => {
                for _ in 0..count {
                    self.deliver(up);
                }
            }
            Act::Break { parent } => self.dial(parent),
            Act::Lose => {
                let delta = |bytes: &Vec<u8>| matches!(decode(bytes), Ok(Frame::DscDelta(_)));
                if let Some(place) = self.up.iter().position(delta) {
                    self.up.remove(place);
                    self.lost = true;
                }
            }
            Act::Tick { ms } => {
                self.now = self.now.after_ms(ms);
                self.tick();
            }
        }
    }

    fn see_elsewhere(&mut self, ordinal: u32, value: u8) {
        let (_, mut seen) = sighting("/power", &value.to_string(), self.now.get());
        seen.stamp.writer = name("m1");
        seen.stamp.counter = u32::try_from(self.elsewhere.len()).unwrap();
        let related = RelatedSight {
            by: Relation::Parent,
            uid: uid(9),
            name: name("n9"),
            path: path("/level"),
            value: value.to_string().into(),
            ttl_ms: None,
        };
        let seen = vec![(path("/power"), seen)];
        self.elsewhere.insert(uid(ordinal), Sight { seen, related: vec![related] });
        // The next is stamped later.
        self.now = self.now.after_ms(1);
        self.offer();
    }

    fn see(&mut self, ordinal: u32, at: u8, value: u8) {
        if !self.cfg.contains_key(&uid(ordinal)) {
            return;
        }
        let at = path(if at == 0 { "/level" } else { "/colour" });
        let stamp = self.clock.stamp(self.now);
        let observed =
            Observed { value: Some(value.to_string().into()), stamp, seen_at: Millis::ZERO };
        self.dsc.entry(uid(ordinal)).or_default().merge(at.clone(), observed.clone());
        let effects = self.child.offer(uid(ordinal), vec![(at, observed)], self.now);
        self.below(effects);
    }

    fn tick(&mut self) {
        let effects = self.child.tick(self.now);
        self.below(effects);
        let effects = self.session.tick(self.now);
        self.above(effects);
    }

    fn deliver(&mut self, up: bool) {
        let Some(bytes) = (if up { self.up.pop_front() } else { self.down.pop_front() }) else {
            return;
        };
        let frame = decode(&bytes).unwrap();
        if up {
            if matches!(frame, Frame::Heartbeat(_)) && self.session.is_on_lease(&self.catalog) {
                self.offer();
            }
            let assured = self.look_up();
            let authority =
                Authority { catalog: &self.catalog, hybrid_ms: self.now.get(), assured };
            let effects = self.session.receive(frame, authority, self.now);
            self.above(effects);
        } else {
            let effects = self.child.receive(frame, self.now);
            self.below(effects);
        }
    }

    /// What the parent at hand knows of the quorum: it leads as long as it has everything.
    fn look_up(&mut self) -> Assured {
        let parent = &mut self.parents[self.at];
        if parent.applied == self.log.len() {
            let revision = Revision::new(parent.applied as u64);
            parent.assured.hear(self.now, revision, revision);
        }
        parent.assured
    }

    fn offer(&mut self) {
        if !self.session.is_attached() {
            return;
        }
        let applied = self.parents[self.at].applied;
        let objects = self.log[applied - 1].clone();
        let mut elsewhere = self.elsewhere.clone();
        elsewhere.retain(|uid, _| objects.iter().any(|object| object.uid == *uid));
        self.session.declare(&self.declared);
        let assured = self.look_up();
        self.session.assure(assured, self.now.get(), self.now);
        let effects = self.session.offer(Revision::new(applied as u64), objects);
        self.above(effects);
        let effects = self.session.offer_views(elsewhere);
        self.above(effects);
    }

    fn above(&mut self, effects: Vec<parent::Effect>) {
        for effect in effects {
            match effect {
                parent::Effect::Send(frame) => self.down.push_back(encode(&frame).unwrap()),
                parent::Effect::Close(_) => return self.dial(1 - self.at),
                parent::Effect::Greeted(hello) => self.greeted(&hello),
                parent::Effect::Merge(uid, sightings) => {
                    let dsc = self.parents[self.at].dsc.entry(uid).or_default();
                    for (path, observed) in sightings {
                        dsc.merge(path, observed);
                    }
                }
                parent::Effect::Record(events) => {
                    self.parents[self.at].events.extend(events.into_iter().map(|e| e.id));
                }
                parent::Effect::Alarm(why) => panic!("{why}"),
                parent::Effect::Answered(_) | parent::Effect::Holding(_) => panic!("no orders"),
                parent::Effect::Arrives(_) | parent::Effect::Leaves(_) => panic!("no relay"),
            }
        }
    }

    fn greeted(&mut self, hello: &Hello) {
        assert!(hello.revision >= self.revision, "a Hello says no less than what is held");
        let welcome = Welcome { hybrid_ms: self.now.get(), ..welcome() };
        let effects = self.session.accept(welcome, self.now);
        self.above(effects);
        self.offer();
    }

    fn below(&mut self, effects: Vec<child::Effect>) {
        let mut assured_at = None;
        for effect in effects {
            match effect {
                child::Effect::Send(frame) => self.up.push_back(encode(&frame).unwrap()),
                child::Effect::Close(_) => return self.dial(1 - self.at),
                child::Effect::Reborn => {}
                child::Effect::Assured(at, _) => assured_at = Some(at),
                child::Effect::Advance(ms) => self.clock.advance_to(ms),
                child::Effect::Attached(welcome) => self.clock.advance_to(welcome.hybrid_ms),
                child::Effect::SendAll => self.send_all(),
                child::Effect::SetCfg(objects) => {
                    for object in &objects {
                        self.leaf.set_object(object.clone());
                    }
                    self.cfg.extend(objects.into_iter().map(|object| (object.uid, object)));
                }
                child::Effect::DropCfg(uids) => {
                    for uid in uids {
                        self.cfg.remove(&uid);
                        self.leaf.remove_object(uid);
                        self.dsc.remove(&uid);
                    }
                }
                child::Effect::SetViews(delta) => {
                    self.leaf.set_views(delta, self.now);
                }
                child::Effect::Declare(catalog) => self.leaf.set_catalog(catalog),
                child::Effect::Undeclared(why) => panic!("{why}"),
                child::Effect::Gone => panic!("it is always there"),
                child::Effect::Defer(_) => panic!("nobody is busy"),
                child::Effect::Admitted(_)
                | child::Effect::Whole(_)
                | child::Effect::Reached(_) => panic!("it is no relay"),
                child::Effect::Carry(..) | child::Effect::Recall(_) | child::Effect::LookAt(_) => {
                    panic!("nobody gives orders")
                }
            }
        }
        assert!(self.child.revision() >= self.revision, "Cfg went back");
        self.revision = self.child.revision();
        let now = self.cfg.values().cloned().collect::<Vec<_>>();
        let some = usize::try_from(self.revision.get()).unwrap().checked_sub(1);
        assert!(some.is_none_or(|index| self.log[index] == now), "Cfg of no revision: {now:?}");
        if let Some(at) = assured_at {
            self.assured += 1;
            let known = self.committed.iter().filter(|committed| **committed < at).count();
            let since = self.log.get(known.saturating_sub(1)..).unwrap_or_default();
            assert!(since.contains(&now), "assured of {at} with Cfg from before: {now:?}");
        }
    }

    fn send_all(&mut self) {
        for (uid, dsc) in self.dsc.clone() {
            let all: Vec<Sighting> =
                dsc.iter().map(|(path, observed)| (path.clone(), observed.clone())).collect();
            let effects = self.child.offer(uid, all, self.now);
            self.below(effects);
        }
    }

    /// Nothing is lost any more, and everybody catches up.
    fn calm(&mut self) {
        for parent in [0, 1] {
            self.act(Act::Apply { parent, count: usize::MAX / 2 });
        }
        for _ in 0..200 {
            self.now = self.now.after_ms(BATCH_MS * 5);
            self.tick();
            while !self.up.is_empty() || !self.down.is_empty() {
                self.deliver(true);
                self.deliver(false);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    #[test]
    fn after_any_breaks_both_ends_hold_the_same(acts in prop::collection::vec(act(), 0..120)) {
        let mut world = World::new();
        for act in acts {
            world.act(act);
        }
        world.calm();
        let held: Vec<Arc<Object>> = world.cfg.values().cloned().collect();
        prop_assert_eq!(Some(&held), world.log.last());
        let parent = &world.parents[world.at];
        for (uid, dsc) in &world.dsc {
            // Of an object that left it and came back the parent may know more, from before.
            let above = parent.dsc.get(uid).cloned().unwrap_or_default();
            for (path, observed) in dsc.iter() {
                prop_assert_eq!(above.get(path.as_str()), Some(observed));
            }
        }
        for object in &held {
            let told = world.elsewhere.get(&object.uid).cloned().unwrap_or_default();
            let power = told.seen.first().and_then(|(_, seen)| seen.value.as_ref());
            let held = world.leaf.dsc(object.uid);
            prop_assert_eq!(held.value("/power"), power);
            let level = world.leaf.related_value(object, &On::Parent, &path("/level"), world.now);
            prop_assert_eq!(level, told.related.first().map(|related| related.value.clone()));
        }
        prop_assert_eq!(world.leaf.catalog().word(), world.declared.word());
        let on_lease = held.iter().any(|object| object.key.kind.as_str() == "app");
        prop_assert!(!on_lease || world.assured > 0, "nobody tells it of the quorum");
        let known: BTreeSet<&EventId> = world.parents.iter().flat_map(|p| &p.events).collect();
        prop_assert!(world.lost || known.len() as u64 == world.happened);
    }
}
