//! `/cfg`: what is asked of nodes. Reads are linearizable; each write is one transaction, made of
//! what differs, so that what changes nothing writes nothing.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use kraken_actors::quorum::Consistency;
use kraken_engine::{
    command::{Command, Condition, Op, Outcome, Precondition, Proposal, Refusal, Target, Txn},
    id::{Name, Revision, Term, Uid},
    manifest::NODE_KIND,
    object::{Object, ObjectRef},
    state::State,
    store::Store,
    value::Value,
};
use serde_json::{Map, Value as Json, json};
use warp::{Filter, reply::Response};

use super::{
    answer,
    ids::{self, by_id, id_of},
    names::Enums,
    paths::ID,
    read::{self, Told},
    show,
};
use crate::{
    aside::aside,
    call::{Call, Origin, call, call_with_body_from},
    problem::{Fault, Problem},
    reply::{json, with_revision},
    routes::Routes,
};

/// The word that writes leave in the history.
const NOTE: &str = "over the old surface";

pub(super) fn routes(shared: &Arc<crate::api::Shared>) -> Routes {
    let many = || warp::path!("cfg" / "nodes");
    let named = || warp::path!("cfg" / "node" / String).map(Some);
    let one = || warp::path!("cfg" / "node").map(|| None).or(named()).unify();
    let body = call_with_body_from(Origin::Any, shared);
    let list = many().and(warp::get()).and(call(shared));
    let list = list.then(|call| answer("old.cfg.list", list_all(call)));
    let put_many = many().and(warp::put()).and(body.clone());
    let put_many =
        put_many.then(|call, body| answer("old.cfg.putMany", change(call, body, Whom::Many)));
    let post_many = many().and(warp::post()).and(body.clone());
    let post_many =
        post_many.then(|call, body| answer("old.cfg.createMany", create(call, body, Whom::Many)));
    let get = one().and(warp::get()).and(call(shared));
    let get = get.then(|id, call| answer("old.cfg.get", get_one(id, call)));
    let put = one().and(warp::put()).and(body.clone());
    let put = put.then(|id, call, body| answer("old.cfg.put", change(call, body, Whom::One(id))));
    let post = one().and(warp::post()).and(body.clone());
    let post =
        post.then(|id, call, body| answer("old.cfg.create", create(call, body, Whom::One(id))));
    let delete = one().and(warp::delete()).and(body);
    let delete = delete.then(|id, call, body| answer("old.cfg.delete", remove(id, call, body)));
    let reads = list.or(get).unify();
    let puts = put_many.or(put).unify();
    let posts = post_many.or(post).unify();
    reads.or(puts).unify().or(posts).unify().or(delete).unify().boxed()
}

/// Whom a body speaks of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Whom {
    /// The nodes of a list.
    Many,
    /// The node whose id the path or the body names.
    One(Option<String>),
}

/// A list of nodes; an empty one has no fields.
pub(super) fn list_of(nodes: Vec<Json>) -> Json {
    if nodes.is_empty() { Json::Object(Map::new()) } else { json!({ "nodes": nodes }) }
}

async fn store(call: &Call) -> Result<Store, Problem> {
    call.read(Consistency::Linearizable, Store::clone).await
}

async fn list_all(call: Call) -> Result<Response, Problem> {
    let store = store(&call).await?;
    let revision = store.revision();
    let show = move || {
        let enums = Enums::of(store.catalog());
        let nodes = store.of_kind(NODE_KIND);
        json(&list_of(nodes.map(|object| show::asked(object, &enums)).collect()))
    };
    Ok(with_revision(aside(show).await??, revision))
}

async fn get_one(id: Option<String>, call: Call) -> Result<Response, Problem> {
    let store = store(&call).await?;
    let object = named_or_own(&store, id.as_deref(), &call)?;
    let shown = show::asked(object, &Enums::of(store.catalog()));
    Ok(with_revision(json(&shown)?, store.revision()))
}

