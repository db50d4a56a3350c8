//! The digest of what this member holds, noted at the same entries by every member: where one
//! differs from a majority, it has gone wrong, and must not be asked any more.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

use kraken_engine::store::{Change, Store, digest_of_changes};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

/// Which form of digests this release makes: others are not compared with them.
const FORM: u32 = 1;

/// What a member held after an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Note {
    /// The entry.
    pub(crate) index: u64,
    form: u32,
    digest: u64,
}

/// The notes of this member.
pub(crate) struct Checks {
    every: u64,
    /// Of all objects.
    objects: Mutex<u64>,
    last: watch::Sender<Option<Note>>,
}

impl Checks {
    /// Notes are made every so many entries.
    pub(crate) fn new(every: u64) -> Self {
        Self { every: every.max(1), objects: Mutex::default(), last: watch::Sender::default() }
    }

    /// Everything was replaced.
    pub(crate) fn begin(&self, store: &Store) {
        self.count(|_| store.digest_of_objects());
    }

    /// Objects changed.
    pub(crate) fn changed(&self, changes: &[Change]) {
        self.count(|all| all ^ digest_of_changes(changes));
    }

    fn count(&self, count: impl FnOnce(u64) -> u64) -> u64 {
        let mut objects = self.objects.lock().unwrap_or_else(PoisonError::into_inner);
        *objects = count(*objects);
        *objects
    }

    /// Whether a note is made after an entry.
    pub(crate) fn is_due(&self, index: u64) -> bool {
        index.is_multiple_of(self.every)
    }

    /// Makes a note of the store as it is after an entry.
    pub(crate) fn note(&self, index: u64, store: &Store) {
        let digest = self.count(|all| all) ^ store.digest_of_rest();
        self.last.send_replace(Some(Note { index, form: FORM, digest }));
    }

    /// Follows the notes.
    pub(crate) fn notes(&self) -> watch::Receiver<Option<Note>> {
        self.last.subscribe()
    }
}

/// What became of comparing a note with those of others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Verdict {
    /// A majority holds the same.
    Same,
    /// A majority holds something else.
    Differs,
    /// All have spoken, and no majority holds the same.
    Split,
    /// Too few have spoken yet.
    Open,
}

/// The notes of all members, at the last entries at which there were any.
#[derive(Debug, Default)]
pub(crate) struct Notes(BTreeMap<u64, BTreeMap<u64, Note>>);

/// Entries at which notes of others are remembered.
const INDICES_MAX: usize = 16;

impl Notes {
    /// Takes down what a member noted, and judges it.
    pub(crate) fn hear(
        &mut self,
        member: u64,
        note: Note,
        voters: impl Iterator<Item = u64>,
    ) -> Verdict {
        let said = self.0.entry(note.index).or_default();
        said.insert(member, note);
        let verdict = judge(said, note, voters);
        while self.0.len() > INDICES_MAX {
            self.0.pop_first();
        }
        verdict
    }
}

fn judge(said: &BTreeMap<u64, Note>, note: Note, voters: impl Iterator<Item = u64>) -> Verdict {
    let (mut all, mut silent, mut of) = (0, 0, BTreeMap::<u64, usize>::new());
    for voter in voters {
        all += 1;
        match said.get(&voter).filter(|said| said.form == note.form) {
            Some(said) => *of.entry(said.digest).or_default() += 1,
            None => silent += 1,
        }
    }
    match of.into_iter().find(|(_, count)| *count > all / 2) {
        Some((digest, _)) if digest == note.digest => Verdict::Same,
        Some(_) => Verdict::Differs,
        None if silent == 0 => Verdict::Split,
        None => Verdict::Open,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Who has said what, who is judged, with what; of three voters.
    type Row = (&'static [(u64, u64)], u64, u64, Verdict);

    #[test]
    fn who_differs_from_a_majority_has_gone_wrong() {
        let table: [Row; 9] = [
            (&[], 1, 7, Verdict::Open),
            (&[(2, 7)], 1, 7, Verdict::Same),
            (&[(2, 7)], 1, 8, Verdict::Open),
            (&[(2, 7), (3, 7)], 1, 8, Verdict::Differs),
            (&[(2, 8), (3, 7)], 1, 7, Verdict::Same),
            (&[(2, 8), (3, 7)], 1, 9, Verdict::Split),
            (&[(2, 8), (9, 8)], 1, 7, Verdict::Open),
            (&[(2, 8), (3, 8)], 9, 8, Verdict::Same),
            (&[(1, 7), (2, 7)], 9, 8, Verdict::Differs),
        ];
        for (said, member, digest, expected) in table {
            let note = |digest| Note { index: 5, form: FORM, digest };
            let mut notes = Notes::default();
            for (member, digest) in said {
                notes.hear(*member, note(*digest), 1..=3);
            }
            let verdict = notes.hear(member, note(digest), 1..=3);
            assert_eq!(verdict, expected, "{said:?} {member} {digest}");
        }
    }

    #[test]
    fn what_other_releases_say_is_not_compared() {
        let note = |form, digest| Note { index: 5, form, digest };
        let mut notes = Notes::default();
        notes.hear(2, note(FORM + 1, 8), 1..=3);
        notes.hear(3, note(FORM + 1, 8), 1..=3);
        assert_eq!(notes.hear(1, note(FORM, 7), 1..=3), Verdict::Open);
    }

    #[test]
    fn old_notes_are_forgotten() {
        let mut notes = Notes::default();
        for index in 0..=INDICES_MAX as u64 {
            notes.hear(1, Note { index, form: FORM, digest: 7 }, 1..=3);
        }
        assert_eq!(notes.0.len(), INDICES_MAX);
        assert!(!notes.0.contains_key(&0));
    }
}
