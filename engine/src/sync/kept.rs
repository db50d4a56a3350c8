//! The Cfg of a leaf as it is kept on its disk, so that a leaf that starts while no parent answers
//! goes on with the last Cfg that it held.
//!
//! What is kept is never older than what was taken: it is written before a delta is acknowledged,
//! and where it cannot be written nothing is kept at all.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use crate::{
    id::{ClusterId, Epoch, Revision},
    manifest::Manifest,
    object::Object,
};

/// Before everything else.
const MAGIC: &[u8; 8] = b"KRAKNCFG";
/// How what follows is written.
const FORMAT: u32 = 1;

/// What a leaf holds of Cfg, with the declarations that it decides by.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Kept {
    /// The cluster whose Cfg it is.
    pub cluster: ClusterId,
    /// Its epoch.
    pub epoch: Epoch,
    /// Its revision.
    pub revision: Revision,
    /// The objects.
    pub objects: Vec<Arc<Object>>,
    /// What is declared.
    pub manifests: Vec<Manifest>,
}

/// What was kept cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeptError {
    /// It is something else.
    #[error("it is no kept Cfg")]
    Strange,
    /// It was written by a later release.
    #[error("format {0} is not read by this release, which reads {FORMAT}")]
    Format(u32),
    /// Its checksum does not match.
    #[error("it is damaged")]
    Damaged,
    /// What it holds does not decode.
    #[error("it cannot be read by this release")]
    Unreadable(#[source] rmp_serde::decode::Error),
}

impl Kept {
    /// As it is written: a magic word, the format, a checksum, and the rest.
    pub fn encode(&self) -> Vec<u8> {
        // Plain data always encodes.
        let body = rmp_serde::to_vec_named(self).unwrap_or_default();
        let head = [&MAGIC[..], &FORMAT.to_le_bytes(), &xxh3_64(&body).to_le_bytes()].concat();
        [head, body].concat()
    }

    /// What was written.
    pub fn decode(bytes: &[u8]) -> Result<Self, KeptError> {
        let rest = bytes.strip_prefix(MAGIC).ok_or(KeptError::Strange)?;
        let (format, rest) = rest.split_first_chunk::<4>().ok_or(KeptError::Damaged)?;
        let format = u32::from_le_bytes(*format);
        if format != FORMAT {
            return Err(KeptError::Format(format));
        }
        let (sum, body) = rest.split_first_chunk::<8>().ok_or(KeptError::Damaged)?;
        if u64::from_le_bytes(*sum) != xxh3_64(body) {
            return Err(KeptError::Damaged);
        }
        rmp_serde::from_slice(body).map_err(KeptError::Unreadable)
    }
}
