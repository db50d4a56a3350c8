//! A browser without a screen: headless Chromium, driven through its DevTools protocol as a person
//! drives it, by clicks and keys at real places.
//!
//! The protocol is spoken directly, in `wire`, so that there is no driver beside the browser whose
//! version has to fit, and traces of frames come by the same way.

mod frames;
mod page;
mod wire;

use std::{fs, path::Path, time::Duration};

use anyhow::{Context as _, Result, ensure};
use serde_json::json;
use tempfile::TempDir;

use self::wire::Wire;
pub use self::{
    frames::{Frames, Trace},
    page::Page,
};
use crate::{job::Job, process::Sweep, tool, wait_until};

/// What the browser is called, on one system or another.
const PROGRAMS: [&str; 3] = ["chromium", "chromium-browser", "google-chrome"];
/// How it is run: without a sandbox, which root may not have, and without a word to anybody.
const FLAGS: [&str; 12] = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--hide-scrollbars",
    "--mute-audio",
    "--remote-debugging-port=0",
];
/// How long it may take to start.
const START_MAX: Duration = Duration::from_mins(1);

/// A running browser. It ends when this is dropped, and its folder with it.
#[derive(Debug)]
pub struct Browser {
    wire: Wire,
    // In the order in which they go: the process, those that it started, then its folder.
    _job: Job,
    _sweep: Sweep,
    _folder: TempDir,
}

impl Browser {
    /// The browser of this machine.
    pub fn program() -> Option<&'static str> {
        PROGRAMS.into_iter().find(|program| tool::has(program))
    }

    /// Starts it with nothing remembered.
    pub async fn start() -> Result<Self> {
        let program = Self::program().context("there is no chromium here")?;
        let folder = tempfile::Builder::new().prefix("kraken-browser-").tempdir()?;
        let profile = folder.path().join("profile");
        let job = Job::new("browser", program, folder.path()).args(FLAGS);
        let job = job.args([format!("--user-data-dir={}", profile.display())]);
        // What it leaves lying about goes with its folder.
        let mut job = job.env("TMPDIR", folder.path());
        let sweep = Sweep::of(folder.path());
        job.start()?;
        let address = wait_until("the browser listens", START_MAX, async || {
            address(&profile.join("DevToolsActivePort"))
        });
        let address = address.await.with_context(|| job.tail())?;
        let wire = Wire::connect(&address).await?;
        Ok(Self { wire, _job: job, _sweep: sweep, _folder: folder })
    }

    /// Opens a page with nothing in it.
    pub async fn page(&self) -> Result<Page> {
        let created = self.wire.call(None, "Target.createTarget", json!({ "url": "about:blank" }));
        let target = created.await?["targetId"].clone();
        let asked = json!({ "targetId": target, "flatten": true });
        let attached = self.wire.call(None, "Target.attachToTarget", asked).await?;
        let session = attached["sessionId"].as_str().context("a page has a session")?;
        Page::new(self.wire.clone(), session.to_owned()).await
    }

    /// Bytes that the busiest of the processes that hold pages has for itself alone.
    pub async fn memory(&self) -> Result<u64> {
        let told = self.wire.call(None, "SystemInfo.getProcessInfo", json!({})).await?;
        let processes = told["processInfo"].as_array().context("a browser has processes")?;
        let pages = processes.iter().filter(|process| process["type"] == "renderer");
        let held = pages.filter_map(|process| own_bytes(process["id"].as_u64()?).ok());
        held.max().context("no process holds a page")
    }
}

/// Where the browser is spoken to, from the file in which it says so.
fn address(file: &Path) -> Result<String> {
    let said = fs::read_to_string(file)?;
    let (port, path) = said.split_once('\n').context("half a file")?;
    let path = path.trim();
    ensure!(path.starts_with('/'), "half a file");
    Ok(format!("ws://127.0.0.1:{port}{path}"))
}

/// Bytes of a process that it shares with no other.
fn own_bytes(pid: u64) -> Result<u64> {
    let told = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
    let private = told.lines().filter(|line| line.starts_with("Private_"));
    let kilobytes = private.filter_map(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok());
    Ok(kilobytes.sum::<u64>() * 1024)
}
