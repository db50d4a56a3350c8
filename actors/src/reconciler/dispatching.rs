//! The part of the driver that has attempts carried out: those of the node's own lane here, those
//! of the quorum's lane wherever they belong.

use kraken_engine::{
    catalog::Catalog,
    command::Intent,
    fleet::Fleet,
    id::{AttemptId, Name, SessionEpoch, Uid},
    machine::{Attempted, CLOSE_MS, Dispatch, START_WITHIN_MS},
    mutation::{Context, Lane, MutationId},
    object::Object,
    order::{LookAt, Order, Recall},
    route::{NoRoute, Route, Seen, first_to, parent_lookers, route},
    time::Millis,
};

use super::{driver::Driver, messages::Answers, subject::Sight};
use crate::{
    host::{Admission, Start},
    orders::{Input, Told},
    state::Stopped,
};

/// What a route depends on.
struct Asked {
    context: Context,
    module: Name,
    object: std::sync::Arc<Object>,
    /// The node to which it was sent before.
    pinned: Option<Name>,
}

/// Who carries something out, or why nobody does, and the last session of that node.
type Found = (Result<Route, NoRoute>, SessionEpoch);

/// The way of an order to another node.
struct Way {
    to: Name,
    first: Name,
    /// The last session of the node that was heard of.
    last: SessionEpoch,
}

impl Driver {
    /// Hands attempts to whoever carries them out; how that went comes back as answers.
    pub(super) async fn dispatch(
        &mut self,
        dispatches: Vec<(Lane, Dispatch)>,
        sight: &Sight,
    ) -> Result<(), Stopped> {
        let (mut here, mut led) = (Vec::new(), Vec::new());
        for (lane, dispatch) in dispatches {
            match lane {
                Lane::Itself => here.push(dispatch),
                Lane::Quorum => led.push(dispatch),
            }
        }
        let mut answers = Vec::new();
        for (dispatch, found) in self.routes(led, sight).await? {
            let (found, last) = found;
            match found {
                Ok(Route { first: None, to }) => {
                    self.note(&dispatch, &to);
                    here.push(dispatch);
                }
                Ok(Route { first: Some(first), to }) => {
                    answers.extend(self.give(&dispatch, Way { to, first, last }, sight));
                }
                // What was sent already may still run, and its way may come back.
                Err(_) if self.sent.node_of(&dispatch.attempt).is_some() => {}
                Err(why) => {
                    answers.push((dispatch.attempt, Attempted::NoService(why.to_string())));
                }
            }
        }
        self.later(answers);
        if !here.is_empty() {
            self.dispatch_here(here, sight);
        }
        Ok(())
    }

    /// Finds who carries out what, and the last session of that node that was heard of.
    async fn routes(
        &self,
        dispatches: Vec<Dispatch>,
        sight: &Sight,
    ) -> Result<Vec<(Dispatch, Found)>, Stopped> {
        if dispatches.is_empty() {
            return Ok(Vec::new());
        }
        let known = |dispatch: Dispatch| {
            let object = sight.known(dispatch.uid)?.object.clone();
            let mutation = &dispatch.instance.mutation;
            let pinned = self.sent.node_of(&dispatch.attempt);
            let (context, module) = (mutation.context, mutation.id.module.clone());
            Some((dispatch, Asked { context, module, object, pinned }))
        };
        let (dispatches, asked): (Vec<_>, Vec<_>) =
            dispatches.into_iter().filter_map(known).unzip();
        let members = self.orders.ways().members();
        let find = move |fleet: &Fleet| {
            let standing = Seen::new(fleet, &members);
            let find = |asked: Asked| {
                let found = match asked.pinned {
                    // It goes where it went before, under the same id, by whatever way there is.
                    Some(node) => first_to(&node, &standing).map(|first| Route { to: node, first }),
                    None => route(asked.context, &asked.module, &asked.object, &standing),
                };
                let last = found.as_ref().map(|route| fleet.session_of(&route.to));
                let last = last.unwrap_or_default();
                (found, last)
            };
            asked.into_iter().map(find).collect::<Vec<_>>()
        };
        let found = self.state.read(find).await?;
        Ok(dispatches.into_iter().zip(found).collect())
    }

