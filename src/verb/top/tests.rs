//! What `kraken top` makes of keys and news, and how it looks.

use std::time::{Duration, SystemTime};

use kraken_http::view::{List, ObjectView};
use ratatui::{Terminal, backend::TestBackend};
use serde_json::{Value as Json, json};

use super::{
    draw::draw,
    order::Sort,
    state::{Input, Key, State, View, Wish},
};
use crate::look::Look;

fn node(name: &str, phase: &str, since: &str, more: Json) -> Json {
    let mut status = json!({
        "phase": phase, "revision": 9, "step": null, "reason": null, "waitsFor": null,
        "since": format!("1970-01-01T00:{since}.000Z"), "attempts": 0, "lastError": null,
        "nextRetry": null,
    });
    for (key, value) in more.as_object().into_iter().flatten() {
        status[key] = value.clone();
    }
    json!({
        "kind": "node", "name": name, "uid": name, "revision": 9, "created": "",
        "labels": { "rack": if name.len() > 2 { "r2" } else { "r1" } },
        "dsc": { "link": "UP" }, "status": if phase.is_empty() { Json::Null } else { status },
    })
}

fn list(items: &[Json]) -> List<ObjectView> {
    serde_json::from_value(json!({ "revision": 9, "items": items, "continue": null })).unwrap()
}

fn fleet() -> List<ObjectView> {
    list(&[
        node("n1", "Converged", "00:10", Json::Null),
        node("n10", "InFlight", "00:50", json!({ "step": "power/PowerOn" })),
        node(
            "n2",
            "Quarantined",
            "00:20",
            json!({
                "step": "service/Start(web)", "lastError": "command \"nginx\" was not found",
            }),
        ),
        node("n3", "Frozen", "00:30", json!({ "reason": "by ann (rack=r1)" })),
        node("n4", "", "", Json::Null),
    ])
}

fn state() -> State {
    let mut state = State::new(Look::default());
    assert_eq!(state.take(Input::Nodes(fleet())), Wish::Nothing);
    state
}

fn shown(state: &State) -> String {
    state.shown().map(|node| node.name.as_str()).collect::<Vec<_>>().join(" ")
}

/// Presses keys: a letter each; `<` is Back, `>` Enter, `^` Up, `v` Down, `-` Erase, `}` PageDown.
fn press(state: &mut State, keys: &str) -> Wish {
    let mut last = Wish::Nothing;
    for key in keys.chars() {
        last = state.take(Input::Key(match key {
            '<' => Key::Back,
            '>' => Key::Enter,
            '^' => Key::Up,
            'v' => Key::Down,
            '-' => Key::Erase,
            '}' => Key::PageDown,
            char => Key::Char(char),
        }));
    }
    last
}

#[test]
fn keys_choose_and_order_what_is_shown() {
    for (keys, expected, selected) in [
        ("", "n2 n4 n10 n3 n1", "n2"),
        ("s", "n1 n2 n3 n4 n10", "n2"),
        ("sr", "n10 n4 n3 n2 n1", "n2"),
        ("ss", "n4 n1 n2 n3 n10", "n2"),
        ("sss", "n10 n2 n1 n3 n4", "n2"),
        ("ssss", "n2 n4 n10 n3 n1", "n2"),
        ("a", "n2 n4 n10 n3", "n2"),
        ("aa", "n2 n4 n10 n3 n1", "n2"),
        ("/NGINX>", "n2", "n2"),
        ("/rack=r2>", "n10", "n10"),
        ("/n1", "n10 n1", "n10"),
        ("/n1>v", "n10 n1", "n1"),
        ("/n1-2>", "n2", "n2"),
        ("/nothing", "", ""),
        ("/n3<", "n2 n4 n10 n3 n1", "n3"),
        ("/n3><", "n2 n4 n10 n3 n1", "n3"),
        ("v", "n2 n4 n10 n3 n1", "n4"),
        ("vvs", "n1 n2 n3 n4 n10", "n10"),
        ("G", "n2 n4 n10 n3 n1", "n1"),
        ("Gg", "n2 n4 n10 n3 n1", "n2"),
        ("vvvvvvv^", "n2 n4 n10 n3 n1", "n3"),
        ("}}", "n2 n4 n10 n3 n1", "n10"),
    ] {
        let mut state = state();
        press(&mut state, keys);
        let place = state.selected().and_then(|place| state.shown().nth(place));
        let name = place.map_or("", |node| node.name.as_str());
        assert_eq!((shown(&state).as_str(), name), (expected, selected), "{keys:?}");
    }
    assert_eq!(Sort::Step.next(), Sort::Attention);
}

