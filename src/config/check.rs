//! What no single key can tell: listeners that the world can reach, keys that exclude each other.

use std::ops::RangeInclusive;

use kraken_engine::{
    object::Labels,
    sync::pace::{BULK, HEARTBEAT_LABEL, NORMAL},
};
use kraken_http::{ORIGINS_MAX, Origin};
use tracing_subscriber::EnvFilter;

use super::{Config, Listener, Raft, Traces, load::Fault};

/// How long spans may wait to be sent, in milliseconds.
const TRACES_INTERVALS_MS: RangeInclusive<u64> = 10..=60_000;

/// Finds the first fault.
pub(super) fn check(config: &Config) -> Result<(), Fault> {
    check_listener(&config.http.listener, "http.listen", "http")?;
    check_origins(&config.http.cors_origins)?;
    check_old(config)?;
    check_listener(&config.raft.listener, "raft.listen", "raft")?;
    check_listener(&config.sync, "sync.listen", "sync")?;
    check_raft(&config.raft)?;
    check_labels(&config.node.labels)?;
    if config.cluster.init && !config.cluster.join.is_empty() {
        let why = "a member founds a cluster or joins one; give one of init and join".to_owned();
        return Err(Fault { key: "cluster.join", why });
    }
    if config.cluster.learner && config.cluster.join.is_empty() {
        let why = "a learner joins a cluster; give cluster.join".to_owned();
        return Err(Fault { key: "cluster.learner", why });
    }
    check_traces(&config.traces)?;
    check_level(&config.log.level)
}

fn check_traces(traces: &Traces) -> Result<(), Fault> {
    if !TRACES_INTERVALS_MS.contains(&traces.interval_ms) {
        let (least, most) = (TRACES_INTERVALS_MS.start(), TRACES_INTERVALS_MS.end());
        let why = format!("spans wait for {least} to {most} ms");
        return Err(Fault { key: "traces.interval_ms", why });
    }
    Ok(())
}

fn check_listener(listener: &Listener, key: &'static str, table: &str) -> Result<(), Fault> {
    let listen = listener.listen;
    if !listen.ip().is_loopback() && !listener.insecure {
        let why = format!(
            "{listen} is not loopback, and nobody asks who connects; set {table}.insecure = true \
             if the network may be trusted"
        );
        return Err(Fault { key, why });
    }
    if listen.ip().is_unspecified() && listener.advertise.is_none() {
        let why = format!(
            "nobody can connect to {listen}; set {table}.advertise to the address that others use"
        );
        return Err(Fault { key, why });
    }
    Ok(())
}

fn check_origins(origins: &[Origin]) -> Result<(), Fault> {
    if origins.len() > ORIGINS_MAX {
        let why = format!("there are {}, and may be {ORIGINS_MAX}", origins.len());
        return Err(Fault { key: "http.cors_origins", why });
    }
    Ok(())
}

fn check_old(config: &Config) -> Result<(), Fault> {
    let old = &config.old;
    if !config.serves_old() {
        return Ok(());
    }
    if !config.http.listener.listen.ip().is_loopback() && !old.insecure {
        let why = format!(
            "any page of any site may write over it, and {} is not loopback; set old.insecure = \
             true if the network may be trusted",
            config.http.listener.listen
        );
        return Err(Fault { key: "old.serve", why });
    }
    let Some(listen) = old.listen else { return Ok(()) };
    let (advertise, insecure) = (old.advertise.clone(), old.insecure);
    check_listener(&Listener { listen, advertise, insecure }, "old.listen", "old")
}

fn check_raft(raft: &Raft) -> Result<(), Fault> {
    if raft.snapshot_entries == 0 {
        let why = "a snapshot needs something that is new; write 1 or more".to_owned();
        return Err(Fault { key: "raft.snapshot_entries", why });
    }
    let sizes = kraken_raft::SEGMENT_BYTES_MIN..=kraken_raft::SEGMENT_BYTES_MAX;
    if !sizes.contains(&raft.segment_bytes) {
        let why = format!("a file of the log has {} to {} bytes", sizes.start(), sizes.end());
        return Err(Fault { key: "raft.segment_bytes", why });
    }
    Ok(())
}

fn check_labels(labels: &Labels) -> Result<(), Fault> {
    let strange = labels.iter().find(|(label, value)| {
        label.as_str() == HEARTBEAT_LABEL && ![NORMAL, BULK].contains(&value.as_str())
    });
    strange.map_or(Ok(()), |(label, value)| {
        let why = format!("{label}={value}: {label} is {NORMAL} or {BULK}");
        Err(Fault { key: "node.labels", why })
    })
}

fn check_level(level: &str) -> Result<(), Fault> {
    EnvFilter::try_new(level).map(drop).map_err(|_| Fault {
        key: "log.level",
        why: format!(
            "{level:?} is no level; write error, warn, info, debug or trace, perhaps by target: \
             info,kraken_raft=debug"
        ),
    })
}
