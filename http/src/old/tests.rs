//! Properties of the translation: what is shown can be put back, and what is not said stays.

use kraken_engine::{
    catalog::Catalog,
    id::{Name, Revision, Uid},
    manifest::{Context, Extension, From, Manifest, MutationSpec, PathSpec, SeenBy, Type},
    object::{Labels, Object, ObjectRef, OnDelete, Tenure},
    path::Path,
    state::State,
    time::Millis,
    value::Value,
};
use proptest::{collection::btree_map, option, prelude::*};
use serde_json::{Map, Value as Json, json};

use super::{
    names::Enums,
    paths::manifest,
    read::{self, Told},
    show,
};

/// Machines with power and a system, as the module `sim` has them, with what every node has.
pub(crate) fn manifests() -> Vec<Manifest> {
    let phys = ["POWER_OFF", "POWER_ON", "POWER_CYCLE", "PHYS_HANG", "PHYS_ERROR"];
    let extension = Extension::new("sim")
        .path(PathSpec::new("/physState", Type::enum_of(phys)).seen_by(SeenBy::Parent))
        .path(
            PathSpec::new("/runState", Type::enum_of(["INIT", "SYNC", "ERROR"]))
                .seen_by(SeenBy::Parent)
                .known_while("/physState = POWER_ON"),
        )
        .path(PathSpec::new("/drainState", Type::enum_of(["ACTIVE", "DRAINED"])));
    let change = |name: &str, path: &str, from: &str, to: &str| {
        MutationSpec::new(name).context(Context::Parent).changes(path, from, to)
    };
    let sim = Manifest::new("sim")
        .extension(extension)
        .discovers("/physState")
        .discovers("/runState")
        .mutation(change("PowerOn", "/physState", "POWER_OFF", "POWER_ON").excludes("/busy = BUSY"))
        .mutation(
            MutationSpec::new("LookInside")
                .context(Context::Parent)
                .changes("/runState", From::Unknown, "INIT")
                .requires("/physState = POWER_ON"),
        )
        .mutation(change("PowerOff", "/physState", "POWER_ON", "POWER_OFF").disruptive())
        .mutation(change("Boot", "/runState", "INIT", "SYNC").requires("/physState = POWER_ON"));
    let text = |path: &str| PathSpec::input(path, Type::Text);
    let base = Manifest::new("node")
        .extension(
            Extension::new("node")
                .path(PathSpec::fact("/arch", Type::Text))
                .path(PathSpec::fact("/platform", Type::Text))
                .path(PathSpec::fact("/busy", Type::enum_of(["FREE", "BUSY"])))
                .path(PathSpec::fact("/modules/*/state", Type::enum_of(["INIT", "RUN", "ERROR"])))
                .path(PathSpec::fact("/modules/*/error", Type::Text)),
        )
        .extension(
            Extension::new("ipv4")
                .path(text("/ipv4/ifaces/*/eth/iface"))
                .path(text("/ipv4/ifaces/*/eth/mac"))
                .path(PathSpec::input("/ipv4/ifaces/*/eth/mtu", Type::count()))
                .path(PathSpec::input("/ipv4/ifaces/*/eth/control", Type::Bool))
                .path(text("/ipv4/ifaces/*/ip/ip"))
                .path(text("/ipv4/ifaces/*/ip/subnet")),
        );
    vec![sim, base, manifest()]
}

fn enums() -> Enums {
    Enums::of(&Catalog::build(&manifests()).unwrap())
}

fn node_with(cfg: State) -> Object {
    let name = |text: &str| Name::new(text).unwrap();
    Object {
        uid: Uid::from_bytes([7; 16]),
        key: ObjectRef { kind: name("node"), namespace: None, name: name("n1") },
        labels: Labels::new(),
        owner: None,
        created: Millis::ZERO,
        revision: Revision::new(1),
        generation: 1,
        deleting: false,
        frozen: None,
        cfg,
        on_delete: OnDelete::default(),
        tenure: Tenure::default(),
    }
}

