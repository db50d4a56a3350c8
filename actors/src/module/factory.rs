//! How a module is made, where it runs, and how it ends. The module host and the test harness start
//! modules through here and nowhere else, so that a module behaves in tests as it does on a node.

use std::{
    any::Any,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::Duration,
};

use actix::{
    ActorContext, ActorFutureExt, Addr, Arbiter, AsyncContext, Handler, Recipient, System,
    WrapFuture,
};
use futures_util::future::LocalBoxFuture;
use kraken_engine::manifest::Manifest;
use serde_json::Value as Json;
use tokio::{sync::oneshot, time::timeout};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{
    Configure, ConfigureError, Kit, MODULE_MAILBOX_MAX, Module, Mutate, Poll, Stopping, read_config,
};

/// How long a module may take to be built.
pub const START_TIMEOUT: Duration = Duration::from_secs(30);
/// How long the thread of a module that has been stopped may take to end, before it is abandoned.
pub const THREAD_END_GRACE: Duration = Duration::from_secs(1);

/// Where a module runs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Home {
    /// On a thread of its own: a module that blocks or panics costs no other. Needs an actix
    /// system.
    #[default]
    Own,
    /// On the thread of the caller, which must run a `LocalSet`: tests that hold time need it.
    Current,
}

/// Makes and remakes one module.
#[derive(Clone)]
pub struct Factory {
    manifest: Arc<Manifest>,
    check: fn(&Json) -> Result<(), ConfigureError>,
    start: Arc<StartModule>,
}

type Starting = LocalBoxFuture<'static, Result<Running, ConfigureError>>;
type StartModule = dyn Fn(Json, Kit, Home) -> Starting + Send + Sync;

/// A module that runs. Dropping it stops the module at once.
pub struct Running {
    /// Takes mutations.
    pub mutate: Recipient<Mutate>,
    /// Takes requests to look.
    pub poll: Recipient<Poll>,
    /// Takes a changed configuration, where the module takes it live.
    pub configure: Option<Recipient<Configure>>,
    ask_to_stop: Option<oneshot::Sender<Stopping>>,
    lost: CancellationToken,
    over: CancellationToken,
    thread: Option<Thread>,
}

/// How a module ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// It did its last work in time.
    InTime,
    /// It was stopped in the middle of what it did.
    Killed,
    /// Its thread is blocked and lives on, until it looks up and finds itself stopped.
    Abandoned,
}

/// What is made where the module lives and goes to where it is asked.
struct Mailboxes {
    mutate: Recipient<Mutate>,
    poll: Recipient<Poll>,
    configure: Option<Recipient<Configure>>,
}

/// What binds an actor to its [`Running`]: tells it when to stop, and the other when it is gone.
struct Lifeline {
    stop: oneshot::Receiver<Stopping>,
    guards: Vec<DropGuard>,
}

/// A thread that stops when it is dropped.
struct Thread(Arbiter);

impl Drop for Thread {
    fn drop(&mut self) {
        self.0.stop();
    }
}

impl Factory {
    /// A module that is restarted when its configuration changes.
    pub fn of<M: Module>() -> Self {
        Self::with::<M>(|_| None)
    }

    /// A module that takes a changed configuration while it runs.
    pub fn live<M: Module + Handler<Configure>>() -> Self {
        Self::with::<M>(|address| Some(address.recipient()))
    }

    fn with<M: Module>(configure: fn(Addr<M>) -> Option<Recipient<Configure>>) -> Self {
        let start = move |config: Json, kit: Kit, home: Home| {
            let begin = move |lifeline: Lifeline| {
                let address = begin::<M>(config, kit, lifeline)?;
                Ok(Mailboxes {
                    mutate: address.clone().recipient(),
                    poll: address.clone().recipient(),
                    configure: configure(address),
                })
            };
            let start: LocalBoxFuture<'static, _> = match home {
                Home::Own => Box::pin(start_on_own_thread(begin)),
                Home::Current => Box::pin(async move { start_here(begin) }),
            };
            start
        };
        let check = |config: &Json| read_config::<M>(config.clone()).map(|_| ());
        Self { manifest: Arc::new(M::manifest()), check, start: Arc::new(start) }
    }

    /// What the module declares.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Checks that a configuration can be read; whether the module can work with it shows when it
    /// starts.
    pub fn check(&self, config: &Json) -> Result<(), ConfigureError> {
        (self.check)(config)
    }

    /// Builds and starts the module. A panic while it is built is an error like another.
    pub async fn start(
        &self,
        config: Json,
        kit: Kit,
        home: Home,
    ) -> Result<Running, ConfigureError> {
        (self.start)(config, kit, home).await
    }
}

impl Running {
    fn new(
        mailboxes: Mailboxes,
        ask_to_stop: oneshot::Sender<Stopping>,
        tokens: (CancellationToken, CancellationToken),
        thread: Option<Thread>,
    ) -> Self {
        let Mailboxes { mutate, poll, configure } = mailboxes;
        let (lost, over) = tokens;
        Self { mutate, poll, configure, ask_to_stop: Some(ask_to_stop), lost, over, thread }
    }