    fn note(&mut self, dispatch: &Dispatch, node: &Name) {
        let until = self.clock.wall().after(dispatch.timeout).after_ms(2 * CLOSE_MS);
        self.sent.put(&dispatch.attempt, node, until);
    }

    /// Gives an order to the desk; says what to tell the decider.
    fn give(&mut self, dispatch: &Dispatch, way: Way, sight: &Sight) -> Answers {
        let Way { to, first, last } = way;
        let (Some(term), Some(known)) = (self.term, sight.known(dispatch.uid)) else {
            return Vec::new();
        };
        self.note(dispatch, &to);
        let subject = known.subject(&sight.catalog, Millis::ZERO);
        let session = self.sent.first_session(&dispatch.attempt, last);
        let span = self.tracing.span_of(Lane::Quorum, dispatch.uid, &dispatch.attempt);
        let order = Order::new(dispatch, to.clone(), term, subject).sent_in(session).within(span);
        let mut answers = vec![(dispatch.attempt.clone(), Attempted::Handed(to))];
        if !self.orders.try_tell(Input::Give(Box::new(order), first)) {
            answers.push((dispatch.attempt.clone(), Attempted::Busy));
        }
        answers
    }

    /// Hands attempts to the modules of this node.
    fn dispatch_here(&self, dispatches: Vec<Dispatch>, sight: &Sight) {
        let (host, answers) = (self.host.clone(), self.answers.clone());
        let starts: Vec<Start> =
            dispatches.into_iter().filter_map(|dispatch| self.start(dispatch, sight)).collect();
        actix_rt::spawn(async move {
            let asked: Vec<(AttemptId, Name)> = starts
                .iter()
                .map(|start| (start.attempt.clone(), start.mutation.module.clone()))
                .collect();
            // Without an answer they are asked for again under the same ids.
            let Some(admitted) = host.mutate_all(starts).await else { return };
            let told = asked.into_iter().zip(admitted).map(|((attempt, module), admission)| {
                let what = match admission {
                    Admission::Accepted => Attempted::Acknowledged,
                    Admission::Busy | Admission::Late => Attempted::Busy,
                    Admission::NoModule => {
                        Attempted::NoService(format!("module {module} does not run here"))
                    }
                };
                (attempt, what)
            });
            // Fails only when the node stops.
            answers.send(told.collect()).await.ok();
        });
    }

    /// An attempt as its module is asked for it.
    fn start(&self, dispatch: Dispatch, sight: &Sight) -> Option<Start> {
        let known = sight.known(dispatch.uid)?;
        let lookers = known.lookers(&self.node, self.term.is_some(), &sight.catalog);
        let mutation = dispatch.instance.mutation;
        let lane = mutation.context.lane();
        let span = self.tracing.span_of(lane, dispatch.uid, &dispatch.attempt);
        Some(Start {
            attempt: dispatch.attempt,
            mutation: mutation.id.clone(),
            bindings: dispatch.instance.bindings,
            object: known.view(&sight.catalog, lookers),
            timeout: dispatch.timeout,
            cancellable: mutation.cancellable,
            start_by: self.clock.wall().after_ms(START_WITHIN_MS),
            lane,
            span,
        })
    }

    /// Tells the decider something once it has carried out what it is at.
    fn later(&self, told: Answers) {
        if !told.is_empty() {
            let answers = self.answers.clone();
            // Fails only when the node stops.
            actix_rt::spawn(async move { answers.send(told).await.ok() });
        }
    }

