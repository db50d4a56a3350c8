//! Orders at both ends, row by row, and the promise of the lease: what is lost never starts.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use proptest::prelude::*;

use super::kit::{
    NOW, answer, attached, authority, catalog, child, hello, identity, name, object, order, path,
    sighting, uid, welcome,
};
use crate::{
    id::{AttemptId, ClusterId, SessionEpoch},
    order::{Answer, Holds, LookAt, Recall, Said},
    sync::{
        ANSWERS_FRAME_MAX, ANSWERS_PENDING_MAX, DEAD_AFTER_MS, HEARTBEAT_MS, HOP_MS, KEEP_MS,
        LEASE_MS, ORDERS_OPEN_MAX,
        child::{self, Child},
        frame::{DscDelta, Frame, Heartbeat, Hello, Role, Welcome},
        orders::{Goes, ORDERS_REFUSED_MAX},
        pace::{BULK, HEARTBEAT_LABEL, NORMAL},
        parent::{self, Session},
    },
    time::Millis,
};

/// A child that said Hello now, of a parent that takes answers.
fn leased() -> Child {
    let mut child = child();
    child.connected(NOW);
    child.receive(Frame::Welcome(Welcome { takes_answers: true, ..welcome() }), NOW);
    child
}

fn at(ms: u64) -> Millis {
    NOW.after_ms(ms)
}

fn beat(sent: Millis) -> Frame {
    Frame::Heartbeat(Heartbeat { sent_ms: sent.get(), seq: 0, digest: 0, assurance: None })
}

fn answers(effects: &[child::Effect]) -> Vec<Answer> {
    let sent = effects.iter().filter_map(|effect| match effect {
        child::Effect::Send(Frame::Answers(answers)) => Some(answers.clone()),
        _ => None,
    });
    sent.flatten().collect()
}

fn carries(effects: &[child::Effect]) -> Option<Millis> {
    effects.iter().find_map(|effect| match effect {
        child::Effect::Carry(_, start_by) => Some(*start_by),
        _ => None,
    })
}

/// A session whose child takes orders.
fn giving(role: Role) -> Session {
    let catalog = catalog();
    let mut session = Session::new(NOW);
    let hello = Hello { takes_orders: true, ..hello(role) };
    session.receive(Frame::Hello(hello), authority(&catalog), NOW);
    session.accept(welcome(), NOW);
    session
}

#[test]
fn an_order_is_carried_while_the_lease_holds_and_no_longer() {
    let mut child = leased();
    let dispatch =
        |child: &mut Child, count, now| child.receive(Frame::Dispatch(vec![order(1, count)]), now);
    assert_eq!(carries(&dispatch(&mut child, 1, at(LEASE_MS))), Some(at(LEASE_MS)));
    let late = dispatch(&mut child, 2, at(LEASE_MS + 1));
    assert_eq!(carries(&late), None);
    let said = Said::Declined("the lease of its session is over".to_owned());
    assert_eq!(answers(&late), [answer("n1", 2, said)]);

    child.receive(beat(at(1_500)), at(LEASE_MS + 2));
    assert_eq!(child.lease_until(), Some(at(1_500 + LEASE_MS)), "from when it was sent");
    assert_eq!(carries(&dispatch(&mut child, 3, at(3_000))), Some(at(1_500 + LEASE_MS)));
    child.receive(beat(at(900)), at(3_000));
    assert_eq!(child.lease_until(), Some(at(1_500 + LEASE_MS)), "an older one takes nothing back");
    child.receive(beat(at(9_000)), at(3_100));
    assert_eq!(child.lease_until(), Some(at(3_100 + LEASE_MS)), "nor is the future believed");
}

#[test]
fn an_order_waits_no_longer_than_it_says() {
    let mut child = leased();
    let order = crate::order::Order { wait_ms: 500, ..order(1, 1) };
    let effects = child.receive(Frame::Dispatch(vec![order.clone()]), at(500));
    assert_eq!(carries(&effects), Some(at(500)));
    let again = child.receive(Frame::Dispatch(vec![order]), at(501));
    assert_eq!(carries(&again), Some(Millis::ZERO), "it may run; it does not start any more");
}

