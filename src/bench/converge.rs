//! `kraken bench converge`: how long a fleet takes from the first POST until all of it is as it was
//! asked to be, seen over HTTP. Three real members with defaults; the machines are simulated by
//! modules on them, so that nothing but this program is measured.

mod hosts;
mod run;

use std::{fs, path::Path};

use anyhow::Context as _;
use kraken_http::client::Client;
use kraken_modules::ladder::{LADDER_STEPS, value};
use serde_json::{Value as Json, json};

use self::{hosts::Begun, run::Run};
use super::{
    figure::{Figure, print},
    members::Members,
};
use crate::{console::Console, daemon::Endings, exit::Failure};

/// Objects of one POST.
const BATCH_OBJECTS: u64 = 1_000;
/// What one mutation of a simulated machine takes, in milliseconds.
const HANDLER_MS: u64 = 100;
/// Where a leader is killed, one in so many machines needs a disruptive mutation first.
const DISRUPTED_EVERY: u64 = 10;
/// A simulated machine that runs into an error when it is looked at first.
const FAILED_MACHINE: &str = r#"{"version":1,"phys":"POWER_ON","run":"ERROR","attempts":0}"#;
/// The file to which members add the attempts that begin at them.
const RECORD: &str = "attempts";
/// The folder of the simulated machines.
const WORLD: &str = "world";

/// Measures how long a fleet takes from POST to converged
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// How many machines
    #[arg(long, value_name = "N", default_value = "1000")]
    #[arg(value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    nodes: u64,
    /// Takes each machine through so many steps that need no time, in place of two that take 0.1 s
    #[arg(long, value_name = "N", conflicts_with = "kill_leader")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=i64::from(LADDER_STEPS)))]
    steps: Option<u32>,
    /// Kills the leader in the middle, and measures how much longer that takes
    #[arg(long)]
    kill_leader: bool,
    /// How often; the median counts
    #[arg(long, value_name = "N", default_value = "1")]
    #[arg(value_parser = clap::value_parser!(u64).range(1..=100))]
    runs: u64,
    /// Prints one JSON object a line
    #[arg(long)]
    json: bool,
}

impl Args {
    /// Measures until done or told to end.
    pub(crate) async fn run(self, console: &Console) -> Result<(), Failure> {
        let mut endings = Endings::listen(false)?;
        let figures = tokio::select! {
            figures = self.measure(console) => figures?,
            why = endings.next() => {
                return Err(Failure::failed(format!("{why}: ended before the measurement was")));
            }
        };
        print(&figures, self.json, console)
    }

    async fn measure(&self, console: &Console) -> Result<Vec<Figure>, Failure> {
        let (mut took, mut longer, mut begun) = (Vec::new(), Vec::new(), Begun::default());
        for _ in 0..self.runs {
            let secs = self.once(false, &mut begun, console).await?;
            took.push(secs);
            if self.kill_leader {
                let killed = self.once(true, &mut begun, console).await?;
                longer.push((killed - secs).max(0.0));
            }
        }
        let name = self.name();
        let mut figures = vec![Figure::of(&name, "s", self.target(), took)];
        if self.kill_leader {
            let name = format!("{name}_leader_killed");
            figures.push(Figure::of(&name, "s", Some(6.0), longer));
            for (what, count) in [
                ("attempts", begun.attempts),
                ("disruptive", begun.disruptive),
                ("started_twice", begun.twice),
                ("disruptive_repeated", begun.repeated),
            ] {
                figures.push(Figure::count(format!("{name}.{what}"), count));
            }
        }
        Ok(figures)
    }

