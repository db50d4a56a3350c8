//! The transport as openraft sees it.

use std::{
    collections::BTreeMap,
    future::Future,
    os::unix::fs::FileExt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream};
use openraft::{
    RPCTypes, RaftNetworkFactory, RaftNetworkV2,
    alias::SnapshotOf,
    base::{BoxFuture, BoxStream},
    errors::{NetworkError, RPCError, ReplicationClosed, StreamingError, Timeout, Unreachable},
    network::{Backoff, RPCOption},
    raft::{
        AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, StreamAppendResult,
        TransferLeaderRequest, TransferLeaderResponse, VoteRequest, VoteResponse,
    },
};

use super::{
    link::{Link, LinkError},
    wire::{Channel, Hello, Reply, Request, VERSION, decode, encode},
};
use crate::{
    machine::Image,
    types::{LogId, Peer, Types, Vote},
};

/// Requests with entries that are under way to one follower.
const PIPELINE_MAX: usize = 16;
/// Time for a follower to make entries durable and say so.
const APPEND_TIMEOUT: Duration = Duration::from_secs(2);
/// Bytes of a snapshot in one frame.
const SNAPSHOT_PART_BYTES: usize = 1 << 20;
/// Pause before a follower that cannot be reached is tried again.
const RETRY_PAUSE: Duration = Duration::from_millis(100);

/// All links of this member.
pub(crate) struct Links {
    cluster: u64,
    member: u64,
    links: Mutex<BTreeMap<(u64, Channel), Arc<Link>>>,
}

impl Links {
    pub(crate) fn new(cluster: u64, member: u64) -> Self {
        Self { cluster, member, links: Mutex::default() }
    }

    /// The link to a member for a purpose; the same one as long as its address is the same.
    pub(crate) fn get(&self, member: u64, address: &str, channel: Channel) -> Arc<Link> {
        let mut links = self.links.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(link) = links.get(&(member, channel))
            && link.address() == address
        {
            return Arc::clone(link);
        }
        let (cluster, from) = (self.cluster, self.member);
        let hello = Hello { version: VERSION, cluster, from, to: member, channel };
        let link = Arc::new(Link::new(address.to_owned(), hello));
        links.insert((member, channel), Arc::clone(&link));
        link
    }

    /// Forgets members that are no longer any.
    pub(crate) fn retain(&self, keep: impl Fn(u64) -> bool) {
        let mut links = self.links.lock().unwrap_or_else(PoisonError::into_inner);
        links.retain(|(member, _), _| keep(*member));
    }
}

/// Makes clients for openraft.
pub(crate) struct Factory(pub(crate) Arc<Links>);

impl Factory {
    fn client(&self, target: u64, peer: &Peer, channel: Channel) -> Client {
        Client {
            me: self.0.member,
            target,
            append: self.0.get(target, &peer.address, channel),
            vote: self.0.get(target, &peer.address, Channel::Vote),
            snapshot: self.0.get(target, &peer.address, Channel::Snapshot),
        }
    }
}

impl RaftNetworkFactory<Types> for Factory {
    type Network = Client;

    async fn new_client(&mut self, target: u64, peer: &Peer) -> Client {
        self.client(target, peer, Channel::Append)
    }

    async fn new_heartbeat_client(&mut self, target: u64, peer: &Peer) -> Client {
        self.client(target, peer, Channel::Heartbeat)
    }
}

/// The way to one member.
pub(crate) struct Client {
    me: u64,
    target: u64,
    append: Arc<Link>,
    vote: Arc<Link>,
    snapshot: Arc<Link>,
}

type Rpc<T> = Result<T, RPCError<Types>>;

impl Client {
    fn failed(&self, action: RPCTypes, error: LinkError, timeout: Duration) -> RPCError<Types> {
        match error {
            LinkError::Timeout { .. } => {
                Timeout { action, id: self.me, target: self.target, timeout }.into()
            }
            LinkError::Connect { .. }
            | LinkError::Backoff { .. }
            | LinkError::Refused { .. }
            | LinkError::Full { .. } => Unreachable::new(&error).into(),
            LinkError::Closed { .. } | LinkError::Codec { .. } => NetworkError::new(&error).into(),
        }
    }

    async fn call(
        &self,
        link: &Link,
        request: &Request,
        (action, limit): (RPCTypes, Duration),
    ) -> Rpc<Reply> {
        let body = encode(request).map_err(|error| NetworkError::new(&error))?;
        let reply = link.call(body, limit).await;
        let reply = reply.map_err(|error| self.failed(action, error, limit))?;
        Ok(decode(&reply).map_err(|error| NetworkError::new(&error))?)
    }

