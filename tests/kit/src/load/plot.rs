//! Pictures of what was measured, in light and in dark: distributions of times, and what grows with
//! the number of leaves.

use super::figure::{Figure, float};

/// Size of the drawing within the picture.
const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 320.0;
/// Where it begins.
const LEFT: f64 = 80.0;
const TOP: f64 = 40.0;
/// Room at its right for the names of lines.
const RIGHT: f64 = 190.0;
/// Colours that are told apart on light and dark, also by those who do not see red and green apart.
const COLOURS: [&str; 8] =
    ["#2a9d8f", "#4c78d0", "#e9b44c", "#d1495b", "#b065c9", "#7fd1e8", "#8793a1", "#6a994e"];
const STYLE: &str = "text{font:13px system-ui,sans-serif;fill:#1d2733}\
.ground{fill:#fff}.axis{stroke:#8793a1;stroke-width:1;fill:none}\
.line{stroke-width:2;fill:none}\
@media(prefers-color-scheme:dark){text{fill:#dfe6ee}.ground{fill:#12181f}\
.axis{stroke:#5b6875}}";
/// Points of one line at most.
const POINTS_MAX: usize = 400;

/// Times under a name, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Curve {
    /// What took so long.
    pub name: String,
    /// How long, in microseconds, the shortest first.
    pub micros: Vec<u64>,
}

/// A line of points, each between 0 and 1 both ways, from the left and from below.
struct Line {
    name: String,
    points: Vec<(f64, f64)>,
}

/// How large a share of all took how long at most; times grow by tenfolds to the right.
pub fn distributions(title: &str, curves: &[Curve]) -> String {
    let longest = curves.iter().filter_map(|curve| curve.micros.last()).max();
    let longest = longest.map_or(1e3, |micros| float_of(*micros));
    let decades = longest.max(1e3).log10().ceil() - 2.0;
    let place = |micros: f64| (micros.max(100.0).log10() - 2.0) / decades;
    let lines = curves.iter().map(|curve| {
        let count = curve.micros.len();
        let step = count.div_ceil(POINTS_MAX).max(1);
        let picked = (0..count).filter(|at| at % step == 0 || at + 1 == count);
        let point = |at: usize| (place(float_of(curve.micros[at])), float(at + 1) / float(count));
        Line { name: curve.name.clone(), points: picked.map(point).collect() }
    });
    let mut below = Vec::new();
    for (text, micros) in [
        ("0.1 ms", 1e2),
        ("1 ms", 1e3),
        ("10 ms", 1e4),
        ("0.1 s", 1e5),
        ("1 s", 1e6),
        ("10 s", 1e7),
    ] {
        if place(micros) <= 1.0 {
            below.push((text.to_owned(), place(micros)));
        }
    }
    let beside =
        [0.0, 0.25, 0.5, 0.75, 1.0].map(|share| (format!("{:.0} %", share * 100.0), share));
    picture(title, &lines.collect::<Vec<_>>(), &below, &beside)
}

/// Figures whose names are `prefix` and a size, over that size.
pub fn growth(title: &str, figures: &[Figure], prefixes: &[&str]) -> String {
    let of = |prefix: &str| -> Vec<(f64, f64)> {
        let named = figures.iter().filter_map(|figure| {
            let size = figure.name.strip_prefix(prefix)?.strip_prefix('.')?;
            Some((leaves(size)?, figure.value))
        });
        named.collect()
    };
    let all: Vec<(f64, f64)> = prefixes.iter().flat_map(|prefix| of(prefix)).collect();
    let widest = all.iter().fold(1.0_f64, |most, point| most.max(point.0));
    let highest = all.iter().fold(f64::MIN_POSITIVE, |most, point| most.max(point.1)) * 1.1;
    let lines: Vec<Line> = prefixes
        .iter()
        .map(|prefix| {
            let points = of(prefix).into_iter().map(|(x, y)| (x / widest, y / highest));
            Line { name: (*prefix).to_owned(), points: points.collect() }
        })
        .collect();
    let quarters = [0.0, 0.25, 0.5, 0.75, 1.0];
    let below = quarters.map(|share| (format!("{:.0}", widest * share), share));
    let shown = |value: f64| {
        if highest >= 10.0 { format!("{value:.0}") } else { format!("{value:.2}") }
    };
    let beside = quarters.map(|share| (shown(highest * share), share));
    picture(title, &lines, &below, &beside)
}