    /// Fires once the actor is gone, by its own will, by a panic, or because it was stopped.
    pub fn lost(&self) -> CancellationToken {
        self.lost.clone()
    }

    /// Whether the actor still takes messages.
    pub fn is_connected(&self) -> bool {
        self.mutate.connected()
    }

    /// Asks the module to end, waits for [`Module::shutdown`] at most `within`, and stops it.
    pub async fn shut_down(mut self, why: Stopping, within: Duration) -> Ended {
        if let Some(stop) = self.ask_to_stop.take()
            && stop.send(why).is_ok()
            && timeout(within, self.lost.cancelled()).await.is_err()
        {
            return self.kill().await;
        }
        match self.kill().await {
            Ended::InTime | Ended::Killed => Ended::InTime,
            Ended::Abandoned => Ended::Abandoned,
        }
    }

    /// Stops the module without asking it; what it has in hand is lost.
    pub async fn kill(mut self) -> Ended {
        self.lost.cancel();
        self.ask_to_stop = None;
        self.thread = None;
        match timeout(THREAD_END_GRACE, self.over.cancelled()).await {
            Ok(()) => Ended::Killed,
            Err(_) => Ended::Abandoned,
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.lost.cancel();
    }
}

async fn start_on_own_thread(
    begin: impl FnOnce(Lifeline) -> Result<Mailboxes, ConfigureError> + Send + 'static,
) -> Result<Running, ConfigureError> {
    if System::try_current().is_none() {
        return Err(ConfigureError::Start("no actix system runs here".to_owned()));
    }
    let thread = Arbiter::try_new().map_err(|error| ConfigureError::Start(error.to_string()))?;
    let thread = Thread(thread);
    let (lost, over) = (CancellationToken::new(), CancellationToken::new());
    let ended = over.clone().drop_guard();
    thread.0.spawn(async move {
        // Dropped with all other tasks of the thread, when that has ended.
        let _ended = ended;
        std::future::pending::<()>().await;
    });
    let (ask_to_stop, stop) = oneshot::channel();
    let lifeline = Lifeline { stop, guards: vec![lost.clone().drop_guard()] };
    let (tx, rx) = oneshot::channel();
    thread.0.spawn_fn(move || {
        if tx.send(begin(lifeline)).is_err() {
            tracing::warn!("a module was built after it had been given up");
        }
    });
    let mailboxes = match timeout(START_TIMEOUT, rx).await {
        Ok(Ok(built)) => built?,
        Ok(Err(_)) => return Err(ConfigureError::Start("its thread ended".to_owned())),
        Err(_) => return Err(ConfigureError::Start(format!("not built within {START_TIMEOUT:?}"))),
    };
    Ok(Running::new(mailboxes, ask_to_stop, (lost, over), Some(thread)))
}

fn start_here(
    begin: impl FnOnce(Lifeline) -> Result<Mailboxes, ConfigureError>,
) -> Result<Running, ConfigureError> {
    let (lost, over) = (CancellationToken::new(), CancellationToken::new());
    let (ask_to_stop, stop) = oneshot::channel();
    let guards = vec![lost.clone().drop_guard(), over.clone().drop_guard()];
    let mailboxes = begin(Lifeline { stop, guards })?;
    Ok(Running::new(mailboxes, ask_to_stop, (lost, over), None))
}

/// Builds the module and starts its actor, on the thread where it will live.
fn begin<M: Module>(config: Json, kit: Kit, lifeline: Lifeline) -> Result<Addr<M>, ConfigureError> {
    let config = read_config::<M>(config)?;
    let built = catch_unwind(AssertUnwindSafe(|| M::build(config, kit)));
    let module = built.unwrap_or_else(|panic| {
        Err(ConfigureError::Start(format!("it panicked: {}", panic_text(panic.as_ref()))))
    })?;
    Ok(M::create(move |context| {
        context.set_mailbox_capacity(MODULE_MAILBOX_MAX);
        context.spawn(hold(lifeline, &module));
        module
    }))
}

/// Lives in the actor's context as long as the actor does, so that its guards fall with it. Ends
/// the actor when its [`Running`] asks for it or is dropped.
fn hold<M: Module>(
    lifeline: Lifeline,
    module: &M,
) -> impl actix::ActorFuture<M, Output = ()> + use<M> {
    let Lifeline { stop, guards } = lifeline;
    async move { stop.await.ok() }
        .into_actor(module)
        .then(|why, module: &mut M, _| {
            let last_work = why.map(|why| module.shutdown(why));
            async move {
                if let Some(last_work) = last_work {
                    last_work.await;
                }
            }
            .into_actor(module)
        })
        .then(move |(), module, context| {
            context.stop();
            async move {
                let _guards = guards;
                std::future::pending::<()>().await;
            }
            .into_actor(module)
        })
}

fn panic_text(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no text")
}
