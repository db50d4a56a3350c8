//! Golden graphs.

use super::*;
use crate::{
    manifest::{Extension, From, Manifest, MutationSpec, PathSpec, To, Type},
    planner::{
        Question,
        tests::kit::{World, node_manifest, services_manifest},
    },
};

fn object(world: &World, progress: &Progress<'_>) -> Graph {
    let goal = world.kind().schema.goal(world.cfg(), false);
    let (kind, cfg, facts) = (world.kind(), world.cfg(), world.seen_at());
    of_object(&Question { kind, goal: &goal, cfg, facts }, progress)
}

/// One line an edge: easier on the eye than the whole.
fn lines(graph: &Graph) -> String {
    let label = |id: &str| {
        let node = graph.nodes.iter().find(|node| node.id == id).unwrap();
        let values = node.label.lines().filter_map(|line| line.split(" = ").nth(1));
        values.collect::<Vec<_>>().join("+")
    };
    let line = |edge: &Edge| {
        format!("{:?} {}: {} -> {}", edge.mark, edge.mutation, label(&edge.from), label(&edge.to))
    };
    graph.edges.iter().map(line).collect::<Vec<_>>().join("\n")
}

#[test]
fn a_kind_is_drawn_path_by_path() {
    let extension = Extension::new("e")
        .path(PathSpec::new("/power", Type::enum_of(["OFF", "ON", "HANG"])))
        .path(PathSpec::new("/image", Type::Text));
    let manifest = Manifest::new("m")
        .extension(extension)
        .mutation(MutationSpec::new("On").changes("/power", "OFF", "ON").fail_to("/power", "HANG"))
        .mutation(MutationSpec::new("Off").changes("/power", From::one_of(["ON", "HANG"]), "OFF"))
        .mutation(MutationSpec::new("Look").changes("/power", From::Unknown, "OFF"))
        .mutation(MutationSpec::new("Flash").changes("/image", From::Any, To::Cfg));
    let world = World::new(&[manifest]);
    let graph = of_kind(world.kind());
    insta::assert_snapshot!(graph.to_dot(), @r#"
    digraph mutations {
      rankdir=LR;
      node [shape=box];
      subgraph cluster_0 {
        label="/image";
        "/image=any value" [label="any value"];
        "/image=as Cfg says" [label="as Cfg says"];
      }
      subgraph cluster_1 {
        label="/power";
        "/power=HANG" [label="HANG"];
        "/power=OFF" [label="OFF"];
        "/power=ON" [label="ON"];
        "/power=unknown" [label="unknown"];
      }
      "/image=any value" -> "/image=as Cfg says" [label="m/Flash", color=gray60];
      "/power=HANG" -> "/power=OFF" [label="m/Off", color=gray60];
      "/power=OFF" -> "/power=HANG" [label="m/On", color=red, style=dashed];
      "/power=OFF" -> "/power=ON" [label="m/On", color=gray60];
      "/power=ON" -> "/power=OFF" [label="m/Off", color=gray60];
      "/power=unknown" -> "/power=OFF" [label="m/Look", color=gray60];
    }
    "#);
    assert!(!graph.truncated);
}

#[test]
fn an_objects_plan_is_marked() {
    let world =
        World::new(&[node_manifest()]).seen("/physState", "POWER_OFF").asks("/runState", "SYNC");
    let plan = world.plan().unwrap();
    let first = &plan.steps[0].instance;
    let progress = Progress { done: &[], in_flight: Some(first), to_do: &plan.steps };
    let graph = object(&world, &progress);
    insta::assert_snapshot!(lines(&graph), @r"
    InFlight node/PowerOn: POWER_OFF+unknown -> POWER_ON+unknown
    Possible node/PowerOff: POWER_ON+SYNC -> POWER_OFF+unknown
    Possible node/PowerOff: POWER_ON+INIT -> POWER_OFF+unknown
    ToDo node/Sync: POWER_ON+INIT -> POWER_ON+SYNC
    Possible node/PowerOff: POWER_ON+unknown -> POWER_OFF+unknown
    ToDo node/Boot: POWER_ON+unknown -> POWER_ON+INIT
    ");
    insta::assert_snapshot!(graph.to_mermaid(), @r#"
    flowchart LR
      n0["/physState = POWER_OFF<br>/runState = unknown"]
      n1["/physState = POWER_ON<br>/runState = unknown"]
      n2["/physState = POWER_ON<br>/runState = INIT"]
      n3["/physState = POWER_ON<br>/runState = SYNC"]
      n0 ==>|"node/PowerOn"| n1
      n3 -->|"node/PowerOff"| n0
      n2 -->|"node/PowerOff"| n0
      n2 ==>|"node/Sync"| n3
      n1 -->|"node/PowerOff"| n0
      n1 ==>|"node/Boot"| n2
    "#);

    let later = world.seen("/physState", "POWER_ON");
    let rest = later.plan().unwrap();
    let progress = Progress { done: &plan.steps[..1], in_flight: None, to_do: &rest.steps };
    let graph = object(&later, &progress);
    let done: Vec<&Edge> = graph.edges.iter().filter(|edge| edge.mark == Mark::Done).collect();
    assert_eq!(done.len(), 1);
    assert_eq!(done[0].mutation, "node/PowerOn");
    assert_eq!(graph.edges.iter().filter(|edge| edge.mark == Mark::ToDo).count(), 2);
}

#[test]
fn ids_are_the_same_in_every_run() {
    let world = World::new(&[services_manifest()])
        .seen("/services/a/state", "RUN")
        .asks("/services/a/state", "STOP");
    let graph = object(&world, &Progress::default());
    assert_eq!(graph.nodes[0].id, "s4fb73da398409886");
    assert_eq!(graph, object(&world, &Progress::default()));
}

#[test]
fn paths_that_do_not_touch_are_drawn_apart() {
    let mut world = World::new(&[services_manifest()]);
    for service in 0..20 {
        world = world
            .seen(&format!("/services/s{service}/state"), "STOP")
            .asks(&format!("/services/s{service}/state"), "RUN");
    }
    let graph = object(&world, &Progress::default());
    assert!(graph.nodes.len() <= 20 * 3, "{}", graph.nodes.len());
}

#[test]
fn a_large_graph_is_cut_and_says_so() {
    let mut extension = Extension::new("bits");
    let mut manifest = Manifest::new("m");
    for bit in 0..12 {
        let path = format!("/b{bit}");
        extension = extension.path(PathSpec::new(&path, Type::Bool));
        let mut flip = MutationSpec::new(&format!("Flip{bit}")).changes(&path, From::Any, true);
        if bit > 0 {
            flip = flip.requires(&format!("/b{} known", bit - 1));
        }
        manifest = manifest.mutation(flip).discovers(&path);
        let back = MutationSpec::new(&format!("Back{bit}")).changes(&path, true, false);
        manifest = manifest.mutation(back);
    }
    let world = World::new(&[manifest.extension(extension)]).asks("/b11", true);
    let plan = world.plan().unwrap();
    let progress = Progress { done: &[], in_flight: None, to_do: &plan.steps };
    let graph = object(&world, &progress);
    assert!(graph.truncated);
    assert_eq!(graph.nodes.len(), GRAPH_NODES_MAX);
    let to_do = graph.edges.iter().filter(|edge| edge.mark == Mark::ToDo).count();
    assert_eq!(to_do, plan.steps.len(), "the plan is never cut");
}

#[test]
fn a_picture_has_these_bytes() {
    let world =
        World::new(&[node_manifest()]).seen("/physState", "POWER_OFF").asks("/runState", "SYNC");
    let plan = world.plan().unwrap();
    let first = &plan.steps[0].instance;
    let progress = Progress { done: &[], in_flight: Some(first), to_do: &plan.steps };
    insta::assert_snapshot!("svg", object(&world, &progress).to_svg());
}

/// All boxes of a layout, those through which lines pass aside.
fn boxes(layout: &layout::Layout) -> Vec<layout::Placed> {
    let shown = |held: &&layout::Placed| !matches!(held.shows, layout::Shows::Passing(_));
    layout.boxes.iter().filter(shown).copied().collect()
}

fn overlap(one: &layout::Placed, other: &layout::Placed) -> bool {
    (one.x - other.x).abs() < f64::midpoint(one.width, other.width)
        && (one.y - other.y).abs() < f64::midpoint(one.height, other.height)
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(64))]
    #[test]
    fn no_name_lies_on_another_or_on_a_state(
        ends in proptest::collection::vec((0..12_usize, 0..12_usize, 0..3_usize), 1..40),
        current in 0..12_usize,
    ) {
        let node = |index: usize| Node {
            id: format!("s{index}"),
            group: "g".to_owned(),
            label: format!("/power = {}\n/other = {index}", "X".repeat(index)),
            current: index == current,
            wanted: false,
        };
        let edge = |(index, (from, to, mark)): (usize, &(usize, usize, usize))| Edge {
            from: format!("s{from}"),
            to: format!("s{to}"),
            mutation: format!("module/Mutation{index}"),
            context: Context::Itself,
            cost_ms: 1,
            disruptive: false,
            mark: [Mark::Possible, Mark::Failure, Mark::ToDo][*mark],
        };
        let nodes: Vec<Node> = (0..12).map(node).collect();
        let edges: Vec<Edge> = ends.iter().enumerate().map(edge).collect();
        let layout = layout::lay_out(&nodes, &edges.iter().collect::<Vec<_>>());
        let boxes = boxes(&layout);
        for (place, one) in boxes.iter().enumerate() {
            for other in &boxes[..place] {
                proptest::prop_assert!(!overlap(one, other), "{one:?} {other:?}");
            }
            proptest::prop_assert!(one.x + one.width / 2.0 <= layout.width + 0.01);
            proptest::prop_assert!(one.y + one.height / 2.0 <= layout.height + 0.01);
        }
        let again = layout::lay_out(&nodes, &edges.iter().collect::<Vec<_>>());
        proptest::prop_assert_eq!(format!("{layout:?}"), format!("{again:?}"));
    }
}
