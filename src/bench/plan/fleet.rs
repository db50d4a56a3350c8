//! Many machines of the realistic kind in a number of classes: what it takes to plan and to decide
//! for all of them.

use std::{fs, sync::Arc, time::Instant};

use anyhow::Context as _;
use kraken_engine::{
    catalog::Catalog,
    decider::Decider,
    dsc::{Dsc, Observed, Stamp},
    id::{ClusterId, Name, Revision, Uid},
    manifest::NODE_KIND,
    mutation::Lane,
    object::Tenure,
    object::{Labels, Object, ObjectRef},
    path::Path,
    planner::{Planner, Question},
    singleton::Lease,
    state::State,
    time::Millis,
    value::Value,
    view::{Presumed, Subject, Unrelated, View},
};

use super::kinds;
use crate::exit::Failure;

/// How many classes there are: where a machine stands, and which image it shall have.
const CLASSES: usize = 20;
/// The states in which machines stand: power, boot, run, image, address.
const STANDING: [[&str; 5]; 5] = [
    ["POWER_OFF", "", "", "", ""],
    ["POWER_ON", "PXE", "", "", ""],
    ["POWER_ON", "LOADED", "", "v1", ""],
    ["POWER_ON", "UP", "INIT", "v1", "10.0.0.1"],
    ["POWER_ON", "UP", "SYNC", "v1", "10.0.0.1"],
];
const PATHS: [&str; 5] = ["/physState", "/bootState", "/runState", "/image", "/address"];
const NOW: Millis = Millis::new(1_000_000);

/// Machines with what is asked of them and what was seen.
pub(super) struct Fleet {
    catalog: Catalog,
    machines: Vec<(Arc<Object>, Arc<Dsc>)>,
}

impl Fleet {
    /// So many machines.
    pub(super) fn new(count: usize) -> Result<Self, Failure> {
        let catalog = Catalog::build(&[kinds::boot()]);
        let catalog = catalog.map_err(|problems| Failure::failed(format!("{problems:?}")))?;
        let machines = (0..count).map(machine).collect::<Result<_, anyhow::Error>>()?;
        Ok(Self { catalog, machines })
    }

    fn subjects(&self) -> impl Iterator<Item = Subject<'_>> {
        self.machines.iter().map(|(object, dsc)| Subject {
            object,
            dsc,
            catalog: &self.catalog,
            related: &Unrelated,
            not_before: Millis::ZERO,
            lease: Lease::Unbound,
        })
    }

    /// The time to plan for all of them from nothing, in seconds, and how many steps that were.
    pub(super) fn plan(&self) -> (f64, usize) {
        let begun = Instant::now();
        let (mut planner, presumed, mut steps) = (Planner::new(), Presumed::new(), 0);
        for subject in self.subjects() {
            let Some(view) = View::new(subject, &presumed) else { continue };
            let goal = view.goal();
            let question =
                Question { kind: view.kind(), goal: &goal, cfg: &subject.object.cfg, facts: &view };
            steps += planner.plan(&question).map_or(0, |plan| plan.steps.len());
        }
        (begun.elapsed().as_secs_f64(), steps)
    }

    /// The time to decide for all of them from nothing, in seconds, and what the decider then holds
    /// of each, in bytes.
    pub(super) fn decide(&self) -> Result<(f64, f64), Failure> {
        let node = Name::new("m1").context("a node's name")?;
        let before = resident()?;
        let begun = Instant::now();
        let mut decider = Decider::new(Lane::Quorum, node, NOW);
        let mut effects = 0;
        for subject in self.subjects() {
            effects += decider.look(subject, NOW).len();
        }
        let took = begun.elapsed().as_secs_f64();
        let held = resident()?.saturating_sub(before);
        // The machines must be there until here, and have decided something.
        if decider.objects() != self.machines.len() || effects == 0 {
            return Err(Failure::failed("the decider did not decide for every machine"));
        }
        let held = f64::from(u32::try_from(held / 1_024).unwrap_or(u32::MAX)) * 1_024.0;
        Ok((took, held / count(self.machines.len())))
    }
}

/// A count as a number to divide by.
pub(super) fn count(count: usize) -> f64 {
    f64::from(u32::try_from(count.max(1)).unwrap_or(u32::MAX))
}

fn machine(number: usize) -> anyhow::Result<(Arc<Object>, Arc<Dsc>)> {
    let class = number % CLASSES;
    let image = format!("v{}", 2 + class / STANDING.len());
    let ordinal = u32::try_from(number).context("too many machines")?;
    let mut cfg = State::new();
    for (path, value) in
        [("/runState", "SYNC"), ("/image", image.as_str()), ("/address", "10.0.0.1")]
    {
        cfg.set(Path::new(path)?, value.into())?;
    }
    let object = Object {
        uid: Uid::derive(ClusterId::new(1), Revision::new(1), ordinal),
        key: ObjectRef {
            kind: Name::new(NODE_KIND)?,
            namespace: None,
            name: Name::new(format!("b{number}"))?,
        },
        labels: Labels::new(),
        owner: None,
        on_delete: <_>::default(),
        tenure: Tenure::default(),
        created: Millis::ZERO,
        revision: Revision::new(1),
        generation: 1,
        deleting: false,
        frozen: None,
        cfg,
    };
    let mut dsc = Dsc::new();
    let stamp = Stamp { ms: 1, counter: 0, writer: Name::new("m1")? };
    let mut see = |path: &str, value: Option<Value>| -> anyhow::Result<()> {
        let observed = Observed { value, stamp: stamp.clone(), seen_at: NOW };
        dsc.merge(Path::new(path)?, observed);
        Ok(())
    };
    for (path, value) in PATHS.iter().zip(STANDING[class % STANDING.len()]) {
        see(path, (!value.is_empty()).then(|| value.into()))?;
    }
    see("/temperature", Some(Value::Int(40)))?;
    Ok((Arc::new(object), Arc::new(dsc)))
}

/// The memory of this process that is in use, in bytes.
fn resident() -> Result<usize, Failure> {
    /// The size of a page on the machines that we run on, in bytes.
    const PAGE_BYTES: usize = 4_096;
    let text = fs::read_to_string("/proc/self/statm").context("/proc/self/statm")?;
    let pages: Option<usize> = text.split(' ').nth(1).and_then(|pages| pages.parse().ok());
    Ok(pages.context("/proc/self/statm names no pages")? * PAGE_BYTES)
}
