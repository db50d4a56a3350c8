//! The two messages of the state actor. Both carry a function, so that what may be asked and told
//! stands in one place, `StateHandle`, and not twice.

use actix::{Handler, Message, MessageResult};

use super::{State, StateActor};

/// Run a function over the state and answer with what it returns.
///
/// From anybody on this node; fails only when the node stops.
pub(super) struct Ask<R: Send + 'static>(Box<dyn FnOnce(&mut State) -> R + Send>);

/// Change the state.
///
/// From the node's own actors; fails only when the node stops.
pub(super) struct Tell(Box<dyn FnOnce(&mut State) + Send>);

impl<R: Send + 'static> Ask<R> {
    pub(super) fn new(ask: impl FnOnce(&mut State) -> R + Send + 'static) -> Self {
        Self(Box::new(ask))
    }
}

impl Tell {
    pub(super) fn new(tell: impl FnOnce(&mut State) + Send + 'static) -> Self {
        Self(Box::new(tell))
    }
}

impl<R: Send + 'static> Message for Ask<R> {
    type Result = R;
}

impl Message for Tell {
    type Result = ();
}

impl<R: Send + 'static> Handler<Ask<R>> for StateActor {
    type Result = MessageResult<Ask<R>>;

    fn handle(&mut self, Ask(ask): Ask<R>, _: &mut Self::Context) -> Self::Result {
        MessageResult(ask(&mut self.0))
    }
}

impl Handler<Tell> for StateActor {
    type Result = ();

    fn handle(&mut self, Tell(tell): Tell, _: &mut Self::Context) {
        tell(&mut self.0);
    }
}
