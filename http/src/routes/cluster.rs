//! The quorum: how it is, founding and joining, who leads, who leaves.

use std::{future::ready, sync::Arc};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use kraken_actors::quorum::{Member, QuorumError, QuorumStatus};
use kraken_engine::id::MemberId;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value as Json, json};
use warp::{Filter, http::StatusCode, reply::Response};

use super::{Routes, answered};
use crate::{
    api::Shared,
    call::{Call, call, call_with_body},
    problem::Problem,
    reply::{self, with_revision, with_status},
    view::{LeaderView, MembershipView},
};

/// Most addresses through which a member may be asked to join.
pub(crate) const VIA_MAX: usize = 16;

pub(super) fn routes(shared: &Arc<Shared>) -> Routes {
    let show = warp::path!("v1" / "cluster")
        .and(warp::get())
        .and(call(shared))
        .then(|call| answered("cluster.show", ready(show(call))));
    let init = warp::path!("v1" / "cluster" / "init")
        .and(warp::post())
        .and(call_with_body(shared))
        .then(|call, _| answered("cluster.init", init(call)));
    let join = warp::path!("v1" / "cluster" / "join")
        .and(warp::post())
        .and(call_with_body(shared))
        .then(|call, body| answered("cluster.join", join(call, body)));
    let remove = warp::path!("v1" / "cluster" / "members" / String)
        .and(warp::delete())
        .and(call_with_body(shared))
        .then(|member, call, _| answered("cluster.remove", remove(member, call)));
    let promote = warp::path!("v1" / "cluster" / "promote")
        .and(warp::post())
        .and(call_with_body(shared))
        .then(|call, body| answered("cluster.promote", promote(call, body)));
    let leader = warp::path!("v1" / "cluster" / "leader")
        .and(warp::post())
        .and(call_with_body(shared))
        .then(|call, body| answered("cluster.leader", leader(call, body)));
    let changes = remove.or(promote).unify().or(leader).unify();
    let writes = init.or(join).unify().or(changes).unify();
    show.or(writes).unify().boxed()
}

/// Which cluster to join.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(rename = "Join")]
pub(crate) struct JoinBody {
    /// Raft addresses of members, `host:port`.
    #[schemars(length(min = 1, max = VIA_MAX))]
    via: Vec<String>,
    /// Not to vote until it is promoted.
    #[serde(default)]
    learner: bool,
}

/// Who is to vote.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(rename = "Promote")]
pub(crate) struct PromoteBody {
    /// The id or name of a learner.
    member: IdOrName,
}

/// Who is to lead.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(rename = "NewLeader")]
pub(crate) struct LeaderBody {
    /// The id or name of a member.
    to: IdOrName,
}

/// The id or name of a member.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
enum IdOrName {
    Id(u64),
    Name(String),
}

fn show(mut call: Call) -> Result<Response, Problem> {
    std::mem::take(&mut call.query).done()?;
    let api = &call.shared.api;
    let status = api.quorum.status();
    let named = |member: &&Member| Some(member.id) == status.leader;
    let leader_name = status.members.iter().find(named).map(|member| member.name.clone());
    let revision = status.revision;
    let mut body = serde_json::to_value(&status)
        .map_err(|error| Problem::Internal(format!("the status has no JSON form: {error}")))?;
    if let Json::Object(body) = &mut body {
        body.insert("node".to_owned(), json!(api.node));
        body.insert("version".to_owned(), json!(api.version));
        body.insert("leaderName".to_owned(), json!(leader_name));
        body.insert("epoch".to_owned(), json!(api.quorum.epoch()));
    }
    Ok(with_revision(reply::json(&body)?, revision))
}

/// Waits for a change of membership no longer than a client will.
async fn within<T>(
    call: &Call,
    change: BoxFuture<'_, Result<T, QuorumError>>,
) -> Result<T, Problem> {
    match tokio::time::timeout(MEMBERSHIP_WAITS * call.shared.limits.quorum_timeout, change).await {
        Ok(changed) => Ok(changed?),
        Err(_) => Err(Problem::Timeout("the change of membership goes on".to_owned())),
    }
}

/// A change of membership waits until the new member has caught up: this many times as long as any
/// other request.
const MEMBERSHIP_WAITS: u32 = 4;

async fn init(mut call: Call) -> Result<Response, Problem> {
    std::mem::take(&mut call.query).done()?;
    let member = within(&call, call.shared.api.quorum.init()).await?;
    Ok(with_status(reply::json(&membership(member))?, StatusCode::CREATED))
}

async fn join(mut call: Call, body: Bytes) -> Result<Response, Problem> {
    std::mem::take(&mut call.query).done()?;
    let JoinBody { via, learner } = serde_json::from_slice(&body).map_err(Problem::body)?;
    if via.is_empty() || via.len() > VIA_MAX {
        let why = format!("`via` holds from 1 to {VIA_MAX} addresses of members");
        return Err(Problem::body(why));
    }
    let member = within(&call, call.shared.api.quorum.join(via, learner)).await?;
    reply::json(&membership(member))
}

/// Word of a member.
fn membership(member: MemberId) -> MembershipView {
    MembershipView { member: member.get() }
}

/// A member by id, else by name.
fn member(status: &QuorumStatus, asked: &IdOrName) -> Result<MemberId, Problem> {
    let (id, text) = match asked {
        IdOrName::Id(id) => (Some(*id), id.to_string()),
        IdOrName::Name(name) => (name.parse().ok(), name.clone()),
    };
    let by_name = status.members.iter().find(|member| member.name.as_str() == text);
    let by_id = || status.members.iter().find(|member| Some(member.id.get()) == id);
    let found = by_name.or_else(by_id).map(|member| member.id);
    found.ok_or_else(|| Problem::NoSuchThing(format!("member {text}")))
}

async fn remove(name: String, mut call: Call) -> Result<Response, Problem> {
    std::mem::take(&mut call.query).done()?;
    let quorum = &call.shared.api.quorum;
    let id = member(&quorum.status(), &IdOrName::Name(name))?;
    within(&call, quorum.remove(id)).await?;
    reply::json(&membership(id))
}

async fn promote(mut call: Call, body: Bytes) -> Result<Response, Problem> {
    std::mem::take(&mut call.query).done()?;
    let PromoteBody { member: asked } = serde_json::from_slice(&body).map_err(Problem::body)?;
    let quorum = &call.shared.api.quorum;
    let id = member(&quorum.status(), &asked)?;
    within(&call, quorum.promote(id)).await?;
    reply::json(&membership(id))
}

async fn leader(mut call: Call, body: Bytes) -> Result<Response, Problem> {
    std::mem::take(&mut call.query).done()?;
    let LeaderBody { to } = serde_json::from_slice(&body).map_err(Problem::body)?;
    let quorum = &call.shared.api.quorum;
    let id = member(&quorum.status(), &to)?;
    within(&call, quorum.transfer(id)).await?;
    reply::json(&LeaderView { leader: id.get() })
}
