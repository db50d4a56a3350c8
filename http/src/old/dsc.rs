//! `/dsc`: what was seen of nodes. It is read only: what is seen is told by the nodes themselves,
//! and a write is taken only where it says what is seen already.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use kraken_actors::quorum::Consistency;
use kraken_engine::{
    dsc::Dsc,
    fleet::{Fleet, parent_of},
    id::Uid,
    manifest::NODE_KIND,
    object::Object,
    store::Store,
};
use serde_json::Value as Json;
use warp::{Filter, reply::Response};

use super::{
    answer,
    cfg::{Whom, list_of, named_or_own, read_body},
    ids::{self, by_id, id_of},
    names::{Enums, url_of},
    read::{self, Told},
    show,
};
use crate::{
    api::Shared,
    aside::aside,
    call::{Call, Origin, call, call_with_body_from},
    problem::{Fault, Problem},
    reply::{json, with_revision},
    routes::Routes,
};

pub(super) fn routes(shared: &Arc<Shared>) -> Routes {
    let many = || warp::path!("dsc" / "nodes");
    let named = || warp::path!("dsc" / "node" / String).map(Some);
    let one = || warp::path!("dsc" / "node").map(|| None).or(named()).unify();
    let body = call_with_body_from(Origin::Any, shared);
    let list = many().and(warp::get()).and(call(shared));
    let list = list.then(|call| answer("old.dsc.list", list_all(call)));
    let put_many = many().and(warp::put()).and(body.clone());
    let put_many =
        put_many.then(|call, body| answer("old.dsc.putMany", put(call, body, Whom::Many)));
    let get = one().and(warp::get()).and(call(shared));
    let get = get.then(|id, call| answer("old.dsc.get", get_one(id, call)));
    let put_one = one().and(warp::put()).and(body);
    let put_one =
        put_one.then(|id, call, body| answer("old.dsc.put", put(call, body, Whom::One(id))));
    list.or(get).unify().or(put_many).unify().or(put_one).unify().boxed()
}

/// Cfg and what this member has seen, at one moment.
struct Scene {
    store: Store,
    dsc: BTreeMap<Uid, Arc<Dsc>>,
    enums: Enums,
    nothing: Dsc,
}

impl Scene {
    async fn of(call: &Call) -> Result<Self, Problem> {
        let store = call.read(Consistency::Linearizable, Store::clone).await?;
        let dsc = call.shared.api.state.read(Fleet::all_dsc).await?;
        let enums = Enums::of(store.catalog());
        Ok(Self { store, dsc, enums, nothing: Dsc::new() })
    }

    fn show(&self, object: &Object) -> Json {
        let dsc = self.dsc.get(&object.uid).map_or(&self.nothing, Arc::as_ref);
        let parent = parent_of(object, Some(dsc)).and_then(|parent| self.store.node(&parent));
        let parent = parent.map(|parent| id_of(parent));
        show::seen(object, dsc, parent, (self.store.catalog(), &self.enums))
    }

    /// Refuses what says something else than is seen.
    fn check(&self, told: &Told, shown: &Json) -> Result<(), Problem> {
        let seen = read::node(shown, &self.enums)
            .map_err(|fault| Problem::Internal(format!("what is shown cannot be read: {fault}")))?;
        let differs = |(path, value): &(_, &Option<_>)| {
            let held = seen.values.get(*path);
            held.and_then(Option::as_ref) != value.as_ref()
        };
        match told.values.iter().find(differs) {
            None => Ok(()),
            Some((path, _)) => {
                let why = "what is seen is told by the nodes and cannot be written";
                Err(Problem::Invalid(vec![Fault::at(url_of(path), why)]))
            }
        }
    }
}

async fn list_all(call: Call) -> Result<Response, Problem> {
    let scene = Scene::of(&call).await?;
    let revision = scene.store.revision();
    let show = move || {
        let nodes = scene.store.of_kind(NODE_KIND);
        json(&list_of(nodes.map(|object| scene.show(object)).collect()))
    };
    Ok(with_revision(aside(show).await??, revision))
}

async fn get_one(id: Option<String>, call: Call) -> Result<Response, Problem> {
    let scene = Scene::of(&call).await?;
    let object = named_or_own(&scene.store, id.as_deref(), &call)?;
    Ok(with_revision(json(&scene.show(object))?, scene.store.revision()))
}

async fn put(call: Call, body: Bytes, whom: Whom) -> Result<Response, Problem> {
    let scene = Scene::of(&call).await?;
    let revision = scene.store.revision();
    let check = move || {
        let told = read_body(&body, &whom, &scene.enums)?;
        let all = by_id(&scene.store);
        let mut shown = Vec::with_capacity(told.len());
        for told in &told {
            let by_id = told.id.and_then(|id| all.get(&id).copied());
            let by_name = told.name.as_ref().filter(|_| told.id.is_none());
            let object = by_id.or_else(|| scene.store.node(by_name?));
            let object = object.ok_or_else(|| match (told.id, &told.name) {
                (Some(id), _) => ids::missing(&id.to_string()),
                (None, name) => ids::missing(name.as_ref().map_or("", |name| name.as_str())),
            })?;
            told.check_name(object)?;
            let node = scene.show(object);
            scene.check(told, &node)?;
            shown.push(node);
        }
        match whom {
            Whom::Many => json(&list_of(shown)),
            Whom::One(_) => json(&shown.pop().unwrap_or_default()),
        }
    };
    Ok(with_revision(aside(check).await??, revision))
}
