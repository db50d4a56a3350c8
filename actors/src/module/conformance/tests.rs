//! The suite against a module that breaks each rule in turn: a rule that cannot fail proves
//! nothing.

use std::{future::pending, path::PathBuf};

use actix::{Actor, Context, Handler, ResponseFuture};
use kraken_engine::manifest::{Extension, From, MutationSpec, PathSpec, Type};
use serde::Deserialize;
use serde_json::json;

use super::*;
use crate::module::{
    Configure, Kit, Look, Module, Mutate, MutateError, Poll, Stopping, fake,
    harness::{Time, run},
};

/// How long its mutation takes.
const WORK: Duration = Duration::from_secs(4);

/// A lamp that remembers in a file whether it is on, and that can be broken in one way.
struct Lamp {
    flaw: Flaw,
    file: PathBuf,
    kit: Kit,
    told: bool,
}

#[derive(Debug, Clone, Copy, Default, Deserialize, PartialEq, Eq)]
enum Flaw {
    #[default]
    None,
    DoesNotStart,
    Fails,
    NeverAnswers,
    BlocksLooks,
    ShowsNothing,
    ShowsWrong,
    FailsWhenRepeated,
    IgnoresCancel,
    IgnoresDeadline,
    DropsLate,
    Lies,
    TakesAnything,
    RefusesAsTransient,
    RefusesConfig,
    DiesOfConfig,
    NeverEnds,
    ForgetsInGoodOrder,
    ForgetsOnCrash,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct LampConfig {
    flaw: Flaw,
    changed: bool,
}

impl Actor for Lamp {
    type Context = Context<Self>;
}

impl Module for Lamp {
    type Config = LampConfig;

    fn manifest() -> Manifest {
        Manifest::new("lamp")
            .extension(
                Extension::new("lamp").path(PathSpec::new("/lamp", Type::enum_of(["OFF", "ON"]))),
            )
            .discovers("/lamp")
            .mutation(
                MutationSpec::new("SwitchOn")
                    .changes("/lamp", From::Any, "ON")
                    .timeout(WORK * 3)
                    .cancellable(),
            )
    }

    fn build(config: LampConfig, kit: Kit) -> Result<Self, ConfigureError> {
        if config.flaw == Flaw::DoesNotStart {
            return Err(ConfigureError::Start("told to".to_owned()));
        }
        let file = kit.data.join("on");
        let crashed = kit.data.join("running");
        if config.flaw == Flaw::ForgetsOnCrash && crashed.exists() {
            std::fs::remove_file(&file).map_err(|e| ConfigureError::Start(e.to_string()))?;
        }
        std::fs::write(&crashed, "").map_err(|e| ConfigureError::Start(e.to_string()))?;
        Ok(Self { flaw: config.flaw, file, kit, told: false })
    }

    fn shutdown(&mut self, _: Stopping) -> ResponseFuture<()> {
        if self.flaw == Flaw::NeverEnds {
            return Box::pin(pending());
        }
        if self.flaw == Flaw::ForgetsInGoodOrder {
            std::fs::remove_file(&self.file).unwrap();
        }
        std::fs::remove_file(self.kit.data.join("running")).unwrap();
        Box::pin(async {})
    }
}

impl Handler<Mutate> for Lamp {
    type Result = ResponseFuture<Result<(), MutateError>>;

    fn handle(&mut self, mutate: Mutate, _: &mut Context<Self>) -> Self::Result {
        let (flaw, file) = (self.flaw, self.file.clone());
        if mutate.mutation.as_str() != "SwitchOn" {
            return Box::pin(async move {
                match flaw {
                    Flaw::TakesAnything => Ok(()),
                    Flaw::RefusesAsTransient => Err(MutateError::transient("unknown")),
                    _ => Err(MutateError::permanent("unknown")),
                }
            });
        }
        let repeated = std::mem::replace(&mut self.told, true);
        Box::pin(switch_on(mutate, flaw, file, repeated))
    }
}

async fn switch_on(
    mutate: Mutate,
    flaw: Flaw,
    file: PathBuf,
    repeated: bool,
) -> Result<(), MutateError> {
    let done = Instant::now() + WORK;
    let late = Instant::now() >= mutate.deadline.checked_sub(WORK).unwrap_or(mutate.deadline);
    match flaw {
        Flaw::Fails => return Err(MutateError::transient("told to")),
        Flaw::NeverAnswers => pending().await,
        Flaw::FailsWhenRepeated if repeated => return Err(MutateError::permanent("once only")),
        Flaw::IgnoresCancel if !late => wait_until(done).await,
        Flaw::IgnoresDeadline if late => wait_until(done).await,
        _ => {
            let cancelled = timeout(WORK, mutate.cancel.cancelled()).await.is_ok();
            assert!(!(cancelled && flaw == Flaw::DropsLate && late), "told to");
            if cancelled {
                return Err(MutateError::Cancelled);
            }
        }
    }
    std::fs::write(file, "").unwrap();
    if flaw == Flaw::Lies {
        see(&mutate.reporter.look(), &mutate.object, "/lie", "ON").await;
    }
    Ok(())
}

async fn wait_until(moment: Instant) {
    // Nothing ever comes; only the time runs out.
    let _ = tokio::time::timeout_at(moment, pending::<()>()).await;
}

async fn see(look: &Look, object: &ObjectView, path: &str, value: &str) {
    look.saw(object.uid, [(Path::new(path).unwrap(), Some(value.into()))]).await;
}

impl Handler<Poll> for Lamp {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, poll: Poll, _: &mut Context<Self>) -> Self::Result {
        let (flaw, on) = (self.flaw, self.file.exists());
        let blocked = flaw == Flaw::BlocksLooks && self.told;
        let look = self.kit.reporter.look();
        Box::pin(async move {
            if blocked {
                pending::<()>().await;
            }
            let value = if on && flaw != Flaw::ShowsWrong { "ON" } else { "OFF" };
            for object in poll.objects.iter().filter(|_| flaw != Flaw::ShowsNothing) {
                see(&look, object, "/lamp", value).await;
            }
        })
    }
}

