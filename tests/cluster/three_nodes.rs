//! The deployment for three machines in `examples/three_nodes`: its units as systemd reads them,
//! and its configuration files on machines with the addresses that stand in them.

use std::{
    collections::BTreeMap,
    fs,
    net::Ipv4Addr,
    os::unix::net::UnixDatagram,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use kraken_testkit::{
    cli::Cli,
    cluster::{services, text},
    edge::Edge,
    is_root,
    job::Job,
    lab::Lab,
    lock::Lock,
    measured, needs,
    process::Sweep,
    tool, wait_until,
};
use nix::sys::signal::Signal;
use tempfile::TempDir;

use crate::{
    KRAKEN,
    manifests::{CONVERGED_MAX, web},
};

const EXAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/three_nodes");
const INSTALLED: &str = "/usr/local/bin/kraken";
const MEMBERS: [&str; 3] = ["m1", "m2", "m3"];
/// The side of the network on which the tests are, and a fourth machine.
const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 254);
const LEAF: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 11);
/// How long no write may be taken while another leader is found.
const WRITES_AGAIN_MAX: Duration = Duration::from_secs(3);
/// How long a unit may take to be up, or to end in good order.
const UNIT_MAX: Duration = Duration::from_secs(30);

/// A unit's text.
fn unit(name: &str) -> Result<String> {
    let file = Path::new(EXAMPLE).join(format!("kraken-{name}.service"));
    fs::read_to_string(&file).with_context(|| file.display().to_string())
}

/// The value of a key that a unit gives once.
fn key<'a>(unit: &'a str, key: &str) -> Result<&'a str> {
    let line = unit.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
    line.with_context(|| format!("the unit has no {key}"))
}

#[test]
fn units_pass_systemd_analyze() -> Result<()> {
    if !needs("systemd-analyze", tool::has("systemd-analyze"))? {
        return Ok(());
    }
    let folder = tempfile::tempdir()?;
    for name in ["server", "agent"] {
        // Only the program is elsewhere than where the unit expects it.
        let text = unit(name)?;
        ensure!(text.contains(INSTALLED), "{name} does not run {INSTALLED}");
        let file = folder.path().join(format!("kraken-{name}.service"));
        fs::write(&file, text.replace(INSTALLED, KRAKEN))?;
        let verify =
            Command::new("systemd-analyze").args(["verify", "--man=no"]).arg(&file).output()?;
        let said = String::from_utf8_lossy(&verify.stderr);
        assert!(verify.status.success() && said.is_empty(), "{name}: {said}");
    }
    // A leaf that is stopped must leave what it keeps running; a member has nothing to leave.
    assert_eq!(key(&unit("agent")?, "KillMode")?, "process");
    Ok(())
}

/// The machines of the example, each with its unit.
struct Site {
    jobs: BTreeMap<String, Job>,
    notices: BTreeMap<String, UnixDatagram>,
    lab: Lab,
    _sweep: Sweep,
    folder: TempDir,
    _lock: Lock,
}

impl Site {
    fn build() -> Result<Self> {
        let lock = Lock::take()?;
        let folder = tempfile::Builder::new().prefix("kraken-site-").tempdir()?;
        let mut hosts = Vec::new();
        for member in MEMBERS {
            hosts.push((member, address(member)?));
        }
        hosts.push(("n1", LEAF));
        let lab = Lab::new(GATEWAY, &hosts)?;
        let mut site = Self {
            jobs: BTreeMap::new(),
            notices: BTreeMap::new(),
            lab,
            _sweep: Sweep::of(folder.path()),
            folder,
            _lock: lock,
        };
        for member in MEMBERS {
            site.install(member, "server", &format!("{member}.toml"))?;
        }
        site.install("n1", "agent", "leaf.toml")?;
        Ok(site)
    }

    /// What a unit starts, on its machine, with the configuration file of the example. Of that only
    /// the folder is another one: the machines share this one's disk.
    fn install(&mut self, host: &str, verb: &str, config: &str) -> Result<()> {
        let folder = self.folder.path().join(host);
        fs::create_dir(&folder)?;
        let start = key(&unit(verb)?, "ExecStart")?.to_owned();
        let config = Path::new(EXAMPLE).join(config).display().to_string();
        let start = start.replace(INSTALLED, KRAKEN);
        let start = start.replace(&format!("/etc/kraken/{verb}.toml"), &config);
        let mut words = self.lab.host(host)?.prefix();
        words.extend(start.split(' ').map(str::to_owned));
        let more = ["--name", host, "--data", &folder.join("data").display().to_string()];
        words.extend(more.map(str::to_owned));
        words.push("--exit-with-parent".to_owned());
        let socket: PathBuf = folder.join("notify");
        let notice = UnixDatagram::bind(&socket)?;
        notice.set_nonblocking(true)?;
        let job = Job::new(host, words.remove(0), &folder).args(words);
        let job = job.env("NOTIFY_SOCKET", socket).env("WATCHDOG_USEC", "2000000");
        self.notices.insert(host.to_owned(), notice);
        self.jobs.insert(host.to_owned(), job);
        Ok(())
    }

