//! What `kraken top` shows, and what keys and news make of it. Plain data: it knows neither a
//! terminal nor a server.

use kraken_http::{
    client::ClusterView,
    view::{List, ObjectView, WhyView},
};

use super::order::{Search, Sort, phase};
use crate::look::Look;

/// Longest text that is searched for, in characters.
const SEARCH_CHARS_MAX: usize = 64;

/// Something that happens.
#[derive(Debug, Clone)]
pub(super) enum Input {
    /// A key was pressed.
    Key(Key),
    /// The terminal has another size.
    Resized,
    /// The nodes as they are now.
    Nodes(List<ObjectView>),
    /// The quorum as it is now.
    Quorum(Box<ClusterView>),
    /// Why a node stands where it stands, or why that cannot be told.
    Why(String, Result<Box<WhyView>, String>),
    /// The fleet cannot be asked.
    Lost(String),
}

/// A key that means something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Key {
    Up,
    Down,
    PageUp,
    PageDown,
    First,
    Last,
    Enter,
    Back,
    Erase,
    Char(char),
    Interrupt,
}

/// What is to be done next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Wish {
    /// Nothing but to draw.
    Nothing,
    /// To ask about a node.
    Why(String),
    /// To leave.
    Leave,
}

/// What fills the screen.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum View {
    /// All nodes.
    Fleet,
    /// One node.
    Node(Looked),
    /// What the keys do.
    Keys,
}

/// A node that is looked into.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Looked {
    pub(super) name: String,
    /// Nothing until it was answered.
    pub(super) why: Option<Result<Box<WhyView>, String>>,
    /// The first line that is shown.
    pub(super) line: usize,
}

/// What is shown.
#[derive(Debug, Clone)]
pub(super) struct State {
    /// Whether it may be coloured.
    pub(super) look: Look,
    pub(super) view: View,
    pub(super) quorum: Option<Box<ClusterView>>,
    pub(super) sort: Sort,
    pub(super) is_reversed: bool,
    /// Whether what has converged is left out.
    pub(super) is_narrowed: bool,
    pub(super) search: String,
    /// Whether keys are letters of what is searched for.
    pub(super) is_typing: bool,
    /// Why what is shown is old.
    pub(super) lost: Option<String>,
    /// How many lines the list or the node has on the screen, as drawn last.
    pub(super) page: usize,
    nodes: Vec<ObjectView>,
    /// Places in `nodes` of those that are shown, in order.
    order: Vec<usize>,
    /// By name, so that it stays the same when the order changes.
    selected: Option<String>,
}

impl State {
    /// Before anything is known.
    pub(super) fn new(look: Look) -> Self {
        Self {
            look,
            view: View::Fleet,
            quorum: None,
            sort: Sort::default(),
            is_reversed: false,
            is_narrowed: false,
            search: String::new(),
            is_typing: false,
            lost: None,
            page: 1,
            nodes: Vec::new(),
            order: Vec::new(),
            selected: None,
        }
    }

    /// All nodes, as they were listed.
    pub(super) fn all(&self) -> &[ObjectView] {
        &self.nodes
    }

    /// The nodes that are shown, in order.
    pub(super) fn shown(&self) -> impl ExactSizeIterator<Item = &ObjectView> {
        self.order.iter().map(|place| &self.nodes[*place])
    }

    /// The place of the selected node among those that are shown.
    pub(super) fn selected(&self) -> Option<usize> {
        let selected = self.selected.as_ref()?;
        self.shown().position(|node| node.name == *selected)
    }

    /// A second has passed: what is told of a node is asked for again.
    pub(super) fn tick(&self) -> Wish {
        match &self.view {
            View::Node(looked) => Wish::Why(looked.name.clone()),
            View::Fleet | View::Keys => Wish::Nothing,
        }
    }

    /// Takes what happens.
    pub(super) fn take(&mut self, input: Input) -> Wish {
        match input {
            Input::Key(Key::Interrupt) => return Wish::Leave,
            Input::Key(key) => return self.press(key),
            Input::Resized => {}
            Input::Lost(why) => self.lost = Some(why),
            Input::Quorum(quorum) => self.quorum = Some(quorum),
            Input::Nodes(list) => {
                let place = self.selected();
                (self.nodes, self.lost) = (list.items, None);
                self.arrange_at(place);
            }
            Input::Why(name, why) => {
                if let View::Node(looked) = &mut self.view
                    && looked.name == name
                {
                    looked.why = Some(why);
                }
            }
        }
        Wish::Nothing
    }

