//! The tally: what is in use under each policy at one moment, and whether one more may go.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{
    Policy, Stand,
    hold::{Hold, On},
    ledger::{Cover, Opened, RATE_SPAN_MS},
    rollout::baked_at,
    rules::{Candidate, Rules},
};
use crate::{
    id::{Name, Revision, Uid},
    time::Millis,
};

/// What is counted apart within a policy: a module, and values of labels.
type Bucket = (Option<Name>, Vec<String>);

/// What is in use under each policy.
#[derive(Debug, Default)]
pub(super) struct Tally {
    used: BTreeMap<Uid, Used>,
    /// Policies of which too much has failed, and which are about to freeze what they cover.
    braked: BTreeSet<Uid>,
}

/// What is in use under one policy.
#[derive(Debug, Default)]
struct Used {
    in_flight: BTreeMap<Bucket, u32>,
    /// When intents were opened within the last minute, in order.
    opened: BTreeMap<Bucket, Vec<Millis>>,
    /// Objects that are not healthy, those in flight included.
    ailing: u32,
    /// Objects that its rollout begins with, beside those in the ledger.
    begun: BTreeSet<Uid>,
}

impl Tally {
    /// Lets nothing through under these policies.
    pub(super) fn brake(&mut self, braked: BTreeSet<Uid>) {
        self.braked = braked;
    }

    /// The rates of the last minute before `now`, from the ledger.
    pub(super) fn rates(&mut self, rules: &Rules, now: Millis) {
        let recent = |opened: &&Arc<Opened>| opened.at.after_ms(RATE_SPAN_MS) > now;
        let recent: Vec<&Arc<Opened>> = rules.ledger().opened().rev().take_while(recent).collect();
        for opened in recent.into_iter().rev() {
            for cover in &opened.under {
                let Some(policy) = rules.policy(cover.policy) else { continue };
                let used = self.used.entry(cover.policy).or_default();
                used.opened
                    .entry(bucket(policy, cover, &opened.module))
                    .or_default()
                    .push(opened.at);
            }
        }
    }

    /// An object holds a place, and is not healthy while it does.
    pub(super) fn occupy(&mut self, rules: &Rules, module: &Name, under: &[Cover]) {
        for cover in under {
            let Some(policy) = rules.policy(cover.policy) else { continue };
            let used = self.used.entry(cover.policy).or_default();
            *used.in_flight.entry(bucket(policy, cover, module)).or_default() += 1;
        }
        self.ail(under);
    }

    /// An object is not healthy.
    pub(super) fn ail(&mut self, under: &[Cover]) {
        for cover in under {
            self.used.entry(cover.policy).or_default().ailing += 1;
        }
    }

    /// Lets a candidate through: it counts from now on.
    pub(super) fn add(&mut self, rules: &Rules, candidate: &Candidate<'_>, now: Millis) {
        for cover in candidate.under {
            let Some(policy) = rules.policy(cover.policy) else { continue };
            let used = self.used.entry(cover.policy).or_default();
            let bucket = bucket(policy, cover, candidate.module);
            used.opened.entry(bucket.clone()).or_default().push(now);
            used.begun.insert(candidate.uid);
            if !candidate.holds {
                *used.in_flight.entry(bucket).or_default() += 1;
            }
            if !candidate.ails {
                used.ailing += 1;
            }
        }
    }

    /// An object gives its place back, healthy.
    pub(super) fn release(&mut self, rules: &Rules, module: &Name, under: &[Cover]) {
        for cover in under {
            let Some(policy) = rules.policy(cover.policy) else { continue };
            let used = self.used.entry(cover.policy).or_default();
            let places = used.in_flight.entry(bucket(policy, cover, module)).or_default();
            *places = places.saturating_sub(1);
            used.ailing = used.ailing.saturating_sub(1);
        }
    }

    /// Forgets what began more than a minute before `now`.
    pub(super) fn expire(&mut self, now: Millis) {
        for used in self.used.values_mut() {
            for opened in used.opened.values_mut() {
                let over = opened.partition_point(|at| at.after_ms(RATE_SPAN_MS) <= now);
                opened.drain(..over);
            }
        }
    }

    /// How many objects a rollout has begun with, or is let to.
    pub(super) fn begun(&self, rules: &Rules, policy: Uid, base: Revision) -> u32 {
        let ledger = rules.ledger();
        let more = self.used.get(&policy).map_or(0, |used| {
            used.begun.iter().filter(|uid| !ledger.has_begun(policy, base, **uid)).count()
        });
        u32::try_from(ledger.begun(policy, base) + more).unwrap_or(u32::MAX)
    }

    /// Whether every policy lets a candidate through; else what holds it.
    pub(super) fn admits(
        &self,
        rules: &Rules,
        candidate: &Candidate<'_>,
        now: Millis,
    ) -> Result<(), Hold> {
        for cover in candidate.under {
            let Some(policy) = rules.policy(cover.policy) else { continue };
            let nothing = Used::default();
            let used = self.used.get(&cover.policy).unwrap_or(&nothing);
            let check = Check { rules, policy, used, cover, candidate, now };
            if self.braked.contains(&cover.policy) {
                let why = "too much has failed: what it covers is about to be frozen";
                return Err(check.hold(On::MaxFailed, why.to_owned()));
            }
            check.window()?;
            check.canary()?;
            check.in_flight()?;
            check.rate()?;
            check.healthy()?;
        }
        Ok(())
    }

