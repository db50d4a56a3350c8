//! What a node holds of the fleet, and what it makes of what it is told.

mod below;

use super::*;
use crate::{
    id::{ClusterId, Revision, SessionEpoch},
    manifest::{Extension, From, Manifest, MutationSpec, NODE_KIND, PathSpec, SeenBy, To, Type},
    object::Tenure,
    object::{HOST_PATH, Labels, ObjectRef, VIA_PATH},
    predicate::On,
    state::State,
    sync::{
        pace::{BULK, HEARTBEAT_LABEL, Pace},
        views::{RELATED_OBJECTS_MAX, Relation, Sight, ViewDelta},
    },
    view::Related,
};

const NOW: Millis = Millis::new(50);

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn path(text: &str) -> Path {
    Path::new(text).unwrap()
}

fn uid(ordinal: u32) -> Uid {
    Uid::derive(ClusterId::new(1), Revision::new(1), ordinal)
}

fn node(ordinal: u32) -> Arc<Object> {
    Arc::new(Object {
        uid: uid(ordinal),
        key: ObjectRef {
            kind: name(NODE_KIND),
            namespace: None,
            name: name(&format!("n{ordinal}")),
        },
        labels: Labels::new(),
        owner: None,
        created: Millis::ZERO,
        revision: Revision::new(1),
        generation: 1,
        deleting: false,
        frozen: None,
        cfg: State::new(),
        on_delete: <_>::default(),
        tenure: Tenure::default(),
    })
}

fn stamp(ms: u64, writer: &str) -> Stamp {
    Stamp { ms, counter: 0, writer: name(writer) }
}

fn sighting(at: &str, value: &str, ms: u64, writer: &str) -> Sighting {
    let value = (!value.is_empty()).then(|| value.into());
    (path(at), Observed { value, stamp: stamp(ms, writer), seen_at: Millis::ZERO })
}

/// The fleet of `n1`, which knows itself; `/run` is known while `/power` is on, `/step` while
/// `/run` is up.
fn fleet() -> Fleet {
    let extension = Extension::new("machine")
        .path(PathSpec::new("/power", Type::Text))
        .path(PathSpec::new("/run", Type::Text).known_while("/power = ON"))
        .path(PathSpec::new("/step", Type::Text).known_while("/run = UP"));
    let manifest = Manifest::new("machine").extension(extension).discovers("/power");
    let catalog = Catalog::build(&[manifest.discovers("/run").discovers("/step")]).unwrap();
    let mut fleet = Fleet::new(name("n1"), Arc::new(catalog));
    fleet.set_object(node(1));
    fleet
}

fn see(fleet: &mut Fleet, at: &str, value: &str, ms: u64) -> Vec<String> {
    let values = vec![(path(at), (!value.is_empty()).then(|| value.into()))];
    let touched = fleet.see(uid(1), &stamp(ms, "n1"), values, Millis::new(ms));
    touched.paths.iter().map(|(_, path)| path.to_string()).collect()
}

fn held(fleet: &Fleet, at: &str) -> Option<Observed> {
    fleet.dsc(uid(1)).get(at).cloned()
}

#[test]
fn the_same_value_seen_again_moves_only_when_it_was_seen() {
    let mut fleet = fleet();
    assert_eq!(see(&mut fleet, "/power", "ON", 10), ["/power"]);
    assert!(see(&mut fleet, "/power", "ON", 20).is_empty());
    let observed = held(&fleet, "/power").unwrap();
    assert_eq!((observed.stamp.ms, observed.seen_at.get()), (10, 20));
}

#[test]
fn what_depends_on_a_value_that_went_is_forgotten_with_the_same_stamp() {
    let mut fleet = fleet();
    for (at, value) in [("/power", "ON"), ("/run", "UP"), ("/step", "9")] {
        see(&mut fleet, at, value, 10);
    }
    assert_eq!(see(&mut fleet, "/power", "OFF", 20), ["/power", "/run", "/step"]);
    for at in ["/run", "/step"] {
        let observed = held(&fleet, at).unwrap();
        assert_eq!((observed.value, observed.stamp), (None, stamp(20, "n1")));
    }
}

#[test]
fn a_slow_look_undoes_nothing_that_happened_meanwhile() {
    let mut fleet = fleet();
    see(&mut fleet, "/power", "ON", 10);
    see(&mut fleet, "/run", "UP", 30);
    assert!(see(&mut fleet, "/run", "DOWN", 20).is_empty());
    assert_eq!(see(&mut fleet, "/power", "OFF", 20), ["/power"], "seen up after that look began");
    assert_eq!(held(&fleet, "/run").unwrap().value, Some("UP".into()));
}

