//! Retries: a write of Cfg that changes nothing that is asked, and moves the generation, at which
//! deciders forget failures. So a retry reaches the decider wherever it is, and survives restarts.

use std::sync::Arc;

use super::{
    Change, Store,
    freeze::{Scope, scopes},
};
use crate::{
    command::{Refusal, Targets},
    id::Revision,
    object::Object,
};

impl Store {
    pub(super) fn retry(
        &mut self,
        index: Revision,
        targets: &Targets,
    ) -> Result<Vec<Change>, Refusal> {
        let scopes = scopes(targets);
        for scope in &scopes {
            if let Scope::Node(name) = scope {
                self.node_exists(name)?;
            }
        }
        let mut changes = Vec::new();
        for object in self.objects.values() {
            if scopes.iter().any(|scope| scope.covers(object)) {
                let generation = object.generation + 1;
                let retried = Object { generation, revision: index, ..(**object).clone() };
                let before = Some(object.clone());
                changes.push(Change::Put { object: Arc::new(retried), before });
            }
        }
        self.take_over(&changes);
        Ok(changes)
    }
}

#[cfg(test)]
mod tests {
    use crate::{
        command::{Command, Op, Outcome, Proposal, Refusal, Targets, Txn},
        id::{Name, Revision, Term, Uid},
        manifest::{Extension, Manifest, PathSpec, Type},
        object::{Labels, ObjectRef},
        state::State,
        store::{Applied, Store},
        time::Millis,
    };

    fn name(text: &str) -> Name {
        Name::new(text).unwrap()
    }

    fn apply(store: &mut Store, index: u64, command: Command) -> Applied {
        let proposal =
            Proposal { request: None, author: "a".to_owned(), at: Millis::new(index), command };
        store.apply(Revision::new(index), Term::new(1), &proposal)
    }

    fn store() -> Store {
        let mut store = Store::new();
        let path = PathSpec::new("/x", Type::Text);
        let manifest = Manifest::new("m").extension(Extension::new("e").path(path));
        apply(&mut store, 1, Command::Declare { manifests: vec![manifest] });
        let put = |(node, rack): (&str, &str)| Op::Put {
            object: ObjectRef { kind: name("node"), namespace: None, name: name(node) },
            labels: Some(Labels::from([(name("rack"), rack.to_owned())])),
            owner: None,
            cfg: State::new(),
        };
        let ops = [("n1", "r1"), ("n2", "r1"), ("n3", "r2")].map(put).to_vec();
        let applied = apply(&mut store, 2, Command::Txn(Txn { ops, ..Txn::default() }));
        assert!(matches!(applied.outcome, Outcome::Applied { .. }), "{applied:?}");
        store
    }

    fn touched(applied: &Applied) -> Vec<&str> {
        let mut names: Vec<&str> =
            applied.changes.iter().map(|change| change.object().key.name.as_str()).collect();
        names.sort_unstable();
        names
    }

    #[test]
    fn retry_moves_generation_and_revision_of_its_targets_alone() {
        for (targets, expected) in [
            (Targets::All, vec!["n1", "n2", "n3"]),
            (Targets::Selector("rack=r1".parse().unwrap()), vec!["n1", "n2"]),
            (Targets::Selector("rack=r9".parse().unwrap()), vec![]),
            (Targets::Names(vec![name("n3")]), vec!["n3"]),
        ] {
            let mut store = store();
            let before: Vec<_> = store.objects().cloned().collect();
            let applied = apply(&mut store, 7, Command::Retry { targets: targets.clone() });
            assert_eq!(touched(&applied), expected, "{targets:?}");
            for (before, after) in before.iter().zip(store.objects()) {
                let retried = expected.contains(&after.key.name.as_str());
                let revision = if retried { 7 } else { before.revision.get() };
                assert_eq!(after.generation, before.generation + u64::from(retried));
                assert_eq!(after.revision.get(), revision);
                assert_eq!(after.cfg, before.cfg);
            }
        }
    }

    #[test]
    fn retry_of_a_node_that_is_not_there_is_refused_whole() {
        let mut store = store();
        let before: Vec<(Uid, u64)> = store.objects().map(|o| (o.uid, o.generation)).collect();
        let targets = Targets::Names(vec![name("n1"), name("n9")]);
        let applied = apply(&mut store, 7, Command::Retry { targets });
        assert!(matches!(applied.outcome, Outcome::Refused(Refusal::NoSuchObject(_))));
        let after: Vec<(Uid, u64)> = store.objects().map(|o| (o.uid, o.generation)).collect();
        assert_eq!(after, before);
    }
}
