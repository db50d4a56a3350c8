//! What a child may say: of what, which paths, and how far ahead of time. What it may not is
//! refused, counted and shown.

use super::{Authority, Effect, Session};
use crate::{
    catalog::Catalog,
    dsc::Observed,
    event::Event,
    fleet::LINK_PATH,
    id::{Name, Uid},
    manifest::SeenBy,
    object::Object,
    path::Path,
    sync::{
        STAMP_AHEAD_MS_MAX,
        frame::{DscDelta, Frame, Hello, Role},
    },
};

impl Session {
    /// Whether the child may hold later Cfg than this parent: what it says cannot be judged yet.
    pub(super) fn is_early(&self) -> bool {
        let below = self.role().is_some_and(Role::is_below);
        below && (self.sequence == 0 || !self.early.is_empty())
    }

    pub(super) fn merge_early(&mut self, authority: Authority<'_>) -> Vec<Effect> {
        let early = std::mem::take(&mut self.early);
        early.into_iter().flat_map(|delta| self.merge(delta, authority)).collect()
    }

    pub(super) fn merge(&mut self, delta: DscDelta, authority: Authority<'_>) -> Vec<Effect> {
        let Some(hello) = self.hello.clone() else { return Vec::new() };
        let node = &hello.node;
        if delta.afresh {
            self.count_afresh();
        }
        let mut effects = Vec::new();
        let mut refusals = Refusals::default();
        for (uid, sightings) in delta.changes {
            self.digest.count(uid, &sightings);
            let mut accepted = Vec::with_capacity(sightings.len());
            for (path, observed) in sightings {
                match self.judge(&hello, uid, (&path, &observed), authority) {
                    Verdict::Accepted => accepted.push((path, observed)),
                    Verdict::TooLate => {}
                    Verdict::Ahead(why) => {
                        self.ahead_ms = self.ahead_ms.max(Some(observed.stamp.ms));
                        refusals.add(why);
                    }
                    Verdict::Refused(why) => refusals.add(why),
                }
            }
            if !accepted.is_empty() {
                effects.push(Effect::Merge(uid, accepted));
            }
        }
        let (events, others): (Vec<Event>, Vec<Event>) =
            delta.events.into_iter().partition(|event| self.may_answer_for(&event.id.node));
        for event in others {
            refusals.add(format!("{node} reports event {}, which is not its own", event.id));
        }
        if !events.is_empty() {
            effects.push(Effect::Record(events));
        }
        self.refused = self.refused.saturating_add(refusals.count);
        effects.extend(refusals.alarm());
        if delta.dropped > 0 {
            let dropped = delta.dropped;
            let text = format!("{node} could not keep or send {dropped} events and observations");
            effects.push(Effect::Alarm(text));
        }
        effects.push(Effect::Send(Frame::DscAck { seq: delta.seq }));
        effects
    }

    /// Whether this session may say this.
    fn judge(
        &self,
        hello: &Hello,
        uid: Uid,
        (path, observed): (&Path, &Observed),
        authority: Authority<'_>,
    ) -> Verdict {
        let node = &hello.node;
        // A link is ordered by the epochs of its sessions, which are no moments.
        let is_link = hello.role != Role::Leaf && path.as_str() == LINK_PATH;
        let ahead = observed.stamp.ms.saturating_sub(authority.hybrid_ms);
        if ahead > STAMP_AHEAD_MS_MAX && !is_link {
            return Verdict::Ahead(format!("{node} reports {path} with a clock {ahead} ms ahead"));
        }
        if hello.role == Role::Member {
            return Verdict::Accepted;
        }
        if is_link && !self.below.is_node(uid) && !self.is_child(uid) {
            // It has left, or is to come yet: then it is said again.
            return Verdict::TooLate;
        }
        let writer = &observed.stamp.writer;
        if !self.is_voice_of(writer) {
            return Verdict::Refused(format!("{node} reports {path} in the name of {writer}"));
        }
        if self.orders.grants(writer, uid, path) || (is_link && self.below.is_node(uid)) {
            return Verdict::Accepted;
        }
        let Some(object) = self.sent.get(&uid) else {
            // A relay says it again once it has the Cfg of a node that was let in.
            let is_early = self.acknowledged == 0 || self.let_in.contains(writer);
            if is_early || self.leaving.contains(&uid) {
                return Verdict::TooLate;
            }
            return Verdict::Refused(format!("{node} reports of {uid}, which is not its own"));
        };
        if may_see(writer, object, path, authority.catalog) {
            Verdict::Accepted
        } else {
            Verdict::Refused(format!("{node} reports {path}, which it does not discover"))
        }
    }

    /// Whether an object is the child itself.
    fn is_child(&self, uid: Uid) -> bool {
        let child = self.hello.as_ref().map(|hello| &hello.node);
        child.is_some_and(|child| self.sent.get(&uid).is_some_and(|object| object.is_node(child)))
    }

    pub(super) fn count_afresh(&mut self) {
        self.digest.clear();
        self.resyncing = None;
    }
}

/// Whether a node may speak of a path of an object: what is seen by the object itself, where it
/// hosts it, and what a parent sees, where the object is reached through it.
fn may_see(node: &Name, object: &Object, path: &Path, catalog: &Catalog) -> bool {
    let hosts = object.is_hosted_by(node);
    if path.as_str().starts_with("/engine/self/") {
        return hosts;
    }
    let kind = catalog.kind(&object.key.kind);
    let rule = kind.and_then(|kind| kind.schema.rule(path)).map(|(rule, _)| rule);
    rule.filter(|rule| rule.discovered).is_some_and(|rule| match rule.seen_by {
        SeenBy::Itself => hosts,
        SeenBy::Parent => object.is_reached_via(node),
        SeenBy::Control | SeenBy::Nobody => false,
    })
}

/// What becomes of one observation.
enum Verdict {
    Accepted,
    /// Of an object that the child does not know yet to be no longer its own, or to be so.
    TooLate,
    /// Not now; once time has come that far, the child is asked again.
    Ahead(String),
    Refused(String),
}

/// What was refused of one delta: one alarm, however much it was.
#[derive(Default)]
struct Refusals {
    first: Option<String>,
    count: u64,
}

impl Refusals {
    fn add(&mut self, why: String) {
        self.count = self.count.saturating_add(1);
        self.first.get_or_insert(why);
    }

    fn alarm(self) -> Option<Effect> {
        let first = self.first?;
        Some(Effect::Alarm(match self.count.saturating_sub(1) {
            0 => first,
            more => format!("{first}; and {more} more"),
        }))
    }
}
