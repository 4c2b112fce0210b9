//! How a run comes by its images: which the lock names, and which are pulled before the rest.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;

use berth_planner::action::Action;
use berth_planner::desired::Desired;
use berth_planner::lock::Pins;
use berth_planner::observed::Observed;
use berth_planner::plan::Plan;
use berth_planner::pull::pulls;
use berth_planner::rollout::{Order, choose};
use berth_planner::run::{self as once, RunOptions};
use berth_planner::up::{self as whole, UpOptions};
use berth_runtime::host::{Asked, Host, Wanted};
use berth_schema::stack::{PullPolicy, Stack};
use jiff::Timestamp;

use crate::failure::Failure;
use crate::flow::{self, Change, Look, Manner};
use crate::locking::{LockedArg, asked};
use crate::policy::{self, HostFile, PolicyArgs, Ruling};
use crate::project::desired;
use crate::session::Session;
use crate::ui::safe;

/// What a run is to come to.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Aim<'a> {
    /// Services as the files say.
    Up(&'a UpOptions),
    /// One container of a service, once.
    Once(&'a RunOptions),
}

/// What decides about the images of a run, besides the files.
#[derive(Debug)]
pub(crate) struct Images {
    pins: Pins,
    locked: bool,
    /// In place of the policies of the files.
    policy: Option<PullPolicy>,
    /// What was asked for beside the files.
    args: PolicyArgs,
    /// What the stack may have.
    ruling: Ruling,
    /// What it asked of the host that was judged last, as the policy lets it through.
    judged: Option<Arc<Desired>>,
    /// The generation that is gone back to.
    past: Past,
    /// The order where the files say none, with numbers of containers that count instead of theirs.
    order: Option<(Order, BTreeMap<String, u32>)>,
}

/// What a generation says of images and files in place of the store and the disk.
#[derive(Debug, Default)]
pub(crate) struct Past {
    /// Contents of files.
    pub(crate) contents: BTreeMap<PathBuf, Vec<u8>>,
    /// Ids of images by service.
    pub(crate) images: BTreeMap<String, String>,
    /// Services whose containers are its own: others are left alone. `None`: as files always have it.
    pub(crate) known: Option<BTreeSet<String>>,
}

impl Past {
    /// Says what each service gets.
    fn apply(&self, desired: &mut Desired, observed: &Observed) {
        for (name, image) in &self.images {
            if let Some(service) = desired.services.get_mut(name) {
                service.pinned = Some(image.clone());
                service.pull_policy = PullPolicy::Never;
            }
        }
        let Some(known) = &self.known else { return };
        let own = observed.containers.values().map(|container| &container.record);
        let own = own.filter(|record| record.project == desired.project);
        let foreign = own.map(|record| &record.service).filter(|name| !known.contains(*name));
        let foreign: BTreeSet<&String> = foreign.collect();
        desired.inactive.extend(foreign.into_iter().cloned());
    }
}

impl Images {
    /// As a generation has them.
    pub(crate) fn of_generation(pins: Pins, past: Past) -> Images {
        let (args, ruling) = (PolicyArgs::default(), Ruling::default());
        Images { pins, locked: false, policy: None, args, ruling, judged: None, past, order: None }
    }

    /// What the lock says.
    pub(crate) fn pins(&self) -> &Pins {
        &self.pins
    }

    /// Reads the lock beside the files; what `--locked` asks of it is looked at here.
    pub(crate) fn of(
        session: &Session,
        stack: &Stack,
        locked: LockedArg,
        policy: Option<PullPolicy>,
    ) -> Result<Images, Failure> {
        let pins = session.pins(stack, locked)?;
        let args = PolicyArgs::default();
        let (ruling, past) = (Ruling::default(), Past::default());
        let locked = locked.locked;
        Ok(Images { pins, locked, policy, args, ruling, judged: None, past, order: None })
    }

    /// The same, with containers replaced in an order where the files say none.
    pub(crate) fn in_order(self, order: Option<Order>, scale: BTreeMap<String, u32>) -> Images {
        Images { order: order.map(|order| (order, scale)), ..self }
    }

    /// Judges what is aimed at on the host as it was seen. Nothing is asked, nothing is refused.
    pub(crate) fn judge(
        &mut self,
        session: &Session,
        (host, observed): (&Arc<Host>, &Observed),
        (stack, aim): (&Stack, Aim<'_>),
        args: &PolicyArgs,
    ) -> Result<&Ruling, Failure> {
        self.args.clone_from(args);
        let file = HostFile::read(host.roots())?;
        self.ruling = Ruling::before(&file, args.policy);
        self.judged = None;
        let mut desired = self.desired(stack, observed)?;
        let at = (Some(host.as_ref()), host.roots());
        let over = (stack, &desired, observed);
        self.ruling = policy::judge(session, at, over, aim, args, &file)?;
        host.hold_to(self.ruling.facts());
        host.remember_files(&desired.stamps);
        self.ruling.apply(&mut desired);
        self.judged = Some(Arc::new(desired));
        Ok(&self.ruling)
    }

    /// Looks at the host, judges as [`Images::judge`], and gives what was seen, under the lock of
    /// the stack, only if it may have it; with `asks` somebody on a terminal may say so.
    pub(crate) async fn pass(
        &mut self,
        session: &Session,
        host: &Arc<Host>,
        (stack, aim): (&Stack, Aim<'_>),
        (args, asks): (&PolicyArgs, bool),
    ) -> Result<Look, Failure> {
        let asked = self.asked(stack, aim);
        // One that was never here leaves nothing if it is refused, not even a lock.
        let look = match host.roots().project(&stack.name).exists() {
            true => flow::look(session, host, &stack.name, asked).await?,
            false => flow::glance(host, &stack.name, asked).await?,
        };
        let ruling = self.judge(session, (host, &look.observed), (stack, aim), args)?;
        let (mut look, answered) = policy::ask(session, stack, ruling, (look, asks))?;
        if session.global.dry_run {
            return Ok(look);
        }
        let mut args = args.clone();
        args.answered.extend(answered);
        if !look.is_locked() {
            look = look.locked(session, host).await?;
        } else if args.answered.is_empty() {
            policy::remember(host, stack, &self.ruling)?;
            return Ok(look);
        }
        self.judge(session, (host, &look.observed), (stack, aim), &args)?.check(stack)?;
        policy::remember(host, stack, &self.ruling)?;
        Ok(look)
    }

    /// Judges what was seen later than by [`Images::pass`], with its words; nobody is asked again.
    pub(crate) fn judge_again(
        &mut self,
        session: &Session,
        seen: (&Arc<Host>, &Observed),
        (stack, aim): (&Stack, Aim<'_>),
    ) -> Result<(), Failure> {
        let args = self.args.clone();
        self.judge(session, seen, (stack, aim), &args)?.check(stack)
    }

    /// What makes plans: of the host as it was judged last, and of each later look, which is judged
    /// before.
    pub(crate) fn planning<'a>(
        &'a mut self,
        (session, host): (&'a Session, &'a Arc<Host>),
        (stack, aim): (&'a Stack, Aim<'a>),
        plan: impl Fn(&Images, &Observed) -> Result<Plan, Failure> + 'a,
    ) -> impl FnMut(&Observed) -> Result<Plan, Failure> + 'a {
        let mut judged = true;
        move |observed| {
            if !std::mem::replace(&mut judged, false) {
                self.judge_again(session, (host, observed), (stack, aim))?;
            }
            plan(self, observed)
        }
    }

    /// What the host is asked about.
    pub(crate) fn asked(&self, stack: &Stack, aim: Aim<'_>) -> Asked {
        let of_stack = stack.services.values().flat_map(|service| &service.ports);
        let mut ports: Wanted =
            of_stack.filter_map(|port| Some((port.protocol, port.published?))).collect();
        if let Aim::Once(options) = aim {
            let own = options.ports.iter();
            ports.extend(own.filter_map(|port| Some((port.protocol, port.published?))));
        }
        let images = asked(stack, &self.pins).into_iter().chain(self.past.images.values().cloned());
        Asked { images: images.collect(), to_start: Some(stack.name.clone()), ports }
    }

    /// What the stack asks of `observed`'s host.
    pub(crate) fn desired(&self, stack: &Stack, observed: &Observed) -> Result<Desired, Failure> {
        let (facts, kept) = (self.ruling.host(observed), &self.past.contents);
        let mut desired = desired(stack, &facts, observed, kept)?;
        self.pins.pin(&mut desired);
        if let Some(policy) = self.policy {
            desired.services.values_mut().for_each(|service| service.pull_policy = policy);
        }
        self.past.apply(&mut desired, observed);
        if let Some((order, scale)) = &self.order {
            choose(&mut desired, *order, scale);
        }
        self.ruling.apply(&mut desired);
        Ok(desired)
    }

    /// The same as it was judged, files and host read once, where `observed` is what was judged last.
    pub(crate) fn as_judged(
        &self,
        stack: &Stack,
        observed: &Observed,
    ) -> Result<Arc<Desired>, Failure> {
        match &self.judged {
            Some(judged) => Ok(Arc::clone(judged)),
            None => self.desired(stack, observed).map(Arc::new),
        }
    }

    /// What makes `observed`'s host what is aimed at. If anything was judged, that is this host as
    /// it was judged last.
    pub(crate) fn plan(
        &self,
        stack: &Stack,
        observed: &Observed,
        aim: Aim<'_>,
    ) -> Result<Plan, Failure> {
        Ok(self.planned(stack, observed, aim)?.1)
    }

    /// The same with what the stack asks for.
    pub(crate) fn planned(
        &self,
        stack: &Stack,
        observed: &Observed,
        aim: Aim<'_>,
    ) -> Result<(Arc<Desired>, Plan), Failure> {
        let desired = self.as_judged(stack, observed)?;
        let plan = match aim {
            Aim::Up(options) => whole::up(&desired, observed, options, &stack.places)?,
            Aim::Once(options) => once::run(&desired, observed, options, &stack.places)?,
        };
        Ok((desired, Plan { grants: self.ruling.grants().to_vec(), ..plan }))
    }

    /// Pulls what policies want pulled although it may be here, and with `--locked` all that the
    /// lock names. The plan of the rest is made after that, so that it sees which images moved;
    /// but what forbids it, forbids the pulls as well.
    ///
    /// Gives the change if a signal cut it off, else the host as the rest of the plan finds it.
    /// A dry run has one plan only, and is told what is not known before the pulls.
    pub(crate) async fn pull_first(
        &mut self,
        session: &Session,
        host: &Arc<Host>,
        (stack, aim): (&Stack, Aim<'_>),
        look: Look,
    ) -> Result<ControlFlow<Change, Look>, Failure> {
        if !self.may_pull(stack) {
            return Ok(ControlFlow::Continue(look));
        }
        if session.global.dry_run {
            self.plan(stack, &look.observed, aim)?;
            self.tell_open(session, stack, &look.observed, aim)?;
            return Ok(ControlFlow::Continue(look));
        }
        let plan = self.planning((session, host), (stack, aim), |images, observed| {
            images.plan(stack, observed, aim)?;
            images.pulls(stack, observed, aim)
        });
        let change = flow::change_from(session, host, look, plan, Manner::Usual).await?;
        if change.interrupted.is_some() {
            return Ok(ControlFlow::Break(change));
        }
        let asked = self.asked(stack, aim);
        let look = flow::look(session, host, &stack.name, asked).await?;
        // Nobody held the lock in between, and what was pulled may be of another user.
        self.judge_again(session, (host, &look.observed), (stack, aim))?;
        Ok(ControlFlow::Continue(look))
    }

    /// What is pulled before the rest is planned.
    fn pulls(&self, stack: &Stack, observed: &Observed, aim: Aim<'_>) -> Result<Plan, Failure> {
        let now = Timestamp::now().as_second();
        let desired = self.as_judged(stack, observed)?;
        let covered = match aim {
            Aim::Up(options) => whole::covered(&desired, options)?,
            Aim::Once(options) => once::covered(&desired, options)?,
        };
        Ok(pulls(&desired, &covered, observed, now, self.locked))
    }

    /// Tells of which images nobody knows before their pull whether it brings something new. What
    /// the lock names does not move.
    pub(crate) fn tell_open(
        &self,
        session: &Session,
        stack: &Stack,
        observed: &Observed,
        aim: Aim<'_>,
    ) -> Result<(), Failure> {
        for image in self.open(stack, observed, aim)? {
            session.ui.note(&safe(&format!(
                "image `{image}` is looked at first; if it moved, more is replaced"
            )));
        }
        Ok(())
    }

    /// The images of which only their pull tells whether there is something new.
    pub(crate) fn open(
        &self,
        stack: &Stack,
        observed: &Observed,
        aim: Aim<'_>,
    ) -> Result<Vec<String>, Failure> {
        let open = self.pulls(stack, observed, aim)?.steps.into_iter().filter_map(|step| {
            let Action::PullImage { reference, locked: None } = step.action else { return None };
            observed.images.contains_key(&reference).then_some(reference)
        });
        Ok(open.collect())
    }

    /// What the policy said last.
    pub(crate) fn ruling(&self) -> &Ruling {
        &self.ruling
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
