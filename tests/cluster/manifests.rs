//! The states that these tests ask for. All of it runs with a shell alone.

use std::time::Duration;

/// How long a small fleet may take to converge on a busy machine.
pub(crate) const CONVERGED_MAX: Duration = Duration::from_secs(30);

/// A service `web` that sleeps, on these nodes.
pub(crate) fn web(nodes: &str) -> String {
    format!(
        "kind: node\nname: {nodes}\ncfg:\n  services:\n    web:\n      state: RUN\n      \
         command: sleep\n      args: [\"100000\"]\n"
    )
}
