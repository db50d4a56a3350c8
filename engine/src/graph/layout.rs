//! Where the boxes of a graph stand when it is drawn: in columns, left to right, without overlaps.
//!
//! The method of Sugiyama, Tagawa and Toda (1981) with labels as boxes of their own: states stand
//! in even columns by their distance from where the object is, the names of mutations in the odd
//! columns between them, and a line that passes a column takes a place there too. So no name lies
//! on another or on a state. The order within columns follows the mean of neighbours; heights are
//! the closest to those of neighbours that keep order and distance. Deterministic.

use std::collections::{BTreeMap, VecDeque};

use super::{Edge, Mark, Node};

/// Width of one character of the fixed font, in pixels.
const CHAR_PX: f64 = 7.3;
/// Height of one line of text.
pub(super) const LINE_PX: f64 = 16.0;
/// Room beside and above the text of a state.
const STATE_PAD_PX: (f64, f64) = (12.0, 7.0);
/// Room beside and above the names on an edge.
const LABEL_PAD_PX: (f64, f64) = (6.0, 2.0);
/// Room between two boxes of one column.
const GAP_PX: f64 = 14.0;
/// Room between two columns.
const COLUMN_GAP_PX: f64 = 34.0;
/// Sweeps over all columns that order them, and that set their heights.
const SWEEPS: usize = 8;

/// What a box shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shows {
    /// The state of this place among the nodes.
    State(usize),
    /// The names of this place among the lines.
    Names(usize),
    /// Nothing: a line passes here.
    Passing(usize),
}

/// A box with the place of its middle.
#[derive(Debug, Clone, Copy)]
pub(super) struct Placed {
    pub(super) shows: Shows,
    pub(super) column: usize,
    pub(super) x: f64,
    pub(super) y: f64,
    pub(super) width: f64,
    pub(super) height: f64,
}

/// Mutations that lead from one state to another and are drawn alike.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) from: usize,
    pub(super) to: usize,
    pub(super) mark: Mark,
    pub(super) names: Vec<String>,
    /// The places of its boxes, from `from` to `to`, both included.
    pub(super) way: Vec<usize>,
}

/// One group laid out, its upper left corner at 0, 0.
#[derive(Debug, Default)]
pub(super) struct Layout {
    pub(super) boxes: Vec<Placed>,
    pub(super) lines: Vec<Line>,
    pub(super) width: f64,
    pub(super) height: f64,
}

/// Lays out one group of nodes and the edges between them.
pub(super) fn lay_out(nodes: &[Node], edges: &[&Edge]) -> Layout {
    let place: BTreeMap<&str, usize> =
        nodes.iter().enumerate().map(|(place, node)| (node.id.as_str(), place)).collect();
    let lines = lines(&place, edges);
    let ranks = ranks(nodes, &lines);
    let mut draft = Draft::new(nodes, lines, &ranks);
    draft.order();
    draft.columns();
    draft.heights();
    draft.finish()
}

fn lines(place: &BTreeMap<&str, usize>, edges: &[&Edge]) -> Vec<Line> {
    let mut lines: BTreeMap<(usize, usize, Mark), Vec<String>> = BTreeMap::new();
    for edge in edges {
        let ends = (place.get(edge.from.as_str()), place.get(edge.to.as_str()));
        if let (Some(from), Some(to)) = ends {
            let names = lines.entry((*from, *to, edge.mark)).or_default();
            if !names.contains(&edge.mutation) {
                names.push(edge.mutation.clone());
            }
        }
    }
    let line = |((from, to, mark), names)| Line { from, to, mark, names, way: Vec::new() };
    lines.into_iter().map(line).collect()
}