    /// Has an attempt given up, wherever it is.
    pub(super) async fn cancel(&self, attempt: AttemptId) -> Result<(), Stopped> {
        let to = self.sent.node_of(&attempt).filter(|node| *node != self.node);
        let Some(to) = to else {
            let host = self.host.clone();
            actix_rt::spawn(async move { host.cancel(attempt).await });
            return Ok(());
        };
        let (members, node) = (self.orders.ways().members(), to.clone());
        let find = move |fleet: &Fleet| first_to(&node, &Seen::new(fleet, &members)).ok().flatten();
        let first = self.state.read(find).await?;
        // What cannot be recalled ends by itself.
        self.orders.try_tell(Input::Recall(Recall { to, attempt, asks: None }, first));
        Ok(())
    }

    /// Has an object looked at: here, on its own node, and by those who see what a parent sees.
    pub(super) async fn ask_for_a_look(&self, uid: Uid) -> Result<(), Stopped> {
        self.host.look(uid);
        if self.term.is_none() {
            return Ok(());
        }
        let members = self.orders.ways().members();
        let find = move |fleet: &Fleet| {
            let standing = Seen::new(fleet, &members);
            let object = fleet.object(uid)?;
            let kind = fleet.catalog().kind(&object.key.kind)?;
            let mut lookers = parent_lookers(kind, object, &standing);
            lookers.extend(object.host());
            let ways = lookers.into_iter().filter_map(|node| {
                let first = first_to(&node, &standing).ok()??;
                Some((node, first))
            });
            Some(ways.collect::<Vec<_>>())
        };
        for (to, first) in self.state.read(find).await?.unwrap_or_default() {
            self.orders.try_tell(Input::Look(LookAt { to, uid }, Some(first)));
        }
        Ok(())
    }

    /// Chooses who carries out disruptive attempts, so that their intents name the nodes.
    pub(super) async fn choose_hosts(
        &mut self,
        intents: Vec<Intent>,
    ) -> Result<Vec<Intent>, Stopped> {
        let members = self.orders.ways().members();
        let choose = move |fleet: &Fleet| {
            let standing = Seen::new(fleet, &members);
            let choose = |intent: Intent| {
                let object = fleet.object(intent.uid);
                let found = object.and_then(|object| {
                    let context = context_of(&intent.mutation, &object.key.kind, fleet.catalog())?;
                    Some(route(context, &intent.host, object, &standing))
                });
                (intent, found)
            };
            intents.into_iter().map(choose).collect::<Vec<_>>()
        };
        let (mut chosen, mut answers) = (Vec::new(), Vec::new());
        for (intent, found) in self.state.read(choose).await? {
            let attempt = intent.attempt.clone();
            let what = match found {
                Some(Ok(Route { to, .. })) => {
                    let until = intent.ends_by.after_ms(2 * CLOSE_MS);
                    self.sent.put(&attempt, &to, until);
                    chosen.push(Intent { host: to.clone(), ..intent });
                    Attempted::Handed(to)
                }
                Some(Err(why)) => Attempted::IntentRefused(why.to_string()),
                None => Attempted::IntentRefused("it is not declared any more".to_owned()),
            };
            answers.push((attempt, what));
        }
        self.later(answers);
        Ok(chosen)
    }

    /// News of attempts that others carry out.
    pub(super) async fn told(&mut self, told: Vec<Told>) -> Result<(), Stopped> {
        let (mut answers, mut ended, mut asks) = (Vec::new(), Vec::new(), Vec::new());
        for told in told {
            match told {
                Told::Answer(answer) => {
                    ended.extend(self.left.heard(&answer));
                    answers.extend(self.sent.heard(answer));
                }
                Told::Progress(attempt, text) => {
                    answers.push((attempt, Attempted::Progressed(text)));
                }
                Told::Holds(holds) => {
                    let missing = self.sent.missing(&holds).into_iter();
                    asks.extend(missing.map(|attempt| (holds.node.clone(), attempt)));
                }
            }
        }
        self.settle(ended).await?;
        self.ask(asks).await?;
        self.attempted(answers).await
    }
}

fn context_of(mutation: &str, kind: &Name, catalog: &Catalog) -> Option<Context> {
    let id = mutation.split('(').next()?.to_owned();
    let id: MutationId = id.try_into().ok()?;
    Some(catalog.kind(kind)?.mutation(&id)?.context)
}
