//! Tests of the store.

mod copies;
mod declare;
mod freeze;
mod kit;
mod owners;
mod refusals;
mod tenure;
mod txn;

use self::kit::{Fleet, name, node, path, state};
use super::{requests::Kept, *};
use crate::{
    command::{Op, RequestId, Txn},
    manifest::{Extension, PathSpec, Type},
    path::Path,
    state::State,
    time::Millis,
};

#[test]
fn a_repeated_request_is_answered_and_not_applied_again() {
    let mut fleet = Fleet::new();
    let request = Some(RequestId("r1".into()));
    let ops = vec![Fleet::put("n1", &[])];
    let command = Command::Txn(Txn { ops, ..Txn::default() });
    let first = fleet.ask(request.clone(), command.clone());
    let before = fleet.store.revision();
    let again = fleet.ask(request.clone(), Command::Mark);
    assert_eq!(again.outcome, first.outcome, "whatever comes under the same id");
    assert!(again.changes.is_empty());
    assert_eq!(fleet.store.revision(), before);

    let refused =
        fleet.ask(Some(RequestId("r2".into())), Command::Found { cluster: ClusterId::new(7) });
    assert_eq!(refused.outcome, Outcome::Refused(Refusal::Founded));
    let again = fleet.ask(Some(RequestId("r2".into())), command);
    assert_eq!(again.outcome, refused.outcome, "a refusal is remembered too");
}

#[test]
fn answers_are_kept_up_to_their_limits() {
    let mut requests = Requests::default();
    let id = |number: usize| RequestId(format!("r{number}").into());
    let outcome = |uids: usize| Outcome::Applied {
        revision: Revision::new(1),
        changed: vec![Uid::from_bytes([0; 16]); uids],
        refused_intents: Vec::new(),
    };
    for number in 0..=REQUESTS_MAX {
        requests.keep(id(number), outcome(1), Millis::ZERO);
    }
    assert_eq!(requests.answer(&id(0)), None);
    assert!(requests.answer(&id(1)).is_some());
    assert!(requests.answer(&id(REQUESTS_MAX)).is_some());
    let last = id(REQUESTS_MAX + 1);
    requests.keep(last.clone(), outcome(REQUESTS_UIDS_MAX), Millis::ZERO);
    assert_eq!(requests.answer(&id(REQUESTS_MAX)), None);
    assert!(requests.answer(&last).is_some(), "the last one is always kept");
}

#[test]
fn answers_are_kept_for_a_time_that_no_clock_turns_back() {
    let mut requests = Requests::default();
    let id = |number: usize| RequestId(format!("r{number}").into());
    let outcome = Outcome::Refused(Refusal::Founded);
    let at = |ms: u64| Millis::new(1_000 + ms);
    let gaps = usize::try_from(REQUESTS_AGE_MS / REQUESTS_GAP_MS).unwrap();
    for number in 0..=gaps {
        requests.keep(id(number), outcome.clone(), at(number as u64 * REQUESTS_GAP_MS));
    }
    let late = id(gaps + 1);
    requests.keep(late.clone(), outcome.clone(), at(5));
    assert!((0..=gaps + 1).all(|number| requests.answer(&id(number)).is_some()));
    requests.keep(id(gaps + 2), outcome.clone(), at(REQUESTS_AGE_MS + 1));
    assert_eq!(requests.answer(&id(0)), None);
    assert!(requests.answer(&id(1)).is_some());
    let kept = || requests.kept().cloned();
    let mut again: Requests = kept().collect();
    let mut untimed: Requests = kept().map(|kept| Kept { at: None, ..kept }).collect();
    for requests in [&mut requests, &mut again, &mut untimed] {
        for gap in 1..=gaps as u64 {
            let now = at(REQUESTS_AGE_MS + gap * REQUESTS_GAP_MS);
            requests.keep(RequestId(format!("more{gap}").into()), outcome.clone(), now);
        }
        assert!(requests.answer(&id(gaps + 2)).is_some());
    }
    assert!(again.kept().eq(requests.kept()));
    assert_eq!(again.answer(&id(gaps - 1)), None);
    assert!(again.answer(&late).is_some(), "it counts as of the latest time before it");
    assert!(untimed.answer(&id(gaps - 1)).is_some(), "what has no time goes by number");
}

