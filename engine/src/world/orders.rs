//! Orders between nodes: what the leader decides for a leaf goes down to it, member to leaf where
//! it must, and what became of it comes up to whoever leads by then. As the desk of a node does it,
//! without its queues.

use std::{collections::BTreeSet, time::Duration};

use super::{Event, Place, World, modules::MACHINES, quorum::Wish, work::Order as Start};
use crate::{
    command::{Command, Intent},
    fleet::Fleet,
    id::{AttemptId, Name, Term},
    invariants::What,
    machine::{Attempted, CLOSE_MS, Dispatch},
    mutation::{Context, MutationId},
    object::Object,
    order::{
        Answer, Held, Holds, LookAt, Order, Ready, Recall, Said,
        hands::{Hands, Screened, Way},
        left::{Ended, Left},
        recheck,
        sent::Sent,
    },
    route::{Route, Seen, Standing, first_to, route},
    singleton::Lease,
    sync::{
        frame::Frame,
        orders::{Goes, Orphan},
        parent::Session,
    },
    time::Millis,
    view::Subject,
};

/// What a node has in hand and, while it leads, what it has sent.
#[derive(Default)]
pub(super) struct Desk {
    pub(super) hands: Hands,
    pub(super) sent: Sent,
    pub(super) left: Left,
}

/// What a leader knows of the nodes. All modules run everywhere where they belong.
struct Known<'a>(Seen<'a>);

impl Standing for Known<'_> {
    fn leader(&self) -> &Name {
        self.0.leader()
    }

    fn is_member(&self, node: &Name) -> bool {
        self.0.is_member(node)
    }

    fn members(&self) -> Vec<Name> {
        self.0.members()
    }

    fn parent_of(&self, node: &Name) -> Option<Name> {
        self.0.parent_of(node)
    }

    fn runs(&self, node: &Name, module: &Name) -> bool {
        self.is_member(node) == MACHINES.contains(&module.as_str())
    }
}

