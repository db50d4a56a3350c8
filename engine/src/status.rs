//! The status of an object: what its decider says about it, written as Dsc below `/engine/<lane>`,
//! so that it travels like everything else that is seen.

use std::{fmt, sync::LazyLock};

use serde::{Deserialize, Serialize};

use crate::{
    dsc::Dsc,
    fleet::{LINK_PATH, Link},
    id::Revision,
    mutation::Lane,
    object::Object,
    path::Path,
    time::Millis,
    value::Value,
};

/// Where an object stands on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum PhaseName {
    /// What is seen is what is asked.
    Converged,
    /// Something else must happen first.
    Waiting,
    /// A mutation is being carried out.
    InFlight,
    /// A mutation failed and is tried again.
    BackingOff,
    /// No known mutation leads to what is asked.
    Stuck,
    /// A mutation failed too often; somebody must act.
    Quarantined,
    /// Nothing is dispatched until it is thawed.
    Frozen,
}

const PHASES: [(PhaseName, &str); 7] = [
    (PhaseName::Converged, "Converged"),
    (PhaseName::Waiting, "Waiting"),
    (PhaseName::InFlight, "InFlight"),
    (PhaseName::BackingOff, "BackingOff"),
    (PhaseName::Stuck, "Stuck"),
    (PhaseName::Quarantined, "Quarantined"),
    (PhaseName::Frozen, "Frozen"),
];

impl PhaseName {
    /// The phase as it stands in JSON and in Dsc.
    pub fn as_str(self) -> &'static str {
        PHASES.iter().find(|(phase, _)| *phase == self).map_or("", |(_, text)| text)
    }

    /// All phases.
    pub fn all() -> impl Iterator<Item = Self> {
        PHASES.iter().map(|(phase, _)| *phase)
    }

    fn from_str(text: &str) -> Option<Self> {
        PHASES.iter().find(|(_, name)| *name == text).map(|(phase, _)| *phase)
    }
}

impl fmt::Display for PhaseName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// What a decider says about an object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    /// Where it stands.
    pub phase: PhaseName,
    /// The Cfg revision that this speaks for.
    pub revision: Revision,
    /// The mutation in flight or next, `module/Name(bindings)`.
    pub step: Option<String>,
    /// Why it stands there.
    pub reason: Option<String>,
    /// What it waits for.
    pub waits_for: Option<String>,
    /// Since when, in milliseconds since the Unix epoch.
    pub since: Millis,
    /// Failures of the present step.
    pub attempts: u32,
    /// The last error of the present step.
    pub last_error: Option<String>,
    /// When the present step is tried again, in milliseconds since the Unix epoch.
    pub next_retry: Option<Millis>,
}

/// The fields of a status, in the order of their paths.
#[derive(Debug, Clone, Copy)]
enum Field {
    Phase,
    Revision,
    Step,
    Reason,
    WaitsFor,
    Since,
    Attempts,
    LastError,
    NextRetry,
}

const FIELDS: [&str; 9] = [
    "phase",
    "revision",
    "step",
    "reason",
    "waitsFor",
    "since",
    "attempts",
    "lastError",
    "nextRetry",
];

/// The paths of all fields by lane: they are written and read for every object, all the time.
static PATHS: LazyLock<[[Path; 9]; 2]> = LazyLock::new(|| {
    [Lane::Itself, Lane::Quorum].map(|lane| {
        FIELDS.map(|field| Path::constant(&format!("/engine/{}/{field}", lane.as_str())))
    })
});

impl Lane {
    /// The lane's name below `/engine`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Itself => "self",
            Self::Quorum => "quorum",
        }
    }

    /// The path of a field of this lane's status.
    fn path(self, field: Field) -> &'static Path {
        let of = match self {
            Self::Itself => &PATHS[0],
            Self::Quorum => &PATHS[1],
        };
        &of[field as usize]
    }
}

