//! What differs between an object before and after.

use std::collections::BTreeMap;

use crate::{
    id::{Name, Uid},
    object::{Frozen, Object, OnDelete},
    path::Path,
    value::Value,
};

/// What differs between an object before and after, all in order of name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Alteration {
    /// The paths of its Cfg.
    pub paths: Vec<PathChange>,
    /// Its labels.
    pub labels: Vec<LabelChange>,
    /// What else became of it, in the order of [`Turn`]; nothing of one that was removed.
    pub turns: Vec<Turn>,
}

/// What became of one path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathChange {
    /// The path.
    pub path: Path,
    /// What it held before.
    pub before: Option<Value>,
    /// What it held after.
    pub after: Option<Value>,
}

/// What became of one label.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LabelChange {
    /// The label.
    pub label: Name,
    /// What it was.
    pub before: Option<String>,
    /// What it became.
    pub after: Option<String>,
}

/// One thing that became of an object beside its Cfg and its labels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Turn {
    /// It was frozen, also where it had been frozen otherwise.
    Frozen(Frozen),
    /// It was thawed.
    Thawed,
    /// It is to be removed.
    Deleting,
    /// It is no longer to be removed.
    Kept,
    /// It was given to another owner, or to nobody.
    Owner {
        /// Whose it was.
        before: Option<Uid>,
        /// Whose it became.
        after: Option<Uid>,
    },
    /// What becomes of it with its owner is another.
    OnDelete(OnDelete),
    /// The same was asked of it anew, by a retry or by way of something else: what failed before
    /// counts no more.
    AskedAgain,
}

impl Alteration {
    /// What differs; an object that is absent has nothing.
    pub fn between(before: Option<&Object>, after: Option<&Object>) -> Self {
        let cfg = |object: Option<&Object>| {
            let paths = object.into_iter().flat_map(|object| object.cfg.iter());
            paths.map(|(path, value)| (path.clone(), value.clone())).collect()
        };
        let labels = |object: Option<&Object>| {
            object.map(|object| object.labels.clone()).unwrap_or_default()
        };
        let path = |(path, before, after)| PathChange { path, before, after };
        let label = |(label, before, after)| LabelChange { label, before, after };
        Self {
            paths: entries(cfg(before), cfg(after)).map(path).collect(),
            labels: entries(labels(before), labels(after)).map(label).collect(),
            turns: after.map(|after| turns(before, after)).unwrap_or_default(),
        }
    }
}

/// The entries that differ, in order.
fn entries<K: Ord, V: PartialEq>(
    mut before: BTreeMap<K, V>,
    after: BTreeMap<K, V>,
) -> impl Iterator<Item = (K, Option<V>, Option<V>)> {
    let mut all: BTreeMap<K, (Option<V>, Option<V>)> = BTreeMap::new();
    for (key, value) in after {
        let was = before.remove(&key);
        all.insert(key, (was, Some(value)));
    }
    all.extend(before.into_iter().map(|(key, value)| (key, (Some(value), None))));
    let differing = all.into_iter().filter(|(_, (before, after))| before != after);
    differing.map(|(key, (before, after))| (key, before, after))
}

