//! What a module host is made of.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
};

use kraken_engine::id::{InvalidId, Name};
use tokio::sync::mpsc;

use super::messages::AttemptEnded;
use crate::{
    clock::Clock,
    module::{ConfigureError, Factory, Home, Report, reporter::Stamps},
    spans::Spans,
};

/// What a module host is made of.
#[derive(Clone)]
pub struct HostOptions {
    /// The node.
    pub node: Name,
    /// The folder in which each module gets one of its own.
    pub data: PathBuf,
    /// The modules.
    pub factories: Vec<Factory>,
    /// Their configurations, by name; a module without one gets its default.
    pub configs: BTreeMap<String, serde_json::Value>,
    /// The node's clock.
    pub clock: Clock,
    /// The node's stamps.
    pub stamps: Stamps,
    /// Where modules report what they see, and the host the states of modules.
    pub reports: mpsc::Sender<Report>,
    /// Where ended attempts are told.
    pub ends: mpsc::Sender<AttemptEnded>,
    /// Where the host and its modules run.
    pub home: Home,
    /// Spreads looks and restarts in time.
    pub seed: u64,
    /// The way of the node's spans.
    pub spans: Spans,
}

/// Why a module host cannot be.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// The host's thread cannot be.
    #[error("cannot start the thread of the module host")]
    Thread(#[source] std::io::Error),
    /// The host was started outside of an actix system.
    #[error("no actix system runs here")]
    NoSystem,
    /// A manifest has no valid name.
    #[error("a module has a bad name")]
    Name(#[source] InvalidId),
    /// Two modules have the same name.
    #[error("two modules are named {0}")]
    Twice(Name),
    /// A configuration is of no module.
    #[error("there is no module {name} to configure; there are: {known}")]
    NoSuchModule {
        /// What the configuration says.
        name: String,
        /// The modules that there are.
        known: String,
    },
    /// A configuration cannot be read.
    #[error("the configuration of module {name} cannot be read")]
    Config {
        /// The module.
        name: String,
        /// What is wrong.
        #[source]
        error: ConfigureError,
    },
}

impl HostOptions {
    /// The modules by name. Fails on what can be seen to be wrong before anything runs.
    pub(crate) fn by_name(&self) -> Result<BTreeMap<Name, &Factory>, HostError> {
        let mut factories = BTreeMap::new();
        for factory in &self.factories {
            let name = Name::new(&factory.manifest().module).map_err(HostError::Name)?;
            if factories.insert(name.clone(), factory).is_some() {
                return Err(HostError::Twice(name));
            }
        }
        let known: BTreeSet<&str> = factories.keys().map(Name::as_str).collect();
        for (name, config) in &self.configs {
            let factory = Name::new(name).ok().and_then(|name| factories.get(&name));
            let Some(factory) = factory else {
                let known = known.into_iter().collect::<Vec<_>>().join(", ");
                return Err(HostError::NoSuchModule { name: name.clone(), known });
            };
            factory
                .check(config)
                .map_err(|error| HostError::Config { name: name.clone(), error })?;
        }
        Ok(factories)
    }
}
