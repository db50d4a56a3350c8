//! Objects that are no nodes: the leaf that hosts one decides for it and carries that out, also
//! while it is cut off.

use std::{fs, path::PathBuf};

use kraken_engine::{
    fleet::Fleet,
    manifest::{KindSpec, SeenBy},
    object::{HOST_PATH, VIA_PATH},
};

use super::*;
use crate::module::{Looker, ObjectView};

/// Bulbs, each of which is a file that says whether it is lit.
pub(super) struct Bulbs {
    kit: Kit,
}

impl Actor for Bulbs {
    type Context = Context<Self>;
}

impl Module for Bulbs {
    type Config = ();

    fn manifest() -> Manifest {
        let states = || Type::enum_of(["OFF", "ON"]);
        let bulb = Extension::new("bulb")
            .kind("bulb")
            .path(PathSpec::new("/lit", states()).absent("OFF"))
            .path(PathSpec::new("/fuse", states()).seen_by(SeenBy::Parent))
            .path(PathSpec::new("/glow", states()))
            .path(PathSpec::input("/socket", Type::Text))
            .path(PathSpec::input(HOST_PATH, Type::Text))
            .path(PathSpec::input(VIA_PATH, Type::Text));
        let set = |name: &str, path: &str, context| {
            MutationSpec::new(name).kind("bulb").context(context).changes(path, "OFF", "ON")
        };
        Manifest::new("bulbs")
            .extension(bulb)
            .kind(KindSpec::new("bulb").namespaced())
            .discovers("/lit")
            .discovers("/fuse")
            .discovers("/glow")
            .mutation(
                set("Glow", "/glow", kraken_engine::mutation::Context::Itself)
                    .requires("/fuse = ON")
                    .requires("@/socket /lamp = ON"),
            )
            .mutation(set("Light", "/lit", kraken_engine::mutation::Context::Itself))
            .mutation(set("Fuse", "/fuse", kraken_engine::mutation::Context::Parent))
            .poll(Duration::from_millis(50))
    }

    fn build((): (), kit: Kit) -> Result<Self, ConfigureError> {
        Ok(Self { kit })
    }
}

impl Bulbs {
    fn file(&self, bulb: &Name, what: &str) -> PathBuf {
        self.kit.data.join(format!("{bulb}.{what}"))
    }

    /// What is seen of a bulb, by those for whom this node looks.
    fn seen(&self, bulb: &ObjectView) -> Vec<(Path, Option<Value>)> {
        let looks = [(Looker::Host, "lit"), (Looker::Host, "glow"), (Looker::Parent, "fuse")];
        let looks = looks.into_iter().filter(|(looker, _)| bulb.lookers.contains(looker));
        let seen = looks.map(|(_, what)| {
            let state = fs::read_to_string(self.file(&bulb.key.name, what));
            let value = state.unwrap_or_else(|_| "OFF".to_owned());
            (Path::new(format!("/{what}")).unwrap(), Some(value.as_str().into()))
        });
        seen.collect()
    }
}

impl Handler<Mutate> for Bulbs {
    type Result = ResponseFuture<Result<(), MutateError>>;

    fn handle(&mut self, mutate: Mutate, _: &mut Self::Context) -> Self::Result {
        let what = match mutate.mutation.as_str() {
            "Light" => "lit",
            "Glow" => "glow",
            _ => "fuse",
        };
        fs::write(self.file(&mutate.object.key.name, what), "ON").unwrap();
        let (look, seen) = (self.kit.reporter.look(), self.seen(&mutate.object));
        Box::pin(async move {
            look.saw(mutate.object.uid, seen).await;
            Ok(())
        })
    }
}

impl Handler<Poll> for Bulbs {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, poll: Poll, _: &mut Self::Context) -> Self::Result {
        let look = self.kit.reporter.look();
        let seen: Vec<_> = poll.objects.iter().map(|bulb| (bulb.uid, self.seen(bulb))).collect();
        Box::pin(async move {
            for (uid, values) in seen {
                look.saw(uid, values).await;
            }
        })
    }
}

fn bulb(named: &str) -> ObjectRef {
    ObjectRef { kind: name("bulb"), namespace: Some(name("hall")), name: name(named) }
}

