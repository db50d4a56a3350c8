//! The module with real files.

use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt, symlink},
};

use kraken_actors::module::{
    conformance::{self, Case},
    fake,
    harness::{self, Harness, Time},
};
use kraken_engine::catalog::Catalog;
use serde_json::json;

use super::*;

/// One node with one file, `motd`.
struct World {
    root: tempfile::TempDir,
    harness: Harness,
    node: Arc<ObjectView>,
}

impl World {
    async fn new(content: &str) -> Self {
        let root = tempfile::tempdir().unwrap();
        let config = json!({ "root": root.path() });
        let harness = Harness::start(Files::factory(), config).await.unwrap();
        let node = fake::asked(&fake::node("n1"), "/files/motd/content", content);
        Self { root, harness, node }
    }

    fn ask(&mut self, key: &str, value: &str) {
        self.node = fake::asked(&self.node, &format!("/files/motd/{key}"), value);
    }

    fn path(&self) -> PathBuf {
        self.root.path().join("motd")
    }

    async fn mutate(&mut self, mutation: &str) -> Result<(), String> {
        let outcome = self.harness.mutate(mutation, &["motd"], &self.node).await;
        outcome.map_err(|error| error.to_string())
    }

    async fn look(&mut self) -> String {
        self.harness.poll(std::slice::from_ref(&self.node)).await;
        self.seen("state")
    }

    fn seen(&mut self, key: &str) -> String {
        let seen = self.harness.seen(&self.node, &format!("/files/motd/{key}"));
        seen.and_then(Value::as_str).unwrap_or_default().to_owned()
    }

    fn wanted_spec(&self) -> String {
        let catalog = Catalog::build(&[Files::manifest()]).unwrap();
        let schema = &catalog.kind(&Name::new("node").unwrap()).unwrap().schema;
        let mut cfg = self.node.cfg.clone();
        cfg.set(StatePath::new("/files/motd/state").unwrap(), "PRESENT".into()).unwrap();
        let goal = schema.goal(&cfg, false);
        goal.get("/files/motd/spec").and_then(Value::as_str).unwrap_or_default().to_owned()
    }
}

fn run<F: Future<Output = ()>>(test: F) {
    harness::run(Time::Real, test);
}

#[test]
fn a_file_is_made_changed_and_removed() {
    run(async {
        let mut world = World::new("hello\n").await;
        assert_eq!(world.look().await, "ABSENT");
        world.mutate("Create").await.unwrap();
        assert_eq!(world.look().await, "PRESENT");
        assert_eq!(world.seen("spec"), world.wanted_spec());
        assert_eq!(fs::read_to_string(world.path()).unwrap(), "hello\n");
        assert_eq!(fs::metadata(world.path()).unwrap().permissions().mode() & 0o7777, 0o644);

        let before = world.seen("spec");
        world.ask("content", "bye\n");
        world.ask("mode", "0600");
        assert_eq!((world.look().await, world.seen("spec")), ("PRESENT".to_owned(), before));
        world.mutate("Update").await.unwrap();
        assert_eq!(
            (world.look().await, world.seen("spec")),
            ("PRESENT".to_owned(), world.wanted_spec())
        );
        assert_eq!(fs::read_to_string(world.path()).unwrap(), "bye\n");
        assert_eq!(fs::metadata(world.path()).unwrap().permissions().mode() & 0o7777, 0o600);

        world.mutate("Remove").await.unwrap();
        assert_eq!(world.look().await, "ABSENT");
        assert!(!world.path().exists());
        assert!(world.harness.events().is_empty());
    });
}

#[test]
fn each_kind_of_drift_is_seen_told_once_and_repaired() {
    type Damage = fn(&std::path::Path);
    let damages: [(&str, Damage); 5] = [
        ("content", |path| fs::write(path, "odd").unwrap()),
        ("mode", |path| fs::set_permissions(path, PermissionsExt::from_mode(0o777)).unwrap()),
        ("removed", |path| fs::remove_file(path).unwrap()),
        ("symbolic link", |path| {
            fs::remove_file(path).unwrap();
            symlink("/etc/passwd", path).unwrap();
        }),
        ("not a regular file", |path| {
            fs::remove_file(path).unwrap();
            nix::unistd::mkfifo(path, nix::sys::stat::Mode::S_IRWXU).unwrap();
        }),
    ];
    for (word, damage) in damages {
        run(async {
            let mut world = World::new("hello").await;
            world.mutate("Create").await.unwrap();
            damage(&world.path());
            assert_eq!(world.look().await, "DRIFTED", "{word}");
            assert!(world.seen("drift").contains(word), "{}", world.seen("drift"));
            world.look().await;
            assert_eq!(world.harness.events().len(), 1, "{word}");
            world.mutate("Repair").await.unwrap();
            assert_eq!(world.look().await, "PRESENT", "{word}");
            assert_eq!(fs::read_to_string(world.path()).unwrap(), "hello");
            assert!(!fs::symlink_metadata(world.path()).unwrap().is_symlink());
        });
    }
}

