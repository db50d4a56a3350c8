//! The module `file`: file contents, mode and owner as Cfg says, and what has drifted from it.
//!
//! # Paths of kind `node`, below `/files/<name>`
//!
//! A name starts with a letter or digit, then letters, digits, `_`, `.` or `-`.
//!
//! | path | type | set | seen | default | meaning |
//! |---|---|---|---|---|---|
//! | `state` | see below | yes | yes | | PRESENT or ABSENT as it is to be; what it is |
//! | `path` | text | yes | | the name | absolute, or below the node's own folder; no `..` |
//! | `content` | text, at most 1 MiB | yes | | empty | the bytes, as they are |
//! | `mode` | text of 3 or 4 octal digits | yes | | `0644` | the permissions |
//! | `owner` | text, `user` or `user:group` | yes | | not looked at | name or number; needs root |
//! | `onDrift` | REPAIR, REPORT | yes | | REPAIR | what to do with a file that was changed |
//! | `spec` | text | | yes | | digest of `path`, `content`, `mode`, `owner` as written |
//! | `drift` | text | | yes | | how it differs, while DRIFTED |
//! | `at` | text | | yes | | where it is |
//!
//! `path` may use `${node.name}` and `${file.name}`. Missing folders above it are made (0755). The
//! folders may be symbolic links; the file itself is never followed: a link in its place is drift,
//! and a repair puts the file there instead of the link.
//!
//! # States
//!
//! | state | meaning | mutations that leave it |
//! |---|---|---|
//! | ABSENT | there is nothing, and nothing was written | Create |
//! | PRESENT | it is as Cfg says, or as one before said (then `spec` differs) | Update, Remove |
//! | DRIFTED | somebody changed or removed it, or it is something else | Repair, Discard |
//!
//! Repair and Discard are excluded by `onDrift = REPORT`; then the object is stuck until a person
//! brings the file in order or lets it be repaired. A file that `path` moves is removed from its
//! old place if it is as it was written. Files outlive their Cfg and their node: what is not asked
//! for any more is left as it is.
//!
//! Files are written beside their place, synced, and renamed over it. What was written is kept on
//! record in the module's folder, to tell drift from a change of Cfg. Looked at every 5 s.
//! Restarted by the module host on a panic and on a changed configuration; then only the memory of
//! which drift was told is lost, and it is told again.

mod disk;
mod sight;
mod wanted;

use std::{
    collections::BTreeMap,
    io,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use actix::{Actor, Context, Handler, ResponseFuture};
use kraken_actors::module::{
    ConfigureError, Kit, Module, Mutate, MutateError, ObjectView, Poll, Reporter,
};
use kraken_engine::{
    id::{Name, Uid},
    manifest::{Extension, From, Manifest, MutationSpec, PathSpec, To, Type},
    path::Path as StatePath,
    state::State,
    value::Value,
};
use serde::Deserialize;

use self::{
    disk::Folder,
    sight::{Sight, State as FileState},
};
use crate::asked::names;

/// How often all files are looked at.
const POLL_INTERVAL: Duration = Duration::from_secs(5);
/// What a file is written from, below `/files/*`: the inputs of `spec`.
const SPEC_INPUTS: [&str; 4] = ["path", "content", "mode", "owner"];
const TOP: &str = "/files";

/// The actor.
pub struct Files {
    keeper: Arc<Keeper>,
}

/// The table `[modules.file]` of a node's configuration.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Where relative paths start; default: a folder of the module's own.
    pub root: Option<PathBuf>,
}

struct Keeper {
    node: Name,
    folder: Folder,
    reporter: Reporter,
    /// The drift of each file that was told last.
    told: Mutex<BTreeMap<String, Option<String>>>,
}

impl Module for Files {
    type Config = Config;