/// The number that a size in a name stands for.
fn leaves(size: &str) -> Option<f64> {
    match size.strip_suffix('k') {
        Some(thousands) => Some(thousands.parse::<f64>().ok()? * 1e3),
        None => size.parse().ok(),
    }
}

fn float_of(micros: u64) -> f64 {
    u32::try_from(micros).map_or(f64::MAX, f64::from)
}

/// Lines between two axes with their marks.
fn picture(
    title: &str,
    lines: &[Line],
    below: &[(String, f64)],
    beside: &[(String, f64)],
) -> String {
    let (width, height) = (LEFT + WIDTH + RIGHT, TOP + HEIGHT + 50.0);
    let (x, y) = (|at: f64| LEFT + at * WIDTH, |at: f64| TOP + HEIGHT - at * HEIGHT);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width:.0} {height:.0}\" \
         width=\"{width:.0}\" height=\"{height:.0}\" role=\"img\" aria-label=\"{title}\">\n\
         <style>{STYLE}</style>\n<rect class=\"ground\" width=\"100%\" height=\"100%\"/>\n\
         <text x=\"{LEFT:.0}\" y=\"22\">{title}</text>\n\
         <path class=\"axis\" d=\"M{LEFT:.0} {TOP:.0}V{:.0}H{:.0}\"/>\n",
        TOP + HEIGHT,
        LEFT + WIDTH
    );
    let mut add = |part: String| {
        svg.push_str(&part);
        svg.push('\n');
    };
    for (text, at) in below {
        let (x, y) = (x(*at), TOP + HEIGHT);
        add(format!("<path class=\"axis\" d=\"M{x:.1} {y:.0}v5\"/>"));
        add(format!(
            "<text x=\"{x:.1}\" y=\"{:.0}\" text-anchor=\"middle\">{text}</text>",
            y + 22.0
        ));
    }
    for (text, at) in beside {
        let y = y(*at);
        add(format!("<path class=\"axis\" d=\"M{LEFT:.0} {y:.1}h-5\"/>"));
        let (x, y) = (LEFT - 9.0, y + 4.0);
        add(format!("<text x=\"{x:.0}\" y=\"{y:.1}\" text-anchor=\"end\">{text}</text>"));
    }
    for ((line, colour), place) in lines.iter().zip(COLOURS.iter().cycle()).zip(0_u32..) {
        let point = |(across, up): &(f64, f64)| format!("{:.1},{:.1}", x(*across), y(*up));
        let points = line.points.iter().map(point).collect::<Vec<_>>().join(" ");
        add(format!("<polyline class=\"line\" stroke=\"{colour}\" points=\"{points}\"/>"));
        let (left, top) = (LEFT + WIDTH + 12.0, TOP + 20.0 * f64::from(place));
        add(format!(
            "<rect x=\"{left:.0}\" y=\"{top:.0}\" width=\"12\" height=\"12\" fill=\"{colour}\"/>\
             <text x=\"{:.0}\" y=\"{:.0}\">{}</text>",
            left + 18.0,
            top + 11.0,
            line.name
        ));
    }
    svg.push_str("</svg>\n");
    svg
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_distribution_ends_at_the_top_and_at_its_longest_time() {
        let curve = Curve { name: "one".to_owned(), micros: vec![100, 1_000, 10_000] };
        let svg = distributions("times", &[curve]);
        assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>\n"), "{svg}");
        assert!(svg.contains("points=\"80.0,253.3 440.0,146.7 800.0,40.0\""), "{svg}");
    }

    #[test]
    fn what_grows_is_drawn_over_the_number_of_leaves() {
        let figure = |name: &str, value| Figure::new(name, value, "cores", 1);
        let figures = [figure("a.b.1k", 1.0), figure("a.b.2k", 2.0), figure("a.c.1k", 9.0)];
        let svg = growth("cores", &figures, &["a.b"]);
        assert_eq!(svg.matches("<polyline").count(), 1);
        assert!(svg.contains("points=\"440.0,214.5 800.0,69.1\""), "{svg}");
    }
}
