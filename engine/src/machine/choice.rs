//! Which step of a plan can go now, and what stands in the way of those that cannot.

use std::collections::BTreeSet;

use super::{
    Flight, LOOK_AGAIN_MS, Machine, Phase, SERVICE_RETRY_MS, STUCK_LOOK_MS, Scope, Waiting,
    counts::Marks,
};
use crate::{
    mutation::{From, Instance},
    order::relied_on,
    path::Path,
    planner::{Plan, Step},
    policy::{Ask, Verdict},
    predicate::{On, Predicate},
    schema::Schema,
    time::Millis,
    view::{Subject, View, is_stale, seen},
};

impl Machine {
    /// Takes the first step that can go: the plan's first, or one that commutes with all before it.
    /// Where none can, rests in the phase that most needs help, until the first could go.
    pub(super) fn choose(&mut self, plan: &Plan, subject: Subject<'_>, scope: &mut Scope<'_>) {
        let Some(kind) = subject.catalog.kind(&subject.object.key.kind) else { return };
        // Who may run it no longer, stops it however often it went back and forth.
        let must_stop = kind.singleton.is_some() && subject.is_leaving();
        if let Some(reason) = self.brake.pulled(|path| value_of(subject, path).cloned())
            && !must_stop
        {
            let step = plan.steps.first().map(|step| step.instance.to_string());
            let step = step.unwrap_or_default();
            return self.rest(Phase::Quarantined { step, reason }, Millis::NEVER);
        }
        let mut obstacles: Vec<(Phase, Millis)> = Vec::new();
        let mut before = Footprint::default();
        for step in &plan.steps {
            let own = Footprint::of(&kind.schema, step);
            if before.commutes_with(&own) {
                match self.obstacle(&step.instance, plan, subject, scope) {
                    None => return self.go(step, subject, scope),
                    Some(obstacle) => obstacles.push(obstacle),
                }
            }
            before.add(own);
        }
        let blocked = plan.blocked.iter().map(|no_plan| {
            let phase = Phase::Stuck { reason: no_plan.to_string() };
            (phase, scope.now.after_ms(STUCK_LOOK_MS))
        });
        obstacles.extend(blocked);
        let wake = obstacles.iter().map(|(_, wake)| *wake).min().unwrap_or(Millis::NEVER);
        // Of equal ones the first in the plan: `max_by_key` would take the last.
        let loudest = obstacles.into_iter().rev().max_by_key(|(phase, _)| phase.loudness());
        if let Some((phase, _)) = loudest {
            self.rest(phase, wake);
        }
    }

    /// What keeps a step from going now, and when to look again.
    fn obstacle(
        &mut self,
        instance: &Instance,
        plan: &Plan,
        subject: Subject<'_>,
        scope: &mut Scope<'_>,
    ) -> Option<(Phase, Millis)> {
        let step = instance.to_string();
        let mutation = &instance.mutation;
        let wait = |on: Waiting, until: Millis| Some((Phase::Waiting(on), until));
        if mutation.context.lane() != scope.lane {
            return wait(Waiting::Lane { step }, Millis::NEVER);
        }
        if let Some(what) = unmet(instance, plan, subject) {
            let until = scope.now.after_ms(STUCK_LOOK_MS);
            return wait(Waiting::Related { step, what }, until);
        }
        if let Some(obstacle) = self.failed_lately(instance, subject, scope) {
            return Some(obstacle);
        }
        if let Some(declined) = self.declined.as_ref().filter(|declined| declined.step == step)
            && scope.now < declined.until
        {
            let (why, until) = (declined.why.clone(), declined.until);
            return wait(Waiting::Service { step, why }, until);
        }
        if mutation.disruptive
            && let Some(path) = self.unseen(instance, subject, scope.now)
        {
            self.ask_for_a_look(scope);
            let until = scope.now.after_ms(SERVICE_RETRY_MS);
            return wait(Waiting::Look { step, path }, until);
        }
        let (module, now) = (&mutation.id.module, scope.now);
        let ask = || Ask { object: subject.object, module, differs: differs(subject), now };
        if mutation.disruptive
            && let Verdict::Wait(hold) = scope.gate.ask(ask())
        {
            let until = hold.until.unwrap_or(Millis::NEVER);
            return wait(Waiting::Policy { step, hold: Box::new(hold) }, until);
        }
        // What may be repeated goes all the same: at worst it does what is done.
        if relies_on_stale(instance, subject, scope.now) {
            self.ask_for_a_look(scope);
        }
        None
    }