impl Status {
    /// The status as observations below `/engine/<lane>`; `None`: unknown.
    pub fn to_values(&self, lane: Lane) -> Vec<(Path, Option<Value>)> {
        let number = |number: u64| Value::Int(in_dsc(number));
        let text = |text: &Option<String>| text.clone().map(Value::from);
        let fields = [
            (Field::Phase, Some(self.phase.as_str().into())),
            (Field::Revision, Some(number(self.revision.get()))),
            (Field::Step, text(&self.step)),
            (Field::Reason, text(&self.reason)),
            (Field::WaitsFor, text(&self.waits_for)),
            (Field::Since, Some(number(self.since.get()))),
            (Field::Attempts, Some(number(self.attempts.into()))),
            (Field::LastError, text(&self.last_error)),
            (Field::NextRetry, self.next_retry.map(|at| number(at.get()))),
        ];
        fields.into_iter().map(|(field, value)| (lane.path(field).clone(), value)).collect()
    }

    /// What a lane has said about an object, if anything.
    pub fn of_lane(dsc: &Dsc, lane: Lane) -> Option<Self> {
        let value = |field: Field| dsc.value(lane.path(field).as_str());
        let number = |field: Field| u64::try_from(value(field)?.as_int()?).ok();
        let text = |field: Field| Some(value(field)?.as_str()?.to_owned());
        Some(Self {
            phase: PhaseName::from_str(value(Field::Phase)?.as_str()?)?,
            revision: Revision::new(number(Field::Revision)?),
            step: text(Field::Step),
            reason: text(Field::Reason),
            waits_for: text(Field::WaitsFor),
            since: Millis::new(number(Field::Since).unwrap_or_default()),
            attempts: number(Field::Attempts)
                .and_then(|n| u32::try_from(n).ok())
                .unwrap_or_default(),
            last_error: text(Field::LastError),
            next_retry: number(Field::NextRetry).map(Millis::new),
        })
    }

    /// The phase of [`of`](Self::of), found without reading the rest.
    pub fn phase_of(dsc: &Dsc) -> Option<PhaseName> {
        let phase = |lane: Lane| dsc.value(lane.path(Field::Phase).as_str());
        match (phase(Lane::Itself), phase(Lane::Quorum), dsc.get(LINK_PATH)) {
            (None, None, _) => None,
            (None, Some(one), None) | (Some(one), None, None) => PhaseName::from_str(one.as_str()?),
            _ => Self::of(dsc).map(|status| status.phase),
        }
    }

    /// Whether a lane's word in Dsc is this, or there is none yet. Another decider's word that came
    /// late may have won over it: then it must be said again.
    pub fn stands_in(&self, dsc: &Dsc, lane: Lane) -> bool {
        let held = |field: Field| dsc.value(lane.path(field).as_str());
        let text = |field: Field, said: Option<&str>| match (held(field), said) {
            (Some(Value::Str(held)), Some(said)) => **held == *said,
            (held, said) => held.is_none() && said.is_none(),
        };
        let number = |field: Field, said: Option<u64>| match (held(field), said) {
            (Some(Value::Int(held)), Some(said)) => *held == in_dsc(said),
            (held, said) => held.is_none() && said.is_none(),
        };
        held(Field::Phase).is_none()
            || (text(Field::Phase, Some(self.phase.as_str()))
                && number(Field::Revision, Some(self.revision.get()))
                && text(Field::Step, self.step.as_deref())
                && text(Field::Reason, self.reason.as_deref())
                && text(Field::WaitsFor, self.waits_for.as_deref())
                && number(Field::Since, Some(self.since.get()))
                && number(Field::Attempts, Some(self.attempts.into()))
                && text(Field::LastError, self.last_error.as_deref())
                && number(Field::NextRetry, self.next_retry.map(Millis::get)))
    }

