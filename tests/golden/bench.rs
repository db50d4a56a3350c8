//! The measurements in a small form: that they run, and in which form they print. Their numbers are
//! of the machine and no part of the transcript.

use anyhow::Result;
use kraken_testkit::lock::Lock;

use crate::{
    steady::Steady,
    transcript::{Book, cli},
};

#[tokio::test(flavor = "multi_thread")]
async fn small_measurements() -> Result<()> {
    let _lock = Lock::take()?;
    let folder = tempfile::tempdir()?;
    let (cli, mut book) = (cli(folder.path(), "http://127.0.0.1:1")?, Book::new(Steady::new()?));
    for (line, code) in [
        ("bench plan --quick --objects 200 --json", 0),
        ("bench converge --nodes 20 --json", 0),
        ("bench converge --nodes 0", 2),
        ("bench converge --steps 48", 2),
        ("bench converge --steps 5 --kill-leader", 2),
        ("bench", 2),
    ] {
        book.ends(&cli, "bench", line, code).await?;
    }
    book.close()
}
