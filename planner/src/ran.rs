//! What a run came to: how long each step took, and which chain of them made it slow.
//!
//! A [`Ran`] is what a journal says, [`blame`] and [`chain`] are what follows from it. Times count
//! from the start of the command, so what it did before its first step has its share too.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::action::Object;
use crate::plan::{Plan, Step};
use crate::views::ops;

/// What is told of the time before the steps of a plan.
const BEFORE: &str = "read, look and plan";

/// A step as a journal keeps it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Planned {
    /// What it does, in one line (`await db-1 (healthy)`).
    pub what: String,
    /// The container it is done to, if it is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container: Option<String>,
    /// The service of that container, where the step says it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// It only waits.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub gate: bool,
    /// Why it is there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub causes: Vec<String>,
    /// Steps it comes after, by their place in the plan.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub after: Vec<usize>,
}

impl Planned {
    /// All steps of a plan.
    pub fn all(plan: &Plan) -> Vec<Planned> {
        plan.steps.iter().map(|step| Planned::of(plan, step)).collect()
    }

    fn of(plan: &Plan, step: &Step) -> Planned {
        let action = &step.action;
        let mut after: Vec<usize> =
            step.after.iter().chain(&step.after_tried).map(|id| id.index()).collect();
        after.sort_unstable();
        Planned {
            what: ops::what(plan, step),
            container: (action.object() == Object::Container).then(|| action.target()),
            service: action.record().map(|record| record.service.clone()),
            gate: action.waits(),
            causes: step.causes.iter().map(ToString::to_string).collect(),
            after,
        }
    }
}

/// What became of a step.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Fate {
    /// It was not begun.
    #[default]
    NotTried,
    /// It was begun, and nobody knows how it ended: the run was cut off.
    Open,
    /// It has happened.
    Done,
    /// It failed, with why.
    Failed(String),
}

/// A step of a run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RanStep {
    /// What it was to do.
    pub planned: Planned,
    /// When all that it came after had happened.
    pub began: Option<Duration>,
    /// How long it then waited for its turn.
    pub queued: Duration,
    /// When it ended.
    pub ended: Option<Duration>,
    /// What became of it.
    pub fate: Fate,
}

/// The steps of one plan of a run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pass {
    /// When the first of them could begin.
    pub began: Duration,
    /// The steps, in the order of the plan.
    pub steps: Vec<RanStep>,
}

/// A run, as its journal has it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ran {
    /// When its first plan began, RFC 3339.
    pub at: String,
    /// The words it was called with.
    pub command: String,
    /// Its plans, one after the other: images that are looked at first have one of their own.
    pub passes: Vec<Pass>,
    /// The time of the last thing written down.
    pub last: Duration,
    /// It came to its end, well or not.
    pub ended: bool,
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum End {
    /// Everything was done.
    Done,
    /// Something failed.
    Failed,
    /// Somebody interrupted it.
    Interrupted,
    /// It was killed, or the machine stopped.
    CutOff,
}

/// How many steps of a run came to what.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// They have happened.
    pub done: usize,
    /// They failed.
    pub failed: usize,
    /// They were begun and have no result.
    pub open: usize,
    /// They were not begun.
    pub not_tried: usize,
}

impl Ran {
    fn steps(&self) -> impl Iterator<Item = &RanStep> {
        self.passes.iter().flat_map(|pass| &pass.steps)
    }

    /// How many steps came to what.
    pub fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        for step in self.steps() {
            *match step.fate {
                Fate::Done => &mut counts.done,
                Fate::Failed(_) => &mut counts.failed,
                Fate::Open => &mut counts.open,
                Fate::NotTried => &mut counts.not_tried,
            } += 1;
        }
        counts
    }

    /// How it ended.
    pub fn end(&self) -> End {
        match self.counts() {
            _ if !self.ended => End::CutOff,
            Counts { failed: 1.., .. } => End::Failed,
            Counts { open: 0, not_tried: 0, .. } => End::Done,
            _ => End::Interrupted,
        }
    }
}

/// A step with its times; or the time before the steps of a plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// What was done.
    pub what: String,
    /// It only waited.
    pub gate: bool,
    /// Why it was in the plan.
    pub causes: Vec<String>,
    /// What became of it.
    pub fate: Fate,
    /// When it could begin.
    pub began: Option<Duration>,
    /// How long it waited for its turn then, as only so many things are done at once.
    pub queued: Duration,
    /// How long it took itself; of one that is open, at least that.
    pub took: Option<Duration>,
}

impl Link {
    fn of(step: &RanStep, last: Duration) -> Link {
        let end = match step.fate {
            Fate::NotTried => None,
            Fate::Open => Some(last),
            Fate::Done | Fate::Failed(_) => step.ended,
        };
        let whole = step.began.zip(end).map(|(began, end)| end.saturating_sub(began));
        Link {
            what: step.planned.what.clone(),
            gate: step.planned.gate,
            causes: step.planned.causes.clone(),
            fate: step.fate.clone(),
            began: step.began,
            queued: step.queued,
            took: whole.map(|whole| whole.saturating_sub(step.queued)),
        }
    }