#[test]
fn a_value_that_another_wrote_is_taken_over() {
    let mut fleet = fleet();
    fleet.merge(uid(1), vec![sighting("/power", "ON", 10, "m1")], NOW);
    assert_eq!(see(&mut fleet, "/power", "ON", 20), ["/power"]);
    assert_eq!(held(&fleet, "/power").unwrap().stamp.writer, name("n1"));
}

#[test]
fn what_is_said_of_an_object_before_it_is_known_waits_for_it() {
    let mut fleet = fleet();
    let touched = fleet.merge(uid(2), vec![sighting("/power", "ON", 10, "n2")], NOW);
    assert_eq!(touched, Touched::default());
    assert!(fleet.dsc(uid(2)).is_empty());
    fleet.merge(uid(2), vec![sighting("/power", "OFF", 20, "n2")], NOW);
    fleet.set_object(node(2));
    assert_eq!(fleet.dsc(uid(2)).value("/power"), Some(&"OFF".into()));
}

#[test]
fn what_is_said_late_of_a_removed_object_is_not_kept() {
    let mut fleet = fleet();
    fleet.remove_object(uid(1));
    fleet.merge(uid(1), vec![sighting("/power", "ON", 10, "n1")], NOW);
    assert_eq!((fleet.early.len(), fleet.refused()), (0, 0));
    assert!(fleet.node(&name("n1")).is_none());
}

#[test]
fn the_write_up_to_which_objects_are_known_does_not_go_back() {
    let mut fleet = fleet();
    for (told, known) in [(4, 4), (2, 4), (5, 5)] {
        fleet.set_revision(Revision::new(told), NOW);
        assert_eq!(fleet.revision(), Revision::new(known));
    }
}

#[test]
fn early_observations_and_removals_hold_their_limits() {
    let mut fleet = fleet();
    let said = || vec![sighting("/power", "ON", 10, "n2")];
    for ordinal in 0..u32::try_from(EARLY_OBJECTS_MAX).unwrap() {
        fleet.early.insert(uid(10 + ordinal), Arc::default());
    }
    fleet.merge(uid(10), said(), NOW);
    assert_eq!((fleet.early.len(), fleet.refused()), (EARLY_OBJECTS_MAX, 0));
    fleet.merge(uid(2), said(), NOW);
    assert_eq!((fleet.early.len(), fleet.refused()), (EARLY_OBJECTS_MAX, 1));
    for ordinal in 0..=u32::try_from(REMOVED_OBJECTS_MAX).unwrap() {
        fleet.remove_object(uid(ordinal));
    }
    assert_eq!(
        (fleet.removed.len(), fleet.removals.len()),
        (REMOVED_OBJECTS_MAX, REMOVED_OBJECTS_MAX)
    );
    assert!(!fleet.removed.contains(&uid(0)));
}

#[test]
fn a_node_that_lived_before_stamps_anew_what_it_sees_in_this_life() {
    let mut fleet = fleet();
    let before = sighting("/power", "OFF", 900, "n1");
    see(&mut fleet, "/power", "ON", 10);
    fleet.merge(uid(1), vec![sighting("/run", "UP", 10, "m1")], NOW);
    let touched = fleet.restamp(&stamp(901, "n1"));
    assert_eq!(touched.paths, [(uid(1), path("/power"))], "its own, and nobody else's");
    assert_eq!(held(&fleet, "/power").unwrap().stamp, stamp(901, "n1"));
    fleet.merge(uid(1), vec![before], NOW);
    assert_eq!(held(&fleet, "/power").unwrap().value, Some("ON".into()));
    assert_eq!(fleet.restamp(&stamp(901, "n1")), Touched::default());
}

#[test]
fn a_look_that_began_before_this_life_counts_as_its_beginning() {
    let mut fleet = fleet();
    see(&mut fleet, "/power", "ON", 10);
    fleet.restamp(&stamp(901, "n1"));
    assert!(see(&mut fleet, "/power", "OFF", 20).is_empty(), "what was seen since then stands");
    assert_eq!(see(&mut fleet, "/run", "UP", 20), ["/run"]);
    assert_eq!(held(&fleet, "/run").unwrap().stamp, stamp(901, "n1"));
    assert_eq!(see(&mut fleet, "/power", "OFF", 902), ["/power", "/run"]);
}