#[test]
fn what_may_have_been_taken_in_an_earlier_life_is_not_taken_in_this_one() {
    let mut child = leased();
    let first = SessionEpoch::new(NOW.get());
    let mut dispatch = |count, session: SessionEpoch| {
        child.receive(Frame::Dispatch(vec![order(1, count).sent_in(session)]), NOW)
    };
    let before = dispatch(1, SessionEpoch::new(first.get() - 1));
    assert_eq!(carries(&before), None);
    assert_eq!(answers(&before), [answer("n1", 1, Said::Abandoned)]);
    assert!(carries(&dispatch(2, first)).is_some(), "of this life");
    assert!(carries(&dispatch(3, SessionEpoch::default())).is_some(), "nothing was heard of it");
    let others = order(2, 4).sent_in(SessionEpoch::new(1));
    let effects = child.receive(Frame::Dispatch(vec![others]), NOW);
    assert!(carries(&effects).is_some(), "of the lives of others it knows nothing");
}

#[test]
fn what_was_refused_is_refused_again_whatever_has_changed() {
    let mut child = leased();
    let dispatch = |child: &mut Child, count, now| {
        let effects = child.receive(Frame::Dispatch(vec![order(1, count)]), now);
        (carries(&effects).is_some(), answers(&effects))
    };
    let late = at(LEASE_MS + 1);
    let said = Said::Declined("the lease of its session is over".to_owned());
    assert_eq!(dispatch(&mut child, 1, late), (false, vec![answer("n1", 1, said.clone())]));
    child.receive(beat(late), late);
    assert_eq!(dispatch(&mut child, 1, late), (false, vec![answer("n1", 1, said)]));
    assert_eq!(dispatch(&mut child, 2, late), (true, Vec::new()), "another one is taken");
}

#[test]
fn a_copy_of_what_was_handed_on_is_not_refused_when_the_lease_is_over() {
    let mut child = leased();
    let late = at(LEASE_MS + 1);
    assert!(carries(&child.receive(Frame::Dispatch(vec![order(2, 1)]), NOW)).is_some());
    assert!(child.receive(Frame::Dispatch(vec![order(2, 1)]), late).is_empty());
    let new = child.receive(Frame::Dispatch(vec![order(2, 2)]), late);
    assert!(matches!(answers(&new)[..], [Answer { said: Said::Declined(_), .. }]));
}

#[test]
fn the_oldest_refusals_are_forgotten() {
    let mut child = leased();
    let late = at(LEASE_MS + 1);
    for count in 0..=ORDERS_REFUSED_MAX as u64 {
        child.receive(Frame::Dispatch(vec![order(1, count)]), late);
    }
    child.receive(beat(late), late);
    let mut starts =
        |count| carries(&child.receive(Frame::Dispatch(vec![order(1, count)]), late)).is_some();
    assert!(starts(0) && !starts(1));
}

#[test]
fn a_new_session_is_no_lease_until_it_is_welcomed() {
    let mut child = leased();
    child.disconnected();
    assert_eq!(child.lease_until(), None);
    child.connected(at(100));
    assert_eq!(child.lease_until(), None);
    child.receive(Frame::Welcome(welcome()), at(5_000));
    assert_eq!(child.lease_until(), Some(at(100 + LEASE_MS)), "counted from its Hello");
    assert_eq!(carries(&child.receive(Frame::Dispatch(vec![order(1, 1)]), at(5_000))), None);
}

