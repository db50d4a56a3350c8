//! `kraken bench plan`: what it takes to find plans, from nothing and from memory, for one machine
//! and for a whole fleet, and how that grows. On one core, in this process.

mod fleet;
mod kinds;

use std::{collections::BTreeMap, time::Instant};

use anyhow::Context as _;
use kraken_engine::{
    catalog::{Catalog, KindCatalog},
    id::Name,
    manifest::{Manifest, NODE_KIND},
    path::Path,
    planner::{Answer, Facts, NoPlan, Planner, Question},
    predicate::On,
    schema::Goal,
    state::State,
    value::Value,
};

use self::fleet::{Fleet, count};
use super::figure::{Figure, print};
use crate::{console::Console, exit::Failure};

/// Runs of each measurement.
const RUNS: usize = 7;
/// Two-valued paths of the case that is too large to be searched.
const DENSE_PATHS: usize = 18;

/// Measures what it takes to find plans
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// How many objects the largest fleet has
    #[arg(long, value_name = "N", default_value = "100000")]
    #[arg(value_parser = clap::value_parser!(u32).range(100..=1_000_000))]
    objects: u32,
    /// Answers each question once: shows that it works, and measures nothing
    #[arg(long)]
    quick: bool,
    /// Prints one JSON object a line
    #[arg(long)]
    json: bool,
}

/// How often is measured.
#[derive(Debug, Clone, Copy)]
struct Effort {
    runs: usize,
    /// Answers of one run where one alone is too short to be timed.
    remembered: usize,
    cold: usize,
}

impl Effort {
    const WHOLE: Self = Self { runs: RUNS, remembered: 100_000, cold: 200 };
    const QUICK: Self = Self { runs: 1, remembered: 2, cold: 1 };
}

impl Args {
    /// Measures, and prints.
    pub(crate) fn run(&self, console: &Console) -> Result<(), Failure> {
        let mut figures = Vec::new();
        let mut progress = console.progress();
        let objects = usize::try_from(self.objects).unwrap_or(usize::MAX);
        let effort = if self.quick { Effort::QUICK } else { Effort::WHOLE };
        let parts: [&dyn Fn() -> Result<Vec<Figure>, Failure>; 4] =
            [&|| single(effort), &|| too_large(effort), &|| growth_in_paths(effort), &|| {
                whole_fleet(objects, effort)
            }];
        for (done, part) in parts.iter().enumerate() {
            progress.set("parts are measured", done, parts.len());
            figures.extend(part()?);
        }
        drop(progress);
        print(&figures, self.json, console)
    }
}

/// One object with all that a question needs.
struct Case {
    catalog: Catalog,
    cfg: State,
    seen: Seen,
    goal: Goal,
}

#[derive(Default)]
struct Seen(BTreeMap<Path, Value>);

impl Facts for Seen {
    fn value(&self, path: &Path) -> Option<&Value> {
        self.0.get(path)
    }

    fn related(&self, _: &On, _: &Path) -> Option<Value> {
        None
    }
}

impl Case {
    /// An object of a kind at which this is seen, and of which that is asked.
    fn new(
        manifest: Manifest,
        seen: impl IntoIterator<Item = (String, Value)>,
        asked: impl IntoIterator<Item = (String, Value)>,
    ) -> Result<Self, Failure> {
        let catalog = Catalog::build(&[manifest]);
        let catalog = catalog.map_err(|problems| Failure::failed(format!("{problems:?}")))?;
        let (mut cfg, mut held) = (State::new(), Seen::default());
        for (path, value) in seen {
            held.0.insert(Path::new(path).context("a path")?, value);
        }
        for (path, value) in asked {
            cfg.set(Path::new(path).context("a path")?, value).context("a state")?;
        }
        let mut case = Self { catalog, cfg, seen: held, goal: Goal::new() };
        case.goal = case.kind()?.schema.goal(&case.cfg, false);
        Ok(case)
    }

    fn kind(&self) -> Result<&KindCatalog, Failure> {
        let kind = Name::new(NODE_KIND).ok().and_then(|name| self.catalog.kind(&name));
        Ok(kind.context("no kind is declared")?)
    }

    fn plan(&self, planner: &mut Planner) -> Result<Answer, Failure> {
        let (kind, goal) = (self.kind()?, &self.goal);
        Ok(planner.plan(&Question { kind, goal, cfg: &self.cfg, facts: &self.seen }))
    }

    /// The time of an answer in microseconds, so many times from nothing.
    fn cold(&self, steps: usize, effort: Effort) -> Result<Vec<f64>, Failure> {
        runs(effort.runs, effort.cold, || {
            let plan = self.plan(&mut Planner::new())?;
            match plan {
                Ok(plan) if plan.steps.len() == steps => Ok(()),
                other => Err(Failure::failed(format!("not a plan of {steps} steps: {other:?}"))),
            }
        })
    }

    /// The same where the answer is remembered.
    fn remembered(&self, effort: Effort) -> Result<Vec<f64>, Failure> {
        let mut planner = Planner::new();
        let times = runs(effort.runs, effort.remembered, || self.plan(&mut planner).map(drop))?;
        match planner.stats().searches {
            1 => Ok(times),
            searches => Err(Failure::failed(format!("{searches} searches where one was due"))),
        }
    }
}

