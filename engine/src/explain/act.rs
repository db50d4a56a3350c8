//! Who must act for an object to move on, in words: the one question that everybody has who looks
//! at an object that stands still.

use super::PlanView;
use crate::{
    fleet::{LINK_PATH, Link},
    manifest::NODE_KIND,
    path::Path,
    predicate::On,
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
        return format!("whoever thaws it: {by} froze it ({scope})");
    }
    if !differs && plan.is_done() {
        return "nobody: what is seen is what is asked".to_owned();
    }
    if let Some(away) = away(subject) {
        return away;
    }
    match status {
        None => "nobody yet: its decider has not spoken of it".to_owned(),
        Some(status) if status.revision < subject.object.revision => format!(
            "nobody yet: its decider speaks for revision {}, not for {}",
            status.revision, subject.object.revision
        ),
        Some(status) => of_phase(status, plan),
    }
}

fn of_phase(status: &Status, plan: &PlanView) -> String {
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
            let missing = plan.blocked.first().map(|blocked| blocked.text.as_str());
            let missing = missing.or(status.reason.as_deref()).unwrap_or("no plan");
            format!("an operator: nothing known leads to what is asked ({missing})")
        }
        PhaseName::Frozen => {
            "nobody yet: it was thawed, and its decider has not seen it".to_owned()
        }
    }
}

/// Says so where a node is not attached: then it cannot act, whatever its last word was.
fn away(subject: Subject<'_>) -> Option<String> {
    let name = subject.object.host()?;
    let is_node = subject.object.key.kind.as_str() == NODE_KIND;
    let link = if is_node {
        subject.dsc.value(LINK_PATH).cloned()
    } else {
        let path = Path::new(LINK_PATH).ok()?;
        subject.related.value(subject.object, &On::Parent, &path)
    };
    match link.as_ref().and_then(Value::as_str) {
        Some(link) if link == Link::Down.as_str() => Some(format!(
            "whoever brings {name} back: it is not attached, and what it last said may be outdated"
        )),
        None if is_node && subject.dsc.is_empty() => {
            Some(format!("whoever starts {name}: nothing was ever heard of it"))
        }
        _ => None,
    }
}