#[test]
fn a_jump_of_a_proposers_clock_forgets_no_answer() {
    let mut requests = Requests::default();
    let id = |number: u64| RequestId(format!("r{number}").into());
    let outcome = Outcome::Refused(Refusal::Founded);
    let days = |count: u64| Millis::new(1_000 + count * 86_400_000);
    for day in 0..4 {
        requests.keep(id(2 * day), outcome.clone(), days(day));
        // Another proposer whose clock is right.
        requests.keep(id(2 * day + 1), outcome.clone(), days(0));
    }
    assert!((0..8).all(|number| requests.answer(&id(number)).is_some()));
    let mut again: Requests = requests.kept().cloned().collect();
    for requests in [&mut requests, &mut again] {
        for gap in 1..=REQUESTS_AGE_MS / REQUESTS_GAP_MS {
            let now = days(3).after_ms(gap * REQUESTS_GAP_MS);
            requests.keep(id(100 + gap), outcome.clone(), now);
        }
        assert_eq!(requests.answer(&id(5)), None, "it was kept for as long as any");
        assert!(requests.answer(&id(7)).is_some());
    }
    assert!(again.kept().eq(requests.kept()));
}

#[test]
fn a_uid_is_never_used_again() {
    let mut fleet = Fleet::new();
    let mut seen = std::collections::BTreeSet::new();
    let mut take = |fleet: &Fleet, object: &str| {
        let uid = fleet.store.find(&node(object)).unwrap().uid;
        assert!(seen.insert(uid), "{object} has the uid of another");
    };
    fleet.txn(vec![Fleet::put("n1", &[])]).unwrap();
    take(&fleet, "n1");
    let delete = |object: &str| Op::Delete { object: node(object), force: true };
    let ops = vec![
        delete("n1"),
        Fleet::put("n1", &[]),
        delete("n1"),
        Fleet::put("n1", &[]),
        Fleet::put("n2", &[]),
    ];
    fleet.txn(ops).unwrap();
    take(&fleet, "n1");
    take(&fleet, "n2");
}

#[test]
fn a_snapshot_holds_the_whole_store() {
    let mut fleet = Fleet::new();
    fleet.txn(vec![Fleet::put("n1", &[("/power", "ON")])]).unwrap();
    fleet.freeze(crate::command::Targets::Names(vec![name("n1")])).unwrap();
    fleet.ask(Some(RequestId("r1".into())), Command::Mark);
    let bytes = rmp_serde::to_vec_named(&fleet.store).unwrap();
    let again: Store = rmp_serde::from_slice(&bytes).unwrap();
    assert_eq!(rmp_serde::to_vec_named(&again).unwrap(), bytes);
    assert_eq!(again.revision(), fleet.store.revision());
    assert_eq!(again.catalog().digest(), fleet.store.catalog().digest());
    assert!(again.find(&node("n1")).unwrap().frozen.is_some());
    assert!(again.requests.answer(&RequestId("r1".into())).is_some());
}

#[test]
fn the_same_entries_make_the_same_bytes() {
    let entries = |fleet: &mut Fleet| {
        fleet.txn(vec![Fleet::put("n2", &[("/power", "ON")]), Fleet::put("n1", &[])]).unwrap();
        fleet.freeze(crate::command::Targets::All).unwrap();
        fleet.txn(vec![Fleet::merge("n1", &[("/power", "OFF")], &[])]).unwrap();
        rmp_serde::to_vec_named(&fleet.store).unwrap()
    };
    assert_eq!(entries(&mut Fleet::new()), entries(&mut Fleet::new()));
}

