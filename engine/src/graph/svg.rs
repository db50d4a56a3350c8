//! Graphs as SVG, drawn here so that nothing else has to be installed to see them. Light or dark as
//! the reader's page is.

use std::fmt::Write;

use super::{
    Edge, Graph, Mark, Node,
    layout::{LINE_PX, Layout, Line, Placed, Shows, lay_out, width_of},
    line,
};

/// Room round the picture and round each group, in pixels.
const MARGIN_PX: f64 = 16.0;
/// Room for the name of a group.
const TITLE_PX: f64 = 26.0;

/// Written without variables, which only browsers know: what other programs show is the light one.
const STYLE: &str = "\
  <style>
    text { font: 12px ui-monospace, SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', monospace;
      fill: #1c2530; }
    .paper { fill: #ffffff; } .frame { fill: none; stroke: #d5dbe2; }
    .state { fill: #f4f6f8; stroke: #8894a2; }
    .here { fill: #fff3c4; stroke-width: 2; } .wanted { stroke: #1a7f37; stroke-width: 2.5; }
    .line { fill: none; stroke: #8894a2; stroke-width: 1.2; }
    .tip, .group { fill: #6b7785; }
    .line.waits { stroke-dasharray: 2 3; }
    .line.failure { stroke: #c62828; stroke-dasharray: 5 3; } .failure { fill: #c62828; }
    .line.done { stroke: #1a7f37; stroke-width: 2; } .done { fill: #1a7f37; }
    .line.inFlight { stroke: #bc4c00; stroke-width: 3; }
    .inFlight { fill: #bc4c00; font-weight: bold; }
    .line.toDo { stroke: #0a58ca; stroke-width: 2; } .toDo { fill: #0a58ca; }
    .line.failure, .line.done, .line.inFlight, .line.toDo { fill: none; }
    @media (prefers-color-scheme: dark) {
      text { fill: #e4e9ef; } .paper { fill: #12171d; } .frame { stroke: #323b45; }
      .state { fill: #1e252d; stroke: #8592a0; } .here { fill: #4d4213; }
      .wanted { stroke: #4cc26b; } .line { stroke: #8592a0; } .tip, .group { fill: #97a3b0; }
      .line.failure { stroke: #ff7b72; } .failure { fill: #ff7b72; }
      .line.done { stroke: #4cc26b; } .done { fill: #4cc26b; }
      .line.inFlight { stroke: #ff9d4d; } .inFlight { fill: #ff9d4d; }
      .line.toDo { stroke: #6ea8ff; } .toDo { fill: #6ea8ff; }
      .line.failure, .line.done, .line.inFlight, .line.toDo { fill: none; }
    }
  </style>
";

impl Graph {
    /// The graph as a picture that browsers show.
    pub fn to_svg(&self) -> String {
        let mut groups: Vec<(&str, &[Node], Layout)> = Vec::new();
        for nodes in self.nodes.chunk_by(|a, b| a.group == b.group) {
            let inside = |id: &String| nodes.iter().any(|node| node.id == *id);
            let edges: Vec<&Edge> = self.edges.iter().filter(|edge| inside(&edge.from)).collect();
            let name = nodes.first().map_or("", |node| node.group.as_str());
            groups.push((name, nodes, lay_out(nodes, &edges)));
        }
        let wide = |(name, _, layout): &(&str, &[Node], Layout)| {
            layout.width.max(width_of(name.chars().count()))
        };
        let width = groups.iter().map(wide).fold(width_of(20), f64::max) + 4.0 * MARGIN_PX;
        let tall = |layout: &Layout| layout.height + TITLE_PX + 2.0 * MARGIN_PX;
        let height = groups.iter().map(|(.., layout)| tall(layout)).sum::<f64>() + MARGIN_PX;
        let mut svg = String::new();
        line(
            &mut svg,
            format_args!(
                "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width:.0}\" height=\"{height:.0}\" \
             viewBox=\"0 0 {width:.0} {height:.0}\" role=\"img\" aria-label=\"mutation graph\">"
            ),
        );
        svg.push_str(STYLE);
        line(&mut svg, format_args!("  <rect class=\"paper\" width=\"100%\" height=\"100%\"/>"));
        let mut top = MARGIN_PX;
        for (name, nodes, layout) in &groups {
            let (inner, tall) = (width - 2.0 * MARGIN_PX, tall(layout) - MARGIN_PX);
            line(
                &mut svg,
                format_args!(
                    "  <rect class=\"frame\" x=\"{MARGIN_PX:.1}\" y=\"{top:.1}\" width=\"{inner:.1}\" \
                 height=\"{tall:.1}\" rx=\"6\"/>"
                ),
            );
            text(&mut svg, "group", (2.0 * MARGIN_PX, top + 18.0), "start", name);
            let origin = (2.0 * MARGIN_PX, top + TITLE_PX);
            draw(&mut svg, nodes, layout, origin);
            top += tall + MARGIN_PX;
        }
        svg.push_str("</svg>\n");
        svg
    }
}

fn draw(svg: &mut String, nodes: &[Node], layout: &Layout, (left, top): (f64, f64)) {
    let shift = |placed: &Placed| Placed { x: placed.x + left, y: placed.y + top, ..*placed };
    let boxes: Vec<Placed> = layout.boxes.iter().map(shift).collect();
    for held in &layout.lines {
        draw_line(svg, held, &boxes);
    }
    for placed in &boxes {
        match placed.shows {
            Shows::State(place) => draw_state(svg, &nodes[place], placed),
            Shows::Names(place) => draw_names(svg, &layout.lines[place], placed),
            Shows::Passing(_) => {}
        }
    }
}

fn draw_state(svg: &mut String, node: &Node, placed: &Placed) {
    let mut class = String::from("state");
    class.push_str(if node.current { " here" } else { "" });
    class.push_str(if node.wanted { " wanted" } else { "" });
    let (x, y) = (placed.x - placed.width / 2.0, placed.y - placed.height / 2.0);
    let Placed { width, height, .. } = placed;
    line(
        svg,
        format_args!(
            "  <rect id=\"{}\" class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" \
         height=\"{height:.1}\" rx=\"5\"/>",
            escaped(&node.id)
        ),
    );
    lines(svg, "value", placed, node.label.lines());
}

fn draw_names(svg: &mut String, held: &Line, placed: &Placed) {
    let class = format!("name {}", class(held.mark));
    lines(svg, class.trim_end(), placed, held.names.iter().map(String::as_str));
}

/// Lines of text about the middle of a box.
fn lines<'a>(
    svg: &mut String,
    class: &str,
    placed: &Placed,
    all: impl Iterator<Item = &'a str> + Clone,
) {
    let count = u32::try_from(all.clone().count()).unwrap_or(u32::MAX);
    let first = placed.y - LINE_PX * (f64::from(count) - 1.0) / 2.0 + 4.0;
    for (index, content) in (0_u32..).zip(all) {
        let at = (placed.x, first + f64::from(index) * LINE_PX);
        text(svg, class, at, "middle", content);
    }
}

/// One line of an edge: through the middle of where it passes, to the sides of the boxes at its
/// ends.
fn draw_line(svg: &mut String, held: &Line, boxes: &[Placed]) {
    let mut path = String::new();
    let class = class(held.mark);
    let mut tip = None;
    for pair in held.way.windows(2) {
        let [one, other] = pair else { continue };
        let (one, other) = (&boxes[*one], &boxes[*other]);
        // Within one column, and back again, a line bends on the right.
        let rightward = other.column > one.column;
        let (out, into) = if rightward { (1.0, -1.0) } else { (-1.0, 1.0) };
        let from = (one.x + out * one.width / 2.0, port(one, other));
        let is_last = matches!(other.shows, Shows::State(_));
        let gap = if is_last { into * 8.0 } else { 0.0 };
        let to = (other.x + into * other.width / 2.0 + gap, port(other, one));
        let bend = (to.0 - from.0) / 2.0;
        let _ = write!(
            path,
            "M{:.1} {:.1}C{:.1} {:.1} {:.1} {:.1} {:.1} {:.1}",
            from.0,
            from.1,
            from.0 + bend,
            from.1,
            to.0 - bend,
            to.1,
            to.0,
            to.1
        );
        tip = is_last.then_some((to, into));
        if matches!(other.shows, Shows::Names(_)) {
            // Under the names the line goes on, so that it is seen whose they are.
            let below = other.y + other.height / 2.0;
            let (near, far) = (other.x - other.width / 2.0, other.x + other.width / 2.0);
            let _ = write!(path, "M{near:.1} {below:.1}H{far:.1}");
        }
    }
    line(svg, format_args!("  <path class=\"{}\" d=\"{path}\"/>", format!("line {class}").trim()));
    if let Some(((x, y), into)) = tip {
        let point = x - into * 8.0;
        let (above, below) = (y - 4.0, y + 4.0);
        line(
            svg,
            format_args!(
                "  <path class=\"{}\" \
                 d=\"M{point:.1} {y:.1}L{x:.1} {above:.1}L{x:.1} {below:.1}Z\"/>",
                format!("tip {class}").trim()
            ),
        );
    }
}

/// At which height a line meets a box: names are underlined, states are met towards the other end.
fn port(placed: &Placed, other: &Placed) -> f64 {
    match placed.shows {
        Shows::Names(_) => placed.y + placed.height / 2.0,
        Shows::Passing(_) => placed.y,
        Shows::State(_) => {
            let room = (placed.height / 2.0 - 5.0).max(0.0);
            placed.y + ((other.y - placed.y) / 4.0).clamp(-room, room)
        }
    }
}

fn class(mark: Mark) -> &'static str {
    match mark {
        Mark::Possible => "",
        Mark::Waits => "waits",
        Mark::Failure => "failure",
        Mark::Done => "done",
        Mark::InFlight => "inFlight",
        Mark::ToDo => "toDo",
    }
}

fn text(svg: &mut String, class: &str, (x, y): (f64, f64), anchor: &str, content: &str) {
    let content = escaped(content);
    line(
        svg,
        format_args!(
            "  <text class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\" \
             text-anchor=\"{anchor}\">{content}</text>"
        ),
    );
}

fn escaped(text: &str) -> String {
    let escaped = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    escaped.replace('"', "&quot;")
}