#[test]
fn at_the_bound_a_child_is_busy_and_hands_on_all_the_same() {
    let mut child = leased();
    let own: Vec<_> = (0..ORDERS_OPEN_MAX as u64).map(|count| order(1, count)).collect();
    assert!(answers(&child.receive(Frame::Dispatch(own), NOW)).is_empty());
    let beyond = child.receive(Frame::Dispatch(vec![order(1, 99_999)]), NOW);
    assert!(matches!(answers(&beyond)[..], [Answer { said: Said::Busy(_), .. }]));
    assert!(carries(&child.receive(Frame::Dispatch(vec![order(1, 0)]), NOW)).is_some(), "again");
    assert!(carries(&child.receive(Frame::Dispatch(vec![order(2, 99_997)]), NOW)).is_some());
    child.answer(vec![answer("n1", 0, Said::Succeeded)], NOW);
    assert!(carries(&child.receive(Frame::Dispatch(vec![order(1, 99_998)]), NOW)).is_some());
}

#[test]
fn what_is_answered_another_way_is_not_held_for_ever() {
    let mut child = leased();
    let own: Vec<_> = (0..ORDERS_OPEN_MAX as u64).map(|count| order(1, count)).collect();
    child.receive(Frame::Dispatch(own), NOW);
    let later = at(60_000 + 10_000);
    child.receive(beat(later), later);
    assert!(carries(&child.receive(Frame::Dispatch(vec![order(1, 99_999)]), later)).is_some());
}

#[test]
fn recalls_and_looks_reach_the_driver() {
    let mut child = leased();
    let recall = Recall { to: name("n1"), attempt: order(1, 1).attempt, asks: None };
    let effects = child.receive(Frame::Cancel(recall.clone()), NOW);
    assert_eq!(effects, [child::Effect::Recall(recall)]);
    let look = LookAt { to: name("n1"), uid: uid(1) };
    let effects = child.receive(Frame::Look(look.clone()), NOW);
    assert_eq!(effects, [child::Effect::LookAt(look)]);
}

#[test]
fn answers_that_a_session_may_have_lost_go_again_before_what_is_held_is_said() {
    let mut child = leased();
    child.receive(Frame::Dispatch((1..4).map(|count| order(1, count)).collect()), NOW);
    let ended = |count| answer("n1", count, Said::Succeeded);
    assert_eq!(answers(&child.answer(vec![ended(1)], NOW)), [ended(1)]);
    child.receive(beat(at(500)), at(600));
    assert_eq!(answers(&child.answer(vec![ended(2)], at(700))), [ended(2)]);
    child.receive(beat(at(700)), at(800));
    child.disconnected();
    assert!(answers(&child.answer(vec![answer("n1", 3, Said::Started)], at(900))).is_empty());
    child.connected(at(1_000));
    let welcome = Welcome { takes_answers: true, ..welcome() };
    let effects = child.receive(Frame::Welcome(welcome), at(1_000));
    let told = [ended(2), answer("n1", 3, Said::Started)];
    assert_eq!(answers(&effects), told, "what was surely received is not said again");
    let holds = Holds { node: name("n1"), attempts: vec![order(1, 3).attempt] };
    let holding =
        effects.iter().position(|e| *e == child::Effect::Send(Frame::Holds(holds.clone())));
    let answering =
        effects.iter().position(|e| matches!(e, child::Effect::Send(Frame::Answers(_))));
    assert!(answering < holding && holding.is_some(), "{effects:?}");
}

#[test]
fn a_parent_that_takes_no_answers_is_given_none() {
    let mut child = child();
    child.connected(NOW);
    let effects = child.receive(Frame::Welcome(welcome()), NOW);
    assert!(!effects.iter().any(|e| matches!(e, child::Effect::Send(Frame::Holds(_)))));
    assert!(child.answer(vec![answer("n1", 1, Said::Succeeded)], NOW).is_empty());
}

