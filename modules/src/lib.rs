//! The built-in modules, each also an example to copy. A module is an actor that discovers and
//! changes; it decides nothing and knows neither the quorum nor the network of the fleet.

mod asked;
mod atomic_file;
mod base;
mod command;
#[cfg(test)]
mod page;
#[cfg(test)]
mod plans;

pub mod exec;
pub mod file;
pub mod host;
pub mod ladder;
pub mod service;
pub mod sim;

use kraken_actors::module::{Factory, Module};

pub use self::base::base;

/// All built-in modules. The same on every node: what each may do there follows from the objects
/// that the node looks at.
pub fn builtin() -> Vec<Factory> {
    vec![
        exec::Exec::factory(),
        host::Host::factory(),
        service::Service::factory(),
        file::Files::factory(),
        sim::Sim::factory(),
    ]
}

/// Modules that run only where the configuration has a table for them.
pub fn on_request() -> Vec<Factory> {
    vec![ladder::Ladder::factory()]
}

#[cfg(test)]
mod tests {
    use kraken_engine::{
        catalog::Catalog,
        check::{Source, check},
        manifest::Manifest,
    };

    use super::*;

    #[test]
    fn nothing_is_found_in_the_manifests_together() {
        let factories = builtin();
        let mut sources: Vec<Source> = vec![base().into()];
        sources.extend(factories.iter().map(|factory| Source::from(factory.manifest().clone())));
        let found: Vec<String> = check(&sources).iter().map(ToString::to_string).collect();
        assert_eq!(found, [""; 0]);
    }

    #[test]
    fn all_manifests_compile_together() {
        let mut factories = builtin();
        factories.extend(on_request());
        let mut manifests: Vec<Manifest> = vec![base()];
        manifests.extend(factories.iter().map(|factory| factory.manifest().clone()));
        if let Err(problems) = Catalog::build(&manifests) {
            panic!("{problems:?}");
        }
    }
}
