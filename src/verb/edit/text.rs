//! The text that is edited: a head of comments that says what it is and what is wrong with it, and
//! below that the manifest.

use std::collections::BTreeMap;

use kraken_engine::object::OnDelete;
use kraken_http::view::ObjectView;
use serde::Serialize;
use serde_json::Value as Json;

use crate::{exit::Failure, fleet::reference, output::yaml};

/// What people ask of an object, as a manifest.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Asked {
    kind: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    namespace: Option<String>,
    name: String,
    labels: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    owner: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    on_delete: Option<OnDelete>,
    cfg: Json,
}

impl Asked {
    /// Of an object, of whose Cfg this is people's.
    pub(super) fn of(object: &ObjectView, cfg: Json) -> Self {
        Self {
            kind: object.kind.clone(),
            namespace: object.namespace.clone(),
            name: object.name.clone(),
            labels: object.labels.clone(),
            owner: object.owner.clone(),
            on_delete: object.on_delete,
            cfg,
        }
    }
}

/// A text in an editor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Text {
    head: String,
    body: String,
    wrong: String,
}

impl Text {
    /// What is asked of an object.
    pub(super) fn of(object: &ObjectView, asked: Asked) -> Result<Self, Failure> {
        let (name, revision) = (reference(object), object.revision);
        let head = format!(
            "# What is asked of {name}, as of revision {revision}. Save it and leave the editor: it\n\
             # is shown what your changes would do before they are made. As it is, or empty, it\n\
             # changes nothing.\n"
        );
        Ok(Self { head, body: yaml(&asked)?, wrong: String::new() })
    }

    /// As it stands in the editor.
    pub(super) fn whole(&self) -> String {
        format!("{}{}{}", self.head, self.wrong, self.body)
    }

    /// The manifest alone.
    pub(super) fn body(&self) -> &str {
        &self.body
    }

    /// Whether it says nothing.
    pub(super) fn is_empty(&self) -> bool {
        self.body.lines().all(|line| line.trim().is_empty() || line.trim_start().starts_with('#'))
    }

    /// Takes what was made of it; says whether that is something else.
    pub(super) fn take(&mut self, edited: &str) -> bool {
        let is_head = |line: &&str| line.starts_with('#');
        let head: usize = edited.split_inclusive('\n').take_while(is_head).map(str::len).sum();
        let body = edited.get(head..).unwrap_or_default();
        let is_new = body.trim_end() != self.body.trim_end();
        body.clone_into(&mut self.body);
        is_new
    }

    /// Says above the manifest what is wrong with it. Lines are counted from the first one of the
    /// manifest, and told as they are counted in the editor.
    pub(super) fn explain(&mut self, said: &str) {
        self.wrong.clear();
        if said.is_empty() {
            return;
        }
        let above = self.head.lines().count() + said.lines().count() + 1;
        let comment = |line: &str| format!("# {}\n", moved(line, above));
        self.wrong = std::iter::once("#\n".to_owned()).chain(said.lines().map(comment)).collect();
    }
}

/// A sentence whose `line 7` is told for a text with so many lines above.
fn moved(said: &str, above: usize) -> String {
    const LINE: &str = "line ";
    let mut parts = said.split(LINE);
    let mut moved = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let digits = part.bytes().take_while(u8::is_ascii_digit).count();
        let (number, rest) = part.split_at(digits);
        moved.push_str(LINE);
        match number.parse::<usize>() {
            Ok(number) => moved.push_str(&number.saturating_add(above).to_string()),
            Err(_) => moved.push_str(number),
        }
        moved.push_str(rest);
    }
    moved
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn text() -> Text {
        let object: ObjectView = serde_json::from_value(json!({
            "kind": "node", "name": "n1", "uid": "u1", "labels": { "rack": "r1" }, "revision": 9,
            "created": "",
        }))
        .unwrap();
        let cfg = json!({ "services": { "web": { "state": "RUN" } } });
        Text::of(&object, Asked::of(&object, cfg)).unwrap()
    }

    #[test]
    fn what_is_wrong_stands_above_the_manifest_with_the_lines_of_the_editor() {
        let mut text = text();
        let edited = text.whole().replace("RUN", "RUNN");
        assert!(text.take(&edited));
        text.explain("document 1, line 8, column 14: RUNN is not one of RUN, STOP\n  so it is");
        insta::assert_snapshot!(text.whole(), @r"
        # What is asked of node/n1, as of revision 9. Save it and leave the editor: it
        # is shown what your changes would do before they are made. As it is, or empty, it
        # changes nothing.
        #
        # document 1, line 14, column 14: RUNN is not one of RUN, STOP
        #   so it is
        kind: node
        name: n1
        labels:
          rack: r1
        cfg:
          services:
            web:
              state: RUNN
        ");
        assert_eq!(text.whole().lines().nth(14 - 1), Some("      state: RUNN"));
        assert!(!text.take(&text.whole().clone()), "it is as it was");
        text.explain("");
        assert_eq!(text.whole(), edited);
    }

    #[test]
    fn a_text_without_a_word_is_empty() {
        let mut text = text();
        assert!(!text.is_empty());
        for empty in ["", "\n\n", "# only this\n\n  # and that\n"] {
            text.take(empty);
            assert!(text.is_empty(), "{empty:?}");
        }
    }
}
