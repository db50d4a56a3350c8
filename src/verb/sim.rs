//! `kraken sim`: the real engine against simulated machines, before it touches hardware: how long a
//! change takes, what faults cost, and how much is disrupted at once.

mod picture;

use std::{path::PathBuf, time::Duration};

use anyhow::Context as _;
use kraken_engine::{
    command::Op,
    id::Name,
    manifest::{Manifest, NODE_KIND},
    object::ObjectRef,
    path::Path,
    state::State,
    world::crowd::{Crowd, Error, Faults, OBJECTS_MAX, Options, Report},
};
use kraken_http::state_file::{self, StateFile};

use crate::{
    console::Console,
    exit::{Exit, Failure},
    output::{json, lines},
};

/// Events between two looks at how far it is.
const EVENTS_A_LOOK: u64 = 20_000;

/// Runs the real engine on simulated machines and tells how long it takes
///
/// Without a file, N nodes are asked to be powered on and booted. With one, its objects are
/// simulated; with both, its nodes are models that N nodes are made of in turn. Policies and
/// modules in the file count as they would in a fleet.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// A file with objects, policies and declarations of modules, YAML or JSON
    #[arg(long, value_name = "FILE")]
    state: Option<PathBuf>,
    /// How many nodes
    #[arg(long, value_name = "N")]
    nodes: Option<usize>,
    /// How long a mutation takes: a time, or the least and the most as 1s..3s
    #[arg(long, value_name = "TIME", default_value = "50ms..150ms", value_parser = latency)]
    latency: (u64, u64),
    /// How long a message takes at most
    #[arg(long, value_name = "TIME", default_value = "5ms", value_parser = span)]
    network: u64,
    /// What goes wrong, in percent of attempts: fail=1,hang=0.1,lie=0.1,drift=0.5
    #[arg(long, value_name = "LIST", default_value = "", value_parser = faults)]
    faults: Faults,
    /// What draws latencies and faults; the same seed makes the same again
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// For how long at most, in simulated time
    #[arg(long = "for", value_name = "TIME", default_value = "1h", value_parser = span)]
    lasts: u64,
    /// Writes the timeline as a picture
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
    /// In which form
    #[arg(short, long, value_name = "FORM", default_value = "text")]
    output: Form,
}

/// The forms of a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Form {
    /// For people
    Text,
    /// JSON, with the timeline
    Json,
}

impl Args {
    /// Simulates.
    pub(crate) fn run(self, console: &Console) -> Result<(), Failure> {
        let (manifests, ops) = self.population()?;
        let options = Options {
            seed: self.seed,
            latency_ms: self.latency,
            network_ms: self.network,
            faults: self.faults,
            for_ms: self.lasts,
        };
        let mut crowd = Crowd::new(options, manifests, ops).map_err(refused)?;
        let mut bar = console.progress();
        while crowd.go_on(EVENTS_A_LOOK) {
            let progress = crowd.progress();
            let passed = humantime::format_duration(Duration::from_secs(progress.at_ms / 1_000));
            let detail = format!("{passed} simulated, {} events", progress.events);
            bar.detail("objects converged", progress.converged, progress.objects, &detail);
        }
        drop(bar);
        let report = crowd.report();
        if let Some(file) = &self.svg {
            let written = std::fs::write(file, picture::svg(&report));
            written.with_context(|| format!("cannot write {}", file.display()))?;
        }
        match self.output {
            Form::Json => console.print(json(&report)?),
            Form::Text => console.print(text(&report)),
        }
    }

    /// The modules and the objects.
    fn population(&self) -> Result<(Vec<Manifest>, Vec<Op>), Failure> {
        let file = match &self.state {
            None => StateFile::default(),
            Some(file) => {
                let shown = file.display().to_string();
                let text = std::fs::read_to_string(file)
                    .with_context(|| format!("cannot read {shown}"))
                    .map_err(|error| Failure::from(error).exiting(Exit::Usage))?;
                state_file::read(&text).map_err(|why| Failure::usage(why).within(&shown))?
            }
        };
        let given: Vec<Manifest> = file.sources.into_iter().map(|s| s.manifest).collect();
        let builtin = kraken_modules::builtin();
        let own = builtin.iter().map(|factory| factory.manifest().clone());
        let base = [
            kraken_modules::base(),
            kraken_engine::policy::manifest(),
            kraken_http::old::manifest(),
        ];
        let own = base.into_iter().chain(own);
        let replaced = |module: &str| given.iter().any(|manifest| manifest.module == module);
        let mut manifests: Vec<Manifest> = own.filter(|m| !replaced(&m.module)).collect();
        manifests.extend(given);
        let ops = match (self.nodes, file.objects) {
            (None, objects) if objects.is_empty() => {
                let hint = "say how many with --nodes, or what with --state";
                return Err(Failure::usage("there is nothing to simulate").hint(hint));
            }
            (None, objects) => objects,
            (Some(count), _) if count > OBJECTS_MAX => {
                return Err(Failure::usage(format!("at most {OBJECTS_MAX} nodes are simulated")));
            }
            (Some(count), objects) => multiplied(count, objects)?,
        };
        Ok((manifests, ops))
    }
}