    /// Waits until a unit tells systemd something.
    async fn told(&self, host: &str, notice: &str) -> Result<()> {
        let socket = self.notices.get(host).context("no such host")?;
        wait_until(&format!("{host} tells {notice}"), UNIT_MAX, async || {
            let mut buffer = [0_u8; 256];
            let read = socket.recv(&mut buffer).context("it is silent")?;
            let told = String::from_utf8_lossy(buffer.get(..read).unwrap_or_default()).into_owned();
            ensure!(told.contains(notice), "it tells {told}");
            Ok(())
        })
        .await
        .with_context(|| self.jobs.get(host).map(Job::tail).unwrap_or_default())
    }

    fn edge(members: &[&str]) -> Result<Edge> {
        let urls = members.iter().map(|member| url(member)).collect::<Result<Vec<String>>>()?;
        Edge::new(&urls)
    }

    /// Waits until one of these members says that it leads all of the quorum.
    async fn leader(&self, among: &[&str]) -> Result<String> {
        wait_until(&format!("one of {among:?} leads"), UNIT_MAX, async || {
            for member in among {
                let quorum = Self::edge(&[member])?.cluster().await?;
                let voters = quorum.members.iter().filter(|member| member.voter).count();
                if quorum.role == "LEADER" && voters == MEMBERS.len() {
                    return Ok((*member).to_owned());
                }
            }
            anyhow::bail!("nobody does")
        })
        .await
    }
}

/// The address that a member's configuration file gives it.
fn address(member: &str) -> Result<Ipv4Addr> {
    let (host, _) = listen(member)?
        .split_once(':')
        .map(|(h, p)| (h.to_owned(), p.to_owned()))
        .context("http.listen has no port")?;
    Ok(host.parse()?)
}

fn url(member: &str) -> Result<String> {
    Ok(format!("http://{}", listen(member)?))
}

fn listen(member: &str) -> Result<String> {
    let file = Path::new(EXAMPLE).join(format!("{member}.toml"));
    let table: toml::Table = fs::read_to_string(&file)?.parse()?;
    let listen = table.get("http").and_then(|http| http.get("listen")?.as_str());
    Ok(listen.with_context(|| format!("{} has no http.listen", file.display()))?.to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn three_machines_form_a_quorum_that_outlives_a_pulled_cable() -> Result<()> {
    if !needs("root, to make network namespaces", is_root())? {
        return Ok(());
    }
    let mut site = Site::build()?;
    // In the order in which it must not matter: the founder last.
    for host in ["n1", "m3", "m2", "m1"] {
        site.jobs.get_mut(host).context("no such host")?.start()?;
    }
    for host in ["m1", "m2", "m3", "n1"] {
        site.told(host, "READY=1").await?;
        site.told(host, "WATCHDOG=1").await?;
    }
    let leader = site.leader(&MEMBERS).await?;
    let edge = Site::edge(&MEMBERS)?;
    wait_until("the leaf is attached", UNIT_MAX, async || {
        let link = text(&edge.node("n1").await?, "/link");
        ensure!(link == "UP", "its link is {link:?}");
        Ok(())
    })
    .await?;
    edge.apply(&web("n1")).await?;
    let web = wait_until("the leaf keeps what is asked for", CONVERGED_MAX, async || {
        let mut services = services(&edge.nodes().await?)?;
        services.remove(&("n1".to_owned(), "web".to_owned())).context("it does not")
    })
    .await?;

    let others: Vec<&str> = MEMBERS.into_iter().filter(|member| *member != leader).collect();
    let since = Instant::now();
    site.lab.unplug(&leader)?;
    let rest = Site::edge(&others)?;
    rest.apply(&web_of_others()).await?;
    measured("first write after the leader's cable was pulled", since.elapsed());
    assert!(since.elapsed() < WRITES_AGAIN_MAX, "{:?}", since.elapsed());
    assert!(others.contains(&site.leader(&others).await?.as_str()));
    assert!(web.is_alive());
    site.lab.plug_back(&leader)?;
    let back = Site::edge(&[&leader])?;
    let written = rest.cluster().await?.revision;
    wait_until("the cut off member has caught up", UNIT_MAX, async || {
        let quorum = back.cluster().await?;
        ensure!(quorum.revision >= written && quorum.role == "FOLLOWER", "{quorum:?}");
        Ok(())
    })
    .await?;

    // What a person does from one of the machines.
    let prefix = site.lab.host("n1")?.prefix();
    let prefix: Vec<&str> = prefix.iter().map(String::as_str).collect();
    let servers = MEMBERS.map(url).into_iter().collect::<Result<Vec<String>>>()?;
    let status = Cli::new(KRAKEN, &servers).through(&prefix).run(&["cluster", "status"]).await?;
    assert!(MEMBERS.iter().all(|member| status.contains(member)), "{status}");

    for host in ["n1", "m3", "m2", "m1"] {
        let job = site.jobs.get_mut(host).context("no such host")?;
        job.signal(Signal::SIGTERM)?;
        let status = job.end_within(UNIT_MAX).await?;
        assert!(status.success(), "{host} ended with {status}; {}", job.tail());
        site.told(host, "STOPPING=1").await?;
    }
    assert!(web.is_alive(), "the service went with its agent");
    Ok(())
}

/// Something to write.
fn web_of_others() -> String {
    web("n[2-3]")
}