#[test]
fn a_link_is_ordered_by_session_and_not_by_time() {
    let mut fleet = fleet();
    for (epoch, link, now) in [
        (7, Link::Up, Link::Up),
        (8, Link::Up, Link::Up),
        (7, Link::Down, Link::Up),
        (8, Link::Down, Link::Down),
        (8, Link::Up, Link::Down),
        (9, Link::Up, Link::Up),
    ] {
        fleet.set_link(uid(1), SessionEpoch::new(epoch), link, NOW);
        let held = held(&fleet, LINK_PATH).unwrap().value;
        assert_eq!(held, Some(now.as_str().into()), "after {link:?} of {epoch}");
    }
    assert_eq!(fleet.link_epoch(uid(1)), SessionEpoch::new(9));
}

#[test]
fn a_link_that_another_says_is_down_is_up_again_where_its_session_goes_on() {
    let (mut here, mut there) = (fleet(), fleet());
    let (epoch, node_1) = (SessionEpoch::new(7), uid(1));
    let link = |fleet: &Fleet| fleet.dsc(node_1).get(LINK_PATH).cloned().unwrap();
    here.set_attached(&name("n1"), true);
    here.set_link(node_1, epoch, Link::Up, NOW);
    let told = |fleet: &Fleet| vec![(path(LINK_PATH), link(fleet))];
    there.merge(node_1, told(&here), NOW);
    there.set_link(node_1, epoch, Link::Down, NOW);
    here.merge(node_1, told(&there), NOW);
    assert_eq!(link(&here).value, Some(Link::Up.as_str().into()));
    there.merge(node_1, told(&here), NOW);
    assert_eq!(link(&there), link(&here));
    here.set_link(node_1, epoch, Link::Down, NOW);
    here.set_attached(&name("n1"), false);
    there.merge(node_1, told(&here), NOW);
    assert_eq!(link(&there).value, Some(Link::Down.as_str().into()));
    assert_eq!(link(&there), link(&here));
}

#[test]
fn a_node_speaks_for_itself_and_for_those_attached_to_it() {
    let mut fleet = fleet();
    see(&mut fleet, "/power", "ON", 10);
    fleet.set_object(node(2));
    fleet.merge(uid(2), vec![sighting("/power", "ON", 10, "n2")], NOW);
    assert_eq!(fleet.spoken_to(None).len(), 1);
    let told_again = fleet.set_attached(&name("n2"), true);
    assert_eq!(told_again.paths, [(uid(2), path("/power"))], "its last parent may not have");
    assert_eq!(fleet.spoken_to(None).len(), 2);
    let all = [(uid(1), path("/power")), (uid(2), path("/power")), (uid(2), path("/run"))];
    assert_eq!(fleet.spoken_at(&all.into(), None).len(), 2);
    fleet.set_attached(&name("n2"), false);
    assert_eq!(fleet.spoken_to(None).len(), 1);
}

#[test]
fn a_parent_is_whom_a_node_is_attached_to_and_who_hosts_what_is_no_node() {
    let mut fleet = fleet();
    fleet.set_object(node(2));
    see(&mut fleet, "/power", "ON", 10);
    let of = |fleet: &Fleet, object: &Object| fleet.value(object, &On::Parent, &path("/power"));
    assert_eq!(of(&fleet, &node(2)), None, "attached to nobody");
    // `n1`, whose view this is, says that the link is up.
    fleet.set_link(uid(2), SessionEpoch::new(1), Link::Up, NOW);
    assert_eq!(of(&fleet, &node(2)), Some("ON".into()));
    fleet.set_link(uid(2), SessionEpoch::new(1), Link::Down, NOW);
    assert_eq!(of(&fleet, &node(2)), None);

    let mut app = (*node(3)).clone();
    app.key.kind = name("app");
    assert_eq!(of(&fleet, &app), None, "nobody hosts it");
    app.cfg.set(path(HOST_PATH), "n1".into()).unwrap();
    assert_eq!(of(&fleet, &app), Some("ON".into()));
    app.cfg.set(path(HOST_PATH), "n9".into()).unwrap();
    assert_eq!(of(&fleet, &app), None, "a node that is not there");
}