#[test]
fn answers_are_kept_up_to_a_bound_and_sent_in_frames() {
    let mut child = leased();
    child.disconnected();
    let many = |count: usize| (0..count as u64).map(|c| answer("n1", c, Said::Started)).collect();
    child.answer(many(ANSWERS_PENDING_MAX), NOW);
    assert_eq!(child.dropped(), 0);
    child.answer(many(1), NOW);
    assert_eq!(child.dropped(), 1);
    child.connected(NOW);
    let welcome = Welcome { takes_answers: true, ..welcome() };
    let effects = child.receive(Frame::Welcome(welcome), NOW);
    assert_eq!(answers(&effects).len(), ANSWERS_PENDING_MAX);
    let frames = effects.iter().filter(|e| matches!(e, child::Effect::Send(Frame::Answers(_))));
    assert_eq!(frames.count(), ANSWERS_PENDING_MAX / ANSWERS_FRAME_MAX);
}

#[test]
fn orders_go_to_children_that_are_attached_heard_and_take_them() {
    let catalog = catalog();
    let mut session = giving(Role::Leaf);
    assert_eq!(session.dispatch(&order(1, 1), &catalog, at(LEASE_MS)), Ok(Goes::Now));
    let silent = session.dispatch(&order(1, 2), &catalog, at(LEASE_MS + 1));
    assert!(matches!(silent, Err(Said::Declined(why)) if why.contains("nothing is heard")));
    session.receive(beat(at(3_000)), authority(&catalog), at(3_000));
    for count in 2..=ORDERS_OPEN_MAX as u64 {
        assert_eq!(session.dispatch(&order(1, count), &catalog, at(3_000)), Ok(Goes::Now));
    }
    let beyond = session.dispatch(&order(1, 99_999), &catalog, at(3_000));
    assert!(matches!(beyond, Err(Said::Busy(_))));
    assert_eq!(
        session.dispatch(&order(1, 1), &catalog, at(3_000)),
        Ok(Goes::Now),
        "one that is open"
    );
    let ended = vec![answer("n1", 1, Said::Succeeded)];
    session.receive(Frame::Answers(ended), authority(&catalog), at(3_000));
    assert_eq!(session.dispatch(&order(1, 99_999), &catalog, at(3_000)), Ok(Goes::Now));

    let mut old = attached(Role::Leaf, Vec::new(), &catalog);
    let refused = old.dispatch(&order(1, 1), &catalog, NOW);
    assert!(matches!(refused, Err(Said::Declined(why)) if why.contains("not open")));
}

#[test]
fn a_leaf_answers_for_itself_and_a_member_for_others_too() {
    let catalog = catalog();
    let other = vec![answer("n2", 1, Said::Started)];
    let holds = Holds { node: name("n2"), attempts: Vec::new() };
    let mut leaf = giving(Role::Leaf);
    for frame in [Frame::Answers(other.clone()), Frame::Holds(holds.clone())] {
        let effects = leaf.receive(frame, authority(&catalog), NOW);
        let alarm = parent::Effect::Alarm("n1 answers for n2".to_owned());
        assert_eq!(effects.first(), Some(&alarm));
        let told = |effect: &parent::Effect| match effect {
            parent::Effect::Answered(answers) => !answers.is_empty(),
            parent::Effect::Holding(_) => true,
            _ => false,
        };
        assert!(!effects.iter().any(told));
    }
    let mut member = giving(Role::Member);
    let effects = member.receive(Frame::Answers(other.clone()), authority(&catalog), NOW);
    assert_eq!(effects, [parent::Effect::Answered(other)]);
    let effects = member.receive(Frame::Holds(holds.clone()), authority(&catalog), NOW);
    assert_eq!(effects, [parent::Effect::Holding(holds)]);
}

