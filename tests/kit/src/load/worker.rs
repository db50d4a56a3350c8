//! A worker: holds a part of the leaves on one thread, and does what its desk orders. It ends with
//! its connection to the desk.

use std::{cell::Cell, net::SocketAddr, ops::Range, rc::Rc, sync::Arc, time::Duration};

use anyhow::{Context as _, Result};
use kraken_actors::uplink::line::Traffic;
use kraken_engine::{object::Labels, sync::parents::Parent};
use tokio::{
    net::TcpStream,
    runtime::Builder,
    sync::{Notify, Semaphore, mpsc},
    task::{JoinSet, LocalSet},
    time::{Interval, MissedTickBehavior, interval},
};

use super::{
    echo,
    leaf::{Hub, Leaf, address},
    orders::{Order, Report, Share, Told, halves},
    peer,
};

/// Leaves of one worker that attach for the first time at once.
const DIALS_MAX: usize = 128;
/// What waits to be told.
const TOLD_MAX: usize = 1_024;
/// The shortest time between two changes of what leaves see.
const CHURN_MIN: Duration = Duration::from_millis(2);

/// Says that a connection is there.
pub(super) type Here = Box<dyn FnOnce()>;

struct Worker {
    hub: Rc<Hub>,
    /// The numbers of its leaves or watchers.
    leaves: Range<usize>,
    tasks: JoinSet<()>,
    traffic: Vec<Arc<Traffic>>,
    nudges: Vec<Rc<Notify>>,
    /// When leaves are to see something new, and how many each time.
    churn: Option<(Interval, usize)>,
    /// The next one that does.
    next: usize,
}

/// Works for a desk until that ends the connection.
pub fn work(desk: SocketAddr) -> Result<()> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    LocalSet::new().block_on(&runtime, serve(desk))
}

async fn serve(desk: SocketAddr) -> Result<()> {
    let (mut orders, mut speaker) = halves(TcpStream::connect(desk).await?)?;
    let (sender, mut told) = mpsc::channel(TOLD_MAX);
    let hub = Rc::new(Hub::new(sender)?);
    let tasks = JoinSet::new();
    let (traffic, nudges) = (Vec::new(), Vec::new());
    let mut worker = Worker { hub, leaves: 0..0, tasks, traffic, nudges, churn: None, next: 0 };
    loop {
        tokio::select! {
            order = orders.next() => {
                let Some(order) = order? else { return Ok(()) };
                if let Some(answer) = worker.obey(order).await? {
                    speaker.say(&answer).await?;
                }
            }
            Some(told) = told.recv() => speaker.say(&told).await?,
            () = due(&mut worker.churn) => worker.churn(),
        }
    }
}

/// When leaves are to see something new; never where that is not wanted.
async fn due(churn: &mut Option<(Interval, usize)>) {
    match churn {
        Some((interval, _)) => drop(interval.tick().await),
        None => std::future::pending().await,
    }
}

impl Worker {
    async fn obey(&mut self, order: Order) -> Result<Option<Told>> {
        match order {
            Order::Attach { share, labels } => self.attach(&share, &labels)?,
            Order::Expect { word, leaves } => self.hub.expect(word, leaves),
            Order::Churn { per_second } => self.churn = churn(per_second),
            Order::Watch { share } => self.watch(&share)?,
            Order::Report => return Ok(Some(Told::Report(self.report()))),
            Order::Beat { share, bytes, period_ms } => self.beat(&share, bytes, period_ms)?,
            Order::Leave => {
                self.tasks.shutdown().await;
                self.churn = None;
                self.traffic.clear();
                self.nudges.clear();
                self.hub.forget();
                return Ok(Some(Told::Left));
            }
        }
        Ok(None)
    }

