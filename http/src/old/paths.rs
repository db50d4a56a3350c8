//! Where the fields of the old surface live among our paths, and what it declares for those that
//! have no home elsewhere.
//!
//! | field | asked at | seen at |
//! |---|---|---|
//! | `physState`, `runState` | `/physState`, `/runState` | the same |
//! | `arch`, `platform`, `busy` | `/old/arch`, .. | `/arch`, .. |
//! | `parentId` | `/old/parentId` | the node that it is attached to |
//! | `services[]` | `/old/services/<id>/..` | `/modules/<module>/..` |
//! | interfaces of the extension IPv4 | `/ipv4/ifaces/<name>/..` | the same |
//! | what else IPv4 holds | `/old/ipv4/<field>`, as JSON | the same |
//! | any other extension | `/old/extensions/<type>`, as JSON | the same |
//! | an id that its client chose | `/old/id` | |
//!
//! What lies below `/old` is an input: it is kept and given back, and nobody plans by it. So what
//! was asked of a field that we only discover holds up no node.

use kraken_engine::manifest::{Extension, Manifest, PathSpec, Type};

use super::names::{BUSY, SERVICE};

/// The module that declares what lies below `/old`.
const MODULE: &str = "old";

pub(super) const PHYS_STATE: &str = "/physState";
pub(super) const RUN_STATE: &str = "/runState";
/// The id that a client gave to the node that it created.
pub(super) const ID: &str = "/old/id";
pub(super) const PARENT_ID: &str = "/old/parentId";
pub(super) const IFACES: &str = "/ipv4/ifaces";
pub(super) const IPV4_REST: &str = "/old/ipv4";
/// The fields that are kept there.
pub(super) const IPV4_KEPT: [&str; 4] = ["routes", "dnsNameservers", "dnsDomains", "hostname"];
pub(super) const EXTENSIONS: &str = "/old/extensions";

/// Where fields are that are not seen where they are asked.
#[derive(Debug, Clone, Copy)]
pub(super) struct Places {
    pub(super) arch: &'static str,
    pub(super) platform: &'static str,
    pub(super) busy: &'static str,
    pub(super) services: &'static str,
}

/// Where they are asked.
pub(super) const ASKED: Places = Places {
    arch: "/old/arch",
    platform: "/old/platform",
    busy: "/old/busy",
    services: "/old/services",
};

/// Where they are seen.
pub(super) const SEEN: Places =
    Places { arch: "/arch", platform: "/platform", busy: "/busy", services: "/modules" };

/// What the old surface declares: a manifest without an actor, the same on every node whether or
/// not it serves that surface.
pub fn manifest() -> Manifest {
    let text = |path: &str, doc: &str| PathSpec::input(path, Type::Text).doc(doc);
    let word = |path: &str, words: &[&str], doc: &str| {
        let known = words.iter().skip(1).map(|word| (*word).to_owned()).collect();
        PathSpec::input(path, Type::Enum(known)).doc(doc)
    };
    let extension = Extension::new(MODULE)
        .path(text(ID, "The id that the client gave to the node that it created."))
        .path(text(PARENT_ID, "The id of the node that is its parent, as a client says."))
        .path(text(ASKED.arch, "The architecture of the machine, as a client says."))
        .path(text(ASKED.platform, "The platform of the machine, as a client says."))
        .path(word(ASKED.busy, &BUSY, "Whether the node is occupied, as a client says."))
        .path(text("/old/services/*/module", "What a service is an instance of."))
        .path(word("/old/services/*/state", &SERVICE, "What is asked of a service."))
        .path(text("/old/services/*/config", "The configuration of a service, as JSON."))
        .path(text("/old/services/*/errorMsg", "What was said to be wrong with a service."))
        .path(text("/old/ipv4/*", "What IPv4 holds besides interfaces, by field, as JSON."))
        .path(text("/old/extensions/*", "An extension that nobody here knows, as JSON."));
    Manifest::new(MODULE)
        .doc("What the old surface was told, and nobody here plans by.")
        .extension(extension)
}
