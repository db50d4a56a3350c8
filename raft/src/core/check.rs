//! Comparing what this member holds with what the others hold. The leader hears of all; who differs
//! from a majority steps out, and does not start again from what it holds.

use std::{sync::PoisonError, time::Duration};

use tokio::time::{MissedTickBehavior, interval};

use super::{Core, Node};
use crate::{
    fatal::FatalError,
    machine::{Note, Verdict},
    transport::{Channel, Reply, Request},
};

/// Between two askings whether enough members have spoken.
const ASK_EVERY: Duration = Duration::from_secs(1);
/// Time for the leader to answer.
const ASK_TIMEOUT: Duration = Duration::from_secs(2);

impl Core {
    pub(super) async fn tend_notes(&self, node: &Node) {
        let mut notes = self.shared.checks.notes();
        let mut again = interval(ASK_EVERY);
        again.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let note = *notes.borrow_and_update();
            let verdict = match note {
                Some(note) => node.compare(note).await,
                None => Verdict::Same,
            };
            match (verdict, note) {
                (Verdict::Differs, Some(note)) => return self.step_out(note.index),
                (Verdict::Split, Some(note)) => {
                    let index = note.index;
                    tracing::error!(
                        index,
                        "no majority of the members holds the same; compare with a backup"
                    );
                }
                _ => {}
            }
            tokio::select! {
                changed = notes.changed() => if changed.is_err() { return },
                _ = again.tick(), if verdict == Verdict::Open => {}
            }
        }
    }

    fn step_out(&self, index: u64) {
        let folder = self.folder.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(Err(error)) = folder.as_ref().map(|folder| folder.set_diverged(index)) {
            tracing::error!(%error, "the data folder cannot be marked as one to be left alone");
        }
        self.fatal.raise(FatalError::Diverged { index });
    }
}

impl Node {
    async fn compare(&self, note: Note) -> Verdict {
        let Some(leader) = self.leader() else { return Verdict::Open };
        if leader == self.member {
            return self.judge(self.member, note);
        }
        match self.ask(leader, Channel::Forward, &Request::Note(note), ASK_TIMEOUT).await {
            Ok(Reply::Judged(verdict)) => verdict,
            // Another leader, or a busy one: it is asked again.
            Ok(_) | Err(_) => Verdict::Open,
        }
    }

    /// Takes down, as the leader, what a member holds, and judges it.
    pub(super) fn judge(&self, member: u64, note: Note) -> Verdict {
        let membership = self.metrics().membership_config;
        let mut notes = self.notes.lock().unwrap_or_else(PoisonError::into_inner);
        let verdict = notes.hear(member, note, membership.voter_ids());
        if matches!(verdict, Verdict::Differs) {
            tracing::error!(
                member,
                index = note.index,
                "a member differs from the majority, and steps out"
            );
        }
        verdict
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, SocketAddr};

    use kraken_engine::{
        command::{Command, Proposal},
        id::Name,
        time::Millis,
    };
    use tempfile::TempDir;
    use tokio::time::timeout;

    use super::*;
    use crate::{Bootstrap, FolderError, Handle, Options, StartError};

    const LOOPBACK: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
    const PATIENCE: Duration = Duration::from_secs(30);

    fn options(folder: &TempDir, number: usize) -> Options {
        let name = Name::new(format!("m{number}")).unwrap();
        let mut options = Options::new(folder.path().join(name.as_str()), LOOPBACK, name);
        options.limits.check_entries = 5;
        options
    }

    async fn mark(member: &Handle) {
        let (author, at) = ("test".to_owned(), Millis::ZERO);
        let proposal = Proposal { request: None, author, at, command: Command::Mark };
        member.propose(proposal).await.unwrap();
    }

    /// The leader, and a follower.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_member_that_holds_something_else_steps_out_and_stays_out() {
        for spoiled in [0, 1] {
            let folder = TempDir::new().unwrap();
            let mut members: Vec<Handle> = Vec::new();
            for number in 0..3 {
                let mut options = options(&folder, number);
                options.bootstrap = match members.first() {
                    None => Bootstrap::Init,
                    Some(first) => Bootstrap::Join(vec![first.local_addr().to_string()]),
                };
                members.push(Handle::start(options).await.unwrap());
            }
            let wrong = members.remove(spoiled);
            wrong.core().shared.spoil();
            let out = async {
                tokio::select! {
                    fatal = wrong.fatal() => fatal,
                    () = async { loop { mark(&members[0]).await } } => unreachable!(),
                }
            };
            let fatal = timeout(PATIENCE, out).await.expect("it is found out");
            assert!(matches!(fatal, FatalError::Diverged { .. }), "{fatal}");
            wrong.shutdown().await;
            for _ in 0..20 {
                mark(&members[1]).await;
            }
            for member in &members {
                let fatal = timeout(Duration::from_millis(50), member.fatal()).await;
                assert!(fatal.is_err(), "the others hold the same: {fatal:?}");
            }
            let again = Handle::start(options(&folder, spoiled)).await.err().unwrap();
            let StartError::Folder(FolderError::Diverged { .. }) = again else { panic!("{again}") };
        }
    }
}