    fn before(began: Duration, until: Duration) -> Link {
        Link {
            what: BEFORE.to_owned(),
            gate: false,
            causes: Vec::new(),
            fate: Fate::Done,
            began: Some(began),
            queued: Duration::ZERO,
            took: Some(until.saturating_sub(began)),
        }
    }

    /// When it ended; of one that is open, when it was last heard of.
    pub fn ended(&self) -> Option<Duration> {
        Some(self.began? + self.queued + self.took?)
    }
}

/// What was begun in a run, what took longest first.
pub fn blame(ran: &Ran) -> Vec<Link> {
    let steps = ran.steps().map(|step| Link::of(step, ran.last));
    let mut links: Vec<Link> = steps.filter(|link| link.took.is_some()).collect();
    links.extend((0..ran.passes.len()).map(|pass| before(ran, pass)));
    links.sort_by_key(|link| (std::cmp::Reverse(link.took), link.began));
    links
}

/// The time before the steps of a plan: from the start of the command, or from the end of the
/// plan before it.
fn before(ran: &Ran, pass: usize) -> Link {
    let ends = ran.passes[..pass].iter().flat_map(|pass| pass.steps.iter().map(|s| s.ended));
    Link::before(ends.flatten().max().unwrap_or_default(), ran.passes[pass].began)
}

/// Which step of a run: its plan, and its place there.
type Spot = (usize, usize);

/// What made a run, or in it a service, as slow as it was: the step that ended last, then the one it
/// waited for longest, and so on to the start of the command. `None` when the run has no such step.
///
/// `services` tells of containers whose they are.
pub fn chain(
    ran: &Ran,
    service: Option<&str>,
    services: &BTreeMap<String, String>,
) -> Option<Vec<Link>> {
    let is_wanted = |planned: &Planned| match service {
        None => true,
        Some(service) => of_service(planned, ran, services) == Some(service),
    };
    let spots = ran.passes.iter().enumerate().flat_map(|(at, pass)| {
        let wanted = pass.steps.iter().enumerate().filter(|(_, step)| is_wanted(&step.planned));
        wanted.map(move |(step, _)| (at, step))
    });
    let begun = |(pass, step): &Spot| ran.passes[*pass].steps[*step].fate != Fate::NotTried;
    let spots: Vec<Spot> = spots.collect();
    // Who asks for a service that was not reached asks why.
    let end = match service {
        Some(_) => spots.iter().max_by_key(|spot| (weight(ran, **spot), **spot)),
        None => spots.iter().filter(|s| begun(s)).max_by_key(|s| (end_of(ran, **s), **s)),
    };
    Some(back_from(ran, *end?))
}

/// The chain that ends with a step.
fn back_from(ran: &Ran, end: Spot) -> Vec<Link> {
    let mut links = Vec::new();
    let (mut pass, mut at) = (end.0, Some(end.1));
    loop {
        while let Some(index) = at {
            let step = &ran.passes[pass].steps[index];
            links.push(Link::of(step, ran.last));
            // What a step comes after stands before it in the plan, so this has an end.
            let earlier = step.planned.after.iter().filter(|earlier| **earlier < index);
            at = earlier.copied().max_by_key(|earlier| (weight(ran, (pass, *earlier)), *earlier));
        }
        links.push(before(ran, pass));
        if pass == 0 {
            return links;
        }
        pass -= 1;
        let steps = (0..ran.passes[pass].steps.len()).map(|index| (pass, index));
        at = steps.max_by_key(|spot| (end_of(ran, *spot), *spot)).map(|(_, index)| index);
    }
}

/// When a step ended, or was last heard of.
fn end_of(ran: &Ran, (pass, step): Spot) -> Option<Duration> {
    let step = &ran.passes[pass].steps[step];
    match step.fate {
        Fate::Open => Some(ran.last),
        _ => step.ended,
    }
}

/// How much a step has held up those after it: what failed or hung most, then what was not even
/// begun, then what ended last.
fn weight(ran: &Ran, (pass, at): Spot) -> (u8, Option<Duration>) {
    let rank = match ran.passes[pass].steps[at].fate {
        Fate::Failed(_) => 3,
        Fate::Open => 2,
        Fate::NotTried => 1,
        Fate::Done => 0,
    };
    (rank, end_of(ran, (pass, at)))
}

fn of_service<'a>(
    planned: &'a Planned,
    ran: &'a Ran,
    services: &'a BTreeMap<String, String>,
) -> Option<&'a str> {
    let name = planned.container.as_ref()?;
    let same = |step: &&RanStep| step.planned.container.as_ref() == Some(name);
    let told = || ran.steps().filter(same).find_map(|step| step.planned.service.as_deref());
    services.get(name).map(String::as_str).or_else(told)
}

/// The services that steps of a run are about.
pub fn services<'a>(
    ran: &'a Ran,
    services: &'a BTreeMap<String, String>,
) -> impl Iterator<Item = &'a str> {
    ran.steps().filter_map(move |step| of_service(&step.planned, ran, services))
}

#[cfg(test)]
mod tests;