/// Asks for a bulb with these values.
pub(super) async fn put(fixture: &Fixture, named: &str, cfg: &[(&str, &str)]) -> Uid {
    put_of(fixture, bulb(named), cfg).await
}

/// Asks for an object with these values.
pub(super) async fn put_of(fixture: &Fixture, key: ObjectRef, cfg: &[(&str, &str)]) -> Uid {
    let mut set = State::new();
    for (path, value) in cfg {
        set.set(Path::new(path).unwrap(), (*value).into()).unwrap();
    }
    let put = Op::Put { object: key.clone(), labels: None, owner: None, cfg: set };
    fixture.commit(put).await;
    let find = move |fleet: &Fleet| fleet.objects().find(|o| o.key == key).map(|o| o.uid);
    let state = fixture.member.state().clone();
    let found = eventually(&state, "it is known", async || state.read(find.clone()).await);
    found.await
}

/// Waits until something can be said, looking again whenever something changes.
pub(super) async fn eventually<T, E: std::fmt::Debug>(
    state: &StateHandle,
    what: &str,
    look: impl AsyncFn() -> Result<Option<T>, E>,
) -> T {
    let changed = state.watch_objects().await;
    let looking = async {
        loop {
            changed.take();
            if let Some(found) = look().await.unwrap() {
                return found;
            }
            changed.marked().await;
        }
    };
    if let Ok(found) = timeout(BOUND, looking).await {
        return found;
    }
    let known = |fleet: &Fleet| {
        let bulbs = fleet.objects().filter(|object| object.key.kind.as_str() == "bulb");
        let bulbs = bulbs.map(|bulb| format!("{:?} {:?}", bulb.cfg, fleet.dsc(bulb.uid)));
        let link = |object: &kraken_engine::object::Object| {
            Some(fleet.dsc(object.uid).get("/link")?.clone())
        };
        let links = fleet.objects().filter_map(|o| Some(format!("{} {:?}", o.key.name, link(o)?)));
        links.chain(bulbs).collect::<Vec<_>>()
    };
    panic!("not within {BOUND:?}: {what}; known: {:?}", state.read(known).await);
}

/// Waits until a node knows a value of a bulb.
pub(super) async fn shows(state: &StateHandle, uid: Uid, path: &'static str, value: &'static str) {
    let shown = move |fleet: &Fleet| {
        let held = fleet.dsc(uid).value(path).and_then(Value::as_str) == Some(value);
        held.then_some(())
    };
    eventually(state, &format!("{path} is {value}"), async || state.read(shown).await).await;
}

async fn decides(state: &StateHandle, uid: Uid, phase: PhaseName) {
    let said = move |fleet: &Fleet| {
        Status::of_lane(&fleet.dsc(uid), kraken_engine::mutation::Lane::Itself)
            .filter(|status| status.phase == phase)
            .map(|_| ())
    };
    eventually(state, &format!("it is {phase:?}"), async || state.read(said).await).await;
}

/// A cable that can be cut, and mended.
pub(super) struct Cable {
    pub(super) address: String,
    pub(super) stands: tokio::sync::watch::Sender<bool>,
}

impl Cable {
    pub(super) async fn to(parent: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (stands, stood) = tokio::sync::watch::channel(true);
        actix_rt::spawn(async move {
            while let Ok((mut down, _)) = listener.accept().await {
                let (parent, mut stood) = (parent.clone(), stood.clone());
                actix_rt::spawn(async move {
                    if !*stood.borrow() {
                        return;
                    }
                    let mut up = TcpStream::connect(parent).await.unwrap();
                    tokio::select! {
                        _ = tokio::io::copy_bidirectional(&mut down, &mut up) => {}
                        _ = stood.wait_for(|stands| !stands) => {}
                    }
                });
            }
        });
        Self { address, stands }
    }
}

