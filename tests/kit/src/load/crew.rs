//! The workers of a load as its desk sees them.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use kraken_engine::object::Labels;
use tokio::{net::TcpListener, time::timeout};

use super::{
    orders::{Listener, Order, Report, Share, Speaker, Told, halves},
    system::pass,
    worker::work,
};
use crate::{job::Job, wait_until};

/// How long a worker may take to come to the desk.
const COME_MAX: Duration = Duration::from_secs(10);
/// How long all workers may take until all leaves are attached, or until a change is everywhere.
const ALL_MAX: Duration = Duration::from_mins(5);
/// How long a worker may take to say how all is.
const REPORT_MAX: Duration = Duration::from_mins(2);
/// How long workers are left alone for each leaf between two looks at all of them.
const ALONE: Duration = Duration::from_micros(5);

/// What workers are.
#[derive(Debug, Clone)]
pub enum Hands {
    /// Threads of this process: enough for as many connections as one process may have.
    Threads,
    /// Processes of this program, which has a verb `worker`.
    Processes(PathBuf),
}

/// The workers.
pub(super) struct Crew {
    hands: Vec<Hand>,
}

/// One worker.
struct Hand {
    listener: Listener,
    speaker: Speaker,
    /// Its first leaf, and how many it has.
    first: usize,
    count: usize,
    /// Ends with it, where it is a process.
    _job: Option<Job>,
}

impl Crew {
    /// So many workers.
    pub(super) async fn start(count: usize, hands: &Hands, folder: &Path) -> Result<Self> {
        let desk = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let at = desk.local_addr()?;
        let mut crew = Self { hands: Vec::new() };
        for number in 1..=count {
            let job = match hands {
                Hands::Threads => {
                    // What goes wrong there is seen here as the end of its connection.
                    thread::spawn(move || drop(work(at)));
                    None
                }
                Hands::Processes(program) => {
                    let job = Job::new(&format!("worker{number}"), program, folder);
                    let mut job = job.args(["worker", &at.to_string()]);
                    job.start()?;
                    Some(job)
                }
            };
            let (stream, _) =
                timeout(COME_MAX, desk.accept()).await.context("no worker came")??;
            let (listener, speaker) = halves(stream)?;
            crew.hands.push(Hand { listener, speaker, first: 0, count: 0, _job: job });
        }
        Ok(crew)
    }

    /// Parts so many leaves among all, and gives each its order.
    async fn part(
        &mut self,
        leaves: usize,
        parents: &[SocketAddr],
        order: impl Fn(Share) -> Order,
    ) -> Result<()> {
        let hands = self.hands.len();
        let parents: Vec<String> = parents.iter().map(ToString::to_string).collect();
        let mut first = 0;
        for (place, hand) in self.hands.iter_mut().enumerate() {
            let count = (leaves + place) / hands;
            (hand.first, hand.count) = (first, count);
            let share = Share { first, count, parents: parents.clone() };
            hand.speaker.say(&order(share)).await?;
            first += count;
        }
        ensure!(first == leaves, "{first} of {leaves} leaves have a worker");
        Ok(())
    }

    /// Has leaves attach to parents; they do so from now on.
    pub(super) async fn attach(
        &mut self,
        leaves: usize,
        parents: &[SocketAddr],
        labels: &Labels,
    ) -> Result<()> {
        let attach = |share| Order::Attach { share, labels: labels.clone() };
        self.part(leaves, parents, attach).await
    }

    /// Has as many watchers watch etcd from now on.
    pub(super) async fn watch(&mut self, watchers: usize, etcd: &[SocketAddr]) -> Result<()> {
        self.part(watchers, etcd, |share| Order::Watch { share }).await
    }

    /// Has bare connections made, which send so many bytes in each period.
    pub(super) async fn beat(
        &mut self,
        connections: usize,
        to: &[SocketAddr],
        (bytes, period): (usize, Duration),
    ) -> Result<()> {
        let period_ms = u64::try_from(period.as_millis())?;
        self.part(connections, to, |share| Order::Beat { share, bytes, period_ms }).await
    }