    fn press(&mut self, key: Key) -> Wish {
        if self.is_typing {
            self.spell(key);
            return Wish::Nothing;
        }
        let is_fleet = self.view == View::Fleet;
        match key {
            Key::Char('q') if is_fleet => return Wish::Leave,
            Key::Back if is_fleet => {
                self.search.clear();
                self.arrange();
            }
            Key::Back | Key::Char('q') => self.view = View::Fleet,
            Key::Enter if is_fleet => return self.look(),
            Key::Char(char) if is_fleet && self.arranges(char) => {}
            Key::Char('?') => self.view = View::Keys,
            key if self.view != View::Keys => self.step(key),
            _ => {}
        }
        Wish::Nothing
    }

    /// Takes a letter that changes which nodes are shown in which order.
    fn arranges(&mut self, char: char) -> bool {
        match char {
            '/' => self.is_typing = true,
            's' => self.sort = self.sort.next(),
            'r' => self.is_reversed = !self.is_reversed,
            'a' => self.is_narrowed = !self.is_narrowed,
            _ => return false,
        }
        self.arrange();
        true
    }

    /// Takes a key into the text that is searched for.
    fn spell(&mut self, key: Key) {
        match key {
            Key::Char(char) if self.search.chars().count() < SEARCH_CHARS_MAX => {
                self.search.push(char);
            }
            Key::Erase => drop(self.search.pop()),
            Key::Enter => self.is_typing = false,
            Key::Back => {
                self.is_typing = false;
                self.search.clear();
            }
            key => self.step(key),
        }
        self.arrange();
    }

    /// Looks into the selected node.
    fn look(&mut self) -> Wish {
        let Some(name) = self.selected.clone() else { return Wish::Nothing };
        self.view = View::Node(Looked { name: name.clone(), why: None, line: 0 });
        Wish::Why(name)
    }

    /// Moves: through the list, or within a node.
    fn step(&mut self, key: Key) {
        let (at, last) = match &self.view {
            View::Node(looked) => (looked.line, usize::MAX),
            View::Fleet | View::Keys => {
                (self.selected().unwrap_or_default(), self.order.len().saturating_sub(1))
            }
        };
        let page = self.page.max(1);
        let to = match key {
            Key::Up | Key::Char('k') => at.saturating_sub(1),
            Key::Down | Key::Char('j') => at.saturating_add(1),
            Key::PageUp => at.saturating_sub(page),
            Key::PageDown | Key::Char(' ') => at.saturating_add(page),
            Key::First | Key::Char('g') => 0,
            Key::Last | Key::Char('G') => last,
            Key::Enter | Key::Back | Key::Erase | Key::Char(_) | Key::Interrupt => return,
        };
        match &mut self.view {
            // How far it goes is known when it is drawn.
            View::Node(looked) => looked.line = to,
            View::Fleet | View::Keys => {
                let node =
                    self.order.get(to.min(last)).map(|place| self.nodes[*place].name.clone());
                self.selected = node;
            }
        }
    }

    /// Chooses and orders what is shown. The selected node stays so as long as it is shown; else it
    /// is the one that is now in its place.
    fn arrange(&mut self) {
        self.arrange_at(self.selected());
    }

    /// The same where the selected node was in this place.
    fn arrange_at(&mut self, place: Option<usize>) {
        let search = Search::of(&self.search);
        let is_shown = |node: &ObjectView| {
            !(self.is_narrowed && phase(node) == "Converged") && search.finds(node)
        };
        let mut order: Vec<usize> =
            (0..self.nodes.len()).filter(|place| is_shown(&self.nodes[*place])).collect();
        order.sort_by(|one, other| self.sort.compare(&self.nodes[*one], &self.nodes[*other]));
        if self.is_reversed {
            order.reverse();
        }
        self.order = order;
        if self.selected().is_none() {
            let place = place.unwrap_or_default().min(self.order.len().saturating_sub(1));
            self.selected = self.order.get(place).map(|place| self.nodes[*place].name.clone());
        }
    }
}
