//! Registers a node that nobody has written into Cfg yet, so that it can be seen and asked for
//! things.

use kraken_engine::{
    command::{Command, Condition, Op, Outcome, Precondition, Proposal, Refusal, Txn},
    id::Name,
    manifest::NODE_KIND,
    object::{Labels, ObjectRef},
    state::State,
};

use crate::{
    clock::Clock,
    quorum::{Quorum, QuorumError},
};

/// A node that is to be there.
pub(crate) struct Registration<'a> {
    /// Its name.
    pub(crate) node: &'a Name,
    /// The labels that it gets if it is new.
    pub(crate) labels: &'a Labels,
    /// Who asks.
    pub(crate) author: String,
}

/// A node could not be registered.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RegistrationError {
    /// The quorum did not do it.
    #[error("the quorum did not register the node")]
    Quorum(#[source] QuorumError),
    /// The store refused it.
    #[error("the node is refused")]
    Refused(#[source] Refusal),
}

impl Registration<'_> {
    /// Creates the node with an empty Cfg, unless it is there already.
    pub(crate) async fn propose(
        self,
        quorum: &dyn Quorum,
        clock: Clock,
    ) -> Result<(), RegistrationError> {
        let Ok(kind) = Name::new(NODE_KIND) else { return Ok(()) };
        let object = ObjectRef { kind, namespace: None, name: self.node.clone() };
        let is = Condition::Absent;
        let txn = Txn {
            preconditions: vec![Precondition { object: object.clone(), is }],
            ops: vec![Op::Put {
                object,
                labels: Some(self.labels.clone()),
                owner: None,
                cfg: State::new(),
            }],
            note: Some("registered when it first attached".to_owned()),
        };
        let command = Command::Txn(txn);
        let proposal = Proposal { request: None, author: self.author, at: clock.wall(), command };
        match quorum.propose(proposal).await.map_err(RegistrationError::Quorum)? {
            // Somebody else may have made it meanwhile.
            Outcome::Applied { .. } | Outcome::Refused(Refusal::Exists(_)) => Ok(()),
            Outcome::Refused(refusal) => Err(RegistrationError::Refused(refusal)),
        }
    }
}
