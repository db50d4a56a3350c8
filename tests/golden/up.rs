//! The first command of a newcomer, from its first line to its last.

use std::{fs, time::Duration};

use anyhow::{Context as _, Result, ensure};
use kraken_testkit::{
    cli::Said,
    job::Job,
    lock::Lock,
    process::{Process, Sweep},
    wait_until,
};
use nix::sys::signal::Signal;

use crate::{KRAKEN, steady::Steady, transcript::Book};

/// How long it may take on a busy machine.
const BOUND: Duration = Duration::from_secs(90);

#[tokio::test(flavor = "multi_thread")]
async fn up_until_interrupted() -> Result<()> {
    let _lock = Lock::take()?;
    let folder = tempfile::Builder::new().prefix("kraken-golden-").tempdir()?;
    let _sweep = Sweep::of(folder.path());
    let temporary = folder.path().join("tmp");
    fs::create_dir(&temporary)?;
    let line = "up --leaves 2 --http 127.0.0.1:0";
    let job = Job::new("up", KRAKEN, folder.path()).args(line.split(' '));
    let mut job = job.env("TMPDIR", &temporary).env("PATH", "/usr/bin:/bin");
    job.start()?;
    printed(&job, "Ctrl-C").await?;

    let output = job.output();
    let row = output.lines().find(|row| row.starts_with("member   m3 ")).context("no m3")?;
    let pid = row.split_whitespace().nth(2).context("no pid")?.parse()?;
    Process::of(pid).context("m3 does not run")?.kill9()?;
    printed(&job, "runs again").await?;
    job.signal(Signal::SIGINT)?;
    let code = job.end_within(BOUND).await?.code().context("it was killed")?;

    let steady = Steady::new()?.also(temporary.display().to_string(), "/tmp");
    let mut book = Book::new(steady);
    let said = Said { code, out: job.output(), err: job.errors() };
    book.write("up", line, &said, &code.to_string())?;
    book.close()
}

async fn printed(job: &Job, text: &str) -> Result<()> {
    wait_until(&format!("it says {text:?}"), BOUND, async || {
        ensure!(job.errors().contains(text), "{}", job.tail());
        Ok(())
    })
    .await
}
