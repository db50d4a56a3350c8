//! Objects that must never run twice: the former host stops one before the next has it, and a host
//! that is cut off stops it by itself.

use std::{fs, path::PathBuf};

use kraken_engine::{
    manifest::{KindSpec, SeenBy},
    object::HOST_PATH,
};

use super::{
    hosted::{Cable, eventually, put_of},
    *,
};

/// Posts, each of which is a file that says whether it is kept here; and a record of all that is
/// done, which all nodes share.
pub(super) struct Posts {
    kit: Kit,
}

impl Actor for Posts {
    type Context = Context<Self>;
}

impl Module for Posts {
    type Config = ();

    fn manifest() -> Manifest {
        let duty = PathSpec::new("/duty", Type::enum_of(["OFF", "ON"])).absent("OFF");
        let host = PathSpec::new(HOST_PATH, Type::Text).seen_by(SeenBy::Nobody);
        let of =
            |name: &str| MutationSpec::new(name).kind("post").timeout(Duration::from_millis(500));
        Manifest::new("posts")
            .kind(KindSpec::new("post").singleton(Duration::from_secs(5)))
            .extension(Extension::new("post").kind("post").path(duty).path(host))
            .discovers("/duty")
            .mutation(of("TakeUp").changes("/duty", "OFF", "ON"))
            .mutation(of("LayDown").changes("/duty", "ON", "OFF"))
            .poll(Duration::from_millis(50))
    }

    fn build((): (), kit: Kit) -> Result<Self, ConfigureError> {
        Ok(Self { kit })
    }
}

impl Posts {
    fn seen(&self) -> Vec<(Path, Option<Value>)> {
        let kept = fs::read_to_string(self.kit.data.join("duty"));
        let kept = kept.unwrap_or_else(|_| "OFF".to_owned());
        vec![(Path::new("/duty").unwrap(), Some(kept.as_str().into()))]
    }
}

/// What was done by all nodes, in order.
fn record(folder: &std::path::Path) -> Vec<String> {
    let told = fs::read_to_string(folder.join("record")).unwrap_or_default();
    told.lines().map(str::to_owned).collect()
}

impl Handler<Mutate> for Posts {
    type Result = ResponseFuture<Result<(), MutateError>>;

    fn handle(&mut self, mutate: Mutate, _: &mut Self::Context) -> Self::Result {
        let kept = if mutate.mutation.as_str() == "TakeUp" { "ON" } else { "OFF" };
        fs::write(self.kit.data.join("duty"), kept).unwrap();
        // <folder>/<node>/modules/posts
        let mut above = self.kit.data.ancestors().skip(2);
        let node: PathBuf = above.next().unwrap().to_owned();
        let folder = above.next().unwrap();
        let node = node.file_name().unwrap().to_string_lossy().into_owned();
        let mut all = record(folder);
        all.push(format!("{node} {}", mutate.mutation));
        fs::write(folder.join("record"), all.join("\n")).unwrap();
        let (look, seen) = (self.kit.reporter.look(), self.seen());
        Box::pin(async move {
            look.saw(mutate.object.uid, seen).await;
            Ok(())
        })
    }
}

impl Handler<Poll> for Posts {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, poll: Poll, _: &mut Self::Context) -> Self::Result {
        let (look, seen) = (self.kit.reporter.look(), self.seen());
        Box::pin(async move {
            for post in &poll.objects {
                look.saw(post.uid, seen.clone()).await;
            }
        })
    }
}

/// Has a node keep the post.
async fn keeps(fixture: &Fixture, node: &str) {
    let key = ObjectRef { kind: name("post"), namespace: None, name: name("p") };
    put_of(fixture, key, &[("/duty", "ON"), (HOST_PATH, node)]).await;
}

async fn recorded(fixture: &Fixture, what: &[&str]) {
    let folder = fixture.folder.path().to_owned();
    let state = fixture.member.state();
    eventually(state, &format!("{what:?} is recorded"), async || {
        let told = record(&folder);
        let expected = &what[..told.len().min(what.len())];
        assert_eq!(told, expected);
        Ok::<_, ()>((told.len() == what.len()).then_some(()))
    })
    .await;
}

#[actix_rt::test]
async fn the_former_host_has_stopped_it_before_the_next_one_begins() {
    let fixture = Fixture::start().await;
    let leaf = fixture.leaf(fixture.parent()).await;
    fixture.until("n1", "the leaf attaches", |n1| n1.link.as_deref() == Some("UP")).await;
    keeps(&fixture, "n1").await;
    recorded(&fixture, &["n1 TakeUp"]).await;
    keeps(&fixture, "m1").await;
    recorded(&fixture, &["n1 TakeUp", "n1 LayDown", "m1 TakeUp"]).await;
    keeps(&fixture, "n1").await;
    let all = ["n1 TakeUp", "n1 LayDown", "m1 TakeUp", "m1 LayDown", "n1 TakeUp"];
    recorded(&fixture, &all).await;
    leaf.stop().await;
    fixture.member.stop().await;
}

#[actix_rt::test]
async fn a_host_that_is_cut_off_stops_it_and_only_then_another_has_it() {
    let fixture = Fixture::start().await;
    let cable = Cable::to(fixture.parent()).await;
    let leaf = fixture.leaf(cable.address.clone()).await;
    fixture.until("n1", "the leaf attaches", |n1| n1.link.as_deref() == Some("UP")).await;
    keeps(&fixture, "n1").await;
    recorded(&fixture, &["n1 TakeUp"]).await;
    cable.stands.send_replace(false);
    fixture.until("n1", "the leaf is lost", |n1| n1.link.as_deref() == Some("DOWN")).await;
    keeps(&fixture, "m1").await;
    recorded(&fixture, &["n1 TakeUp", "n1 LayDown", "m1 TakeUp"]).await;
    cable.stands.send_replace(true);
    fixture.until("n1", "the leaf is back", |n1| n1.link.as_deref() == Some("UP")).await;
    keeps(&fixture, "n1").await;
    let all = ["n1 TakeUp", "n1 LayDown", "m1 TakeUp", "m1 LayDown", "n1 TakeUp"];
    recorded(&fixture, &all).await;
    leaf.stop().await;
    fixture.member.stop().await;
}