#[test]
fn who_attaches_to_a_member_tells_it_what_it_wrote_in_an_earlier_life() {
    let mut fleet = fleet();
    see(&mut fleet, "/power", "ON", 10);
    fleet.merge(uid(1), vec![sighting("/run", "UP", 10, "m2")], NOW);
    fleet.merge(uid(1), vec![sighting("/step", "9", 10, "m3")], NOW);
    let mut told = |parent| {
        let spoken = fleet.spoken_to(parent);
        let paths = spoken.into_iter().flat_map(|(_, s)| s).map(|(path, _)| path.to_string());
        paths.collect::<Vec<_>>()
    };
    assert_eq!(told(None), ["/power"]);
    assert_eq!(told(Some(&name("m2"))), ["/power", "/run"]);
}

/// Whether a fleet tells everybody what it holds at a path of its first object.
fn speaks_of(fleet: &Fleet, at: &str) -> bool {
    !fleet.spoken_at(&BTreeSet::from([(uid(1), path(at))]), None).is_empty()
}

#[test]
fn a_members_words_that_another_tells_are_told_to_the_member_alone() {
    let mut fleet = fleet();
    fleet.set_lost(&name("m2"), false);
    fleet.set_lost(&name("m3"), false);
    let words = vec![
        sighting("/run", "UP", 10, "m2"),
        sighting("/step", "9", 10, "m3"),
        sighting("/power", "ON", 10, "n7"),
    ];
    let touched = fleet.merge(uid(1), words, NOW);
    let spoken = fleet.spoken_of(&touched, &name("m3"));
    assert_eq!(spoken, [(uid(1), path("/run"))], "m3 tells its own, and leaves are no members");
    let spoken = spoken.into_iter().collect();
    assert!(fleet.spoken_at(&spoken, Some(&name("m3"))).is_empty());
    assert_eq!(fleet.spoken_at(&spoken, Some(&name("m2"))).len(), 1);
    fleet.set_lost(&name("m2"), true);
    assert_eq!(fleet.spoken_at(&spoken, Some(&name("m3"))).len(), 1, "it speaks for it by now");
}

#[test]
fn who_has_lost_a_member_speaks_for_it_until_it_is_there_again() {
    let mut fleet = fleet();
    let run = [(uid(1), path("/run"))];
    fleet.merge(uid(1), vec![sighting("/run", "UP", 10, "m2")], NOW);
    fleet.merge(uid(1), vec![sighting("/step", "9", 10, "m3")], NOW);
    assert!(!speaks_of(&fleet, "/run"));
    assert_eq!(fleet.set_lost(&name("m2"), true).paths, run);
    assert!(speaks_of(&fleet, "/run"));
    assert!(!speaks_of(&fleet, "/step"));
    assert_eq!(fleet.set_lost(&name("m2"), true), Touched::default(), "it was told");
    assert_eq!(fleet.set_lost(&name("m2"), false).paths, run, "the member itself is to hear it");
    assert!(!speaks_of(&fleet, "/run"));
}

/// `m3` has forgotten what it said, has been told all that was held of it, and hears the rest too:
/// what its earlier life had yet sent, and what another has told since.
#[test]
fn a_members_words_that_come_late_are_told_to_its_next_life() {
    let (m2, m3) = (name("m2"), name("m3"));
    let mut fleet = fleet();
    assert!(fleet.spoken_to(Some(&m3)).is_empty(), "nothing is held yet");
    let touched = fleet.merge(uid(1), vec![sighting("/run", "UP", 10, "m3")], NOW);
    let spoken = fleet.spoken_of(&touched, &m2);
    assert_eq!(spoken, touched.paths, "this node knows m3 since it attached to it");
    let touched = fleet.merge(uid(1), vec![sighting("/run", "UP", 11, "m3")], NOW);
    assert!(fleet.spoken_of(&touched, &m3).is_empty(), "m3 has said so itself");
    assert_eq!(fleet.set_lost(&m3, false).paths, touched.paths, "in a life that is over");
    let paths = touched.paths.into_iter().collect();
    assert_eq!(fleet.spoken_at(&paths, Some(&m3)).len(), 1);
    assert!(fleet.spoken_at(&paths, Some(&m2)).is_empty());
}

