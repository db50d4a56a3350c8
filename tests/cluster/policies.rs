//! A rollout under a policy, on simulated machines whose files tell what was done to them, and its
//! leader killed in the middle.

use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    time::{Duration, SystemTime},
};

use anyhow::{Context as _, Result, ensure};
use kraken_testkit::{
    cluster::{Shape, TestCluster},
    edge::{Edge, call},
    measured, wait_until,
};

use crate::{KRAKEN, manifests::CONVERGED_MAX};

/// How long switching a machine off takes.
const LATENCY: Duration = Duration::from_secs(1);
/// How long the rollout may take after its leader's death.
const ROLLOUT_MAX: Duration = Duration::from_mins(2);
const MACHINES: usize = 12;
const AT_ONCE: usize = 2;

/// When each machine was changed last, and how many attempts were made on it.
fn machines(world: &Path) -> Result<BTreeMap<String, (SystemTime, u64)>> {
    let mut machines = BTreeMap::new();
    for entry in fs::read_dir(world)? {
        let path = entry?.path();
        let text = fs::read_to_string(&path)?;
        let machine: serde_json::Value = serde_json::from_str(&text)?;
        let attempts = machine["attempts"].as_u64().context("attempts")?;
        let name = path.file_stem().context("a name")?.to_string_lossy().into_owned();
        machines.insert(name, (fs::metadata(&path)?.modified()?, attempts));
    }
    Ok(machines)
}

/// A value of the policy's rollout.
async fn rollout(edge: &Edge, field: &str) -> Result<serde_json::Value> {
    let answer = edge.ask(call("GET", "/v1/objects/policy/off")?).await?;
    ensure!(answer.is_success(), "{answer:?}");
    Ok(answer.body["cfg"]["rollout"][field].clone())
}

#[tokio::test(flavor = "multi_thread")]
async fn rollout_whose_leader_is_killed_goes_on_and_disrupts_each_machine_once() -> Result<()> {
    let world = tempfile::tempdir()?;
    let ms = LATENCY.as_millis();
    let sim = format!(
        "[modules.sim]\nworld = \"{}\"\n[modules.sim.mutations.PowerOff]\nlatency_min_ms = \
         {ms}\nlatency_max_ms = {ms}\n",
        world.path().display()
    );
    let mut cluster = TestCluster::start(KRAKEN, &Shape { more: sim, ..Shape::of(3, 0) }).await?;
    let names: Vec<String> = (1..=MACHINES).map(|number| format!("s{number}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let nodes =
        |phys: &str| format!("kind: node\nname: s[1-{MACHINES}]\ncfg: {{ physState: {phys} }}\n");
    let policy = format!(
        "kind: policy\nname: \"off\"\ncfg:\n  maxInFlight: {AT_ONCE}\n  canary: 4 10s, 100%\n"
    );
    cluster.edge()?.apply(&nodes("POWER_ON")).await?;
    cluster.converged(&names, CONVERGED_MAX).await?;
    cluster.edge()?.apply(&policy).await?;
    let before = machines(world.path())?;

    cluster.edge()?.apply(&nodes("POWER_OFF")).await?;
    let edge = cluster.edge()?;
    wait_until("the first stage bakes", CONVERGED_MAX, async || {
        let state = rollout(&edge, "state").await?;
        ensure!(state == "BAKING", "{state}");
        Ok(())
    })
    .await?;
    let changed = |now: &BTreeMap<String, (SystemTime, u64)>| {
        now.iter().filter(|(name, machine)| before.get(*name) != Some(machine)).count()
    };
    assert_eq!(changed(&machines(world.path())?), 4, "the first stage goes to four");
    let leader = cluster.leader().await?;
    let seed = rollout(&edge, "seed").await?;
    cluster.kill9(&leader)?;
    let killed = SystemTime::now();

    let other = cluster.members().into_iter().find(|member| *member != leader);
    let edge = cluster.edge_of(&other.context("another member")?)?;
    wait_until("all machines are off", ROLLOUT_MAX, async || {
        for name in &names {
            let status = edge.node(name).await?.status.context("nobody decides")?;
            ensure!(status.phase == "Converged", "{name}: {status:?}");
        }
        let done = changed(&machines(world.path())?);
        ensure!(done == MACHINES, "{done} are done");
        Ok(())
    })
    .await?;
    measured("rollout of 8 more machines after kill -9 of the leader", killed.elapsed()?);
    assert_eq!(rollout(&edge, "seed").await?, seed, "the same rollout, and no other");
    let after = machines(world.path())?;
    for (name, (_, attempts)) in &after {
        let (_, had) = before.get(name).context("a machine of before")?;
        assert_eq!(*attempts, had + 1, "{name} was switched once");
    }
    // A machine's file is written last when it is off: no three came to that within the time that
    // one takes, so that no three were on their way together.
    let mut ended: Vec<SystemTime> = after.values().map(|(at, _)| *at).collect();
    ended.sort_unstable();
    for (earlier, later) in ended.iter().zip(ended.iter().skip(AT_ONCE)) {
        let apart = later.duration_since(*earlier)?;
        assert!(apart >= LATENCY, "three within {apart:?}");
    }
    let events = edge.ask(call("GET", "/v1/events?limit=1000")?).await?.body.to_string();
    assert_eq!(events.matches("stage 2 of 2, OPEN").count(), 1, "resumed once");
    cluster.pass()
}
