//! The `kraken` command line as a person at a second terminal uses it.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use tokio::{process::Command, time::timeout};

use crate::{job::Job, pty::Program};

/// How long a verb may take that sets no bound of its own.
const VERB_MAX: Duration = Duration::from_secs(90);

/// The program, and the servers that it speaks to.
#[derive(Debug, Clone)]
pub struct Cli {
    program: PathBuf,
    prefix: Vec<OsString>,
    servers: String,
}

/// What a verb said.
#[derive(Debug, Clone)]
pub struct Said {
    /// Its exit code.
    pub code: i32,
    /// Its standard output.
    pub out: String,
    /// Its standard error.
    pub err: String,
}

impl Cli {
    /// The program against these servers.
    pub fn new(program: impl Into<PathBuf>, servers: &[String]) -> Self {
        Self { program: program.into(), prefix: Vec::new(), servers: servers.join(",") }
    }

    /// The program as another one runs it, such as `nsenter`.
    pub fn through(mut self, prefix: &[&str]) -> Self {
        self.prefix = prefix.iter().map(Into::into).collect();
        self
    }

    /// Runs a verb to its end; its failure is the caller's to judge.
    pub async fn try_run(&self, args: &[&str]) -> Result<Said> {
        let (program, args) = self.command(args);
        let mut command = Command::new(program);
        command.args(args).env("KRAKEN_SERVER", &self.servers).stdin(Stdio::null());
        command.kill_on_drop(true);
        let ended = timeout(VERB_MAX, command.output()).await;
        let ended = ended.context("the verb does not end")?.context("the verb does not start")?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let code = ended.status.code().context("the verb was killed")?;
        Ok(Said { code, out: text(&ended.stdout), err: text(&ended.stderr) })
    }

    /// Runs a verb that must succeed, and returns its data.
    pub async fn run(&self, args: &[&str]) -> Result<String> {
        let said = self.try_run(args).await.with_context(|| args.join(" "))?;
        let Said { code, out, err } = said;
        ensure!(code == 0, "kraken {}: code {code}: {err}{out}", args.join(" "));
        Ok(out)
    }

    /// A verb that goes on beside the test; yet to be started.
    pub fn job(&self, name: &str, folder: &Path, args: &[&str]) -> Job {
        let (program, args) = self.command(args);
        Job::new(name, program, folder).args(args).env("KRAKEN_SERVER", &self.servers)
    }

    /// A verb in a terminal of its own; yet to be started.
    pub fn terminal(&self, folder: &Path, args: &[&str]) -> Program {
        let (program, args) = self.command(args);
        let words = std::iter::once(program).chain(args);
        Program::new(words, folder).env("KRAKEN_SERVER", &self.servers)
    }

    fn command(&self, args: &[&str]) -> (OsString, Vec<OsString>) {
        let program = std::iter::once(self.program.clone().into_os_string());
        let verb = args.iter().map(Into::into);
        let mut words = self.prefix.iter().cloned().chain(program).chain(verb);
        (words.next().unwrap_or_default(), words.collect())
    }
}
