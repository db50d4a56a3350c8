//! Attacks on what members keep.

use anyhow::Result;

use super::{END_MAX, Field, Undo, disk_of};
use crate::{disk, failing};

impl Field<'_> {
    /// Leaves a member no room.
    pub(super) fn fill(&mut self, target: &str) -> Result<Undo> {
        disk::fill(disk_of(self.disks, target)?.folder())?;
        Ok(Undo::Room(target.to_owned()))
    }

    /// Cuts the power of members at the same time. What their disks had not written is gone.
    pub(super) fn cut_power(&mut self, targets: &[String]) -> Result<Undo> {
        for target in targets {
            disk_of(self.disks, target)?.cut_power()?;
        }
        for target in targets {
            // It may have seen that its disk is gone, and have ended.
            if !self.cluster.has_ended(target)? {
                self.cluster.kill9(target)?;
            }
            disk_of(self.disks, target)?.restore_power()?;
        }
        Ok(match targets {
            [one] => Undo::Start(one.clone()),
            _ => Undo::StartAll,
        })
    }

    /// Has a member be told that nothing was written of what it wants to be sure of. It must not go
    /// on, even if it is told otherwise a moment later.
    pub(super) async fn fail_sync(&mut self, target: &str) -> Result<Undo> {
        let process = self.cluster.job(target)?.process()?;
        let _strace = failing::fail_next_sync(&process, self.cluster.folder())?;
        self.cluster.ended(target, END_MAX).await?;
        Ok(Undo::Start(target.to_owned()))
    }
}
