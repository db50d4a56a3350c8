//! The table of intents that earlier leaders left open, row by row.

use super::{name, nth};
use crate::{
    command::Intent,
    id::{AttemptId, Name},
    order::{
        Answer, Said,
        left::{ASK_AGAIN_MS, ASKED_AT_ONCE_MAX, Ended, Left},
    },
    time::Millis,
};

const NOW: Millis = Millis::new(50_000);

fn intent(count: u64) -> Intent {
    let order = nth(count, 3);
    let mutation = "pump/Purge".to_owned();
    let (uid, attempt) = (order.object.uid, order.attempt);
    Intent { uid, mutation, attempt, host: name("n1"), ends_by: Millis::new(900_000) }
}

fn asks(left: &mut Left, open: &[Intent], now: Millis) -> Vec<(Name, AttemptId)> {
    left.ask(open, now)
}

fn answer(node: &str, intent: &Intent, said: Said) -> Answer {
    Answer { node: name(node), attempt: intent.attempt.clone(), said }
}

#[test]
fn the_node_of_what_was_left_open_is_asked_until_it_answers() {
    let (mut left, open) = (Left::default(), [intent(1)]);
    let asked = [(name("n1"), open[0].attempt.clone())];
    assert_eq!(asks(&mut left, &open, NOW), asked);
    let soon = Millis::new(NOW.get() + ASK_AGAIN_MS - 1);
    assert_eq!(asks(&mut left, &open, soon), []);
    assert_eq!(asks(&mut left, &open, NOW.after_ms(ASK_AGAIN_MS)), asked);
}

#[test]
fn what_its_own_node_says_has_ended_is_closed_once() {
    let failed = Said::Failed { error: "no".to_owned(), permanent: false };
    for said in [Said::Succeeded, failed, Said::Abandoned] {
        let (mut left, open) = (Left::default(), [intent(1)]);
        assert_eq!(left.heard(&answer("n1", &open[0], said.clone())), None, "nobody has asked");
        asks(&mut left, &open, NOW);
        assert_eq!(left.heard(&answer("n2", &open[0], said.clone())), None, "of another node");
        let ended = Ended { uid: open[0].uid, attempt: open[0].attempt.clone() };
        let heard = answer("n1", &open[0], said);
        assert_eq!(left.heard(&heard), Some(ended));
        assert_eq!(left.heard(&heard), None);
    }
}

#[test]
fn what_runs_or_is_said_on_the_way_closes_nothing() {
    let (mut left, open) = (Left::default(), [intent(1)]);
    asks(&mut left, &open, NOW);
    for said in [
        Said::Acknowledged,
        Said::Started,
        Said::Progress("half".to_owned()),
        Said::Moved("it was frozen".to_owned()),
        Said::Busy("full".to_owned()),
        Said::Declined("n1 is not attached".to_owned()),
        Said::Lost,
    ] {
        assert_eq!(left.heard(&answer("n1", &open[0], said.clone())), None, "{said:?}");
    }
    assert!(left.heard(&answer("n1", &open[0], Said::Abandoned)).is_some());
}

#[test]
fn what_is_closed_meanwhile_is_forgotten() {
    let (mut left, open) = (Left::default(), [intent(1), intent(2)]);
    assert_eq!(asks(&mut left, &open, NOW).len(), 2);
    assert_eq!(asks(&mut left, &open[1..], NOW), []);
    assert_eq!(left.heard(&answer("n1", &open[0], Said::Abandoned)), None);
    assert!(left.heard(&answer("n1", &open[1], Said::Abandoned)).is_some());
}

#[test]
fn of_many_each_has_its_turn() {
    let most = ASKED_AT_ONCE_MAX as u64;
    let (mut left, open) = (Left::default(), (0..=most).map(intent).collect::<Vec<_>>());
    assert_eq!(asks(&mut left, &open, NOW).len(), ASKED_AT_ONCE_MAX);
    let last = [(name("n1"), open[ASKED_AT_ONCE_MAX].attempt.clone())];
    assert_eq!(asks(&mut left, &open, NOW), last);
}
