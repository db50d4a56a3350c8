//! Attacks on what is between members.

use anyhow::Result;

use super::{Field, Undo};
use crate::{chance::Chance, lab::Quality, torture::Nemesis};

/// Shortest and longest time between two changes of a network that flaps, in milliseconds.
const FLAP_MS: (u64, u64) = (50, 700);
/// Most times that it does.
const FLAPS_MAX: u64 = 8;
/// The most that is lost, or comes twice, in percent.
const PERCENT_MAX: u64 = 30;
/// The most that packets are late, in milliseconds: beyond a heartbeat.
const LATE_MS_MAX: u64 = 300;
/// The most that one packet overtakes another by, in milliseconds.
const OVERTAKES_MS_MAX: u64 = 40;

impl Field<'_> {
    /// Has members not hear one another.
    pub(super) async fn part(
        &mut self,
        nemesis: Nemesis,
        target: &str,
        chance: &mut Chance,
    ) -> Result<Undo> {
        let lab = self.cluster.lab()?;
        let (mut one, mut other) = (vec![target.to_owned()], self.cluster.members());
        if nemesis == Nemesis::Halves {
            one.extend(self.hurt.iter().filter(|member| *member != target).cloned());
        }
        other.retain(|member| !one.contains(member));
        if nemesis == Nemesis::OneWay {
            let is_deaf = chance.below(2) == 0;
            for peer in &other {
                let ways = [(peer.as_str(), target), (target, peer.as_str())];
                let (from, to) = ways[usize::from(!is_deaf)];
                lab.cut(from, to)?;
            }
        } else if nemesis == Nemesis::Flap {
            for _ in 0..=chance.below(FLAPS_MAX) {
                lab.part(&one, &other)?;
                chance.rest(FLAP_MS).await;
                lab.heal();
                chance.rest(FLAP_MS).await;
            }
        } else {
            lab.part(&one, &other)?;
        }
        Ok(Undo::Heal)
    }

    /// Has members hear one another badly.
    pub(super) fn degrade(&mut self, nemesis: Nemesis, chance: &mut Chance) -> Result<Undo> {
        let (percent, late) = (1 + chance.below(PERCENT_MAX), 1 + chance.below(LATE_MS_MAX));
        let quality = match nemesis {
            Nemesis::Delay => Quality { delay_ms: (late, late), ..Quality::default() },
            Nemesis::Reorder => {
                let most = 1 + chance.below(OVERTAKES_MS_MAX);
                Quality { delay_ms: (0, most), ..Quality::default() }
            }
            Nemesis::Double => Quality { doubled_percent: percent, ..Quality::default() },
            _ => Quality { lost_percent: percent, ..Quality::default() },
        };
        let lab = self.cluster.lab()?;
        self.cluster.members().iter().try_for_each(|member| lab.degrade(member, quality))?;
        Ok(Undo::Heal)
    }
}