#[test]
fn objects_are_listed_by_kind_and_name() {
    let mut fleet = Fleet::new();
    let app = |text: &str| ObjectRef { kind: name("app"), namespace: None, name: name(text) };
    let put = |object| Op::Put { object, labels: None, owner: None, cfg: State::new() };
    fleet
        .txn(vec![Fleet::put("n2", &[]), put(app("a")), put(app("z")), Fleet::put("0", &[])])
        .unwrap();
    let names = |kind: &str| -> Vec<String> {
        fleet.store.of_kind(kind).map(|object| object.key.name.to_string()).collect()
    };
    assert_eq!(names("node"), ["0", "n2"]);
    assert_eq!(names("app"), ["a", "z"]);
    assert_eq!(names("nod"), [""; 0]);
    assert_eq!(fleet.store.node(&name("n2")).unwrap().key, node("n2"));
    assert!(fleet.store.node(&name("a")).is_none());
}

#[test]
fn a_declaration_that_stored_values_do_not_fit_is_refused() {
    let mut fleet = Fleet::new();
    fleet.txn(vec![Fleet::put("n1", &[("/power", "ON")])]).unwrap();
    let digest = fleet.store.catalog().digest();
    let mut manifest = kit::manifest();
    manifest.extensions[0].paths[0].value_type = Type::enum_of(["OFF", "STANDBY"]);
    assert_eq!(
        fleet.declare(manifest).unwrap_err().to_string(),
        "stored objects would no longer fit: node n1: /power: ON is not one of OFF, STANDBY"
    );
    let mut manifest = kit::manifest();
    manifest.extensions.remove(0);
    assert!(fleet.declare(manifest).is_err(), "a path that is in use cannot go");
    assert_eq!(fleet.store.catalog().digest(), digest);

    let more = Manifest::new("more")
        .extension(Extension::new("x").path(PathSpec::new("/speed", Type::count())));
    let revision = fleet.store.revision();
    let applied = fleet.ask(None, Command::Declare { manifests: vec![more.clone()] });
    assert!(applied.declared);
    assert!(fleet.store.revision() > revision);
    let again = fleet.ask(None, Command::Declare { manifests: vec![more] });
    assert!(!again.declared, "declared as it stands already");
}

#[test]
fn an_object_is_deleted_when_its_absent_state_is_seen() {
    let mut fleet = Fleet::new();
    fleet.txn(vec![Fleet::put("n1", &[("/power", "ON")]), Fleet::put("n2", &[])]).unwrap();
    let delete = |object: &str, force| Op::Delete { object: node(object), force };
    let applied = fleet.apply_txn(vec![delete("n1", false), delete("n2", false)]);
    let gone: Vec<&str> = applied
        .changes
        .iter()
        .filter(|change| matches!(change, Change::Removed(_)))
        .map(|change| change.object().key.name.as_str())
        .collect();
    assert_eq!(gone, ["n2"], "nothing of it has to be undone");
    let marked = fleet.store.find(&node("n1")).unwrap().clone();
    assert!(marked.deleting);
    let remove = |revision| vec![Op::Remove { uid: marked.uid, revision }];
    assert!(fleet.txn(remove(Revision::new(1))).is_err());
    fleet.txn(remove(marked.revision)).unwrap();
    assert!(fleet.store.find(&node("n1")).is_none());
    assert!(fleet.store.object(marked.uid).is_none());
}

