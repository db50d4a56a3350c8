//! `kraken cluster`: the quorum: who votes, who leads, who comes and goes.

mod recover;
mod snapshot;

use std::time::Duration;

use clap::Subcommand;
use kraken_http::client::{Client, ClusterView, Error, Settings};

use crate::{
    complete,
    console::Console,
    exit::Failure,
    look::Look,
    output::{Format, Output, json, lines, yaml},
    table,
};

/// How long a quorum that serves takes to answer, at most.
const SERVES_WITHIN: Duration = Duration::from_secs(2);

/// Shows and changes the quorum
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

/// What to do with the quorum.
#[derive(Debug, Subcommand)]
enum Verb {
    /// Shows the members and who leads
    Status {
        #[command(flatten)]
        output: Output,
    },
    /// Founds a cluster with the server that is asked as its first member
    Init,
    /// Lets the server that is asked join a cluster
    Join {
        /// Raft addresses, host:port, of members of it
        #[arg(required = true, value_name = "HOST:PORT")]
        via: Vec<String>,
        /// Holds everything and does not vote, until it is promoted
        #[arg(long)]
        learner: bool,
    },
    /// Lets a learner vote
    Promote {
        /// Its name or its id
        #[arg(add = complete::members())]
        member: String,
    },
    /// Takes a member out of the quorum, dead or alive
    Remove {
        /// Its name or its id
        #[arg(add = complete::members())]
        member: String,
    },
    /// Hands the lead to another member
    Leader {
        /// Its name or its id
        #[arg(add = complete::members())]
        to: String,
    },
    /// Saves, checks and restores all Cfg
    #[command(subcommand)]
    Snapshot(snapshot::Verb),
    Recover(recover::Args),
}

impl Args {
    /// Shows or changes.
    pub(crate) async fn run(self, client: &Client, console: &Console) -> Result<(), Failure> {
        match self.verb {
            Verb::Status { output } => {
                let mut quorum = client.cluster().await?;
                quorum.members.sort_by(|one, other| one.name.cmp(&other.name));
                console.print(render(&quorum, output.output, console.look())?)?;
                let is_for_people = matches!(output.output, Format::Table | Format::Wide);
                if is_for_people && quorum.cluster.is_some() && !serves(client).await {
                    console.note(NO_QUORUM);
                }
                Ok(())
            }
            Verb::Init => {
                let member = client.cluster_init().await?;
                console.print(format!("a cluster is founded, member {member}"))
            }
            Verb::Join { via, learner } => {
                let member = client.cluster_join(&via, learner).await?;
                let role = if learner { "learner" } else { "member" };
                console.print(format!("joined as {role} {member}"))
            }
            Verb::Promote { member } => {
                client.cluster_promote(&member).await.map_err(named)?;
                console.print(format!("member {member} votes"))
            }
            Verb::Remove { member } => {
                client.cluster_remove(&member).await.map_err(named)?;
                console.print(format!("member {member} is removed"))
            }
            Verb::Leader { to } => {
                client.cluster_leader(&to).await.map_err(named)?;
                console.print(format!("member {to} leads"))
            }
            Verb::Snapshot(verb) => verb.run(client, console).await,
            Verb::Recover(args) => args.run(console).await,
        }
    }
}

/// What is told of a quorum that does not serve.
const NO_QUORUM: &str = "\
the quorum does not answer: a majority of its members must run and reach each other
  start those that are down; where they are lost for good: kraken cluster recover --help";

/// Whether the quorum serves now. What a member says of it does not tell that: it names the leader
/// that it knew last until there is another one.
async fn serves(client: &Client) -> bool {
    let once = Settings { timeout: SERVES_WITHIN, patience: Duration::ZERO, ..Settings::default() };
    match Client::with(&client.servers(), once) {
        Ok(client) => client.raw_get("/v1/nodes?limit=1&view=cfg").await.is_ok(),
        Err(_) => false,
    }
}

