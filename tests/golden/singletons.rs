//! What people are told of an object that must never run twice: while its host is away, on its way
//! to another one, and of what is refused meanwhile. One server, and two nodes that never attach.

use std::{fs, time::Duration};

use anyhow::{Result, ensure};
use kraken_testkit::wait_until;

use crate::{
    quorum::{Server, Stage},
    transcript::Book,
};

/// Longer than the lease of a host that is away, its stop and the margin.
const RELEASED_MAX: Duration = Duration::from_mins(1);
/// How long that may take on a busy machine.
const DECLARED_MAX: Duration = Duration::from_secs(30);
/// Posts.
const POSTS: &str = "\
kind: module
name: posts
kinds: [{ name: post, singletonLeaseMs: 5000 }]
discovers: [/duty]
extensions:
  - name: post
    kind: post
    paths:
      - { path: /duty, type: [OFF, ON], absent: OFF }
      - { path: /host, type: text, seenBy: nobody }
mutations:
  - { name: TakeUp, kind: post, timeoutMs: 500, changes: { /duty: { from: OFF, to: ON } } }
  - { name: LayDown, kind: post, timeoutMs: 500, changes: { /duty: { from: ON, to: OFF } } }
";

fn post(host: &str) -> String {
    format!("kind: post\nname: desk\ncfg: {{ duty: ON, host: {host} }}\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_post_goes_from_one_host_to_the_next() -> Result<()> {
    let stage = Stage::set()?;
    let server = Server::start("a", stage.folder.path()).await?;
    for (name, text) in [
        ("posts", POSTS.to_owned()),
        ("short", POSTS.replace("5000", "500")),
        ("longer", POSTS.replace("5000", "9000")),
        ("endless", POSTS.replace(", absent: OFF", "")),
        ("nodes", "kind: node\nname: w[1-2]\n".to_owned()),
        ("first", post("w1")),
        ("second", post("w2")),
    ] {
        fs::write(stage.folder.path().join("a").join(format!("{name}.yaml")), text)?;
    }
    let (cli, page) = (&server.cli, "singletons");
    let mut steady = stage.steady.clone();
    for number in (1..30).rev() {
        steady = steady.also(format!("--expect {number}"), "--expect <revision>");
    }
    let mut book = Book::new(steady);
    for (name, code) in [("posts", 0), ("short", 1), ("endless", 1)] {
        book.ends(cli, page, &format!("graph check -f {name}.yaml"), code).await?;
    }
    cli.run(&["cluster", "init"]).await?;
    server.sees(1).await?;
    wait_until("the release has declared what it brings", DECLARED_MAX, async || {
        cli.run(&["apply", "-f", "nodes.yaml"]).await
    })
    .await?;
    cli.run(&["module", "add", "-f", "posts.yaml"]).await?;
    cli.run(&["apply", "-f", "first.yaml"]).await?;
    book.ends(cli, page, "apply -f second.yaml --plan", 0).await?;
    book.ends(cli, page, "apply -f second.yaml", 0).await?;
    book.ends(cli, page, "why desk --kind post", 0).await?;
    book.ends(cli, page, "delete w1", 4).await?;
    book.ends(cli, page, "module add -f longer.yaml", 4).await?;
    wait_until("the next host has it", RELEASED_MAX, async || {
        let said = cli.run(&["describe", "desk", "--kind", "post"]).await?;
        ensure!(!said.contains("still on"), "{said}");
        Ok(())
    })
    .await?;
    book.ends(cli, page, "history desk --kind post", 0).await?;
    book.ends(cli, page, "describe desk --kind post", 0).await?;
    book.close()
}
