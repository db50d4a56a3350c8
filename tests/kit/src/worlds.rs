//! Simulated worlds by the thousand: each of one seed, held against every invariant. A world that
//! breaks one is tried again with fewer leaves and less time, so that people read a short story.

use std::{
    fmt,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
};

use kraken_engine::{
    invariants::{Entry, What},
    world::{self, Options, Outcome},
};

/// What is shown of what happened before a violation.
const SHOWN_ENTRIES: usize = 40;
/// How often a broken world is tried smaller.
const SHRINKS_MAX: usize = 24;

/// A world in which something does not hold.
#[derive(Debug)]
pub struct Broken {
    /// Its seed.
    pub seed: u64,
    /// The smallest world of that seed in which it does not hold.
    pub options: Options,
    /// What does not hold, and what happened before.
    pub why: String,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seed, options, why } = self;
        writeln!(
            f,
            "seed {seed} breaks an invariant; KRAKEN_SIM_SEED={seed} cargo test --test sim"
        )?;
        writeln!(f, "smallest: {options:?}")?;
        f.write_str(why)
    }
}

impl std::error::Error for Broken {}

/// Runs the world that a seed stands for, and holds it against the invariants.
pub fn check(seed: u64) -> Result<Outcome, Broken> {
    check_as(seed, Options::drawn(seed))
}

/// The same for another world of a seed.
pub fn check_as(seed: u64, options: Options) -> Result<Outcome, Broken> {
    try_out(seed, &options).map_err(|why| shrunk(seed, options, why))
}

/// How a run over many seeds went.
#[derive(Debug, Default)]
pub struct Run {
    seed: AtomicU64,
    done: AtomicU64,
    events: AtomicU64,
    over: AtomicBool,
    broken: Mutex<Vec<Broken>>,
}

impl Run {
    /// A run over the seeds from `first` on.
    pub fn from(first: u64) -> Self {
        Self { seed: AtomicU64::new(first), ..Self::default() }
    }

    /// Runs at most `count` worlds on `threads` threads, until [`Run::stop`] or a violation.
    /// `meanwhile` is called again and again by this thread until it returns false.
    pub fn go(&self, count: u64, threads: usize, mut meanwhile: impl FnMut(&Self) -> bool) {
        let last = self.seed.load(Ordering::Relaxed).saturating_add(count);
        thread::scope(|scope| {
            let workers: Vec<_> =
                (0..threads.max(1)).map(|_| scope.spawn(|| self.work(last))).collect();
            while !workers.iter().all(thread::ScopedJoinHandle::is_finished) {
                if !meanwhile(self) {
                    self.stop();
                }
            }
        });
    }

    fn work(&self, last: u64) {
        while !self.over.load(Ordering::Relaxed) {
            let seed = self.seed.fetch_add(1, Ordering::Relaxed);
            if seed >= last {
                return;
            }
            match check(seed) {
                Ok(outcome) => {
                    self.done.fetch_add(1, Ordering::Relaxed);
                    self.events.fetch_add(outcome.events, Ordering::Relaxed);
                }
                Err(broken) => {
                    self.broken.lock().unwrap_or_else(PoisonError::into_inner).push(broken);
                    self.stop();
                }
            }
        }
    }

    /// Ends the run once the worlds that have begun are over.
    pub fn stop(&self) {
        self.over.store(true, Ordering::Relaxed);
    }

    /// How many worlds held, and how many events they had.
    pub fn done(&self) -> (u64, u64) {
        (self.done.load(Ordering::Relaxed), self.events.load(Ordering::Relaxed))
    }

    /// The worlds that did not hold.
    pub fn into_broken(self) -> Vec<Broken> {
        self.broken.into_inner().unwrap_or_else(PoisonError::into_inner)
    }
}

fn try_out(seed: u64, options: &Options) -> Result<Outcome, String> {
    let outcome = world::run(seed, options).map_err(|error| error.to_string())?;
    if let Err(violation) = outcome.trace.check() {
        let before = before(&outcome, violation.at.get());
        return Err(format!("{violation}\nbefore that:\n{before}"));
    }
    if !outcome.rests {
        let before = before(&outcome, u64::MAX);
        return Err(format!("it does not come to rest: {:?}\n{before}", outcome.statuses));
    }
    Ok(outcome)
}

/// The same seed with less of everything, as long as something still does not hold.
fn shrunk(seed: u64, options: Options, why: String) -> Broken {
    let mut smallest = Broken { seed, options, why };
    let mut tries = 0;
    'smaller: while tries < SHRINKS_MAX {
        for options in smaller(&smallest.options) {
            tries += 1;
            if let Err(why) = try_out(seed, &options) {
                smallest = Broken { seed, options, why };
                continue 'smaller;
            }
        }
        break;
    }
    smallest
}

fn smaller(options: &Options) -> Vec<Options> {
    let fewer =
        (options.leaves > 1).then(|| Options { leaves: options.leaves - 1, ..options.clone() });
    let nearer =
        (options.relays > 0).then(|| Options { relays: options.relays - 1, ..options.clone() });
    let tamer = options.unruly.then(|| Options { unruly: false, ..options.clone() });
    let shorter = [options.chaos_ms / 2, options.chaos_ms * 9 / 10];
    let shorter = shorter.map(|chaos_ms| Options { chaos_ms, ..options.clone() });
    fewer.into_iter().chain(nearer).chain(tamer).chain(shorter).collect()
}

/// What happened before a moment, newest last.
fn before(outcome: &Outcome, at: u64) -> String {
    let tells = |entry: &&Entry| {
        let dull = matches!(entry.what, What::Queued { .. } | What::Planned { .. } | What::Read(_));
        entry.at.get() <= at && !dull
    };
    let entries: Vec<&Entry> = outcome.trace.entries().iter().filter(tells).collect();
    let shown = entries.iter().rev().take(SHOWN_ENTRIES).rev();
    let lines = shown.map(|entry| format!("{} {} {:?}", entry.at, entry.node, entry.what));
    lines.collect::<Vec<_>>().join("\n")
}
