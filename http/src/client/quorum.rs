//! The calls that are about the quorum: how it is, who comes and who goes.

use std::time::Duration;

use hyper::Method;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{Answer, Call, Client, Error, encode};

/// A change of membership waits until the new member has caught up.
const MEMBERSHIP_TIMEOUT: Duration = Duration::from_secs(90);

/// How the quorum is, seen from one member.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Cluster")]
pub struct ClusterView {
    /// The node that answered.
    pub node: String,
    /// The version of its binary.
    pub version: String,
    /// The cluster; absent before it is founded or joined.
    pub cluster: Option<u64>,
    /// The history that revisions belong to.
    pub epoch: u64,
    /// The answering member.
    pub member: Option<u64>,
    /// `LEADER`, `FOLLOWER`, `CANDIDATE`, `LEARNER` or `UNINITIALISED`.
    pub role: String,
    /// The term.
    pub term: u64,
    /// The leading member.
    pub leader: Option<u64>,
    /// Its node.
    pub leader_name: Option<String>,
    /// The feature level that is in use.
    pub level: u32,
    /// The revision of the answering member.
    pub revision: u64,
    /// The last log index that is applied there.
    pub applied: u64,
    /// The last log index that is held there.
    pub last_log: u64,
    /// The members.
    pub members: Vec<MemberView>,
}

/// One member.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Member")]
pub struct MemberView {
    /// Its identity in the quorum.
    pub id: u64,
    /// Its node.
    pub name: String,
    /// Where other members reach it.
    pub raft: String,
    /// Where clients reach it.
    pub http: String,
    /// Where leaves attach to it.
    pub sync: String,
    /// The feature level that it knows.
    pub level: u32,
    /// Whether it votes.
    pub voter: bool,
    /// The last log index known to be held there; only the leader knows.
    pub matched: Option<u64>,
}

impl Client {
    /// How the quorum is.
    pub async fn cluster(&self) -> Result<ClusterView, Error> {
        self.raw_get("/v1/cluster").await?.json()
    }

    /// Founds a cluster of the first server alone.
    pub async fn cluster_init(&self) -> Result<u64, Error> {
        let call = Call::new(Method::POST, "/v1/cluster/init");
        member(&self.send_to(0, &call).await?)
    }

    /// Has the first server join the cluster of which one of these raft addresses is a member. A
    /// learner does not vote until it is promoted.
    pub async fn cluster_join(&self, via: &[String], learner: bool) -> Result<u64, Error> {
        let body = json!({ "via": via, "learner": learner });
        let mut call = Call::new(Method::POST, "/v1/cluster/join").json(&body);
        call.timeout = Some(MEMBERSHIP_TIMEOUT);
        member(&self.send_to(0, &call).await?)
    }

    /// Removes a member, by id or name.
    pub async fn cluster_remove(&self, member: &str) -> Result<(), Error> {
        let path = format!("/v1/cluster/members/{}", encode(member));
        let mut call = Call::new(Method::DELETE, path);
        call.timeout = Some(MEMBERSHIP_TIMEOUT);
        self.send(call).await.map(drop)
    }

    /// Lets a learner vote, by id or name.
    pub async fn cluster_promote(&self, member: &str) -> Result<(), Error> {
        let body = json!({ "member": member });
        let mut call = Call::new(Method::POST, "/v1/cluster/promote").json(&body);
        call.timeout = Some(MEMBERSHIP_TIMEOUT);
        self.send(call).await.map(drop)
    }

    /// Hands leadership to a member, by id or name.
    pub async fn cluster_leader(&self, to: &str) -> Result<(), Error> {
        self.raw_post("/v1/cluster/leader", &json!({ "to": to })).await.map(drop)
    }
}

fn member(answer: &Answer) -> Result<u64, Error> {
    #[derive(Deserialize)]
    struct Body {
        member: u64,
    }
    Ok(answer.json::<Body>()?.member)
}