    /// One fleet from nothing to converged, in seconds.
    async fn once(
        &self,
        kill_leader: bool,
        begun: &mut Begun,
        console: &Console,
    ) -> Result<f64, Failure> {
        let modules = |folder: &Path| match self.steps {
            Some(_) => "\n[modules.ladder]\n".to_owned(),
            None => simulated(folder, self.kill_leader),
        };
        let mut members = Members::start(modules, |folder| self.prepare(folder)).await?;
        let run = Run { bodies: self.bodies(), total: self.total(), kill_leader };
        let took = run.go(&mut members, console).await?;
        if self.kill_leader {
            begun.add(&Begun::read(&members.folder().join(RECORD))?);
        }
        members.end().await?;
        Ok(took.as_secs_f64())
    }

    /// Breaks some of the machines where disruptive mutations are wanted.
    fn prepare(&self, folder: &Path) -> Result<(), Failure> {
        if !self.kill_leader {
            return Ok(());
        }
        let world = folder.join(WORLD);
        fs::create_dir_all(&world).context("the folder of the simulated machines")?;
        for number in (1..=self.nodes).filter(|number| number % DISRUPTED_EVERY == 0) {
            let file = world.join(format!("{}.json", machine(number)));
            fs::write(file, FAILED_MACHINE).context("a simulated machine")?;
        }
        Ok(())
    }

    /// What is posted: so many machines, in batches.
    fn bodies(&self) -> Vec<Json> {
        let cfg = match self.steps {
            Some(steps) => json!({ "ladder": value(steps) }),
            None => json!({ "runState": "SYNC" }),
        };
        let numbers: Vec<u64> = (1..=self.nodes).collect();
        let object = |number: &u64| json!({ "name": machine(*number), "cfg": &cfg });
        let batches = numbers.chunks(usize::try_from(BATCH_OBJECTS).unwrap_or(1));
        batches.map(|batch| batch.iter().map(object).collect()).collect()
    }

    fn total(&self) -> usize {
        usize::try_from(self.nodes).unwrap_or(usize::MAX)
    }

    fn name(&self) -> String {
        match (self.nodes, self.steps) {
            (nodes, Some(steps)) => format!("converge.{nodes}x{steps}"),
            (thousands, None) if thousands % 1_000 == 0 => {
                format!("converge.{}k", thousands / 1_000)
            }
            (nodes, None) => format!("converge.{nodes}"),
        }
    }

    fn target(&self) -> Option<f64> {
        match (self.nodes, self.steps) {
            (10_000, None) => Some(2.0),
            (100_000, None) => Some(20.0),
            (13_500, Some(LADDER_STEPS)) => Some(60.0),
            _ => None,
        }
    }
}

/// The name of a machine.
fn machine(number: u64) -> String {
    format!("b{number}")
}

/// The lines of a member's configuration by which machines are simulated. Looking takes no time.
fn simulated(folder: &Path, is_recorded: bool) -> String {
    let quoted = |name: &str| toml::Value::from(folder.join(name).display().to_string());
    let mut lines = vec!["\n[modules.sim]\n".to_owned()];
    if is_recorded {
        // The next leader must find the machines as the last one left them.
        lines.push(format!("world = {}\nrecord = {}\n", quoted(WORLD), quoted(RECORD)));
    } else {
        lines.push("in_memory = true\n".to_owned());
    }
    for (table, ms) in [("every", HANDLER_MS), ("mutations.Look", 0), ("mutations.LookInside", 0)] {
        lines
            .push(format!("[modules.sim.{table}]\nlatency_min_ms = {ms}\nlatency_max_ms = {ms}\n"));
    }
    lines.concat()
}

/// How many objects have converged, as one member sees it.
pub(super) async fn converged(client: &Client) -> Result<usize, Failure> {
    let answer = client.raw_get("/metrics").await?;
    let text = String::from_utf8_lossy(&answer.body);
    let line = text.lines().find_map(|line| {
        line.strip_prefix("kraken_objects_in_phase{phase=\"Converged\"}").map(str::trim)
    });
    let count = line.unwrap_or("0").parse::<usize>();
    Ok(count.context("/metrics counts in whole numbers")?)
}
