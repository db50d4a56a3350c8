//! Keeps what a member knows of the fleet in a file, and reads it when the member starts again.
//!
//! A task of its own. What changes is appended every few seconds; once more was appended than the
//! whole takes, the whole is written anew and takes the place of the file. A disk that fails costs
//! what was remembered and nothing else: that is said, and tried again.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, ErrorKind, Write as _},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use kraken_engine::{
    dsc::Dsc,
    fleet::Fleet,
    id::Uid,
    journal::{self, Remembered},
};
use tokio_util::sync::CancellationToken;

use crate::{dirty::Dirty, state::StateHandle, whole};

/// How often what has changed is written.
const EVERY: Duration = Duration::from_secs(5);
/// Bytes that may be appended however little the whole takes.
const APPENDED_MIN: u64 = 1 << 20;
/// The file, and what one becomes that cannot be read.
const NAME: &str = "journal";
const ASIDE: &str = "journal.unread";

type Held = BTreeMap<Uid, Arc<Dsc>>;

/// The file of one member.
struct Book {
    folder: PathBuf,
    /// The file that is appended to; absent until the whole was written.
    file: Option<File>,
    /// Bytes of the whole, and what was appended to it since.
    whole: u64,
    appended: u64,
    /// Whether it was said that it cannot be written.
    failed: bool,
}

/// Gives the state what was remembered, and keeps what it knows from then on. Returns once it is
/// given.
pub(crate) async fn start(folder: PathBuf, state: StateHandle, stop: CancellationToken) {
    let changed = state.watch_objects().await;
    let book = Book::new(folder);
    let read = tokio::task::spawn_blocking(move || {
        let remembered = book.read();
        (book, remembered)
    });
    let Ok((book, remembered)) = read.await else { return };
    state.recall(remembered).await;
    actix_rt::spawn(async move {
        stop.run_until_cancelled(keep(book, changed, state)).await;
    });
}

async fn keep(mut book: Book, changed: Dirty<Uid>, state: StateHandle) {
    loop {
        tokio::time::sleep(EVERY).await;
        let uids = changed.take();
        if uids.is_empty() && book.file.is_some() {
            continue;
        }
        let is_whole = book.is_due();
        let read = move |fleet: &Fleet| -> Held {
            if is_whole {
                return fleet.remembered().map(|(uid, dsc)| (uid, dsc.clone())).collect();
            }
            let own = fleet.node(fleet.me()).map(|node| node.uid);
            let others = uids.into_iter().filter(|uid| Some(*uid) != own);
            others
                .filter(|uid| fleet.object(*uid).is_some())
                .map(|uid| (uid, fleet.dsc(uid)))
                .collect()
        };
        let Ok(held) = state.read(read).await else { return };
        let written = tokio::task::spawn_blocking(move || {
            book.write(&held, is_whole);
            book
        });
        let Ok(written) = written.await else { return };
        book = written;
    }
}

impl Book {
    fn new(folder: PathBuf) -> Self {
        Self { folder, file: None, whole: 0, appended: 0, failed: false }
    }

