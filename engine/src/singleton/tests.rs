//! Leases, and handovers row by row.

use std::{sync::Arc, time::Duration};

use super::*;
use crate::{
    catalog::Catalog,
    decider::Decider,
    dsc::{Dsc, Observed, Stamp},
    fleet::{Fleet, Link},
    id::{ClusterId, Name, Revision, SessionEpoch, Uid},
    machine::{Attempted, Effect},
    manifest::{Extension, KindSpec, Manifest, MutationSpec, NODE_KIND, PathSpec, SeenBy, Type},
    mutation::Lane,
    object::{Former, Frozen, HOST_PATH, Labels, Object, ObjectRef, Tenure},
    path::Path,
    state::State,
    status::{PhaseName, Status},
    time::Millis,
    view::{Subject, Unrelated},
};

const NOW: Millis = Millis::new(1_000_000);
const LEASE_MS: u64 = 10_000;

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn uid(ordinal: u32) -> Uid {
    Uid::derive(ClusterId::new(1), Revision::new(1), ordinal)
}

fn revision(number: u64) -> Revision {
    Revision::new(number)
}

fn catalog() -> Arc<Catalog> {
    let duty = PathSpec::new("/duty", Type::enum_of(["OFF", "ON"])).absent("OFF");
    let host = PathSpec::new(HOST_PATH, Type::Text).seen_by(SeenBy::Nobody);
    let of = |name| MutationSpec::new(name).kind("post").timeout(Duration::from_secs(3));
    let manifest = Manifest::new("post")
        .kind(KindSpec::new("post").singleton(Duration::from_millis(LEASE_MS)))
        .extension(Extension::new("post").kind("post").path(duty).path(host))
        .extension(Extension::new("node").path(PathSpec::fact("/serial", Type::Text)))
        .discovers("/duty")
        .mutation(of("Start").changes("/duty", "OFF", "ON"))
        .mutation(of("Stop").changes("/duty", "ON", "OFF"));
    Arc::new(Catalog::build(&[manifest]).unwrap())
}

fn object(ordinal: u32, kind: &str, name_of: &str) -> Object {
    Object {
        uid: uid(ordinal),
        key: ObjectRef { kind: name(kind), namespace: None, name: name(name_of) },
        labels: Labels::new(),
        owner: None,
        created: Millis::ZERO,
        revision: revision(7),
        generation: 1,
        deleting: false,
        frozen: None,
        cfg: State::new(),
        on_delete: <_>::default(),
        tenure: Tenure::default(),
    }
}

/// A post on its way from `a` to `b`, as of revision 7.
fn post() -> Object {
    let mut post = object(9, "post", "p");
    post.cfg.set(Path::new(HOST_PATH).unwrap(), "b".into()).unwrap();
    post.tenure.former = Some(Former { host: name("a"), since: revision(7) });
    post
}

/// What the leader `m` knows: two nodes, the first of which is attached or not.
fn fleet(link: Option<Link>) -> Fleet {
    let mut fleet = Fleet::new(name("m"), catalog());
    fleet.set_object(Arc::new(object(1, NODE_KIND, "a")));
    fleet.set_object(Arc::new(object(2, NODE_KIND, "b")));
    fleet.set_object(Arc::new(post()));
    if let Some(link) = link {
        fleet.set_link(uid(1), SessionEpoch::new(5), link, NOW);
    }
    fleet
}

/// The host has said this of the post.
fn said(fleet: &mut Fleet, phase: PhaseName, of: u64) {
    let status = Status {
        phase,
        revision: revision(of),
        step: None,
        reason: None,
        waits_for: None,
        since: NOW,
        attempts: 0,
        last_error: None,
        next_retry: None,
    };
    let stamp = Stamp { ms: of, counter: 0, writer: name("a") };
    let observed = |value| Observed { value, stamp: stamp.clone(), seen_at: NOW };
    let values = status.to_values(Lane::Itself);
    let sightings = values.into_iter().map(|(path, value)| (path, observed(value)));
    fleet.merge(uid(9), sightings.collect(), NOW);
}

fn away_ms() -> u64 {
    catalog().kind(&name("post")).unwrap().singleton.unwrap().away_ms()
}

#[test]
fn a_lease_counts_from_the_last_word_of_the_quorum() {
    let mut assured = Assured::default();
    assert_eq!(assured.lease(LEASE_MS, NOW), Lease::Over, "none was heard");
    assured.hear(NOW, revision(1), revision(1));
    let until = NOW.after_ms(LEASE_MS);
    assert_eq!(assured.lease(LEASE_MS, NOW), Lease::Until(until));
    assert_eq!(assured.lease(LEASE_MS, until), Lease::Until(until));
    assert_eq!(assured.lease(LEASE_MS, until.after_ms(1)), Lease::Over);
    assert_eq!(Lease::Until(until).over_at(), until.after_ms(1));
    assured.hear(Millis::new(NOW.get() - 1), revision(9), revision(9));
    assert_eq!(assured.lease(LEASE_MS, NOW), Lease::Until(until), "what is older says nothing");
}

