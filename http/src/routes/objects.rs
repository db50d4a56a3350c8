//! Objects: list, create, read, replace, patch, delete. Nodes are objects of kind `node` under a
//! shorter path.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use kraken_actors::quorum::Consistency;
use kraken_engine::{
    catalog::Catalog,
    command::{Condition, OPS_MAX, Op, Precondition, Target, Txn},
    dsc::Dsc,
    fleet::Fleet,
    id::{Name, Revision, Uid},
    object::{Object, ObjectRef},
    state::State,
    store::Store,
    time::Millis,
    value::Value,
};
use serde_json::Value as Json;
use warp::{Filter, http::StatusCode, reply::Response};

use super::{
    Routes, answered,
    family::{Family, family},
    history::Time,
    write::{Wish, matched},
};
use crate::{
    api::Shared,
    aside::aside,
    call::{Call, Done, call, call_with_body},
    document::{Defaults, Document, parse_reference},
    fields::{Chosen, Fields},
    json::{Patch, flatten},
    problem::Problem,
    query::Which,
    reply::{digest, json, tag_of, tagged, unchanged, with_revision, with_tag},
    view::{List, ObjectView, Setting, Shown},
};

/// Most items of one page of a list; also how many there are unless `limit` says less.
pub(crate) const LIST_ITEMS_MAX: usize = 20_000;

/// So many objects are shown at once.
const OBJECTS_FEW: usize = 256;

pub(super) fn routes(shared: &Arc<Shared>) -> Routes {
    let many = || family().and(warp::path::end());
    let one = || family().and(warp::path::param::<String>()).and(warp::path::end());
    let list_route = many()
        .and(warp::get())
        .and(call(shared))
        .then(|family, call| answered("objects.list", list(family, call)));
    let create_route = many()
        .and(warp::post())
        .and(call_with_body(shared))
        .then(|family, call, body| answered("objects.create", create(family, call, body)));
    let patch_many_route = many()
        .and(warp::patch())
        .and(call_with_body(shared))
        .then(|family, call, body| answered("objects.patchMany", patch_many(family, call, body)));
    let get_route = one()
        .and(warp::get())
        .and(call(shared))
        .then(|family, name, call| answered("objects.get", get(family, name, call)));
    let put_route = one()
        .and(warp::put())
        .and(call_with_body(shared))
        .then(|family, name, call, body| answered("objects.put", put(family, name, call, body)));
    let patch_route =
        one().and(warp::patch()).and(call_with_body(shared)).then(|family, name, call, body| {
            answered("objects.patch", patch(family, name, call, body))
        });
    let delete_route = one()
        .and(warp::delete())
        .and(call_with_body(shared))
        .then(|family, name, call, _| answered("objects.delete", delete(family, name, call)));
    let reads = list_route.or(get_route).unify().boxed();
    let writes = create_route.or(put_route).unify().or(patch_route).unify();
    let writes = writes.or(patch_many_route).unify().or(delete_route).unify();
    reads.or(writes).unify().boxed()
}

/// Objects as they were read, with all that it takes to show them.
pub(super) struct Found {
    pub(super) revision: Revision,
    pub(super) catalog: Arc<Catalog>,
    pub(super) objects: Vec<Arc<Object>>,
    pub(super) owners: BTreeMap<Uid, ObjectRef>,
}

impl Found {
    pub(super) fn of(store: &Store, objects: Vec<Arc<Object>>) -> Self {
        let owners = objects.iter().filter_map(|object| store.object(object.owner?));
        Self {
            revision: store.revision(),
            catalog: store.catalog().clone(),
            owners: owners.map(|owner| (owner.uid, owner.key.clone())).collect(),
            objects,
        }
    }

    /// Shows the objects, or some of their fields, with what this member has seen of them.
    pub(super) async fn show(
        self,
        call: &Call,
        (shown, fields): (Shown, Option<Fields>),
    ) -> Result<Vec<Chosen>, Problem> {
        let shown = fields.as_ref().map_or(shown, |fields| fields.narrow(shown));
        let api = &call.shared.api;
        let uids: Vec<Uid> = self.objects.iter().map(|object| object.uid).collect();
        let seen: Vec<Arc<Dsc>> = match shown {
            Shown::Cfg => vec![Arc::default(); uids.len()],
            Shown::Both | Shown::Dsc | Shown::Merged => {
                let look = move |fleet: &Fleet| uids.iter().map(|uid| fleet.dsc(*uid)).collect();
                api.state.read(look).await?
            }
        };
        let now = api.clock.wall();
        if seen.len() <= OBJECTS_FEW {
            return Ok(self.views(&seen, shown, fields.as_ref(), now));
        }
        aside(move || self.views(&seen, shown, fields.as_ref(), now)).await
    }

