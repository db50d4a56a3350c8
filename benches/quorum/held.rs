//! What it takes to hold many objects: memory, disk, and the time to start again.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use tokio::time::sleep;

use super::{
    Bench,
    pair::Both,
    system::{MEMBERS, System, mark, shows, sign},
    times::float,
    wire::Place,
};

/// How many objects.
const SIZES: [(&str, u64); 2] = [("100k", 100_000), ("1m", 1_000_000)];
const SIZES_QUICK: [(&str, u64); 1] = [("1k", 1_000)];
/// From so many on the systems are filled once, and started again as often as is asked for.
const ONCE_FROM: u64 = 1_000_000;
/// How long a start may take.
const START_MAX: Duration = Duration::from_mins(2);
/// How often is looked whether it is over.
const LOOK_INTERVAL: Duration = Duration::from_millis(2);

/// What runs came to.
struct Runs {
    memory: Both<f64>,
    disk: Both<f64>,
    one: Both<f64>,
    all: Both<f64>,
}

/// Measures what is asked for.
pub(crate) async fn measure(bench: &mut Bench<'_>) -> Result<()> {
    let sizes = if bench.args.quick { &SIZES_QUICK[..] } else { &SIZES };
    for (size, objects) in sizes {
        let named = |what: &str| format!("{what}.{size}");
        let restarts = bench.wants(&[named("restart")]);
        if restarts || bench.wants(&[named("memory"), named("disk")]) {
            hold(bench, size, *objects, restarts).await?;
        }
    }
    Ok(())
}

async fn hold(bench: &mut Bench<'_>, size: &str, objects: u64, restarts: bool) -> Result<()> {
    let fills = if objects >= ONCE_FROM { 1 } else { bench.runs() };
    let new = Both::new;
    let mut runs = Runs { memory: new(), disk: new(), one: new(), all: new() };
    for _ in 0..fills {
        let mut pair = bench.pair().await?;
        pair.fill(objects).await?;
        for system in &pair.systems {
            runs.memory.add(system.who(), system.memory()?);
            runs.disk.add(system.who(), float(system.bytes_on_disk()?));
        }
        for _ in 0..(bench.runs() / fills) * u16::from(restarts) {
            for system in &mut pair.systems {
                let took = restart_one(system).await?;
                runs.one.add(system.who(), took);
            }
            for system in &mut pair.systems {
                let took = restart_all(system).await?;
                runs.all.add(system.who(), took);
            }
        }
        pair.end()?;
    }
    let value = |run: &f64| *run;
    let mut figures = vec![
        runs.memory.figure(&format!("memory.{size}"), "bytes", value),
        runs.disk.figure(&format!("disk.{size}"), "bytes", value),
    ];
    if restarts {
        figures.push(runs.one.figure(&format!("restart.{size}"), "s", value));
        figures.push(runs.all.figure(&format!("restart.{size}.all"), "s", value));
    }
    bench.take(figures);
    Ok(())
}

/// Seconds from the start of a killed follower until it shows the last write and serves.
async fn restart_one(system: &mut System) -> Result<f64> {
    let (leader, sign) = (system.leader().await?, sign());
    mark(system.place(leader), sign).await?;
    let member = (leader + 1) % MEMBERS;
    system.kill9(member)?;
    let since = Instant::now();
    system.start_again(member)?;
    until_shown(system.place(member), sign).await?;
    Ok(since.elapsed().as_secs_f64())
}

/// The same of all three at once.
async fn restart_all(system: &mut System) -> Result<f64> {
    let sign = sign();
    mark(system.place(system.leader().await?), sign).await?;
    for member in 0..MEMBERS {
        system.kill9(member)?;
    }
    let since = Instant::now();
    for member in 0..MEMBERS {
        system.start_again(member)?;
    }
    for member in 0..MEMBERS {
        until_shown(system.place(member), sign).await?;
    }
    let took = since.elapsed().as_secs_f64();
    system.all_serve().await?;
    Ok(took)
}

async fn until_shown(place: Place, sign: u64) -> Result<()> {
    let since = Instant::now();
    loop {
        let Err(error) = shows(place, sign).await else { return Ok(()) };
        if since.elapsed() > START_MAX {
            bail!(error.context(format!("not started after {START_MAX:?}")));
        }
        sleep(LOOK_INTERVAL).await;
    }
}
