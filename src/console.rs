//! What the program says: data to standard output, everything else to standard error. All printing
//! goes through here, so that a closed pipe is noticed in one place and colour is decided in one.

use std::{
    io::{self, BufRead as _, ErrorKind, IsTerminal, Write},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use indicatif::{ProgressBar, ProgressStyle};

use crate::{exit::Failure, look::Look};

/// How often a spinner moves.
const TICK: Duration = Duration::from_millis(120);
/// Clears a terminal and goes to its first line.
const CLEAR: &str = "\u{1b}[H\u{1b}[2J\u{1b}[3J";

/// Standard output and standard error, or what stands in for them. Cheap to clone; all clones are
/// one.
#[derive(Clone)]
pub(crate) struct Console(Arc<Mutex<Inner>>);

struct Inner {
    data: Box<dyn Write + Send>,
    notes: Box<dyn Write + Send>,
    has_colour: bool,
    data_is_terminal: bool,
    notes_is_terminal: bool,
    bar: Option<ProgressBar>,
}

impl Console {
    /// The process's own.
    pub(crate) fn of_process() -> Self {
        let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self(Arc::new(Mutex::new(Inner {
            data: Box::new(io::stdout()),
            notes: Box::new(io::stderr()),
            has_colour: io::stdout().is_terminal() && !plain,
            data_is_terminal: io::stdout().is_terminal(),
            notes_is_terminal: io::stderr().is_terminal(),
            bar: None,
        })))
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How data may look. A terminal may have another width each time.
    pub(crate) fn look(&self) -> Look {
        let inner = self.inner();
        let (columns, rows) = inner.data_is_terminal.then(size).unwrap_or_default();
        Look { has_colour: inner.has_colour, columns, rows }
    }

    /// Whether a person reads data on a terminal.
    pub(crate) fn is_terminal(&self) -> bool {
        self.inner().data_is_terminal
    }

    /// Puts data in the place of all that a terminal shows.
    pub(crate) fn redraw(&self, text: &str) -> Result<(), Failure> {
        self.print(format!("{CLEAR}{text}"))
    }

    /// Asks a person, and waits for the answer: a line without its end, nothing where there is
    /// nobody to ask.
    pub(crate) fn ask(&self, question: &str) -> Option<String> {
        if !io::stdin().is_terminal() {
            return None;
        }
        {
            let mut inner = self.inner();
            drop(write!(inner.notes, "{question} "));
            drop(inner.notes.flush());
        }
        let mut answer = String::new();
        let read = io::stdin().lock().read_line(&mut answer).ok()?;
        (read > 0).then(|| answer.trim().to_owned())
    }

    /// Writes data and a line end.
    pub(crate) fn print(&self, text: impl AsRef<str>) -> Result<(), Failure> {
        let text = text.as_ref();
        if text.is_empty() {
            return Ok(());
        }
        let end = if text.ends_with('\n') { "" } else { "\n" };
        let mut inner = self.inner();
        let bar = inner.bar.clone();
        let write = || write!(inner.data, "{text}{end}").and_then(|()| inner.data.flush());
        let written = suspended(bar, write);
        written.map_err(|error| match error.kind() {
            ErrorKind::BrokenPipe => Failure::reader_gone(),
            _ => Failure::failed(format!("cannot write to standard output: {error}")),
        })
    }

    /// Tells something that is no data. What cannot be told is not worth failing for.
    pub(crate) fn note(&self, text: impl AsRef<str>) {
        let mut inner = self.inner();
        let bar = inner.bar.clone();
        suspended(bar, || {
            drop(writeln!(inner.notes, "{}", text.as_ref()));
            drop(inner.notes.flush());
        });
    }

    /// Begins to show to a person how far something is; to nobody else.
    pub(crate) fn bar(&self) -> Option<Progress> {
        let is_seen = self.inner().notes_is_terminal;
        is_seen.then(|| self.progress())
    }

    /// Begins to show how far something is: as a bar to a person, else as a line a change.
    pub(crate) fn progress(&self) -> Progress {
        let bar = self.inner().notes_is_terminal.then(|| {
            let bar = ProgressBar::new_spinner();
            bar.enable_steady_tick(TICK);
            bar
        });
        self.inner().bar.clone_from(&bar);
        Progress { console: self.clone(), bar, last: String::new() }
    }
}

/// How many columns and lines the terminal has to which data goes, where it says so.
fn size() -> (Option<usize>, Option<usize>) {
    let Ok(size) = rustix::termios::tcgetwinsize(io::stdout()) else { return (None, None) };
    let said = |number: u16| (number > 0).then_some(usize::from(number));
    (said(size.ws_col), said(size.ws_row))
}

/// Does something while a bar is out of the way.
fn suspended<T>(bar: Option<ProgressBar>, work: impl FnOnce() -> T) -> T {
    match bar {
        Some(bar) => bar.suspend(work),
        None => work(),
    }
}

/// Shows how far something is until it is dropped.
pub(crate) struct Progress {
    console: Console,
    bar: Option<ProgressBar>,
    last: String,
}

impl Progress {
    /// So many of so many are done; `what` is the line without the numbers.
    pub(crate) fn set(&mut self, what: &str, done: usize, total: usize) {
        self.detail(what, done, total, "");
    }

    /// The same with what holds up the rest, for who watches the bar.
    pub(crate) fn detail(&mut self, what: &str, done: usize, total: usize, detail: &str) {
        let Some(bar) = &self.bar else {
            let line = format!("{done} of {total} {what}");
            if line != self.last {
                self.console.note(&line);
                self.last = line;
            }
            return;
        };
        // The template is constant and valid; were it not, the plain bar would do.
        if let Ok(style) = ProgressStyle::with_template("{spinner} {bar:24} {pos}/{len} {msg}") {
            bar.set_style(style);
        }
        bar.set_length(u64::try_from(total).unwrap_or(u64::MAX));
        bar.set_position(u64::try_from(done).unwrap_or(u64::MAX));
        bar.set_message(if detail.is_empty() {
            what.to_owned()
        } else {
            format!("{what}; {detail}")
        });
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.console.inner().bar = None;
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// A console in memory.
#[cfg(test)]
pub(crate) mod memory {
    use super::*;

    /// What was written.
    #[derive(Clone, Default)]
    pub(crate) struct Written(Arc<Mutex<Vec<u8>>>);

    impl Written {
        /// The text so far.
        pub(crate) fn text(&self) -> String {
            String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
        }
    }

    impl Write for Written {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// A console that nobody reads, with what was written as data and as notes.
    pub(crate) fn console() -> (Console, Written, Written) {
        let (data, notes) = (Written::default(), Written::default());
        let console = Console(Arc::new(Mutex::new(Inner {
            data: Box::new(data.clone()),
            notes: Box::new(notes.clone()),
            has_colour: false,
            data_is_terminal: false,
            notes_is_terminal: false,
            bar: None,
        })));
        (console, data, notes)
    }

    #[test]
    fn progress_is_a_line_a_change_where_nobody_looks() {
        let (console, data, notes) = console();
        let mut progress = console.progress();
        for done in [0, 0, 1] {
            progress.set("leaves attached", done, 8);
        }
        console.note("n1 said something");
        console.print("data").unwrap();
        let expected = "0 of 8 leaves attached\n1 of 8 leaves attached\nn1 said something\n";
        assert_eq!(notes.text(), expected);
        assert_eq!(data.text(), "data\n");
    }
}