#[test]
fn an_order_lets_its_node_speak_of_what_it_changes() {
    let catalog = catalog();
    let mut session = giving(Role::Leaf);
    session.offer(crate::id::Revision::new(2), vec![object(1, 2)]);
    session.receive(Frame::CfgAck { seq: 1 }, authority(&catalog), NOW);
    let says = |session: &mut Session, at: &str| {
        let changes = vec![(uid(1), vec![sighting(at, "1", 5)])];
        let delta = DscDelta { seq: 1, afresh: false, dropped: 0, changes, events: Vec::new() };
        let effects = session.receive(Frame::DscDelta(delta), authority(&catalog), NOW);
        effects.iter().any(|effect| matches!(effect, parent::Effect::Merge(..)))
    };
    assert!(!says(&mut session, "/power"), "its parent sees that");
    session.dispatch(&order(1, 1), &catalog, NOW).unwrap();
    assert!(says(&mut session, "/power"));
    assert!(!says(&mut session, "/input"), "the order does not change that");
    let ended = vec![answer("n1", 1, Said::Succeeded)];
    session.receive(Frame::Answers(ended), authority(&catalog), NOW);
    assert!(says(&mut session, "/power"), "what it saw may come after the end");
    assert_eq!(path("/power").as_str(), "/power");
}

#[test]
fn orders_of_a_session_that_is_over_are_lost_once_no_lease_can_hold() {
    let catalog = catalog();
    let mut session = giving(Role::Member);
    session.receive(beat(at(400)), authority(&catalog), at(500));
    session.dispatch(&order(1, 1), &catalog, at(600)).unwrap();
    session.dispatch(&order(2, 2), &catalog, at(600)).unwrap();
    session.dispatch(&order(1, 3), &catalog, at(600)).unwrap();
    session.receive(
        Frame::Answers(vec![answer("n1", 3, Said::Lost)]),
        authority(&catalog),
        at(700),
    );
    let orphans = session.orphans(|_| 1);
    let lost: BTreeMap<_, _> = orphans.into_iter().map(|o| (o.node, o.lost_at)).collect();
    let direct = at(700 + DEAD_AFTER_MS);
    assert_eq!(lost, [(name("n1"), direct), (name("n2"), direct.after_ms(HOP_MS))].into());
    assert!(session.orphans(|_| 1).is_empty(), "told once");
}

#[derive(Debug, Clone)]
enum Act {
    Tick {
        ms: u64,
    },
    Deliver {
        up: bool,
        count: usize,
    },
    /// The child is stopped, as by SIGSTOP: time passes, and it does nothing.
    Sleep {
        ms: u64,
    },
    Order,
    /// Another copy of an earlier one.
    Again {
        back: u64,
    },
    Recall {
        back: u64,
    },
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        4 => (1..600_u64).prop_map(|ms| Act::Tick { ms }),
        6 => (any::<bool>(), 1..4_usize).prop_map(|(up, count)| Act::Deliver { up, count }),
        1 => (500..8_000_u64).prop_map(|ms| Act::Sleep { ms }),
        4 => Just(Act::Order),
        2 => (0..4_u64).prop_map(|back| Act::Again { back }),
        1 => (0..4_u64).prop_map(|back| Act::Recall { back }),
    ]
}

/// One session over a link of any delay; who started what, and until when it could.
struct Link {
    now: Millis,
    child: Child,
    session: Session,
    up: VecDeque<Frame>,
    down: VecDeque<Frame>,
    starts: BTreeMap<AttemptId, Millis>,
    /// What the parent has answered itself.
    declined: BTreeSet<AttemptId>,
    given: u64,
    open: bool,
}

impl Link {
    fn new(pace: &str) -> Self {
        let mut identity = identity();
        identity.labels.insert(name(HEARTBEAT_LABEL), pace.to_owned());
        let mut child = Child::new(identity, ClusterId::default(), Vec::new());
        let hello = child.connected(NOW);
        let mut link = Self {
            now: NOW,
            child,
            session: Session::new(NOW),
            up: VecDeque::new(),
            down: VecDeque::new(),
            starts: BTreeMap::new(),
            declined: BTreeSet::new(),
            given: 0,
            open: true,
        };
        link.below(hello);
        link
    }

