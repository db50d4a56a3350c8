//! The store as it stands in snapshots. What can be computed again is not written.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use serde::{Deserialize, Serialize};

use super::{Freeze, Store, is_level_first, level_first, requests::Requests};
use crate::{
    catalog::Catalog,
    command::{Intent, Outcome, RequestId},
    id::{ClusterId, Epoch, Revision},
    manifest::Manifest,
    object::Object,
    policy::Ledger,
    time::Millis,
};

/// The version of this form; another one is refused.
const FORMAT: u32 = 1;

#[derive(Serialize, Deserialize)]
pub(super) struct Stored {
    format: u32,
    cluster: ClusterId,
    #[serde(default = "Epoch::first", skip_serializing_if = "Epoch::is_first")]
    epoch: Epoch,
    #[serde(default = "level_first", skip_serializing_if = "is_level_first")]
    level: u32,
    revision: Revision,
    objects: Vec<Arc<Object>>,
    manifests: Vec<Manifest>,
    freezes: Vec<Freeze>,
    intents: Vec<Intent>,
    requests: Vec<(RequestId, Outcome)>,
    /// The times of their entries. Absent in what older releases wrote.
    #[serde(default)]
    request_times: Vec<Option<Millis>>,
    #[serde(default)]
    added: BTreeSet<String>,
    /// Absent in what older releases wrote.
    #[serde(default)]
    ledger: Ledger,
}

impl From<Store> for Stored {
    fn from(store: Store) -> Self {
        let (requests, request_times) = store.requests.into_inner().into_parts();
        Self {
            format: FORMAT,
            cluster: store.cluster,
            epoch: store.epoch,
            level: store.level,
            revision: store.revision,
            objects: store.objects.into_inner().into_values().collect(),
            manifests: store.manifests.into_inner().into_values().collect(),
            freezes: store.freezes,
            intents: store.intents.into_inner().into_values().collect(),
            requests,
            request_times,
            added: store.added,
            ledger: store.rules.ledger().clone(),
        }
    }
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
            requests: Requests::from_parts(stored.requests, &stored.request_times).into(),
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