#[actix_rt::test]
async fn what_a_leaf_hosts_is_decided_there_also_while_it_is_cut_off() {
    let fixture = Fixture::start().await;
    let cable = Cable::to(fixture.parent()).await;
    let leaf = fixture.leaf(cable.address.clone()).await;
    fixture.until("n1", "the leaf attaches", |n1| n1.link.as_deref() == Some("UP")).await;
    let uid = put(&fixture, "b1", &[("/lit", "ON"), (HOST_PATH, "n1")]).await;
    shows(fixture.member.state(), uid, "/lit", "ON").await;
    decides(fixture.member.state(), uid, PhaseName::Converged).await;

    cable.stands.send_replace(false);
    fixture.until("n1", "the leaf is lost", |n1| n1.link.as_deref() == Some("DOWN")).await;
    let file = fixture.folder.path().join("n1/modules/bulbs/b1.lit");
    fs::write(&file, "OFF").unwrap();
    shows(leaf.state(), uid, "/lit", "OFF").await;
    shows(leaf.state(), uid, "/lit", "ON").await;
    assert_eq!(fs::read_to_string(&file).unwrap(), "ON");

    // What is asked for meanwhile is done once it is attached again.
    let late = put(&fixture, "b2", &[("/lit", "ON"), (HOST_PATH, "n1")]).await;
    cable.stands.send_replace(true);
    shows(fixture.member.state(), late, "/lit", "ON").await;
    leaf.stop().await;
    fixture.member.stop().await;
}

#[actix_rt::test]
async fn a_leaf_that_starts_while_nobody_answers_goes_on_with_what_it_held() {
    let fixture = Fixture::start().await;
    let cable = Cable::to(fixture.parent()).await;
    let leaf = fixture.leaf(cable.address.clone()).await;
    fixture.until("n1", "the leaf attaches", |n1| n1.link.as_deref() == Some("UP")).await;
    // A cost is declared at run time, and kept as well.
    let costs = Manifest::new("costs").cost("bulbs/Light", Duration::from_secs(9));
    fixture.propose(Command::Add { manifests: vec![costs] }).await;
    let uid = put(&fixture, "b1", &[("/lit", "ON"), (HOST_PATH, "n1")]).await;
    shows(fixture.member.state(), uid, "/lit", "ON").await;

    cable.stands.send_replace(false);
    fixture.until("n1", "the leaf is lost", |n1| n1.link.as_deref() == Some("DOWN")).await;
    leaf.stop().await;
    let file = fixture.folder.path().join("n1/modules/bulbs/b1.lit");
    fs::write(&file, "OFF").unwrap();
    let leaf = fixture.leaf(cable.address.clone()).await;
    shows(leaf.state(), uid, "/lit", "ON").await;
    assert_eq!(fs::read_to_string(&file).unwrap(), "ON");
    let cost_ms = |fleet: &Fleet| {
        let id = "bulbs/Light".to_owned().try_into().unwrap();
        fleet.catalog().kind(&name("bulb"))?.mutation(&id).map(|mutation| mutation.cost_ms)
    };
    assert_eq!(leaf.state().read(cost_ms).await.unwrap(), Some(9_000));

    // What was asked for meanwhile wins once somebody answers, and what happened is told.
    put(&fixture, "b1", &[("/lit", "ON"), (HOST_PATH, "m1")]).await;
    let late = put(&fixture, "b2", &[("/lit", "ON"), (HOST_PATH, "n1")]).await;
    cable.stands.send_replace(true);
    shows(fixture.member.state(), late, "/lit", "ON").await;
    let gone = move |fleet: &Fleet| fleet.object(uid).is_none().then_some(());
    eventually(leaf.state(), "the leaf holds it no more", async || leaf.state().read(gone).await)
        .await;
    let events = fixture.member.state().newest_events(1_000).await.unwrap();
    let lit = events.iter().filter(|(_, event)| event.text.contains("bulbs/Light"));
    assert!(lit.count() >= 2, "what was done while nobody listened is not told");
    leaf.stop().await;
    fixture.member.stop().await;
}

#[actix_rt::test]
async fn what_moves_to_another_host_is_decided_by_that_one_alone() {
    let fixture = Fixture::start().await;
    let leaf = fixture.leaf(fixture.parent()).await;
    fixture.until("n1", "the leaf attaches", |n1| n1.link.as_deref() == Some("UP")).await;
    let uid = put(&fixture, "b1", &[("/lit", "ON"), (HOST_PATH, "m1")]).await;
    shows(fixture.member.state(), uid, "/lit", "ON").await;
    let lit = |node: &str| fixture.folder.path().join(node).join("modules/bulbs/b1.lit");
    assert!(!lit("n1").exists());

    put(&fixture, "b1", &[("/lit", "ON"), (HOST_PATH, "n1")]).await;
    eventually(leaf.state(), "it is lit there", async || {
        Ok::<_, ()>(lit("n1").exists().then_some(()))
    })
    .await;
    shows(leaf.state(), uid, "/lit", "ON").await;
    put(&fixture, "b1", &[("/lit", "ON"), (HOST_PATH, "m1")]).await;
    let gone = move |fleet: &Fleet| fleet.object(uid).is_none().then_some(());
    eventually(leaf.state(), "the leaf holds it no more", async || leaf.state().read(gone).await)
        .await;
    leaf.stop().await;
    fixture.member.stop().await;
}

