//! A leaf under a parent that the test plays frame by frame: what it answers to orders.

use std::collections::BTreeMap;

use kraken_engine::{
    dsc::Observed,
    id::{AttemptId, ClusterId, Epoch, Revision, Term, Uid},
    object::Tenure,
    object::{Frozen, Object},
    order::{Answer, Holds, Order, Recall, Said},
    sync::{
        delta::ObjectDelta,
        frame::{CfgDelta, Frame, Welcome},
    },
    time::Millis,
};

use super::*;
use crate::wire::{self, FrameReader, FrameWriter};

const CLUSTER: ClusterId = ClusterId::new(9);

/// The parent's side of one session with leaf `n1`.
struct Parent {
    listener: TcpListener,
    reader: FrameReader,
    writer: FrameWriter,
    seen: BTreeMap<Path, Observed>,
    answers: Vec<Answer>,
    holds: Vec<Holds>,
    /// Heartbeats that were answered.
    beats: u32,
    /// Heartbeats that were not, while none is.
    unanswered: Option<u32>,
    leaf: Node,
    folder: tempfile::TempDir,
}

fn uid() -> Uid {
    Uid::derive(CLUSTER, Revision::new(1), 0)
}

fn n1(revision: u64) -> Object {
    Object {
        uid: uid(),
        key: key("n1"),
        labels: Labels::new(),
        owner: None,
        on_delete: <_>::default(),
        tenure: Tenure::default(),
        created: Millis::ZERO,
        revision: Revision::new(revision),
        generation: 1,
        deleting: false,
        frozen: None,
        cfg: State::new(),
    }
}

fn attempt(count: u64) -> AttemptId {
    AttemptId::derive(&name("m1"), 7, count)
}

fn said(count: u64, said: Said) -> Answer {
    Answer { node: name("n1"), attempt: attempt(count), said }
}

/// Takes the leaf's connection, as a parent that holds what the leaf has said up to a moment.
async fn greet(listener: &TcpListener, spoken_ms: u64) -> (FrameReader, FrameWriter) {
    let (stream, _) = timeout(BOUND, listener.accept()).await.unwrap().unwrap();
    let (mut reader, writer) = wire::split(stream);
    let Ok(Some((Frame::Hello(hello), _))) = reader.next().await else { panic!("no Hello") };
    assert!(hello.takes_orders);
    let welcome = Welcome {
        cluster: CLUSTER,
        uid: Some(uid()),
        hybrid_ms: spoken_ms,
        takes_answers: true,
        spoken_ms,
        cfg_epoch: Epoch::FIRST,
        takes_beats: false,
    };
    writer.send(&Frame::Welcome(welcome)).unwrap();
    let objects = vec![ObjectDelta::Whole(Arc::new(n1(5)))];
    let cfg = CfgDelta {
        seq: 1,
        revision: Revision::new(5),
        objects,
        declared: None,
        assurance: None,
        whole_of: Vec::new(),
        hybrid_ms: 0,
    };
    writer.send(&Frame::CfgDelta(cfg)).unwrap();
    (reader, writer)
}

impl Parent {
    /// A parent whose leaf runs its pump and has looked at it.
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let parents =
            vec![kraken_engine::sync::parents::Parent::at(listener.local_addr().unwrap())];
        let leaf = node("n1", Role::Leaf { parents }, folder.path()).await;
        let (reader, writer) = greet(&listener, 0).await;
        let (seen, answers, holds) = (BTreeMap::new(), Vec::new(), Vec::new());
        let (beats, unanswered) = (0, None);
        let mut parent = Self {
            listener,
            reader,
            writer,
            seen,
            answers,
            holds,
            beats,
            unanswered,
            leaf,
            folder,
        };
        parent.until("the pump runs", |p| p.sees("/modules/pump/state", "RUN")).await;
        parent.until("the pump is seen", |p| p.sees("/pump", "OFF")).await;
        parent
    }

    /// The connection breaks, and the leaf dials again.
    async fn dial_again(&mut self) {
        self.dial_another(0).await;
    }

    /// The connection breaks, and the leaf dials a parent that has heard it in an earlier life.
    async fn dial_another(&mut self, spoken_ms: u64) {
        self.holds.clear();
        let (reader, writer) = greet(&self.listener, spoken_ms).await;
        (self.reader, self.writer) = (reader, writer);
    }

    fn sees(&self, path: &str, value: &str) -> bool {
        let seen = self.seen.get(path).and_then(|seen| seen.value.as_ref());
        seen.and_then(Value::as_str) == Some(value)
    }

    async fn until(&mut self, what: &str, holds: impl Fn(&Self) -> bool) {
        let wait = async {
            while !holds(self) {
                let (frame, _) = self.reader.next().await.unwrap().expect("the leaf closed");
                self.take(frame);
            }
        };
        let met = timeout(BOUND, wait).await.is_ok();
        assert!(met, "{what}; answers: {:?}", self.answers);
    }

    fn take(&mut self, frame: Frame) {
        match frame {
            Frame::Heartbeat(beat) => {
                if let Some(count) = &mut self.unanswered {
                    *count += 1;
                } else {
                    self.beats += 1;
                    self.writer.send(&Frame::Heartbeat(beat)).unwrap();
                }
            }
            Frame::DscDelta(delta) => {
                self.seen.extend(delta.changes.into_iter().flat_map(|(_, seen)| seen));
                self.writer.send(&Frame::DscAck { seq: delta.seq }).unwrap();
            }
            Frame::Answers(answers) => self.answers.extend(answers),
            Frame::Holds(holds) => self.holds.push(holds),
            _ => {}
        }
    }

    fn order(&self, count: u64, mutation: &str) -> Order {
        let views = ["/pump", "/valve"].map(|at| {
            let path = Path::new(at).unwrap();
            let seen = self.seen[&path].clone();
            (path, seen)
        });
        Order {
            attempt: attempt(count),
            to: name("n1"),
            term: Term::new(3),
            mutation: format!("pump/{mutation}").try_into().unwrap(),
            bindings: Vec::new(),
            object: Arc::new(n1(5)),
            views: views.into(),
            wait_ms: 2_000,
            timeout_ms: 10_000,
            session: <_>::default(),
            span: None,
        }
    }

    fn send(&self, order: &Order) {
        self.writer.send(&Frame::Dispatch(vec![order.clone()])).unwrap();
    }

    /// Sends an order and returns its last answer.
    async fn last_answer(&mut self, order: &Order) -> Said {
        self.send(order);
        let last = |p: &Self| {
            let mut answers = p.answers.iter().rev();
            answers.find(|a| a.attempt == order.attempt && a.said.is_last()).cloned()
        };
        self.until("a last answer", |p| last(p).is_some()).await;
        last(self).unwrap().said
    }

    fn deeds(&self) -> Vec<String> {
        pump::deeds(self.folder.path(), "n1")
    }
}