#[test]
fn keys_lead_in_and_out() {
    let why = |name: &str| Wish::Why(name.to_owned());
    for (keys, wish, view) in [
        ("q", Wish::Leave, "fleet"),
        ("<", Wish::Nothing, "fleet"),
        ("v>", why("n4"), "node"),
        (">q", Wish::Nothing, "fleet"),
        (">qq", Wish::Leave, "fleet"),
        ("?", Wish::Nothing, "keys"),
        ("?x<", Wish::Nothing, "fleet"),
        (">?", Wish::Nothing, "keys"),
        ("/q", Wish::Nothing, "fleet"),
        ("/nothing>>", Wish::Nothing, "fleet"),
    ] {
        let mut state = state();
        assert_eq!(press(&mut state, keys), wish, "{keys:?}");
        let is = match &state.view {
            View::Fleet => "fleet",
            View::Node(_) => "node",
            View::Keys => "keys",
        };
        assert_eq!(is, view, "{keys:?}");
        assert_eq!(state.take(Input::Key(Key::Interrupt)), Wish::Leave);
    }
}

#[test]
fn the_selected_node_stays_selected_and_its_place_when_it_goes() {
    let mut state = state();
    press(&mut state, "vv");
    let mut items: Vec<Json> =
        fleet().items.iter().map(|n| serde_json::to_value(n).unwrap()).collect();
    items[0] = node("n1", "Stuck", "00:55", Json::Null);
    state.take(Input::Nodes(list(&items)));
    assert_eq!((shown(&state).as_str(), state.selected()), ("n2 n1 n4 n10 n3", Some(3)));
    items.remove(1);
    state.take(Input::Nodes(list(&items)));
    assert_eq!((shown(&state).as_str(), state.selected()), ("n2 n1 n4 n3", Some(3)));
    state.take(Input::Nodes(list(&[])));
    assert_eq!((state.selected(), press(&mut state, "v>")), (None, Wish::Nothing));
}

#[test]
fn answers_about_another_node_are_passed_over() {
    let mut state = state();
    assert_eq!(state.tick(), Wish::Nothing);
    press(&mut state, ">");
    assert_eq!(state.tick(), Wish::Why("n2".to_owned()));
    for (name, is_taken) in [("n4", false), ("n2", true)] {
        state.take(Input::Why(name.to_owned(), Err("gone".to_owned())));
        let View::Node(looked) = &state.view else { panic!("{:?}", state.view) };
        assert_eq!(looked.why.is_some(), is_taken, "{name}");
    }
}

#[test]
fn what_is_searched_for_has_a_longest() {
    let mut state = state();
    press(&mut state, &format!("/{}", "x".repeat(65)));
    assert_eq!(state.search.len(), 64);
}

fn screen(state: &mut State, width: u16, height: u16) -> String {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    let now = SystemTime::UNIX_EPOCH + Duration::from_mins(1);
    terminal.draw(|frame| draw(frame, state, now)).unwrap();
    let buffer = terminal.backend().buffer();
    let row = |y| {
        let cells = (0..buffer.area.width).map(|x| buffer[(x, y)].symbol());
        cells.collect::<String>().trim_end().to_owned()
    };
    (0..buffer.area.height).map(row).collect::<Vec<_>>().join("\n")
}

fn quorum() -> Input {
    let member = |id: u64, name: &str, voter: bool, matched: Option<u64>| {
        json!({
            "id": id, "name": name, "raft": "h:1", "http": "http://h:2", "sync": "h:3",
            "level": 1, "voter": voter, "matched": matched,
        })
    };
    let quorum = json!({
        "cluster": 255, "member": 1, "role": "LEADER", "term": 3, "leader": 1, "revision": 20,
        "applied": 20, "lastLog": 21, "node": "m1", "version": "0.1.0", "leaderName": "m1",
        "epoch": 1, "level": 1,
        "members": [
            member(1, "m1", true, Some(21)), member(4, "m2", true, Some(19)),
            member(9, "m3", false, None),
        ],
    });
    Input::Quorum(serde_json::from_value(quorum).unwrap())
}

