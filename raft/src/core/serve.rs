//! What this member answers to others.

use std::{io, sync::Arc};

use kraken_engine::command::PROPOSAL_BYTES_MAX;
use openraft::{Snapshot, errors::RaftError, raft::AppendEntriesResponse};
use tokio::time::Instant;

use super::{Core, Node, propose::Missed};
use crate::{
    machine::{Image, Incoming},
    transport::{Channel, Greeting, Hello, Reply, Request, Service, VERSION},
    types::{SnapshotMeta, Vote},
};

/// Largest snapshot that is taken in, in bytes.
const SNAPSHOT_BYTES_MAX: u64 = 8 << 30;

/// A snapshot on its way in on one connection.
#[derive(Default)]
pub(crate) struct Session {
    incoming: Option<(Vote, SnapshotMeta, u64, Incoming)>,
}

impl Service for Core {
    type Session = Session;

    fn greet(&self, hello: &Hello) -> Greeting {
        let refuse = |why: String| Greeting::Refused(why);
        if hello.version != VERSION {
            return refuse(format!("protocol {} is not spoken, {VERSION} is", hello.version));
        }
        let Some(node) = self.node() else {
            return refuse("this is no member yet".to_owned());
        };
        let joining = hello.channel == Channel::Membership && hello.cluster == 0;
        if !joining && hello.cluster != node.cluster {
            return refuse(format!("this is cluster {:x}, not {:x}", node.cluster, hello.cluster));
        }
        if hello.to != 0 && hello.to != node.member {
            return refuse(format!("this is member {}, not {}", node.member, hello.to));
        }
        if hello.from == node.member {
            return refuse(format!("member {} is this one", hello.from));
        }
        if hello.from == 0 && !joining {
            return refuse("a member says which one it is".to_owned());
        }
        Greeting::Welcome
    }

    async fn serve(
        self: Arc<Self>,
        from: Arc<Hello>,
        request: Request,
        session: Option<&mut Session>,
    ) -> Reply {
        let Some(node) = self.node().cloned() else {
            return Reply::Unavailable("this is no member yet".to_owned());
        };
        if !request.fits(from.channel) || (from.from == 0 && !request.is_open()) {
            return Reply::Refused("this connection is not for that".to_owned());
        }
        let deadline = Instant::now() + self.options.timers.request;
        match request {
            Request::Propose(data) if data.bytes().len() > PROPOSAL_BYTES_MAX => {
                Reply::Refused("the proposal is too large".to_owned())
            }
            Request::Propose(data) => {
                let Ok(_permit) = self.forwarded.try_acquire() else {
                    return Reply::Overloaded;
                };
                match node.write(data, deadline).await {
                    Ok(outcome) => Reply::Outcome(outcome),
                    Err(missed) => reply_missed(missed),
                }
            }
            Request::ReadIndex { lease } => match node.confirm(lease).await {
                Ok(next) => Reply::ReadIndex(next),
                Err(missed) => reply_missed(missed),
            },
            Request::Note(note) => Reply::Judged(node.judge(from.from, note)),
            request @ (Request::Join(_)
            | Request::Admit { .. }
            | Request::Describe { .. }
            | Request::Remove(_)
            | Request::Lead(_)
            | Request::Promote(_)) => {
                let deadline = Instant::now() + self.options.timers.membership;
                // A member asks its leader and no further; a stranger asks anybody.
                if from.to != 0 {
                    return node.lead_change(request, deadline).await;
                }
                match self.ask_leader(request, deadline).await {
                    Ok(reply) => reply,
                    Err(missed) => reply_missed(missed),
                }
            }
            request @ (Request::SnapshotBegin { .. }
            | Request::SnapshotPart(_)
            | Request::SnapshotEnd) => match session {
                Some(session) => node.take_snapshot(request, session).await,
                None => Reply::Refused("snapshots have a connection of their own".to_owned()),
            },
            Request::Append(_) | Request::Vote(_) | Request::PreVote(_) | Request::Transfer(_) => {
                node.consent(request).await
            }
        }
    }
}