    /// Whether every policy has a place for a candidate; else what holds it.
    pub(super) fn admits_place(
        &self,
        rules: &Rules,
        candidate: &Candidate<'_>,
    ) -> Result<(), Hold> {
        for cover in candidate.under {
            let Some(policy) = rules.policy(cover.policy) else { continue };
            let nothing = Used::default();
            let used = self.used.get(&cover.policy).unwrap_or(&nothing);
            Check { rules, policy, used, cover, candidate, now: Millis::ZERO }.in_flight()?;
        }
        Ok(())
    }
}

fn bucket(policy: &Policy, cover: &Cover, module: &Name) -> Bucket {
    (policy.limits.per_module.then(|| module.clone()), cover.class.clone())
}

/// One policy against one candidate.
struct Check<'a> {
    rules: &'a Rules,
    policy: &'a Policy,
    used: &'a Used,
    cover: &'a Cover,
    candidate: &'a Candidate<'a>,
    now: Millis,
}

impl Check<'_> {
    fn hold(&self, on: On, why: String) -> Hold {
        Hold::new(self.policy.name.as_str(), on, why)
    }

    /// What was begun with in a window may be finished after it.
    fn window(&self) -> Result<(), Hold> {
        let windows = &self.policy.limits.windows;
        let open = windows.iter().any(|window| window.is_open(self.now));
        if windows.is_empty() || open || self.candidate.holds {
            return Ok(());
        }
        let opens = windows.iter().map(|window| window.opens_after(self.now)).min();
        let shown: Vec<String> = windows.iter().map(ToString::to_string).collect();
        let why = format!("disruptive steps begin only within {}", shown.join(", "));
        Err(self.hold(On::Window, why).until(opens.unwrap_or(Millis::NEVER)))
    }

    fn canary(&self) -> Result<(), Hold> {
        let canary = &self.policy.limits.canary;
        if canary.is_empty() {
            return Ok(());
        }
        let Some(position) = &self.policy.position else {
            return Err(self.hold(On::Begin, "its rollout is about to begin".to_owned()));
        };
        if self.candidate.revision > position.base {
            let why = "a later change was asked for: its rollout is about to begin";
            return Err(self.hold(On::Begin, why.to_owned()));
        }
        let Some(stage) = position.stage.checked_sub(1).and_then(|at| canary.get(at)) else {
            return Ok(());
        };
        let (ledger, uid) = (self.rules.ledger(), self.candidate.uid);
        let of = self.policy.uid;
        if ledger.has_begun(of, position.base, uid) || self.used.begun.contains(&uid) {
            return Ok(());
        }
        let place = format!("stage {} of {}", position.stage, canary.len());
        match position.stand {
            Stand::Paused => {
                let why = format!(
                    "{place} is done and the rollout pauses; an operator lets it go on: kraken set \
                     policy/{} resume={}",
                    self.policy.name,
                    position.passed.map_or(1, |passed| passed.saturating_add(1))
                );
                Err(self.hold(On::Pause, why))
            }
            Stand::Baking => {
                let hold = self.hold(On::Bake, format!("{place} is done and bakes"));
                Err(hold.until(baked_at(self.policy).unwrap_or(Millis::NEVER)))
            }
            Stand::Open => {
                let most = stage.most.at_least(self.rules.total(of));
                let more = self.used.begun.iter();
                let more = more.filter(|uid| !ledger.has_begun(of, position.base, **uid)).count();
                if ledger.begun(of, position.base) + more < most as usize {
                    return Ok(());
                }
                let why = format!("{place} goes to {most}, and has them");
                Err(self.hold(On::Stage(position.stage), why))
            }
        }
    }

    fn in_flight(&self) -> Result<(), Hold> {
        let Some(most) = self.policy.limits.max_in_flight else { return Ok(()) };
        if self.candidate.holds {
            return Ok(());
        }
        let most = most.at_most(self.rules.of_class(self.cover));
        let bucket = bucket(self.policy, self.cover, self.candidate.module);
        let used = self.used.in_flight.get(&bucket).copied().unwrap_or_default();
        if used < most {
            return Ok(());
        }
        let class = class(&bucket);
        let why = match most {
            0 => format!("none may be in flight{class}"),
            _ => format!("{used} of {most} are in flight{class}"),
        };
        Err(self.hold(On::MaxInFlight, why))
    }

    fn rate(&self) -> Result<(), Hold> {
        let Some(rate) = self.policy.limits.rate_per_minute else { return Ok(()) };
        let bucket = bucket(self.policy, self.cover, self.candidate.module);
        let opened = self.used.opened.get(&bucket).map_or(&[][..], Vec::as_slice);
        let Some(place) = opened.len().checked_sub(rate as usize) else { return Ok(()) };
        let until = opened.get(place).map_or(self.now, |at| at.after_ms(RATE_SPAN_MS));
        let why = format!("{} of {rate} began within a minute{}", opened.len(), class(&bucket));
        Err(self.hold(On::Rate, why).until(until))
    }

    /// What is not healthy already, is not made less so.
    fn healthy(&self) -> Result<(), Hold> {
        let Some(least) = self.policy.limits.min_healthy else { return Ok(()) };
        let total = self.rules.total(self.policy.uid);
        let least = least.at_least(total);
        let healthy = total.saturating_sub(self.used.ailing);
        if self.candidate.ails || healthy > least {
            return Ok(());
        }
        let why = format!("{healthy} of {total} are healthy, and {least} must stay so");
        Err(self.hold(On::MinHealthy, why))
    }
}

/// What is counted apart, in words.
fn class((module, class): &Bucket) -> String {
    let words: Vec<&str> =
        module.iter().map(Name::as_str).chain(class.iter().map(String::as_str)).collect();
    if words.is_empty() { String::new() } else { format!(" ({})", words.join(", ")) }
}
