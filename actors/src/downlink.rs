//! Sync down: takes the connections of children, gives each the Cfg it may see, merges what it saw.
//!
//! The actor is the register of who is attached: one session a child, the newest wins. Each session
//! is a task of its own (`session`), so that no child can hold up another. Changes of Cfg reach a
//! session through the register, which knows whose object has changed.
//!
//! Restarted by: nobody; a panic in it is a defect that ends the node, and children attach
//! elsewhere.

mod admission;
mod gate;
pub mod messages;
mod session;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    sync::Arc,
};

use actix::{Actor, Addr, Context, Handler, MessageResult};
use kraken_engine::{
    fleet::Fleet,
    id::{Name, SessionEpoch, Uid},
    sync::frame::Role,
};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use self::gate::Gate;
use self::messages::{
    ChildSnapshot, DownlinkSnapshot, IsAttached, Marked, Observe, Register, Serves, Unregister,
};
use crate::{
    above::Above, clock::Clock, dirty::Dirty, orders::Orders, quorum::Quorum, state::StateHandle,
};

/// Messages that wait for the register; at the bound senders wait.
pub const DOWNLINK_MAILBOX_MAX: usize = 4_096;
/// Most children of one node. More are refused, and try another parent.
pub const CHILDREN_MAX: usize = 18_000;

/// What a downlink is made of.
#[derive(Clone)]
pub struct DownlinkOptions {
    /// The node.
    pub node: Name,
    /// What the node knows.
    pub state: StateHandle,
    /// Who decides whether a child is let in.
    pub door: Door,
    /// Orders that go down, and answers that come up.
    pub(crate) orders: Orders,
    /// The node's clock.
    pub clock: Clock,
    /// Ends all sessions.
    pub stop: CancellationToken,
}

/// Who decides whether a child is let in.
#[derive(Clone)]
pub enum Door {
    /// A member: the quorum knows all nodes, and registers those that are new.
    Quorum(Arc<dyn Quorum>),
    /// A relay: its own parent.
    Above(Above),
}

/// The way to the downlink. Cheap to clone.
#[derive(Clone)]
pub struct DownlinkHandle {
    address: Addr<Downlink>,
    local_addr: SocketAddr,
}

/// The register of children.
struct Downlink {
    children: BTreeMap<Name, Entry>,
    /// The children to which something is told of an object.
    by_uid: BTreeMap<Uid, BTreeSet<Name>>,
    superseded: u64,
    gate: Gate,
}

struct Entry {
    uids: BTreeSet<Uid>,
    dirty: Dirty<Uid>,
    epoch: SessionEpoch,
    role: Role,
    peer: String,
    close: CancellationToken,
}

impl Actor for Downlink {
    type Context = Context<Self>;
}

impl DownlinkHandle {
    /// Takes children from a listener that is bound already.
    pub async fn start(listener: TcpListener, options: DownlinkOptions) -> std::io::Result<Self> {
        let local_addr = listener.local_addr()?;
        let gate = Gate::new(options.clock);
        let downlink = Downlink {
            children: BTreeMap::new(),
            by_uid: BTreeMap::new(),
            superseded: 0,
            gate: gate.clone(),
        };
        let address = Downlink::create(|context| {
            context.set_mailbox_capacity(DOWNLINK_MAILBOX_MAX);
            downlink
        });
        let changed = options.state.watch_objects().await;
        let to = address.clone();
        actix_rt::spawn(forward(changed, to, options.clone()));
        actix_rt::spawn(accept(listener, address.clone(), gate, options));
        Ok(Self { address, local_addr })
    }

    /// Where children reach this node.
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// The register as it is; `None` once the node stops.
    pub async fn observe(&self) -> Option<DownlinkSnapshot> {
        self.address.send(Observe).await.ok()
    }
}

/// Tells the register which objects have changed, and who has them in charge: it may be so only
/// since then.
async fn forward(changed: Dirty<Uid>, address: Addr<Downlink>, options: DownlinkOptions) {
    let DownlinkOptions { state, stop, .. } = options;
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = changed.marked() => {}
        }
        let uids = changed.take();
        let read = move |fleet: &Fleet| {
            let objects = uids.iter().filter_map(|uid| fleet.object(*uid));
            let nodes = objects.flat_map(|object| object.charges()).collect();
            Marked { uids, nodes }
        };
        let Ok(marked) = state.read(read).await else { return };
        if address.send(marked).await.is_err() {
            return;
        }
    }
}