/// What a Cfg is once all is as it is told.
fn after(cfg: &State, told: &Told) -> State {
    let (set, unset) = told.missing_in(cfg).unwrap();
    let mut cfg = cfg.clone();
    for path in &unset {
        cfg.unset(path);
    }
    for (path, value) in set.iter() {
        cfg.set(path.clone(), value.clone()).unwrap();
    }
    cfg
}

fn uuid() -> impl Strategy<Value = String> {
    any::<[u8; 16]>().prop_map(|bytes| Uid::from_bytes(bytes).to_string())
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof!["[a-z0-9]{0,6}", "\\PC{0,6}"]
}

/// A field that is left out, or is at one of these values.
fn one_of(values: Vec<Json>) -> impl Strategy<Value = Option<Json>> {
    option::of(proptest::sample::select(values))
}

/// An object with the fields that are there.
fn fields<const N: usize>(fields: [(&str, Option<Json>); N]) -> Map<String, Json> {
    let there = fields.into_iter().filter_map(|(key, json)| Some((key.to_owned(), json?)));
    there.collect()
}

/// Any JSON of some depth.
fn any_json() -> impl Strategy<Value = Json> {
    let leaf = prop_oneof![
        Just(Json::Null),
        any::<bool>().prop_map(Json::from),
        any::<i32>().prop_map(Json::from),
        text().prop_map(Json::from),
    ];
    leaf.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..3).prop_map(Json::from),
            btree_map("[a-z@]{1,4}", inner, 0..3)
                .prop_map(|map| Json::Object(map.into_iter().collect())),
        ]
    })
}

prop_compose! {
    fn service()(
        module in option::of(text()),
        state in one_of(vec![json!("RUN"), json!(1), json!("UNKNOWN"), json!(4)]),
        config in option::of(btree_map("[a-z]{1,3}", any_json(), 0..3)),
        error in option::of(text()),
    ) -> Map<String, Json> {
        let config = config.map(|config| Json::Object(config.into_iter().collect()));
        let error = error.map(Json::from);
        fields([
            ("module", module.map(Json::from)),
            ("state", state),
            ("config", config),
            ("error_msg", error),
        ])
    }
}

prop_compose! {
    fn iface()(
        mac in one_of(vec![json!("aa:bb:cc:00:11:22"), json!("AA-BB-CC-00-11-22"), json!("")]),
        mtu in one_of(vec![json!(0), json!(1500), json!("9000")]),
        control in option::of(any::<bool>()),
        ip in one_of(vec![json!("10.0.0.1"), json!(""), json!("127.0.0.1")]),
    ) -> Json {
        let control = control.map(Json::from);
        let eth = fields([("mac", mac), ("mtu", mtu), ("control", control)]);
        json!({ "eth": eth, "ip": fields([("ip", ip)]) })
    }
}

prop_compose! {
    fn extensions()(
        ifaces in option::of(btree_map("(lo|eth[01])", iface(), 0..3)),
        routes in option::of(any_json()),
        domains in option::of(proptest::collection::vec(text(), 0..3)),
        others in btree_map("proto\\.[A-C]", btree_map("[a-z]{1,3}", any_json(), 0..3), 0..3),
    ) -> Vec<Json> {
        let domains = domains.map(Json::from);
        let ifaces = ifaces.map(|ifaces| Json::Object(ifaces.into_iter().collect()));
        let mut ipv4 =
            fields([("ifaces", ifaces), ("routes", routes), ("dns_domains", domains)]);
        let named = |name: &str| format!("type.googleapis.com/{name}");
        ipv4.insert("@type".to_owned(), named("IPv4.IPv4OverEthernet").into());
        let others = others.into_iter().map(|(name, fields)| {
            let mut other: Map<String, Json> = fields.into_iter().collect();
            other.insert("@type".to_owned(), named(&name).into());
            Json::from(other)
        });
        others.chain([ipv4.into()]).collect()
    }
}