#[actix_rt::test]
async fn an_order_is_carried_out_once_and_every_step_of_it_is_said() {
    let mut parent = Parent::start().await;
    let order = parent.order(1, "Start");
    parent.send(&order);
    parent.send(&order);
    parent.until("it ends", |p| p.answers.contains(&said(1, Said::Succeeded))).await;
    parent.until("what it did is seen", |p| p.sees("/pump", "ON")).await;
    let progress = Said::Progress("priming".to_owned());
    for step in [Said::Acknowledged, Said::Started, progress, Said::Succeeded] {
        assert!(parent.answers.contains(&said(1, step.clone())), "{step:?}: {:?}", parent.answers);
    }
    parent.answers.clear();
    assert_eq!(parent.last_answer(&order).await, Said::Succeeded, "the same as then");
    assert_eq!(parent.deeds(), ["Start"]);
    parent.leaf.stop().await;
}

#[actix_rt::test]
async fn what_has_moved_at_the_host_is_not_started() {
    let mut parent = Parent::start().await;
    let older = Order { object: Arc::new(n1(4)), ..parent.order(1, "Start") };
    let moved = Said::Moved("its Cfg is of revision 5, not of 4".to_owned());
    assert_eq!(parent.last_answer(&older).await, moved);

    let (by, scope) = ("ann".to_owned(), "all".to_owned());
    let frozen = Frozen { revision: Revision::new(6), since: Millis::ZERO, by, scope };
    let object = Object { frozen: Some(frozen), ..n1(6) };
    let frozen = Order { object: Arc::new(object), ..parent.order(2, "Start") };
    let moved = Said::Moved("it was frozen by ann (all)".to_owned());
    assert_eq!(parent.last_answer(&frozen).await, moved);

    let mut stale = parent.order(3, "Start");
    for (_, seen) in &mut stale.views {
        seen.stamp.ms = 1;
        seen.value = Some("ON".into());
    }
    assert_eq!(parent.last_answer(&stale).await, Said::Succeeded, "OFF is what it starts from");
    parent.until("it is on", |p| p.sees("/pump", "ON")).await;
    let mut late = parent.order(4, "Start");
    for (_, seen) in &mut late.views {
        seen.stamp.ms = 1;
        seen.value = Some("OFF".into());
    }
    let moved = Said::Moved("/pump is ON by now".to_owned());
    assert_eq!(parent.last_answer(&late).await, moved);
    assert_eq!(parent.deeds(), ["Start"]);
    parent.leaf.stop().await;
}

#[actix_rt::test]
async fn an_older_term_is_refused_and_a_second_attempt_on_an_object_waits() {
    let mut parent = Parent::start().await;
    let first = parent.order(1, "Start");
    parent.send(&first);
    parent.until("it runs", |p| p.answers.contains(&said(1, Said::Started))).await;
    let rival = parent.order(2, "Purge");
    let busy = Said::Busy(format!("attempt {} on it is in hand", attempt(1)));
    assert_eq!(parent.last_answer(&rival).await, busy);
    parent.until("it ends", |p| p.answers.contains(&said(1, Said::Succeeded))).await;
    let older = Order { term: Term::new(2), ..parent.order(3, "Purge") };
    let refused = Said::Declined("it is of term 2, and 3 began".to_owned());
    assert_eq!(parent.last_answer(&older).await, refused);
    assert_eq!(parent.last_answer(&rival).await, busy, "what was refused never starts");
    let unknown = parent.order(4, "Drain");
    let refused = Said::Declined("no module there has mutation pump/Drain".to_owned());
    assert_eq!(parent.last_answer(&unknown).await, refused);
    assert_eq!(parent.deeds(), ["Start"]);
    parent.leaf.stop().await;
}

