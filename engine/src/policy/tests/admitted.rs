//! Who may go, how many at a time, and how fast.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::kit::{SWITCH_MS, Yard, key};
use crate::{
    command::{Command, Intent, Op, Target},
    id::{AttemptId, Term},
    policy::RATE_SPAN_MS,
    status::PhaseName,
    store::Store,
    time::Millis,
    value::Value,
};

#[test]
fn without_a_policy_all_go_at_once() {
    let mut yard = Yard::new(20);
    yard.ask("b");
    yard.run(SWITCH_MS);
    assert_eq!((yard.most_open, yard.with("b")), (20, 20));
}

#[test]
fn no_more_are_in_flight_than_may_be_and_those_who_wait_say_why() {
    for (most, expected) in [(Value::Int(2), 2), ("10%".into(), 2), ("1%".into(), 1)] {
        let mut yard = Yard::new(20);
        yard.policy("p", &[("/maxInFlight", most)]).unwrap();
        yard.ask("b");
        yard.run(SWITCH_MS - 1);
        assert_eq!(yard.in_phase(PhaseName::InFlight), expected);
        let waiting = (0..20).map(|number| yard.status(&format!("n{number}")));
        let waiting = waiting.filter(|status| status.phase == PhaseName::Waiting);
        let words: BTreeSet<(Option<String>, Option<String>)> =
            waiting.map(|status| (status.waits_for, status.reason)).collect();
        let reason = format!("{expected} of {expected} are in flight");
        assert_eq!(words, [(Some("policy p: maxInFlight".to_owned()), Some(reason))].into());
        yard.run(20 * SWITCH_MS);
        assert_eq!((yard.most_open, yard.with("b")), (expected, 20));
        assert_eq!(yard.refused, [""; 0], "the leader asks only for what apply lets through");
        assert_eq!(yard.order.iter().collect::<BTreeSet<_>>().len(), 20, "each once");
    }
}

#[test]
fn classes_are_counted_apart() {
    let mut yard = Yard::new(20);
    let limits = [("/maxInFlight", Value::Int(1)), ("/per", "module, rack".into())];
    yard.policy("p", &limits).unwrap();
    yard.ask("b");
    yard.run(4 * SWITCH_MS + SWITCH_MS / 2);
    assert_eq!((yard.most_open, yard.with("b")), (4, 16));
    let racks = yard.order[..4].iter().map(|node| node[1..].parse::<usize>().unwrap() / 5);
    assert_eq!(racks.collect::<BTreeSet<_>>().len(), 4, "one of each rack: {:?}", yard.order);
}

#[test]
fn what_is_in_flight_counts_where_its_labels_are_now() {
    let mut yard = Yard::new(10);
    let limits = [("/maxInFlight", Value::Int(1)), ("/per", "rack".into())];
    yard.policy("p", &limits).unwrap();
    yard.set(key("node", "n0"), "/image", "b");
    yard.run(1);
    assert_eq!(yard.most_open, 1);
    let labels = yard.store.object(yard.uid("n5")).unwrap().labels.clone();
    let target = Target::One(key("node", "n0"));
    yard.txn(vec![Op::Label { target, set: labels, unset: Vec::new() }]).unwrap();
    yard.set(key("node", "n5"), "/image", "b");
    yard.run(SWITCH_MS / 2);
    assert_eq!(yard.most_open, 1, "one of its rack is in flight");
    yard.run(2 * SWITCH_MS);
    assert_eq!((yard.most_open, yard.with("b")), (1, 2));
}

#[test]
fn no_more_begin_in_any_minute_than_the_rate_says() {
    let mut yard = Yard::new(20);
    yard.policy("p", &[("/ratePerMinute", Value::Int(6))]).unwrap();
    yard.ask("b");
    yard.run(RATE_SPAN_MS - 1);
    assert_eq!(yard.order.len(), 6);
    let held = (0..20).map(|number| yard.status(&format!("n{number}")));
    let held = held.filter(|status| status.phase == PhaseName::Waiting);
    let until: BTreeSet<u64> = held.filter_map(|status| Some(status.next_retry?.get())).collect();
    assert_eq!(until, [1_000_000 + RATE_SPAN_MS].into(), "it says when it goes on");
    yard.run(RATE_SPAN_MS);
    assert_eq!(yard.order.len(), 12);
    yard.run(3 * RATE_SPAN_MS);
    assert_eq!(yard.with("b"), 20);
}

