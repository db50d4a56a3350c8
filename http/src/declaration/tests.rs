//! What is read as a declaration, and where its faults are said to stand.

use kraken_engine::{
    check::check,
    manifest::{Context, Extension, From, MutationSpec, PathSpec, SeenBy, To, Type},
};

use super::*;

const LAMP: &str = "\
kind: module
name: lamp
discovers: /lamp
extensions:
  - name: lamp
    paths:
      - { path: /lamp, type: [OFF, ON, HANG], seenBy: self }
      - { path: /image, type: text }
      - { path: /slots, type: count, setBy: nobody }
mutations:
  - name: SwitchOn
    context: parent
    changes: { /lamp: { from: OFF, to: ON } }
    requires: /slots > 0
    via: { /lamp: HANG }
  - name: SwitchOff
    context: parent
    changes:
      /lamp: { from: [ON, HANG], to: OFF }
  - name: Flash
    changes: { /image: { from: any, to: cfg } }
";

fn lamp() -> Manifest {
    let states = Type::enum_of(["OFF", "ON", "HANG"]);
    Manifest::new("lamp")
        .discovers("/lamp")
        .extension(
            Extension::new("lamp")
                .path(PathSpec::new("/lamp", states).seen_by(SeenBy::Itself))
                .path(PathSpec::new("/image", Type::Text))
                .path(PathSpec::fact("/slots", Type::count())),
        )
        .mutation(
            MutationSpec::new("SwitchOn")
                .context(Context::Parent)
                .changes("/lamp", "OFF", "ON")
                .requires("/slots > 0")
                .via("/lamp", "HANG"),
        )
        .mutation(MutationSpec::new("SwitchOff").context(Context::Parent).changes(
            "/lamp",
            From::one_of(["ON", "HANG"]),
            "OFF",
        ))
        .mutation(MutationSpec::new("Flash").changes("/image", From::Any, To::Cfg))
}

#[test]
fn what_is_written_short_is_what_the_builder_makes() {
    let read = read(LAMP, None).unwrap();
    assert_eq!(read.len(), 1);
    assert_eq!(read[0].manifest, lamp());
}

#[test]
fn what_a_server_answers_can_be_sent_back() {
    let json = serde_json::to_string(&lamp()).unwrap();
    assert_eq!(read(&json, None).unwrap()[0].manifest, lamp());
}

#[test]
fn paths_alone_are_a_manifest_of_the_same_name() {
    let text = "kind: extension\nname: racks\nextends: rack\npaths:\n- {path: /door, type: bool}\n";
    let read = read(text, None).unwrap();
    let path = PathSpec::new("/door", Type::Bool);
    let racks = Manifest::new("racks").extension(Extension::new("racks").kind("rack").path(path));
    assert_eq!(read[0].manifest, racks);
    let keys = ["extensions", "0", "paths", "0"].map(str::to_owned).to_vec();
    assert_eq!(read[0].spots.get(&keys).map(|spot| spot.line), Some(5));
}

#[test]
fn objects_are_passed_over() {
    let text = format!("kind: node\nname: n1\n---\n{LAMP}");
    assert_eq!(read(&text, None).unwrap().len(), 1);
    assert!(read("kind: node\nname: n1\n", None).unwrap().is_empty());
}

#[test]
fn faults_stand_at_line_and_key() {
    for (from, to, expected) in [
        ("requires", "require", "line 14, column 5, mutations.0.require: unknown field"),
        ("type: text", "type: txt", "line 8, column 25, extensions.0.paths.1.type: "),
        ("to: OFF", "too: OFF", "line 19, column 34, mutations.1.changes./lamp.too: unknown field"),
    ] {
        let faults = read(&LAMP.replace(from, to), None).unwrap_err();
        let text = faults[0].to_string();
        assert!(text.starts_with(expected), "{text}");
    }
}

#[test]
fn findings_stand_at_file_line_and_column() {
    let text = LAMP.replace("/lamp, type: [OFF, ON, HANG]", "/lamp, type: [OFF, HANG]");
    let found = check(&read(&text, Some("lamp.yaml")).unwrap());
    assert_eq!(
        found[0].to_string(),
        "lamp.yaml:13:16: error[wrong_value]: module lamp, mutation SwitchOn: ON is not one of \
         OFF, HANG"
    );
    let text = LAMP
        .replace("from: [ON, HANG]", "from: ON")
        .replace("    requires: /slots > 0\n", "    failTo:\n      /lamp: HANG\n");
    let found = check(&read(&text, Some("lamp.yaml")).unwrap());
    assert!(
        found[0].to_string().starts_with("lamp.yaml:15:7: error[fail_to_kept]: module lamp"),
        "{found:?}"
    );
}
