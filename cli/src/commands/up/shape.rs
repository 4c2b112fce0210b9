//! What `create`, `plan` and `up` have in common.

use std::collections::BTreeMap;
use std::time::Duration;

use berth_planner::rollout::Order;
use berth_planner::up::UpOptions;
use berth_schema::stack::{PullPolicy, Stack};
use clap::Args;
use serde::{Deserialize, Serialize};

use crate::failure::Failure;
use crate::images::Images;
use crate::locking::LockedArg;
use crate::policy::PolicyArgs;
use crate::session::Session;
use crate::values::{moment, pairs};

/// What a plan for the stack depends on besides the file.
#[derive(Debug, Clone, Default, Args, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Shape {
    /// Replace containers even if nothing changed
    #[arg(long, conflicts_with = "no_recreate")]
    pub(super) force_recreate: bool,
    /// Keep containers whatever changed
    #[arg(long)]
    pub(super) no_recreate: bool,
    /// With --force-recreate: also what the named services depend on
    #[arg(long, requires = "force_recreate")]
    pub(super) always_recreate_deps: bool,
    /// Do not touch what the named services depend on
    #[arg(long)]
    pub(super) no_deps: bool,
    /// Containers that are made get new anonymous volumes, not those of the one before
    #[arg(short = 'V', long)]
    pub(super) renew_anon_volumes: bool,
    /// Remove containers whose service is not in the files any more
    #[arg(long, env = "COMPOSE_REMOVE_ORPHANS", hide_env = true, value_parser = clap::builder::FalseyValueParser::new())]
    pub(super) remove_orphans: bool,
    /// Run so many containers of a service, `web=3`; may be repeated
    #[arg(long, value_name = "SERVICE=NUMBER", value_parser = pairs::scale)]
    pub(super) scale: Vec<(String, u32)>,
    /// In which order containers are replaced whose service does not say so: auto (the new one starts
    /// first where nothing stands in the way), start-first, stop-first
    #[arg(long, value_name = "ORDER")]
    pub(super) order: Option<Order>,
    /// When images are pulled, whatever the file says: always, missing, never, daily, weekly,
    /// every_DURATION
    #[arg(long, value_name = "POLICY", value_parser = berth_schema::pull_policy)]
    pub(super) pull: Option<PullPolicy>,
    /// Try once more what was rolled back when it was tried just so
    #[arg(long)]
    pub(super) retry: bool,
    /// Whether the lock may be behind.
    #[command(flatten)]
    pub(super) locked: LockedArg,
    /// How long a container may take to stop, in seconds
    #[arg(short, long, value_name = "SECONDS", value_parser = moment::seconds)]
    pub(super) timeout: Option<Duration>,
    /// What the stack may have.
    #[command(flatten)]
    pub(crate) policy: PolicyArgs,
}

impl Shape {
    /// Options of the planner.
    pub(crate) fn options(&self, services: &[String]) -> UpOptions {
        UpOptions {
            services: services.to_vec(),
            no_deps: self.no_deps,
            force_recreate: self.force_recreate,
            always_recreate_deps: self.always_recreate_deps,
            no_recreate: self.no_recreate,
            remove_orphans: self.remove_orphans,
            scale: self.scale.iter().cloned().collect::<BTreeMap<_, _>>(),
            renew_volumes: self.renew_anon_volumes,
            no_start: false,
            grace: self.timeout,
        }
    }

    /// How long a stop may take.
    pub(crate) fn grace(&self) -> Option<Duration> {
        self.timeout
    }

    /// Whether orphans go.
    pub(crate) fn orphans(&self) -> bool {
        self.remove_orphans
    }

    /// Whether what was rejected is tried once more.
    pub(crate) fn retries(&self) -> bool {
        self.retry
    }

    /// How images are come by.
    pub(crate) fn images(&self, session: &Session, stack: &Stack) -> Result<Images, Failure> {
        let images = Images::of(session, stack, self.locked, self.pull)?;
        Ok(images.in_order(self.order, self.scale.iter().cloned().collect()))
    }
}