prop_compose! {
    fn node()(
        phys in one_of(vec![json!("POWER_ON"), json!(1), json!(0), json!(4), Json::Null]),
        run in one_of(vec![json!("SYNC"), json!("UNKNOWN"), json!(3)]),
        busy in one_of(vec![json!("BUSY"), json!("FREE"), json!(1), json!(0)]),
        arch in option::of(text()),
        parent in option::of(uuid()),
        services in option::of(btree_map("[ab][a-z0-9.-]{0,2}", service(), 0..3)),
        extensions in option::of(extensions()),
    ) -> Json {
        let services = services.map(|services| {
            let named = services.into_iter().map(|(id, mut service)| {
                service.insert("id".to_owned(), id.into());
                Json::from(service)
            });
            named.collect::<Json>()
        });
        Json::from(fields([
            ("phys_state", phys),
            ("runState", run),
            ("busy", busy),
            ("arch", arch.map(Json::from)),
            ("parentId", parent.map(Json::from)),
            ("services", services),
            ("extensions", extensions.map(Json::from)),
        ]))
    }
}

/// Cfg as somebody else may have set it over other routes.
fn cfg() -> impl Strategy<Value = State> {
    let texts = [
        "/old/arch",
        "/old/id",
        "/old/parentId",
        "/old/services/a/module",
        "/old/services/a/config",
        "/old/services/b/errorMsg",
        "/old/ipv4/routes",
        "/old/ipv4/else",
        "/old/extensions/proto.A",
        "/old/extensions/x",
        "/ipv4/ifaces/lo/eth/mac",
        "/ipv4/ifaces/lo/ip/ip",
    ];
    let value = prop_oneof![
        text(),
        any_json().prop_map(|json| json.to_string()),
        any_json().prop_map(|json| json!({ "@type": "x/proto.A", "y": json }).to_string()),
    ];
    let texts = btree_map(proptest::sample::select(texts.to_vec()), value, 0..8);
    let mtu = option::of(0_i64..10_000);
    let phys = option::of(proptest::sample::select(vec!["POWER_OFF", "PHYS_ERROR"]));
    (texts, mtu, phys).prop_map(|(texts, mtu, phys)| {
        let mut cfg = State::new();
        let mut set = |path: &str, value: Value| cfg.set(Path::new(path).unwrap(), value).unwrap();
        for (path, text) in texts {
            set(path, text.into());
        }
        if let Some(mtu) = mtu {
            set("/ipv4/ifaces/lo/eth/mtu", mtu.into());
        }
        if let Some(phys) = phys {
            set("/physState", phys.into());
        }
        cfg
    })
}

fn checked(cfg: &State, enums: &Enums) {
    let shown = show::asked(&node_with(cfg.clone()), enums);
    let told = read::node(&shown, enums).unwrap();
    let (set, unset) = told.missing_in(cfg).unwrap();
    assert_eq!((set, unset), (State::new(), Vec::new()), "{shown}");
}

mod properties {
    use super::*;

    proptest! {
        #[test]
        fn what_is_shown_can_be_put_back_and_changes_nothing(
            cfg in cfg(), first in node(), second in node(),
        ) {
            let enums = enums();
            let mut cfg = cfg;
            checked(&cfg, &enums);
            for told in [first, second] {
                cfg = after(&cfg, &read::node(&told, &enums).unwrap());
                checked(&cfg, &enums);
            }
        }

        #[test]
        fn what_is_not_said_stays_and_what_is_said_holds(cfg in cfg(), said in node()) {
            let enums = enums();
            let told = read::node(&said, &enums).unwrap();
            let now = after(&cfg, &told);
            for (path, value) in cfg.iter().filter(|(path, _)| !told.values.contains_key(*path)) {
                prop_assert_eq!(now.get(path.as_str()), Some(value));
            }
            let (set, unset) = told.missing_in(&now).unwrap();
            prop_assert!(set.is_empty() && unset.is_empty(), "{:?} {:?}", set, unset);
        }

        #[test]
        fn extensions_that_nobody_knows_are_given_back_as_they_came(
            fields in btree_map("[a-zA-Z_]{1,5}", any_json(), 0..4), others in node(),
        ) {
            let enums = enums();
            let mut extension: Map<String, Json> = fields.into_iter().collect();
            extension.insert("@type".to_owned(), "type.googleapis.com/proto.RPi3".into());
            let node = json!({ "extensions": [extension] });
            let mut cfg = after(&State::new(), &read::node(&node, &enums).unwrap());
            cfg = after(&cfg, &read::node(&others, &enums).unwrap());
            let shown = show::asked(&node_with(cfg), &enums);
            let kept = shown["extensions"].as_array().unwrap();
            prop_assert!(kept.contains(&Json::from(extension)), "{}", shown);
        }

        #[test]
        fn no_body_is_a_panic(json in any_json(), key in "(services|extensions|id|physState)") {
            let enums = enums();
            drop(read::node(&json, &enums));
            drop(read::node(&json!({ key: json }), &enums));
            drop(read::nodes(&json!({ "nodes": [json] }), &enums));
        }
    }
}

