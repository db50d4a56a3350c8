//! The editor of a person, and the file that it opens.

use std::{
    fs,
    io::{Read as _, Write as _},
    path::PathBuf,
};

use anyhow::Context as _;
use tempfile::NamedTempFile;
use tokio::{
    process::Command,
    signal::unix::{Signal, SignalKind, signal},
    task::spawn_blocking,
};

use crate::{
    console::Console,
    exit::{Exit, Failure},
};

/// What opens a text where nobody has said what does.
const EDITOR: &str = "vi";
/// Largest text that is read, in bytes: what a server takes.
const TEXT_BYTES_MAX: u64 = 8 << 20;

/// Somebody who edits.
pub(super) struct Editor {
    command: String,
    /// Ctrl-C is the editor's as long as that runs; afterwards it is heard, so that no text is
    /// lost.
    interrupt: Signal,
}

impl Editor {
    /// The one that the environment names.
    pub(super) fn of_process() -> Result<Self, Failure> {
        let named = |name| std::env::var(name).ok().filter(|value| !value.trim().is_empty());
        let command = named("VISUAL").or_else(|| named("EDITOR")).unwrap_or_else(|| EDITOR.into());
        let interrupt = signal(SignalKind::interrupt()).context("cannot take SIGINT")?;
        Ok(Self { command, interrupt })
    }

    /// Opens a text and waits until the editor is left. Its command is one for the shell, as it is
    /// for other programs: `code --wait`.
    pub(super) async fn open(&mut self, sheet: &Sheet) -> Result<(), Failure> {
        let Self { command, .. } = self;
        let mut shell = Command::new("/bin/sh");
        shell.arg("-c").arg(format!("{command} \"$@\"")).arg(&*command).arg(sheet.path());
        let left = shell.status().await.with_context(|| format!("cannot run {command}"))?;
        if left.success() {
            return Ok(());
        }
        let hint = "say which editor to use: export EDITOR=nano";
        Err(Failure::failed(format!("the editor {command:?} failed: {left}")).hint(hint))
    }

    /// Asks whether to write.
    pub(super) async fn ask(&mut self, console: &Console) -> Result<String, Failure> {
        let asked = console.clone();
        let question = "write this? y: yes, e: edit it again, anything else: no:";
        tokio::select! {
            answer = spawn_blocking(move || asked.ask(question)) => {
                answer.ok().flatten().ok_or_else(|| {
                    let hint = "without a terminal say it before: kraken edit --yes";
                    Failure::new(Exit::Refused, "there is nobody to confirm it").hint(hint)
                })
            }
            _ = self.interrupt.recv() => Err(Failure::failed("it was interrupted")),
        }
    }
}

/// The file that is edited; it goes away unless it is kept.
pub(super) struct Sheet {
    file: NamedTempFile,
    /// What was in it at first.
    first: String,
}

impl Sheet {
    /// A file that only this user can read.
    pub(super) fn new(text: &str) -> Result<Self, Failure> {
        let file = tempfile::Builder::new().prefix("kraken-edit-").suffix(".yaml").tempfile();
        let (file, first) = (file.context("cannot make a temporary file")?, text.to_owned());
        let sheet = Self { file, first };
        sheet.write(text)?;
        Ok(sheet)
    }

    fn path(&self) -> &std::path::Path {
        self.file.path()
    }

    fn named(&self, what: &str) -> String {
        format!("cannot {what} {}", self.path().display())
    }

    /// Puts a text into it.
    pub(super) fn write(&self, text: &str) -> Result<(), Failure> {
        // By its name: the editor may have put another file there.
        let written = fs::File::create(self.path()).and_then(|mut f| f.write_all(text.as_bytes()));
        written.with_context(|| self.named("write"))?;
        Ok(())
    }

    /// What the editor has left in it.
    pub(super) fn read(&self) -> Result<String, Failure> {
        let mut text = String::new();
        let opened = fs::File::open(self.path()).with_context(|| self.named("read"))?;
        let read = opened.take(TEXT_BYTES_MAX + 1).read_to_string(&mut text);
        let read = read.with_context(|| self.named("read"))?;
        if u64::try_from(read).is_ok_and(|read| read > TEXT_BYTES_MAX) {
            return Err(Failure::usage(format!("the text is over {TEXT_BYTES_MAX} bytes")));
        }
        Ok(text)
    }

    /// Keeps what was changed in it because of a failure, and says where.
    pub(super) fn keep_for(self, failure: Failure) -> Failure {
        let path: PathBuf = self.path().to_owned();
        if self.read().is_ok_and(|text| text == self.first) {
            return failure;
        }
        match self.file.keep() {
            Ok(_) => failure.also_hint(format!(
                "your text is kept in {0}: edit again and take it over, or apply it as it is: \
                 kraken apply -f {0}",
                path.display()
            )),
            Err(error) => failure.also_hint(format!("your text could not be kept: {error}")),
        }
    }
}
