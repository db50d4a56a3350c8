//! What cannot be declared, each with its message; and what can.

use std::time::Duration;

use super::*;
use crate::{
    machine::CLOSE_MS,
    manifest::{Context, Extension, From, PathSpec, SeenBy, To, Type},
};

/// Two paths of nodes and one of many services.
fn base() -> Manifest {
    let power = || Type::enum_of(["OFF", "ON"]);
    let extension = Extension::new("base")
        .path(PathSpec::new("/power", power()))
        .path(PathSpec::new("/note", Type::Text))
        .path(PathSpec::new("/services/*/state", power()))
        .path(PathSpec::new("/nets/*/ports/*", Type::Text));
    Manifest::new("base").extension(extension)
}

fn problems(manifests: &[Manifest]) -> String {
    let problems = Catalog::build(manifests).expect_err("it was taken");
    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

fn path(path: PathSpec) -> Manifest {
    Manifest::new("m").extension(Extension::new("x").path(path))
}

fn refused_paths() -> Vec<(Manifest, &'static str)> {
    let text = || PathSpec::new("/x", Type::Text);
    let of = |mut spec: PathSpec, edit: fn(&mut PathSpec)| {
        edit(&mut spec);
        path(spec)
    };
    vec![
        (
            Manifest::new("a b"),
            "manifest: \"a b\" is not a name: start with a letter or digit, then letters, digits, \
             `_`, `.` or `-`, at most 128 bytes",
        ),
        (Manifest::new("base"), "manifest: a second manifest of the same module"),
        (
            Manifest::new("m").extension(Extension::new("x").kind("").path(text())),
            "extension x, path /x: \"\" is not a name: start with a letter or digit, then letters, \
             digits, `_`, `.` or `-`, at most 128 bytes",
        ),
        (
            Manifest::new("m").extension(Extension::new("x").kind("module").path(text())),
            "extension x, path /x: module is the kind of a document, and so of no objects",
        ),
        (
            path(PathSpec::new("x", Type::Text)),
            "extension x, path x: \"x\" is not a path: it must start with `/`",
        ),
        (
            path(PathSpec::new("/*/x", Type::Text)),
            "extension x, path /*/x: the first segment cannot be `*`",
        ),
        (
            path(PathSpec::new("/engine/x", Type::Text)),
            "extension x, path /engine/x: /engine is kept for the engine itself",
        ),
        (
            path(PathSpec::new("/power", Type::Text)),
            "extension x, path /power: it overlaps /power of module base",
        ),
        (
            path(PathSpec::new("/services/web/state", Type::Text)),
            "extension x, path /services/web/state: it overlaps /services/*/state of module base",
        ),
        (
            of(text(), |spec| spec.absent = Some(7.into())),
            "extension x, path /x: 7 is not a text; put it in quotes",
        ),
        (
            of(PathSpec::new("/x/*/spec", Type::Text), |spec| spec.digest_of = vec!["/x/y".into()]),
            "extension x, path /x/*/spec: /x/y does not lie beside the digest",
        ),
        (
            of(PathSpec::new("/x/*/spec", Type::Text), |spec| spec.digest_of = vec!["/y/*".into()]),
            "extension x, path /x/*/spec: /y/* does not lie beside the digest",
        ),
    ]
}

fn refused_conditions() -> Vec<(Manifest, &'static str)> {
    let text = || PathSpec::new("/x", Type::Text);
    vec![
        (
            path(text().known_while("/power != ON")),
            "extension x, path /x: known_while \"/power != ON\" must be `=` or `in` on this object",
        ),
        (
            path(text().known_while("@parent /power = ON")),
            "extension x, path /x: known_while \"@parent /power = ON\" must be `=` or `in` on this \
             object",
        ),
        (
            path(text().known_while("/services/*/state = ON")),
            "extension x, path /x: known_while \"/services/*/state = ON\" must be `=` or `in` on \
             this object",
        ),
        (path(text().known_while("/powr = ON")), "path /x: no extension declares /powr"),
        (
            path(text().known_while("/power = HOT")),
            "path /x: known_while /power: HOT is not one of OFF, ON",
        ),
        (path(text().known_while("/x = a")), "path /x: what it is known by depends on it in turn"),
        (Manifest::new("m").discovers("/powr"), "discovers /powr: no extension declares this path"),
    ]
}

#[test]
fn manifests_that_cannot_be_are_refused() {
    for (manifest, expected) in refused_paths().into_iter().chain(refused_conditions()) {
        let module = manifest.module.clone();
        assert_eq!(problems(&[base(), manifest]), format!("module {module}, {expected}"));
    }
}

#[test]
fn a_circle_of_conditions_is_told_of_each_path_in_it() {
    let extension = Extension::new("x")
        .path(PathSpec::new("/a", Type::Text).known_while("/b = 1"))
        .path(PathSpec::new("/b", Type::Text).known_while("/c = 1"))
        .path(PathSpec::new("/c", Type::Text).known_while("/a = x"))
        .path(PathSpec::new("/d", Type::Text).known_while("/a = x"));
    let mut manifest = Manifest::new("m").extension(extension);
    for path in &mut manifest.extensions[0].paths {
        path.value_type = Type::Text;
        path.known_while = path.known_while.iter().map(|text| text.replace('1', "x")).collect();
    }
    let told = problems(&[manifest]);
    assert_eq!(told.matches("depends on it in turn").count(), 3, "{told}");
    assert!(!told.contains("/d"), "{told}");
}

fn power(name: &str) -> MutationSpec {
    MutationSpec::new(name).changes("/power", "OFF", "ON")
}

fn refused_mutations() -> Vec<(MutationSpec, &'static str)> {
    let parent = |name: &str| power(name).context(Context::Parent);
    vec![
        (
            power("a b"),
            "\"a b\" is not a name: start with a letter or digit, then letters, digits, \
                        `_`, `.` or `-`, at most 128 bytes",
        ),
        (power("M").kind("ghost"), "no extension declares paths of kind ghost"),
        (MutationSpec::new("M"), "it changes nothing"),
        (power("M").disruptive(), "what a node decides for itself is never disruptive"),
        (
            power("M").changes("/services/*/state", "OFF", "ON"),
            "all changed paths must hold the same stars",
        ),
        (MutationSpec::new("M").changes("/powr", "OFF", "ON"), "no extension declares /powr"),
        (
            MutationSpec::new("M").changes("/power", From::one_of(["OFF", "ON"]), "ON"),
            "/power leads from ON to itself",
        ),
        (MutationSpec::new("M").changes("/power", "COLD", "ON"), "COLD is not one of OFF, ON"),
        (MutationSpec::new("M").changes("/power", "OFF", "HOT"), "HOT is not one of OFF, ON"),
        (power("M").fail_to("/powr", "OFF"), "no extension declares /powr"),
        (power("M").fail_to("/power", "HUNG"), "HUNG is not one of OFF, ON"),
        (
            power("M").fail_to("/services/*/state", "OFF"),
            "/services/*/state has stars that no change binds",
        ),
        (power("M").via("/powr", "OFF"), "no extension declares /powr"),
        (power("M").via("/power", "WARM"), "WARM is not one of OFF, ON"),
        (
            power("M").via("/services/*/state", "OFF"),
            "/services/*/state has stars that no change binds",
        ),
        (
            power("M").requires("/note"),
            "\"/note\" is not a predicate: write `/path = VALUE`, `!=`, `<`, `<=`, `>`, `>=`, \
             `/path in {A, B}` or `/path known`",
        ),
        (power("M").requires("/powr = ON"), "no extension declares /powr"),
        (power("M").excludes("/power = HOT"), "HOT is not one of OFF, ON"),
        (
            power("M").requires("/services/*/state = ON"),
            "/services/*/state = ON has stars that no change binds",
        ),
        (power("M").requires("/power = ON"), "it requires /power = ON, from which it never starts"),
        (parent("M"), "/power is changed by the node and by the leader"),
        (power("Own"), "a second mutation of the same name"),
    ]
}

#[test]
fn mutations_that_cannot_be_are_refused() {
    for (spec, expected) in refused_mutations() {
        let name = spec.name.clone();
        let manifest = base().mutation(power("Own")).mutation(spec);
        assert_eq!(problems(&[manifest]), format!("module base, mutation {name}: {expected}"));
    }
}

#[test]
fn all_problems_are_told_at_once() {
    let manifest =
        base().mutation(MutationSpec::new("A")).mutation(MutationSpec::new("B")).discovers("/powr");
    assert_eq!(problems(&[manifest]).matches("; ").count(), 2);
}

#[test]
fn modules_extend_each_other_in_any_order() {
    let other = Manifest::new("another")
        .discovers("/power")
        .mutation(MutationSpec::new("Note").changes("/note", From::Any, To::Cfg))
        .mutation(power("On").requires("/engineering = 1").requires("@parent /anything = 1"))
        .extension(Extension::new("x").path(PathSpec::new("/engineering", Type::count())));
    let one = Catalog::build(&[base(), other.clone()]).unwrap();
    let two = Catalog::build(&[other, base()]).unwrap();
    let node = Name::new("node").unwrap();
    let (one, two) = (one.kind(&node).unwrap(), two.kind(&node).unwrap());
    let ids =
        |kind: &KindCatalog| kind.mutations.iter().map(|m| m.id.to_string()).collect::<Vec<_>>();
    assert_eq!(ids(one), ["another/Note", "another/On"]);
    assert_eq!(ids(one), ids(two));
    let path = Path::new("/power").unwrap();
    let (rule, _) = one.schema.rule(&path).unwrap();
    assert!(rule.discovered);
    assert!(rule.changed_from.is_some());
    for mutation in &one.mutations {
        assert_eq!(one.mutation(&mutation.id), Some(mutation));
    }
}

#[test]
fn digests_differ_where_declarations_or_kinds_do() {
    let with = |manifest: Manifest| {
        let app = Extension::new("apps").kind("app").path(PathSpec::new("/power", Type::Text));
        Catalog::build(&[manifest.extension(app)]).unwrap()
    };
    let (one, same, other) = (with(base()), with(base()), with(base().mutation(power("On"))));
    assert_eq!(one.digest(), same.digest());
    assert_ne!(one.digest(), other.digest());
    let digest =
        |catalog: &Catalog, kind: &str| catalog.kind(&Name::new(kind).unwrap()).unwrap().digest;
    assert_eq!(digest(&one, "node"), digest(&same, "node"));
    assert_ne!(digest(&one, "node"), digest(&one, "app"));
    assert_ne!(digest(&one, "node"), digest(&other, "node"));
}

#[test]
fn a_lane_is_concerned_with_what_it_changes_and_what_that_rests_on() {
    let plain = |path: &str| PathSpec::new(path, Type::Text);
    let extension = Extension::new("m")
        .path(plain("/power"))
        .path(plain("/cooling"))
        .path(plain("/system"))
        .path(plain("/web"))
        .path(plain("/page"))
        .path(plain("/known").known_while("/power = ON"))
        .path(plain("/doc/spec").digest_of(&["/doc/text"]))
        .path(PathSpec::input("/doc/text", Type::Text))
        .path(plain("/lamp"));
    let set = |name: &str, path: &str| MutationSpec::new(name).changes(path, From::Any, To::Cfg);
    let mut manifest = Manifest::new("m")
        .extension(extension)
        .mutation(set("Power", "/power").context(Context::Parent))
        .mutation(
            set("Cool", "/cooling").context(Context::Control).requires("@parent /cooling = ON"),
        )
        .mutation(set("Boot", "/system").requires("/power = ON"))
        .mutation(set("Serve", "/web").requires("/system = UP"))
        .mutation(set("Show", "/page").excludes("/web = DOWN"))
        .mutation(set("Apply", "/doc/spec").requires("/power = ON"))
        .mutation(set("Light", "/lamp").requires("@parent /power = ON"));
    for path in ["/power", "/cooling", "/system", "/web", "/page", "/known", "/doc/spec", "/lamp"] {
        manifest = manifest.discovers(path);
    }
    let catalog = Catalog::build(&[manifest]).unwrap();
    let kind = catalog.kind(&Name::new("node").unwrap()).unwrap();
    for (path, quorum, host) in [
        ("/power", true, true),
        ("/cooling", true, false),
        ("/system", true, true),
        ("/web", true, true),
        ("/page", true, true),
        ("/known", true, false),
        ("/doc/spec", true, true),
        ("/doc/text", true, false),
        // Another object's path is brought about by whoever asks for that.
        ("/lamp", false, true),
    ] {
        let rule = kind.schema.rule_at(&Path::new(path).unwrap()).unwrap();
        assert_eq!((rule.concerns_quorum, rule.concerns_host), (quorum, host), "{path}");
    }
    let named = |list: &[(On, Path)]| -> Vec<String> {
        list.iter().map(|(_, path)| path.to_string()).collect()
    };
    assert_eq!(named(&kind.elsewhere), ["/cooling", "/power"]);
    assert_eq!(named(&kind.elsewhere_of_host), ["/power"]);
}

#[test]
fn a_host_can_stop_what_must_never_run_twice() {
    let of = |path: PathSpec, context, lease_ms: u64, kind: &str| {
        let host = PathSpec::new("/host", Type::Text).seen_by(SeenBy::Nobody);
        let at = path.path.clone();
        let stop =
            MutationSpec::new("Stop").kind(kind).context(context).timeout(Duration::from_secs(7));
        let manifest = Manifest::new("m")
            .kind(KindSpec::new(kind).singleton(Duration::from_millis(lease_ms)))
            .extension(Extension::new("m").kind(kind).path(path).path(host))
            .mutation(stop.changes(&at, "ON", "OFF"));
        Catalog::build(&[manifest])
    };
    let run = || PathSpec::new("/run", Type::enum_of(["OFF", "ON"]));
    let (own, led) = (Context::Itself, Context::Control);
    let taken = of(run().absent("OFF"), own, 5_000, "post").unwrap();
    let kind = taken.kind(&Name::new("post").unwrap()).unwrap();
    let singleton = Singleton { lease_ms: 5_000, stop_ms: 2 * (7_000 + CLOSE_MS) };
    assert_eq!(kind.singleton, Some(singleton));
    assert_eq!(singleton.away_ms(), 25_300, "lease, stop, and a tenth of both");
    let why = |path, context, lease_ms, kind| of(path, context, lease_ms, kind).unwrap_err();
    for (found, code, text) in [
        (why(run(), own, 5_000, "post"), Code::DeadEnd, "no path has a value for `absent`"),
        (why(run().absent("OFF"), led, 5_000, "post"), Code::Lanes, "/run is not changed by its"),
        (why(run().absent("OFF"), own, 4_999, "post"), Code::WrongValue, "a lease is from 5000 to"),
        (why(run().absent("OFF"), own, 5_000, "node"), Code::Reserved, "a node hosts itself"),
        (
            why(
                PathSpec::new("/run/*", Type::enum_of(["OFF", "ON"])).absent("OFF"),
                own,
                5_000,
                "post",
            ),
            Code::Stars,
            "/run/* holds stars",
        ),
    ] {
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!((found[0].code, found[0].why.starts_with(text)), (code, true), "{found:?}");
        assert_eq!(found[0].keys, ["kinds", "0", "singletonLeaseMs"]);
    }
    let hostless = Manifest::new("m")
        .kind(KindSpec::new("post").singleton(Duration::from_secs(5)))
        .extension(Extension::new("m").kind("post").path(run().absent("OFF")));
    assert_eq!(Catalog::build(&[hostless]).unwrap_err()[0].code, Code::UnknownPath);
}
