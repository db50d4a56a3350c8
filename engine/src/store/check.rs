//! Digests of what is held, by which members find out that they hold the same.

use serde::Serialize;
use xxhash_rust::xxh3::xxh3_64;

use super::{Change, Freeze, Store};
use crate::{
    command::Intent,
    id::{ClusterId, Epoch, Revision},
    manifest::Manifest,
    object::Object,
    policy::Ledger,
};

/// Everything but the objects, which are counted one by one, and the answers to requests.
#[derive(Serialize)]
struct Rest<'a> {
    cluster: ClusterId,
    epoch: Epoch,
    level: u32,
    revision: Revision,
    manifests: Vec<&'a Manifest>,
    freezes: &'a [Freeze],
    intents: Vec<&'a Intent>,
    added: Vec<&'a String>,
    ledger: &'a Ledger,
}

/// The digest of an object.
pub fn digest_of(object: &Object) -> u64 {
    digest(object)
}

/// What changes take out of the digest of all objects, and put in.
pub fn digest_of_changes(changes: &[Change]) -> u64 {
    let one = |change: &Change| match change {
        Change::Put { object, before } => {
            digest_of(object) ^ before.as_ref().map_or(0, |before| digest_of(before))
        }
        Change::Removed(object) => digest_of(object),
    };
    changes.iter().map(one).fold(0, |all, one| all ^ one)
}

impl Store {
    /// The digests of all objects, one over the other: of one that changes the old digest is taken
    /// out and the new one put in.
    pub fn digest_of_objects(&self) -> u64 {
        self.objects().map(|object| digest_of(object)).fold(0, |all, one| all ^ one)
    }

    /// The digest of what is held beside objects and answers to requests.
    pub fn digest_of_rest(&self) -> u64 {
        digest(&Rest {
            cluster: self.cluster,
            epoch: self.epoch,
            level: self.level,
            revision: self.revision,
            manifests: self.manifests.values().collect(),
            freezes: &self.freezes,
            intents: self.intents.values().collect(),
            added: self.added.iter().collect(),
            ledger: self.rules.ledger(),
        })
    }
}

fn digest(what: &impl Serialize) -> u64 {
    // Plain data always encodes.
    xxh3_64(&rmp_serde::to_vec(what).unwrap_or_default())
}