    fn failed_lately(
        &mut self,
        instance: &Instance,
        subject: Subject<'_>,
        scope: &Scope<'_>,
    ) -> Option<(Phase, Millis)> {
        let (step, retry) = (instance.to_string(), instance.mutation.retry);
        let count = self.counts.before(&step, retry, self.uid, scope.now);
        if count.is_spent(retry) {
            if !count.is_marked() {
                self.counts.mark(&step, marks(instance, subject));
            }
            let news = |path: &Path| {
                let seen = value_of(subject, path);
                count.is_news(path, seen) && !instance.may_show(path, seen)
            };
            let is_news = instance.changes().any(|(path, _)| news(&path));
            if is_news && count.is_fresh(scope.now) {
                self.counts.widen(&step, marks(instance, subject));
            }
            if !is_news || count.is_fresh(scope.now) {
                let reason = count.reason(&step);
                return Some((Phase::Quarantined { step, reason }, Millis::NEVER));
            }
            self.counts.forget(&step);
            return None;
        }
        (scope.now < count.retry_at).then_some((Phase::BackingOff { step }, count.retry_at))
    }

    /// Whether what an intent was opened for can go now: it still is a step that could be chosen.
    pub(super) fn can_still_go(
        &self,
        flight: &Flight,
        subject: Subject<'_>,
        scope: &mut Scope<'_>,
    ) -> bool {
        let Some(kind) = subject.catalog.kind(&subject.object.key.kind) else { return false };
        let Some(view) = View::new(subject, &self.presumed) else { return false };
        let Ok(plan) = super::plan(view, subject, scope.planner) else { return false };
        let mut before = Footprint::default();
        for step in &plan.steps {
            let own = Footprint::of(&kind.schema, step);
            if flight.is(step) {
                return before.commutes_with(&own)
                    && unmet(&step.instance, &plan, subject).is_none()
                    && (!step.instance.mutation.disruptive
                        || self.unseen(&step.instance, subject, scope.now).is_none());
            }
            before.add(own);
        }
        false
    }

    /// A path that a disruptive step relies on and that was not seen since it had to be: in this
    /// term, since the last attempt ended, and not longer ago than it is good for.
    fn unseen(&self, instance: &Instance, subject: Subject<'_>, now: Millis) -> Option<Path> {
        let kind = subject.catalog.kind(&subject.object.key.kind)?;
        // What starts from the unknown is a look itself.
        let looks: BTreeSet<Path> = instance
            .changes()
            .filter(|(_, change)| change.from == From::Unknown)
            .map(|(path, _)| path)
            .collect();
        relied_on(instance).filter(|path| !looks.contains(path)).find(|path| {
            let discovered = kind.schema.rule(path).is_some_and(|(rule, _)| rule.discovered);
            let fresh = subject.dsc.get(path.as_str()).is_some_and(|seen| {
                seen.seen_at >= subject.not_before && seen.seen_at > self.ended_at
            });
            discovered && (!fresh || is_stale(kind, subject.dsc, path, now))
        })
    }

    /// Asks for a look, unless that was done a moment ago.
    fn ask_for_a_look(&mut self, scope: &mut Scope<'_>) {
        if scope.now >= self.next_look {
            self.next_look = scope.now.after_ms(LOOK_AGAIN_MS);
            scope.effects.push(super::Effect::Look(self.uid));
        }
    }

    fn go(&mut self, step: &Step, subject: Subject<'_>, scope: &mut Scope<'_>) {
        self.declined = None;
        for (path, _) in step.instance.changes() {
            let seen = value_of(subject, &path);
            self.brake.follow(path, seen, scope.now);
        }
        let flight = Flight::new(scope.ids.next(), step, subject, &self.presumed, scope.now);
        if step.instance.mutation.disruptive {
            scope.effects.push(super::Effect::OpenIntent(flight.intent(self.uid)));
            self.phase = Phase::Waiting(Waiting::Intent(Box::new(flight)));
        } else {
            self.take_off(Box::new(flight), scope);
        }
    }
}