    async fn call_vote(&self, request: Request, option: &RPCOption) -> Rpc<VoteResponse<Types>> {
        let limit = (RPCTypes::Vote, option.soft_ttl());
        match self.call(&self.vote, &request, limit).await? {
            Reply::Vote(response) => Ok(response),
            other => Err(unexpected(&other)),
        }
    }
}

fn unexpected(reply: &Reply) -> RPCError<Types> {
    match reply {
        Reply::Unavailable(why) | Reply::Refused(why) | Reply::Unknown(why) => {
            Unreachable::from_string(why).into()
        }
        Reply::Overloaded => Unreachable::from_string("it has too much to do").into(),
        Reply::Append(_)
        | Reply::Vote(_)
        | Reply::Transferred(_)
        | Reply::Received
        | Reply::Installed(_)
        | Reply::Outcome(_)
        | Reply::ReadIndex(_)
        | Reply::Joined { .. }
        | Reply::Judged(_)
        | Reply::Done
        | Reply::NotLeader(_) => {
            NetworkError::from_string("the peer answered to something else").into()
        }
    }
}

fn last_of(request: &AppendEntriesRequest<Types>) -> Option<LogId> {
    request.entries.last().map(|entry| entry.log_id).or(request.prev_log_id)
}

impl RaftNetworkV2<Types> for Client {
    type SnapshotData = Image;

    async fn append_entries(
        &mut self,
        request: AppendEntriesRequest<Types>,
        _option: RPCOption,
    ) -> Rpc<AppendEntriesResponse<Types>> {
        let limit = (RPCTypes::AppendEntries, APPEND_TIMEOUT);
        match self.call(&self.append, &Request::Append(request), limit).await? {
            Reply::Append(response) => Ok(response),
            other => Err(unexpected(&other)),
        }
    }

    /// Keeps several requests under way. They go out on one connection in order and are put to the
    /// follower's core in that order; answers are taken in that order too.
    fn stream_append<'s, S>(
        &'s mut self,
        mut input: S,
        _option: RPCOption,
    ) -> BoxFuture<'s, Rpc<BoxStream<'s, Rpc<StreamAppendResult<Types>>>>>
    where
        S: Stream<Item = AppendEntriesRequest<Types>> + openraft::OptionalSend + Unpin + 'static,
    {
        Box::pin(async move {
            // The core waits out its pause after an error when it is asked for a request, and
            // nowhere else: without one in hand a peer that cannot be reached would be tried
            // without end.
            let Some(first) = input.next().await else {
                let nothing: BoxStream<'s, _> = Box::pin(stream::empty());
                return Ok(nothing);
            };
            let input = stream::once(std::future::ready(first)).chain(input);
            let link = Arc::clone(&self.append);
            let failed = |error| self.failed(RPCTypes::AppendEntries, error, APPEND_TIMEOUT);
            let connection = link.connection().await.map_err(failed)?;
            let this = &*self;
            let answers = input
                .map(move |request| {
                    let range = (request.prev_log_id, last_of(&request));
                    let sent = encode(&Request::Append(request))
                        .map_err(|error| NetworkError::new(&error).into())
                        .and_then(|body| {
                            let full = || {
                                this.failed(RPCTypes::AppendEntries, link.full(), APPEND_TIMEOUT)
                            };
                            connection.enqueue(&body).ok_or_else(full)
                        });
                    this.appended(sent, range)
                })
                .buffered(PIPELINE_MAX);
            // An error, also one that the follower reports, ends the stream; the core begins anew.
            let answers = answers.scan(false, |ended, answer| {
                let before = std::mem::replace(ended, !matches!(answer, Ok(Ok(_))));
                std::future::ready((!before).then_some(answer))
            });
            let answers: BoxStream<'s, _> = Box::pin(answers);
            Ok(answers)
        })
    }

    async fn vote(
        &mut self,
        request: VoteRequest<Types>,
        option: RPCOption,
    ) -> Rpc<VoteResponse<Types>> {
        self.call_vote(Request::Vote(request), &option).await
    }

    async fn pre_vote(
        &mut self,
        request: VoteRequest<Types>,
        option: RPCOption,
    ) -> Rpc<VoteResponse<Types>> {
        self.call_vote(Request::PreVote(request), &option).await
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: SnapshotOf<Types, Image>,
        cancel: impl Future<Output = ReplicationClosed> + Send + 'static,
        option: RPCOption,
    ) -> Result<SnapshotResponse<Types>, StreamingError<Types>> {
        tokio::select! {
            closed = cancel => Err(closed.into()),
            sent = self.send_snapshot(vote, snapshot, option.soft_ttl()) => Ok(sent?),
        }
    }

    async fn transfer_leader(
        &mut self,
        request: TransferLeaderRequest<Types>,
        option: RPCOption,
    ) -> Rpc<TransferLeaderResponse<Types>> {
        let limit = (RPCTypes::TransferLeader, option.soft_ttl());
        match self.call(&self.vote, &Request::Transfer(request), limit).await? {
            Reply::Transferred(response) => Ok(response),
            other => Err(unexpected(&other)),
        }
    }

    fn backoff(&self) -> Option<Backoff> {
        Some(Backoff::new(std::iter::repeat(RETRY_PAUSE)))
    }
}

