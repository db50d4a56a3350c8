//! The page, as people use it: in a real browser, by clicks and keys, against real members.
//!
//! Pictures of every view, light and dark, wide and on a phone, are left in `target/tmp/page`.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use kraken_engine::nodeset;
use kraken_testkit::{
    browser::{Browser, Page},
    cluster::{Shape, TestCluster},
    edge::call,
    needs,
    page::PageLoad,
    wait_until,
};
use serde_json::{Value as Json, json};

use crate::KRAKEN;

/// What finds faults of accessibility; `.ci/run` puts it there.
const AXE: &str =
    concat!(env!("CARGO_MANIFEST_DIR"), "/target/axe/node_modules/axe-core/axe.min.js");
const WIDE: (u32, u32) = (1_440, 900);
const PHONE: (u32, u32) = (390, 844);
const SOON: Duration = Duration::from_secs(30);
/// Machines that take their time, and of which some fail.
const SIM: &str = "[modules.sim]\nin_memory = true\nseed = 7\n\
                   every = { latency_min_ms = 50, latency_max_ms = 400 }\n";

/// A cluster, a browser, and the page of a member in it.
struct Scene {
    cluster: TestCluster,
    _browser: Browser,
    page: Page,
}

impl Scene {
    /// Nothing where this machine has no browser.
    async fn start(shape: &Shape) -> Result<Option<Self>> {
        if !needs("chromium", Browser::program().is_some())? {
            return Ok(None);
        }
        let cluster = TestCluster::start(KRAKEN, shape).await?;
        let browser = Browser::start().await?;
        let page = browser.page().await?;
        page.size(WIDE, false).await?;
        Ok(Some(Self { cluster, _browser: browser, page }))
    }

    /// Opens a place of the page that m1 serves, and waits until it is live.
    async fn open(&self, place: &str) -> Result<()> {
        self.page.go(&format!("{}/{place}", self.cluster.url("m1")?)).await?;
        self.live().await
    }

    async fn live(&self) -> Result<()> {
        let pill = "document.getElementById('connection').dataset.state === 'live'";
        self.page.until("the page is live", pill).await
    }

    /// Goes to a place without loading the page again.
    async fn turn(&self, place: &str) -> Result<()> {
        self.page.eval(&format!("location.hash = {}", json!(place))).await.map(drop)
    }

    /// Waits until the legend counts so many nodes of a phase.
    async fn counts(&self, phase: &str, number: usize) -> Result<()> {
        let shown = format!("document.querySelector('.key[data-phase={phase}] .number')");
        let shown = format!("{shown}.textContent === '{number}'");
        self.page.until(&format!("{number} are {phase}"), &shown).await
    }

    async fn post(&self, path: &str, body: &Json) -> Result<()> {
        let answer = self.cluster.edge()?.ask(call("POST", path)?.json(body)).await?;
        ensure!(answer.is_success(), "{answer:?}");
        Ok(())
    }

    /// So many machines in racks of four.
    async fn machines(&self, count: usize) -> Result<()> {
        let machine = |number: usize| {
            json!({
                "name": format!("c{number:02}"),
                "labels": { "rack": format!("r{}", (number - 1) / 4 + 1) },
                "cfg": { "physState": "POWER_ON" },
            })
        };
        self.post("/v1/nodes", &(1..=count).map(machine).collect()).await
    }

    /// What people see in all of its forms, for whoever wants to look; and none of them is wider
    /// than the screen.
    async fn pictures(&self, name: &str) -> Result<()> {
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("page");
        fs::create_dir_all(&folder)?;
        for (size, screen) in [(WIDE, "wide"), (PHONE, "phone")] {
            self.page.size(size, screen == "phone").await?;
            for (dark, theme) in [(false, "light"), (true, "dark")] {
                self.page.dark(dark).await?;
                self.page.picture(&folder.join(format!("{name}-{screen}-{theme}.png"))).await?;
                self.accessible(&format!("{name}, {screen}, {theme}")).await?;
            }
            let fits = "document.documentElement.scrollWidth <= innerWidth";
            self.page.until(&format!("{name} fits a {screen} screen"), fits).await?;
        }
        self.page.dark(false).await?;
        self.page.size(WIDE, false).await
    }