#[test]
fn the_fleet_fills_the_screen() {
    let mut state = state();
    insta::assert_snapshot!(screen(&mut state, 90, 10), @r#"
    quorum: not heard of yet
    5 nodes   1 undecided   1 Converged   1 Frozen   1 InFlight   1 Quarantined   by attention
    NAME   LINK    PHASE         SINCE    STEP                 REASON
    n2     UP      Quarantined   40s      service/Start(web)   command "nginx" was not found
    n4     UP      -             -        -                    -
    n10    UP      InFlight      10s      power/PowerOn        -
    n3     UP      Frozen        30s      -                    by ann (rack=r1)
    n1     UP      Converged     50s      -                    -

    Enter why   / search   s sort   r reverse   a all or open   ? keys   q leave
    "#);
    state.take(quorum());
    press(&mut state, "sr");
    state.take(Input::Lost("no server answers at http://h:2".to_owned()));
    insta::assert_snapshot!(screen(&mut state, 60, 7), @r#"
    cluster ff, led by m1, term 3, revision 20, 2 voting and 1 l
    5 nodes   1 undecided   1 Converged   1 Frozen   1 InFlight
    NAME   LINK    PHASE         SINCE    STEP        REASON
    n4     UP      -             -        -           -
    n3     UP      Frozen        30s      -           by ann (ra
    n2     UP      Quarantined   40s      service/S   command "n
    not heard of now: no server answers at http://h:2
    "#);
    press(&mut state, "/n1");
    insta::assert_snapshot!(screen(&mut state, 60, 7), @r"
    cluster ff, led by m1, term 3, revision 20, 2 voting and 1 l
    5 nodes   1 undecided   1 Converged   1 Frozen   1 InFlight
    NAME   LINK    PHASE         SINCE    STEP        REASON
    n10    UP      InFlight      10s      power/Pow   -
    n1     UP      Converged     50s      -           -

    /n1_   2 found, Esc shows all
    ");
}

#[test]
fn a_node_fills_the_screen_and_is_scrolled_to_its_end_and_no_further() {
    let mut state = state();
    press(&mut state, ">");
    insta::assert_snapshot!(screen(&mut state, 70, 5), @r"
    quorum: not heard of yet
    5 nodes   1 undecided   1 Converged   1 Frozen   1 InFlight   1 Quaran
    n2: asking why it stands where it stands

    Up, Down scroll   Esc back   ? keys   Ctrl-C leave
    ");
    let why = json!({
        "object": "node/n2", "uid": "u2", "revision": 9, "deleting": false, "frozen": null,
        "link": "UP",
        "differences": [
            { "path": "/services/web/state", "wanted": "RUN", "seen": null, "stale": false },
        ],
        "status": node("n2", "Quarantined", "00:20", Json::Null)["status"],
        "lanes": { "self": null, "quorum": null },
        "plan": { "steps": [], "costMs": 0, "waitsFor": [], "blocked": [] },
        "whoMustAct": "an operator",
    });
    state.take(Input::Why("n2".to_owned(), Ok(serde_json::from_value(why).unwrap())));
    insta::assert_snapshot!(screen(&mut state, 70, 12), @r"
    quorum: not heard of yet
    5 nodes   1 undecided   1 Converged   1 Frozen   1 InFlight   1 Quaran
    object:    node/n2
    link:      UP
    phase:     Quarantined for 40s, as of revision 9
    who acts:  an operator

    PATH                  WANTED   SEEN
    /services/web/state   RUN      unknown


    Up, Down scroll   Esc back   ? keys   Ctrl-C leave
    ");
    press(&mut state, "}}}}v");
    insta::assert_snapshot!(screen(&mut state, 70, 6), @r"
    quorum: not heard of yet
    5 nodes   1 undecided   1 Converged   1 Frozen   1 InFlight   1 Quaran

    PATH                  WANTED   SEEN
    /services/web/state   RUN      unknown
    Up, Down scroll   Esc back   ? keys   Ctrl-C leave
    ");
}

#[test]
fn the_keys_are_told() {
    let mut state = state();
    press(&mut state, "?");
    insta::assert_snapshot!(screen(&mut state, 70, 13), @r"
    quorum: not heard of yet
    5 nodes   1 undecided   1 Converged   1 Frozen   1 InFlight   1 Quaran
    Up, Down, k, j       one up, one down
    PageUp, PageDown     a page up, a page down
    Home, End, g, G      to the first, to the last
    Enter                look into a node: why it stands where it stands
    /                    search: n[1-64], @rack=r1, a phase, any text
    s                    sort by something else: attention, name, since, s
    r                    turn the order round
    a                    leave out what has converged, or show all
    Esc                  back; forget what was searched for
    q, Ctrl-C            leave
    Up, Down scroll   Esc back   ? keys   Ctrl-C leave
    ");
}

#[test]
fn no_terminal_is_too_small() {
    let mut state = state();
    state.take(quorum());
    for (width, height) in [(1, 1), (5, 2), (10, 3), (300, 1), (1, 100)] {
        for keys in ["", ">", "<?", "</n"] {
            press(&mut state, keys);
            screen(&mut state, width, height);
        }
        press(&mut state, "<<");
    }
}

#[test]
fn colour_is_only_where_it_may_be() {
    for has_colour in [false, true] {
        let mut state = State::new(Look { has_colour, ..Look::default() });
        state.take(Input::Nodes(fleet()));
        let mut terminal = Terminal::new(TestBackend::new(90, 10)).unwrap();
        terminal.draw(|frame| draw(frame, &mut state, SystemTime::UNIX_EPOCH)).unwrap();
        let cells = terminal.backend().buffer().content();
        let is_coloured = cells.iter().any(|cell| cell.fg != ratatui::style::Color::Reset);
        assert_eq!(is_coloured, has_colour);
    }
}
