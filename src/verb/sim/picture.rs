//! The timeline of a simulation as a picture: phases stacked over time, in light and in dark.

use kraken_engine::world::crowd::{Report, Sample};

/// Size of the drawing within the picture, in its own units.
const WIDTH: u64 = 860;
const HEIGHT: u64 = 320;
/// Where it begins.
const LEFT: u64 = 70;
const TOP: u64 = 56;
/// The phases in the order of samples, each with a colour that is told apart on light and dark,
/// also by those who do not see red and green apart.
const PHASES: [(&str, &str); 7] = [
    ("Converged", "#2a9d8f"),
    ("InFlight", "#4c78d0"),
    ("Waiting", "#a9b4c2"),
    ("BackingOff", "#e9b44c"),
    ("Frozen", "#7fd1e8"),
    ("Stuck", "#b065c9"),
    ("Quarantined", "#d1495b"),
];
const STYLE: &str = "text{font:13px system-ui,sans-serif;fill:#1d2733}\
.ground{fill:#fff}.line{stroke:#8793a1;stroke-width:1;fill:none}\
.rest{fill:#e4e8ed}\
@media(prefers-color-scheme:dark){text{fill:#dfe6ee}.ground{fill:#12181f}\
.line{stroke:#5b6875}.rest{fill:#222b35}}";

/// Draws a report.
pub(super) fn svg(report: &Report) -> String {
    let last = report.timeline.last().map_or(1, |sample| sample.at_ms.max(1));
    let total = (report.objects as u64).max(1);
    let (width, height) = (LEFT + WIDTH + 30, TOP + HEIGHT + 60);
    let mut parts = vec![
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" \
             width=\"{width}\" height=\"{height}\" role=\"img\" aria-label=\"Objects by phase over \
             time\">"
        ),
        format!("<style>{STYLE}</style>"),
        format!("<rect class=\"ground\" width=\"{width}\" height=\"{height}\"/>"),
        format!(
            "<rect class=\"rest\" x=\"{LEFT}\" y=\"{TOP}\" width=\"{WIDTH}\" height=\"{HEIGHT}\"/>"
        ),
    ];
    let x = |at_ms: u64| LEFT * 10 + at_ms * WIDTH * 10 / last;
    let y = |count: u64| (TOP + HEIGHT) * 10 - count * HEIGHT * 10 / total;
    for (layer, (phase, colour)) in PHASES.iter().enumerate() {
        if report.timeline.iter().any(|sample| sample.phases[layer] > 0) {
            let below = |sample: &Sample| sample.phases[..layer].iter().sum::<usize>() as u64;
            let above = |sample: &Sample| sample.phases[..=layer].iter().sum::<usize>() as u64;
            let up = report.timeline.iter().map(|s| point(x(s.at_ms), y(above(s))));
            let back = report.timeline.iter().rev().map(|s| point(x(s.at_ms), y(below(s))));
            let points: Vec<String> = up.chain(back).collect();
            let points = points.join(" ");
            parts.push(format!(
                "<polygon fill=\"{colour}\" points=\"{points}\"><title>{phase}</title></polygon>"
            ));
        }
    }
    parts.extend(legend(report));
    parts.extend(axes(last, total));
    parts.push("</svg>\n".to_owned());
    parts.join("\n")
}

/// A point in tenths.
fn point(x: u64, y: u64) -> String {
    format!("{}.{},{}.{}", x / 10, x % 10, y / 10, y % 10)
}

fn legend(report: &Report) -> Vec<String> {
    let shown = PHASES
        .iter()
        .enumerate()
        .filter(|(layer, _)| report.timeline.iter().any(|sample| sample.phases[*layer] > 0));
    let mut parts = vec![format!(
        "<text x=\"{LEFT}\" y=\"22\">{} objects, seed {}</text>",
        report.objects, report.seed
    )];
    for (place, (_, (phase, colour))) in shown.enumerate() {
        let x = LEFT + place as u64 * 122;
        parts.push(format!(
            "<rect x=\"{x}\" y=\"32\" width=\"12\" height=\"12\" rx=\"2\" fill=\"{colour}\"/>\
             <text x=\"{}\" y=\"43\">{phase}</text>",
            x + 18
        ));
    }
    parts
}

fn axes(last: u64, total: u64) -> Vec<String> {
    let (bottom, right) = (TOP + HEIGHT, LEFT + WIDTH);
    let mut parts = vec![format!("<path class=\"line\" d=\"M{LEFT} {TOP}V{bottom}H{right}\"/>")];
    for quarter in 0..=4 {
        let (x, y) = (LEFT + WIDTH * quarter / 4, bottom - HEIGHT * quarter / 4);
        let at = last * quarter / 4;
        parts.push(format!(
            "<path class=\"line\" d=\"M{x} {bottom}v5M{LEFT} {y}h-5\"/>\
             <text x=\"{x}\" y=\"{}\" text-anchor=\"middle\">{}.{} s</text>\
             <text x=\"{}\" y=\"{}\" text-anchor=\"end\">{}</text>",
            bottom + 22,
            at / 1_000,
            at % 1_000 / 100,
            LEFT - 9,
            y + 4,
            total * quarter / 4
        ));
    }
    parts.push(format!(
        "<text x=\"{}\" y=\"{}\" text-anchor=\"middle\">simulated time</text>",
        LEFT + WIDTH / 2,
        bottom + 44
    ));
    parts
}
