//! Work that takes a while, off the threads that serve everybody.

use crate::problem::Problem;

/// Runs work where it holds up nobody.
pub(crate) async fn aside<R: Send + 'static>(
    work: impl FnOnce() -> R + Send + 'static,
) -> Result<R, Problem> {
    let failed = |error| Problem::Internal(format!("the work ended early: {error}"));
    tokio::task::spawn_blocking(work).await.map_err(failed)
}