    /// Waits until so many are connected and as `also` asks; returns how all is then.
    pub(super) async fn attached(
        &mut self,
        count: usize,
        also: impl Fn(&Report) -> bool,
    ) -> Result<Report> {
        wait_until(&format!("{count} are attached"), ALL_MAX, async || {
            let report = self.report().await?;
            let attached: usize = report.attached.values().sum();
            if attached == count && also(&report) {
                return Ok(report);
            }
            pass(ALONE.saturating_mul(u32::try_from(count)?)).await;
            bail!("these are: {:?}", report.attached)
        })
        .await
    }

    /// Gives all the same order.
    async fn order(&mut self, order: &Order) -> Result<()> {
        for hand in &mut self.hands {
            hand.speaker.say(order).await?;
        }
        Ok(())
    }

    /// How all is.
    pub(super) async fn report(&mut self) -> Result<Report> {
        self.order(&Order::Report).await?;
        let mut all = Report::default();
        for hand in &mut self.hands {
            loop {
                match timeout(REPORT_MAX, hand.told()).await.context("a worker says nothing")?? {
                    Told::Report(report) => break all = all.and(report),
                    // Where a report is asked for though a word is waited for, it may come first.
                    Told::Applied { .. } => {}
                    Told::Left => bail!("a report was asked for, and a worker has left"),
                }
            }
        }
        Ok(all)
    }

    /// Has leaves see something new, so many in a second; 0 ends that.
    pub(super) async fn churn(&mut self, per_second: f64) -> Result<()> {
        let hands = f64::from(u32::try_from(self.hands.len())?);
        self.order(&Order::Churn { per_second: per_second / hands }).await
    }

    /// Has all told when each leaf has a word.
    pub(super) async fn expect_all(&mut self, word: i64) -> Result<()> {
        for hand in &mut self.hands {
            hand.speaker.say(&Order::Expect { word, leaves: hand.count }).await?;
        }
        Ok(())
    }

    /// When each leaf had it.
    pub(super) async fn applied_by_all(&mut self, word: i64) -> Result<Vec<u64>> {
        let mut times = Vec::new();
        for place in 0..self.hands.len() {
            let told = timeout(ALL_MAX, self.hands[place].applied(word)).await;
            if told.is_err() {
                let report = self.report().await?;
                bail!("after {ALL_MAX:?}: {}; {:?}", report.lacking.join("; "), report.attached);
            }
            times.extend(told??);
        }
        Ok(times)
    }

    /// Has told when one leaf has a word.
    pub(super) async fn expect_one(&mut self, leaf: usize, word: i64) -> Result<()> {
        self.hand_of(leaf)?.speaker.say(&Order::Expect { word, leaves: 1 }).await
    }

    /// When it had it.
    pub(super) async fn applied_by_one(&mut self, leaf: usize, word: i64) -> Result<u64> {
        let applied = timeout(ALL_MAX, self.hand_of(leaf)?.applied(word)).await;
        let times = applied.with_context(|| format!("leaf {leaf} does not get word {word}"))??;
        times.first().copied().context("one leaf had it at one time")
    }

    fn hand_of(&mut self, leaf: usize) -> Result<&mut Hand> {
        let has = |hand: &&mut Hand| (hand.first..hand.first + hand.count).contains(&leaf);
        self.hands.iter_mut().find(has).with_context(|| format!("nobody has leaf {leaf}"))
    }

    /// Ends all connections.
    pub(super) async fn leave(&mut self) -> Result<()> {
        self.order(&Order::Leave).await?;
        for hand in &mut self.hands {
            match hand.told().await? {
                Told::Left => {}
                other => bail!("they were to leave: {other:?}"),
            }
        }
        Ok(())
    }
}

impl Hand {
    async fn told(&mut self) -> Result<Told> {
        self.listener.next().await?.context("a worker has ended")
    }

    async fn applied(&mut self, word: i64) -> Result<Vec<u64>> {
        match self.told().await? {
            Told::Applied { word: told, times } if told == word => Ok(times),
            other => bail!("word {word} was waited for: {other:?}"),
        }
    }
}
