//! The ways to the children and parents that are attached now: bounded queues that their sessions
//! take from.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use kraken_engine::{
    id::{Name, SessionEpoch},
    order::{Answer, Holds, LookAt, Order, Recall, hands::Way},
    sync::frame::{Left, Role},
};
use tokio::sync::mpsc;

use super::{DOWN_QUEUE_MAX, UP_QUEUE_MAX};

/// What goes down to a child.
#[derive(Debug)]
pub(crate) enum Down {
    Order(Box<Order>),
    Recall(Recall),
    Look(LookAt),
    /// A session of the node or of one below it is over: there is a newer one.
    Expel(Left, SessionEpoch),
}

/// What goes up to a parent.
#[derive(Debug)]
pub(crate) enum Up {
    Answers(Vec<Answer>),
    Holds(Holds),
}

/// The ways that are open. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ways(Arc<Mutex<Open>>);

#[derive(Debug, Default)]
struct Open {
    children: BTreeMap<Name, Child>,
    /// The nodes below relays, each with the child through which it is reached, and that child's
    /// way.
    below: BTreeMap<Name, Below>,
    /// Counts the sessions that were opened.
    opened: u64,
    /// By the member at the other end; a leaf's only one by no name.
    parents: BTreeMap<Option<Name>, mpsc::Sender<Up>>,
}

#[derive(Debug)]
struct Below {
    child: Name,
    way: Way,
    epoch: SessionEpoch,
}

#[derive(Debug)]
struct Child {
    way: Way,
    role: Role,
    sender: mpsc::Sender<Down>,
}

/// The queue of one session of a child.
#[derive(Debug)]
pub(crate) struct ChildWay {
    /// Its number.
    pub(crate) way: Way,
    /// What goes down to the child.
    pub(crate) taken: mpsc::Receiver<Down>,
}

impl Open {
    /// The child through which a node is reached, which may be the node itself. Of a node that is
    /// below a child its own session here is the older one, and over without anybody having
    /// noticed.
    fn via<'a>(&'a self, node: &'a Name) -> Option<&'a Name> {
        let below = self.below.get(node).map(|below| &below.child);
        below.or_else(|| self.children.contains_key(node).then_some(node))
    }
}

impl Ways {
    fn open(&self) -> MutexGuard<'_, Open> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A child is attached; its newest session takes the place of an older one.
    pub(crate) fn child(&self, node: &Name, role: Role) -> ChildWay {
        let (sender, taken) = mpsc::channel(DOWN_QUEUE_MAX);
        let mut open = self.open();
        open.opened += 1;
        let way = Way(open.opened);
        open.below.remove(node);
        open.children.insert(node.clone(), Child { way, role, sender });
        ChildWay { way, taken }
    }

    /// A session of a child is over: takes what was not sent any more. Nothing is changed where a
    /// newer session has taken its place.
    pub(crate) fn child_gone(&self, node: &Name, way: &mut ChildWay) -> Vec<Order> {
        let mut open = self.open();
        if open.children.get(node).is_some_and(|child| child.way == way.way) {
            open.children.remove(node);
        }
        drop(open);
        way.taken.close();
        let mut unsent = Vec::new();
        while let Ok(down) = way.taken.try_recv() {
            if let Down::Order(order) = down {
                unsent.push(*order);
            }
        }
        unsent
    }

    /// A node is attached in a session below a child, which is a relay, in its session of this way;
    /// says whether no newer one is below another.
    pub(crate) fn child_below(
        &self,
        (node, epoch): (&Name, SessionEpoch),
        child: &Name,
        way: Way,
    ) -> bool {
        let mut open = self.open();
        let is_newest = open.below.get(node).is_none_or(|held| held.epoch <= epoch);
        if is_newest {
            open.below.insert(node.clone(), Below { child: child.clone(), way, epoch });
        }
        is_newest
    }

    /// Whether a node is below a child in a session that is not older.
    pub(crate) fn is_below_since(&self, node: &Name, epoch: SessionEpoch) -> bool {
        self.open().below.get(node).is_some_and(|held| held.epoch >= epoch)
    }

    /// It is no longer; says whether that was where it was last.
    pub(crate) fn child_below_gone(&self, node: &Name, way: Way) -> bool {
        let mut open = self.open();
        let is_there = open.below.get(node).is_some_and(|held| held.way == way);
        if is_there {
            open.below.remove(node);
        }
        is_there
    }

    /// Whether a node is attached here, or below a relay that is.
    pub(crate) fn has_child(&self, node: &Name) -> bool {
        self.open().via(node).is_some()
    }

    /// The members that are attached.
    pub(crate) fn members(&self) -> BTreeSet<Name> {
        let open = self.open();
        let members = open.children.iter().filter(|(_, child)| child.role == Role::Member);
        members.map(|(node, _)| node.clone()).collect()
    }

    /// Sends something down; says by which way, or why that cannot be.
    pub(crate) fn down(&self, node: &Name, what: Down) -> Result<Way, Blocked> {
        let open = self.open();
        let child = open.via(node).and_then(|via| open.children.get(via));
        let (way, sender) =
            child.map(|child| (child.way, child.sender.clone())).ok_or(Blocked::Gone)?;
        drop(open);
        sender.try_send(what).map(|()| way).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => Blocked::Full,
            mpsc::error::TrySendError::Closed(_) => Blocked::Gone,
        })
    }

    /// An uplink begins.
    pub(crate) fn parent(&self, toward: Option<Name>) -> mpsc::Receiver<Up> {
        let (sender, taken) = mpsc::channel(UP_QUEUE_MAX);
        self.open().parents.insert(toward, sender);
        taken
    }

    /// Sends something up; tells whether the way took it.
    pub(crate) fn up(&self, toward: Option<&Name>, what: Up) -> bool {
        let sender = self.open().parents.get(&toward.cloned()).cloned();
        sender.is_some_and(|sender| sender.try_send(what).is_ok())
    }
}

/// Why something cannot be sent down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Blocked {
    /// The child is not attached here.
    Gone,
    /// Too much waits for it.
    Full,
}
