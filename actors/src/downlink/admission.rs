//! Whether a child that says Hello is accepted, and as which object.

use std::time::Duration;

use kraken_engine::{
    fleet::Fleet,
    id::{ClusterId, Name, SessionEpoch, Uid},
    sync::frame::{Hello, RefusedReason, Role, Welcome},
};
use tokio::time::timeout;

use super::DownlinkOptions;
use crate::{
    quorum::{Consistency, read},
    registration::Registration,
};

/// How long a node that is new may take to be registered and known here.
const REGISTER_TIMEOUT: Duration = Duration::from_secs(5);

/// A child that is accepted.
pub(super) struct Admitted {
    pub(super) uid: Uid,
    pub(super) welcome: Welcome,
}

/// A child that is not.
pub(super) struct Rejected {
    pub(super) reason: RefusedReason,
    pub(super) text: String,
}

fn not_ready(text: impl ToString) -> Rejected {
    Rejected { reason: RefusedReason::NotReady, text: text.to_string() }
}

/// Decides about a Hello; registers the node if it is new.
pub(super) async fn admit(hello: &Hello, options: &DownlinkOptions) -> Result<Admitted, Rejected> {
    let status = options.quorum.status();
    let Some(cluster) = status.cluster.filter(|cluster| *cluster != ClusterId::default()) else {
        return Err(not_ready("this member has not joined a cluster yet"));
    };
    if hello.cluster != ClusterId::default() && hello.cluster != cluster {
        let text = format!("{} holds Cfg of another cluster, {}", hello.node, hello.cluster);
        return Err(Rejected { reason: RefusedReason::Cluster, text });
    }
    let epoch = options.quorum.epoch();
    if hello.cfg_epoch > epoch {
        let text =
            format!("{} holds Cfg of epoch {}, this is {epoch}", hello.node, hello.cfg_epoch);
        return Err(Rejected { reason: RefusedReason::Cluster, text });
    }
    let is_member = status.members.iter().any(|member| member.name == hello.node);
    if (hello.role == Role::Member) != is_member {
        return Err(not_ready(format!("{} is known in another role", hello.node)));
    }
    let uid = match hello.uid {
        Some(uid) if hello.cfg_epoch == epoch => known(uid, options).await?,
        // What was made after the backup that this epoch began with is not there, and was not
        // removed by anybody.
        Some(uid) => match known(uid, options).await {
            Err(rejected) if rejected.reason == RefusedReason::Gone => {
                named(hello, options).await?
            }
            found => found?,
        },
        None => named(hello, options).await?,
    };
    let node = hello.node.clone();
    let held = options.state.read(move |fleet| (fleet.link_epoch(uid), fleet.spoken_ms(&node)));
    let (held, spoken_ms) = held.await.map_err(not_ready)?;
    check_epoch(hello, held)?;
    let hybrid_ms = options.state.stamps().reading().get();
    let uid_told = (hello.role == Role::Leaf).then_some(uid);
    Ok(Admitted {
        uid,
        welcome: Welcome {
            cluster,
            uid: uid_told,
            hybrid_ms,
            takes_answers: true,
            spoken_ms,
            cfg_epoch: epoch,
        },
    })
}

/// A session must be newer than the last one that was heard of, wherever that was. Those of a
/// member are counted by each of its parents.
fn check_epoch(hello: &Hello, held: SessionEpoch) -> Result<(), Rejected> {
    if hello.role == Role::Member || hello.epoch > held {
        return Ok(());
    }
    let text = format!("session {} of {} is not newer than {held}", hello.epoch, hello.node);
    Err(Rejected { reason: RefusedReason::Epoch(held), text })
}

/// The uid that a child knows itself by, if the object is still there.
async fn known(uid: Uid, options: &DownlinkOptions) -> Result<Uid, Rejected> {
    let here = options.state.read(move |fleet| fleet.object(uid).is_some()).await;
    if here.map_err(not_ready)? {
        return Ok(uid);
    }
    let there =
        read(&*options.quorum, Consistency::Linearizable, |store| store.object(uid).is_some());
    if there.await.map_err(not_ready)? {
        return Err(not_ready("this member has not caught up yet"));
    }
    let text = format!("the object {uid} was removed");
    Err(Rejected { reason: RefusedReason::Gone, text })
}

/// The object of the child's name; made if there is none.
async fn named(hello: &Hello, options: &DownlinkOptions) -> Result<Uid, Rejected> {
    if let Some(uid) = find(hello.node.clone(), options).await? {
        return Ok(uid);
    }
    let author = format!("sync@{}", options.node);
    let asked = Registration { node: &hello.node, labels: &hello.labels, author };
    asked.propose(&*options.quorum, options.clock).await.map_err(not_ready)?;
    let changed = options.state.watch_objects().await;
    let appears = async {
        loop {
            if let Some(uid) = find(hello.node.clone(), options).await? {
                return Ok(uid);
            }
            changed.marked().await;
            changed.take();
        }
    };
    timeout(REGISTER_TIMEOUT, appears).await.map_err(|_| not_ready("not registered in time"))?
}

async fn find(node: Name, options: &DownlinkOptions) -> Result<Option<Uid>, Rejected> {
    let find = move |fleet: &Fleet| fleet.node(&node).map(|object| object.uid);
    options.state.read(find).await.map_err(not_ready)
}
