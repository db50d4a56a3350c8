//! A terminal with a program in it, as a person sits before one: what is typed reaches the program,
//! and what it draws is read from a screen.

use std::{
    ffi::OsString,
    fs::File,
    io::{Read, Write as _},
    num::NonZeroU16,
    os::fd::{AsFd as _, OwnedFd},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use nix::{
    pty::{Winsize, openpty},
    sys::{
        signal::{Signal, kill},
        termios::{LocalFlags, tcgetattr},
    },
    unistd::Pid,
};
use rustix::termios::{Winsize as Size, tcsetwinsize};

use crate::wait_until;

/// What starts a program as the leader of a session whose terminal is its standard input.
const SETSID: &str = "setsid";
/// Bytes that are read at a time.
const PIECE_BYTES: usize = 64 << 10;

/// A program that runs in a terminal of its own.
pub struct Terminal {
    child: Child,
    keyboard: File,
    drawn: Arc<Mutex<Drawn>>,
    /// Held open, so that how the terminal was left can be seen when the program has ended.
    slave: Option<OwnedFd>,
}

/// What was drawn.
struct Drawn {
    screen: vt100::Parser,
    bytes: Vec<u8>,
}

/// What is to run in a terminal.
#[derive(Debug, Clone)]
pub struct Program {
    words: Vec<OsString>,
    folder: PathBuf,
    env: Vec<(String, OsString)>,
}

impl Program {
    /// A program with its arguments, in a folder.
    pub fn new(words: impl IntoIterator<Item = OsString>, folder: &Path) -> Self {
        Self { words: words.into_iter().collect(), folder: folder.to_owned(), env: Vec::new() }
    }

    /// Gives it a variable.
    pub fn env(mut self, name: &str, value: impl Into<OsString>) -> Self {
        self.env.push((name.to_owned(), value.into()));
        self
    }

    /// Starts it in a terminal of so many lines and columns.
    pub fn start(&self, rows: u16, columns: u16) -> Result<Terminal> {
        let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        let pty = openpty(&size, None).context("there is no terminal to be had")?;
        let end = || pty.slave.try_clone().map(Stdio::from);
        let mut command = Command::new(SETSID);
        let ours = std::env::vars_os().map(|(name, _)| name);
        for name in ours.filter(|name| name.as_encoded_bytes().starts_with(b"KRAKEN_")) {
            command.env_remove(name);
        }
        command.arg("--ctty").args(&self.words).current_dir(&self.folder);
        command.env_remove("NO_COLOR").env_remove("COLUMNS").env_remove("LINES");
        command.env("TERM", "xterm-256color").envs(self.env.iter().map(|(n, v)| (n, v)));
        command.stdin(end()?).stdout(end()?).stderr(end()?);
        let child = command.spawn().with_context(|| format!("cannot run {SETSID}"))?;
        let (rows, columns) = sized(rows, columns)?;
        let screen = vt100::Parser::new(rows, columns, 0);
        let drawn = Arc::new(Mutex::new(Drawn { screen, bytes: Vec::new() }));
        let keyboard = File::from(pty.master);
        read_on(keyboard.try_clone()?, drawn.clone())?;
        Ok(Terminal { child, keyboard, drawn, slave: Some(pty.slave) })
    }
}

/// The size of a terminal, which has at least one line and one column.
fn sized(rows: u16, columns: u16) -> Result<(NonZeroU16, NonZeroU16)> {
    let of = |number| NonZeroU16::new(number).context("a terminal without a line or a column");
    Ok((of(rows)?, of(columns)?))
}

/// Reads what is drawn until the terminal is gone.
fn read_on(mut from: File, into: Arc<Mutex<Drawn>>) -> Result<()> {
    let read = move || {
        let mut piece = vec![0; PIECE_BYTES];
        while let Ok(length @ 1..) = from.read(&mut piece) {
            let piece = piece.get(..length).unwrap_or_default();
            let mut drawn = into.lock().unwrap_or_else(PoisonError::into_inner);
            drawn.screen.process(piece);
            drawn.bytes.extend_from_slice(piece);
        }
    };
    std::thread::Builder::new().name("terminal".to_owned()).spawn(read)?;
    Ok(())
}

impl Terminal {
    fn drawn(&self) -> MutexGuard<'_, Drawn> {
        self.drawn.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What stands on the screen now, each line without trailing spaces.
    pub fn screen(&self) -> String {
        let text = self.drawn().screen.screen().contents();
        let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
        lines.join("\n").trim_end().to_owned()
    }

    /// Everything that was drawn, with all that moves and colours it.
    pub fn bytes(&self) -> String {
        String::from_utf8_lossy(&self.drawn().bytes).into_owned()
    }

    /// Types a text.
    pub fn types(&mut self, keys: &str) -> Result<()> {
        self.keyboard.write_all(keys.as_bytes()).context("nobody takes what is typed")
    }

    /// Makes the terminal so large.
    pub fn resize(&self, rows: u16, columns: u16) -> Result<()> {
        let size = Size { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        let (rows, columns) = sized(rows, columns)?;
        self.drawn().screen.screen_mut().set_size(rows, columns);
        tcsetwinsize(self.keyboard.as_fd(), size)?;
        Ok(())
    }

    /// Sends the program a signal.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        kill(Pid::from_raw(i32::try_from(self.child.id())?), signal)?;
        Ok(())
    }

    /// Waits until a condition of the screen holds.
    pub async fn until(
        &self,
        what: &str,
        bound: Duration,
        holds: impl Fn(&str) -> bool,
    ) -> Result<()> {
        wait_until(what, bound, async || {
            let screen = self.screen();
            ensure!(holds(&screen), "{screen}");
            Ok(())
        })
        .await
    }

    /// Waits until a text stands on the screen.
    pub async fn shows(&self, text: &str, bound: Duration) -> Result<()> {
        self.until(&format!("the terminal shows {text:?}"), bound, |screen| screen.contains(text))
            .await
    }

    /// Waits until the program has ended by itself, and says how.
    pub async fn end_within(&mut self, bound: Duration) -> Result<ExitStatus> {
        let ended = wait_until("the program has ended", bound, async || {
            self.child.try_wait()?.context("it still runs")
        });
        ended.await.with_context(|| self.screen())
    }

    /// Whether the terminal is as a shell wants it: lines are read and shown as they are typed, the
    /// cursor is seen, and what stood there before is shown again.
    pub fn is_as_before(&self) -> Result<bool> {
        let flags = tcgetattr(&self.keyboard)?.local_flags;
        let drawn = self.drawn();
        let screen = drawn.screen.screen();
        let is_cooked = flags.contains(LocalFlags::ICANON | LocalFlags::ECHO);
        Ok(is_cooked && !screen.alternate_screen() && !screen.hide_cursor())
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // It may have ended already, which is as good.
        drop(self.child.kill());
        drop(self.child.wait());
        drop(self.slave.take());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUND: Duration = Duration::from_secs(10);

    fn shell(script: &str) -> Program {
        let words = ["/bin/sh", "-c", script].map(OsString::from);
        Program::new(words, Path::new("/"))
    }

    #[tokio::test]
    async fn what_is_typed_arrives_and_what_is_drawn_is_seen() {
        let script =
            "read -r word; echo \"it says $word\"; stty size; read -r word; stty size; exit 7";
        let mut terminal = shell(script).start(10, 40).unwrap();
        terminal.types("hello\n").unwrap();
        terminal.shows("it says hello", BOUND).await.unwrap();
        terminal.shows("10 40", BOUND).await.unwrap();
        terminal.resize(12, 50).unwrap();
        terminal.types("\n").unwrap();
        terminal.shows("12 50", BOUND).await.unwrap();
        assert_eq!(terminal.end_within(BOUND).await.unwrap().code(), Some(7));
        assert!(terminal.is_as_before().unwrap());
    }

    #[tokio::test]
    async fn a_terminal_that_is_left_in_disorder_is_found() {
        let mut terminal = shell("stty raw -echo; printf '\\033[?1049h'").start(10, 40).unwrap();
        terminal.end_within(BOUND).await.unwrap();
        assert!(!terminal.is_as_before().unwrap());
    }
}