/// So many nodes, made of the models in turn; all else once.
fn multiplied(count: usize, objects: Vec<Op>) -> Result<Vec<Op>, Failure> {
    let is_node =
        |op: &Op| matches!(op, Op::Put { object, .. } if object.kind.as_str() == NODE_KIND);
    let (mut models, mut all): (Vec<Op>, Vec<Op>) = objects.into_iter().partition(is_node);
    let wrong = |error: &dyn std::fmt::Display| Failure::failed(error);
    if models.is_empty() {
        let mut cfg = State::new();
        for (path, value) in [("/physState", "POWER_ON"), ("/runState", "SYNC")] {
            let path = Path::new(path).map_err(|error| wrong(&error))?;
            cfg.set(path, value.into()).map_err(|error| wrong(&error))?;
        }
        let kind = Name::new(NODE_KIND).map_err(|error| wrong(&error))?;
        let object = ObjectRef { kind: kind.clone(), namespace: None, name: kind };
        models.push(Op::Put { object, labels: None, owner: None, cfg });
    }
    for (number, model) in (1..=count).zip(models.iter().cycle()) {
        if let Op::Put { object, labels, owner, cfg } = model.clone() {
            let name = Name::new(format!("n{number}")).map_err(|error| wrong(&error))?;
            all.push(Op::Put { object: ObjectRef { name, ..object }, labels, owner, cfg });
        }
    }
    Ok(all)
}

fn refused(error: Error) -> Failure {
    match error {
        Error::Nobody => Failure::usage(error).hint("ask something of a node, or of another kind"),
        Error::Modules(_) | Error::Objects(_) | Error::TooMany { .. } => Failure::usage(error),
    }
}

/// A time in milliseconds.
fn span(text: &str) -> Result<u64, String> {
    let time = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    u64::try_from(time.as_millis()).map_err(|_| "that is too long".to_owned())
}

/// A time, or two with `..` between.
fn latency(text: &str) -> Result<(u64, u64), String> {
    let (least, most) = text.split_once("..").unwrap_or((text, text));
    let (least, most) = (span(least)?, span(most)?);
    if least > most { Err("the least is above the most".to_owned()) } else { Ok((least, most)) }
}

/// Shares in percent by name.
fn faults(text: &str) -> Result<Faults, String> {
    let mut faults = Faults::default();
    for part in text.split(',').filter(|part| !part.is_empty()) {
        let (name, share) = part.split_once('=').ok_or("write name=percent, as in fail=1.5")?;
        let share: f64 = share.parse().map_err(|_| format!("{share:?} is no number"))?;
        if !(0.0..=100.0).contains(&share) {
            return Err(format!("{name} is a share from 0 to 100"));
        }
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a share of a hundred, checked above, in hundredths"
        )]
        let share = (share * 100.0).round() as u64;
        match name {
            "fail" => faults.fail = share,
            "hang" => faults.hang = share,
            "lie" => faults.lie = share,
            "drift" => faults.drift = share,
            _ => return Err(format!("there is no fault {name:?}: fail, hang, lie, drift")),
        }
    }
    if faults.fail + faults.hang + faults.lie > 10_000 {
        return Err("fail, hang and lie are together more than 100".to_owned());
    }
    Ok(faults)
}

fn seconds(ms: u64) -> String {
    format!("{}.{} s", ms / 1_000, ms % 1_000 / 100)
}

/// The report for people.
fn text(report: &Report) -> String {
    let mut text = vec![
        format!("{} objects, seed {}", report.objects, report.seed),
        format!("simulated    {}, {} events", seconds(report.lasted_ms), report.events),
    ];
    match &report.convergence_ms {
        None => text.push("converged    none".to_owned()),
        Some(spread) => text.push(format!(
            "converged    {} objects: half by {}, 90 % by {}, 99 % by {}, the last at {}",
            spread.count,
            seconds(spread.p50),
            seconds(spread.p90),
            seconds(spread.p99),
            seconds(spread.max),
        )),
    }
    let ended = report.phases.iter().map(|(phase, count)| format!("{count} {phase}"));
    text.push(format!("ended        {}", ended.collect::<Vec<_>>().join(", ")));
    text.push(format!("attempts     {}, of which {} failed", report.attempts, report.failures));
    for (mutation, count) in &report.mutations {
        text.push(format!("  {mutation:<22} {:>9} {:>9} failed", count.attempts, count.failures));
    }
    text.push(format!(
        "disrupted    at most {} at once, {} or fewer in 99 % of the time",
        report.disrupted_max, report.disrupted_p99
    ));
    lines(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_shares_are_read_and_mistakes_are_told() {
        assert_eq!(latency("1s..3s"), Ok((1_000, 3_000)));
        assert_eq!(latency("20ms"), Ok((20, 20)));
        assert!(latency("3s..1s").is_err() && latency("soon").is_err());
        assert_eq!(faults("fail=1.5,hang=0.1").unwrap().fail, 150);
        for wrong in ["fail", "fail=x", "fail=101", "fire=1", "fail=60,lie=60"] {
            assert!(faults(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn nodes_are_made_of_the_models_in_turn() {
        let file = "kind: node\nname: a\ncfg: {physState: POWER_ON}\n---\n\
                    kind: node\nname: b\ncfg: {physState: POWER_OFF}\n";
        let ops = multiplied(3, state_file::read(file).unwrap().objects).unwrap();
        let asked: Vec<String> = ops
            .iter()
            .map(|op| match op {
                Op::Put { object, cfg, .. } => format!("{} {:?}", object.name, cfg.iter().next()),
                other => format!("{other:?}"),
            })
            .collect();
        assert_eq!(asked.len(), 3);
        assert!(asked[0].starts_with("n1") && asked[0].contains("POWER_ON"), "{asked:?}");
        assert!(asked[1].contains("POWER_OFF") && asked[2].contains("POWER_ON"), "{asked:?}");
    }
}
