//! The store as it stands in snapshots. What can be computed again is not written.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use imbl::OrdMap;
use serde::{Deserialize, Serialize, Serializer};

use super::{
    Freeze, Store, is_level_first, level_first,
    requests::{Kept, Requests},
};
use crate::{
    catalog::Catalog,
    command::{Intent, Outcome, RequestId},
    id::{AttemptId, ClusterId, Epoch, Revision, Uid},
    manifest::Manifest,
    object::Object,
    policy::Ledger,
    time::Millis,
};

/// The version of this form; another one is refused.
const FORMAT: u32 = 1;

/// What is read.
#[derive(Deserialize)]
pub(super) struct Stored {
    format: u32,
    cluster: ClusterId,
    #[serde(default = "Epoch::first")]
    epoch: Epoch,
    #[serde(default = "level_first")]
    level: u32,
    revision: Revision,
    objects: Vec<Arc<Object>>,
    manifests: Vec<Manifest>,
    freezes: Vec<Freeze>,
    intents: Vec<Intent>,
    requests: Vec<(RequestId, Arc<Outcome>)>,
    /// The times of their entries. Absent in what older releases wrote.
    #[serde(default)]
    request_times: Vec<Option<Millis>>,
    #[serde(default)]
    added: BTreeSet<String>,
    /// Absent in what older releases wrote.
    #[serde(default)]
    ledger: Ledger,
}

/// The same as it is written: from the store itself, of which nothing is copied for it.
#[derive(Serialize)]
struct Writing<'a> {
    format: u32,
    cluster: ClusterId,
    #[serde(skip_serializing_if = "Epoch::is_first")]
    epoch: Epoch,
    #[serde(skip_serializing_if = "is_level_first")]
    level: u32,
    revision: Revision,
    #[serde(serialize_with = "objects")]
    objects: &'a OrdMap<Uid, Arc<Object>>,
    #[serde(serialize_with = "values")]
    manifests: &'a BTreeMap<String, Manifest>,
    freezes: &'a [Freeze],
    #[serde(serialize_with = "values")]
    intents: &'a BTreeMap<AttemptId, Intent>,
    #[serde(serialize_with = "answers")]
    requests: &'a Requests,
    #[serde(serialize_with = "times")]
    request_times: &'a Requests,
    added: &'a BTreeSet<String>,
    ledger: &'a Ledger,
}

impl Serialize for Store {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let writing = Writing {
            format: FORMAT,
            cluster: self.cluster,
            epoch: self.epoch,
            level: self.level,
            revision: self.revision,
            objects: &self.objects,
            manifests: &self.manifests,
            freezes: &self.freezes,
            intents: &self.intents,
            requests: &self.requests,
            request_times: &self.requests,
            added: &self.added,
            ledger: self.rules.ledger(),
        };
        writing.serialize(serializer)
    }
}

fn objects<S: Serializer>(
    objects: &OrdMap<Uid, Arc<Object>>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(objects.values())
}

fn values<K, V: Serialize, S: Serializer>(
    map: &BTreeMap<K, V>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(map.values())
}

fn answers<S: Serializer>(requests: &Requests, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(requests.kept().map(|kept| (&kept.request, &kept.outcome)))
}

fn times<S: Serializer>(requests: &Requests, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(requests.kept().map(|kept| kept.at))
}

impl TryFrom<Stored> for Store {
    type Error = String;
    fn try_from(stored: Stored) -> Result<Self, String> {
        if stored.format != FORMAT {
            let format = stored.format;
            return Err(format!(
                "the snapshot has format {format}, this release reads {FORMAT}; \
                 use the release that wrote it"
            ));
        }
        let catalog = Catalog::build(&stored.manifests)
            .map_err(|problems| format!("the snapshot's manifests do not fit: {problems:?}"))?;
        let owned = stored.objects.iter().filter_map(|object| Some((object.owner?, object.uid)));
        let owned = owned.collect();
        let times = stored.request_times.into_iter().chain(std::iter::repeat(None));
        let requests = stored.requests.into_iter().zip(times);
        let requests = requests.map(|((request, outcome), at)| Kept { request, outcome, at });
        let mut store = Self {
            cluster: stored.cluster,
            epoch: stored.epoch,
            level: stored.level,
            revision: stored.revision,
            keys: stored.objects.iter().map(|object| (object.key.clone(), object.uid)).collect(),
            objects: stored.objects.into_iter().map(|object| (object.uid, object)).collect(),
            manifests: by(stored.manifests, |manifest| manifest.module.clone()).into(),
            catalog: Arc::new(catalog),
            freezes: stored.freezes,
            intents: by(stored.intents, |intent| intent.attempt.clone()).into(),
            requests: requests.collect(),
            added: stored.added,
            owned,
            rules: Arc::default(),
        };
        store.restore_policies(stored.ledger);
        Ok(store)
    }
}

fn by<K: Ord, V>(values: Vec<V>, key: impl Fn(&V) -> K) -> BTreeMap<K, V> {
    values.into_iter().map(|value| (key(&value), value)).collect()
}