async fn accept(
    listener: TcpListener,
    address: Addr<Downlink>,
    gate: Gate,
    options: DownlinkOptions,
) {
    loop {
        let accepted = tokio::select! {
            () = options.stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => {
                let session =
                    session::run(stream, peer, (address.clone(), gate.clone()), options.clone());
                actix_rt::spawn(session);
            }
            Err(error) => {
                // Out of files, mostly: those who wait keep waiting, and the next round may do.
                tracing::warn!(%error, "cannot take a child's connection");
                tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            }
        }
    }
}

impl Downlink {
    /// A child is told of these objects from now on.
    fn serve(&mut self, node: &Name, uids: &BTreeSet<Uid>) {
        let Some(entry) = self.children.get_mut(node) else { return };
        for gone in entry.uids.difference(uids) {
            if let Some(nodes) = self.by_uid.get_mut(gone) {
                nodes.remove(node);
                if nodes.is_empty() {
                    self.by_uid.remove(gone);
                }
            }
        }
        for new in uids.difference(&entry.uids) {
            self.by_uid.entry(*new).or_default().insert(node.clone());
        }
        entry.uids.clone_from(uids);
    }

    fn mark(&self, node: &Name, uid: Uid) {
        // Sessions of relays look for themselves.
        if let Some(entry) = self.children.get(node).filter(|entry| entry.role == Role::Leaf) {
            entry.dirty.mark([uid]);
        }
    }
}

impl Handler<Register> for Downlink {
    type Result = bool;

    fn handle(&mut self, new: Register, _: &mut Self::Context) -> bool {
        let held = self.children.get(&new.node);
        if held.is_none() && self.children.len() >= CHILDREN_MAX {
            return false;
        }
        if let Some(old) = held {
            if old.epoch >= new.epoch {
                return false;
            }
            old.close.cancel();
            self.superseded += 1;
        }
        let Register { node, uid, epoch, role, peer, dirty, close } = new;
        self.serve(&node, &BTreeSet::new());
        let uids = BTreeSet::new();
        self.children.insert(node.clone(), Entry { uids, dirty, epoch, role, peer, close });
        self.serve(&node, &BTreeSet::from([uid]));
        true
    }
}

impl Handler<Unregister> for Downlink {
    type Result = bool;

    fn handle(&mut self, old: Unregister, _: &mut Self::Context) -> bool {
        let current = self.children.get(&old.node).is_some_and(|entry| entry.epoch == old.epoch);
        if current {
            self.serve(&old.node, &BTreeSet::new());
            self.children.remove(&old.node);
        }
        current
    }
}

impl Handler<Serves> for Downlink {
    type Result = ();

    fn handle(&mut self, Serves { node, epoch, uids }: Serves, _: &mut Self::Context) {
        if self.children.get(&node).is_some_and(|entry| entry.epoch == epoch) {
            self.serve(&node, &uids);
        }
    }
}

impl Handler<IsAttached> for Downlink {
    type Result = bool;

    fn handle(&mut self, IsAttached(node): IsAttached, _: &mut Self::Context) -> bool {
        self.children.contains_key(&node)
    }
}

impl Handler<Marked> for Downlink {
    type Result = ();

    fn handle(&mut self, Marked { uids, nodes }: Marked, _: &mut Self::Context) {
        for uid in uids {
            for node in self.by_uid.get(&uid).into_iter().flatten() {
                self.mark(node, uid);
            }
        }
        for node in nodes {
            let entry = self.children.get(&node);
            if let Some(uid) = entry.and_then(|entry| entry.uids.first().copied()) {
                self.mark(&node, uid);
            }
        }
    }
}

impl Handler<Observe> for Downlink {
    type Result = MessageResult<Observe>;

    fn handle(&mut self, _: Observe, _: &mut Self::Context) -> Self::Result {
        let child = |(node, entry): (&Name, &Entry)| ChildSnapshot {
            node: node.clone(),
            role: entry.role,
            peer: entry.peer.clone(),
            epoch: entry.epoch,
        };
        MessageResult(DownlinkSnapshot {
            children: self.children.iter().map(child).collect(),
            superseded: self.superseded,
            deferred: self.gate.deferred(),
        })
    }
}