/// `m2` thinks a link lost, tells `m3` alone, dies and comes again: `m1`, where the session goes
/// on, hears of it all the same.
#[test]
fn a_word_that_one_member_alone_has_heard_reaches_the_others_by_its_writer() {
    let member = |me: &str| {
        let mut fleet = Fleet::new(name(me), fleet().catalog().clone());
        fleet.set_object(node(1));
        fleet
    };
    let (mut m1, mut m2, mut m3) = (member("m1"), member("m2"), member("m3"));
    let epoch = SessionEpoch::new(7);
    m1.set_attached(&name("n1"), true);
    m1.set_link(uid(1), epoch, Link::Up, NOW);
    let tell = |from: &mut Fleet, to: &mut Fleet| {
        for (uid, sightings) in from.spoken_to(Some(&to.me().clone())) {
            to.merge(uid, sightings, NOW);
        }
    };
    tell(&mut m1, &mut m2);
    m2.set_link(uid(1), epoch, Link::Down, NOW);
    tell(&mut m2, &mut m3);

    let mut m2 = member("m2");
    tell(&mut m1, &mut m2);
    tell(&mut m3, &mut m2);
    tell(&mut m2, &mut m1);
    tell(&mut m1, &mut m2);
    tell(&mut m1, &mut m3);
    for fleet in [&m1, &m2, &m3] {
        let held = held(fleet, LINK_PATH).unwrap();
        assert_eq!(held.value, Some(Link::Up.as_str().into()), "{}", fleet.me());
        assert_eq!(held.stamp.counter, 2);
    }
}

/// A relay says that a node is attached before its own parent has told it of the node.
#[test]
fn what_is_said_of_an_object_before_it_is_known_is_told_once_it_is() {
    let mut fleet = fleet();
    let said = fleet.set_link(uid(2), SessionEpoch::new(7), Link::Up, NOW);
    assert_eq!(said.paths, []);
    let touched = fleet.set_object(node(2));
    assert_eq!(touched.paths, [(uid(2), path(LINK_PATH))]);
    assert_eq!(fleet.set_object(node(2)).paths, []);
}

#[test]
fn what_a_relay_leaves_goes_with_it_and_what_a_member_does_stays() {
    let mut fleet = fleet();
    let members = BTreeSet::from([name("n2")]);
    // By whom each is said to be attached: `n3` is a relay that `m1` had, with one of its own.
    for (ordinal, parent) in [(2, "m1"), (3, "m1"), (4, "n2"), (5, "n3"), (6, "n5"), (7, "n1")] {
        fleet.set_object(node(ordinal));
        fleet.merge(uid(ordinal), vec![sighting(LINK_PATH, "UP", 7, parent)], NOW);
    }
    let left = |here: &[&str]| -> Vec<Uid> {
        let here = |node: &Name| here.contains(&node.as_str());
        let left = fleet.left_by(&name("m1"), here, &members, Pace::NORMAL);
        left.into_iter().map(|(uid, ..)| uid).collect()
    };
    assert_eq!(left(&[]), [uid(2), uid(3), uid(5), uid(6)]);
    assert_eq!(left(&["n3"]), [uid(2)], "with all that is behind it");
    assert_eq!(left(&["n2", "n5"]), [uid(3)]);
}

#[test]
fn who_notices_late_that_its_parent_is_gone_is_left_later() {
    let mut fleet = fleet();
    for ordinal in [2, 3] {
        let mut object = (*node(ordinal)).clone();
        if ordinal == 3 {
            object.labels.insert(name(HEARTBEAT_LABEL), BULK.to_owned());
        }
        fleet.set_object(Arc::new(object));
        fleet.merge(uid(ordinal), vec![sighting(LINK_PATH, "UP", 7, "m1")], NOW);
    }
    for (pace, expected) in [(Pace::NORMAL, vec![uid(2)]), (Pace::BULK, vec![uid(2), uid(3)])] {
        let left = fleet.left_by(&name("m1"), |_| false, &BTreeSet::new(), pace);
        assert_eq!(left.into_iter().map(|(uid, ..)| uid).collect::<Vec<_>>(), expected);
    }
}

#[test]
fn a_link_that_a_member_said_in_an_earlier_life_is_left_unless_its_node_is_here() {
    let mut fleet = fleet();
    fleet.set_object(node(2));
    for (ordinal, value, writer) in [(1, "UP", "n1"), (2, "UP", "m2")] {
        fleet.merge(uid(ordinal), vec![sighting(LINK_PATH, value, 7, writer)], NOW);
    }
    let left = |fleet: &Fleet, member: &str| {
        let left = fleet.left_by(&name(member), |_| false, &BTreeSet::new(), Pace::NORMAL);
        left.into_iter().map(|(uid, ..)| uid).collect::<Vec<_>>()
    };
    assert_eq!(left(&fleet, "n1"), [uid(1)]);
    assert_eq!(left(&fleet, "m2"), [uid(2)]);
    fleet.set_attached(&name("n1"), true);
    assert!(left(&fleet, "n1").is_empty(), "attached here");
    fleet.set_link(uid(2), SessionEpoch::new(7), Link::Down, NOW);
    assert!(left(&fleet, "m2").is_empty());
}

