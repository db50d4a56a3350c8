//! The switch that all hosts of a lab are plugged into. It passes Ethernet frames on between the
//! ends of their cables, and loses, delays and doubles them as its rules say.

use std::{
    collections::{BTreeMap, BTreeSet},
    future::poll_fn,
    sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc::sync_channel},
    thread::JoinHandle,
    time::Duration,
};

use anyhow::{Context as _, Result, anyhow};
use tokio::sync::mpsc;
use tokio_tun::Tun;
use tokio_util::{sync::CancellationToken, time::DelayQueue};

use crate::chance::Chance;

/// The largest frame that an interface sends by default, and some.
const FRAME_BYTES_MAX: usize = 2_048;
/// Frames that may wait to be late; more are lost, as in any switch.
const LATE_MAX: usize = 16_384;

/// What becomes of the frames for one host.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Quality {
    /// How many of a hundred are lost.
    pub lost_percent: u64,
    /// How many of a hundred arrive twice.
    pub doubled_percent: u64,
    /// Shortest and longest time that one is on its way, in milliseconds. Where they are apart, one
    /// overtakes another.
    pub delay_ms: (u64, u64),
}

/// What the switch does with frames. Hosts have numbers.
#[derive(Debug, Default)]
pub(super) struct Rules {
    /// From which host nothing gets to which.
    pub(super) cut: BTreeSet<(usize, usize)>,
    /// Whose cable is not plugged in.
    pub(super) unplugged: BTreeSet<usize>,
    /// What becomes of the frames for a host.
    pub(super) quality: BTreeMap<usize, Quality>,
}

impl Rules {
    /// After which time a frame arrives, and its double if there is one.
    fn arrivals(&self, from: usize, to: usize, chance: &mut Chance) -> [Option<Duration>; 2] {
        let is_apart = self.cut.contains(&(from, to))
            || self.unplugged.contains(&from)
            || self.unplugged.contains(&to);
        let quality = self.quality.get(&to).copied().unwrap_or_default();
        let Quality { lost_percent, doubled_percent, delay_ms: (least, most) } = quality;
        if is_apart || chance.below(100) < lost_percent {
            return [None, None];
        }
        let is_double = chance.below(100) < doubled_percent;
        let mut late = || Duration::from_millis(least + chance.below(most - least.min(most) + 1));
        [Some(late()), is_double.then(late)]
    }
}

/// A switch at work, until dropped.
#[derive(Debug)]
pub(super) struct Switch {
    rules: Arc<Mutex<Rules>>,
    stop: CancellationToken,
    thread: Option<JoinHandle<()>>,
}

impl Switch {
    /// Makes an interface for each name, in the order of their numbers, and passes frames on from
    /// one to another. They are gone with the switch.
    pub(super) fn start(interfaces: Vec<String>) -> Result<Self> {
        let (rules, stop) = (Arc::<Mutex<Rules>>::default(), CancellationToken::new());
        let (made, is_made) = sync_channel(1);
        let (ruled, stopped) = (rules.clone(), stop.clone());
        let thread = std::thread::Builder::new().name("switch".to_owned()).spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let ready = runtime.map_err(anyhow::Error::from).and_then(|runtime| {
                let _inside = runtime.enter();
                let ports: Result<Vec<Tun>> =
                    interfaces.iter().map(|name| interface(name)).collect();
                Ok((runtime, ports?))
            });
            match ready {
                Ok((runtime, ports)) => {
                    drop(made.send(Ok(())));
                    runtime.block_on(serve(ports.into(), ruled, stopped));
                }
                // Nobody to tell it to is no reason to stay.
                Err(error) => drop(made.send(Err(error))),
            }
        })?;
        is_made.recv().context("the switch ended")??;
        Ok(Self { rules, stop, thread: Some(thread) })
    }

    pub(super) fn rules(&self) -> MutexGuard<'_, Rules> {
        lock(&self.rules)
    }
}

impl Drop for Switch {
    fn drop(&mut self) {
        self.stop.cancel();
        // One that panicked passes nothing on, which a test has seen by now.
        drop(self.thread.take().map(JoinHandle::join));
    }
}

fn lock(rules: &Mutex<Rules>) -> MutexGuard<'_, Rules> {
    rules.lock().unwrap_or_else(PoisonError::into_inner)
}

fn interface(name: &str) -> Result<Tun> {
    let built = Tun::builder().name(name).tap().build();
    let built = built.map_err(|error| anyhow!("cannot make the interface {name}: {error}"))?;
    built.into_iter().next().context("no interface")
}

/// A frame that is on its way to a host.
type Late = (usize, Vec<u8>, Duration);

