//! Sync down: takes the connections of children, gives each the Cfg it may see, merges what it saw.
//!
//! The actor is the register of who is attached: one session a child, the newest wins. Each session
//! is a task of its own (`session`), so that no child can hold up another. Changes of Cfg reach a
//! session through the register, which knows whose object has changed.
//!
//! Restarted by: nobody; a panic in it is a defect that ends the node, and children attach
//! elsewhere.

mod admission;
pub mod messages;
mod session;

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc};

use actix::{Actor, Addr, Context, Handler, MessageResult};
use kraken_engine::{
    id::{Name, SessionEpoch, Uid},
    sync::frame::Role,
};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use self::messages::{
    ChildSnapshot, DownlinkSnapshot, IsAttached, Marked, Observe, Register, Unregister,
};
use crate::{clock::Clock, dirty::Dirty, orders::Orders, quorum::Quorum, state::StateHandle};

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
    /// The quorum, which registers nodes that are new.
    pub quorum: Arc<dyn Quorum>,
    /// Orders that go down, and answers that come up.
    pub(crate) orders: Orders,
    /// The node's clock.
    pub clock: Clock,
    /// Ends all sessions.
    pub stop: CancellationToken,
}

/// The way to the downlink. Cheap to clone.
#[derive(Clone)]
pub struct DownlinkHandle {
    address: Addr<Downlink>,
    local_addr: SocketAddr,
}

/// The register of children.
#[derive(Default)]
struct Downlink {
    children: BTreeMap<Name, Entry>,
    by_uid: BTreeMap<Uid, Dirty<Uid>>,
    superseded: u64,
}

struct Entry {
    uid: Uid,
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
        let address = Downlink::create(|context| {
            context.set_mailbox_capacity(DOWNLINK_MAILBOX_MAX);
            Downlink::default()
        });
        let changed = options.state.watch_objects().await;
        actix_rt::spawn(forward(changed, address.clone(), options.stop.clone()));
        actix_rt::spawn(accept(listener, address.clone(), options));
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

/// Tells the register whose objects have changed.
async fn forward(changed: Dirty<Uid>, address: Addr<Downlink>, stop: CancellationToken) {
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = changed.marked() => {}
        }
        if address.send(Marked(changed.take())).await.is_err() {
            return;
        }
    }
}

async fn accept(listener: TcpListener, address: Addr<Downlink>, options: DownlinkOptions) {
    loop {
        let accepted = tokio::select! {
            () = options.stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => {
                let session = session::run(stream, peer, address.clone(), options.clone());
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
        self.by_uid.insert(new.uid, new.dirty);
        let Register { node, uid, epoch, role, peer, close, .. } = new;
        self.children.insert(node, Entry { uid, epoch, role, peer, close });
        true
    }
}

impl Handler<Unregister> for Downlink {
    type Result = bool;

    fn handle(&mut self, old: Unregister, _: &mut Self::Context) -> bool {
        let current = self.children.get(&old.node).is_some_and(|entry| entry.epoch == old.epoch);
        if current && let Some(entry) = self.children.remove(&old.node) {
            self.by_uid.remove(&entry.uid);
        }
        current
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

    fn handle(&mut self, Marked(uids): Marked, _: &mut Self::Context) {
        for uid in uids {
            if let Some(dirty) = self.by_uid.get(&uid) {
                dirty.mark([uid]);
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
        })
    }
}
