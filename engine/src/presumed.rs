//! What a decider presumes of an object, written as Dsc below `/engine/<lane>/presumed`, so that a
//! next decider goes on with it and everybody can tell why a plan is what it is.
//!
//! Of a presumption of `/physState` three values are written below
//! `/engine/quorum/presumed/physState`: `value` is what is presumed, `seen` what was seen at the
//! failure, and `aim` the value whose arrival lifts it. What is absent there, was unknown.

use std::collections::BTreeSet;

use crate::{
    dsc::Dsc,
    mutation::Lane,
    path::Path,
    value::Value,
    view::{Presumed, Presumption},
};

const FIELDS: [&str; 3] = ["value", "seen", "aim"];

/// What a lane has said to presume of an object.
pub fn of_lane(dsc: &Dsc, lane: Lane) -> Presumed {
    let Ok(top) = Path::new(top(lane)) else { return Presumed::new() };
    let mut presumed = Presumed::new();
    for (path, observed) in dsc.under(&top) {
        let below = path.as_str().strip_prefix(top.as_str()).unwrap_or_default();
        let Some(of) = below.strip_suffix("/value") else { continue };
        let (Ok(of), Some(value)) = (Path::new(of), observed.value.clone()) else { continue };
        let field = |field: &str| dsc.value(&format!("{}{of}/{field}", top.as_str())).cloned();
        let presumption = Presumption { value, at_failure: field("seen"), aim: field("aim") };
        presumed.insert(of, presumption);
    }
    presumed
}

/// What both lanes have said to presume of an object. No path is changed from both.
pub fn of(dsc: &Dsc) -> Presumed {
    let mut presumed = of_lane(dsc, Lane::Itself);
    presumed.extend(of_lane(dsc, Lane::Quorum));
    presumed
}

/// The values to be written after presumptions have changed; `None`: unknown from now on.
pub fn changes(before: &Presumed, after: &Presumed, lane: Lane) -> Vec<(Path, Option<Value>)> {
    let paths: BTreeSet<&Path> = before.keys().chain(after.keys()).collect();
    let mut values = Vec::new();
    for of in paths.into_iter().filter(|of| before.get(*of) != after.get(*of)) {
        let told = |presumption: &Presumption| {
            let Presumption { value, at_failure, aim } = presumption.clone();
            [Some(value), at_failure, aim]
        };
        let fields = after.get(of).map_or([None, None, None], told);
        for (field, value) in FIELDS.into_iter().zip(fields) {
            let path = Path::new(format!("{}{of}/{field}", top(lane)));
            values.extend(path.ok().map(|path| (path, value)));
        }
    }
    values
}

fn top(lane: Lane) -> String {
    format!("/engine/{}/presumed", lane.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        dsc::{HybridClock, Observed},
        id::Name,
        time::Millis,
    };

    #[test]
    fn what_is_written_reads_as_it_was_and_what_is_lifted_goes() {
        let path = |text: &str| Path::new(text).unwrap();
        let (mut dsc, mut clock) = (Dsc::new(), HybridClock::new(Name::new("m1").unwrap()));
        let mut held = Presumed::new();
        let mut write = |held: &mut Presumed, next: Presumed| {
            for (at, value) in changes(held, &next, Lane::Quorum) {
                let stamp = clock.stamp(Millis::ZERO);
                dsc.merge(at, Observed { value, stamp, seen_at: Millis::ZERO });
            }
            *held = next;
            assert_eq!(of_lane(&dsc, Lane::Quorum), *held);
            assert_eq!(of(&dsc), *held);
            assert_eq!(of_lane(&dsc, Lane::Itself), Presumed::new());
        };
        let hang = Presumption {
            value: "PHYS_HANG".into(),
            at_failure: None,
            aim: Some("POWER_ON".into()),
        };
        let broken =
            Presumption { value: Value::Int(3), at_failure: Some("RUN".into()), aim: None };
        let both = [(path("/physState"), hang.clone()), (path("/services/web/state"), broken)];
        write(&mut held, Presumed::from(both));
        write(&mut held, Presumed::from([(path("/physState"), hang)]));
        write(&mut held, Presumed::new());
    }
}