/// How many steps each state is from where the object is, or from where nothing leads.
fn ranks(nodes: &[Node], lines: &[Line]) -> Vec<usize> {
    let mut ranks: Vec<Option<usize>> = vec![None; nodes.len()];
    let leads = |place: usize| lines.iter().any(|line| line.to == place && line.from != place);
    let mut roots: Vec<usize> = (0..nodes.len()).filter(|place| nodes[*place].current).collect();
    if roots.is_empty() {
        roots = (0..nodes.len()).filter(|place| !leads(*place)).collect();
    }
    let mut queue: VecDeque<usize> = VecDeque::new();
    for root in roots {
        ranks[root] = Some(0);
        queue.push_back(root);
    }
    spread(&mut queue, &mut ranks, lines);
    // What is not reached from there starts by itself.
    for place in 0..nodes.len() {
        if ranks[place].is_none() {
            ranks[place] = Some(0);
            queue.push_back(place);
            spread(&mut queue, &mut ranks, lines);
        }
    }
    ranks.into_iter().map(Option::unwrap_or_default).collect()
}

fn spread(queue: &mut VecDeque<usize>, ranks: &mut [Option<usize>], lines: &[Line]) {
    while let Some(from) = queue.pop_front() {
        for line in lines.iter().filter(|line| line.from == from) {
            if ranks[line.to].is_none() {
                ranks[line.to] = ranks[from].map(|rank| rank + 1);
                queue.push_back(line.to);
            }
        }
    }
}

/// A layout in the making.
struct Draft {
    boxes: Vec<Placed>,
    lines: Vec<Line>,
    /// The boxes of each column, from above.
    columns: Vec<Vec<usize>>,
    /// The neighbours of each box in other columns.
    beside: Vec<Vec<usize>>,
}

impl Draft {
    fn new(nodes: &[Node], lines: Vec<Line>, ranks: &[usize]) -> Self {
        let mut draft =
            Self { boxes: Vec::new(), lines: Vec::new(), columns: Vec::new(), beside: Vec::new() };
        for (place, node) in nodes.iter().enumerate() {
            let text: Vec<&str> = node.label.lines().collect();
            let (width, height) = size(text.iter().copied(), STATE_PAD_PX);
            draft.add(Shows::State(place), 2 * ranks[place], width, height);
        }
        for (place, mut line) in lines.into_iter().enumerate() {
            line.way = draft.way(place, &line, ranks);
            for pair in line.way.windows(2) {
                let [one, other] = pair else { continue };
                draft.beside[*one].push(*other);
                draft.beside[*other].push(*one);
            }
            draft.lines.push(line);
        }
        draft
    }

    fn add(&mut self, shows: Shows, column: usize, width: f64, height: f64) -> usize {
        let place = self.boxes.len();
        self.boxes.push(Placed { shows, column, x: 0.0, y: 0.0, width, height });
        self.beside.push(Vec::new());
        if self.columns.len() <= column {
            self.columns.resize_with(column + 1, Vec::new);
        }
        self.columns[column].push(place);
        place
    }

    /// The boxes along a line: its names stand beside the state that it leaves.
    fn way(&mut self, place: usize, line: &Line, ranks: &[usize]) -> Vec<usize> {
        let (from, to) = (2 * ranks[line.from], 2 * ranks[line.to]);
        let (width, height) = size(line.names.iter().map(String::as_str), LABEL_PAD_PX);
        let names = if to < from { from - 1 } else { from + 1 };
        let mut way = vec![line.from, self.add(Shows::Names(place), names, width, height)];
        let between: Vec<usize> =
            if to < from { (to + 1..names).rev().collect() } else { (names + 1..to).collect() };
        for column in between {
            way.push(self.add(Shows::Passing(place), column, 0.0, LINE_PX / 2.0));
        }
        way.push(line.to);
        way
    }

    /// Orders columns by the mean place of what their boxes are tied to.
    fn order(&mut self) {
        let count = self.columns.len();
        for sweep in 0..SWEEPS {
            let columns: Vec<usize> =
                if sweep % 2 == 0 { (0..count).collect() } else { (0..count).rev().collect() };
            for column in columns {
                let places = self.places();
                let mean = |place: &usize| mean(self.beside[*place].iter().map(|b| places[*b]));
                let mut keyed: Vec<(f64, usize, usize)> = self.columns[column]
                    .iter()
                    .enumerate()
                    .map(|(now, place)| (mean(place).unwrap_or(places[*place]), now, *place))
                    .collect();
                keyed.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
                self.columns[column] = keyed.into_iter().map(|(_, _, place)| place).collect();
            }
        }
    }

