//! Numbers that nobody else draws: for the identity of a cluster and of requests.

use std::{
    hash::{BuildHasher, Hasher, RandomState},
    sync::{
        LazyLock,
        atomic::{AtomicU64, Ordering},
    },
};

use kraken_engine::command::RequestId;

/// A random number that is not 0. The standard library seeds its hashers from the system.
pub(crate) fn number() -> u64 {
    let mut hasher = RandomState::new().build_hasher();
    hasher.write_u128(
        std::time::SystemTime::UNIX_EPOCH.elapsed().map_or(0, |elapsed| elapsed.as_nanos()),
    );
    hasher.finish().max(1)
}

/// An id for a request whose author gave it none.
pub(crate) fn request() -> RequestId {
    static PROCESS: LazyLock<(u64, u64)> = LazyLock::new(|| (number(), number()));
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let (high, low) = *PROCESS;
    // What differs comes first, so that ids are told apart at their first bytes.
    RequestId(format!("{:x}-{high:016x}{low:016x}", NEXT.fetch_add(1, Ordering::Relaxed)).into())
}
