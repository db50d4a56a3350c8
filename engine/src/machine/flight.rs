//! One attempt on its way: what it changes, what was seen of that so far, and when to look again.

use super::{ACKNOWLEDGE_MS, CLOSE_MS, Dispatch};
use crate::{
    command::Intent,
    id::{AttemptId, Name, Revision, Uid},
    mutation::{From, Instance},
    path::Path,
    planner::Step,
    time::Millis,
    value::Value,
    view::{Presumed, Presumption, Subject},
};

/// One attempt of one step.
#[derive(Debug, Clone)]
pub struct Flight {
    /// The attempt.
    pub attempt: AttemptId,
    /// What is being done.
    pub instance: Instance,
    /// The Cfg revision that it was decided from.
    pub revision: Revision,
    legs: Box<[Leg]>,
    pub(super) started: Millis,
    pub(super) deadline: Millis,
    pub(super) progress: Progress,
    pub(super) acknowledge_by: Millis,
    pub(super) arrived_at: Option<Millis>,
    /// Whether it was asked to end.
    pub(super) recall: Option<Recall>,
    /// The object is frozen: the attempt is left alone until it ends, or its deadline passes.
    pub(super) frozen: bool,
    /// The node to which it was handed.
    pub(super) host: Option<Name>,
    /// How far it is, in the words of its module, and when that was told.
    pub(super) said: Option<Box<(String, Millis)>>,
}

/// How far an attempt is, as its host says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Progress {
    /// Nobody has answered yet.
    Sent,
    /// A module has taken it.
    Runs,
    /// It has ended.
    Ended,
}

/// When an attempt was asked to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Recall {
    /// Before its deadline: it was done, not wanted any more, or had led elsewhere.
    Early,
    /// At its deadline.
    Overdue,
}

/// One path on its way.
#[derive(Debug, Clone)]
struct Leg {
    path: Path,
    from: Option<Value>,
    /// What the step was planned from: what was seen, or what was presumed over it.
    base: Option<Value>,
    to: Option<Value>,
    discovery: bool,
}

impl Leg {
    /// A path has arrived when it shows what the step leads to; a discovery, when it shows
    /// anything.
    fn has_arrived(&self, seen: Option<&Value>) -> bool {
        if self.discovery { seen.is_some() } else { seen == self.to.as_ref() }
    }

    fn is_astray(&self, seen: Option<&Value>, instance: &Instance) -> bool {
        !self.has_arrived(seen)
            && seen != self.from.as_ref()
            && !instance.may_show(&self.path, seen)
    }
}

impl Flight {
    pub(super) fn new(
        attempt: AttemptId,
        step: &Step,
        subject: Subject<'_>,
        presumed: &Presumed,
        now: Millis,
    ) -> Self {
        let instance = step.instance.clone();
        // Of a path that nobody discovers nothing can arrive.
        let kind = subject.catalog.kind(&subject.object.key.kind);
        let discovered =
            |path: &Path| kind.and_then(|k| k.schema.rule(path)).is_some_and(|(r, _)| r.discovered);
        let changes = instance.changes().filter(|(path, _)| discovered(path));
        // Room for no more than there are: there is one of these for each machine under way.
        let mut legs = Vec::with_capacity(instance.mutation.changes.len());
        legs.extend(changes.map(|(path, change)| {
            let planned = step.changes.iter().find(|planned| planned.path == path);
            let from = seen(subject, &path).cloned();
            let base = presumed.get(&path).map(|p| p.value.clone()).or_else(|| from.clone());
            Leg {
                to: planned.map_or_else(|| base.clone(), |planned| planned.to.clone()),
                discovery: change.from == From::Unknown,
                from,
                base,
                path,
            }
        }));
        Self {
            attempt,
            legs: legs.into_boxed_slice(),
            revision: subject.object.revision,
            started: now,
            deadline: now.after(instance.mutation.timeout),
            progress: Progress::Sent,
            acknowledge_by: now.after_ms(ACKNOWLEDGE_MS),
            arrived_at: None,
            recall: None,
            frozen: false,
            host: None,
            said: None,
            instance,
        }
    }

    /// The step as it is shown: `module/Name(bindings)`.
    pub fn step(&self) -> String {
        self.instance.to_string()
    }

    /// Where it runs and how far it is, as far as anybody has said.
    pub(super) fn whereabouts(&self) -> Option<String> {
        let said = self.said.as_deref().map(|(said, _)| said.as_str());
        match (&self.host, said) {
            (Some(host), Some(said)) => Some(format!("on {host}: {said}")),
            (Some(host), None) => Some(format!("on {host}")),
            (None, said) => said.map(str::to_owned),
        }
    }