#[test]
fn a_node_has_in_its_charge_itself_what_it_hosts_and_what_is_reached_through_it() {
    let mut fleet = fleet();
    fleet.set_object(node(2));
    let of = |fleet: &Fleet, node: &str| -> Vec<Uid> {
        fleet.charges_of(&name(node)).map(|object| object.uid).collect()
    };
    let at = |revision: u64, kind: &str, cfg: &[(&str, &str)]| {
        let mut object = (*node(3)).clone();
        object.key.kind = name(kind);
        object.revision = Revision::new(revision);
        for (at, value) in cfg {
            object.cfg.set(path(at), (*value).into()).unwrap();
        }
        Arc::new(object)
    };
    let steps: [(Arc<Object>, &[u32], &[u32]); 5] = [
        (at(2, "app", &[(HOST_PATH, "n1")]), &[1, 3], &[2]),
        (at(3, "app", &[(HOST_PATH, "n1"), (VIA_PATH, "n2")]), &[1, 3], &[2, 3]),
        (at(4, "app", &[(HOST_PATH, "n2")]), &[1], &[2, 3]),
        (at(5, "app", &[]), &[1], &[2]),
        // A node hosts itself, whatever its Cfg says.
        (at(6, NODE_KIND, &[(HOST_PATH, "n1"), (VIA_PATH, "n2")]), &[1], &[2, 3]),
    ];
    for (object, first, second) in steps {
        let revision = object.revision;
        fleet.set_object(object);
        let uids = |ordinals: &[u32]| ordinals.iter().map(|o| uid(*o)).collect::<Vec<_>>();
        assert_eq!(of(&fleet, "n1"), uids(first), "revision {revision}");
        assert_eq!(of(&fleet, "n2"), uids(second), "revision {revision}");
    }
    fleet.remove_object(uid(3));
    assert_eq!(of(&fleet, "n2"), [uid(2)]);
}

#[test]
fn what_a_child_said_of_its_charges_is_told_again_where_it_attaches() {
    let mut fleet = fleet();
    fleet.set_object(node(2));
    let mut app = (*node(3)).clone();
    app.key.kind = name("app");
    app.cfg.set(path(HOST_PATH), "n2".into()).unwrap();
    fleet.set_object(Arc::new(app));
    let stamp = Stamp { ms: 5, counter: 0, writer: name("n2") };
    let said = Observed { value: Some("ON".into()), stamp, seen_at: NOW };
    fleet.merge(uid(3), vec![(path("/power"), said)], NOW);
    let told_again = fleet.set_attached(&name("n2"), true);
    assert_eq!(told_again.paths, [(uid(3), path("/power"))]);
}

/// A member's fleet: `n1` hosts the app 3, whose predicates name its host, its owner and the node
/// at `/rack`. That is `n2`, which the member itself speaks of.
fn member(ttl: Option<u64>) -> Fleet {
    let mut power = PathSpec::new("/power", Type::Text);
    power.ttl_ms = ttl;
    let guarded = ["@parent /power = ON", "@owner /power = ON", "@/rack /power = ON", "/fuse = ON"]
        .into_iter()
        .fold(MutationSpec::new("Run").kind("app"), MutationSpec::requires);
    let app = Extension::new("app")
        .kind("app")
        .path(PathSpec::new("/run", Type::Text))
        .path(PathSpec::new("/fuse", Type::Text).seen_by(SeenBy::Parent))
        .path(PathSpec::new("/draws", Type::Text).seen_by(SeenBy::Parent))
        .path(PathSpec::input("/rack", Type::Text));
    let manifest = Manifest::new("power")
        .extension(Extension::new("power").path(power))
        .extension(app)
        .mutation(guarded.changes("/run", From::Any, To::Cfg));
    let manifest =
        manifest.discovers("/power").discovers("/run").discovers("/fuse").discovers("/draws");
    let mut fleet = Fleet::new(name("m1"), Arc::new(Catalog::build(&[manifest]).unwrap()));
    fleet.set_object(node(1));
    fleet.set_object(node(2));
    fleet.set_object(app_of("n2"));
    for ordinal in [1, 2] {
        let values = vec![(path("/power"), Some("ON".into()))];
        fleet.see(uid(ordinal), &stamp(10, "m1"), values, NOW);
    }
    let fuse = ["/fuse", "/draws"].map(|at| (path(at), Some("ON".into())));
    fleet.see(uid(3), &stamp(10, "m1"), fuse.into(), NOW);
    let run = Observed { value: Some("ON".into()), stamp: stamp(10, "n1"), seen_at: NOW };
    fleet.merge(uid(3), vec![(path("/run"), run)], NOW);
    fleet
}

