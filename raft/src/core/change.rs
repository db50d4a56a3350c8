//! Changes of the membership as the one who wants them sees it: joining, removing, handing over the
//! lead.
//!
//! A member asks whoever leads, which checks and does it (`lead.rs`). Each step can be repeated, so
//! that an answer that was lost costs a second try and no more.

use std::{sync::Arc, time::Duration};

use kraken_engine::id::{ClusterId, MemberId};
use tokio::time::Instant;

use super::{
    Core, StartError,
    propose::{Missed, Pauses, describe},
};
use crate::{
    backup::BackupError,
    folder::{FolderError, Identity, Phase},
    status::Which,
    transport::{Channel, LinkError, Reply, Request, decode, encoded, stranger},
};

/// Time for one member to answer a change before another one is asked.
pub(super) const ASK_TIMEOUT: Duration = Duration::from_secs(30);
/// Members of a cluster, learners included.
pub const MEMBERS_MAX: usize = 9;

/// The membership was not changed.
#[derive(Debug, thiserror::Error)]
pub enum MembershipError {
    /// This data folder is a member's already.
    #[error("this is member {member} of a cluster already")]
    Member {
        /// Its id.
        member: MemberId,
    },
    /// The change makes no sense or would do harm.
    #[error("refused: {why}")]
    Refused {
        /// Why.
        why: String,
    },
    /// Nobody could do it in time; it was not done.
    #[error("the quorum is not available: {why}")]
    Unavailable {
        /// What the last attempt met.
        why: String,
    },
    /// The time was up; it may still be done. Look at the status, or repeat it.
    #[error("no answer in time; the change may or may not have been made")]
    Timeout,
    /// The data folder cannot be written.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// What the quorum was to begin with is none.
    #[error(transparent)]
    Backup(#[from] BackupError),
    /// This member cannot be started.
    #[error(transparent)]
    Start(Box<StartError>),
}

impl MembershipError {
    /// Whether the same change may succeed later.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Unavailable { .. } | Self::Timeout => true,
            Self::Member { .. }
            | Self::Refused { .. }
            | Self::Backup(_)
            | Self::Folder(_)
            | Self::Start(_) => false,
        }
    }

    fn given_up(unknown: bool, why: String) -> Self {
        if unknown { Self::Timeout } else { Self::Unavailable { why } }
    }

    pub(crate) fn stopped() -> Self {
        Self::Unavailable { why: "this member has stopped".to_owned() }
    }

    pub(super) fn start(error: StartError) -> Self {
        Self::Start(Box::new(error))
    }
}

/// What asking came to.
enum Asked {
    Reply(Reply),
    Again(Missed),
}

impl Core {
    /// Joins through the members at these addresses, perhaps as one that does not vote.
    pub(crate) async fn join(
        self: &Arc<Self>,
        via: Vec<String>,
        learner: bool,
    ) -> Result<MemberId, MembershipError> {
        let _becoming = self.becoming.lock().await;
        if let Some(Identity {
            member,
            phase: Phase::Joining(_) | Phase::JoiningAsLearner(_),
            ..
        }) = self.identity()?
        {
            // It was given an id, and not admitted in time.
            self.be_admitted(via, learner).await?;
            return Ok(member);
        }
        self.expect_nobody()?;
        self.clear_folder()?;
        let request = Request::Join(self.peer.clone());
        let (cluster, member) = match self.ask_strangers(&via, (0, 0), &request).await? {
            Reply::Joined { cluster, member } => (ClusterId::new(cluster), MemberId::new(member)),
            other => return Err(MembershipError::Unavailable { why: describe(&other) }),
        };
        let phase = if learner { Phase::JoiningAsLearner } else { Phase::Joining };
        let identity = Identity::new(cluster, member, phase(via.clone()));
        self.set_identity(&identity)?;
        self.open_node(&identity).await.map_err(MembershipError::start)?;
        self.be_admitted(via, learner).await?;
        Ok(member)
    }

    /// Does what is left to do of joining.
    pub(super) async fn be_admitted(
        &self,
        via: Vec<String>,
        learner: bool,
    ) -> Result<(), MembershipError> {
        let node = self.node().ok_or_else(MembershipError::stopped)?;
        let (cluster, member) = (node.cluster, node.member);
        let request = Request::Admit { member, peer: self.peer.clone(), learner };
        match self.ask_strangers(&via, (cluster, member), &request).await? {
            Reply::Done => {}
            other => return Err(MembershipError::Unavailable { why: describe(&other) }),
        }
        let identity = Identity::new(ClusterId::new(cluster), MemberId::new(member), Phase::Member);
        self.set_identity(&identity)
    }

    /// Tells the others where this member's clients and leaves find it now.
    pub(super) async fn describe(self: Arc<Self>) {
        let Some(node) = self.node() else { return };
        let member = node.member;
        loop {
            let told = || Request::Describe { member, peer: self.peer.clone() };
            match self.change(told).await {
                Ok(()) => return,
                Err(error) if error.is_transient() => {}
                Err(error) => {
                    tracing::warn!(%error, "the others cannot be told where this member is now");
                    return;
                }
            }
        }
    }