/// What became of an object that is there. Of one that was created: what it was created as.
fn turns(before: Option<&Object>, after: &Object) -> Vec<Turn> {
    let mut turns = Vec::new();
    match (before.and_then(|object| object.frozen.as_ref()), &after.frozen) {
        (was, Some(now)) if was != Some(now) => turns.push(Turn::Frozen(now.clone())),
        (Some(_), None) => turns.push(Turn::Thawed),
        _ => {}
    }
    let was_deleting = before.is_some_and(|object| object.deleting);
    if was_deleting != after.deleting {
        turns.push(if after.deleting { Turn::Deleting } else { Turn::Kept });
    }
    let owner = before.and_then(|object| object.owner);
    if owner != after.owner {
        turns.push(Turn::Owner { before: owner, after: after.owner });
    }
    if before.map(|object| object.on_delete).unwrap_or_default() != after.on_delete {
        turns.push(Turn::OnDelete(after.on_delete));
    }
    if let Some(before) = before
        && before.generation != after.generation
        && (&before.cfg, before.deleting) == (&after.cfg, after.deleting)
    {
        turns.push(Turn::AskedAgain);
    }
    turns
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        id::{ClusterId, Revision},
        object::{Labels, ObjectRef, Tenure},
        state::State,
        time::Millis,
    };

    fn object() -> Object {
        let key = ObjectRef { kind: name("node"), namespace: None, name: name("n1") };
        Object {
            uid: uid(1),
            key,
            labels: Labels::new(),
            owner: None,
            created: Millis::new(1),
            revision: Revision::new(1),
            generation: 1,
            deleting: false,
            frozen: None,
            cfg: State::new(),
            on_delete: OnDelete::default(),
            tenure: Tenure::default(),
        }
    }

    fn uid(revision: u64) -> Uid {
        Uid::derive(ClusterId::new(1), Revision::new(revision), 0)
    }

    fn name(text: &str) -> Name {
        Name::new(text).unwrap()
    }

    fn frozen(scope: &str) -> Frozen {
        let (revision, since) = (Revision::new(2), Millis::new(2));
        Frozen { revision, since, by: "ann".to_owned(), scope: scope.to_owned() }
    }

    #[test]
    fn each_thing_that_becomes_of_an_object_is_told() {
        let owner = uid(7);
        let frozen_as = |scope| Object { frozen: Some(frozen(scope)), ..object() };
        let mut asked = Object { generation: 2, ..object() };
        asked.cfg.set(Path::new("/x").unwrap(), "A".into()).unwrap();
        let deleting = Object { deleting: true, generation: 2, ..object() };
        let kept = Object { generation: 3, ..object() };
        let owned = Object { owner: Some(owner), ..object() };
        let cascades = Object { on_delete: OnDelete::Cascade, ..object() };
        let given = Turn::Owner { before: None, after: Some(owner) };
        let let_go = Turn::Owner { before: Some(owner), after: None };
        let retried = Object { generation: 2, ..object() };
        let table = [
            ("nothing", object(), object(), None),
            ("asked anew", object(), asked, None),
            ("a freeze", object(), frozen_as("all"), Some(Turn::Frozen(frozen("all")))),
            ("another freeze", frozen_as("all"), frozen_as("n1"), Some(Turn::Frozen(frozen("n1")))),
            ("the same freeze", frozen_as("all"), frozen_as("all"), None),
            ("a thaw", frozen_as("all"), object(), Some(Turn::Thawed)),
            ("a deletion", object(), deleting.clone(), Some(Turn::Deleting)),
            ("a deletion taken back", deleting, kept, Some(Turn::Kept)),
            ("an owner", object(), owned.clone(), Some(given)),
            ("nobody's", owned, object(), Some(let_go)),
            ("its end with it", object(), cascades, Some(Turn::OnDelete(OnDelete::Cascade))),
            ("a retry", object(), retried, Some(Turn::AskedAgain)),
        ];
        for (what, before, after, expected) in table {
            let expected: Vec<Turn> = expected.into_iter().collect();
            assert_eq!(turns(Some(&before), &after), expected, "{what}");
        }
        assert_eq!(turns(None, &object()), []);
        assert_eq!(turns(None, &frozen_as("all")), [Turn::Frozen(frozen("all"))]);
    }

    #[test]
    fn labels_that_came_went_or_changed_are_told_in_order() {
        let with = |of: &[(&str, &str)]| {
            let labels = of.iter().map(|(label, value)| (name(label), (*value).to_owned()));
            Object { labels: labels.collect(), ..object() }
        };
        let before = with(&[("rack", "r1"), ("role", "compute"), ("zone", "a")]);
        let after = with(&[("owner", "ann"), ("rack", "r2"), ("zone", "a")]);
        let alteration = Alteration::between(Some(&before), Some(&after));
        assert_eq!((alteration.paths, alteration.turns), (vec![], vec![]));
        let labels = alteration.labels.into_iter();
        let told: Vec<_> =
            labels.map(|change| (change.label.to_string(), change.before, change.after)).collect();
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(
            told,
            [
                ("owner".to_owned(), None, some("ann")),
                ("rack".to_owned(), some("r1"), some("r2")),
                ("role".to_owned(), some("compute"), None),
            ]
        );
    }
}