#[test]
fn the_order_is_the_same_for_every_leader_and_not_that_of_asking() {
    let order = |most: i64| {
        let mut yard = Yard::new(20);
        yard.policy("p", &[("/maxInFlight", Value::Int(most))]).unwrap();
        yard.ask("b");
        yard.run(30 * SWITCH_MS);
        yard.order
    };
    let one = order(1);
    assert_eq!(one, order(1));
    assert_eq!(one[..3].iter().collect::<BTreeSet<_>>(), order(3)[..3].iter().collect());
    let names: Vec<String> = (0..20).map(|number| format!("n{number}")).collect();
    assert_ne!(one, names);
}

#[test]
fn a_window_lets_begin_within_it_and_finish_after_it() {
    let mut yard = Yard::new(4);
    // The clock starts on a Thursday at 00:16:40.
    let limits = [("/windows", "Thu 01:00-01:01 UTC".into()), ("/maxInFlight", Value::Int(3))];
    yard.policy("p", &limits).unwrap();
    yard.ask("b");
    yard.run(60_000);
    assert_eq!(yard.order.len(), 0);
    let status = yard.status("n0");
    assert_eq!(status.waits_for.as_deref(), Some("policy p: windows"));
    let reason = "disruptive steps begin only within Thu 01:00-01:01 UTC; it may go on at Thu \
                  01:00 UTC";
    assert_eq!(status.reason.as_deref(), Some(reason));
    assert_eq!(status.next_retry, Some(Millis::new(3_600_000)));
    yard.now = 3_655_000;
    yard.run(1_000);
    assert_eq!(yard.order.len(), 3);
    yard.run(3 * SWITCH_MS);
    assert_eq!((yard.with("b"), yard.order.len()), (3, 3), "the fourth comes next week");
    yard.run(7 * 86_400_000);
    assert_eq!(yard.with("b"), 4);
}

#[test]
fn what_is_not_healthy_is_not_made_less_so() {
    let mut yard = Yard::new(10);
    yard.policy("p", &[("/minHealthy", "80%".into())]).unwrap();
    yard.see("n3", "/link", Some("DOWN"));
    yard.ask("b");
    yard.run(SWITCH_MS - 1);
    assert_eq!(yard.order.iter().filter(|node| *node != "n3").count(), 1, "{:?}", yard.order);
    assert!(yard.order.contains(&"n3".to_owned()), "what is down already loses nothing");
    let waiting = yard.status(if yard.order.contains(&"n1".to_owned()) { "n2" } else { "n1" });
    assert_eq!(waiting.waits_for.as_deref(), Some("policy p: minHealthy"));
    yard.see("n3", "/link", Some("UP"));
    yard.run(20 * SWITCH_MS);
    assert_eq!((yard.with("b"), yard.most_open), (10, 2));
}

#[test]
fn apply_refuses_what_a_policy_does_not_let_through_whoever_asks() {
    let mut yard = Yard::new(5);
    yard.policy("p", &[("/maxInFlight", Value::Int(2)), ("/ratePerMinute", Value::Int(3))])
        .unwrap();
    let open = |yard: &mut Yard, numbers: &[u64]| {
        let intent = |number: &u64| Intent {
            uid: yard.uid(&format!("n{number}")),
            mutation: "image/Switch".to_owned(),
            attempt: AttemptId::derive(&super::kit::name("x"), 1, *number),
            host: super::kit::name("m1"),
            ends_by: Millis::new(9_000_000),
        };
        let intents: Vec<Intent> = numbers.iter().map(intent).collect();
        let refused = yard.write(Command::OpenIntents { term: Term::new(1), intents }).unwrap();
        refused.into_iter().map(|(_, why)| why).collect::<Vec<_>>()
    };
    let close = |yard: &mut Yard, numbers: &[u64]| {
        let of = |number: &u64| AttemptId::derive(&super::kit::name("x"), 1, *number);
        let attempts = numbers.iter().map(of).collect();
        yard.write(Command::CloseIntents { attempts }).unwrap();
    };
    let full = "policy p: maxInFlight: 2 of 2 are in flight";
    assert_eq!(open(&mut yard, &[0, 1, 2]), [full], "each counts for the next of one entry");
    assert_eq!(open(&mut yard, &[2]), [full]);
    // A store that was read back counts the same.
    let bytes = rmp_serde::to_vec_named(&yard.store).unwrap();
    let read: Store = rmp_serde::from_slice(&bytes).unwrap();
    assert_eq!(read.rules(), yard.store.rules());
    yard.store = read;
    assert_eq!(open(&mut yard, &[2]), [full]);
    close(&mut yard, &[0]);
    assert_eq!(open(&mut yard, &[2]), [""; 0]);
    close(&mut yard, &[1, 2]);
    let many =
        "policy p: ratePerMinute: 3 of 3 began within a minute; it may go on at Thu 00:17 UTC";
    assert_eq!(open(&mut yard, &[3]), [many]);
    yard.now += RATE_SPAN_MS;
    assert_eq!(open(&mut yard, &[3, 4]), [""; 0]);
}

