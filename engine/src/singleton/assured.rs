//! What a node knows of the quorum: when a majority last followed a leader of whose Cfg this node
//! holds everything.

use serde::{Deserialize, Serialize};

use crate::{id::Revision, time::Millis};

/// That a majority followed a leader so long ago, which had applied Cfg up to a revision then or
/// later. As it travels: ages mean the same on every clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Assurance {
    /// How long ago, at most, when this was sent, in milliseconds.
    pub ago_ms: u64,
    /// Up to which revision Cfg must be known by who counts on it.
    pub revision: Revision,
}

/// The latest assurance that a node can count on, by its own clock.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Assured {
    good: Option<(Millis, Revision)>,
    /// The next for which Cfg is not known yet, and the latest such.
    next: Option<(Millis, Revision)>,
    latest: Option<(Millis, Revision)>,
}

/// How long the host of an object may go on with it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Lease {
    /// As long as it likes: the object may run twice, or whoever asks is not its host.
    #[default]
    Unbound,
    /// Up to this moment.
    Until(Millis),
    /// No longer.
    Over,
}

impl Lease {
    /// When it is over, if it is not yet and ever will be.
    pub fn over_at(self) -> Millis {
        match self {
            Self::Until(until) => until.after_ms(1),
            Self::Unbound | Self::Over => Millis::NEVER,
        }
    }
}

impl Assured {
    /// A word of the quorum came: of the moment `at`, good once Cfg up to `revision` is held.
    pub fn hear(&mut self, at: Millis, revision: Revision, held: Revision) {
        let heard = Some((at, revision));
        let known = self.latest.or(self.next).or(self.good);
        if known.is_some_and(|(known, _)| known >= at) {
            return;
        }
        if self.next.is_none() {
            self.next = heard;
        } else {
            self.latest = heard;
        }
        self.hold(held);
    }

    /// Cfg is held up to a revision.
    pub fn hold(&mut self, held: Revision) {
        for waiting in [&mut self.next, &mut self.latest] {
            if let Some(heard) = waiting.take_if(|(_, revision)| *revision <= held) {
                self.good = Some(heard);
            }
        }
        if self.next.is_none() {
            self.next = self.latest.take();
        }
    }

    /// The moment of the latest assurance that counts, with the revision that it asked for.
    pub fn good(&self) -> Option<(Millis, Revision)> {
        self.good
    }

    /// How long a host may go on with what has a lease of so long.
    pub fn lease(&self, lease_ms: u64, now: Millis) -> Lease {
        let until = self.good.map(|(at, _)| at.after_ms(lease_ms));
        until.filter(|until| now <= *until).map_or(Lease::Over, Lease::Until)
    }
}
