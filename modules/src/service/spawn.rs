//! The first moments of a service's process: the look for another one, the intent, the shim, and
//! the record that is made of it. See `record` for why the order is as it is.

use std::{
    collections::BTreeMap,
    io,
    os::fd::OwnedFd,
    path::PathBuf,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use kraken_engine::time::whole_ms;
use tokio::{io::AsyncReadExt, net::unix::pipe::Receiver};
use tokio_util::sync::CancellationToken;

use super::{
    log,
    process::{self, Identity},
    record::{self, Folder, RECORD_VERSION, RUN_VARIABLE, Record},
    slot::{Slot, Up},
    spec::{Launch, Wish},
};

/// How long the shim may take to become the service.
const SHIM_MAX: Duration = Duration::from_secs(10);
/// Longest text of the shim's error in bytes.
const SHIM_ERROR_BYTES_MAX: u64 = 4_096;

/// A process of a service.
pub(super) enum Spawned {
    /// Another agent has started it.
    Found(Arc<Up>),
    /// Just now, with the pipe that closes when it has become the service.
    Fresh(Arc<Up>, Receiver),
}

/// No process could be made.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    /// The record.
    #[error(transparent)]
    Record(#[from] record::Error),
    /// The process or its files.
    #[error("cannot start a process: {0}")]
    Io(#[from] io::Error),
}

impl From<io::ErrorKind> for Error {
    fn from(kind: io::ErrorKind) -> Self {
        Self::Io(kind.into())
    }
}

/// Starts the process of a service by way of the shim, or finds that another agent has.
pub(super) fn spawn(
    slot: &Slot,
    wish: &Wish,
    launch: &Launch,
    shim: &[String],
) -> Result<Spawned, Error> {
    let folder = &slot.folder;
    folder.create(launch.user.as_ref())?;
    // Under the lock: between this look and the intent no other agent may decide the same.
    let guard = folder.lock()?;
    if let Some(record) = find_record(folder)?
        && let Some(identity) = record.process.clone().filter(Identity::is_alive)
    {
        return Ok(Spawned::Found(up_of(&record, identity)));
    }
    let mut record = intent(wish, launch, slot.restarts_next());
    folder.write(&record)?;
    drop(guard);
    let output = log::open(&folder.log())?;
    let (reader, writer) = io::pipe()?;
    let (program, args) = shim.split_first().ok_or(io::ErrorKind::InvalidInput)?;
    let child = Command::new(program)
        .args(args)
        .env_clear()
        .env(RUN_VARIABLE, folder.run(&record.nonce))
        .current_dir("/")
        .stdin(writer)
        .stdout(output.try_clone()?)
        .stderr(output)
        .spawn()?;
    let identity = i32::try_from(child.id()).ok().and_then(Identity::of);
    let identity = identity.ok_or(io::ErrorKind::NotFound)?;
    record.process = Some(identity.clone());
    let gate = Receiver::from_owned_fd(OwnedFd::from(reader))?;
    Ok(Spawned::Fresh(up_of(&record, identity), gate))
}

/// Waits until the shim has become the service; an error is the shim's own words.
pub(super) async fn await_exec(gate: Receiver) -> Result<(), String> {
    let mut said = String::new();
    let read = tokio::time::timeout(SHIM_MAX, async {
        gate.take(SHIM_ERROR_BYTES_MAX).read_to_string(&mut said).await
    });
    match read.await {
        Ok(Ok(0)) => Ok(()),
        Ok(Ok(_)) => Err(said),
        Ok(Err(error)) => Err(format!("cannot hear of the start: {error}")),
        Err(_) => Err(format!("the process was not ready to begin within {SHIM_MAX:?}")),
    }
}

/// The record of a service. One that cannot be read is set aside, and the process that it spoke of
/// is sought by its marker: what is not known must not be started a second time.
pub(super) fn find_record(folder: &Folder) -> Result<Option<Record>, record::Error> {
    match folder.read() {
        Err(record::Error::Unreadable { path, why }) => {
            tracing::error!(?path, why, "a record cannot be read and is set aside");
            folder.set_aside()?;
        }
        Ok(None) => {}
        found => return found,
    }
    let Some(identity) = process::find_marked(&folder.marker()) else { return Ok(None) };
    let record = lost_record(identity);
    folder.write(&record)?;
    Ok(Some(record))
}

/// A record for a process whose own was lost; its spec is none that Cfg could have, so that the
/// engine replaces it in order.
fn lost_record(identity: Identity) -> Record {
    let launch = Launch {
        program: PathBuf::new(),
        name: String::new(),
        args: Vec::new(),
        env: BTreeMap::new(),
        folder: PathBuf::new(),
        user: None,
    };
    Record { process: Some(identity), ready: true, ..intent(&Wish::unknown(), &launch, 0) }
}

fn intent(wish: &Wish, launch: &Launch, restarts: u64) -> Record {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let own = std::process::id();
    Record {
        version: RECORD_VERSION,
        nonce: format!("{:x}-{own:x}-{count}", now.as_nanos()),
        spec: wish.digest.clone(),
        agent_pid: i32::try_from(own).unwrap_or_default(),
        started_ms: whole_ms(now),
        restarts,
        stop: wish.stop.clone(),
        launch: launch.clone(),
        process: None,
        ready: false,
        end: None,
    }
}

/// A recorded process, as the slot holds it.
pub(super) fn up_of(record: &Record, identity: Identity) -> Arc<Up> {
    Arc::new(Up {
        identity,
        nonce: record.nonce.clone(),
        spec: record.spec.clone(),
        started_ms: record.started_ms,
        ready: AtomicBool::new(record.ready),
        asked: AtomicBool::new(false),
        gone: CancellationToken::new(),
    })
}
