//! Leases, and handovers row by row.
