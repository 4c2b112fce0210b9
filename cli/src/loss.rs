//! Data that a run takes away for good is listed, and somebody says yes before.

use std::collections::{BTreeMap, BTreeSet};

use berth_planner::loss::lost;
use berth_planner::observed::Observed;
use berth_planner::plan::Plan;
use berth_runtime::host::Host;

use crate::failure::Failure;
use crate::session::Session;
use crate::ui::{Table, safe};
use crate::values::amount;

/// Volumes whose data somebody lets go.
#[derive(Debug, Default)]
pub(crate) struct Loss {
    /// Bytes by volume; `None` when nobody is to be asked.
    volumes: Option<BTreeMap<String, u64>>,
}

impl Loss {
    /// Whatever a plan says.
    pub(crate) fn any() -> Loss {
        Loss { volumes: None }
    }

    /// What a plan takes of the host as it was seen.
    pub(crate) fn of(host: &Host, plan: &Plan, observed: &Observed) -> Result<Loss, Failure> {
        let names: BTreeSet<&str> = lost(plan, observed);
        Ok(Loss { volumes: Some(host.volume_sizes(&names)?) })
    }

    /// Whether there is nothing to ask about.
    pub(crate) fn is_none(&self) -> bool {
        self.volumes.as_ref().is_none_or(BTreeMap::is_empty)
    }

    /// Goes on only where there is none.
    pub(crate) fn refuse(&self, flag: &'static str) -> Result<(), Failure> {
        match &self.volumes {
            Some(volumes) if !volumes.is_empty() => Err(unconfirmed(volumes, flag)),
            Some(_) | None => Ok(()),
        }
    }

    /// Lists it and asks, if there is any. What is to be written for a yes is `flag`.
    pub(crate) fn ask(
        &self,
        session: &Session,
        question: &str,
        flag: &'static str,
    ) -> Result<bool, Failure> {
        let volumes = match &self.volumes {
            Some(volumes) if !volumes.is_empty() => volumes,
            Some(_) | None => return Ok(true),
        };
        if !session.ui.can_ask() {
            return Err(unconfirmed(volumes, flag));
        }
        self.list(session);
        session.ui.confirm(question).ok_or_else(|| unconfirmed(volumes, flag))
    }

    /// Shows what goes, to who is asked right after.
    pub(crate) fn list(&self, session: &Session) {
        let volumes = self.volumes.iter().flatten();
        let mut table = Table::new(["VOLUME", "SIZE"]);
        for (name, bytes) in volumes {
            table.row([name.clone(), amount::bytes(*bytes)]);
        }
        if let lines @ [_, _, ..] = table.lines().as_slice() {
            lines.iter().for_each(|line| session.ui.ahead(line));
            session.ui.warn("the data of these volumes is lost for good");
        }
    }

    /// A plan that is made later takes no more than that.
    pub(crate) fn check(
        &self,
        host: &Host,
        (plan, observed): (&Plan, &Observed),
        flag: &'static str,
    ) -> Result<(), Failure> {
        let Some(known) = &self.volumes else { return Ok(()) };
        let more: BTreeSet<&str> =
            lost(plan, observed).into_iter().filter(|name| !known.contains_key(*name)).collect();
        match more.is_empty() {
            true => Ok(()),
            false => Err(unconfirmed(&host.volume_sizes(&more)?, flag)),
        }
    }
}

fn unconfirmed(volumes: &BTreeMap<String, u64>, flag: &'static str) -> Failure {
    let one = |(name, bytes): (&String, &u64)| format!("`{name}` ({})", amount::bytes(*bytes));
    let all = volumes.iter().map(one).collect::<Vec<_>>().join(", ");
    let kind = if volumes.len() == 1 { "volume" } else { "volumes" };
    Failure::Unconfirmed {
        message: safe(&format!("this destroys the data of {kind} {all}")).into(),
        flag,
    }
}
