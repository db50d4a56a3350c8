//! `kraken cluster snapshot`: all Cfg into a file, and a file into a new quorum.

use std::{
    fs::{self, File},
    io::{self, BufReader, Read, Write},
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use bytes::Bytes;
use clap::Subcommand;
use kraken_http::client::Client;
use kraken_raft::{BackupError, Verified, verify};
use tokio::sync::mpsc::{self, Receiver};

use crate::{console::Console, exit::Failure};

/// Bytes that are sent at a time.
const PIECE_BYTES: usize = 256 << 10;
/// Pieces that wait to be sent.
const PIECES_MAX: usize = 4;

/// What to do with a backup.
#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    /// Saves all Cfg in a file
    Save {
        /// The file, which must not be there yet
        file: PathBuf,
        /// Take what the server that is asked holds, also where there is no quorum
        #[arg(long)]
        stale: bool,
    },
    /// Checks that a file is a whole backup, and shows what it holds
    Verify {
        /// The file
        file: PathBuf,
    },
    /// Begins a quorum with a backup, in another epoch
    ///
    /// The server that is asked, which belongs to no cluster yet, is its first member.
    Restore {
        /// The file
        file: PathBuf,
    },
}

impl Verb {
    /// Does it.
    pub(super) async fn run(self, client: &Client, console: &Console) -> Result<(), Failure> {
        match self {
            Self::Save { file, stale } => save(client, console, &file, stale).await,
            Self::Verify { file } => console.print(describe(&file, &check(&file)?)),
            Self::Restore { file } => restore(client, console, &file).await,
        }
    }
}

async fn save(client: &Client, console: &Console, file: &Path, stale: bool) -> Result<(), Failure> {
    if file.exists() {
        let words = format!("{} is there already", file.display());
        return Err(Failure::failed(words).hint("give the name of a new file"));
    }
    let part = beside(file);
    let saved = fetch(client, &part, stale).await.and_then(|()| {
        let verified = check(&part)?;
        let placed = fs::rename(&part, file).and_then(|()| sync_folder(file));
        placed.with_context(|| format!("cannot put {} into place", file.display()))?;
        Ok(verified)
    });
    if saved.is_err() {
        // What is not whole is of no use; where it cannot be removed, its name says so.
        drop(fs::remove_file(&part));
    }
    console.print(describe(file, &saved?))
}

/// The file in which a backup is until it is whole.
fn beside(file: &Path) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(".part");
    name.into()
}

fn sync_folder(file: &Path) -> io::Result<()> {
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}

async fn fetch(client: &Client, part: &Path, stale: bool) -> Result<(), Failure> {
    let named = || format!("cannot write {}", part.display());
    let mut out = File::create(part).with_context(named)?;
    let mut backup = client.cluster_save(stale).await?;
    while let Some(piece) = backup.next().await? {
        out.write_all(&piece).with_context(named)?;
    }
    out.sync_all().with_context(named)?;
    Ok(())
}

fn check(file: &Path) -> Result<Verified, Failure> {
    let open = File::open(file).with_context(|| format!("cannot open {}", file.display()))?;
    let verified = verify(BufReader::new(open));
    verified.map_err(|error: BackupError| {
        let error = anyhow::Error::new(error).context(file.display().to_string());
        Failure::from(error)
    })
}

fn describe(file: &Path, verified: &Verified) -> String {
    let header = &verified.header;
    format!(
        "{}: {} objects at revision {}, epoch {}, of cluster {:x}, {} bytes, by release {}",
        file.display(),
        header.objects,
        header.revision,
        header.epoch,
        header.cluster.get(),
        verified.bytes,
        header.release,
    )
}

async fn restore(client: &Client, console: &Console, file: &Path) -> Result<(), Failure> {
    check(file)?;
    let restored = client.cluster_restore(pieces(file)?).await?;
    let (member, epoch, revision) = (restored.member, restored.epoch, restored.revision);
    console.print(format!(
        "a quorum is begun with {}: member {member}, epoch {epoch}, revision {revision}",
        file.display()
    ))
}

/// A file in pieces. What cannot be read of it is missing to whoever takes them, and they notice.
fn pieces(file: &Path) -> Result<Receiver<Bytes>, Failure> {
    let mut open = File::open(file).with_context(|| format!("cannot open {}", file.display()))?;
    let (pieces, taken) = mpsc::channel(PIECES_MAX);
    let read = move || {
        let mut piece = vec![0; PIECE_BYTES];
        while let Ok(length @ 1..) = open.read(&mut piece) {
            let piece = Bytes::copy_from_slice(&piece[..length]);
            if pieces.blocking_send(piece).is_err() {
                return;
            }
        }
    };
    drop(tokio::task::spawn_blocking(read));
    Ok(taken)
}
