//! Plans of whole changes, read line by line: each object as it comes, so that nobody holds a
//! hundred thousand of them.

use bytes::Bytes;
use hyper::Method;
use serde_json::Value as Json;

use super::{
    Call, Client, Error, TargetsQuery, WriteQuery,
    follow::Lines,
    typed::{YAML, patch_many, patch_one, put_text},
};
use crate::dry_run::{DryRun, Line, Outlook, Planned};

/// A plan as it comes. The server stops planning when this is dropped.
pub struct Plans {
    lines: Lines,
}

/// A piece of a plan.
#[derive(Debug, Clone, PartialEq)]
pub enum PlanPart {
    /// So many objects are planned, of so many.
    Progress {
        /// How many are planned.
        done: usize,
        /// How many are to be.
        of: usize,
    },
    /// What would be done to one object.
    Object(Box<Planned>),
    /// The last piece.
    End {
        /// The revision from which it was planned.
        revision: u64,
        /// When what would be done.
        outlook: Box<Outlook>,
    },
}

impl Client {
    /// What applying manifests would do.
    pub async fn plan(&self, manifests: impl Into<Bytes>) -> Result<Plans, Error> {
        let call = Call::new(Method::POST, "/v1/apply?dryRun=plan").body(YAML, manifests);
        self.plans(call).await
    }

    /// What a change of all nodes of a node set, or of all that a selector selects, would do.
    pub async fn plan_patch_nodes(
        &self,
        targets: &TargetsQuery,
        patch: &Json,
        how: &WriteQuery,
    ) -> Result<Plans, Error> {
        self.plans(patch_many(targets, patch, how, true)).await
    }

    /// What a change of one object would do.
    pub async fn plan_patch(
        &self,
        kind: &str,
        name: &str,
        patch: &Json,
        how: &WriteQuery,
    ) -> Result<Plans, Error> {
        self.plans(patch_one((kind, name), patch, how, true)).await
    }

    /// What replacing all that users asked of an object would do. The manifest is YAML or JSON.
    pub async fn plan_put(
        &self,
        kind: &str,
        name: &str,
        manifest: impl Into<Bytes>,
        how: &WriteQuery,
    ) -> Result<Plans, Error> {
        self.plans(put_text((kind, name), manifest, how, true)).await
    }

    pub(super) async fn plans(&self, call: Call) -> Result<Plans, Error> {
        let call = call.header("accept", "application/x-ndjson");
        Ok(Plans { lines: self.persist(&call, Self::try_lines).await? })
    }
}

impl Plans {
    /// The next piece; nothing after the last. Cancel safe.
    pub async fn next(&mut self) -> Result<Option<PlanPart>, Error> {
        match self.lines.next::<Line>().await? {
            None => Ok(None),
            Some(Line::Progress { done, of }) => Ok(Some(PlanPart::Progress { done, of })),
            Some(Line::Object(planned)) => Ok(Some(PlanPart::Object(planned))),
            Some(Line::End { revision, outlook }) => Ok(Some(PlanPart::End { revision, outlook })),
            Some(Line::Problem { problem }) => Err(self.problem(problem)),
        }
    }

    fn problem(&self, problem: Json) -> Error {
        match serde_json::from_value(problem) {
            Ok(problem) => {
                let (server, problem) = (self.lines.server.clone(), Box::new(problem));
                Error::Problem { server, problem }
            }
            Err(error) => self.lines.wrong(error.to_string()),
        }
    }

    /// What is wrong with a plan that ended before its last piece.
    pub fn cut(&self) -> Error {
        self.lines.wrong("it ended before the plan did".to_owned())
    }

    /// The whole plan.
    pub async fn whole(self) -> Result<DryRun, Error> {
        self.whole_with(|_, _| {}).await
    }

    /// The whole plan; `told` hears how many objects are planned, of how many.
    pub async fn whole_with(mut self, mut told: impl FnMut(usize, usize)) -> Result<DryRun, Error> {
        let mut objects = Vec::new();
        while let Some(part) = self.next().await? {
            match part {
                PlanPart::Progress { done, of } => told(done, of),
                PlanPart::Object(planned) => objects.push(*planned),
                PlanPart::End { revision, outlook } => {
                    return Ok(DryRun { revision, objects, outlook: *outlook });
                }
            }
        }
        Err(self.cut())
    }
}