    fn views(
        &self,
        seen: &[Arc<Dsc>],
        shown: Shown,
        fields: Option<&Fields>,
        now: Millis,
    ) -> Vec<Chosen> {
        let setting = Setting { catalog: &self.catalog, shown, now };
        let view = |(object, dsc): (&Arc<Object>, &Arc<Dsc>)| {
            let owner = object.owner.and_then(|owner| self.owners.get(&owner));
            Chosen::of(ObjectView::of(object, owner, dsc, setting), fields)
        };
        self.objects.iter().zip(seen).map(view).collect()
    }
}

fn shown(call: &mut Call) -> Result<Shown, Problem> {
    let words = [
        ("both", Shown::Both),
        ("cfg", Shown::Cfg),
        ("dsc", Shown::Dsc),
        ("merged", Shown::Merged),
    ];
    Ok(call.query.one_of("view", &words)?.unwrap_or_default())
}

/// Takes `revision`, and what is shown: of the past only what was asked is known.
fn shown_at(call: &mut Call) -> Result<(Option<Revision>, Shown), Problem> {
    let says = call.query.has("view");
    let shown = shown(call)?;
    match call.query.parse::<u64>("revision")?.map(Revision::new) {
        None => Ok((None, shown)),
        Some(_) if says && shown != Shown::Cfg => {
            Err(Problem::query("view", "what was seen in the past is not kept; give view=cfg"))
        }
        at => Ok((at, Shown::Cfg)),
    }
}

async fn list(family: Family, mut call: Call) -> Result<Response, Problem> {
    let consistency = call.consistency()?;
    let (at, shown) = shown_at(&mut call)?;
    let fields = Fields::take(&mut call.query)?;
    let which = call.query.which()?;
    let limit = call.query.parse::<usize>("limit")?.unwrap_or(LIST_ITEMS_MAX);
    if limit == 0 || limit > LIST_ITEMS_MAX {
        return Err(Problem::query("limit", format!("it must be from 1 to {LIST_ITEMS_MAX}")));
    }
    let after = call.query.take("continue").map(|text| continued(&family, &text)).transpose()?;
    std::mem::take(&mut call.query).done()?;
    let (found, next) = match at {
        None => {
            let read = |store: &Store| {
                let chosen = family.choose(store, &which).into_iter();
                page(store, chosen, after, limit)
            };
            call.read(consistency, read).await?
        }
        Some(at) => {
            let time = Time::at(at, consistency, &call).await?;
            let read = move || {
                let past = time.past(at)?.of_kind(family.kind.as_str(), &time.store);
                let chosen = past.iter().filter(|object| family.chooses(&which, object));
                let (found, next) = page(&time.store, chosen, after, limit);
                Ok::<_, Problem>((Found { revision: at, ..found }, next))
            };
            aside(read).await??
        }
    };
    let revision = found.revision;
    let items = found.show(&call, (shown, fields)).await?;
    let body = List { revision: revision.get(), items, r#continue: next };
    let epoch = call.shared.api.quorum.epoch();
    Ok(with_tag(with_revision(json(&body)?, revision), epoch, revision))
}

/// The key after which a page starts: the last one of the page before.
fn continued(family: &Family, text: &str) -> Result<ObjectRef, Problem> {
    let wrong = || Problem::query("continue", "give it as the page before answered it");
    let key = parse_reference(text).map_err(|_| wrong())?;
    if key.kind == family.kind { Ok(key) } else { Err(wrong()) }
}

fn page<'a>(
    store: &Store,
    chosen: impl Iterator<Item = &'a Arc<Object>>,
    after: Option<ObjectRef>,
    limit: usize,
) -> (Found, Option<String>) {
    let mut rest = chosen.filter(|object| after.as_ref().is_none_or(|after| object.key > *after));
    let objects: Vec<Arc<Object>> = rest.by_ref().take(limit).cloned().collect();
    let is_more = rest.next().is_some();
    let last = objects.last().filter(|_| is_more);
    let next = last.map(|object| crate::view::reference(&object.key));
    (Found::of(store, objects), next)
}

