//! A file of manifests and declarations, read without a server: what the simulator starts from.

use kraken_engine::{check::Source, command::Op};

use crate::document::{self, Defaults, Document};

/// What a file holds.
#[derive(Debug, Clone, Default)]
pub struct StateFile {
    /// Declarations of modules.
    pub sources: Vec<Source>,
    /// The objects, each to be put.
    pub objects: Vec<Op>,
}

/// Reads a file, YAML or JSON. What is wrong is said in words, with line and key.
pub fn read(text: &str) -> Result<StateFile, String> {
    let whole = document::read_all(text.as_bytes(), &Defaults::default());
    let whole = whole.map_err(|problem| problem.to_string())?;
    let objects = whole.documents.iter().flat_map(puts).collect();
    Ok(StateFile { sources: whole.sources, objects })
}

fn puts(document: &Document) -> impl Iterator<Item = Op> {
    document.keys().map(|object| Op::Put {
        object,
        labels: document.labels.clone(),
        owner: document.owner.clone(),
        cfg: document.cfg.clone(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_gives_its_objects_and_a_mistake_its_place() {
        let text = "kind: node\nname: n[1-3]\ncfg:\n  physState: POWER_ON\n";
        assert_eq!(read(text).unwrap().objects.len(), 3);
        let wrong = read("kind: node\nnam: n1\n").unwrap_err();
        assert!(wrong.contains("nam"), "{wrong}");
    }
}