impl Handler<Configure> for Lamp {
    type Result = Result<(), ConfigureError>;

    fn handle(&mut self, configure: Configure, context: &mut Context<Self>) -> Self::Result {
        let config = configure.read::<Self>()?;
        match self.flaw {
            Flaw::RefusesConfig => Err(ConfigureError::Invalid("told to".to_owned())),
            Flaw::DiesOfConfig if config.changed => {
                actix::ActorContext::stop(context);
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

fn broken_by(factory: &Factory, flaw: &str) -> Vec<Rule> {
    run(Time::Paused, async {
        let case = Case::new(factory.clone(), fake::node("n1"), "SwitchOn")
            .config(json!({ "flaw": flaw }))
            .changed_config(json!({ "flaw": flaw, "changed": true }));
        check(&case).await.into_iter().map(|violation| violation.rule).collect()
    })
}

#[test]
fn a_good_module_breaks_no_rule() {
    for factory in [Factory::live::<Lamp>(), Factory::of::<Lamp>()] {
        assert_eq!(broken_by(&factory, "None"), []);
    }
}

#[test]
fn each_rule_is_broken_by_what_it_forbids() {
    let table = [
        ("DoesNotStart", Rule::Starts),
        ("Fails", Rule::Answers),
        ("NeverAnswers", Rule::Answers),
        ("BlocksLooks", Rule::Looks),
        ("ShowsNothing", Rule::ShowsChanges),
        ("ShowsWrong", Rule::ShowsChanges),
        ("FailsWhenRepeated", Rule::Repeatable),
        ("IgnoresCancel", Rule::HonoursCancel),
        ("IgnoresDeadline", Rule::HonoursDeadline),
        ("DropsLate", Rule::HonoursDeadline),
        ("Lies", Rule::DeclaresPaths),
        ("TakesAnything", Rule::RefusesUnknown),
        ("RefusesAsTransient", Rule::RefusesUnknown),
        ("RefusesConfig", Rule::SurvivesConfigChange),
        ("DiesOfConfig", Rule::SurvivesConfigChange),
        ("NeverEnds", Rule::RestartsClean),
        ("ForgetsInGoodOrder", Rule::RestartsClean),
        ("ForgetsOnCrash", Rule::SurvivesCrash),
    ];
    for (flaw, rule) in table {
        let broken = broken_by(&Factory::live::<Lamp>(), flaw);
        assert!(broken.contains(&rule), "{flaw} breaks {rule:?}, found {broken:?}");
    }
}

#[test]
fn a_rule_is_broken_alone_where_nothing_else_is_wrong() {
    let table = [
        ("IgnoresCancel", Rule::HonoursCancel),
        ("IgnoresDeadline", Rule::HonoursDeadline),
        ("Lies", Rule::DeclaresPaths),
        ("TakesAnything", Rule::RefusesUnknown),
        ("RefusesConfig", Rule::SurvivesConfigChange),
        ("ForgetsInGoodOrder", Rule::RestartsClean),
        ("ForgetsOnCrash", Rule::SurvivesCrash),
    ];
    for (flaw, rule) in table {
        assert_eq!(broken_by(&Factory::live::<Lamp>(), flaw), [rule], "{flaw}");
    }
}

#[test]
fn a_module_is_tried_without_a_mutation_by_the_rules_that_ask_for_none() {
    let table: [(&str, &[Rule]); 5] = [
        ("None", &[]),
        ("Fails", &[]),
        ("TakesAnything", &[Rule::RefusesUnknown]),
        ("DiesOfConfig", &[Rule::SurvivesConfigChange]),
        ("NeverEnds", &[Rule::RestartsClean]),
    ];
    for (flaw, expected) in table {
        let broken = run(Time::Paused, async {
            let case = Case::looking(Factory::live::<Lamp>(), fake::node("n1"))
                .config(json!({ "flaw": flaw }))
                .changed_config(json!({ "flaw": flaw, "changed": true }));
            check(&case).await.into_iter().map(|violation| violation.rule).collect::<Vec<_>>()
        });
        assert_eq!(broken, expected, "{flaw}");
    }
}

#[test]
fn a_manifest_that_does_not_compile_breaks_its_rule() {
    run(Time::Paused, async {
        let twin = Lamp::manifest();
        let case = Case::new(Factory::live::<Lamp>(), fake::node("n1"), "SwitchOn").beside(twin);
        let broken = check(&case).await;
        assert_eq!(broken.iter().map(|v| v.rule).collect::<Vec<_>>(), [Rule::SoundManifest]);
        let told = broken[0].to_string();
        assert!(told.starts_with("SoundManifest: error[twice]: module lamp"), "{told}");
    });
}