#[actix_rt::test]
async fn a_session_that_is_not_answered_is_no_lease() {
    let mut parent = Parent::start().await;
    parent.unanswered = Some(0);
    parent.until("two heartbeats are not answered", |p| p.unanswered == Some(2)).await;
    let order = Order { wait_ms: 1_900, ..parent.order(1, "Start") };
    let refused = Said::Declined("the lease of its session is over".to_owned());
    assert_eq!(parent.last_answer(&order).await, refused);
    assert_eq!(parent.deeds(), [""; 0]);
    parent.unanswered = None;
    parent.beats = 0;
    parent.until("heartbeats are answered", |p| p.beats > 0).await;
    let again = parent.order(2, "Start");
    assert_eq!(parent.last_answer(&again).await, Said::Succeeded);
    parent.leaf.stop().await;
}

#[actix_rt::test]
async fn what_a_broken_session_lost_is_said_again_and_what_is_in_hand_is_told() {
    let mut parent = Parent::start().await;
    let order = parent.order(1, "Start");
    parent.send(&order);
    parent.until("it runs", |p| p.answers.contains(&said(1, Said::Started))).await;
    parent.answers.clear();
    parent.dial_again().await;
    parent.until("it says what it holds", |p| !p.holds.is_empty()).await;
    let ended = parent.answers.contains(&said(1, Said::Succeeded));
    assert!(ended || parent.holds[0].attempts == [attempt(1)], "{:?}", parent.holds);
    parent.until("it ends", |p| p.answers.contains(&said(1, Said::Succeeded))).await;
    parent.dial_again().await;
    parent.until("it says what it holds", |p| !p.holds.is_empty()).await;
    assert_eq!(parent.holds[0].attempts, []);
    assert_eq!(parent.deeds(), ["Start"]);
    parent.leaf.stop().await;
}

#[actix_rt::test]
async fn what_a_leaf_said_in_an_earlier_life_does_not_win_over_what_it_sees_in_this_one() {
    let mut parent = Parent::start().await;
    let ahead = parent.seen["/pump"].stamp.ms + 60_000;
    parent.dial_another(ahead).await;
    parent.until("it is stamped anew", |p| p.seen["/pump"].stamp.ms > ahead - 1).await;
    let stamp = parent.seen["/pump"].stamp.clone();
    parent.dial_another(stamp.ms).await;
    parent.until("it says what it holds", |p| !p.holds.is_empty()).await;
    assert_eq!(parent.seen["/pump"].stamp, stamp, "what it said in this life stands");
    parent.leaf.stop().await;
}

#[actix_rt::test]
async fn a_look_that_is_asked_for_tells_afresh_what_is_as_before() {
    let mut parent = Parent::start().await;
    let before = parent.seen["/pump"].stamp.clone();
    let look = kraken_engine::order::LookAt { to: name("n1"), uid: uid() };
    parent.writer.send(&Frame::Look(look)).unwrap();
    parent.until("it is told afresh", |p| p.seen["/pump"].stamp > before).await;
    assert!(parent.sees("/pump", "OFF"));
    let recall = Recall { to: name("n1"), attempt: attempt(99), asks: None };
    parent.writer.send(&Frame::Cancel(recall)).unwrap();
    let order = parent.order(1, "Start");
    assert_eq!(parent.last_answer(&order).await, Said::Succeeded, "nothing was recalled");
    parent.leaf.stop().await;
}

#[actix_rt::test]
async fn what_a_later_leader_asks_for_is_told_and_never_begins() {
    let mut parent = Parent::start().await;
    let ask = |count| {
        let (to, attempt) = (name("n1"), attempt(count));
        Frame::Cancel(Recall { to, attempt, asks: Some(Term::new(3)) })
    };
    let runs = parent.order(1, "Start");
    parent.send(&runs);
    parent.until("it runs", |p| p.answers.contains(&said(1, Said::Started))).await;
    parent.writer.send(&ask(1)).unwrap();
    parent.until("it ends", |p| p.answers.contains(&said(1, Said::Succeeded))).await;
    assert!(!parent.answers.contains(&said(1, Said::Abandoned)), "it was in hand");
    parent.answers.clear();
    parent.writer.send(&ask(1)).unwrap();
    parent.until("its end is told", |p| p.answers.contains(&said(1, Said::Succeeded))).await;
    parent.writer.send(&ask(2)).unwrap();
    parent.until("it never began", |p| p.answers.contains(&said(2, Said::Abandoned))).await;
    let late = parent.order(2, "Purge");
    assert_eq!(parent.last_answer(&late).await, Said::Abandoned);
    assert_eq!(parent.deeds(), ["Start"]);
    parent.leaf.stop().await;
}
