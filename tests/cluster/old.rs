//! The old surface against real members: plain requests, one after the other, as a command line
//! sends them that knows nothing of us.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use kraken_testkit::{
    cluster::{Shape, TestCluster},
    wait_until,
};
use serde_json::{Value as Json, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use crate::{KRAKEN, manifests::CONVERGED_MAX};

/// How long one request may take.
const ANSWER_MAX: Duration = Duration::from_secs(20);
const NODES: u32 = 4;

/// One member, spoken to in plain requests.
struct Plain {
    address: String,
}

impl Plain {
    fn of(cluster: &TestCluster, member: &str) -> Result<Self> {
        Ok(Self { address: cluster.url(member)?.trim_start_matches("http://").to_owned() })
    }

    /// Sends bytes to an address and reads the answer: its status, and its body.
    async fn send(address: &str, request: &str) -> Result<(u16, String)> {
        let mut stream = TcpStream::connect(address).await?;
        stream.write_all(request.as_bytes()).await?;
        let mut answer = String::new();
        timeout(ANSWER_MAX, stream.read_to_string(&mut answer)).await.context("no answer")??;
        let (head, body) = answer.split_once("\r\n\r\n").context("no whole answer")?;
        let status = head.split_whitespace().nth(1).context("no status")?.parse()?;
        Ok((status, body.to_owned()))
    }

    async fn ask(&self, method: &str, path: &str, body: &str) -> Result<(u16, String)> {
        let (host, length) = (&self.address, body.len());
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\
             Content-Length: {length}\r\n\r\n{body}"
        );
        Self::send(host, &request).await
    }

    /// The same, where the answer is 200 and JSON.
    async fn json(&self, method: &str, path: &str, body: &Json) -> Result<Json> {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let (status, answer) = self.ask(method, path, &body).await?;
        ensure!(status == 200, "{method} {path}: {status} {answer}");
        Ok(serde_json::from_str(&answer)?)
    }

    async fn get(&self, path: &str) -> Result<Json> {
        self.json("GET", path, &Json::Null).await
    }

    /// The nodes of this test in a list: members are nodes too.
    async fn nodes(&self, path: &str) -> Result<Vec<Json>> {
        let list = self.get(path).await?;
        let all = list["nodes"].as_array().cloned().unwrap_or_default();
        let is_ours = |node: &Json| node["nodename"].as_str().is_some_and(|n| n.starts_with("kr"));
        Ok(all.into_iter().filter(is_ours).collect())
    }

    /// Waits until all nodes of this test are seen with these fields.
    async fn until_seen(&self, fields: &Json) -> Result<()> {
        wait_until(&format!("all are seen at {fields}"), CONVERGED_MAX, async || {
            let seen = self.nodes("/dsc/nodes").await?;
            ensure!(seen.len() == NODES as usize, "{} nodes", seen.len());
            let wanted = fields.as_object().context("fields")?;
            let is_there = |node: &&Json| wanted.iter().all(|(field, value)| node[field] == *value);
            let there = seen.iter().filter(is_there).count();
            ensure!(there == seen.len(), "{there} of {seen:?}");
            Ok(())
        })
        .await
    }
}

fn id(number: u32) -> String {
    format!("123e4567-e89b-12d3-a456-4266554400{number:02}")
}