#[test]
fn faults_name_the_field() {
    let enums = enums();
    for (node, expected) in [
        (json!([]), "a node is a JSON object"),
        (json!({ "colour": "red" }), "colour: it is no field of a node"),
        (json!({ "phys_state": 1, "physState": 1 }), "phys_state: it is given twice"),
        (json!({ "physState": "ON" }), "physState: \"ON\" is none of PHYS_UNKNOWN, POWER_OFF, "),
        (json!({ "runState": 9 }), "runState: 9 is none of UNKNOWN, INIT, SYNC, ERROR, nor a "),
        (json!({ "id": "n1" }), "id: \"n1\" is not a uid"),
        (json!({ "nodename": "a b" }), "nodename: \"a b\" is not a name"),
        (json!({ "arch": 1 }), "arch: it is a text"),
        (json!({ "services": [{ "module": "m" }] }), "services[0]: a service has an id"),
        (
            json!({ "services": [{ "id": "a" }, { "id": "a" }] }),
            "services[1]: this service comes twice",
        ),
        (json!({ "services": [{ "id": "a/b", "state": 1 }] }), "services[0]: "),
        (json!({ "services": [{ "id": "a", "config": 1 }] }), "services[0].config: a config"),
        (json!({ "extensions": [{ "x": 1 }] }), "extensions[0].@type: an extension names"),
        (json!({ "extensions": [{ "@type": "x/ " }] }), "extensions[0].@type: "),
    ] {
        let fault = read::node(&node, &enums).unwrap_err().to_string();
        assert!(fault.starts_with(expected), "{node}: {fault}");
    }
    let ipv4 = |fields: Json| {
        let mut extension = json!({ "@type": "type.googleapis.com/IPv4.IPv4OverEthernet" });
        extension.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        let node = json!({ "extensions": [extension] });
        let told = read::node(&node, &enums).map_err(|fault| fault.to_string())?;
        told.missing_in(&State::new()).map_err(|problem| problem.to_string())
    };
    let eth = |field: &str, value: Json| json!({ "ifaces": { "lo": { "eth": { field: value } } } });
    for (fields, expected) in [
        (json!({ "colour": 1 }), "extensions[0].colour: it is no field of IPv4"),
        (eth("mtu", json!(-1)), "extensions[0].ifaces.lo.eth.mtu: it is a number from 0"),
        (eth("speed", json!(1)), "extensions[0].ifaces.lo.eth.speed: it is no field of an"),
        (json!({ "ifaces": { "lo": { "arp": { "a": 1 } } } }), "extensions[0].ifaces.lo.arp.a: "),
        (eth("mac", json!("aa:bb")), "/ipv4/ifaces/lo/eth/mac: \"aa:bb\" is no address"),
        (
            json!({ "ifaces": { "lo": { "ip": { "ip": "10.0.0" } } } }),
            "/ipv4/ifaces/lo/ip/ip: \"10.0.0\" is no address",
        ),
    ] {
        let fault = ipv4(fields).unwrap_err();
        assert!(fault.starts_with(expected), "{fault}");
    }
    for (list, expected) in [
        (json!([]), "the body is a JSON object"),
        (json!({ "nodes": {} }), "nodes: it is a list"),
        (json!({ "node": [] }), "node: it is no field of a list of nodes"),
        (json!({ "nodes": [{}, { "physState": 7 }] }), "nodes[1].physState: 7 is none of"),
        (json!({ "nodes": [{ "nodename": "a" }, { "nodename": "a" }] }), "nodes[1]: this node"),
    ] {
        let fault = read::nodes(&list, &enums).unwrap_err().to_string();
        assert!(fault.starts_with(expected), "{list}: {fault}");
    }
}