impl World {
    /// Asks something of a leader's standing.
    fn standing<R>(&self, place: Place, ask: impl FnOnce(&Known<'_>, &Fleet) -> R) -> R {
        let members = self.sites.iter().take(self.members).map(|site| &site.name);
        let attached = members.filter(|name| self.downlinks[place].link_of(name).is_some());
        let members: BTreeSet<Name> = attached.cloned().collect();
        let fleet = &self.sites[place].fleet;
        ask(&Known(Seen::new(fleet, &members)), fleet)
    }

    /// Has a leader's dispatch carried out on the node that it is about.
    pub(super) fn give(&mut self, place: Place, dispatch: &Dispatch) {
        let attempt = &dispatch.attempt;
        let pinned = self.desks[place].sent.node_of(attempt);
        let mutation = &dispatch.instance.mutation;
        let found = self.standing(place, |standing, fleet| {
            if let Some(node) = &pinned {
                return first_to(node, standing).map(|first| Route { to: node.clone(), first });
            }
            let Some(object) = fleet.object(dispatch.uid) else {
                return Ok(Route { to: standing.leader().clone(), first: None });
            };
            route(mutation.context, &mutation.id.module, object, standing)
        });
        match found {
            Ok(Route { to, first: Some(first) }) => self.send_order(place, dispatch, (to, first)),
            // The object is gone: its decider is about to know it.
            Ok(Route { first: None, .. }) => {}
            // What was sent already may still run, and its way may come back.
            Err(_) if pinned.is_some() => {}
            Err(why) => {
                let why = Attempted::NoService(why.to_string());
                self.later(1, place, Event::Told(attempt.clone(), why));
            }
        }
    }

    fn send_order(&mut self, place: Place, dispatch: &Dispatch, (to, first): (Name, Name)) {
        let wall = self.sites[place].wall(self.now);
        let site = &self.sites[place];
        let Some(object) = site.fleet.object(dispatch.uid).cloned() else { return };
        let (dsc, catalog) = (site.fleet.dsc(dispatch.uid), site.fleet.catalog().clone());
        let subject = Subject {
            object: &object,
            dsc: &dsc,
            catalog: &catalog,
            related: &site.fleet,
            not_before: Millis::ZERO,
            lease: Lease::Unbound,
        };
        let order = Order::new(dispatch, to.clone(), Term::new(site.reign), subject);
        let until = wall.after(dispatch.timeout).after_ms(2 * CLOSE_MS);
        let last = site.fleet.session_of(&to);
        let sent = &mut self.desks[place].sent;
        sent.put(&dispatch.attempt, &to, until);
        let order = order.sent_in(sent.first_session(&dispatch.attempt, last));
        self.later(0, place, Event::Told(dispatch.attempt.clone(), Attempted::Handed(to)));
        self.hand_on(place, order, &first);
    }

    /// Opens the intent of what is to be carried out on another node, which it names.
    pub(super) fn intend(&mut self, place: Place, intent: Intent) {
        let attempt = intent.attempt.clone();
        let site = &self.sites[place];
        let object = site.fleet.object(intent.uid).cloned();
        let context = object.as_ref().and_then(|o| self.context_of(place, &intent.mutation, o));
        let intent = match (context, object) {
            (Some(Context::Node), Some(object)) => {
                let found = self.standing(place, |standing, _| {
                    route(Context::Node, &intent.host, &object, standing)
                });
                match found {
                    Ok(Route { to, .. }) => {
                        let until = intent.ends_by.after_ms(2 * CLOSE_MS);
                        self.desks[place].sent.put(&attempt, &to, until);
                        let told = Event::Told(attempt.clone(), Attempted::Handed(to.clone()));
                        self.later(0, place, told);
                        Intent { host: to, ..intent }
                    }
                    Err(why) => {
                        let why = Attempted::IntentRefused(why.to_string());
                        return self.later(1, place, Event::Told(attempt, why));
                    }
                }
            }
            _ => intent,
        };
        let term = Term::new(self.sites[place].reign);
        let command = Command::OpenIntents { term, intents: vec![intent] };
        self.propose(Wish { by: Some((place, term)), command, intent: Some(attempt) });
    }

    fn context_of(&self, place: Place, mutation: &str, object: &Object) -> Option<Context> {
        let id: MutationId = mutation.split('(').next()?.to_owned().try_into().ok()?;
        let catalog = self.sites[place].fleet.catalog();
        Some(catalog.kind(&object.key.kind)?.mutation(&id)?.context)
    }

    /// Hands an order to a child, or says why not.
    fn hand_on(&mut self, place: Place, order: Order, first: &Name) {
        let wall = self.sites[place].wall(self.now);
        let term = self.holders.get(place).map(|holder| holder.term(&self.quorum));
        let (me, hands) = (self.sites[place].name.clone(), &mut self.desks[place].hands);
        if let Some(term) = term {
            hands.see_term(term);
        }
        let mut screened = hands.screen(&order, &me, wall);
        let (mut link, mut goes) = (None, Goes::Now);
        if screened == Screened::Goes {
            link = self.downlinks[place].via(first);
            let catalog = self.sites[place].fleet.catalog().clone();
            let session = link.and_then(|link| self.downlinks[place].session(link));
            let gone = || Err(Said::Declined(format!("{first} is not attached")));
            let sent = session.map_or_else(gone, |s| s.dispatch(&order, &catalog, wall));
            let hands = &mut self.desks[place].hands;
            match sent {
                Ok(when) => {
                    hands.hand_on(&order.attempt, Way(link.unwrap_or_default()));
                    goes = when;
                }
                Err(said) => screened = hands.refusal(&order.attempt, said),
            }
        }
        match screened {
            Screened::Ignored => {}
            Screened::Goes => {
                let Some(link) = link else { return };
                if goes == Goes::Now {
                    self.send_on(link, false, &Frame::Dispatch(vec![order]));
                }
                let asks = self.downlinks[place].session(link).map(Session::ask);
                self.descend(place, link, asks.unwrap_or_default());
            }
            Screened::Said(said) => {
                let Order { attempt, to: node, .. } = order;
                self.answer(place, vec![Answer { node, attempt, said }]);
            }
        }
    }

    /// An order has come down.
    pub(super) fn carried(&mut self, place: Place, order: Order, start_by: Millis) {
        let site = &self.sites[place];
        if order.to != site.name {
            let to = order.to.clone();
            if self.serves(place) {
                self.hand_on(place, order, &to);
            }
            return;
        }
        let wall = site.wall(self.now);
        let (me, uid) = (site.name.clone(), order.object.uid);
        let (mut said, mut ready) = (None, None);
        match self.desks[place].hands.screen(&order, &me, wall) {
            Screened::Ignored => return,
            Screened::Said(refused) => said = Some(refused),
            Screened::Goes => {
                self.desks[place].hands.take(&order, wall);
                let (dsc, catalog) = (site.fleet.dsc(uid), site.fleet.catalog().clone());
                let object = site.fleet.object(uid);
                let held = Held { object, dsc: &dsc, catalog: &catalog, related: None };
                match recheck(&order, held) {
                    Ok(found) => ready = Some(found),
                    Err(why) => said = Some(why),
                }
            }
        }
        if let Some(said) = said {
            let (node, attempt) = (order.to, order.attempt);
            return self.answer(place, vec![Answer { node, attempt, said }]);
        }
        let Some(Ready { instance, object, .. }) = ready else { return };
        let dispatch = Dispatch {
            attempt: order.attempt,
            uid,
            instance,
            timeout: Duration::from_millis(order.timeout_ms),
            revision: object.revision,
        };
        let start_by = self.now + start_by.since_ms(wall);
        let start = Start { dispatch, start_by, reign: order.term.get() };
        let after = self.while_ms(20);
        self.later(after, place, Event::Start(Box::new(start)));
    }

    /// A host tells what became of an order; false where it is none.
    pub(super) fn tell_above(
        &mut self,
        place: Place,
        attempt: &AttemptId,
        what: &Attempted,
    ) -> bool {
        if self.desks[place].hands.object_of(attempt).is_none() {
            return false;
        }
        let said = match what.clone() {
            Attempted::Acknowledged => Said::Acknowledged,
            Attempted::Progressed(text) => Said::Progress(text),
            Attempted::Succeeded => Said::Succeeded,
            Attempted::Failed { error, permanent } => Said::Failed { error, permanent },
            Attempted::Busy => Said::Busy("its module has no room".to_owned()),
            Attempted::NoService(why) => Said::Declined(why),
            Attempted::Moved(why) => Said::Moved(why),
            Attempted::Abandoned
            | Attempted::Lost
            | Attempted::Handed(_)
            | Attempted::IntentOpened
            | Attempted::IntentRefused(_) => Said::Abandoned,
        };
        let node = self.sites[place].name.clone();
        self.answer(place, vec![Answer { node, attempt: attempt.clone(), said }]);
        true
    }

    /// A child, or the end of its session, says what became of what was handed to it.
    pub(super) fn hear(&mut self, place: Place, answers: Vec<Answer>, way: Way) {
        let hands = &mut self.desks[place].hands;
        let answers = answers.into_iter().filter(|answer| hands.hear(answer, way)).collect();
        self.answer(place, answers);
    }

    /// Takes answers to whoever leads, through this place.
    pub(super) fn answer(&mut self, place: Place, answers: Vec<Answer>) {
        for answer in answers.iter().filter(|answer| answer.said.is_last()) {
            self.desks[place].hands.close(&answer.attempt, answer.said.clone());
        }
        if self.sites[place].reign > 0 && place < self.members {
            for answer in answers {
                if answer.said == Said::Lost {
                    self.record(place, What::Lost(answer.attempt.clone()));
                }
                if let Some(ended) = self.desks[place].left.heard(&answer) {
                    self.settled(place, ended);
                }
                if let Some((attempt, what)) = self.desks[place].sent.heard(answer) {
                    self.later(0, place, Event::Told(attempt, what));
                }
            }
            return;
        }
        let Some(up) = self.way_to_the_leader(place) else { return };
        let wall = self.sites[place].wall(self.now);
        let effects = self.uplinks[up].child.answer(answers, wall);
        self.climb(up, effects);
    }

    /// Takes what a node has in hand to whoever leads.
    pub(super) fn holding(&mut self, place: Place, holds: Holds) {
        if self.sites[place].reign > 0 {
            for attempt in self.desks[place].sent.missing(&holds) {
                self.ask_after(place, holds.node.clone(), attempt);
            }
        } else if let Some(up) = self.way_to_the_leader(place) {
            let effects = self.uplinks[up].child.pass_on(holds);
            self.climb(up, effects);
        }
    }

    fn way_to_the_leader(&self, place: Place) -> Option<usize> {
        let leader = self.quorum.leader;
        self.uplinks_of(place).into_iter().find(|up| {
            place >= self.members || leader.is_some() && self.uplinks[*up].target == leader
        })
    }

    /// Has an attempt given up, wherever it is.
    pub(super) fn give_up(&mut self, place: Place, attempt: AttemptId) {
        let me = &self.sites[place].name;
        let to = self.desks[place].sent.node_of(&attempt).filter(|node| node != me);
        let Some(to) = to else {
            let after = self.while_ms(30);
            return self.later(after, place, Event::Cancel(attempt));
        };
        let first = self.standing(place, |standing, _| first_to(&to, standing));
        if let Ok(Some(first)) = first {
            self.recall_by(place, &first, Recall { to, attempt, asks: None });
        }
    }

    /// An attempt is to be given up here, or further down.
    pub(super) fn recalled(&mut self, place: Place, recall: Recall) {
        match recall {
            Recall { to, attempt, asks: None } if to == self.sites[place].name => {
                self.later(1, place, Event::Cancel(attempt));
            }
            Recall { to, attempt, asks: Some(term) } if to == self.sites[place].name => {
                self.asked(place, attempt, term);
            }
            Recall { ref to, .. } => {
                let to = to.clone();
                self.recall_by(place, &to, recall);
            }
        }
    }

    /// A leader asks for what an earlier one began here.
    fn asked(&mut self, place: Place, attempt: AttemptId, term: Term) {
        let Some(said) = self.desks[place].hands.asked(&attempt, term) else { return };
        let site = &mut self.sites[place];
        if site.host.bar(&attempt) {
            let node = site.name.clone();
            self.answer(place, vec![Answer { node, attempt, said }]);
        }
    }

    /// A leader asks for the attempts of intents that earlier leaders left open.
    pub(super) fn ask_for_the_left(&mut self, place: Place) {
        let decider = &self.sites[place].decider;
        let left = |intent: &&Intent| decider.object_of(&intent.attempt).is_none();
        let open = self.holders[place].store.intents().values();
        let left: Vec<Intent> = open.filter(left).cloned().collect();
        let wall = self.sites[place].wall(self.now);
        for (to, attempt) in self.desks[place].left.ask(&left, wall) {
            self.ask_after(place, to, attempt);
        }
    }

    /// A leader asks a node what became of an attempt.
    fn ask_after(&mut self, place: Place, to: Name, attempt: AttemptId) {
        let first = self.standing(place, |standing, _| first_to(&to, standing));
        let recall = Recall { to, attempt, asks: Some(Term::new(self.sites[place].reign)) };
        match first {
            Ok(Some(first)) => self.recall_by(place, &first, recall),
            Ok(None) => self.recalled(place, recall),
            Err(_) => {}
        }
    }

    /// The attempt of an earlier leader has ended.
    fn settled(&mut self, place: Place, ended: Ended) {
        let wall = self.sites[place].wall(self.now);
        self.sites[place].decider.settle(ended.uid, wall);
        let by = Some((place, Term::new(self.sites[place].reign)));
        let command = Command::CloseIntents { attempts: vec![ended.attempt] };
        self.propose(Wish { by, command, intent: None });
    }

    /// A leader asks an object's own node for a look.
    pub(super) fn ask_for_a_look(&mut self, place: Place, uid: crate::id::Uid) {
        let Some(object) = self.sites[place].fleet.object(uid) else { return };
        let to = object.key.name.clone();
        let first = self.standing(place, |standing, _| first_to(&to, standing));
        if let Ok(Some(first)) = first {
            self.send_down(place, &first, &Frame::Look(LookAt { to, uid }));
        }
    }

    /// A node looks at an object because another asked for it, and tells it afresh.
    pub(super) fn looked_at(&mut self, place: Place, look: LookAt) {
        let site = &mut self.sites[place];
        if look.to == site.name {
            let stamp = site.stamp(self.now);
            site.fleet.renew(look.uid, &stamp);
            self.report(place, look.uid);
        } else {
            let to = look.to.clone();
            self.send_down(place, &to, &Frame::Look(look));
        }
    }

    fn recall_by(&mut self, place: Place, first: &Name, recall: Recall) {
        let downlink = self.downlinks.get_mut(place);
        let session = downlink.and_then(|downlink| {
            let link = downlink.via(first)?;
            Some((link, downlink.session(link)?.recall(recall)))
        });
        if let Some((link, effects)) = session {
            self.descend(place, link, effects);
        }
    }

    fn send_down(&mut self, place: Place, first: &Name, frame: &Frame) {
        let link = self.downlinks.get(place).and_then(|downlink| downlink.via(first));
        if let Some(link) = link {
            self.send_on(link, false, frame);
        }
    }

    /// A session is over: what was handed to it is lost once that is sure.
    pub(super) fn orphan(&mut self, place: Place, child: &Name, orphans: Vec<Orphan>, way: Way) {
        let wall = self.sites[place].wall(self.now);
        let Some(lost_at) = orphans.iter().map(|orphan| orphan.lost_at).max() else { return };
        let after = lost_at.since_ms(wall);
        self.later(after, place, Event::Orphaned(child.clone(), orphans, way));
    }

    /// It is sure now.
    pub(super) fn orphaned(&mut self, place: Place, child: &Name, orphans: Vec<Orphan>, way: Way) {
        let is_back = self.downlinks[place].via(child).is_some();
        let lost = self.desks[place].hands.orphaned(orphans, way, is_back);
        self.answer(place, lost);
    }
}