/// The node of an id; without one, the node that answers.
pub(super) fn named_or_own<'a>(
    store: &'a Store,
    id: Option<&str>,
    call: &Call,
) -> Result<&'a Arc<Object>, Problem> {
    let own = &call.shared.api.node;
    match id {
        Some(id) => ids::get(store, id),
        None => store.node(own).ok_or_else(|| ids::missing(own.as_str())),
    }
}

/// Reads the body of a request.
pub(super) fn read_body(body: &Bytes, whom: &Whom, enums: &Enums) -> Result<Vec<Told>, Problem> {
    let json: Json = serde_json::from_slice(body).map_err(Problem::body)?;
    let bad = |fault: Fault| Problem::BadBody(vec![fault]);
    let Whom::One(id) = whom else { return read::nodes(&json, enums).map_err(bad) };
    let mut told = read::node(&json, enums).map_err(bad)?;
    if let Some(id) = id {
        let named: Uid = id.parse().map_err(|_| ids::missing(id))?;
        if told.id.is_some_and(|told| told != named) {
            return Err(bad(Fault::at("id", "it is another than in the path")));
        }
        told.id = Some(named);
    }
    Ok(vec![told])
}

/// One write, and the nodes that are to be shown after it.
struct Write {
    txn: Txn,
    nodes: Vec<Name>,
    is_list: bool,
}

async fn change(call: Call, body: Bytes, whom: Whom) -> Result<Response, Problem> {
    let before = store(&call).await?;
    let work = move || {
        let told = read_body(&body, &whom, &Enums::of(before.catalog()))?;
        let write = changed(&before, &told, whom == Whom::Many)?;
        Ok::<_, Problem>((before, write))
    };
    let (before, write) = aside(work).await??;
    carry_out(&call, before, write).await
}

/// What differs from what is told of nodes that are there.
fn changed(store: &Store, told: &[Told], is_list: bool) -> Result<Write, Problem> {
    let all = is_list.then(|| by_id(store));
    let find = |told: &Told| match (told.id, &told.name, &all) {
        (Some(id), _, Some(all)) => all.get(&id).copied(),
        (Some(id), _, None) => ids::find(store, id),
        (None, Some(name), _) => store.node(name),
        (None, None, _) => None,
    };
    let mut ops = Vec::new();
    let mut nodes = Vec::new();
    for told in told {
        let object = find(told).ok_or_else(|| unknown(told))?;
        told.check_name(object)?;
        let (set, unset) = told.missing_in(&object.cfg)?;
        if !(set.is_empty() && unset.is_empty()) {
            ops.push(Op::Merge { target: Target::One(object.key.clone()), set, unset });
        }
        nodes.push(object.key.name.clone());
    }
    let txn = Txn { preconditions: Vec::new(), ops, note: Some(NOTE.to_owned()) };
    Ok(Write { txn, nodes, is_list })
}

fn unknown(told: &Told) -> Problem {
    match (told.id, &told.name) {
        (Some(id), _) => ids::missing(&id.to_string()),
        (None, Some(name)) => ids::missing(name.as_str()),
        (None, None) => Problem::BadBody(vec![Fault::at("id", "say which node is meant")]),
    }
}

async fn create(call: Call, body: Bytes, whom: Whom) -> Result<Response, Problem> {
    // Ids are looked for before they are given: no other request gives the same ones meanwhile.
    let shared = call.shared.clone();
    let _alone = match &shared.old {
        Some(old) => Some(old.creating.lock().await),
        None => None,
    };
    let before = store(&call).await?;
    let work = move || {
        let told = read_body(&body, &whom, &Enums::of(before.catalog()))?;
        let write = created(&before, &told, whom == Whom::Many)?;
        Ok::<_, Problem>((before, write))
    };
    let (before, write) = aside(work).await??;
    carry_out(&call, before, write).await
}