    fn manifest() -> Manifest {
        let write =
            |name: &str| MutationSpec::new(name).changes("/files/*/spec", From::Any, To::Cfg);
        ["state", "spec", "drift", "at"]
            .iter()
            .fold(Manifest::new("file"), |manifest, fact| {
                manifest.discovers(&format!("/files/*/{fact}"))
            })
            .doc("File contents, mode and owner as Cfg says.")
            .extension(extension())
            .mutation(write("Create").changes("/files/*/state", "ABSENT", "PRESENT"))
            .mutation(write("Update").requires("/files/*/state = PRESENT"))
            .mutation(
                write("Repair")
                    .changes("/files/*/state", "DRIFTED", "PRESENT")
                    .excludes("/files/*/onDrift = REPORT"),
            )
            .mutation(MutationSpec::new("Remove").changes("/files/*/state", "PRESENT", "ABSENT"))
            .mutation(
                // As Repair: else what is only to be reported could be removed and made anew.
                MutationSpec::new("Discard")
                    .changes("/files/*/state", "DRIFTED", "ABSENT")
                    .excludes("/files/*/onDrift = REPORT"),
            )
            .mutation(
                MutationSpec::new("Look")
                    .changes("/files/*/state", From::Unknown, "ABSENT")
                    .cost(Duration::from_millis(50)),
            )
            .poll(POLL_INTERVAL)
    }

    fn build(config: Config, kit: Kit) -> Result<Self, ConfigureError> {
        let start =
            |error: io::Error| ConfigureError::Start(format!("cannot use its folder: {error}"));
        let data = std::path::absolute(kit.data).map_err(start)?;
        let root = config.root.map_or_else(|| Ok(data.join("files")), std::path::absolute);
        let folder = Folder::open(&data, root.map_err(start)?).map_err(start)?;
        let (node, reporter) = (kit.node, kit.reporter);
        let keeper = Keeper { node, folder, reporter, told: Mutex::default() };
        Ok(Self { keeper: Arc::new(keeper) })
    }
}

impl Actor for Files {
    type Context = Context<Self>;
}

impl Handler<Mutate> for Files {
    type Result = ResponseFuture<Result<(), MutateError>>;

    fn handle(&mut self, ask: Mutate, _: &mut Self::Context) -> Self::Result {
        let keeper = self.keeper.clone();
        Box::pin(async move { keeper.mutate(ask).await })
    }
}

impl Handler<Poll> for Files {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, poll: Poll, _: &mut Self::Context) -> Self::Result {
        let keeper = self.keeper.clone();
        Box::pin(async move {
            // A node hosts itself; only nodes have files.
            if let Some(object) = poll.objects.into_iter().next() {
                keeper.poll(object).await;
            }
        })
    }
}

impl Keeper {
    async fn mutate(self: &Arc<Self>, ask: Mutate) -> Result<(), MutateError> {
        let name = Name::new(ask.bindings.first().map_or("", |name| name));
        let name = name.map_err(MutateError::permanent)?;
        let (keeper, object, wanted) = (self.clone(), ask.object.clone(), name.clone());
        // The disk may block; the work itself is short and is not cut in two by a cancelled token.
        let work = tokio::task::spawn_blocking(move || {
            keeper.carry_out(ask.mutation.as_str(), &wanted, &object.cfg)
        });
        let outcome = tokio::select! {
            biased;
            done = work => done.unwrap_or_else(|error| Err(MutateError::transient(error))),
            () = ask.cancel.cancelled() => return Err(MutateError::Cancelled),
        };
        self.report(ask.object.uid, &ask.object, vec![name.to_string()]).await;
        outcome
    }

    fn carry_out(&self, mutation: &str, name: &Name, cfg: &State) -> Result<(), MutateError> {
        match mutation {
            "Create" | "Update" | "Repair" => self.folder.write(&self.node, name, cfg)?,
            "Remove" | "Discard" => self.folder.remove(&self.node, name, cfg)?,
            "Look" => {}
            other => {
                return Err(MutateError::permanent(format!("module file has no mutation {other}")));
            }
        }
        Ok(())
    }

