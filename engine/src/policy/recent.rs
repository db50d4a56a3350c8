//! The last intent of an object, and whether it holds a place under the policies for it.

use std::sync::Arc;

use super::{
    gate::Standing,
    ledger::{Opened, PLACE_HELD_MS},
};
use crate::time::Millis;

/// The last intent of an object in the ledger.
#[derive(Debug)]
pub(super) struct Recent {
    pub(super) opened: Arc<Opened>,
    /// Where the object stood when it was looked at last, if it was since the intent is known.
    pub(super) standing: Option<Standing>,
}

impl Recent {
    /// Whether the object holds a place: its attempt is open, or it has not arrived since.
    pub(super) fn holds(&self, now: Millis) -> bool {
        let lately = self.opened.at.after_ms(PLACE_HELD_MS) > now;
        !self.opened.closed || (lately && matches!(self.standing, None | Some(Standing::UnderWay)))
    }
}