/// Creates what is told of nodes, none of which may be there.
fn created(store: &Store, told: &[Told], is_list: bool) -> Result<Write, Problem> {
    let all: BTreeMap<Uid, &Arc<Object>> = by_id(store);
    let (mut ops, mut preconditions) = (Vec::new(), Vec::new());
    let (mut nodes, mut there) = (Vec::new(), Vec::new());
    for told in told {
        let key = key_of(told)?;
        let same_id = told.id.and_then(|id| all.get(&id).copied().or_else(|| store.object(id)));
        if let Some(object) = same_id.or_else(|| store.find(&key)) {
            there.push(format!("{} ({})", object.key, id_of(object)));
            continue;
        }
        let (mut cfg, _) = told.missing_in(&State::new())?;
        if let Some(id) = told.id {
            let at = kraken_engine::path::Path::new(ID).map_err(Problem::body)?;
            cfg.set(at, Value::from(id.to_string())).map_err(Problem::body)?;
        }
        nodes.push(key.name.clone());
        preconditions.push(Precondition { object: key.clone(), is: Condition::Absent });
        ops.push(Op::Put { object: key, labels: None, owner: None, cfg });
    }
    if !there.is_empty() {
        return Err(Problem::Exists(there));
    }
    Ok(Write { txn: Txn { preconditions, ops, note: Some(NOTE.to_owned()) }, nodes, is_list })
}

/// What a new node is called: as it is told, else by its id.
fn key_of(told: &Told) -> Result<ObjectRef, Problem> {
    let name = match (&told.name, told.id) {
        (Some(name), _) => name.clone(),
        (None, Some(id)) => Name::new(id.to_string()).map_err(Problem::body)?,
        (None, None) => {
            let why = "give a new node a name, or an id";
            return Err(Problem::BadBody(vec![Fault::at("nodename", why)]));
        }
    };
    ids::key(name)
}

/// Has a write committed, unless it changes nothing, and shows its nodes as they are then.
async fn carry_out(call: &Call, before: Store, write: Write) -> Result<Response, Problem> {
    let mut now = before;
    if !write.txn.ops.is_empty() {
        call.propose(Command::Txn(write.txn)).await?;
        now = store(call).await?;
    }
    let (nodes, is_list, revision) = (write.nodes, write.is_list, now.revision());
    let show = move || {
        let enums = Enums::of(now.catalog());
        let found = nodes.iter().filter_map(|name| now.node(name));
        let mut shown: Vec<Json> = found.map(|object| show::asked(object, &enums)).collect();
        if is_list { json(&list_of(shown)) } else { json(&shown.pop().unwrap_or_default()) }
    };
    Ok(with_revision(aside(show).await??, revision))
}

/// Removes a node at once, as clients of the old surface expect it: what runs on the machine is
/// left as it is. The answer is the node as it was.
async fn remove(id: Option<String>, call: Call, body: Bytes) -> Result<Response, Problem> {
    let before = store(&call).await?;
    let enums = Enums::of(before.catalog());
    let id = if let Some(id) = id {
        id
    } else {
        let told = read_body(&body, &Whom::One(None), &enums)?.pop().unwrap_or_default();
        told.id.ok_or_else(|| unknown(&Told::default()))?.to_string()
    };
    let object = ids::get(&before, &id)?;
    check_guests(&before, object)?;
    let shown = show::asked(object, &enums);
    let ops = vec![Op::Delete { object: object.key.clone(), force: true }];
    let txn = Txn { preconditions: Vec::new(), ops, note: Some(NOTE.to_owned()) };
    let done = call.propose(Command::Txn(txn)).await?;
    Ok(with_revision(json(&shown)?, done.revision))
}

/// Refuses to remove a node that hosts what must never run twice, as a removal that waits would
/// be refused: carried out on a copy of the store.
fn check_guests(store: &Store, object: &Object) -> Result<(), Problem> {
    let ops = vec![Op::Delete { object: object.key.clone(), force: false }];
    let txn = Txn { preconditions: Vec::new(), ops, note: None };
    let proposal = Proposal {
        request: None,
        author: String::new(),
        at: object.created,
        command: Command::Txn(txn),
    };
    let next = Revision::new(store.revision().get().saturating_add(1));
    match store.clone().apply(next, Term::default(), &proposal).outcome {
        Outcome::Refused(refusal @ Refusal::HasGuest { .. }) => Err(refusal.into()),
        Outcome::Refused(_) | Outcome::Applied { .. } => Ok(()),
    }
}