    fn read(&self) -> Remembered {
        let path = self.folder.join(NAME);
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == ErrorKind::NotFound => return Remembered::new(),
            Err(error) => {
                tracing::warn!(%error, path = %path.display(), "cannot read what was remembered");
                self.set_aside();
                return Remembered::new();
            }
        };
        match journal::read(&bytes) {
            Ok((remembered, lost)) => {
                if lost > 0 {
                    tracing::warn!(lost, path = %path.display(), "the end of it was not whole");
                }
                tracing::info!(objects = remembered.len(), "remembers what was seen last");
                remembered
            }
            Err(error) => {
                tracing::warn!(%error, path = %path.display(), "nothing is remembered");
                self.set_aside();
                Remembered::new()
            }
        }
    }

    /// Keeps a file that cannot be read from being written over.
    fn set_aside(&self) {
        let (path, aside) = (self.folder.join(NAME), self.folder.join(ASIDE));
        match fs::rename(&path, &aside) {
            Ok(()) => tracing::warn!(path = %aside.display(), "it is kept there"),
            Err(error) => tracing::warn!(%error, "nor can it be set aside"),
        }
    }

    /// Whether the whole is to be written, and not only what has changed.
    fn is_due(&self) -> bool {
        self.file.is_none() || self.appended > self.whole.max(APPENDED_MIN)
    }

    fn write(&mut self, held: &Held, is_whole: bool) {
        let mut bytes = if is_whole { journal::head() } else { Vec::new() };
        journal::write(&mut bytes, held.iter().map(|(uid, dsc)| (*uid, &**dsc)));
        let written = if is_whole { self.replace(&bytes) } else { self.append(&bytes) };
        match written {
            Ok(()) => self.failed = false,
            Err(error) => {
                // A part may have been written: only the whole can follow.
                self.file = None;
                if !std::mem::replace(&mut self.failed, true) {
                    let path = self.folder.display();
                    tracing::warn!(%error, %path, "cannot remember what is seen; trying again");
                }
            }
        }
    }

    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        let file = self.file.as_mut().ok_or(ErrorKind::NotFound)?;
        file.write_all(bytes)?;
        self.appended += bytes.len() as u64;
        Ok(())
    }

    fn replace(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file = Some(whole::replace(&self.folder, NAME, bytes)?);
        (self.whole, self.appended) = (bytes.len() as u64, 0);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use kraken_engine::{
        dsc::{Observed, Stamp},
        id::{ClusterId, Name, Revision},
        path::Path,
        time::Millis,
    };

    use super::*;

    fn book(folder: &std::path::Path) -> Book {
        Book::new(folder.join("dsc"))
    }

    fn held(numbers: std::ops::Range<u64>, value: &str) -> Held {
        let mut dsc = Dsc::new();
        let stamp = Stamp { ms: 7, counter: 1, writer: Name::new("n1").unwrap() };
        let observed = Observed { value: Some(value.into()), stamp, seen_at: Millis::ZERO };
        dsc.merge(Path::new("/a").unwrap(), observed);
        let dsc = Arc::new(dsc);
        let uid = |number| Uid::derive(ClusterId::new(1), Revision::new(number), 0);
        numbers.map(|number| (uid(number), dsc.clone())).collect()
    }

    fn as_read(held: &Held) -> Remembered {
        let of = |dsc: &Dsc| dsc.iter().map(|(path, seen)| (path.clone(), seen.clone())).collect();
        held.iter().map(|(uid, dsc)| (*uid, of(dsc))).collect()
    }

    #[test]
    fn what_was_written_is_read_and_the_file_does_not_grow_for_ever() {
        let folder = tempfile::tempdir().unwrap();
        let mut book = book(folder.path());
        assert_eq!(book.read(), Remembered::new());
        book.write(&held(0..10, "x"), true);
        book.write(&held(5..6, "y"), false);
        let mut expected = held(0..10, "x");
        expected.extend(held(5..6, "y"));
        assert_eq!(book.read(), as_read(&expected));

        let large = held(0..3_000, "z");
        let mut longest = 0;
        for _ in 0..40 {
            book.write(&large, book.is_due());
            longest = longest.max(fs::metadata(book.folder.join(NAME)).unwrap().len());
        }
        assert_eq!(book.read(), as_read(&large));
        assert!(longest < 3 * book.whole.max(APPENDED_MIN), "{longest} of {}", book.whole);
    }

    #[test]
    fn a_file_that_cannot_be_read_is_set_aside() {
        let folder = tempfile::tempdir().unwrap();
        let mut book = book(folder.path());
        book.write(&held(0..1, "x"), true);
        let mut newer = fs::read(book.folder.join(NAME)).unwrap();
        newer[8] = 9;
        fs::write(book.folder.join(NAME), &newer).unwrap();
        assert_eq!(book.read(), Remembered::new());
        book.write(&held(0..1, "y"), true);
        assert_eq!(fs::read(book.folder.join(ASIDE)).unwrap(), newer);
    }

    #[test]
    fn a_disk_that_fails_costs_nothing_but_what_was_remembered() {
        let folder = tempfile::tempdir().unwrap();
        let mut book = book(folder.path());
        fs::write(folder.path().join("dsc"), "in the way").unwrap();
        book.write(&held(0..1, "x"), true);
        assert!(book.is_due() && book.failed);
        fs::remove_file(folder.path().join("dsc")).unwrap();
        book.write(&held(0..1, "x"), book.is_due());
        assert!(!book.failed);
        assert_eq!(book.read(), as_read(&held(0..1, "x")));
    }
}