#[test]
fn drift_that_is_only_reported_is_left() {
    run(async {
        let mut world = World::new("hello").await;
        world.ask("onDrift", "REPORT");
        world.mutate("Create").await.unwrap();
        // A change of Cfg is no drift.
        world.ask("content", "hello again");
        world.mutate("Update").await.unwrap();
        fs::write(world.path(), "mine").unwrap();
        assert_eq!(world.look().await, "DRIFTED");
        for mutation in ["Repair", "Update", "Discard"] {
            let error = world.mutate(mutation).await.unwrap_err();
            assert!(error.contains("only to be reported"), "{error}");
        }
        assert_eq!(fs::read_to_string(world.path()).unwrap(), "mine");
        fs::write(world.path(), "hello again").unwrap();
        assert_eq!(world.look().await, "PRESENT");
    });
}

#[test]
fn what_was_there_before_is_drift_unless_it_is_as_asked() {
    for (content, state) in [("hello", "PRESENT"), ("other", "DRIFTED")] {
        run(async {
            let mut world = World::new("hello").await;
            fs::write(world.path(), content).unwrap();
            fs::set_permissions(world.path(), PermissionsExt::from_mode(0o644)).unwrap();
            assert_eq!(world.look().await, state);
        });
    }
}

#[test]
fn a_moved_file_leaves_its_old_place_unless_somebody_changed_it() {
    for changed in [false, true] {
        run(async {
            let mut world = World::new("hello").await;
            world.mutate("Create").await.unwrap();
            if changed {
                fs::write(world.path(), "mine").unwrap();
            }
            world.ask("path", "deep/er/motd");
            assert_eq!(world.look().await, "ABSENT");
            world.mutate("Create").await.unwrap();
            assert_eq!(world.look().await, "PRESENT");
            assert!(world.seen("at").ends_with("deep/er/motd"));
            assert_eq!(world.path().exists(), changed);
        });
    }
}

#[test]
fn a_restarted_module_still_tells_drift_from_a_change_of_cfg() {
    run(async {
        let mut world = World::new("hello").await;
        world.mutate("Create").await.unwrap();
        world.harness.crash().await.unwrap();
        world.ask("content", "new");
        assert_eq!(world.look().await, "PRESENT");
        fs::write(world.path(), "odd").unwrap();
        assert_eq!(world.look().await, "DRIFTED");
    });
}

#[test]
fn mistakes_are_permanent_and_say_what_is_wrong() {
    for (key, value, expected) in [
        ("mode", "rw-r--r--", "octal"),
        ("owner", "nobody-of-this-name", "does not exist"),
        ("path", "../../etc/motd", "must not hold `..`"),
        ("path", "/proc/no/such", "cannot make the folder of"),
    ] {
        run(async {
            let mut world = World::new("hello").await;
            world.ask(key, value);
            let error = world.mutate("Create").await.unwrap_err();
            assert!(error.contains(expected), "{error}");
        });
    }
    run(async {
        let mut world = World::new("hello").await;
        fs::create_dir(world.path()).unwrap();
        assert_eq!(world.look().await, "DRIFTED");
        for mutation in ["Repair", "Discard"] {
            let outcome = world.harness.mutate(mutation, &["motd"], &world.node).await;
            let error = outcome.unwrap_err();
            assert!(error.permanent && error.text.contains("is a folder"), "{error:?}");
        }
    });
}

#[test]
fn the_owner_is_set_and_looked_at() {
    if !nix::unistd::Uid::effective().is_root() {
        return;
    }
    run(async {
        let mut world = World::new("hello").await;
        world.ask("owner", "1234:5678");
        world.mutate("Create").await.unwrap();
        let found = fs::metadata(world.path()).unwrap();
        assert_eq!((found.uid(), found.gid()), (1234, 5678));
        std::os::unix::fs::chown(world.path(), Some(0), None).unwrap();
        assert_eq!(world.look().await, "DRIFTED");
        assert_eq!(world.seen("drift"), "its owner is user 0, not 1234");
    });
}

#[test]
fn what_is_not_asked_for_any_more_is_forgotten_and_left() {
    run(async {
        let mut world = World::new("hello").await;
        world.mutate("Create").await.unwrap();
        let seen = world.harness.seen_of(&world.node);
        assert!(!seen.is_empty());
        let bare = fake::node("n1");
        let bare = seen
            .iter()
            .fold(bare, |node, (path, value)| fake::seen(&node, path.as_str(), value.clone()));
        world.harness.poll(&[bare]).await;
        assert_eq!(world.seen("state"), "");
        assert!(world.path().exists());
    });
}

#[test]
fn a_name_that_is_no_name_touches_nothing() {
    run(async {
        let mut world = World::new("hello").await;
        let node = fake::asked(&fake::node("n1"), "/files/../content", "x");
        world.harness.poll(std::slice::from_ref(&node)).await;
        let state = world.harness.seen(&node, "/files/../state").cloned();
        assert_eq!(state, Some("DRIFTED".into()));
        let outcome = world.harness.mutate("Create", &[".."], &node).await;
        assert!(outcome.is_err());
        assert_eq!(fs::read_dir(world.root.path()).unwrap().count(), 0);
    });
}

#[test]
fn the_module_keeps_the_rules_of_modules() {
    for mutation in ["Create", "Remove", "Look"] {
        let root = tempfile::tempdir().unwrap();
        let node = fake::asked(&fake::node("n1"), "/files/motd/content", "hello");
        let case = Case::new(Files::factory(), node, mutation)
            .bindings(&["motd"])
            .config(json!({ "root": root.path() }));
        assert_eq!(harness::run(Time::Real, conformance::check(&case)), [], "{mutation}");
    }
}