    /// Asks those at these addresses in turn, and the leader that they name, until one decides.
    async fn ask_strangers(
        &self,
        via: &[String],
        (cluster, from): (u64, u64),
        request: &Request,
    ) -> Result<Reply, MembershipError> {
        let deadline = Instant::now() + self.options.timers.membership;
        let (mut pauses, mut unknown) = (Pauses::new(), false);
        let mut why = "no address was given".to_owned();
        loop {
            for address in via {
                let link = stranger(address, cluster, from);
                match ask(&link, request, deadline).await {
                    Asked::Reply(Reply::Refused(why)) => {
                        return Err(MembershipError::Refused { why });
                    }
                    Asked::Reply(reply) => return Ok(reply),
                    Asked::Again(missed) => {
                        unknown |= missed.unknown;
                        why = missed.why;
                    }
                }
            }
            if !pauses.wait(deadline).await {
                return Err(MembershipError::given_up(unknown, why));
            }
        }
    }

    /// Removes a member.
    pub(crate) async fn remove(self: &Arc<Self>, which: Which) -> Result<(), MembershipError> {
        let member = self.find(&which)?;
        self.change(|| Request::Remove(member)).await
    }

    /// Lets a learner vote.
    pub(crate) async fn promote(self: &Arc<Self>, which: Which) -> Result<(), MembershipError> {
        let member = self.find(&which)?;
        self.change(|| Request::Promote(member)).await
    }

    /// Hands the lead over and waits until it is taken.
    pub(crate) async fn transfer(self: &Arc<Self>, to: MemberId) -> Result<(), MembershipError> {
        self.change(|| Request::Lead(to.get())).await?;
        let node = self.node().ok_or_else(MembershipError::stopped)?;
        let deadline = Instant::now() + self.options.timers.request;
        let taken = node.until(deadline, |metrics| metrics.current_leader == Some(to.get()));
        taken.await.map(|_| ()).ok_or(MembershipError::Timeout)
    }

    fn find(&self, which: &Which) -> Result<u64, MembershipError> {
        let name = match which {
            Which::Id(id) => return Ok(id.get()),
            Which::Name(name) => name,
        };
        let members = self.status().members;
        let found = members.iter().find(|member| member.name == name.as_str());
        found.map(|member| member.id.get()).ok_or_else(|| MembershipError::Refused {
            why: format!("there is no member called {name}"),
        })
    }

    async fn change(
        self: &Arc<Self>,
        request: impl Fn() -> Request,
    ) -> Result<(), MembershipError> {
        let deadline = Instant::now() + self.options.timers.membership;
        let (mut pauses, mut unknown) = (Pauses::new(), false);
        loop {
            let why = match self.ask_leader(request(), deadline).await {
                Ok(Reply::Done) => return Ok(()),
                Ok(Reply::Refused(why)) => return Err(MembershipError::Refused { why }),
                Ok(other) => {
                    unknown |= matches!(other, Reply::Unknown(_));
                    describe(&other)
                }
                Err(missed) => {
                    unknown |= missed.unknown;
                    missed.why
                }
            };
            if !pauses.wait(deadline).await {
                return Err(MembershipError::given_up(unknown, why));
            }
        }
    }

    /// Asks the leader once, which may be this member.
    pub(super) async fn ask_leader(
        self: &Arc<Self>,
        request: Request,
        deadline: Instant,
    ) -> Result<Reply, Missed> {
        let node = self.node().ok_or_else(|| Missed::clean("this is no member yet"))?;
        let leader = node.leader().ok_or_else(|| Missed::clean("no leader is known"))?;
        if leader == node.member {
            return Ok(node.lead_change(request, deadline).await);
        }
        let limit = ASK_TIMEOUT.min(deadline.saturating_duration_since(Instant::now()));
        node.ask(leader, Channel::Membership, &request, limit).await
    }
}

async fn ask(link: &crate::transport::Link, request: &Request, deadline: Instant) -> Asked {
    let clean = |why: String| Asked::Again(Missed::clean(why));
    let body = match encoded(request) {
        Ok(body) => body,
        Err(error) => return clean(error.to_string()),
    };
    let limit = ASK_TIMEOUT.min(deadline.saturating_duration_since(Instant::now()));
    match link.call(body, limit).await {
        Ok(reply) => match decode(&reply) {
            Ok(reply @ (Reply::NotLeader(_) | Reply::Unavailable(_))) => clean(describe(&reply)),
            Ok(Reply::Unknown(why)) => Asked::Again(Missed::unknown(why)),
            Ok(reply) => Asked::Reply(reply),
            Err(error) => clean(error.to_string()),
        },
        Err(LinkError::Refused { address, why }) => clean(format!("{address} refuses: {why}")),
        Err(error) => Asked::Again(Missed::link(&error)),
    }
}