#[test]
fn intents_are_opened_one_an_object_and_closed_by_attempt() {
    let mut fleet = Fleet::new();
    fleet.txn(vec![Fleet::put("n1", &[]), Fleet::put("n2", &[]), Fleet::put("n3", &[])]).unwrap();
    fleet.freeze(crate::command::Targets::Names(vec![name("n3")])).unwrap();
    let uid = |object: &str| fleet.store.find(&node(object)).unwrap().uid;
    let intent = |uid: Uid, attempt: u64| kit::intent(uid, attempt);
    let gone = Uid::from_bytes([9; 16]);
    let intents = vec![
        intent(uid("n1"), 1),
        intent(uid("n1"), 2),
        intent(uid("n2"), 1),
        intent(uid("n3"), 3),
        intent(gone, 4),
    ];
    let refused = |applied: Applied| match applied.outcome {
        Outcome::Applied { refused_intents, .. } => refused_intents,
        Outcome::Refused(refusal) => panic!("{refusal}"),
    };
    let open = Command::OpenIntents { term: fleet.term, intents: intents.clone() };
    let why: Vec<String> = refused(fleet.ask(None, open)).into_iter().map(|(_, why)| why).collect();
    let is_open = format!("attempt {} is open", intents[0].attempt);
    assert_eq!(why, [&is_open, &is_open, "it is frozen", "the object is gone"]);
    assert_eq!(fleet.store.intents().len(), 1);

    let attempts = vec![intents[0].attempt.clone()];
    fleet.ask(None, Command::CloseIntents { attempts });
    assert!(fleet.store.intents().is_empty());
    let open = Command::OpenIntents { term: fleet.term, intents: vec![intents[1].clone()] };
    assert!(refused(fleet.ask(None, open)).is_empty());
    fleet.txn(vec![Op::Delete { object: node("n1"), force: true }]).unwrap();
    assert!(fleet.store.intents().is_empty(), "what is gone has no intents");
}

#[test]
fn revisions_move_with_writes_and_only_with_them() {
    let mut fleet = Fleet::new();
    fleet.txn(vec![Fleet::put("n1", &[("/power", "ON")])]).unwrap();
    let object = |fleet: &Fleet| fleet.store.find(&node("n1")).unwrap().clone();
    let first = object(&fleet);
    assert_eq!((first.revision, first.generation), (fleet.store.revision(), 1));
    assert_eq!(first.created, Millis::new(fleet.index));
    let applied = fleet.apply_txn(vec![Fleet::put("n1", &[("/power", "ON")])]);
    assert!(applied.changes.is_empty());
    assert_eq!(object(&fleet), first, "nothing was asked anew");
    fleet.ask(None, Command::Mark);
    assert_eq!(object(&fleet), first);
    let set = [(name("rack"), "r1".to_owned())].into();
    fleet.txn(vec![Op::Label { target: Fleet::one("n1"), set, unset: Vec::new() }]).unwrap();
    let labelled = object(&fleet);
    assert!(labelled.revision > first.revision);
    assert_eq!(labelled.generation, 1, "a label asks for nothing");
    fleet
        .txn(vec![
            Fleet::merge("n1", &[("/power", "OFF")], &[]),
            Fleet::merge("n1", &[], &["/power"]),
        ])
        .unwrap();
    assert_eq!(object(&fleet).generation, 2, "one write, one generation");
    let cfg: Vec<&Path> = first.cfg.iter().map(|(path, _)| path).collect();
    assert_eq!(cfg, [&path("/power")]);
    assert_eq!(state(&[("/power", "ON")]), first.cfg);
}

#[test]
fn another_epoch_holds_the_same_cfg_beyond_all_revisions_and_forgets_answers() {
    let mut fleet = Fleet::new();
    fleet.txn(vec![Fleet::put("n1", &[])]).unwrap();
    let request = RequestId("r1".into());
    fleet.ask(Some(request.clone()), Command::Mark);
    let before = fleet.store.clone();
    let epoch = Epoch::new(9);
    let store = before.clone().in_epoch(epoch, Revision::new(1_000));
    assert_eq!((store.epoch(), store.revision()), (epoch, Revision::new(1_000)));
    assert!(store.objects().eq(before.objects()));
    assert_eq!(store.requests.answer(&request), None);
    let bytes = rmp_serde::to_vec_named(&store).unwrap();
    assert_eq!(rmp_serde::from_slice::<Store>(&bytes).unwrap().epoch(), epoch);
    let bytes = rmp_serde::to_vec_named(&before).unwrap();
    assert_eq!(rmp_serde::from_slice::<Store>(&bytes).unwrap().epoch(), Epoch::FIRST);
    let again = before.in_epoch(epoch, Revision::new(0));
    assert_eq!(again.revision(), fleet.store.revision(), "revisions do not go back");
}