    fn below(&mut self, effects: Vec<child::Effect>) {
        for effect in effects {
            match effect {
                child::Effect::Send(frame) => self.up.push_back(frame),
                child::Effect::Close(_) => self.open = false,
                child::Effect::Carry(order, start_by) => {
                    // Another copy of what was taken starts nothing.
                    let taken = self.starts.contains_key(&order.attempt);
                    assert!(taken || self.now <= start_by);
                    self.starts.entry(order.attempt).or_insert(start_by);
                }
                _ => {}
            }
        }
    }

    fn above(&mut self, effects: Vec<parent::Effect>) {
        for effect in effects {
            match effect {
                parent::Effect::Send(frame) => self.down.push_back(frame),
                parent::Effect::Close(_) => self.open = false,
                parent::Effect::Answered(answers) => {
                    self.declined.extend(answers.into_iter().map(|answer| answer.attempt));
                }
                parent::Effect::Greeted(_) => {
                    let welcome = Welcome { takes_beats: true, ..welcome() };
                    let effects = self.session.accept(welcome, self.now);
                    self.above(effects);
                }
                _ => {}
            }
        }
    }

    fn act(&mut self, act: Act) {
        let catalog = catalog();
        match act {
            Act::Tick { ms } => {
                self.now = self.now.after_ms(ms);
                let effects = self.child.tick(self.now);
                self.below(effects);
                let effects = self.session.tick(self.now);
                self.above(effects);
            }
            Act::Sleep { ms } => {
                self.now = self.now.after_ms(ms);
                let effects = self.session.tick(self.now);
                self.above(effects);
            }
            Act::Deliver { up, count } => {
                for _ in 0..count {
                    if up && let Some(frame) = self.up.pop_front() {
                        let effects = self.session.receive(frame, authority(&catalog), self.now);
                        self.above(effects);
                    } else if !up && let Some(frame) = self.down.pop_front() {
                        let effects = self.child.receive(frame, self.now);
                        self.below(effects);
                    }
                }
            }
            Act::Order => {
                self.given += 1;
                self.order(self.given);
            }
            Act::Again { back } => self.order(self.given.saturating_sub(back)),
            Act::Recall { back } => {
                let attempt = order(1, self.given.saturating_sub(back)).attempt;
                let recall = Recall { to: name("n1"), attempt, asks: None };
                let effects = self.session.recall(recall);
                self.above(effects);
            }
        }
    }

    fn order(&mut self, count: u64) {
        let order = order(1, count);
        // Who was told that it does not start decides anew, under another name.
        if self.declined.contains(&order.attempt) {
            return;
        }
        let catalog = catalog();
        if self.session.dispatch(&order, &catalog, self.now) == Ok(Goes::Now) {
            self.down.push_back(Frame::Dispatch(vec![order]));
        }
        let effects = self.session.ask();
        self.above(effects);
    }
}

proptest! {
    #[test]
    fn what_is_lost_never_starts(
        acts in prop::collection::vec(act(), 1..80),
        pace in prop_oneof![Just(NORMAL), Just(BULK)],
    ) {
        let mut link = Link::new(pace);
        for act in acts {
            link.act(act);
            if !link.open {
                break;
            }
        }
        // The session breaks here, for the parent; whatever is on its way still reaches the child.
        let orphans = link.session.orphans(|_| 1);
        while let Some(frame) = link.down.pop_front() {
            let effects = link.child.receive(frame, link.now);
            link.below(effects);
        }
        for orphan in orphans {
            let start_by = link.starts.get(&orphan.attempt);
            let never = start_by.is_none_or(|by| *by <= orphan.lost_at);
            prop_assert!(never, "{orphan:?} {start_by:?}");
        }
        let started = link.declined.iter().find(|attempt| link.starts.contains_key(*attempt));
        prop_assert!(started.is_none(), "{started:?} was said not to start");
    }
}

#[test]
fn the_lease_is_shorter_than_the_silence_that_ends_a_session() {
    const { assert!(LEASE_MS + KEEP_MS < DEAD_AFTER_MS && HEARTBEAT_MS < LEASE_MS) };
}