async fn get(family: Family, name: String, mut call: Call) -> Result<Response, Problem> {
    let consistency = call.consistency()?;
    let (at, shown) = shown_at(&mut call)?;
    let fields = Fields::take(&mut call.query)?;
    std::mem::take(&mut call.query).done()?;
    let found = match at {
        None => {
            let read = |store: &Store| {
                Ok::<_, Problem>(Found::of(store, vec![family.get(store, &name)?.clone()]))
            };
            call.read(consistency, read).await??
        }
        Some(at) => {
            let time = Time::at(at, consistency, &call).await?;
            let (family, name) = (family.clone(), name.clone());
            let read = move || {
                let past = time.past(at)?.of_kind(family.kind.as_str(), &time.store);
                let mut named = past.into_iter().filter(|object| family.is_called(object, &name));
                let object = named.next().ok_or_else(|| family.missing(&name))?;
                Ok::<_, Problem>(Found { revision: at, ..Found::of(&time.store, vec![object]) })
            };
            aside(read).await??
        }
    };
    let revision = found.revision;
    let tag = found.objects.first().map(|object| object.revision).unwrap_or_default();
    let view =
        found.show(&call, (shown, fields)).await?.pop().ok_or_else(|| family.missing(&name))?;
    let epoch = call.shared.api.quorum.epoch();
    // Cfg is known by its revision; what was seen changes without one.
    let seen = match shown {
        Shown::Cfg => None,
        Shown::Both | Shown::Dsc | Shown::Merged => Some(digest(&view.ageless())?),
    };
    let tag = tag_of(epoch, tag, seen);
    let held = call.holds(&tag);
    let response = if held { unchanged() } else { json(&view)? };
    Ok(tagged(with_revision(response, revision), &tag))
}

async fn create(family: Family, mut call: Call, body: Bytes) -> Result<Response, Problem> {
    let wish = Wish::of_many(&mut call)?;
    std::mem::take(&mut call.query).done()?;
    let defaults = Defaults { kind: Some(family.kind), namespace: family.namespace, name: None };
    let documents = super::apply::read(&body, &defaults).await?;
    let absent = |object| Precondition { object, is: Condition::Absent };
    let preconditions = documents.iter().flat_map(Document::keys).map(absent).collect();
    let ops = puts(&documents)?;
    super::apply::check(&call, &body, &documents, &defaults).await?;
    let txn = Txn { preconditions, ops, note: None };
    wish.write(&call, txn, StatusCode::CREATED).await
}

/// Puts every object that the documents declare.
pub(super) fn puts(documents: &[Document]) -> Result<Vec<Op>, Problem> {
    puts_within(documents, OPS_MAX)
}

/// The same for at most `limit` objects.
pub(super) fn puts_within(documents: &[Document], limit: usize) -> Result<Vec<Op>, Problem> {
    let count: usize = documents.iter().map(|document| document.names.len()).sum();
    if count > limit {
        return Err(Problem::TooMany { what: "objects".to_owned(), limit: limit as u64 });
    }
    let put = |document: &Document, object| Op::Put {
        object,
        labels: document.labels.clone(),
        owner: document.owner.clone(),
        cfg: document.cfg.clone(),
    };
    let own = |document: &Document, object| {
        let (owner, on_delete) = (document.owner.clone()?, document.on_delete?);
        Some(Op::Own { object, owner: Some(owner), on_delete })
    };
    let of = |document| {
        let ops = move |key: ObjectRef| [Some(put(document, key.clone())), own(document, key)];
        Document::keys(document).flat_map(ops).flatten()
    };
    Ok(documents.iter().flat_map(of).collect())
}

async fn put(
    family: Family,
    name: String,
    mut call: Call,
    body: Bytes,
) -> Result<Response, Problem> {
    let wish = Wish::take(&mut call)?;
    std::mem::take(&mut call.query).done()?;
    let key = key_to_put(&family, &name, &call).await?;
    let defaults = Defaults {
        kind: Some(key.kind.clone()),
        namespace: key.namespace.clone(),
        name: Some(key.name.clone()),
    };
    let documents = super::apply::read(&body, &defaults).await?;
    if documents.len() != 1 {
        return Err(Problem::body("send exactly one manifest"));
    }
    super::apply::check(&call, &body, &documents, &defaults).await?;
    let mut preconditions = matched(call.if_match()?, &key);
    let is_new = call.if_absent()?;
    if is_new {
        preconditions.push(Precondition { object: key, is: Condition::Absent });
    }
    let txn = Txn { preconditions, ops: puts(&documents)?, note: None };
    let status = |done: &Done| if done.created { StatusCode::CREATED } else { StatusCode::OK };
    match wish.write_as(&call, txn, status).await {
        // As a precondition it is told as one.
        Err(problem @ Problem::Exists(_)) if is_new => {
            Err(Problem::PreconditionFailed(problem.to_string()))
        }
        answer => answer,
    }
}

/// The key of an object that is put by name, or by uid where it is there. A name needs no look,
/// which would take the quorum as long as the write itself; a uid that is not there is a name.
async fn key_to_put(family: &Family, name: &str, call: &Call) -> Result<ObjectRef, Problem> {
    let plain = Name::new(name).map(|name| family.key(name)).map_err(|_| family.missing(name));
    if name.parse::<Uid>().is_err() {
        return plain;
    }
    let find = |store: &Store| family.find(store, name).map(|object| object.key.clone());
    call.read(Consistency::Linearizable, find).await?.map_or(plain, Ok)
}

