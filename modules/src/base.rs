//! What every node has, whatever modules run on it. A manifest without an actor: the agents
//! themselves see whether a node is attached, the module `host` sees the rest.
//!
//! | path | values | seen by | meaning |
//! |---|---|---|---|
//! | `/link` | UP, DOWN | the parent | whether the node's agent is attached |
//! | `/arch` | text | the node | the machine's architecture, as `x86_64` |
//! | `/platform` | text | the node | its operating system, as `debian 12` |
//! | `/busy` | FREE, BUSY | the node | whether work that is not ours occupies it |
//!
//! Power and run states (`/physState`, `/runState`) belong to the modules that can change them.

use kraken_engine::{
    fleet::LINK_PATH,
    manifest::{Extension, Manifest, PathSpec, SeenBy, Type},
};

/// The manifest of the base extension `node`.
pub fn base() -> Manifest {
    let extension = Extension::new("node")
        .path(
            PathSpec::fact(LINK_PATH, Type::enum_of(["UP", "DOWN"]))
                .seen_by(SeenBy::Parent)
                .doc("Whether the node's agent is attached."),
        )
        .path(PathSpec::fact("/arch", Type::Text).doc("The architecture of the machine."))
        .path(PathSpec::fact("/platform", Type::Text).doc("The operating system of the machine."))
        .path(
            PathSpec::fact("/busy", Type::enum_of(["FREE", "BUSY"]))
                .doc("Whether work that is not ours occupies the node."),
        );
    Manifest::new("node")
        .doc("What every node has, whatever modules run on it.")
        .extension(extension)
        .discovers(LINK_PATH)
}