async fn serve(ports: Arc<[Tun]>, rules: Arc<Mutex<Rules>>, stop: CancellationToken) {
    let (late, is_late) = mpsc::channel(LATE_MAX);
    let seats = Arc::<Mutex<BTreeMap<[u8; 6], usize>>>::default();
    for from in 0..ports.len() {
        let port = Port {
            from,
            ports: ports.clone(),
            rules: rules.clone(),
            seats: seats.clone(),
            late: late.clone(),
        };
        tokio::spawn(port.pass_on());
    }
    tokio::select! {
        () = stop.cancelled() => {}
        () = delay(&ports, is_late) => {}
    }
}

/// Delivers what is late when its time has come.
async fn delay(ports: &[Tun], mut is_late: mpsc::Receiver<Late>) {
    let mut waiting = DelayQueue::new();
    loop {
        tokio::select! {
            Some((to, frame, by)) = is_late.recv() => drop(waiting.insert((to, frame), by)),
            Some(due) = poll_fn(|cx| waiting.poll_expired(cx)), if !waiting.is_empty() => {
                let (to, frame): (usize, Vec<u8>) = due.into_inner();
                deliver(ports, to, &frame).await;
            }
            else => return,
        }
    }
}

async fn deliver(ports: &[Tun], to: usize, frame: &[u8]) {
    if let Some(port) = ports.get(to) {
        // An interface that is not up takes no frame, as a host without power does not.
        drop(port.send(frame).await);
    }
}

/// The end of one cable.
struct Port {
    from: usize,
    ports: Arc<[Tun]>,
    rules: Arc<Mutex<Rules>>,
    /// Behind which port an address was seen.
    seats: Arc<Mutex<BTreeMap<[u8; 6], usize>>>,
    late: mpsc::Sender<Late>,
}

impl Port {
    /// Passes on all that comes in here.
    async fn pass_on(self) {
        let mut chance = Chance::new(self.from as u64);
        let mut frame = vec![0; FRAME_BYTES_MAX];
        while let Some(port) = self.ports.get(self.from)
            && let Ok(length) = port.recv(&mut frame).await
        {
            let frame = frame.get(..length).unwrap_or_default();
            for to in self.receivers(frame) {
                let arrivals = lock(&self.rules).arrivals(self.from, to, &mut chance);
                for after in arrivals.into_iter().flatten() {
                    if after.is_zero() {
                        deliver(&self.ports, to, frame).await;
                    } else {
                        // Beyond the bound it is lost.
                        drop(self.late.try_send((to, frame.to_vec(), after)));
                    }
                }
            }
        }
    }

    /// To whom a frame goes: to whom it is addressed, or to all where nobody knows where that is.
    fn receivers(&self, frame: &[u8]) -> Vec<usize> {
        let Some((to, rest)) = frame.split_first_chunk::<6>() else { return Vec::new() };
        let Some((from, _)) = rest.split_first_chunk::<6>() else { return Vec::new() };
        let mut seats = self.seats.lock().unwrap_or_else(PoisonError::into_inner);
        seats.insert(*from, self.from);
        match seats.get(to) {
            Some(seat) => vec![*seat],
            None => (0..self.ports.len()).filter(|to| *to != self.from).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_lost_doubled_and_late_as_the_rules_say() {
        let rough = Quality { lost_percent: 20, doubled_percent: 10, delay_ms: (5, 9) };
        let rules =
            Rules { cut: [(0, 1)].into(), unplugged: [3].into(), quality: [(2, rough)].into() };
        let mut chance = Chance::new(7);
        let mut all = |from, to| -> Vec<[Option<Duration>; 2]> {
            (0..1_000).map(|_| rules.arrivals(from, to, &mut chance)).collect()
        };
        let at_once = [Some(Duration::ZERO), None];
        assert!(all(1, 0).iter().all(|arrivals| *arrivals == at_once));
        for (from, to) in [(0, 1), (3, 0), (0, 3)] {
            assert!(all(from, to).iter().all(|arrivals| *arrivals == [None, None]));
        }
        let rough = all(0, 2);
        let lost = rough.iter().filter(|arrivals| arrivals[0].is_none()).count();
        let doubled = rough.iter().filter(|arrivals| arrivals[1].is_some()).count();
        assert!((150..250).contains(&lost) && (50..120).contains(&doubled), "{lost} {doubled}");
        let late = rough.iter().flatten().flatten();
        let late: BTreeSet<u64> = late.map(|late| late.as_millis().try_into().unwrap()).collect();
        assert_eq!(late, (5..=9).collect());
    }
}