    /// Nothing stands in the way of those who do not see or click.
    async fn accessible(&self, what: &str) -> Result<()> {
        if self.page.eval("typeof axe").await? == "undefined" {
            let source = fs::read_to_string(AXE).with_context(|| AXE)?;
            self.page.eval(&format!("{source}\n;true")).await?;
        }
        let told = self.page.eval(
            "axe.run(document, {resultTypes: ['violations']}).then(({violations}) => \
             violations.map(({id, nodes}) => ({id, at: nodes.map(({html, any, all}) => \
             [html, ...[...any, ...all].map(({message}) => message)])})))",
        );
        let told = told.await?;
        ensure!(told == json!([]), "{what}: {told:#}");
        Ok(())
    }

    /// Nothing went wrong in the page itself.
    fn pass(self) -> Result<()> {
        let complaints = self.page.complaints();
        ensure!(complaints.is_empty(), "the page complains: {complaints:#?}");
        self.cluster.pass()
    }
}

fn has_axe() -> Result<bool> {
    needs("axe-core; npm install --prefix target/axe axe-core", Path::new(AXE).exists())
}

/// Members that simulate machines, and so many leaves.
fn shape(members: usize, leaves: usize) -> Shape {
    Shape { more: SIM.to_owned(), ..Shape::of(members, leaves) }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_view_is_shown_read_and_linked() -> Result<()> {
    if !has_axe()? {
        return Ok(());
    }
    let Some(scene) = Scene::start(&shape(3, 1)).await? else { return Ok(()) };
    let page = &scene.page;
    scene.machines(12).await?;
    let web = json!({ "state": "RUN", "command": "sleep", "args": ["infinity"] });
    scene.cluster.edge()?.patch("n1", &json!({ "services": { "web": web } })).await?;

    scene.open("").await?;
    scene.counts("Converged", 16).await?;
    page.choose("#by", "rack").await?;
    page.shows("rack r3").await?;
    page.until("the address tells it", "location.hash === '#/fleet?by=rack'").await?;
    scene.pictures("fleet").await?;

    page.fill("#search", "rack=r2").await?;
    page.shows("4 of 16 nodes").await?;
    page.fill("#search", "c[01-03]").await?;
    page.shows("3 of 16 nodes").await?;
    page.fill("#search", "nobody").await?;
    page.shows("Nothing matches").await?;
    page.click_text("Show all nodes").await?;
    page.shows("16 nodes").await?;
    page.click(".key[data-phase=Stuck]").await?;
    page.shows("0 of 16 nodes").await?;
    page.click(".key[data-phase=Stuck]").await?;
    page.choose("#form", "list").await?;
    page.until("each is a row", "document.querySelectorAll('.list tbody tr').length === 16")
        .await?;
    scene.pictures("list").await?;

    scene.turn("#/node/n1").await?;
    page.shows("Who must act").await?;
    page.shows("/services/web/state").await?;
    page.until("its graph is drawn", "document.querySelector('svg.graph .state') !== null").await?;
    page.until("its events are told", "document.querySelectorAll('.event').length > 0").await?;
    page.shows("testkit").await?;
    let n1 = json!({ "names": "n1" });
    for done in ["freeze", "thaw", "retry"] {
        scene.post(&format!("/v1/{done}"), &n1).await?;
    }
    for line in
        ["frozen by testkit (n1)", "thawed", "asked again; what failed before counts no more"]
    {
        let lines = "[...document.querySelectorAll('.history .changes li')]";
        let is_told = format!("{lines}.some(({{textContent}}) => textContent === {})", json!(line));
        page.until(&format!("its history tells {line:?}"), &is_told).await?;
    }
    scene.pictures("node").await?;

    scene.turn("#/quorum").await?;
    page.shows("Latest writes").await?;
    page.until("all members are shown", "document.querySelectorAll('.member').length === 3")
        .await?;
    scene.pictures("quorum").await?;
    scene.turn("#/events").await?;
    page.until("events are told", "document.querySelectorAll('.event').length > 10").await?;
    page.choose("[aria-label='Kind of event']", "converged").await?;
    let only = "[...document.querySelectorAll('.event')].every(({dataset}) => \
                dataset.kind === 'converged')";
    page.until("only those are", only).await?;
    scene.pictures("events").await?;

    scene.turn("#/node/nobody").await?;
    page.shows("there is no node nobody").await?;
    scene.pass()
}

#[tokio::test(flavor = "multi_thread")]
async fn fleet_is_gone_through_with_keys_alone() -> Result<()> {
    let Some(scene) = Scene::start(&shape(1, 0)).await? else { return Ok(()) };
    let page = &scene.page;
    scene.open("#/fleet?by=rack").await?;
    scene.machines(8).await?;
    page.shows("rack r2").await?;
    // The slash leads to the search, and Enter from there to the cells.
    page.write("/").await?;
    page.write("rack=r1").await?;
    page.shows("4 of 9 nodes").await?;
    page.press("Enter").await?;
    let at = |name: &str| {
        format!(
            "document.getElementById(document.activeElement.getAttribute('aria-activedescendant'))\
             ?.textContent.startsWith('{name},')"
        )
    };
    page.until("the cursor is at the first", &at("c01")).await?;
    page.press("ArrowRight").await?;
    page.until("it is at the second", &at("c02")).await?;
    page.press("End").await?;
    page.until("it is at the last", &at("c04")).await?;
    page.press("Home").await?;
    page.press(" ").await?;
    page.shows("1 selected").await?;
    page.press_shift("ArrowRight").await?;
    page.press_shift("ArrowRight").await?;
    page.shows("3 selected").await?;
    page.until("the address tells it", "location.hash.includes('sel=c%5B01-03%5D')").await?;
    page.press("Escape").await?;
    page.until("nothing is chosen", "document.querySelector('.actions').hidden").await?;
    page.press("Enter").await?;
    page.until("the node is open", "location.hash === '#/node/c03'").await?;
    page.shows("Who must act").await?;
    // What stands in the address is what the rest of the system calls a node set.
    let names = ["n1", "n2", "n10", "c001", "c099", "c100", "gw", "r01-n2", "r01-n3", "a9b"];
    let folded = format!("import('/page/nodeset.js').then(({{fold}}) => fold({}))", json!(names));
    let folded = page.eval(&folded).await?;
    let folded = folded.as_str().context("a node set")?;
    let expanded: BTreeSet<String> =
        nodeset::expand(folded)?.iter().map(ToString::to_string).collect();
    assert_eq!(expanded, names.map(str::to_owned).into(), "{folded}");
    let again = format!("import('/page/nodeset.js').then((it) => it.fold(it.expand({folded:?})))");
    assert_eq!(page.eval(&again).await?, folded);
    // A click does the same, and with Shift it chooses.
    scene.turn("#/fleet").await?;
    page.shows("9 nodes").await?;
    let first = page.eval(
        "(() => { const box = document.querySelector('.cells canvas').getBoundingClientRect(); \
         return [box.x + 20, box.y + 20]; })()",
    );
    let first = first.await?;
    let place = |index: usize| first[index].as_f64().context("a place");
    page.click_at(place(0)?, place(1)?, true).await?;
    page.shows("selected").await?;
    page.click_at(place(0)?, place(1)?, false).await?;
    page.until("it is open", "location.hash === '#/node/c01'").await?;
    scene.pass()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_done_is_planned_confirmed_and_guarded() -> Result<()> {
    let Some(scene) = Scene::start(&shape(3, 1)).await? else { return Ok(()) };
    let page = &scene.page;
    let edge = scene.cluster.edge()?;
    scene.machines(4).await?;
    scene.open("#/fleet?sel=c[01-02]").await?;
    scene.counts("Converged", 8).await?;

    // Set: planned, then written.
    page.click_text("Set…").await?;
    page.fill("dialog [name=path]", "/physState").await?;
    page.fill("dialog [name=value]", "NOWHERE").await?;
    page.click_text("Show the plan").await?;
    page.shows("NOWHERE").await?;
    page.until("it is refused", "document.querySelector('dialog .problem') !== null").await?;
    page.fill("dialog [name=value]", "POWER_OFF").await?;
    page.fill("dialog [name=note]", "night").await?;
    page.fill("dialog [name=author]", "ada").await?;
    page.click_text("Show the plan").await?;
    page.shows("sim/PowerOff").await?;
    page.shows("2 nodes would change").await?;
    scene.pictures_if_axe("plan").await?;
    // Cfg moves on before it is confirmed: it is refused, and planned again.
    edge.patch("c04", &json!({ "physState": "POWER_OFF" })).await?;
    page.click_text("Apply").await?;
    page.shows("look at the plan again").await?;
    assert_eq!(asked(&scene, "c01", "/physState").await?, "POWER_ON");
    page.click_text("Try again").await?;
    page.click_text("Apply").await?;
    page.shows("2 objects changed").await?;
    assert_eq!(asked(&scene, "c02", "/physState").await?, "POWER_OFF");

    // Freeze, from the view of a node, seen at once.
    scene.turn("#/node/c01").await?;
    page.shows("ada").await?;
    page.shows("night").await?;
    page.click_text("Freeze…").await?;
    page.click("dialog button[type=submit]").await?;
    page.shows("by ada").await?;
    page.until(
        "it is frozen",
        "document.querySelector('h1 ~ .badges .phase').dataset.phase === 'Frozen'",
    )
    .await?;
    let frozen = edge.node("c01").await?.frozen.context("it is frozen")?;
    assert_eq!((frozen.by.as_str(), frozen.scope.as_str()), ("ada", "c01"));
    page.click_text("Thaw…").await?;
    page.shows("What comes next").await?;
    page.until(
        "it is planned",
        "document.querySelector('dialog .plan code')?.textContent === 'c01'",
    )
    .await?;
    page.click("dialog button[type=submit]").await?;
    page.shows("Thawed").await?;
    assert_eq!(edge.node("c01").await?.frozen, None);
    page.click_text("Retry…").await?;
    page.shows("What comes next").await?;
    page.click("dialog button[type=submit]").await?;
    page.shows("Tried again").await?;

    // What others do is seen without a click: a freeze by a label, which is thawed by that label.
    scene.post("/v1/freeze", &json!({ "selector": "rack=r1" })).await?;
    scene.turn("#/fleet?q=rack%3Dr1&sel=c03").await?;
    scene.counts("Frozen", 4).await?;
    page.click_text("Thaw…").await?;
    page.shows("thawed with them").await?;
    page.shows("What comes next").await?;
    page.click("dialog button[type=submit]").await?;
    scene.counts("Frozen", 0).await?;
    scene.pass()
}

impl Scene {
    async fn pictures_if_axe(&self, name: &str) -> Result<()> {
        if Path::new(AXE).exists() { self.pictures(name).await } else { Ok(()) }
    }
}

/// What is asked of a node at a path.
async fn asked(scene: &Scene, node: &str, path: &str) -> Result<String> {
    let view = scene.cluster.edge()?.node(node).await?;
    let value = view.cfg.as_ref().and_then(|cfg| cfg.pointer(path)).and_then(Json::as_str);
    Ok(value.unwrap_or_default().to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_leaf_and_lost_member_are_seen_and_so_is_their_return() -> Result<()> {
    let Some(mut scene) = Scene::start(&shape(3, 2)).await? else { return Ok(()) };
    scene.open("").await?;
    scene.counts("Converged", 5).await?;
    scene.cluster.kill9("n2")?;
    scene.counts("Down", 1).await?;
    scene.cluster.start_node("n2")?;
    scene.counts("Down", 0).await?;

    for member in ["m2", "m3"] {
        scene.cluster.kill9(member)?;
    }
    scene.page.shows("No member leads the quorum").await?;
    scene.pictures_if_axe("leaderless").await?;
    for member in ["m2", "m3"] {
        scene.cluster.start_node(member)?;
    }
    let gone = "document.getElementById('leaderless').hidden";
    scene.page.until("the quorum is led again", gone).await?;
    scene.cluster.ready().await?;

    scene.cluster.kill9("m1")?;
    scene.page.shows("Connection to m1 is lost").await?;
    scene.page.shows("Go on with m2").await?;
    scene.pictures_if_axe("lost").await?;
    let edge = scene.cluster.edge_of("m2")?;
    let frozen = wait_until("m2 takes a write", SOON, async || {
        let freeze = call("POST", "/v1/freeze")?.json(&json!({ "names": "n1" }));
        let answer = edge.ask(freeze).await?;
        ensure!(answer.is_success(), "{answer:?}");
        Ok(answer.revision)
    });
    assert!(frozen.await?.is_some());
    scene.cluster.start_node("m1")?;
    scene.live().await?;
    scene.page.shows("Connected again").await?;
    scene.counts("Frozen", 1).await?;
    scene.page.until("the banner is gone", "document.getElementById('lost').hidden").await?;
    scene.pass()
}

/// Keeps the streams that a page opens within reach, and has it fall asleep at once.
const WITHIN_REACH: &str = "
    window.sources = [];
    window.EventSource = class extends EventSource {
      constructor(...at) { super(...at); sources.push(this); }
    };
    window.fleet = () => sources.filter(({ url }) => url.includes('/v1/watch'));
    const later = window.setTimeout;
    window.setTimeout = (then, ms, ...more) => later(then, ms === 20_000 ? 0 : ms, ...more);
    window.see = (seen) => {
      Object.defineProperty(document, 'hidden', { value: !seen, configurable: true });
      document.dispatchEvent(new Event('visibilitychange'));
    };
";

#[tokio::test(flavor = "multi_thread")]
async fn page_that_lagged_or_slept_sees_all_that_it_missed() -> Result<()> {
    let Some(scene) = Scene::start(&shape(1, 2)).await? else { return Ok(()) };
    let script = json!({ "source": WITHIN_REACH });
    scene.page.call("Page.addScriptToEvaluateOnNewDocument", script).await?;
    scene.open("").await?;
    scene.counts("Converged", 3).await?;

    // What came before it was told that it had lagged is lost: it lists again.
    let lag = "fleet()[0].onmessage({ data: JSON.stringify({ type: 'LAGGED' }) })";
    scene.page.eval(lag).await?;
    let again = "fleet().length === 2 && fleet()[0].readyState === EventSource.CLOSED";
    scene.page.until("it follows anew", again).await?;
    scene.live().await?;
    scene.counts("Converged", 3).await?;

    scene.page.eval("see(false)").await?;
    let sleeps = "fleet()[1].readyState === EventSource.CLOSED";
    scene.page.until("nobody sees it, and it follows no longer", sleeps).await?;
    scene.post("/v1/freeze", &json!({ "names": "n1" })).await?;
    scene.page.eval("see(true)").await?;
    scene.live().await?;
    scene.counts("Frozen", 1).await?;
    assert_eq!(scene.page.eval("fleet().length").await?, 3);
    scene.pass()
}

#[tokio::test(flavor = "multi_thread")]
async fn newcomer_is_told_what_to_type() -> Result<()> {
    let Some(scene) = Scene::start(&Shape::of(1, 0)).await? else { return Ok(()) };
    scene.open("").await?;
    scene.page.shows("Only the members so far").await?;
    scene.page.shows("apply -f fleet.yaml").await?;
    scene.pictures_if_axe("newcomer").await?;
    scene.post("/v1/nodes", &json!({ "name": "first" })).await?;
    scene
        .page
        .until(
            "it goes when there is a node",
            "!document.body.innerText.includes('Only the members')",
        )
        .await?;
    // The theme is the reader's choice, and is kept.
    scene.page.click("#theme").await?;
    scene.page.click("#theme").await?;
    scene.page.reload().await?;
    let dark = "document.documentElement.dataset.theme === 'dark' && \
                getComputedStyle(document.documentElement).colorScheme === 'dark'";
    scene.page.until("it is dark", dark).await?;
    scene.pass()
}

#[tokio::test(flavor = "multi_thread")]
async fn frames_of_a_changing_fleet_are_measured() -> Result<()> {
    if !needs("chromium", Browser::program().is_some())? {
        return Ok(());
    }
    let load = PageLoad {
        program: KRAKEN.to_owned(),
        nodes: 200,
        changes_per_s: 20,
        time: Duration::from_secs(2),
        pictures: None,
    };
    let figures = load.run(|_| ()).await?;
    for name in ["frame.p50", "frame.p99", "memory", "shown"] {
        let name = format!("edge.page.200.{name}");
        let figure = figures.iter().find(|figure| figure.name == name);
        let figure = figure.with_context(|| format!("no {name} among {figures:?}"))?;
        assert!(figure.value > 0.0 && figure.n > 0, "{figure:?}");
    }
    Ok(())
}