fn reply_missed(missed: Missed) -> Reply {
    if missed.unknown { Reply::Unknown(missed.why) } else { Reply::Unavailable(missed.why) }
}

fn failed(error: impl std::fmt::Display) -> Reply {
    Reply::Unavailable(error.to_string())
}

impl Node {
    /// Passes what concerns consensus to its core.
    async fn consent(&self, request: Request) -> Reply {
        match request {
            Request::Append(request) => {
                let appended = self.raft.append_entries(request).await;
                if !matches!(appended, Ok(AppendEntriesResponse::HigherVote(_)) | Err(_)) {
                    self.heard.now();
                }
                appended.map_or_else(failed_api, Reply::Append)
            }
            Request::Vote(request) => {
                self.raft.vote(request).await.map_or_else(failed_api, Reply::Vote)
            }
            Request::PreVote(request) => {
                self.raft.pre_vote(request).await.map_or_else(failed_api, Reply::Vote)
            }
            Request::Transfer(request) => {
                let transferred = self.raft.handle_transfer_leader(request).await;
                transferred.map_or_else(failed, Reply::Transferred)
            }
            Request::SnapshotBegin { .. }
            | Request::SnapshotPart(_)
            | Request::SnapshotEnd
            | Request::Propose(_)
            | Request::ReadIndex { .. }
            | Request::Note(_)
            | Request::Join(_)
            | Request::Admit { .. }
            | Request::Describe { .. }
            | Request::Remove(_)
            | Request::Lead(_)
            | Request::Promote(_) => Reply::Refused("this does not concern consensus".to_owned()),
        }
    }

    async fn take_snapshot(&self, request: Request, session: &mut Session) -> Reply {
        let taken = match request {
            Request::SnapshotBegin { vote, meta, bytes } => {
                self.begin_snapshot(session, (vote, meta, bytes))
            }
            Request::SnapshotPart(part) => continue_snapshot(session, &part),
            _ => match session.incoming.take() {
                Some((vote, meta, bytes, incoming)) if incoming.bytes == bytes => {
                    return self.end_snapshot(vote, meta, incoming).await;
                }
                _ => Err(io::Error::other("the snapshot is not whole")),
            },
        };
        match taken {
            Ok(()) => Reply::Received,
            Err(error) => {
                session.incoming = None;
                failed(error)
            }
        }
    }

    fn begin_snapshot(
        &self,
        session: &mut Session,
        (vote, meta, bytes): (Vote, SnapshotMeta, u64),
    ) -> io::Result<()> {
        if bytes > SNAPSHOT_BYTES_MAX {
            return Err(io::Error::other(format!("a snapshot of {bytes} bytes is too large")));
        }
        session.incoming = Some((vote, meta, bytes, self.snapshots.receive()?));
        Ok(())
    }

    async fn end_snapshot(&self, vote: Vote, meta: SnapshotMeta, incoming: Incoming) -> Reply {
        // Checked before the core sees it: what does not decode must not stop this member.
        let snapshots = Arc::clone(&self.snapshots);
        let check = move || {
            let image = incoming.finish()?;
            snapshots.decode(&image)?;
            io::Result::Ok(image)
        };
        let image: Image = match tokio::task::spawn_blocking(check).await {
            Ok(Ok(image)) => image,
            Ok(Err(error)) => return failed(error),
            Err(error) => return failed(error),
        };
        let snapshot = Snapshot { meta, snapshot: image };
        let installed = self.raft.install_full_snapshot(vote, snapshot).await;
        installed.map_or_else(failed, Reply::Installed)
    }
}

fn failed_api(error: RaftError<crate::types::Types>) -> Reply {
    failed(error)
}

fn continue_snapshot(session: &mut Session, part: &[u8]) -> io::Result<()> {
    let (_, _, bytes, incoming) =
        session.incoming.as_mut().ok_or_else(|| io::Error::other("no snapshot was begun"))?;
    if incoming.bytes + part.len() as u64 > *bytes {
        return Err(io::Error::other("the snapshot is longer than it was said to be"));
    }
    incoming.write(part)
}
