//! Who must act for an object to move on, in words: the one question that everybody has who looks
//! at an object that stands still.

use super::{PlanView, seen_of_host};
use crate::{
    command::is_by_engine,
    fleet::{LINK_PATH, Link},
    mutation::Lane,
    singleton::Held,
    status::{PhaseName, Status},
    value::Value,
    view::Subject,
};

/// Who must act for an object to move on.
pub fn who_must_act(
    subject: Subject<'_>,
    status: Option<&Status>,
    plan: &PlanView,
    differs: bool,
) -> String {
    if let Some(frozen) = &subject.object.frozen {
        let (by, scope) = (&frozen.by, &frozen.scope);
        let why = if is_by_engine(by) {
            ", for more have failed than a policy's maxFailed lets; `kraken events --type rollout` \
             names it"
        } else {
            ""
        };
        return format!("whoever thaws it: {by} froze it ({scope}){why}");
    }
    if let Some(moving) = moving(subject, status) {
        return moving;
    }
    let is_there = !differs && plan.is_done();
    // A node may well be asked to be off, which the quorum sees to.
    let led = Status::of_lane(subject.dsc, Lane::Quorum);
    let is_off = led.is_some_and(|status| status.phase == PhaseName::Converged);
    if let Some(away) = away(subject).filter(|_| !(is_there && is_off)) {
        return away;
    }
    if is_there {
        return "nobody: what is seen is what is asked".to_owned();
    }
    match status {
        None => "nobody yet: its decider has not spoken of it".to_owned(),
        Some(status) if status.revision < subject.object.revision => format!(
            "nobody yet: its decider speaks for revision {}, not for {}",
            status.revision, subject.object.revision
        ),
        Some(status) => of_phase(status),
    }
}

fn of_phase(status: &Status) -> String {
    let step = status.step.as_deref().unwrap_or("the next step");
    let module = step.split('/').next().unwrap_or_default();
    match status.phase {
        PhaseName::Converged => "nobody yet: its decider has not seen the difference".to_owned(),
        PhaseName::InFlight => match &status.reason {
            Some(place) => format!("module {module}: it carries out {step} {place}"),
            None => format!("module {module}: it carries out {step}"),
        },
        PhaseName::BackingOff => format!("nobody yet: {step} failed and is tried again"),
        PhaseName::Waiting => match &status.waits_for {
            // What a policy asks for stands in its reason, with who may give it.
            Some(what) if what.starts_with("policy ") || what.starts_with("a guard of") => {
                format!("{what}: {}", status.reason.as_deref().unwrap_or("it is about to say why"))
            }
            Some(what) => format!("what it waits for: {what}"),
            None => "nobody yet: its decider is about to look".to_owned(),
        },
        PhaseName::Quarantined => format!(
            "an operator: mend what makes {step} fail, then ask for a retry, or ask for something \
             else"
        ),
        PhaseName::Stuck => {
            "an operator: nothing known leads to what is asked, as the reason says".to_owned()
        }
        PhaseName::Frozen => {
            "nobody yet: it was thawed, and its decider has not seen it".to_owned()
        }
    }
}

/// Says so where an object that must never run twice goes from one host to another, unless its
/// former host needs help.
fn moving(subject: Subject<'_>, status: Option<&Status>) -> Option<String> {
    let object = subject.object;
    let former = object.former()?;
    let heir = object.heir().map_or_else(|| "nobody".to_owned(), |heir| heir.to_string());
    let needs_help = status
        .is_some_and(|status| matches!(status.phase, PhaseName::Quarantined | PhaseName::Stuck));
    Some(match Held::of(subject) {
        Some(Held::Stopping) if needs_help => return None,
        Some(Held::Stopping) => format!("{former}: it stops it first, then {heir} has it"),
        Some(Held::Leased(singleton)) => format!(
            "nobody yet: {former} is away, and stops it after {} without the quorum; {heir} has it \
             once {former} has been away for {}",
            seconds(singleton.lease_ms),
            seconds(singleton.away_ms()),
        ),
        Some(Held::Frozen) => format!(
            "whoever brings {former} back: it is away and may not know that the freeze is lifted, \
             and then stops nothing; once it is sure to be off, delete the object by force"
        ),
        None => format!("nobody yet: the leader is about to give it to {heir}"),
    })
}

fn seconds(ms: u64) -> String {
    format!("{} s", ms.div_ceil(1_000))
}

/// What may become of an object whose host is away.
fn alone(subject: Subject<'_>) -> String {
    let object = subject.object;
    let kind = subject.catalog.kind(&object.key.kind);
    match kind.and_then(|kind| kind.singleton) {
        _ if object.key.is_node() => String::new(),
        Some(singleton) => {
            format!("; it stops there after {} without the quorum", seconds(singleton.lease_ms))
        }
        None => "; it may go on running there, and twice if it is given another host".to_owned(),
    }
}

/// Says so where a node is not attached: then it cannot act, whatever its last word was.
fn away(subject: Subject<'_>) -> Option<String> {
    let name = subject.object.host()?;
    let is_node = subject.object.key.is_node();
    let link = seen_of_host(subject, LINK_PATH);
    match link.as_ref().and_then(Value::as_str) {
        Some(link) if link == Link::Down.as_str() => {
            let alone = alone(subject);
            Some(format!(
                "whoever brings {name} back: it is not attached, and what it last said may be \
                 outdated{alone}"
            ))
        }
        None if is_node && subject.dsc.is_empty() => {
            Some(format!("whoever starts {name}: nothing was ever heard of it"))
        }
        _ => None,
    }
}
