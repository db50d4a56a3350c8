//! The step between the agent and a service: the agent's own program, started once more, which puts
//! itself on record and then becomes the service. Its pid stays, so the agent's child is the
//! service.
//!
//! It does what must happen in the new process and what safe code cannot do between fork and exec:
//! a session of its own, the record, another user, signals as a fresh process has them. Its
//! standard input is a pipe to the agent: closed by the exec all was well, else it carries the
//! error.

use std::{
    convert::Infallible,
    env,
    ffi::CString,
    fs::{self, File},
    io::{self, Write},
    os::{fd::AsFd, unix::process::CommandExt},
    path::PathBuf,
    process::{Command, ExitCode, Stdio},
};

use nix::{
    fcntl::OFlag,
    sys::stat::{Mode, umask},
    unistd::{Gid, Uid, getppid, initgroups, setgid, setsid, setuid},
};
use tokio::signal::unix::{SignalKind, signal};

use super::{
    process::Identity,
    record::{self, Folder, RUN_VARIABLE, Record},
    spec::Owner,
};

/// The first argument with which the agent's program must call [`exec_shim`] and nothing else.
pub const SHIM_ARGUMENT: &str = "service-exec";
/// What the shim ends with when it could not become the service, as shells do.
const SHIM_FAILED: u8 = 127;

#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("{RUN_VARIABLE} does not name a run; this command is for the agent only")]
    NoRun,
    #[error("the run was given up before it began")]
    Superseded,
    #[error("the agent that started the run has ended")]
    Orphaned,
    #[error(transparent)]
    Record(#[from] record::Error),
    #[error("cannot become user {user:?}: {source}")]
    User { user: String, source: io::Error },
    #[error("cannot {what}: {source}")]
    Prepare { what: &'static str, source: io::Error },
    #[error("cannot run {program:?} in {folder:?}: {source}")]
    Exec { program: PathBuf, folder: PathBuf, source: io::Error },
}

/// Becomes the service whose run the environment names. Returns only if that fails.
pub fn exec_shim() -> ExitCode {
    close_inherited();
    let gate = io::stdin().as_fd().try_clone_to_owned().map(File::from);
    let Err(error) = become_service();
    if let Ok(mut gate) = gate {
        // With nobody left to read it, there is nobody to tell.
        drop(gate.write_all(error.to_string().as_bytes()));
    }
    ExitCode::from(SHIM_FAILED)
}

fn become_service() -> Result<Infallible, Error> {
    let run = PathBuf::from(env::var_os(RUN_VARIABLE).ok_or(Error::NoRun)?);
    let (Some(folder), Some(nonce)) = (run.parent(), run.file_name().and_then(|n| n.to_str()))
    else {
        return Err(Error::NoRun);
    };
    let prepare = |what| move |source: io::Error| Error::Prepare { what, source };
    setsid().map_err(|errno| prepare("open a session")(errno.into()))?;
    let record = put_on_record(&Folder::at(folder.to_owned()), nonce)?;
    reset_ignored_signals().map_err(prepare("reset signals"))?;
    protect_nobody();
    umask(Mode::S_IWGRP | Mode::S_IWOTH);
    if let Some(user) = &record.launch.user {
        become_user(user).map_err(|source| Error::User { user: user.name.clone(), source })?;
    }
    let launch = record.launch;
    let source = Command::new(&launch.program)
        .arg0(&launch.name)
        .args(&launch.args)
        .env_clear()
        .envs(&launch.env)
        .env(RUN_VARIABLE, &run)
        .current_dir(&launch.folder)
        .stdin(Stdio::null())
        .exec();
    Err(Error::Exec { program: launch.program, folder: launch.folder, source })
}

/// Writes who this is into the record of the run, if it still is the run and its agent still lives.
/// The lock makes it one step with the look of any other agent that would start the service.
fn put_on_record(folder: &Folder, nonce: &str) -> Result<Record, Error> {
    let _lock = folder.lock()?;
    let record = folder.read()?.filter(|record| record.nonce == nonce && record.process.is_none());
    let Some(mut record) = record else { return Err(Error::Superseded) };
    record.process = i32::try_from(std::process::id()).ok().and_then(Identity::of);
    folder.write(&record)?;
    // After the record: from here on whoever starts the service finds this process in it. An agent
    // that ended before may have been followed by one that has not found it.
    if getppid().as_raw() != record.agent_pid {
        return Err(Error::Orphaned);
    }
    Ok(record)
}

/// Closes what the agent itself was started with and would hand on: whatever is neither a standard
/// stream nor, as everything of ours, closed by the exec.
fn close_inherited() {
    let entries = fs::read_dir("/proc/self/fd").into_iter().flatten().flatten();
    let open: Vec<i32> = entries.filter_map(|e| e.file_name().to_str()?.parse().ok()).collect();
    for fd in open.into_iter().filter(|fd| *fd > 2) {
        let info = fs::read_to_string(format!("/proc/self/fdinfo/{fd}")).unwrap_or_default();
        let flags = info.lines().find_map(|line| line.strip_prefix("flags:"));
        let flags = flags.and_then(|flags| i32::from_str_radix(flags.trim(), 8).ok());
        if flags.is_some_and(|flags| flags & OFlag::O_CLOEXEC.bits() == 0)
            && let Err(error) = nix::unistd::close(fd)
        {
            tracing::debug!(fd, %error, "cannot close an inherited descriptor");
        }
    }
}

/// A signal that the agent's starter had ignored would stay ignored across the exec; one that is
/// caught becomes the default one. SIGPIPE and the mask are reset by the standard library.
fn reset_ignored_signals() -> io::Result<()> {
    let status = fs::read_to_string("/proc/self/status")?;
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0);
    let sigpipe = nix::sys::signal::Signal::SIGPIPE as i32;
    let ignored: Vec<i32> =
        (1..64).filter(|number| mask >> (number - 1) & 1 == 1 && *number != sigpipe).collect();
    if ignored.is_empty() {
        return Ok(());
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let _entered = runtime.enter();
    // The handlers stay when the streams are dropped; that is what is wanted of them here.
    // What the C library keeps for itself (32 and 33) cannot be caught and does not matter.
    for number in ignored {
        drop(signal(SignalKind::from_raw(number)));
    }
    Ok(())
}

/// An agent may be protected from the kernel's out-of-memory killer; its services are not.
fn protect_nobody() {
    let path = "/proc/self/oom_score_adj";
    let score = fs::read_to_string(path).ok().and_then(|text| text.trim().parse::<i32>().ok());
    if score.is_some_and(|score| score < 0) {
        // Raising one's own score needs no privilege; where it fails the service still runs.
        drop(fs::write(path, "0"));
    }
}

fn become_user(user: &Owner) -> io::Result<()> {
    let name = CString::new(user.name.as_str())?;
    let gid = Gid::from_raw(user.gid);
    initgroups(&name, gid)?;
    setgid(gid)?;
    setuid(Uid::from_raw(user.uid))?;
    Ok(())
}
