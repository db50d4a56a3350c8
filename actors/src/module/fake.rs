//! Objects that do not exist, for tests of modules.

use std::{collections::BTreeMap, sync::Arc};

use kraken_engine::{
    id::{Name, Uid},
    object::{Labels, ObjectRef},
    path::Path,
    state::State,
    value::Value,
};
use xxhash_rust::xxh3::xxh3_128;

use super::{Looker, ObjectView};

/// A node of which nothing is asked and nothing known; its uid follows from its name.
pub fn node(name: &str) -> Arc<ObjectView> {
    object("node", name)
}

/// An object of any kind, as [`node`].
#[expect(clippy::expect_used, reason = "a test that gives a bad name should fail")]
pub fn object(kind: &str, name: &str) -> Arc<ObjectView> {
    let uid = Uid::from_bytes(xxh3_128(format!("{kind}/{name}").as_bytes()).to_be_bytes());
    let key = ObjectRef {
        kind: Name::new(kind).expect("the kind of a fake object"),
        namespace: None,
        name: Name::new(name).expect("the name of a fake object"),
    };
    let (labels, cfg, dsc) = (Labels::new(), State::new(), BTreeMap::new());
    let lookers = &[Looker::Host, Looker::Leader, Looker::Parent];
    Arc::new(ObjectView { uid, key, labels, lookers, cfg, dsc })
}

/// The same object, with a value asked for.
#[expect(clippy::expect_used, reason = "a test that gives a bad path should fail")]
pub fn asked(object: &ObjectView, path: &str, value: impl Into<Value>) -> Arc<ObjectView> {
    let mut object = object.clone();
    let path = Path::new(path).expect("a path of a fake object");
    object.cfg.set(path, value.into()).expect("a Cfg value of a fake object");
    Arc::new(object)
}

/// The same object, with a value seen.
#[expect(clippy::expect_used, reason = "a test that gives a bad path should fail")]
pub fn seen(object: &ObjectView, path: &str, value: impl Into<Value>) -> Arc<ObjectView> {
    let mut object = object.clone();
    object.dsc.insert(Path::new(path).expect("a path of a fake object"), value.into());
    Arc::new(object)
}