    /// What is known of where an object stands: what its deciders said, unless it is a node whose
    /// link is down. Then nobody knows how it is now.
    pub fn of(dsc: &Dsc) -> Option<Self> {
        let said = Self::said(dsc)?;
        let down = dsc.get(LINK_PATH).filter(|link| link.value == Some(Link::Down.as_str().into()));
        let Some(link) = down else { return Some(said) };
        Some(Self {
            phase: PhaseName::Waiting,
            reason: Some("its link is down".to_owned()),
            waits_for: Some("the node to attach again".to_owned()),
            since: link.seen_at,
            ..said
        })
    }

    /// The same of an object of which more is known than was seen: on its way from one host to
    /// another it has not arrived where its Cfg has it.
    pub fn of_object(object: &Object, dsc: &Dsc) -> Option<Self> {
        let said = Self::of(dsc)?;
        let Some(former) = object.former().filter(|_| said.phase == PhaseName::Converged) else {
            return Some(said);
        };
        Some(Self {
            phase: PhaseName::Waiting,
            reason: Some(format!("{former} had it and is sure to have stopped it")),
            waits_for: Some("the leader to give it to its next host".to_owned()),
            ..said
        })
    }

    /// What both lanes together say of an object: the word of the lane that is not done, of two
    /// such the one that asks for more attention. It speaks for the older of both revisions.
    ///
    /// The leader sees everything and a node only what is its own: where the leader says that all
    /// is reached, a node that waits, or sees no way, merely does not see that.
    fn said(dsc: &Dsc) -> Option<Self> {
        let own = Self::of_lane(dsc, Lane::Itself);
        let quorum = Self::of_lane(dsc, Lane::Quorum);
        match (own, quorum) {
            (Some(own), Some(quorum)) => {
                let revision = own.revision.min(quorum.revision);
                let blind = matches!(own.phase, PhaseName::Waiting | PhaseName::Stuck);
                if blind && quorum.is_converged_at(own.revision) {
                    return Some(Self { revision, ..quorum });
                }
                let louder = if quorum.urgency() > own.urgency() { quorum } else { own };
                Some(Self { revision, ..louder })
            }
            (one, other) => one.or(other),
        }
    }

    /// Whether it says that all that was asked up to `revision` is so.
    pub fn is_converged_at(&self, revision: Revision) -> bool {
        self.phase == PhaseName::Converged && self.revision >= revision
    }

    fn urgency(&self) -> u8 {
        match self.phase {
            PhaseName::Converged => 0,
            PhaseName::Waiting => 1,
            PhaseName::InFlight => 2,
            PhaseName::BackingOff => 3,
            PhaseName::Stuck => 4,
            PhaseName::Quarantined => 5,
            PhaseName::Frozen => 6,
        }
    }
}

