//! The one place that sleeps: waits for a condition, with a bound.

use std::time::Duration;

use anyhow::{Result, anyhow};
use tokio::time::{Instant, sleep, timeout_at};

/// How long after a look the next one follows.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);

/// Looks until `look` succeeds and returns what it found. Its error says how things are instead;
/// the last one is told when `bound` has passed. A look that hangs is cut off by the bound.
pub async fn wait_until<T>(
    what: &str,
    bound: Duration,
    mut look: impl AsyncFnMut() -> Result<T>,
) -> Result<T> {
    let end = Instant::now() + bound;
    let mut last = anyhow!("the first look has not ended");
    loop {
        match timeout_at(end, look()).await {
            Ok(Ok(found)) => return Ok(found),
            Ok(Err(error)) => last = error,
            Err(_) => last = last.context("the last look was cut off; before it"),
        }
        if Instant::now() >= end {
            return Err(last.context(format!("waited {bound:?} until {what}")));
        }
        sleep(LOOK_INTERVAL).await;
    }
}

#[cfg(test)]
mod tests {
    use anyhow::bail;

    use super::*;

    #[tokio::test]
    async fn what_holds_in_time_is_returned() {
        let mut looks = 0;
        let found = wait_until("there were three looks", Duration::from_secs(5), async || {
            looks += 1;
            if looks < 3 {
                bail!("{looks} looks");
            }
            Ok(looks)
        });
        assert_eq!(found.await.unwrap(), 3);
    }

    #[tokio::test]
    async fn what_never_holds_is_told_as_it_was_seen_last() {
        let bound = Duration::from_millis(50);
        let never = wait_until("pigs fly", bound, async || -> Result<()> { bail!("they walk") });
        let told = format!("{:#}", never.await.unwrap_err());
        assert_eq!(told, "waited 50ms until pigs fly: they walk");
        let hanging = wait_until("hell freezes", bound, async || std::future::pending().await);
        let told = format!("{:#}", hanging.await.map(|()| 0).unwrap_err());
        assert!(told.contains("cut off"), "{told}");
    }
}