    /// How far down each box stands in its column, from 0 to 1.
    fn places(&self) -> Vec<f64> {
        let mut places = vec![0.0; self.boxes.len()];
        for column in &self.columns {
            for (index, place) in column.iter().enumerate() {
                places[*place] = (float(index) + 0.5) / float(column.len());
            }
        }
        places
    }

    /// Sets where columns stand, each as wide as its widest box.
    fn columns(&mut self) {
        let mut left = 0.0;
        for column in &self.columns {
            let widest = column.iter().map(|place| self.boxes[*place].width).fold(0.0, f64::max);
            for place in column {
                self.boxes[*place].x = left + widest / 2.0;
            }
            left += widest + COLUMN_GAP_PX;
        }
    }

    /// Sets how high boxes stand: as near to their neighbours as order and distance let them.
    fn heights(&mut self) {
        for column in &self.columns.clone() {
            let mut top = 0.0;
            for place in column {
                let height = self.boxes[*place].height;
                self.boxes[*place].y = top + height / 2.0;
                top += height + GAP_PX;
            }
        }
        let count = self.columns.len();
        for sweep in 0..SWEEPS {
            let columns: Vec<usize> =
                if sweep % 2 == 0 { (0..count).collect() } else { (0..count).rev().collect() };
            for column in columns {
                self.settle(column);
            }
        }
    }

    /// Moves the boxes of a column to the nearest heights that keep their order and distance: the
    /// regression that keeps an order, by pooling adjacent violators.
    fn settle(&mut self, column: usize) {
        let members = self.columns[column].clone();
        let mut offsets = Vec::with_capacity(members.len());
        let mut pools: Vec<(f64, usize)> = Vec::new();
        let mut offset = 0.0;
        let mut before = 0.0;
        for (index, place) in members.iter().enumerate() {
            let half = self.boxes[*place].height / 2.0;
            if index > 0 {
                offset += before + GAP_PX + half;
            }
            before = half;
            offsets.push(offset);
            let wish = mean(self.beside[*place].iter().map(|b| self.boxes[*b].y));
            let mut pool = (wish.unwrap_or(self.boxes[*place].y) - offset, 1);
            while let Some((last, count)) = pools.last().copied().filter(|last| last.0 > pool.0) {
                pools.pop();
                let all = count + pool.1;
                pool = ((last * float(count) + pool.0 * float(pool.1)) / float(all), all);
            }
            pools.push(pool);
        }
        let heights = pools.iter().flat_map(|(at, count)| std::iter::repeat_n(*at, *count));
        let heights: Vec<f64> = heights.collect();
        for ((place, offset), height) in members.iter().zip(offsets).zip(heights) {
            self.boxes[*place].y = height + offset;
        }
    }

    fn finish(mut self) -> Layout {
        let top = |placed: &Placed| placed.y - placed.height / 2.0;
        let least = self.boxes.iter().map(top).fold(f64::INFINITY, f64::min);
        for placed in &mut self.boxes {
            placed.y -= least;
        }
        let right = self.boxes.iter().map(|placed| placed.x + placed.width / 2.0);
        let below = self.boxes.iter().map(|placed| placed.y + placed.height / 2.0);
        Layout {
            width: right.fold(0.0, f64::max),
            height: below.fold(0.0, f64::max),
            boxes: self.boxes,
            lines: self.lines,
        }
    }
}

fn size<'a>(text: impl Iterator<Item = &'a str>, pad: (f64, f64)) -> (f64, f64) {
    let (mut longest, mut count) = (0, 0);
    for line in text {
        longest = longest.max(line.chars().count());
        count += 1;
    }
    (width_of(longest) + 2.0 * pad.0, float(count.max(1)) * LINE_PX + 2.0 * pad.1)
}

/// The width of so many characters.
pub(super) fn width_of(chars: usize) -> f64 {
    float(chars) * CHAR_PX
}

fn mean(values: impl Iterator<Item = f64>) -> Option<f64> {
    let (mut sum, mut count) = (0.0, 0);
    for value in values {
        sum += value;
        count += 1;
    }
    (count > 0).then(|| sum / float(count))
}

fn float(count: usize) -> f64 {
    u32::try_from(count).map_or(f64::from(u32::MAX), f64::from)
}