#[test]
fn intents_that_were_open_before_a_policy_count_under_it() {
    let mut yard = Yard::new(6);
    yard.ask("b");
    let first = yard.uid("n0");
    yard.settle();
    assert_eq!(yard.store.intents().len(), 6);
    yard.policy("p", &[("/maxInFlight", Value::Int(1))]).unwrap();
    assert_eq!(yard.store.rules().ledger().opened().count(), 6);
    assert!(yard.store.rules().ledger().opened().any(|opened| opened.uid == first));
}

#[test]
fn two_policies_hold_both() {
    let mut yard = Yard::new(10);
    yard.policy("p", &[("/maxInFlight", Value::Int(4))]).unwrap();
    let limits = [("/maxInFlight", Value::Int(1)), ("/selector", "rack=r0".into())];
    yard.policy("q", &limits).unwrap();
    yard.ask("b");
    yard.run(SWITCH_MS - 1);
    assert_eq!(yard.order.len(), 4);
    let of_rack = yard.order.iter().filter(|node| node[1..].parse::<usize>().unwrap() < 5).count();
    assert_eq!(of_rack, 1, "the places that rack r0 cannot use are used by others");
    yard.run(20 * SWITCH_MS);
    assert_eq!(yard.with("b"), 10);
}

#[test]
fn a_policy_that_is_loosened_lets_go_at_once() {
    let mut yard = Yard::new(10);
    yard.policy("p", &[("/maxInFlight", Value::Int(1))]).unwrap();
    yard.ask("b");
    yard.run(1_000);
    yard.set(key("policy", "p"), "/maxInFlight", 5);
    yard.run(1_000);
    assert_eq!(yard.order.len(), 5);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    /// Whatever policies say, no more is open than they allow (checked after every commit), and
    /// everybody gets through: nobody is passed over for ever.
    #[test]
    fn nobody_goes_beyond_a_policy_and_everybody_goes(
        nodes in 1_usize..25,
        most in prop_oneof![(1_i64..6).prop_map(Value::Int), Just(Value::from("20%"))],
        rate in prop::option::of(1_i64..10),
        least in prop_oneof![Just("0%"), Just("50%"), Just("70%")],
        per in prop_oneof![Just(""), Just("module"), Just("rack"), Just("module, rack")],
        broken in prop::collection::btree_set(0_usize..25, 0..3),
        change_over in prop::option::of(0_u64..60_000),
    ) {
        let mut yard = Yard::new(nodes);
        let mut limits = vec![("/maxInFlight", most), ("/minHealthy", Value::from(least))];
        limits.extend(rate.map(|rate| ("/ratePerMinute", Value::Int(rate))));
        if !per.is_empty() {
            limits.push(("/per", per.into()));
        }
        yard.policy("p", &limits).unwrap();
        let broken: Vec<usize> = broken.into_iter().filter(|number| *number < nodes).collect();
        for number in &broken {
            let uid = yard.uid(&format!("n{number}"));
            yard.broken.insert(uid);
        }
        yard.ask("b");
        if let Some(at) = change_over {
            yard.run(at);
            yard.fail_over();
            yard.run(70_000);
            yard.sweep();
        }
        yard.run(3_600_000);
        let down = yard.in_phase(PhaseName::Quarantined);
        // With too many broken the rest waits, for it must stay healthy.
        let waits = yard.in_phase(PhaseName::Waiting);
        prop_assert_eq!(down + yard.with("b") + waits, nodes);
        let least = crate::policy::Share::of_text(least).unwrap();
        let least = least.at_least(u32::try_from(nodes).unwrap()) as usize;
        if broken.is_empty() && least < nodes {
            prop_assert_eq!(yard.with("b"), nodes);
        }
        prop_assert!(waits == 0 || nodes - down <= least);
    }
}