#[actix_rt::test]
async fn what_is_reached_through_a_leaf_is_done_and_seen_by_it() {
    let fixture = Fixture::start().await;
    let leaf = fixture.leaf(fixture.parent()).await;
    fixture.until("n1", "the leaf attaches", |n1| n1.link.as_deref() == Some("UP")).await;
    let uid = put(&fixture, "b1", &[("/fuse", "ON"), (HOST_PATH, "m1"), (VIA_PATH, "n1")]).await;
    shows(fixture.member.state(), uid, "/fuse", "ON").await;
    let fuse = |node: &str| fixture.folder.path().join(node).join("modules/bulbs/b1.fuse");
    assert!(fuse("n1").exists() && !fuse("m1").exists());
    leaf.stop().await;
    fixture.member.stop().await;
}

#[actix_rt::test]
async fn a_leaf_waits_for_what_others_see_and_for_other_objects() {
    let fixture = Fixture::start().await;
    let leaf = fixture.leaf(fixture.parent()).await;
    fixture.until("n1", "the leaf attaches", |n1| n1.link.as_deref() == Some("UP")).await;
    let cfg = [("/glow", "ON"), (HOST_PATH, "n1"), (VIA_PATH, "m1"), ("/socket", "m1")];
    let uid = put(&fixture, "b1", &cfg).await;
    // The member sees to the fuse, and the leaf is told; the lamp is nobody's goal.
    shows(leaf.state(), uid, "/fuse", "ON").await;
    let waits = move |fleet: &Fleet| {
        let lane = kraken_engine::mutation::Lane::Itself;
        let said = Status::of_lane(&fleet.dsc(uid), lane)?.waits_for?;
        said.contains("@/socket /lamp = ON").then_some(())
    };
    let state = fixture.member.state();
    eventually(state, "it waits for the lamp", async || state.read(waits).await).await;
    let glow = fixture.folder.path().join("n1/modules/bulbs/b1.glow");
    assert!(!glow.exists());
    fixture.merge_of("m1", "/lamp", "ON").await;
    shows(state, uid, "/glow", "ON").await;
    assert!(glow.exists());
    leaf.stop().await;
    fixture.member.stop().await;
}

#[actix_rt::test]
async fn a_leaf_decides_with_what_is_declared_at_run_time_and_says_so() {
    let fixture = Fixture::start().await;
    let leaf = fixture.leaf(fixture.parent()).await;
    fixture.until("n1", "the leaf attaches", |n1| n1.link.as_deref() == Some("UP")).await;
    let costs = Manifest::new("costs").cost("bulbs/Light", Duration::from_secs(9));
    fixture.propose(Command::Add { manifests: vec![costs] }).await;
    let light = |fleet: &Fleet| {
        let id = "bulbs/Light".to_owned().try_into().unwrap();
        let cost_ms = fleet.catalog().kind(&name("bulb"))?.mutation(&id)?.cost_ms;
        (cost_ms == 9_000).then(|| fleet.catalog().word())
    };
    let word = eventually(leaf.state(), "the leaf knows", async || leaf.state().read(light).await);
    let word = word.await;
    let state = fixture.member.state();
    let says = move |fleet: &Fleet| {
        assert_eq!(fleet.catalog().word(), word, "the members have the same");
        let said = fleet.dsc(fleet.node(&name("n1"))?.uid);
        let said = said.value(kraken_engine::catalog::CATALOG_PATH)?.as_str()? == word;
        said.then_some(())
    };
    eventually(state, "the member knows", async || state.read(says.clone()).await).await;
    leaf.stop().await;
    fixture.member.stop().await;
}