    /// When the attempt has certainly ended.
    pub fn ends_by(&self) -> Millis {
        self.deadline.after_ms(CLOSE_MS)
    }

    /// What a module is to be told now; what waiting has taken is taken off its time.
    pub(super) fn dispatch(&self, uid: Uid, now: Millis) -> Dispatch {
        Dispatch {
            attempt: self.attempt.clone(),
            uid,
            instance: self.instance.clone(),
            timeout: self.deadline.since(now),
            revision: self.revision,
        }
    }

    /// The intent of the attempt. Which node will carry it out, its driver knows and fills in.
    pub(super) fn intent(&self, uid: Uid) -> Intent {
        let host: Name = self.instance.mutation.id.module.clone();
        Intent {
            uid,
            mutation: self.step(),
            attempt: self.attempt.clone(),
            host,
            ends_by: self.ends_by(),
        }
    }

    /// The paths that it changes and somebody discovers, with what was seen there when it began.
    pub(super) fn legs(&self) -> impl Iterator<Item = (&Path, Option<&Value>)> {
        self.legs.iter().map(|leg| (&leg.path, leg.from.as_ref()))
    }

    pub(super) fn wake_at(&self) -> Millis {
        match (self.recall, self.arrived_at) {
            (Some(Recall::Overdue), _) => self.ends_by(),
            (Some(Recall::Early), _) => self.deadline,
            _ if self.frozen || self.has_ended() => self.deadline,
            (None, Some(at)) if self.instance.mutation.cancellable => {
                self.deadline.min(at.after_ms(CLOSE_MS))
            }
            (None, None) if self.progress == Progress::Sent => {
                self.deadline.min(self.acknowledge_by)
            }
            (None, _) => self.deadline,
        }
    }

    pub(super) fn has_ended(&self) -> bool {
        self.progress == Progress::Ended
    }

    /// Whether every path shows what the step leads to. Where they did so before it began, because
    /// something else was presumed of them, only its end tells.
    pub(super) fn has_arrived(&self, subject: Subject<'_>) -> bool {
        let tells = self.legs.iter().any(|leg| !leg.has_arrived(leg.from.as_ref()));
        (tells || self.has_ended()) && self.missing(subject).is_none()
    }

    /// A path that does not show what the step leads to.
    pub(super) fn missing(&self, subject: Subject<'_>) -> Option<&Path> {
        let mut legs = self.legs.iter();
        legs.find(|leg| !leg.has_arrived(seen(subject, &leg.path))).map(|leg| &leg.path)
    }

    /// A path that shows something that the step does not lead over.
    pub(super) fn astray(&self, subject: Subject<'_>) -> Option<&Path> {
        let mut legs = self.legs.iter();
        legs.find(|leg| leg.is_astray(seen(subject, &leg.path), &self.instance))
            .map(|leg| &leg.path)
    }

    /// What is to be presumed of paths, now that it has failed.
    pub(super) fn presumptions(&self, subject: Subject<'_>) -> Presumed {
        let presumed = self.instance.fail_to().map(|(path, value)| {
            let aim = self.legs.iter().find(|leg| leg.path == path);
            let aim = aim.and_then(|leg| leg.to.clone());
            let at_failure = seen(subject, &path).cloned();
            (path, Presumption { value: value.clone(), at_failure, aim })
        });
        presumed.collect()
    }

    /// The presumptions under which the attempt has not begun: what its paths were planned from.
    /// `None` where one was unknown, which cannot be presumed.
    pub(super) fn undone(&self, presumed: &Presumed) -> Option<Presumed> {
        let mut undone = presumed.clone();
        for leg in &self.legs {
            let value = leg.base.clone()?;
            let presumption = Presumption { value, at_failure: None, aim: None };
            undone.insert(leg.path.clone(), presumption);
        }
        Some(undone)
    }

    /// Whether a step of a plan is this one, and leads to the same.
    pub(super) fn is(&self, step: &Step) -> bool {
        self.instance == step.instance
            && self.legs.iter().all(|leg| {
                let planned = step.changes.iter().find(|planned| planned.path == leg.path);
                planned.is_none_or(|planned| planned.to == leg.to)
            })
    }
}

fn seen<'a>(subject: Subject<'a>, path: &Path) -> Option<&'a Value> {
    let kind = subject.catalog.kind(&subject.object.key.kind)?;
    crate::view::seen(kind, subject.dsc, path)
}