/// Times of some runs of so many answers each, in microseconds an answer.
fn runs(
    count_of_runs: usize,
    answers: usize,
    mut answer: impl FnMut() -> Result<(), Failure>,
) -> Result<Vec<f64>, Failure> {
    let mut times = Vec::new();
    for _ in 0..count_of_runs {
        let begun = Instant::now();
        for _ in 0..answers {
            answer()?;
        }
        times.push(begun.elapsed().as_secs_f64() * 1e6 / count(answers));
    }
    Ok(times)
}

fn booted() -> Result<Case, Failure> {
    let pairs = |pairs: &[(&str, &str)]| -> Vec<(String, Value)> {
        pairs.iter().map(|(path, value)| ((*path).to_owned(), (*value).into())).collect()
    };
    let mut seen = pairs(&[
        ("/physState", "POWER_ON"),
        ("/bootState", "UP"),
        ("/runState", "SYNC"),
        ("/image", "v1"),
        ("/address", "10.0.0.1"),
    ]);
    seen.push(("/temperature".to_owned(), Value::Int(40)));
    let asked = pairs(&[("/runState", "SYNC"), ("/image", "v2"), ("/address", "10.0.0.1")]);
    Case::new(kinds::boot(), seen, asked)
}

/// Three-valued paths at A, of which the last, or all, shall be at C.
fn ladders(paths: usize, is_chained: bool) -> Result<Case, Failure> {
    let first = if is_chained { paths - 1 } else { 0 };
    let seen = (0..paths).map(|number| (kinds::path(number), "A".into()));
    let asked = (first..paths).map(|number| (kinds::path(number), "C".into()));
    Case::new(kinds::ladders(paths, is_chained), seen, asked)
}

fn single(effort: Effort) -> Result<Vec<Figure>, Failure> {
    let boot = booted()?;
    let mut figures = vec![
        Figure::of("plan.memo.boot", "us", Some(1.0), boot.remembered(effort)?),
        Figure::of("plan.cold.boot", "us", Some(100.0), boot.cold(9, effort)?),
    ];
    for (name, paths, is_chained, target) in [
        ("chain8", 8, true, 1_000.0),
        ("indep8", 8, false, 1_000.0),
        ("chain12", 12, true, 20_000.0),
    ] {
        let times = ladders(paths, is_chained)?.cold(2 * paths, effort)?;
        figures.push(Figure::of(format!("plan.cold.{name}"), "us", Some(target), times));
    }
    Ok(figures)
}

/// A case past the limit of a search, to its typed error.
fn too_large(effort: Effort) -> Result<Vec<Figure>, Failure> {
    let at = |last: &'static str| {
        (0..DENSE_PATHS).map(move |number| {
            let value = if number + 1 == DENSE_PATHS { last } else { "A" };
            (kinds::path(number), value.into())
        })
    };
    let case = Case::new(kinds::dense(DENSE_PATHS), at("A"), at("B"))?;
    let times = runs(effort.runs, 1, || match case.plan(&mut Planner::new())? {
        Err(reason) if matches!(*reason, NoPlan::TooLarge { .. }) => Ok(()),
        other => Err(Failure::failed(format!("not too large: {other:?}"))),
    })?;
    let secs = times.into_iter().map(|us| us / 1e6);
    Ok(vec![Figure::of("plan.dense", "s", Some(0.5), secs)])
}

/// A plan from nothing as the product of all values grows: 3^4 to 3^32 states.
fn growth_in_paths(effort: Effort) -> Result<Vec<Figure>, Failure> {
    let measured = |(name, is_chained, paths): (&str, bool, usize)| {
        let times = ladders(paths, is_chained)?.cold(2 * paths, effort)?;
        Ok(Figure::of(format!("plan.grow.{name}{paths}"), "us", None, times))
    };
    let sizes = [4, 8, 16, 32];
    let all = [("chain", true), ("indep", false)].into_iter();
    all.flat_map(|(name, is_chained)| sizes.map(|paths| (name, is_chained, paths)))
        .map(measured)
        .collect()
}

/// A whole fleet, and a tenth and three tenths of it.
fn whole_fleet(objects: usize, effort: Effort) -> Result<Vec<Figure>, Failure> {
    let mut figures = Vec::new();
    for part in [objects / 10, objects * 3 / 10, objects] {
        let fleet = Fleet::new(part)?;
        let is_whole = part == 100_000;
        let name = if part % 1_000 == 0 {
            format!("plan.fleet.{}k", part / 1_000)
        } else {
            format!("plan.fleet.{part}")
        };
        // Memory first, while nothing lies around that could be used again.
        let (_, held) = fleet.decide()?;
        let mut decided = Vec::new();
        for _ in 0..effort.runs {
            decided.push(fleet.decide()?.0);
        }
        let planned = (0..effort.runs).map(|_| fleet.plan());
        let planned = planned.map(|(secs, steps)| if steps > 0 { secs } else { f64::NAN });
        let of_target = |target: f64| Some(target).filter(|_| is_whole);
        figures.push(Figure::of(&name, "s", of_target(1.0), planned));
        figures.push(Figure::of(format!("{name}.decide"), "s", None, decided));
        figures.push(Figure::of(format!("{name}.memory"), "bytes", of_target(1_024.0), [held]));
    }
    Ok(figures)
}