/// Reads a merge patch of Cfg.
fn merge_patch(body: &Bytes) -> Result<Patch, Problem> {
    let json: Json = match serde_json::from_slice(body) {
        Ok(json) => json,
        Err(error) => serde_saphyr::from_slice(body)
            .map_err(|_| Problem::body(format!("the body is neither JSON nor YAML: {error}")))?,
    };
    flatten(&json).map_err(|fault| Problem::BadBody(vec![fault]))
}

/// Reads a merge patch of Cfg; where it is typed, each text as the type of its path says.
async fn read_patch(
    family: &Family,
    call: &Call,
    body: &Bytes,
    typed: bool,
) -> Result<Patch, Problem> {
    let patch = merge_patch(body)?;
    if !typed {
        return Ok(patch);
    }
    let catalog = call.read(Consistency::Stale, |store| store.catalog().clone()).await?;
    let mut set = State::new();
    for (path, value) in patch.set.iter() {
        let rule = catalog.kind(&family.kind).and_then(|kind| kind.schema.rule_at(path));
        let read = match (value.as_str(), rule) {
            (Some(text), Some(rule)) => rule.value_type.read(text),
            (Some(text), None) => Value::from_text(text),
            (None, _) => value.clone(),
        };
        set.set(path.clone(), read).map_err(|error| Problem::body(error.to_string()))?;
    }
    Ok(Patch { set, ..patch })
}

/// One merge of a patch.
fn merge(target: Target, patch: &Patch) -> Op {
    Op::Merge { target, set: patch.set.clone(), unset: patch.unset.clone() }
}

async fn patch(
    family: Family,
    name: String,
    mut call: Call,
    body: Bytes,
) -> Result<Response, Problem> {
    let wish = Wish::take(&mut call)?;
    let typed = call.query.flag("typed")?;
    std::mem::take(&mut call.query).done()?;
    let patch = read_patch(&family, &call, &body, typed).await?;
    let key = key_of(&family, &name, &call).await?;
    let preconditions = matched(call.if_match()?, &key);
    let ops = vec![merge(Target::One(key), &patch)];
    wish.write(&call, Txn { preconditions, ops, note: None }, StatusCode::OK).await
}

/// The key of an object that is asked for by name or uid. A name needs no look: the store refuses
/// one that is not there.
async fn key_of(family: &Family, name: &str, call: &Call) -> Result<ObjectRef, Problem> {
    match Name::new(name) {
        Ok(plain) if name.parse::<Uid>().is_err() => Ok(family.key(plain)),
        _ => {
            let find = |store: &Store| family.get(store, name).map(|object| object.key.clone());
            call.read(Consistency::Linearizable, find).await?
        }
    }
}

async fn patch_many(family: Family, mut call: Call, body: Bytes) -> Result<Response, Problem> {
    let wish = Wish::of_many(&mut call)?;
    let which = call.query.which()?;
    let typed = call.query.flag("typed")?;
    std::mem::take(&mut call.query).done()?;
    let patch = read_patch(&family, &call, &body, typed).await?;
    let targets = match which {
        Which::All => {
            let why = "say which objects are meant, by a selector or by names";
            return Err(Problem::query("selector", why));
        }
        Which::Names(names) if names.len() > OPS_MAX => {
            return Err(Problem::TooMany { what: "names".to_owned(), limit: OPS_MAX as u64 });
        }
        Which::Names(names) => {
            names.into_iter().map(|name| Target::One(family.key(name))).collect()
        }
        Which::Selector(selector) if family.namespace.is_none() => {
            vec![Target::Matching { kind: family.kind, selector }]
        }
        // The store selects within a kind; a namespace narrows that here.
        which @ Which::Selector(_) => {
            let choose = |store: &Store| -> Vec<Target> {
                let chosen = family.choose(store, &which).into_iter();
                chosen.map(|object| Target::One(object.key.clone())).collect()
            };
            call.read(Consistency::Linearizable, choose).await?
        }
    };
    let ops = targets.into_iter().map(|target| merge(target, &patch)).collect();
    wish.write(&call, Txn { preconditions: Vec::new(), ops, note: None }, StatusCode::OK).await
}

async fn delete(family: Family, name: String, mut call: Call) -> Result<Response, Problem> {
    let wish = Wish::take(&mut call)?;
    let force = call.query.flag("force")?;
    std::mem::take(&mut call.query).done()?;
    let key = key_of(&family, &name, &call).await?;
    let preconditions = matched(call.if_match()?, &key);
    let status = if force { StatusCode::OK } else { StatusCode::ACCEPTED };
    let ops = vec![Op::Delete { object: key, force }];
    wish.write(&call, Txn { preconditions, ops, note: None }, status).await
}
