//! Nodes below relays: what stands of their links, and when they may be told of.

use super::*;

/// What is said of a link in a session, so many times.
fn link(value: Link, epoch: u64, counter: u32, writer: &str) -> Sighting {
    let stamp = Stamp { ms: epoch, counter, writer: name(writer) };
    let value = Some(value.as_str().into());
    (path(LINK_PATH), Observed { value, stamp, seen_at: NOW })
}

/// The fleet of `n1`; the relay `n2` is attached to `parent`, and `n3` is below it.
fn with_relay(parent: &str) -> Fleet {
    let mut fleet = fleet();
    for ordinal in [2, 3] {
        fleet.set_object(node(ordinal));
        fleet.set_attached(&name(&format!("n{ordinal}")), true);
    }
    fleet.merge(uid(2), vec![link(Link::Up, 5, 0, parent)], NOW);
    fleet
}

#[test]
fn a_link_below_a_relay_that_another_says_is_down_is_up_again() {
    let (up, down) = (link(Link::Up, 7, 0, "n2"), link(Link::Down, 7, 1, "m9"));
    for (first, then) in [(&up, &down), (&down, &up)] {
        let mut fleet = with_relay("n1");
        fleet.merge(uid(3), vec![first.clone()], NOW);
        let told = fleet.merge(uid(3), vec![then.clone()], NOW);
        let held = fleet.seen(uid(3)).unwrap().get(LINK_PATH).unwrap().clone();
        assert_eq!((path(LINK_PATH), held), link(Link::Up, 7, 2, "n2"));
        assert!(told.paths.contains(&(uid(3), path(LINK_PATH))), "others are told");
    }
}

#[test]
fn what_another_says_of_a_link_stands_where_the_session_is_over_or_elsewhere() {
    let (up, down) = (link(Link::Up, 7, 0, "n2"), link(Link::Down, 7, 1, "m9"));
    let newer = link(Link::Down, 8, 1, "m9");
    let mut left = with_relay("n1");
    left.set_attached(&name("n3"), false);
    for (mut fleet, then) in [(with_relay("m9"), &down), (left, &down), (with_relay("n1"), &newer)]
    {
        fleet.merge(uid(3), vec![up.clone()], NOW);
        fleet.merge(uid(3), vec![then.clone()], NOW);
        assert!(!fleet.is_up(uid(3)), "{then:?}");
    }
}

#[test]
fn a_relay_tells_of_a_node_once_it_was_told_all_of_it() {
    let mut fleet = with_relay("n1");
    fleet.merge(uid(3), vec![sighting("/power", "ON", 10, "n3")], NOW);
    assert!(fleet.is_whole(&name("n3")), "a member has it of the quorum");
    fleet.begin_below();
    assert!(!fleet.is_whole(&name("n3")));
    let told_again = fleet.set_whole(vec![name("n3")]);
    assert_eq!(told_again.paths, [(uid(3), path("/power"))]);
    assert!(fleet.is_whole(&name("n3")) && !fleet.is_whole(&name("n2")));
    fleet.remove_object(uid(3));
    assert!(!fleet.is_whole(&name("n3")));
}

#[test]
fn the_link_that_a_relay_has_said_is_told_where_the_relay_is_attached() {
    let mut fleet = fleet();
    fleet.set_object(node(2));
    fleet.set_object(node(3));
    fleet.merge(uid(3), vec![link(Link::Up, 7, 0, "n2")], NOW);
    assert!(fleet.set_attached(&name("n3"), true).paths.is_empty(), "nobody speaks for n2 here");
    fleet.set_attached(&name("n2"), true);
    let told_again = fleet.set_attached(&name("n3"), true);
    assert_eq!(told_again.paths, [(uid(3), path(LINK_PATH))]);
}
