//! One module of a node, as the host holds it.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use kraken_engine::{
    id::{Name, Uid},
    time::Millis,
};
use serde_json::Value as Json;

use super::{
    attempt::Ends,
    attempts::Attempts,
    jitter::seed_of,
    objects::{Looks, looks_of},
    options::HostOptions,
    polls::Polls,
    snapshot::ModuleSnapshot,
    supervision::Supervision,
};
use crate::module::{Authority, ConfigureError, Factory, Home, Kit, Reporter, Running};

/// A module with all that outlives its actor.
pub(crate) struct Slot {
    pub(crate) factory: Factory,
    pub(crate) config: Json,
    pub(crate) looks: Looks,
    pub(crate) supervision: Supervision,
    pub(crate) polls: Polls,
    /// What is to be looked at soon: it has changed, or was worked on.
    pub(crate) hinted: BTreeSet<Uid>,
    /// Whether the module runs, and how requests to it learn that it ends.
    pub(crate) running: Option<Running>,
    pub(crate) ends: Ends,
    authority: Arc<Authority>,
    kit: Kit,
}

impl Slot {
    /// The slot of a module that is to be started.
    pub(crate) fn new(name: &Name, factory: &Factory, options: &HostOptions) -> Self {
        let manifest = factory.manifest();
        let seed = seed_of(options.seed, name.as_str());
        let authority = Arc::new(Authority::of(manifest));
        let reporter = Reporter::new(name.clone(), options.stamps.clone(), options.reports.clone());
        let kit = Kit {
            node: options.node.clone(),
            data: options.data.join(name.as_str()),
            reporter: reporter.within(authority.clone()),
        };
        Self {
            config: options.configs.get(name.as_str()).cloned().unwrap_or_default(),
            looks: looks_of(manifest, options.factories.iter().map(Factory::manifest)),
            supervision: Supervision::new(seed),
            polls: Polls::new(Duration::from_millis(manifest.poll_ms), seed),
            hinted: BTreeSet::new(),
            running: None,
            ends: Ends::default(),
            factory: factory.clone(),
            authority,
            kit,
        }
    }

    /// Makes the module's folder and starts the module.
    pub(crate) fn start(
        &self,
        home: Home,
    ) -> impl Future<Output = Result<Running, ConfigureError>> + use<> {
        let (factory, config, kit) = (self.factory.clone(), self.config.clone(), self.kit.clone());
        async move {
            tokio::fs::create_dir_all(&kit.data).await.map_err(|error| {
                ConfigureError::Start(format!("folder {}: {error}", kit.data.display()))
            })?;
            factory.start(config, kit, home).await
        }
    }

    /// Takes a module that has started; tells whether it was still wanted.
    pub(crate) fn take(&mut self, generation: u64, running: Running, now: Millis) -> bool {
        let wanted = self.supervision.started(generation, now);
        if wanted {
            self.ends = Ends { lost: running.lost(), ..Ends::default() };
            self.running = Some(running);
            self.polls.started(now);
        }
        wanted
    }

    /// These objects are to be looked at soon.
    pub(crate) fn hint(&mut self, uids: impl IntoIterator<Item = Uid>, now: Millis) {
        if self.running.is_some() {
            self.hinted.extend(uids);
            self.polls.hint(now);
        }
    }

    /// Whether the module declares a mutation.
    pub(crate) fn can(&self, mutation: &Name) -> bool {
        self.factory.manifest().mutations.iter().any(|m| m.name == mutation.as_str())
    }

    /// Where the module reports.
    pub(crate) fn reporter(&self) -> Reporter {
        self.kit.reporter.clone()
    }

    /// The module as it is.
    pub(crate) fn snapshot(&self, name: &Name, attempts: &Attempts) -> ModuleSnapshot {
        ModuleSnapshot {
            module: name.clone(),
            state: self.supervision.state(),
            error: self.supervision.error().map(str::to_owned),
            restarts: self.supervision.restarts(),
            attempts: attempts.running_of(name) as u64,
            polls: self.polls.count(),
            refused: self.authority.refused(),
            refused_paths: self.authority.refused_paths(),
        }
    }
}
