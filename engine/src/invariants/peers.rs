//! Invariant 10: a peer speaks only for the objects that it may speak for.

use super::{Broken, Trace, What};

/// 10. What is merged from a peer is of its own, in its own name.
pub fn peers_speak_for_their_own(trace: &Trace) -> Result<(), Broken<'_>> {
    for entry in trace.entries() {
        if let What::Merged { peer, uid, own: false } = &entry.what {
            return Err(Broken(entry, format!("{peer} was heard about {uid}")));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::invariants::kit::*;
    use crate::invariants::*;

    #[test]
    fn a_peer_that_is_heard_about_others_is_found() {
        let merged = |own| What::Merged { peer: name("n1"), uid: uid(1), own };
        check("peers_speak_for_their_own", vec![merged(true)], merged(false));
    }
}
