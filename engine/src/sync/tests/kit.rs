//! Objects, observations and frames for the tests of the protocol.

use std::sync::Arc;

use crate::{
    catalog::Catalog,
    dsc::{Observed, Sighting, Stamp},
    event::{Event, EventId, EventKind},
    id::{AttemptId, ClusterId, Epoch, Name, Revision, SessionEpoch, Term, Uid},
    manifest::{Context, Extension, From, Manifest, MutationSpec, PathSpec, SeenBy, To, Type},
    object::Tenure,
    object::{Labels, Object, ObjectRef},
    order::{Answer, Order, Said},
    path::Path,
    singleton::Assured,
    state::State,
    sync::{
        PROTOCOL_VERSION,
        child::{Child, Identity},
        frame::{Frame, Hello, Role, Welcome},
        pace::Pace,
        parent::{Authority, Session},
    },
    time::Millis,
};

pub(super) const CLUSTER: ClusterId = ClusterId::new(7);
pub(super) const NOW: Millis = Millis::new(1_000_000);

pub(super) fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

pub(super) fn path(text: &str) -> Path {
    Path::new(text).unwrap()
}

pub(super) fn uid(ordinal: u32) -> Uid {
    Uid::derive(CLUSTER, Revision::new(1), ordinal)
}

/// A node `n<ordinal>` at a revision, which asks for `/level = revision`.
pub(super) fn object(ordinal: u32, revision: u64) -> Arc<Object> {
    let mut cfg = State::new();
    cfg.set(path("/level"), format!("{revision}").into()).unwrap();
    Arc::new(Object {
        uid: uid(ordinal),
        key: ObjectRef { kind: name("node"), namespace: None, name: name(&format!("n{ordinal}")) },
        labels: Labels::new(),
        owner: None,
        created: Millis::new(5),
        revision: Revision::new(revision),
        generation: revision,
        deleting: false,
        frozen: None,
        cfg,
        on_delete: <_>::default(),
        tenure: Tenure::default(),
    })
}

/// An object that is no node, of which a node has charge: at `/host` or at `/via`.
pub(super) fn charge(ordinal: u32, revision: u64, at: &str, node: &str) -> Arc<Object> {
    let mut charge = (*object(ordinal, revision)).clone();
    charge.key.kind = name("app");
    charge.cfg.set(path(at), node.into()).unwrap();
    Arc::new(charge)
}

/// `/level` and `/colour` are seen by the node, `/power` by its parent.
pub(super) fn catalog() -> Catalog {
    Catalog::build(&manifests()).unwrap()
}

/// What is declared.
pub(super) fn manifests() -> Vec<Manifest> {
    let extension = |kind| {
        Extension::new("level")
            .kind(kind)
            .path(PathSpec::new("/level", Type::Text))
            .path(PathSpec::new("/colour", Type::Text))
            .path(PathSpec::new("/power", Type::Text).seen_by(SeenBy::Parent))
            .path(PathSpec::input("/input", Type::Text))
    };
    let set = MutationSpec::new("Set").context(Context::Node);
    let set = set.changes("/level", From::Any, To::Cfg).changes("/power", From::Any, To::Cfg);
    let manifest = Manifest::new("level").extension(extension("node")).mutation(set);
    let manifest = manifest.extension(extension("app"));
    vec![manifest.discovers("/level").discovers("/colour").discovers("/power")]
}

pub(super) fn sighting(at: &str, value: &str, ms: u64) -> Sighting {
    let stamp = Stamp { ms, counter: 0, writer: name("n1") };
    (path(at), Observed { value: Some(value.into()), stamp, seen_at: Millis::ZERO })
}

pub(super) fn event(sequence: u64) -> Event {
    Event {
        id: EventId { node: name("n1"), boot: 3, sequence },
        time: Millis::new(9),
        kind: EventKind::StepDone,
        uid: Some(uid(1)),
        object: None,
        revision: Some(Revision::new(2)),
        attempt: None,
        text: "done".to_owned(),
    }
}

pub(super) fn identity() -> Identity {
    let labels = [(name("rack"), "r1".to_owned())].into();
    Identity { node: name("n1"), role: Role::Leaf, labels }
}

pub(super) fn child() -> Child {
    Child::new(identity(), ClusterId::default(), Vec::new())
}

pub(super) fn hello(role: Role) -> Hello {
    Hello {
        version: PROTOCOL_VERSION,
        node: name("n1"),
        role,
        epoch: SessionEpoch::new(NOW.get()),
        cluster: CLUSTER,
        revision: Revision::default(),
        uid: Some(uid(1)),
        labels: Labels::new(),
        takes_orders: false,
        cfg_epoch: Epoch::FIRST,
        takes_views: false,
        declared: None,
        pace: Pace::NORMAL,
    }
}

pub(super) fn welcome() -> Welcome {
    Welcome {
        cluster: CLUSTER,
        uid: Some(uid(1)),
        hybrid_ms: NOW.get(),
        takes_answers: false,
        spoken_ms: 0,
        cfg_epoch: Epoch::FIRST,
        takes_beats: false,
    }
}

pub(super) fn authority(catalog: &Catalog) -> Authority<'_> {
    Authority { catalog, hybrid_ms: NOW.get(), assured: Assured::default() }
}

/// An order to `n<ordinal>` to set the level of its object.
pub(super) fn order(ordinal: u32, count: u64) -> Order {
    let mut object = object(ordinal, 2).as_ref().clone();
    object.labels = Labels::new();
    Order {
        attempt: AttemptId::derive(&name("m1"), 1, count),
        to: name(&format!("n{ordinal}")),
        term: Term::new(3),
        mutation: "level/Set".to_owned().try_into().unwrap(),
        bindings: Vec::new(),
        object: Arc::new(object),
        views: vec![sighting("/level", "1", 1_000)],
        wait_ms: 2_000,
        timeout_ms: 60_000,
        session: SessionEpoch::default(),
        span: None,
    }
}

pub(super) fn answer(node: &str, count: u64, said: Said) -> Answer {
    Answer { node: name(node), attempt: AttemptId::derive(&name("m1"), 1, count), said }
}

/// A session of a child of a role, attached, which may see the given objects as of revision 1.
pub(super) fn attached(role: Role, objects: Vec<Arc<Object>>, catalog: &Catalog) -> Session {
    let mut session = Session::new(NOW);
    session.receive(Frame::Hello(hello(role)), authority(catalog), NOW);
    session.accept(welcome(), NOW);
    session.offer(Revision::new(1), objects);
    session.receive(Frame::CfgAck { seq: 1 }, authority(catalog), NOW);
    assert!(session.is_attached());
    session
}

/// Moments from one to another at which an end looks at the time, as far apart as heartbeats.
pub(super) fn looks(from: Millis, to: Millis, pace: Pace) -> impl Iterator<Item = Millis> {
    let apart = usize::try_from(pace.heartbeat_ms()).unwrap();
    (from.get()..to.get()).step_by(apart).map(Millis::new).chain([to])
}
