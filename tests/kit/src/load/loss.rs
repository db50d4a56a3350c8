//! How long the leaves of a killed member take to attach to the others.

use anyhow::{Result, ensure};
use kraken_actors::downlink::CHILDREN_MAX;

use super::{
    Load, Outcome,
    crew::Crew,
    figure::{Figure, float, size},
    micros_between,
    system::System,
};

/// Within how many microseconds all should be back.
const BACK: f64 = 5e6;

/// Whether so many parents but one have room for all leaves, beside each other.
pub(super) fn is_survivable(leaves: usize, parents: usize) -> bool {
    leaves <= parents.saturating_sub(1) * (CHILDREN_MAX - parents)
}

/// The rows of a member that is lost.
pub(super) async fn measure(
    load: &Load,
    crew: &mut Crew,
    system: &mut System,
    outcome: &mut Outcome,
) -> Result<()> {
    let before = crew.report().await?.attached;
    let (lost, at) = system.lose_one().await?;
    let lost = lost.to_string();
    let moved = before.get(&lost).copied().unwrap_or_default();
    let gone = |report: &super::orders::Report| report.attached.get(&lost).is_none_or(|n| *n == 0);
    let report = crew.attached(load.leaves, gone).await?;
    let most = report.attached.values().copied().max().unwrap_or_default();
    ensure!(most <= CHILDREN_MAX, "{most} leaves are attached to one member");
    let took = micros_between(at, report.attached_at);
    let name = format!("fanout.reattach.{}", size(load.leaves));
    outcome.figures.extend([
        Figure::new(&name, took / 1e6, "s", moved).target(BACK / 1e6),
        Figure::new(format!("{name}.children"), float(most), "count", load.leaves)
            .target(float(CHILDREN_MAX)),
    ]);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_killed_where_the_others_could_not_hold_all() {
        for (leaves, parents, survivable) in [
            (10_000, 3, true),
            (36_000, 3, false),
            (45_000, 3, false),
            (100_000, 8, true),
            (1, 1, false),
        ] {
            assert_eq!(is_survivable(leaves, parents), survivable, "{leaves} {parents}");
        }
    }
}