fn app_of(rack: &str) -> Arc<Object> {
    let mut app = (*node(3)).clone();
    app.key.kind = name("app");
    app.owner = Some(uid(2));
    app.cfg.set(path(HOST_PATH), "n1".into()).unwrap();
    app.cfg.set(path("/rack"), rack.into()).unwrap();
    Arc::new(app)
}

/// The leaf `n1`, which was told what a member tells it.
fn leaf(member: &Fleet) -> Fleet {
    let mut leaf = Fleet::new(name("n1"), member.catalog().clone());
    for object in member.charges_of(&name("n1")) {
        leaf.set_object(object.clone());
    }
    let objects = member.elsewhere_of(&name("n1")).sights.into_iter().collect();
    let changed = leaf.set_views(ViewDelta { seq: 1, whole: true, objects }, NOW);
    assert_eq!(changed, [uid(3)].into());
    leaf
}

#[test]
fn a_child_is_told_what_others_see_of_its_own_and_what_its_predicates_name() {
    let told = member(None).elsewhere_of(&name("n1"));
    let sight = &told.sights[&uid(3)];
    assert_eq!(told.sights.len(), 1, "nothing is told of what it sees itself, or goes by");
    let seen: Vec<&str> = sight.seen.iter().map(|(path, _)| path.as_str()).collect();
    assert_eq!(seen, ["/fuse"]);
    let related: Vec<&Relation> = sight.related.iter().map(|related| &related.by).collect();
    let rack = Relation::NamedBy(path("/rack"));
    assert_eq!(related, [&Relation::Owner, &rack], "its parent is the child itself");
    assert_eq!((told.rests_on, told.lacks), ([uid(2)].into(), false));
}

#[test]
fn what_is_named_and_not_known_is_lacking() {
    for (rack, lacks) in [("n2", false), ("n9", true)] {
        let mut fleet = member(None);
        let mut app = (*app_of(rack)).clone();
        app.revision = Revision::new(2);
        fleet.set_object(Arc::new(app));
        assert_eq!(fleet.elsewhere_of(&name("n1")).lacks, lacks, "{rack}");
    }
}

#[test]
fn a_predicate_on_what_is_not_held_is_not_met() {
    let member = member(None);
    let leaf = leaf(&member);
    let value = |leaf: &Fleet, app: &Object, on: &On| {
        leaf.related_value(app, on, &path("/power"), NOW).is_some()
    };
    let rack = On::NamedBy(path("/rack"));
    let app = app_of("n2");
    assert!(value(&leaf, &app, &On::Owner) && value(&leaf, &app, &rack));
    assert!(!value(&leaf, &app, &On::Parent), "of itself it has seen nothing");
    // What leads elsewhere by now is not held.
    let mut moved = (*app_of("n9")).clone();
    moved.owner = Some(uid(9));
    assert!(!value(&leaf, &moved, &On::Owner) && !value(&leaf, &moved, &rack));
    assert!(!value(&Fleet::new(name("n1"), member.catalog().clone()), &app, &On::Owner));
}

#[test]
fn what_was_told_outlives_the_session_until_it_is_older_than_it_is_good_for() {
    for (ttl_ms, cut_off, after_ms, held) in [
        (None, true, u64::MAX / 2, true),
        (Some(1_000), false, 1_000_000, true),
        (Some(1_000), true, 1_000, true),
        (Some(1_000), true, 1_001, false),
    ] {
        let mut leaf = leaf(&member(ttl_ms));
        leaf.set_cut_off(cut_off.then_some(NOW));
        // Not reached again: it is cut off since the first moment.
        leaf.set_cut_off(cut_off.then_some(NOW.after_ms(500)));
        let now = NOW.after_ms(after_ms);
        let value = leaf.related_value(&app_of("n2"), &On::Owner, &path("/power"), now);
        assert_eq!(value.is_some(), held, "{ttl_ms:?} {cut_off} {after_ms}");
        leaf.set_cut_off(None);
        assert!(leaf.related_value(&app_of("n2"), &On::Owner, &path("/power"), now).is_some());
    }
}

