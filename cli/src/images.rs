//! How a run comes by its images: which the lock names, and which are pulled before the rest.

use std::collections::BTreeSet;
use std::sync::Arc;

use berth_planner::desired::Desired;
use berth_planner::lock::Pins;
use berth_planner::observed::Observed;
use berth_planner::plan::Plan;
use berth_planner::pull::pulls;
use berth_runtime::host::Host;
use berth_schema::stack::{PullPolicy, Stack};
use jiff::Timestamp;

use crate::failure::Failure;
use crate::flow::{self, Change};
use crate::locking::{LockedArg, asked};
use crate::project::desired;
use crate::session::Session;

/// What decides about the images of a run, besides the files.
#[derive(Debug)]
pub(crate) struct Images {
    pins: Pins,
    locked: bool,
    /// In place of the policies of the files.
    policy: Option<PullPolicy>,
}

impl Images {
    /// Reads the lock beside the files; what `--locked` asks of it is looked at here.
    pub(crate) fn of(
        session: &Session,
        stack: &Stack,
        locked: LockedArg,
        policy: Option<PullPolicy>,
    ) -> Result<Images, Failure> {
        let pins = session.pins(stack, locked)?;
        Ok(Images { pins, locked: locked.locked, policy })
    }

    /// What the store is asked about.
    pub(crate) fn asked(&self, stack: &Stack) -> BTreeSet<String> {
        asked(stack, &self.pins)
    }

    /// What the stack asks of `observed`'s host.
    pub(crate) fn desired(&self, stack: &Stack, observed: &Observed) -> Result<Desired, Failure> {
        let mut desired = desired(stack, &observed.host)?;
        self.pins.pin(&mut desired);
        if let Some(policy) = self.policy {
            desired.services.values_mut().for_each(|service| service.pull_policy = policy);
        }
        Ok(desired)
    }

    /// Pulls what policies want pulled although it may be here, and with `--locked` all that the
    /// lock names. The plan of the rest is made after that, so that it sees which images moved;
    /// but what forbids it, forbids the pulls as well. Gives the change if a signal cut it off.
    pub(crate) async fn pull_first(
        &self,
        session: &Session,
        host: &Arc<Host>,
        stack: &Stack,
        rest: impl Fn(&Observed) -> Result<Plan, Failure>,
    ) -> Result<Option<Change>, Failure> {
        if !self.may_pull(stack) {
            return Ok(None);
        }
        let plan = |observed: &Observed| {
            rest(observed)?;
            self.pulls(stack, observed)
        };
        let change = flow::change(session, host, &stack.name, &self.asked(stack), plan).await?;
        Ok(change.interrupted.is_some().then_some(change))
    }

    /// What is pulled before the rest is planned.
    pub(crate) fn pulls(&self, stack: &Stack, observed: &Observed) -> Result<Plan, Failure> {
        let now = Timestamp::now().as_second();
        Ok(pulls(&self.desired(stack, observed)?, observed, now, self.locked))
    }

    /// Whether some image is pulled although it may be here.
    fn may_pull(&self, stack: &Stack) -> bool {
        let asks = |policy: PullPolicy| match policy {
            PullPolicy::Always | PullPolicy::Every(_) => true,
            PullPolicy::Missing | PullPolicy::Never => false,
        };
        self.locked
            || match self.policy {
                Some(policy) => asks(policy),
                None => stack.services.values().any(|service| asks(service.pull_policy)),
            }
    }
}
