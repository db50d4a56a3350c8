//! The sync protocol between a child and its parent, sans-IO: Cfg flows down, Dsc and events flow
//! up.
//!
//! [`child::Child`] and [`parent::Session`] are the two ends. Both take frames and the time, and
//! say what to send and what has become known; `kraken_actors` moves the bytes. Any frame may be
//! lost with its connection: what matters is sent again after the next Hello, and digests in
//! heartbeats find what nobody noticed.

pub mod audience;
pub mod below;
pub mod child;
pub mod declared;
pub mod delta;
mod digest;
pub mod frame;
pub mod kept;
pub mod orders;
mod outbox;
pub mod pace;
pub mod parent;
pub mod parents;
pub mod turnstile;
pub mod views;

#[cfg(test)]
mod tests;

use serde::Deserialize;

use crate::sync::frame::Frame;

/// The version that both ends must speak; it stands in the first frame.
pub const PROTOCOL_VERSION: u32 = 1;
/// Largest frame in bytes.
pub const FRAME_BYTES_MAX: usize = 16 << 20;
/// How long a child collects changes after the first, in milliseconds.
pub const BATCH_MS: u64 = 20;
/// Time between heartbeats, in milliseconds, of whoever does not say otherwise; see [`pace`].
pub const HEARTBEAT_MS: u64 = 1_000;
/// Silence after which the other side counts as dead, in milliseconds, with these heartbeats.
pub const DEAD_AFTER_MS: u64 = 3 * HEARTBEAT_MS;
/// How long a session is a lease for its child after it sent a heartbeat that was answered, in
/// milliseconds: it starts nothing that it was handed unless one is that young.
pub const LEASE_MS: u64 = 2_000;
/// How long a parent keeps an order for a child of which it hears seldom until that has sent a
/// heartbeat, in milliseconds.
pub const KEEP_MS: u64 = 500;
/// By how much later a session counts as over for each further node on the way, in milliseconds.
pub const HOP_MS: u64 = 2_000;
/// Orders that one child may have in hand through one session; of more it is busy.
pub const ORDERS_OPEN_MAX: usize = 16_384;
/// Orders in one frame.
pub const ORDERS_FRAME_MAX: usize = 256;
/// Answers about orders in one frame.
pub const ANSWERS_FRAME_MAX: usize = 1_024;
/// Answers that wait for a parent; at the bound the oldest go, and their number is told.
pub const ANSWERS_PENDING_MAX: usize = 65_536;
/// Delta frames that a child may have on the way unacknowledged.
pub const WINDOW_FRAMES: u64 = 4;
/// How long a delta may stay unacknowledged before the child tries another session, in
/// milliseconds: the parent may have fallen behind.
pub const STALLED_AFTER_MS: u64 = 10_000;
/// Most changed paths in one frame.
pub const DELTA_PATHS_MAX: usize = 8_192;
/// Bytes of observations after which a frame takes no more of them.
pub const DELTA_BYTES_MAX: usize = 1 << 20;
/// Largest observation that travels, in bytes; a larger one stays where it was made, and that is
/// told.
pub const SIGHTING_BYTES_MAX: usize = 8 << 20;
/// Events that wait for a parent; the oldest go first, and their number is told.
pub const EVENTS_PENDING_MAX: usize = 10_000;
/// Events in one frame.
pub const EVENTS_FRAME_MAX: usize = 1_000;
/// How far a stamp may lie ahead of its receiver, in milliseconds.
pub const STAMP_AHEAD_MS_MAX: u64 = 10_000;

/// Deepest nesting of a frame; lists in lists would else be followed until the stack is full.
pub const FRAME_DEPTH_MAX: usize = 64;

/// Bytes are not a frame.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// The bytes do not decode.
    #[error("{bytes} bytes are not a frame of protocol version {PROTOCOL_VERSION}")]
    Decode {
        /// How many bytes there were.
        bytes: usize,
        /// What the decoder found.
        #[source]
        source: rmp_serde::decode::Error,
    },
    /// The frame does not encode.
    #[error("a frame does not encode")]
    Encode(#[source] rmp_serde::encode::Error),
    /// The frame is too large.
    #[error("a frame of {bytes} bytes is over the limit of {FRAME_BYTES_MAX}")]
    TooLarge {
        /// How many bytes there are.
        bytes: usize,
    },
}

/// The bytes of a frame, without a length before them.
pub fn encode(frame: &Frame) -> Result<Vec<u8>, FrameError> {
    let bytes = rmp_serde::to_vec_named(frame).map_err(FrameError::Encode)?;
    if bytes.len() > FRAME_BYTES_MAX {
        return Err(FrameError::TooLarge { bytes: bytes.len() });
    }
    Ok(bytes)
}

/// The frame that bytes hold.
pub fn decode(bytes: &[u8]) -> Result<Frame, FrameError> {
    if bytes.len() > FRAME_BYTES_MAX {
        return Err(FrameError::TooLarge { bytes: bytes.len() });
    }
    let mut decoder = rmp_serde::Deserializer::from_read_ref(bytes);
    decoder.set_max_depth(FRAME_DEPTH_MAX);
    let read = Frame::deserialize(&mut decoder);
    read.map_err(|source| FrameError::Decode { bytes: bytes.len(), source })
}