#[test]
fn a_word_counts_once_the_cfg_is_held_that_goes_with_it() {
    let mut assured = Assured::default();
    let at = |ms| NOW.after_ms(ms);
    for (ms, asks) in [(1, 5), (2, 6), (3, 9)] {
        assured.hear(at(ms), revision(asks), revision(4));
    }
    assert_eq!(assured.good(), None);
    assured.hold(revision(5));
    assert_eq!(assured.good(), Some((at(1), revision(5))), "the first that can be had is kept");
    assured.hold(revision(8));
    assert_eq!(assured.good(), Some((at(1), revision(5))));
    assured.hear(at(4), revision(11), revision(8));
    assured.hold(revision(9));
    assert_eq!(assured.good(), Some((at(3), revision(9))));
    assured.hold(revision(20));
    assert_eq!(assured.good(), Some((at(4), revision(11))));
}

#[test]
fn a_host_is_told_what_it_may_have_again() {
    let mut fleet = Fleet::new(name("b"), catalog());
    let mut own = post();
    own.tenure.former = None;
    fleet.set_object(Arc::new(own.clone()));
    assert_eq!(fleet.lease_of(&own, NOW), Lease::Over);
    assert_eq!(fleet.assure(NOW, revision(0), NOW), [own.uid]);
    assert_eq!(fleet.assure(NOW.after_ms(5), revision(0), NOW.after_ms(9)), [], "it has it");
    let over = NOW.after_ms(LEASE_MS + 6);
    assert_eq!(fleet.lease_of(&own, over), Lease::Over);
    assert_eq!(fleet.lease_of(&object(1, NODE_KIND, "b"), over), Lease::Unbound);
    assert_eq!(fleet.assure(over, revision(0), over), [own.uid]);
}

/// Looks at the post twice: now, and once its former host has been away for as long as needed.
fn looks(fleet: &Fleet) -> (bool, bool) {
    let mut handovers = Handovers::default();
    let at_once = handovers.look(uid(9), fleet, NOW).is_some();
    (at_once, handovers.look(uid(9), fleet, NOW.after_ms(away_ms())).is_some())
}

#[test]
fn each_row_of_a_handover_is_decided_as_the_table_says() {
    let frozen =
        Frozen { revision: revision(3), since: NOW, by: "ann".to_owned(), scope: "all".to_owned() };
    let thawed = Some(revision(6));
    let stopped = Some((PhaseName::Converged, 7));
    // The link of the former host, what it said, the freeze, the thaw; released at once, later.
    let table = [
        (Some(Link::Up), stopped, false, None, (true, false)),
        (Some(Link::Down), stopped, false, None, (true, false)),
        (Some(Link::Up), Some((PhaseName::Converged, 6)), false, None, (false, false)),
        (Some(Link::Up), Some((PhaseName::InFlight, 7)), false, None, (false, false)),
        (Some(Link::Down), None, false, None, (false, true)),
        (None, None, false, None, (false, true)),
        (Some(Link::Down), None, true, None, (false, false)),
        (Some(Link::Down), None, false, thawed, (false, false)),
        (Some(Link::Down), Some((PhaseName::Frozen, 5)), false, thawed, (false, false)),
        (Some(Link::Down), Some((PhaseName::Converged, 6)), false, thawed, (false, true)),
    ];
    for (row, (link, word, freeze, thaw, expected)) in table.into_iter().enumerate() {
        let mut fleet = fleet(link);
        if let Some((phase, of)) = word {
            said(&mut fleet, phase, of);
        }
        let mut post = post();
        post.frozen = freeze.then(|| frozen.clone());
        post.tenure.thawed = thaw;
        fleet.set_object(Arc::new(post));
        let (at_once, later) = looks(&fleet);
        // What was released at once is proposed again: it may not have been committed.
        assert_eq!((at_once, later && !at_once), expected, "row {row}");
    }
}