impl Phase {
    /// Which of several obstacles people should hear of.
    fn loudness(&self) -> u8 {
        match self {
            Self::Quarantined { .. } => 4,
            Self::Stuck { .. } => 3,
            Self::BackingOff { .. } => 2,
            Self::Waiting(
                Waiting::Related { .. }
                | Waiting::Service { .. }
                | Waiting::Look { .. }
                | Waiting::Policy { .. }
                | Waiting::Intent(_),
            ) => 1,
            Self::Waiting(Waiting::Lane { .. })
            | Self::New
            | Self::Converged
            | Self::InFlight(_)
            | Self::Frozen { .. } => 0,
        }
    }
}

/// The paths that steps change, and those that they only read.
#[derive(Default)]
struct Footprint {
    writes: BTreeSet<Path>,
    reads: BTreeSet<Path>,
}

impl Footprint {
    /// What a step changes, and what it needs: its guards, and what keeps known what it changes.
    fn of(schema: &Schema, step: &Step) -> Self {
        let instance = &step.instance;
        let changed: Vec<Path> = instance.changes().map(|(path, _)| path).collect();
        let guards = instance.mutation.requires.iter().chain(&instance.mutation.excludes);
        let guards = guards.filter(|guard| guard.on == On::Itself);
        let mut reads: BTreeSet<Path> =
            guards.filter_map(|guard| guard.path(&instance.bindings)).collect();
        for path in &changed {
            let Some((rule, bindings)) = schema.rule(path) else { continue };
            reads.extend(rule.known_while.iter().filter_map(|c| c.pattern.bind(&bindings)));
        }
        let led = step.changes.iter().map(|change| change.path.clone());
        Self { writes: changed.into_iter().chain(led).collect(), reads }
    }

    /// Whether these steps and another may be taken in either order: neither changes what the other
    /// reads or changes.
    fn commutes_with(&self, other: &Self) -> bool {
        let touches = |path: &&Path| self.writes.contains(*path) || self.reads.contains(*path);
        !other.writes.iter().any(|path| touches(&path))
            && !other.reads.iter().any(|path| self.writes.contains(path))
    }

    fn add(&mut self, other: Self) {
        self.writes.extend(other.writes);
        self.reads.extend(other.reads);
    }
}

/// What the instance needs of other objects and does not find there.
fn unmet(instance: &Instance, plan: &Plan, subject: Subject<'_>) -> Option<String> {
    let holds = |guard: &Predicate| {
        let path = guard.path(&instance.bindings);
        let value = path.and_then(|path| subject.related.value(subject.object, &guard.on, &path));
        guard.test.holds(value.as_ref())
    };
    let elsewhere = |guard: &&Predicate| guard.on != On::Itself;
    let mutation = &instance.mutation;
    let lacks = mutation.requires.iter().filter(elsewhere).any(|guard| !holds(guard));
    let hinders = mutation.excludes.iter().filter(elsewhere).any(holds);
    (lacks || hinders).then(|| plan.waits_for.join(" and "))
}

/// Whether something that is seen is not what is asked; what is not known does not differ.
fn differs(subject: Subject<'_>) -> bool {
    let Some(kind) = subject.catalog.kind(&subject.object.key.kind) else { return false };
    let goal = subject.goal(kind);
    let mut goal = goal.into_iter();
    goal.any(|(path, wanted)| seen(kind, subject.dsc, &path).is_some_and(|value| *value != wanted))
}

/// Whether an instance relies on something that was seen longer ago than it is good for.
fn relies_on_stale(instance: &Instance, subject: Subject<'_>, now: Millis) -> bool {
    let kind = subject.catalog.kind(&subject.object.key.kind);
    kind.is_some_and(|kind| relied_on(instance).any(|path| is_stale(kind, subject.dsc, &path, now)))
}

/// The paths that an instance changes, with what is seen there now.
fn marks(instance: &Instance, subject: Subject<'_>) -> Marks {
    let paths = instance.changes().map(|(path, _)| path);
    let marks = paths.map(|path| {
        let seen = value_of(subject, &path).cloned();
        (path, vec![seen])
    });
    marks.collect()
}

fn value_of<'a>(subject: Subject<'a>, path: &Path) -> Option<&'a crate::value::Value> {
    seen(subject.catalog.kind(&subject.object.key.kind)?, subject.dsc, path)
}

impl super::Flight {
    /// The paths that the attempt changes, with what was seen there when it began and is seen now.
    pub(super) fn marks(&self, subject: Subject<'_>) -> Marks {
        let marks = self.legs().map(|(path, from)| {
            (path.clone(), vec![from.cloned(), value_of(subject, path).cloned()])
        });
        marks.collect()
    }
}