    fn attach(&mut self, share: &Share, labels: &Labels) -> Result<()> {
        let parents: Vec<Parent> = share.parents.iter().map(Parent::at).collect();
        let gate = Arc::new(Semaphore::new(DIALS_MAX));
        let mut lines = Vec::with_capacity(share.count);
        self.leaves = share.first..share.first + share.count;
        for number in self.leaves.clone() {
            let nudge = Rc::new(Notify::new());
            let (line, traffic) = Leaf::line(
                (number, labels.clone()),
                parents.clone(),
                self.hub.clone(),
                nudge.clone(),
            )?;
            self.traffic.push(traffic);
            self.nudges.push(nudge);
            lines.push(line);
        }
        for (mut line, gate) in lines.into_iter().zip(std::iter::repeat(gate)) {
            self.tasks.spawn_local(async move {
                // It is never closed.
                line.owner_mut().hold(gate.acquire_owned().await.ok());
                line.keep_attached().await;
            });
        }
        Ok(())
    }

    fn beat(&mut self, share: &Share, bytes: usize, period_ms: u64) -> Result<()> {
        let period = Duration::from_millis(period_ms);
        self.connect(share, move |stream, _, _, here| async move {
            here();
            Ok(echo::beat(stream, bytes, period).await?)
        })
    }

    fn watch(&mut self, share: &Share) -> Result<()> {
        let hub = self.hub.clone();
        self.connect(share, move |stream, to, number, here| {
            peer::watch(stream, to, number, hub.clone(), here)
        })
    }

    /// Makes connections that are no lines of leaves, each used by what `with` makes of it until
    /// that ends. One is counted from when it says that it is there.
    fn connect<Used: Future<Output = Result<()>> + 'static>(
        &mut self,
        share: &Share,
        with: impl Fn(TcpStream, SocketAddr, usize, Here) -> Used + Clone + 'static,
    ) -> Result<()> {
        let parents: Vec<SocketAddr> =
            share.parents.iter().map(|parent| parent.parse()).collect::<Result<_, _>>()?;
        let gate = Arc::new(Semaphore::new(DIALS_MAX));
        self.leaves = share.first..share.first + share.count;
        for number in self.leaves.clone() {
            let parent = *parents.get(number % parents.len().max(1)).context("no parent")?;
            let (gate, hub, with) = (gate.clone(), self.hub.clone(), with.clone());
            self.tasks.spawn_local(async move {
                // It is never closed.
                let permit = gate.acquire_owned().await.ok();
                let Ok(stream) = echo::connect(parent, address(number)).await else { return };
                let (name, counted) = (parent.to_string(), Rc::new(Cell::new(false)));
                let here: Here = Box::new({
                    let (hub, name, counted) = (hub.clone(), name.clone(), counted.clone());
                    move || {
                        drop(permit);
                        counted.set(true);
                        hub.connected(name);
                    }
                });
                // It ends with the connection, which is then no longer counted.
                drop(with(stream, parent, number, here).await);
                if counted.get() {
                    hub.disconnected(&name);
                }
            });
        }
        Ok(())
    }

    fn report(&self) -> Report {
        Report {
            attached: self.hub.attached(),
            attached_at: self.hub.attached_at.get(),
            sent: self.traffic.iter().map(|traffic| traffic.sent()).sum(),
            received: self.traffic.iter().map(|traffic| traffic.received()).sum(),
            sessions: self.hub.sessions.get(),
            strange: self.hub.strange.get(),
            lacking: self.hub.lacking(self.leaves.clone()),
        }
    }

    /// The next leaves see something new.
    fn churn(&mut self) {
        let count = self.churn.as_ref().map_or(0, |(_, count)| *count);
        for _ in 0..count.min(self.nudges.len()) {
            self.nudges[self.next % self.nudges.len()].notify_one();
            self.next = self.next.wrapping_add(1);
        }
    }
}

/// How often how many leaves see something new for so many in a second; `None`: none do.
fn churn(per_second: f64) -> Option<(Interval, usize)> {
    if per_second <= 0.0 {
        return None;
    }
    let (mut period, mut count) = (Duration::from_secs_f64(1.0 / per_second), 1_u32);
    while period * count < CHURN_MIN {
        count += 1;
    }
    period *= count;
    let mut interval = interval(period);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    Some((interval, usize::try_from(count).unwrap_or(1)))
}