async fn cluster(world: &std::path::Path) -> Result<TestCluster> {
    let more = format!("[modules.sim]\nworld = \"{}\"\n", world.display());
    TestCluster::start(KRAKEN, &Shape { more, ..Shape::of(3, 0) }).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_command_line_powers_nodes_on_and_off() -> Result<()> {
    let world = tempfile::Builder::new().prefix("kraken-old-").tempdir()?;
    let cluster = cluster(world.path()).await?;
    let [m1, m2, m3] = ["m1", "m2", "m3"].map(|member| Plain::of(&cluster, member));
    let (m1, m2, m3) = (m1?, m2?, m3?);

    let fresh = (1..=NODES).map(|number| {
        let interface = json!({
            "eth": { "iface": "eth0", "mac": format!("aa:bb:cc:00:11:{number:02}") },
            "ip": { "ip": format!("10.0.0.{number}"), "subnet": "255.255.255.0" },
        });
        let ipv4 = "type.googleapis.com/IPv4.IPv4OverEthernet";
        json!({
            "id": id(number),
            "nodename": format!("kr{number}"),
            "physState": "POWER_OFF",
            "arch": "aarch64",
            "extensions": [{ "@type": ipv4, "ifaces": { "kraken": interface } }],
        })
    });
    let fresh: Vec<Json> = fresh.collect();
    m1.json("POST", "/cfg/nodes", &json!({ "nodes": fresh })).await?;
    m2.until_seen(&json!({ "physState": "POWER_OFF" })).await?;

    // Read, changed and put back as a whole, at another member.
    let mut asked = m2.nodes("/cfg/nodes").await?;
    ensure!(asked == fresh, "{asked:?}");
    for node in &mut asked {
        (node["physState"], node["runState"]) = (2.into(), "SYNC".into());
    }
    m2.json("PUT", "/cfg/nodes", &json!({ "nodes": asked })).await?;
    for member in [&m1, &m2, &m3] {
        member.until_seen(&json!({ "physState": "POWER_ON", "runState": "SYNC" })).await?;
    }
    wait_until("the way of a node is at its end", CONVERGED_MAX, async || {
        let graph = m3.get(&format!("/graph/node/{}/json", id(1))).await?;
        let nodes = graph["nodes"].as_array().context("no graph")?;
        let ends = nodes.iter().filter(|node| node["color"]["border"] == "#e74c3c").count();
        ensure!(ends > 0, "{graph}");
        Ok(())
    })
    .await?;

    // A part of a node, while the fleet is frozen.
    m1.get("/sme/freeze").await?;
    ensure!(m3.get("/sme/frozen").await?["frozen"] == true, "not frozen");
    let off = (1..=NODES).map(|number| json!({ "id": id(number), "physState": "POWER_OFF" }));
    let off = json!({ "nodes": off.collect::<Vec<Json>>() });
    m3.json("PUT", "/cfg/nodes", &off).await?;
    let one = m1.get(&format!("/cfg/node/{}", id(2))).await?;
    ensure!(one["extensions"] == fresh[1]["extensions"] && one["arch"] == "aarch64", "{one}");
    // A machine that is off is in no run state: nothing is asked of it any longer.
    for number in 1..=NODES {
        let idle = json!({ "id": id(number), "runState": "UNKNOWN" });
        let now = m2.json("PUT", "/cfg/node", &idle).await?;
        ensure!(now["runState"].is_null() && now["physState"] == "POWER_OFF", "{now}");
    }
    m2.until_seen(&json!({ "physState": "POWER_ON" })).await?;
    m1.get("/sme/thaw").await?;
    m2.until_seen(&json!({ "physState": "POWER_OFF" })).await?;

    for number in 1..=NODES {
        let path = format!("/cfg/node/{}", id(number));
        m1.json("DELETE", &path, &Json::Null).await?;
        ensure!(m2.ask("GET", &path, "").await? == (404, String::new()), "{path} is there");
    }
    ensure!(m3.nodes("/cfg/nodes").await? == [Json::Null; 0], "some are left");
    opens_its_socket(&m1).await?;
    cluster.pass()
}

/// The WebSocket is where a member says that it is.
async fn opens_its_socket(member: &Plain) -> Result<()> {
    let socket = member.get("/ws").await?;
    let part = |field: &str| socket[field].as_str().with_context(|| format!("{socket}"));
    let (address, url) = (format!("{}:{}", part("host")?, part("port")?), part("url")?);
    let mut stream = TcpStream::connect(&address).await?;
    let request = format!(
        "GET {url} HTTP/1.1\r\nHost: {address}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await?;
    let mut head = [0; 12];
    timeout(ANSWER_MAX, stream.read_exact(&mut head)).await.context("no answer")??;
    ensure!(head == *b"HTTP/1.1 101", "{}", String::from_utf8_lossy(&head));
    Ok(())
}