#[test]
fn what_is_told_no_more_is_held_no_more() {
    let member = member(None);
    let value = |leaf: &Fleet| leaf.related_value(&app_of("n2"), &On::Owner, &path("/power"), NOW);
    let none = || vec![(uid(3), Sight::default())];
    for (whole, objects, held) in
        [(true, vec![], false), (false, vec![], true), (false, none(), false)]
    {
        let mut leaf = leaf(&member);
        leaf.set_views(ViewDelta { seq: 2, whole, objects }, NOW);
        assert_eq!(value(&leaf).is_some(), held);
    }
    let mut leaf = leaf(&member);
    leaf.remove_object(uid(3));
    leaf.set_object(app_of("n2"));
    assert_eq!(value(&leaf), None, "it went and came back");
}

#[test]
fn a_child_is_told_of_so_many_objects_and_no_more() {
    for (racks, left_out) in [(RELATED_OBJECTS_MAX, 0), (RELATED_OBJECTS_MAX + 1, 1)] {
        let mut fleet = member(None);
        for ordinal in 0..u32::try_from(racks).unwrap() {
            let mut rack = (*node(100 + ordinal)).clone();
            rack.key.name = name(&format!("r{ordinal}"));
            fleet.set_object(Arc::new(rack));
            let mut app = (*app_of(&format!("r{ordinal}"))).clone();
            (app.uid, app.owner) = (uid(1_000 + ordinal), None);
            fleet.set_object(Arc::new(app));
        }
        fleet.remove_object(uid(3));
        let told = fleet.elsewhere_of(&name("n1"));
        assert_eq!((told.rests_on.len(), told.left_out), (RELATED_OBJECTS_MAX, left_out));
    }
}

#[test]
fn what_is_remembered_is_stale_and_told_to_nobody_until_it_is_heard() {
    let mut fleet = fleet();
    fleet.set_object(node(2));
    fleet.set_attached(&name("n2"), true);
    let written = vec![
        sighting("/power", "ON", 90, "n2"),
        sighting(LINK_PATH, "UP", 5, "m9"),
        sighting("/engine/self/phase", "Converged", 90, "n2"),
    ];
    let touched = fleet.recall(uid(2), written.clone());
    assert_eq!(touched.paths, [(uid(2), path("/power"))], "who is attached or decides says so");
    let is_remembered = |fleet: &Fleet| fleet.dsc(uid(2)).get("/power").unwrap().is_remembered();
    let is_told =
        |fleet: &mut Fleet| fleet.spoken_to(None).iter().any(|(object, _)| *object == uid(2));
    assert!(is_remembered(&fleet) && !is_told(&mut fleet));
    let kind = fleet.catalog().kind(&name(NODE_KIND)).unwrap().clone();
    assert!(crate::view::is_stale(&kind, &fleet.dsc(uid(2)), &path("/power"), NOW));

    // An older word counts for more than memory, and memory does not come back.
    let heard = fleet.merge(uid(2), vec![sighting("/power", "OFF", 80, "n2")], NOW);
    assert_eq!(heard.paths, [(uid(2), path("/power"))]);
    assert!(!is_remembered(&fleet) && is_told(&mut fleet));
    assert!(fleet.recall(uid(2), written).paths.is_empty());
    assert_eq!(fleet.dsc(uid(2)).value("/power"), Some(&"OFF".into()));
}

#[test]
fn what_is_seen_as_it_is_remembered_is_news() {
    let mut fleet = fleet();
    fleet.recall(uid(1), vec![sighting("/power", "ON", 10, "n1")]);
    assert_eq!(see(&mut fleet, "/power", "ON", 60), ["/power"]);
    assert_eq!(held(&fleet, "/power").unwrap().stamp, stamp(60, "n1"));
}

#[test]
fn what_is_unknown_is_remembered_as_long_as_there_is_no_cfg() {
    let mut fleet = fleet();
    for ordinal in [1, 2, 3] {
        fleet.recall(uid(ordinal), vec![sighting("/power", "ON", 10, "m2")]);
    }
    let remembered = |fleet: &Fleet| fleet.remembered().map(|(uid, _)| uid).collect::<Vec<_>>();
    assert_eq!(remembered(&fleet), [uid(2), uid(3)], "itself it sees anew");
    fleet.set_object(node(3));
    fleet.set_revision(Revision::new(9), NOW);
    assert_eq!(remembered(&fleet), [uid(3)], "2 was removed meanwhile");
}