    async fn poll(self: &Arc<Self>, object: Arc<ObjectView>) {
        let asked = names(&object.cfg, TOP);
        let gone = object.dsc.keys().filter(|path| {
            let mut segments = path.segments();
            segments.next() == Some("files") && segments.next().is_some_and(|n| !asked.contains(n))
        });
        let gone: Vec<_> = gone.map(|path| (path.clone(), None)).collect();
        if !gone.is_empty() {
            self.reporter.look().saw(object.uid, gone).await;
        }
        self.report(object.uid, &object, asked.into_iter().collect()).await;
    }

    /// Looks at files and tells what is seen, and once of each drift that it has begun.
    async fn report(self: &Arc<Self>, uid: Uid, object: &Arc<ObjectView>, names: Vec<String>) {
        let look = self.reporter.look();
        let (keeper, object) = (self.clone(), object.clone());
        let looked = tokio::task::spawn_blocking(move || {
            let see = |name: String| (keeper.see(&name, &object.cfg), name);
            names.into_iter().map(see).collect::<Vec<_>>()
        });
        let Ok(sights) = looked.await else { return };
        for (sight, name) in sights {
            look.saw(uid, values(&name, &sight)).await;
            let before = self.tell(&name, sight.drift.clone());
            if let Some(drift) = sight.drift.filter(|drift| before.as_ref() != Some(drift)) {
                self.reporter.event(uid, format!("file {name} has drifted: {drift}")).await;
            }
        }
    }

    fn see(&self, name: &str, cfg: &State) -> Sight {
        match Name::new(name) {
            Ok(name) => self.folder.see(&self.node, &name, cfg),
            Err(error) => Sight::drifted(String::new(), error.to_string()),
        }
    }

    fn tell(&self, name: &str, drift: Option<String>) -> Option<String> {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        told.insert(name.to_owned(), drift).flatten()
    }
}

fn values(name: &str, sight: &Sight) -> Vec<(StatePath, Option<Value>)> {
    let mut values = vec![("state", sight.state.as_str().into()), ("at", sight.at.as_str().into())];
    values.extend(sight.spec.as_deref().map(|spec| ("spec", spec.into())));
    values.extend(sight.drift.as_deref().map(|drift| ("drift", drift.into())));
    let path = |key: &str| StatePath::new(format!("{TOP}/{name}/{key}")).ok();
    values.into_iter().filter_map(|(key, value)| Some((path(key)?, Some(value)))).collect()
}

fn extension() -> Extension {
    let inputs = SPEC_INPUTS.map(|input| format!("/files/*/{input}"));
    let inputs: Vec<&str> = inputs.iter().map(String::as_str).collect();
    let input = |path: &str, doc: &str| PathSpec::input(path, Type::Text).doc(doc);
    let states = [FileState::Present, FileState::Absent, FileState::Drifted];
    Extension::new("file")
        .path(
            PathSpec::new("/files/*/state", Type::enum_of(states.map(FileState::as_str)))
                .doc("PRESENT or ABSENT as it is to be; what it is."),
        )
        .path(input("/files/*/path", "Absolute, or below the node's own folder."))
        .path(input("/files/*/content", "The bytes."))
        .path(input("/files/*/mode", "The permissions in octal; 0644 by default."))
        .path(input("/files/*/owner", "user or user:group; not looked at by default."))
        .path(
            PathSpec::input("/files/*/onDrift", Type::enum_of(["REPAIR", "REPORT"]))
                .doc("What to do with a file that somebody changed; REPAIR by default."),
        )
        .path(
            PathSpec::fact("/files/*/spec", Type::Text)
                .doc("The digest of what was written.")
                .digest_of(&inputs)
                .known_while("/files/*/state = PRESENT"),
        )
        .path(
            PathSpec::fact("/files/*/drift", Type::Text)
                .doc("How it differs.")
                .known_while("/files/*/state = DRIFTED"),
        )
        .path(PathSpec::fact("/files/*/at", Type::Text).doc("Where it is."))
}

#[cfg(test)]
mod tests;