impl Client {
    async fn appended(
        &self,
        sent: Rpc<super::link::Answer>,
        (previous, last): (Option<LogId>, Option<LogId>),
    ) -> Rpc<StreamAppendResult<Types>> {
        let failed = |error| self.failed(RPCTypes::AppendEntries, error, APPEND_TIMEOUT);
        let address = || self.append.address().to_owned();
        let reply = tokio::time::timeout(APPEND_TIMEOUT, sent?)
            .await
            .map_err(|_| failed(LinkError::Timeout { address: address() }))?
            .map_err(|_| failed(self.append.closed()))?;
        match decode(&reply).map_err(|error| NetworkError::new(&error))? {
            // A conflict needs an entry to conflict with; without one the answer makes no sense.
            Reply::Append(AppendEntriesResponse::Conflict) if previous.is_none() => {
                Err(NetworkError::from_string("a conflict with nothing").into())
            }
            Reply::Append(response) => Ok(response.into_stream_result(previous, last)),
            other => Err(unexpected(&other)),
        }
    }

    async fn send_snapshot(
        &self,
        vote: Vote,
        snapshot: SnapshotOf<Types, Image>,
        limit: Duration,
    ) -> Rpc<SnapshotResponse<Types>> {
        let limit = (RPCTypes::InstallSnapshot, limit);
        let image = snapshot.snapshot;
        let begin = Request::SnapshotBegin { vote, meta: snapshot.meta, bytes: image.bytes };
        self.expect_received(&begin, limit).await?;
        let mut offset = 0;
        while offset < image.bytes {
            let part = read_part(image.clone(), offset).await?;
            offset += part.len() as u64;
            let part = Request::SnapshotPart(serde_bytes::ByteBuf::from(part));
            self.expect_received(&part, limit).await?;
        }
        match self.call(&self.snapshot, &Request::SnapshotEnd, limit).await? {
            Reply::Installed(response) => Ok(response),
            other => Err(unexpected(&other)),
        }
    }

    async fn expect_received(&self, request: &Request, limit: (RPCTypes, Duration)) -> Rpc<()> {
        match self.call(&self.snapshot, request, limit).await? {
            Reply::Received => Ok(()),
            other => Err(unexpected(&other)),
        }
    }
}

async fn read_part(image: Image, offset: u64) -> Rpc<Vec<u8>> {
    let left = usize::try_from(image.bytes - offset).unwrap_or(usize::MAX);
    let read = move || {
        let mut part = vec![0; left.min(SNAPSHOT_PART_BYTES)];
        image.file.read_exact_at(&mut part, offset).map(|()| part)
    };
    let read = tokio::task::spawn_blocking(read).await;
    let read = read.map_err(|error| NetworkError::new(&error))?;
    Ok(read.map_err(|error| NetworkError::new(&error))?)
}

/// A link for somebody who has no id yet, to whoever is at the address.
pub(crate) fn stranger(address: &str, cluster: u64, from: u64) -> Link {
    let channel = Channel::Membership;
    let hello = Hello { version: VERSION, cluster, from, to: 0, channel };
    Link::new(address.to_owned(), hello)
}

/// Encodes a request for a link.
pub(crate) fn encoded(request: &Request) -> Result<Bytes, LinkError> {
    let failed = |error: rmp_serde::encode::Error| LinkError::Codec {
        address: "anybody".to_owned(),
        why: error.to_string(),
    };
    encode(request).map_err(failed)
}
