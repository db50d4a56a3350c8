//! Whether a child that says Hello is accepted, and as which object.

use std::time::Duration;

use kraken_engine::{
    fleet::Fleet,
    id::{ClusterId, Epoch, Name, Uid},
    sync::{
        below::{check_name, check_session},
        frame::{Admission, Below, Hello, Refused, RefusedReason, Role, Welcome},
    },
};
use tokio::time::timeout;

use super::{Door, DownlinkOptions};
use crate::{
    above::{Above, Standing},
    quorum::{Consistency, Quorum, read},
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

pub(super) fn not_ready(text: impl ToString) -> Rejected {
    Rejected { reason: RefusedReason::NotReady, text: text.to_string() }
}

fn rejected(Refused { reason, text }: Refused) -> Rejected {
    Rejected { reason, text }
}

/// Decides about a Hello, or has it decided above.
pub(super) async fn admit(below: &Below, options: &DownlinkOptions) -> Result<Admitted, Rejected> {
    check_name(below, &options.node).map_err(rejected)?;
    match &options.door {
        Door::Quorum(quorum) => by_quorum(below, &**quorum, options).await,
        Door::Above(above) => by_parent(below, above, options).await,
    }
}

/// Asks the parent of this relay. While that is away a leaf that is known is let in all the same,
/// and asked about later; a relay is not, which might be the one that this one would be attached to
/// next.
async fn by_parent(
    below: &Below,
    above: &Above,
    options: &DownlinkOptions,
) -> Result<Admitted, Rejected> {
    let hello = &below.hello;
    if hello.role == Role::Member {
        return Err(not_ready("a member attaches to members"));
    }
    match timeout(REGISTER_TIMEOUT, above.admit(below.clone())).await.ok().flatten() {
        Some(Admission::Welcome(welcome)) => {
            let uid = welcome.uid.ok_or_else(|| not_ready("its object is not known above"))?;
            Ok(Admitted { uid, welcome })
        }
        Some(Admission::Refused(refused)) => Err(rejected(refused)),
        None if hello.role == Role::Leaf => from_memory(below, above, options).await,
        None => Err(not_ready("this relay is attached to nobody")),
    }
}

/// What this relay knows by itself of a leaf that was below it, or is in its Cfg.
async fn from_memory(
    below: &Below,
    above: &Above,
    options: &DownlinkOptions,
) -> Result<Admitted, Rejected> {
    let hello = &below.hello;
    let Standing { cluster, epoch, session } = *above.standing().borrow();
    let is_of_ours = hello.cluster == cluster && hello.cfg_epoch == epoch;
    if session.is_some() || !is_of_ours || cluster == ClusterId::default() {
        return Err(not_ready("this relay is attached to nobody"));
    }
    let node = hello.node.clone();
    let held = move |fleet: &Fleet| {
        let node = fleet.node(&node).filter(|_| fleet.is_whole(&node));
        node.map(|object| object.uid)
    };
    let uid = options.state.read(held).await.map_err(not_ready)?;
    let uid = uid.ok_or_else(|| not_ready("this relay is attached to nobody"))?;
    let welcome = welcome(below, uid, (cluster, epoch), options).await?;
    Ok(Admitted { uid, welcome })
}

/// Decides as a member; registers the node if it is new.
async fn by_quorum(
    below: &Below,
    quorum: &dyn Quorum,
    options: &DownlinkOptions,
) -> Result<Admitted, Rejected> {
    let hello = &below.hello;
    let status = quorum.status();
    let Some(cluster) = status.cluster.filter(|cluster| *cluster != ClusterId::default()) else {
        return Err(not_ready("this member has not joined a cluster yet"));
    };
    if hello.cluster != ClusterId::default() && hello.cluster != cluster {
        let text = format!("{} holds Cfg of another cluster, {}", hello.node, hello.cluster);
        return Err(Rejected { reason: RefusedReason::Cluster, text });
    }
    let epoch = quorum.epoch();
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
        Some(uid) => match known(uid, quorum, options).await {
            // It was removed, and is not made anew by itself; perhaps somebody has.
            Err(gone) if gone.reason == RefusedReason::Gone && hello.cfg_epoch == epoch => {
                find(hello.node.clone(), options).await?.ok_or(gone)?
            }
            // What was made after the backup that this epoch began with is not there, and was not
            // removed by anybody.
            Err(gone) if gone.reason == RefusedReason::Gone => {
                named(hello, quorum, options).await?
            }
            found => found?,
        },
        None => named(hello, quorum, options).await?,
    };
    let welcome = welcome(below, uid, (cluster, epoch), options).await?;
    Ok(Admitted { uid, welcome })
}

/// What a child is told that is let in.
async fn welcome(
    below: &Below,
    uid: Uid,
    (cluster, epoch): (ClusterId, Epoch),
    options: &DownlinkOptions,
) -> Result<Welcome, Rejected> {
    let hello = &below.hello;
    let node = hello.node.clone();
    let held =
        move |fleet: &Fleet| (fleet.link_epoch(uid), fleet.is_up(uid), fleet.spoken_ms(&node));
    let (held, is_up, spoken_ms) = options.state.read(held).await.map_err(not_ready)?;
    check_session(below, held, is_up).map_err(rejected)?;
    let hybrid_ms = options.state.stamps().reading().get();
    let uid_told = hello.role.is_below().then_some(uid);
    Ok(Welcome {
        cluster,
        uid: uid_told,
        hybrid_ms,
        takes_answers: true,
        takes_beats: true,
        spoken_ms,
        cfg_epoch: epoch,
    })
}

/// The uid that a child knows itself by, if the object is still there.
async fn known(uid: Uid, quorum: &dyn Quorum, options: &DownlinkOptions) -> Result<Uid, Rejected> {
    let here = options.state.read(move |fleet| fleet.object(uid).is_some()).await;
    if here.map_err(not_ready)? {
        return Ok(uid);
    }
    let there = read(quorum, Consistency::Linearizable, |store| store.object(uid).is_some());
    if there.await.map_err(not_ready)? {
        return Err(not_ready("this member has not caught up yet"));
    }
    let text = format!("the object {uid} was removed");
    Err(Rejected { reason: RefusedReason::Gone, text })
}

/// The object of the child's name; made if there is none.
async fn named(
    hello: &Hello,
    quorum: &dyn Quorum,
    options: &DownlinkOptions,
) -> Result<Uid, Rejected> {
    if let Some(uid) = find(hello.node.clone(), options).await? {
        return Ok(uid);
    }
    let author = format!("sync@{}", options.node);
    let asked = Registration { node: &hello.node, labels: &hello.labels, author };
    asked.propose(quorum, options.clock).await.map_err(not_ready)?;
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
