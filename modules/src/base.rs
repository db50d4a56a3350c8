//! What every node has, whatever modules run on it: the extensions `node` and `ipv4`. A manifest
//! without an actor: the agents
//! themselves see whether a node is attached, the module `host` sees the rest.
//!
//! | path | values | seen by | meaning |
//! |---|---|---|---|
//! | `/link` | UP, DOWN | the parent | whether the node's agent is attached |
//! | `/arch` | text | the node | the machine's architecture, as `x86_64` |
//! | `/platform` | text | the node | its operating system, as `debian 12` |
//! | `/busy` | FREE, BUSY | the node | whether work that is not ours occupies it |
//!
//! What is asked of its addresses, and nobody sees: inputs of whoever boots machines.
//!
//! | path | values | meaning |
//! |---|---|---|
//! | `/ipv4/ifaces/<name>/eth/iface` | text | what the machine itself calls the interface |
//! | `/ipv4/ifaces/<name>/eth/mac` | text | its address of Ethernet, as `aa:bb:cc:00:11:22` |
//! | `/ipv4/ifaces/<name>/eth/mtu` | bytes | the largest packet |
//! | `/ipv4/ifaces/<name>/eth/control` | bool | whether agents speak over it |
//! | `/ipv4/ifaces/<name>/ip/ip` | text | its address, as `10.0.0.1` |
//! | `/ipv4/ifaces/<name>/ip/subnet` | text | the mask of its network, as `255.255.0.0` |
//!
//! Power and run states (`/physState`, `/runState`) belong to the modules that can change them.

use kraken_engine::{
    fleet::LINK_PATH,
    manifest::{Extension, Manifest, PathSpec, SeenBy, Type},
};

/// The manifest of the base extensions.
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
        .extension(ipv4())
        .discovers(LINK_PATH)
}

fn ipv4() -> Extension {
    let of = |field: &str, value_type, doc: &str| {
        PathSpec::input(&format!("/ipv4/ifaces/*/{field}"), value_type).doc(doc)
    };
    let mtu = Type::Int { min: 0, max: u32::MAX.into() };
    Extension::new("ipv4")
        .path(of("eth/iface", Type::Text, "What the machine itself calls the interface."))
        .path(of("eth/mac", Type::Text, "Its address of Ethernet, as aa:bb:cc:00:11:22."))
        .path(of("eth/mtu", mtu, "The largest packet.").unit("bytes"))
        .path(of("eth/control", Type::Bool, "Whether agents speak over it."))
        .path(of("ip/ip", Type::Text, "Its address, as 10.0.0.1."))
        .path(of("ip/subnet", Type::Text, "The mask of its network, as 255.255.0.0."))
}