/// Says where the names of members stand.
fn named(error: Error) -> Failure {
    let is_unknown = error.code() == Some("no_such_thing");
    let failure = Failure::from(error);
    if is_unknown { failure.hint("see who votes: kraken cluster status") } else { failure }
}

fn render(quorum: &ClusterView, format: Format, look: Look) -> Result<String, Failure> {
    match format {
        Format::Json => json(quorum),
        Format::Yaml => yaml(quorum),
        Format::Name => {
            Ok(lines(quorum.members.iter().map(|member| format!("member/{}", member.name))))
        }
        Format::Table | Format::Wide => Ok(describe(quorum, look)),
    }
}

fn describe(quorum: &ClusterView, look: Look) -> String {
    let Some(cluster) = quorum.cluster else {
        return format!(
            "{} belongs to no cluster yet; found one with `kraken cluster init`, or join one with \
             `kraken cluster join HOST:PORT`\n",
            quorum.node
        );
    };
    let leader = quorum.leader_name.as_deref().unwrap_or("nobody");
    let head = format!(
        "cluster {cluster:x}, term {}, revision {}, led by {leader}, as {} sees it\n\n",
        quorum.term, quorum.revision, quorum.node
    );
    let mut rows = table::table(["MEMBER", "ID", "ROLE", "HELD", "HTTP", "RAFT", "SYNC"]);
    for member in &quorum.members {
        let role = match (Some(member.id) == quorum.leader, member.voter) {
            (true, _) => "leader",
            (false, true) => "voter",
            (false, false) => "learner",
        };
        let held = match (member.matched, Some(member.id) == quorum.member) {
            (Some(held), _) => held.to_string(),
            (None, true) => quorum.last_log.to_string(),
            (None, false) => String::new(),
        };
        let id = member.id.to_string();
        rows.row(
            [&member.name, &id, role, &held, &member.http, &member.raft, &member.sync]
                .map(table::text),
        );
    }
    head + &rows.render(look) + &levels(quorum)
}

/// Says which members know a higher feature level than the one that is in use.
fn levels(quorum: &ClusterView) -> String {
    let newer = quorum.members.iter().filter(|member| member.level > quorum.level);
    let newer: Vec<&str> = newer.map(|member| member.name.as_str()).collect();
    if newer.is_empty() {
        return String::new();
    }
    let (level, newer) = (quorum.level, newer.join(", "));
    format!(
        "\nfeature level {level} is in use until every member knows a higher one; so far: {newer}\n"
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_quorum_is_a_table() {
        let member = |id: u64, name: &str, voter: bool, matched: Option<u64>| {
            json!({
                "id": id, "name": name, "raft": "h:1", "http": "http://h:2", "sync": "h:3",
                "level": if name == "m3" { 2 } else { 1 }, "voter": voter, "matched": matched,
            })
        };
        let quorum: ClusterView = serde_json::from_value(json!({
            "cluster": 255, "member": 1, "role": "LEADER", "term": 3, "leader": 1,
            "revision": 20, "applied": 20, "lastLog": 21, "node": "m1", "version": "0.1.0",
            "leaderName": "m1", "epoch": 1, "level": 1,
            "members": [
                member(1, "m1", true, None), member(4, "m2", true, Some(21)),
                member(9, "m3", false, Some(2)),
            ],
        }))
        .unwrap();
        insta::assert_snapshot!(describe(&quorum, Look::default()), @r"
        cluster ff, term 3, revision 20, led by m1, as m1 sees it

        MEMBER   ID   ROLE      HELD   HTTP         RAFT   SYNC
        m1       1    leader    21     http://h:2   h:1    h:3
        m2       4    voter     21     http://h:2   h:1    h:3
        m3       9    learner   2      http://h:2   h:1    h:3

        feature level 1 is in use until every member knows a higher one; so far: m3
        ");
        let alone = ClusterView { cluster: None, ..quorum };
        assert!(describe(&alone, Look::default()).starts_with("m1 belongs to no cluster yet"));
    }
}
