//! What must never run twice has one tenant at a time.

use super::{Broken, Trace, What};

/// While a node has something done for such an object, nobody else may think that it is its own.
pub fn singletons_have_one_tenant(trace: &Trace) -> Result<(), Broken<'_>> {
    for entry in trace.entries() {
        if let What::Tenant { uid, others } = &entry.what
            && let Some(other) = others.first()
        {
            return Err(Broken(entry, format!("{other} may run {uid}, too")));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::invariants::kit::*;
    use crate::invariants::*;

    #[test]
    fn a_second_tenant_is_found() {
        let tenant = |others: &[&str]| What::Tenant {
            uid: uid(1),
            others: others.iter().map(|other| name(other)).collect(),
        };
        check("singletons_have_one_tenant", vec![tenant(&[])], tenant(&["n2"]));
    }
}
