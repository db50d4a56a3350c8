//! A day with a fleet of three members and three leaves, verb after verb. One cluster serves all
//! pages; each step leaves it converged.

use std::{fs, time::Duration};

use anyhow::{Context as _, Result, ensure};
use kraken_testkit::{
    cli::{Cli, Said},
    cluster::{Shape, TestCluster},
    job::Job,
    wait_until,
};
use nix::sys::signal::Signal;

use crate::{
    KRAKEN,
    steady::Steady,
    table,
    transcript::{Book, cli},
};

/// How long anything may take on a busy machine.
const BOUND: Duration = Duration::from_mins(1);
/// What is applied first.
const WEB: &str = "kind: node
name: n[1-3]
cfg:
  services:
    web:
      state: RUN
      command: sleep
      args: [\"100000\"]
";
/// A node that is never attached.
/// What operators add to what the release brings.
const DOOR: &str = "module: door
doc: Doors that a person opens.
extensions:
- name: door
  kind: rack
  paths:
  - path: /door
    type: { enum: [OPEN, SHUT] }
";
const SPARE: &str = "kind: node\nname: spare\nlabels:\n  rack: r9\n";
/// State files with mistakes, by name.
const MISTAKEN: [(&str, &str); 5] = [
    ("no-yaml", "kind: node\nname: [n1\n"),
    ("key", "kind: node\nname: n1\ncgf: {}\n"),
    ("path", "kind: node\nname: n1\ncfg:\n  services:\n    web:\n      sate: RUN\n"),
    ("value", "kind: node\nname: n[1-3]\ncfg:\n  services:\n    web:\n      state: STOPP\n"),
    ("set", "kind: node\nname: n[1-\n"),
];

/// The cluster, who types, and what is written down.
struct Day {
    cluster: TestCluster,
    cli: Cli,
    book: Book,
}

impl Day {
    async fn begin() -> Result<Self> {
        let cluster = TestCluster::start(KRAKEN, &Shape::of(3, 3)).await?;
        let folder = cluster.folder().join("desk");
        fs::create_dir(&folder)?;
        fs::write(folder.join("web.yaml"), WEB)?;
        fs::write(folder.join("spare.yaml"), SPARE)?;
        fs::write(folder.join("door.yaml"), DOOR)?;
        for (name, text) in MISTAKEN {
            fs::write(folder.join(format!("{name}.yaml")), text)?;
        }
        let cli = cli(&folder, &cluster.url("m1")?)?;
        let steady = Steady::new()?.also(cluster.folder().display().to_string(), "<folder>");
        let day = Self { cluster, cli, book: Book::new(steady) };
        day.settled().await?;
        Ok(day)
    }

    /// Waits until the whole fleet has converged, as the member that is asked has heard.
    async fn settled(&self) -> Result<()> {
        let nodes = self.cluster.edge_of("m1")?;
        let all: Vec<String> =
            self.cluster.members().into_iter().chain(self.cluster.leaves()).collect();
        wait_until("the fleet has converged", BOUND, async || {
            let seen = nodes.nodes().await?;
            for name in &all {
                let node = seen.get(name).with_context(|| format!("there is no {name}"))?;
                let status = node.status.as_ref().context("nobody decides")?;
                let is_there = status.phase == "Converged" && status.revision >= node.revision;
                ensure!(is_there, "{name} at {}: {status:?}", node.revision);
            }
            Ok(())
        })
        .await
    }

    /// Waits until a node is in a phase, as of its last write.
    async fn phase(&self, name: &str, phase: &str) -> Result<()> {
        let edge = self.cluster.edge_of("m1")?;
        wait_until(&format!("{name} is {phase}"), BOUND, async || {
            let node = edge.node(name).await?;
            let status = node.status.as_ref().context("nobody decides")?;
            let is_there = status.phase == phase && status.revision >= node.revision;
            ensure!(is_there, "it is at {}: {status:?}", node.revision);
            Ok(())
        })
        .await
    }

    /// Waits until the last event of a node is of a kind, the so manyth of that kind. Events come
    /// by a way of their own, so that a status may be known before what led to it.
    async fn heard(&self, name: &str, kind: &str, count: usize) -> Result<()> {
        let edge = self.cluster.edge_of("m1")?;
        wait_until(&format!("{name} tells of {kind}"), BOUND, async || {
            let revision = edge.node(name).await?.revision;
            let events = edge.events(name).await?;
            let last = events.last().context("no events")?;
            let of_kind = events.iter().filter(|event| event.kind == kind).count();
            ensure!(last.kind == kind && of_kind >= count, "{last:?}");
            let is_of_now = kind != "converged" || last.text.ends_with(&format!(" {revision}"));
            ensure!(is_of_now, "{last:?} at {revision}");
            Ok(())
        })
        .await
    }

    /// Types lines, each of which ends well.
    async fn types(&mut self, page: &'static str, lines: &[&str]) -> Result<()> {
        for line in lines {
            self.ends(page, line, 0).await?;
        }
        Ok(())
    }

    /// Types a line that ends with this code.
    async fn ends(&mut self, page: &'static str, line: &str, code: i32) -> Result<Said> {
        self.book.ends(&self.cli, page, line, code).await
    }

    /// Does something without writing it down.
    async fn aside(&self, line: &str) -> Result<()> {
        let words: Vec<&str> = line.split_whitespace().collect();
        self.cli.run(&words).await.map(drop)
    }

    /// Starts a line that goes on until it is interrupted, and waits until it has printed
    /// something.
    async fn begins(&self, name: &str, line: &str) -> Result<Job> {
        let words: Vec<&str> = line.split_whitespace().collect();
        let mut job = self.cli.job(name, self.cluster.folder(), &words);
        job.start()?;
        self.prints(&job, "\n").await?;
        Ok(job)
    }

    async fn prints(&self, job: &Job, text: &str) -> Result<()> {
        wait_until(&format!("{} prints {text:?}", job.name()), BOUND, async || {
            let printed = job.output();
            ensure!(printed.contains(text), "{printed}{}", job.errors());
            Ok(())
        })
        .await
    }

    /// Interrupts what goes on, and writes down what it has printed, each line once.
    async fn interrupts(&mut self, page: &'static str, line: &str, mut job: Job) -> Result<()> {
        job.signal(Signal::SIGINT)?;
        job.end_within(BOUND).await?;
        let out = table::once(&self.book.steady(&job.output())?);
        let said = Said { code: 0, out, err: job.errors() };
        self.book.write(page, line, &said, "by Ctrl-C")
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_day_with_a_fleet() -> Result<()> {
    let mut day = Day::begin().await?;
    first_state(&mut day).await?;
    looks(&mut day).await?;
    changes(&mut day).await?;
    mistakes(&mut day).await?;
    frozen(&mut day).await?;
    failures(&mut day).await?;
    goes_on(&mut day).await?;
    past(&mut day).await?;
    modules(&mut day).await?;
    comes_and_goes(&mut day).await?;
    leads(&mut day).await?;
    day.book.close()?;
    day.cluster.pass()
}

async fn first_state(day: &mut Day) -> Result<()> {
    day.types("plan", &["plan -f web.yaml", "plan -f web.yaml -o name"]).await?;
    day.types("plan", &["plan -f web.yaml -o yaml", "plan n1"]).await?;
    day.types("apply", &["apply -f web.yaml --plan"]).await?;
    day.ends("apply", "apply -f web.yaml --expect 1", 4).await?;
    day.types("apply", &["apply -f web.yaml"]).await?;
    day.types("wait", &["wait n[1-3] --for converged --timeout 60s"]).await?;
    day.types("wait", &["wait n[1-3] --for attached"]).await?;
    day.settled().await?;
    day.types("apply", &["apply -f web.yaml"]).await?;
    for (name, _) in MISTAKEN {
        day.ends("apply", &format!("apply -f {name}.yaml"), 1).await?;
    }
    day.ends("plan", "plan -f value.yaml", 1).await.map(drop)
}

async fn looks(day: &mut Day) -> Result<()> {
    day.types("label", &["label n[1-2] rack=r1", "label n3 rack=r2 spare=yes"]).await?;
    day.types("label", &["label n3 spare-", "label n3 spare-", "label @rack=r1 row=a"]).await?;
    day.types("label", &["label @row=a row-"]).await?;
    day.settled().await?;
    day.types("get", &["get nodes", "get nodes -o wide", "get nodes -o name"]).await?;
    day.types("get", &["get nodes n[1-2]", "get nodes @rack=r1 -o name", "get"]).await?;
    day.types("get", &["get nodes n1 -o json", "get nodes n1 -o yaml"]).await?;
    day.types("get", &["get nodes @rack=r7"]).await?;
    day.ends("get", "get module", 1).await?;
    day.ends("get", "get nodes n[1-2,7-9]", 1).await?;
    day.types("describe", &["describe n1", "describe n[1-2] -o name", "describe n1 -o json"])
        .await?;
    day.types("why", &["why n1", "why n1 -o json", "why n1 -o yaml", "why n1 -o name"]).await?;
    day.types("plan", &["plan n1", "plan n1 -o json"]).await?;
    let lines = [
        "graph",
        "graph -o json",
        "graph -o mermaid",
        "graph n1",
        "graph n1 -o json",
        "graph -o svg",
    ];
    day.types("graph", &lines).await?;
    day.ends("graph", "graph --kind rack", 1).await.map(drop)
}

async fn changes(day: &mut Day) -> Result<()> {
    day.types("set", &["set n[1-3] services/web/state=STOP --plan"]).await?;
    day.types("set", &["set n[1-3] services/web/state=STOP"]).await?;
    day.aside("wait n[1-3] --timeout 60s").await?;
    day.settled().await?;
    day.heard("n1", "converged", 1).await?;
    let lines =
        ["events n1 --limit 3", "events n1 --limit 3 -o wide", "events n1 --limit 1 -o json"];
    day.types("events", &lines).await?;
    day.types("events", &["events n1 --limit 1 -o yaml", "events spare"]).await?;
    day.types("set", &["set n[1-3] services/web/state=STOP"]).await?;
    day.ends("set", "set n1 services/web/state=RUN --expect 1", 4).await?;
    day.types("set", &["set n1 services/web/env/COLOUR=red services/web/stop/graceMs=100"]).await?;
    day.types("set", &["set n1 services/web/env/COLOUR- services/web/stop/graceMs-"]).await?;
    day.types("set", &["set @rack=r1 services/web/state=RUN"]).await?;
    day.aside("set n3 services/web/state=RUN").await?;
    day.settled().await
}

async fn mistakes(day: &mut Day) -> Result<()> {
    for line in [
        "set n1 services/web/state=STOPP",
        "set n1 services/web/sate=STOP",
        "set n1 servces/web/state=STOP",
        "set n1 colour=red",
        "set n1 services/web/stop/graceMs=soon",
        "set n1 services/web/pid=1",
        "set n9 services/web/state=STOP",
        "set n[1-9] services/web/state=STOP",
        "get nodes n9",
        "describe n9",
        "why n9",
        "plan n9",
        "wait n9",
        "freeze n9",
        "retry n9",
        "label n9 rack=r1",
        "delete n9",
        "graph n9",
        "cluster remove m9",
        "get n1",
    ] {
        day.ends("mistakes_in_a_fleet", line, 1).await?;
    }
    day.types("mistakes_in_a_fleet", &["events n9"]).await
}

async fn frozen(day: &mut Day) -> Result<()> {
    day.types("freeze", &["freeze n2", "freeze n2"]).await?;
    day.types("freeze", &["set n2 services/web/state=STOP"]).await?;
    day.phase("n2", "Frozen").await?;
    day.ends("wait", "wait n[1-2] --timeout 1s", 3).await?;
    day.types("freeze", &["get nodes n[1-2]", "describe n2"]).await?;
    day.types("why", &["why n2"]).await?;
    day.ends("thaw", "thaw n1", 4).await?;
    day.types("thaw", &["thaw n2"]).await?;
    day.aside("wait n2 --timeout 60s").await?;
    day.types("freeze", &["freeze @rack=r1", "freeze --all"]).await?;
    day.ends("thaw", "thaw n1", 4).await?;
    day.types("thaw", &["thaw @rack=r1", "thaw --all"]).await?;
    day.types("thaw", &["thaw --all"]).await?;
    day.settled().await
}

async fn failures(day: &mut Day) -> Result<()> {
    day.aside("set n3 services/web/command=/no/such/program").await?;
    day.phase("n3", "Quarantined").await?;
    day.ends("wait", "wait n3 --timeout 1s", 3).await?;
    day.types("why", &["why n3"]).await?;
    day.types("get", &["get nodes n3", "get nodes n3 -o wide"]).await?;
    day.types("plan", &["plan n3"]).await?;
    day.types("graph", &["graph n3"]).await?;
    day.types("retry", &["retry n3"]).await?;
    day.phase("n3", "Quarantined").await?;
    day.heard("n3", "needsHelp", 2).await?;
    day.types("retry", &["events n3 --limit 4"]).await?;
    day.types("retry", &["set n3 services/web/command=sleep", "wait n3"]).await?;
    day.types("retry", &["retry n3", "retry --all"]).await?;
    day.settled().await
}

async fn goes_on(day: &mut Day) -> Result<()> {
    day.heard("n2", "converged", 1).await?;
    let (follow, watch) = ("events n2 --limit 1 -f", "get nodes n2 --watch");
    let followed = day.begins("follow", follow).await?;
    let watched = day.begins("watch", watch).await?;
    day.aside("freeze n2").await?;
    day.prints(&watched, "Frozen").await?;
    day.prints(&followed, "frozen by").await?;
    day.interrupts("events", follow, followed).await?;
    day.interrupts("get", watch, watched).await?;
    day.aside("thaw n2").await?;
    day.settled().await
}

async fn past(day: &mut Day) -> Result<()> {
    let before = day.cluster.edge()?.cluster().await?.revision;
    day.types("history", &["set n3 services/web/args=[\"200000\"]", "wait n3"]).await?;
    day.types("history", &["history n3 --limit 1", "history n3 --limit 1 --blame -o json"]).await?;
    day.types("history", &["history --limit 1 -o yaml"]).await?;
    let diff = format!("diff {before}");
    day.types("diff", &[&diff, &format!("{diff} -o json --nodes n3")]).await?;
    let rollback = format!("rollback {before} n3");
    day.types("rollback", &[&format!("{rollback} --plan"), &rollback, "wait n3"]).await?;
    day.ends("diff", "diff 999999999", 1).await?;
    day.ends("history", "history nobody", 1).await?;
    day.aside("label n3 spare=yes").await?;
    day.aside("freeze n3").await?;
    day.aside("thaw n3").await?;
    day.aside("retry n3").await?;
    day.types("history", &["history n3 --limit 4"]).await?;
    day.aside("label n3 spare-").await?;
    day.settled().await
}

async fn modules(day: &mut Day) -> Result<()> {
    day.types("module", &["graph check -f door.yaml", "module add -f door.yaml"]).await?;
    day.types("module", &["module list -o name", "module remove door"]).await?;
    day.ends("module", "module remove service", 4).await?;
    day.ends("module", "module remove nothing", 1).await.map(drop)
}

async fn comes_and_goes(day: &mut Day) -> Result<()> {
    day.types("delete", &["apply -f spare.yaml"]).await?;
    day.types("get", &["get nodes spare"]).await?;
    day.types("describe", &["describe spare"]).await?;
    day.types("why", &["why spare"]).await?;
    day.ends("wait", "wait spare --timeout 1s", 3).await?;
    day.types("delete", &["delete spare", "wait spare --for deleted"]).await?;
    day.ends("delete", "delete spare", 1).await?;
    day.types("delete", &["delete n3", "wait n3 --for deleted"]).await
}

async fn leads(day: &mut Day) -> Result<()> {
    day.types("cluster_leader", &["cluster leader m2", "cluster leader m1"]).await?;
    let edge = day.cluster.edge_of("m1")?;
    wait_until("m1 leads and all hold what it holds", BOUND, async || {
        let quorum = edge.cluster().await?;
        let heard = quorum.members.iter().filter(|member| member.matched.is_some()).count();
        ensure!(quorum.role == "LEADER" && heard >= 2, "{quorum:?}");
        Ok(())
    })
    .await?;
    let lines = ["cluster status", "cluster status -o name"];
    day.types("cluster_status", &lines).await?;
    day.ends("cluster_leader", "cluster leader m9", 1).await.map(drop)
}