#[test]
fn time_counts_from_when_the_leader_saw_it_and_anew_where_the_host_was_attached() {
    let mut handovers = Handovers::default();
    let (mut away, here) = (fleet(Some(Link::Down)), fleet(Some(Link::Up)));
    let later = |ms| NOW.after_ms(ms);
    assert_eq!(handovers.look(uid(9), &away, NOW), None);
    assert_eq!(handovers.look(uid(9), &away, later(away_ms() - 1)), None);
    assert_eq!(handovers.look(uid(9), &here, later(away_ms())), None);
    assert_eq!(handovers.look(uid(9), &away, later(away_ms() + 1)), None);
    let at = later(2 * away_ms() + 1);
    let release = handovers.look(uid(9), &away, at).unwrap();
    assert_eq!((release.uid, release.revision), (uid(9), revision(7)));
    let why = "a is away, and stops it after 10000 ms without the quorum: b has it now";
    assert_eq!(release.why, why);
    assert_eq!(handovers.look(uid(9), &away, at.after_ms(1)), None, "it is on its way");
    assert!(handovers.look(uid(9), &away, at.after_ms(1_000)).is_some(), "it may be lost");
    assert!(handovers.watches(uid(9)));
    // It went back to its host meanwhile and leaves it again: that host may have it anew.
    let mut again = Object { revision: revision(9), ..post() };
    again.tenure.former = Some(Former { host: name("a"), since: revision(9) });
    away.set_object(Arc::new(again));
    assert_eq!(handovers.look(uid(9), &away, at.after_ms(9_000)), None);
    let mut released = Object { revision: revision(10), ..post() };
    released.tenure.former = None;
    away.set_object(Arc::new(released));
    assert_eq!(handovers.look(uid(9), &away, at), None);
    assert_eq!(handovers.watched(), []);
}

#[test]
fn what_a_former_host_saw_is_forgotten_with_it() {
    let mut fleet = fleet(None);
    said(&mut fleet, PhaseName::Converged, 7);
    fleet.set_object(Arc::new(Object { revision: revision(8), ..post() }));
    assert!(Status::of_lane(&fleet.dsc(uid(9)), Lane::Itself).is_some(), "it hosts it still");
    let mut released = Object { revision: revision(9), ..post() };
    released.tenure = Tenure { floor_ms: 20, ..Tenure::default() };
    fleet.set_object(Arc::new(released));
    let said_of = |fleet: &Fleet| Status::of_lane(&fleet.dsc(uid(9)), Lane::Itself);
    assert_eq!(said_of(&fleet), None);
    said(&mut fleet, PhaseName::Stuck, 20);
    assert_eq!(said_of(&fleet), None, "what comes late is of a former host");
    said(&mut fleet, PhaseName::Converged, 21);
    assert!(said_of(&fleet).is_some());
}

/// The host of a post and what it sees of it.
struct Host {
    decider: Decider,
    object: Object,
    now: u64,
}

impl Host {
    /// Looks with a lease and what is seen; says which mutation is dispatched, and has it succeed.
    fn looks(&mut self, lease: Lease, duty: &str) -> Option<String> {
        self.now += 20_000;
        let mut dsc = Dsc::new();
        let stamp = Stamp { ms: self.now, counter: 0, writer: name("b") };
        let seen = Observed { value: Some(duty.into()), stamp, seen_at: Millis::new(self.now) };
        dsc.merge(Path::new("/duty").unwrap(), seen);
        let catalog = catalog();
        let subject = Subject {
            object: &self.object,
            dsc: &dsc,
            catalog: &catalog,
            related: &Unrelated,
            not_before: Millis::ZERO,
            lease,
        };
        let effects = self.decider.look(subject, Millis::new(self.now));
        let dispatched = effects.into_iter().find_map(|effect| match effect {
            Effect::Dispatch(dispatch) => Some(dispatch),
            _ => None,
        })?;
        let what = Attempted::Succeeded;
        self.decider.attempted(&dispatched.attempt, what, subject, Millis::new(self.now));
        Some(dispatched.instance.mutation.id.name.to_string())
    }
}

fn host(duty: Option<&str>) -> Host {
    let mut object = post();
    object.tenure.former = None;
    if let Some(duty) = duty {
        object.cfg.set(Path::new("/duty").unwrap(), duty.into()).unwrap();
    }
    Host { decider: Decider::new(Lane::Itself, name("b"), NOW), object, now: NOW.get() }
}

#[test]
fn a_host_stops_what_it_may_no_longer_run_however_often_and_whatever_cfg_names() {
    let good = Lease::Until(Millis::NEVER);
    let mut often = host(Some("ON"));
    for outage in 0..12 {
        let stops = often.looks(Lease::Over, "ON");
        assert_eq!(stops.as_deref(), Some("Stop"), "outage {outage}");
        assert_eq!(often.looks(Lease::Over, "OFF"), None);
        // It may be left alone for going back and forth, but then it stands still.
        if often.looks(good, "OFF").is_some() {
            assert_eq!(often.looks(good, "ON"), None);
        }
    }
    let mut unnamed = host(None);
    assert_eq!(unnamed.looks(good, "ON"), None, "its Cfg asks for nothing");
    assert_eq!(unnamed.looks(Lease::Over, "ON").as_deref(), Some("Stop"));
    let mut leaving = host(None);
    leaving.object.tenure.former = Some(Former { host: name("b"), since: revision(7) });
    assert_eq!(leaving.looks(good, "ON").as_deref(), Some("Stop"));
}