/// A number as it stands in Dsc.
fn in_dsc(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        dsc::{HybridClock, Observed},
        id::Name,
    };

    fn status(phase: PhaseName, revision: u64) -> Status {
        Status {
            phase,
            revision: Revision::new(revision),
            step: Some("service/Start(web)".to_owned()),
            reason: None,
            waits_for: None,
            since: Millis::new(7),
            attempts: 2,
            last_error: Some("no".to_owned()),
            next_retry: Some(Millis::new(9)),
        }
    }

    #[test]
    fn a_word_stands_only_where_all_of_it_is_held() {
        let said = Status { reason: Some("why".to_owned()), ..status(PhaseName::BackingOff, 5) };
        let dsc = written(&[(Lane::Quorum, &said)]);
        assert!(said.stands_in(&dsc, Lane::Quorum));
        assert!(said.stands_in(&dsc, Lane::Itself), "of which there is no word yet");
        for other in [
            Status { phase: PhaseName::Stuck, ..said.clone() },
            Status { revision: Revision::new(6), ..said.clone() },
            Status { step: None, ..said.clone() },
            Status { reason: Some("other".to_owned()), ..said.clone() },
            Status { waits_for: Some("it".to_owned()), ..said.clone() },
            Status { since: Millis::new(8), ..said.clone() },
            Status { attempts: 3, ..said.clone() },
            Status { last_error: None, ..said.clone() },
            Status { next_retry: None, ..said.clone() },
        ] {
            assert!(!other.stands_in(&dsc, Lane::Quorum), "{other:?}");
        }
    }

    #[test]
    fn of_a_node_whose_link_is_down_nothing_is_known() {
        let mut dsc = written(&[(Lane::Itself, &status(PhaseName::Converged, 9))]);
        let stamp = HybridClock::new(Name::new("m1").unwrap()).stamp(Millis::ZERO);
        let value = Some(Link::Down.as_str().into());
        dsc.merge(Path::new(LINK_PATH).unwrap(), Observed { value, stamp, seen_at: Millis::ZERO });
        let status = Status::of(&dsc).unwrap();
        assert_eq!(status.phase, PhaseName::Waiting);
        assert!(!status.is_converged_at(Revision::new(1)));
    }

    #[test]
    fn a_node_that_waits_for_what_it_cannot_see_is_done_when_the_leader_says_so() {
        let of = |own: &Status, quorum: &Status| {
            let both = Status::of(&written(&[(Lane::Itself, own), (Lane::Quorum, quorum)]));
            both.map(|status| (status.phase, status.revision.get()))
        };
        let done = status(PhaseName::Converged, 5);
        for (own, revision, expected) in [
            (PhaseName::Waiting, 5, (PhaseName::Converged, 5)),
            (PhaseName::Stuck, 4, (PhaseName::Converged, 4)),
            (PhaseName::Waiting, 6, (PhaseName::Waiting, 5)),
            (PhaseName::BackingOff, 5, (PhaseName::BackingOff, 5)),
            (PhaseName::Frozen, 5, (PhaseName::Frozen, 5)),
        ] {
            assert_eq!(of(&status(own, revision), &done), Some(expected), "{own} at {revision}");
        }
        let waiting = status(PhaseName::Waiting, 5);
        assert_eq!(of(&done, &waiting), Some((PhaseName::Waiting, 5)), "not the other way round");
    }

    fn written(statuses: &[(Lane, &Status)]) -> Dsc {
        let mut dsc = Dsc::new();
        let mut clock = HybridClock::new(Name::new("n1").unwrap());
        for (lane, status) in statuses {
            for (path, value) in status.to_values(*lane) {
                let stamp = clock.stamp(Millis::ZERO);
                dsc.merge(path, Observed { value, stamp, seen_at: Millis::ZERO });
            }
        }
        dsc
    }

    #[test]
    fn a_status_survives_being_written_as_dsc() {
        for (phase, name) in PHASES {
            assert_eq!(phase.as_str(), name);
            let status = status(phase, 3);
            let dsc = written(&[(Lane::Itself, &status)]);
            assert_eq!(Status::of_lane(&dsc, Lane::Itself), Some(status.clone()));
            assert_eq!(Status::of(&dsc), Some(status));
            assert_eq!(Status::phase_of(&dsc), Some(phase));
            assert_eq!(Status::of_lane(&dsc, Lane::Quorum), None);
        }
    }

    #[test]
    fn of_two_lanes_the_one_that_is_not_done_speaks_for_the_older_revision() {
        let done = status(PhaseName::Converged, 9);
        let waiting = status(PhaseName::Waiting, 5);
        let both = Status::of(&written(&[(Lane::Itself, &done), (Lane::Quorum, &waiting)]));
        assert_eq!(both, Some(waiting));
        let both = Status::of(&written(&[
            (Lane::Itself, &status(PhaseName::Converged, 4)),
            (Lane::Quorum, &done),
        ]));
        assert_eq!(both.map(|s| (s.phase, s.revision.get())), Some((PhaseName::Converged, 4)));
    }
}
