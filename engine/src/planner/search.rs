//! A* over the product of a few paths, expanded lazily, in a fixed order.
//!
//! The product is never built: a state exists once the search has come to it. States are packed
//! into a few machine words.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap},
    hash::{BuildHasherDefault, Hasher},
};

use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::bound::Bound;
pub(super) use super::problem::Act;

/// Most states that one search comes to.
pub const SEARCH_STATES_MAX: usize = 200_000;
/// Most machine words of one packed state.
const WORDS_MAX: usize = 64;

/// One connected part of a problem.
#[derive(Debug, Default)]
pub(super) struct Space {
    /// How many values each path can take.
    pub(super) sizes: Vec<usize>,
    pub(super) start: Vec<usize>,
    /// What paths have to reach.
    pub(super) goal: Vec<(usize, usize)>,
    /// What may be done, in order.
    pub(super) acts: Vec<Act>,
}

/// Why a search found nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Failure {
    /// There is no way.
    Exhausted,
    /// Past [`SEARCH_STATES_MAX`].
    TooLarge,
}

/// What a search found and how far it looked.
#[derive(Debug)]
pub(super) struct Found {
    /// Places in [`Space::acts`].
    pub(super) steps: Result<Vec<usize>, Failure>,
    /// States that it came to.
    pub(super) states: usize,
}

/// Finds the cheapest steps from start to goal.
pub(super) fn search(space: &Space) -> Found {
    if space.goal.iter().all(|(var, value)| space.start[*var] == *value) {
        return Found { steps: Ok(Vec::new()), states: 0 };
    }
    let layout = Layout::new(&space.sizes);
    match layout.words {
        0 | 1 => Search::<1>::new(space, layout).run(),
        2 => Search::<2>::new(space, layout).run(),
        3 | 4 => Search::<4>::new(space, layout).run(),
        5..=16 => Search::<16>::new(space, layout).run(),
        17..=WORDS_MAX => Search::<WORDS_MAX>::new(space, layout).run(),
        _ => Found { steps: Err(Failure::TooLarge), states: 0 },
    }
}

/// Where each path stands in a packed state.
struct Layout {
    fields: Vec<Place>,
    words: usize,
}

#[derive(Clone, Copy)]
struct Place {
    word: usize,
    shift: u32,
    mask: u64,
}

impl Layout {
    fn new(sizes: &[usize]) -> Self {
        let (mut word, mut shift) = (0, 0);
        let mut fields = Vec::with_capacity(sizes.len());
        for size in sizes {
            let bits = size.next_power_of_two().trailing_zeros().max(1);
            if shift + bits > u64::BITS {
                (word, shift) = (word + 1, 0);
            }
            fields.push(Place { word, shift, mask: (1 << bits) - 1 });
            shift += bits;
        }
        Self { fields, words: word + 1 }
    }
}

type State<const N: usize> = [u64; N];

struct Node<const N: usize> {
    state: State<N>,
    /// The cost from the start, and the least to the goal.
    cost: u64,
    bound: u64,
    /// The node before it and the act between; the start is its own.
    parent: usize,
    act: usize,
}

/// First the least total, then the deepest, then by act, then the oldest.
type Entry = Reverse<(u64, Reverse<u64>, usize, usize)>;

struct Search<'a, const N: usize> {
    space: &'a Space,
    layout: Layout,
    bound: Bound,
    nodes: Vec<Node<N>>,
    places: HashMap<State<N>, usize, BuildHasherDefault<StateHasher>>,
    queue: BinaryHeap<Entry>,
}

impl<'a, const N: usize> Search<'a, N> {
    fn new(space: &'a Space, layout: Layout) -> Self {
        Self {
            space,
            layout,
            bound: Bound::new(space),
            nodes: Vec::new(),
            places: HashMap::default(),
            queue: BinaryHeap::new(),
        }
    }

    fn run(mut self) -> Found {
        let steps = self.find();
        Found { steps, states: self.nodes.len() }
    }

    fn find(&mut self) -> Result<Vec<usize>, Failure> {
        let mut start = [0; N];
        for (var, value) in self.space.start.iter().enumerate() {
            self.put(&mut start, var, *value);
        }
        self.reach(start, 0, 0, (0, 0));
        while let Some(Reverse((_, Reverse(queued), _, place))) = self.queue.pop() {
            let Node { state, cost, bound, .. } = self.nodes[place];
            if queued != cost {
                continue;
            }
            if self.space.goal.iter().all(|(var, value)| self.get(&state, *var) == *value) {
                return Ok(self.trace(place));
            }
            for (index, act) in self.space.acts.iter().enumerate() {
                if !act.needs.iter().all(|(var, mask)| mask >> self.get(&state, *var) & 1 == 1) {
                    continue;
                }
                let mut next = state;
                for effect in &act.effects {
                    self.put(&mut next, effect.var, effect.to);
                }
                let least = bound.saturating_sub(act.weight);
                self.reach(next, cost.saturating_add(act.weight), least, (place, index));
            }
            if self.nodes.len() > SEARCH_STATES_MAX {
                return Err(Failure::TooLarge);
            }
        }
        Err(Failure::Exhausted)
    }

    /// Notes that a state is reached at a cost; `least` bounds what is left from where it came.
    fn reach(&mut self, state: State<N>, cost: u64, least: u64, (parent, act): (usize, usize)) {
        if let Some(place) = self.places.get(&state).copied() {
            let node = &mut self.nodes[place];
            if node.bound == u64::MAX || node.cost <= cost {
                return;
            }
            node.bound = node.bound.max(least);
            (node.cost, node.parent, node.act) = (cost, parent, act);
            let total = cost.saturating_add(node.bound);
            self.queue.push(Reverse((total, Reverse(cost), act, place)));
            return;
        }
        let fields = &self.layout.fields;
        let bound = self.bound.estimate(|var| read(&state, fields[var]));
        let bound = bound.map_or(u64::MAX, |bound| bound.max(least));
        let place = self.nodes.len();
        self.nodes.push(Node { state, cost, bound, parent, act });
        self.places.insert(state, place);
        if bound != u64::MAX {
            self.queue.push(Reverse((cost.saturating_add(bound), Reverse(cost), act, place)));
        }
    }

    fn trace(&self, mut place: usize) -> Vec<usize> {
        let mut steps = Vec::new();
        while place != 0 {
            steps.push(self.nodes[place].act);
            place = self.nodes[place].parent;
        }
        steps.reverse();
        steps
    }

    fn get(&self, state: &State<N>, var: usize) -> usize {
        read(state, self.layout.fields[var])
    }

    fn put(&self, state: &mut State<N>, var: usize, value: usize) {
        let Place { word, shift, mask } = self.layout.fields[var];
        let value = u64::try_from(value).unwrap_or_default() & mask;
        state[word] = state[word] & !(mask << shift) | value << shift;
    }
}

fn read<const N: usize>(state: &State<N>, Place { word, shift, mask }: Place) -> usize {
    usize::try_from(state[word] >> shift & mask).unwrap_or_default()
}

/// Hashes packed states; the same on every machine.
#[derive(Default)]
struct StateHasher(u64);

impl Hasher for StateHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0 = xxh3_64_with_seed(bytes, self.0);
    }

    fn write_usize(&mut self, _length: usize) {
        // All states of one search have one length.
    }
}
