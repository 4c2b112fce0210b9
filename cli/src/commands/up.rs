//! `berth up`.

use std::collections::BTreeSet;
use std::mem::ManuallyDrop;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use berth_planner::observed::Observed;
use berth_planner::up::UpOptions;
use berth_runtime::host::Host;
use berth_schema::stack::Stack;
use clap::Args;
use jiff::Timestamp;

use crate::attach::{self, Attached, EndAt};
use crate::doctor;
use crate::failure::{Exit, Failure};
use crate::flow::{self, Change, Manner};
use crate::generations::{self, Run, Waited, Wanted};
use crate::images::Aim;
use crate::policy::{self, PolicyArgs};
use crate::project::unknown_service;
use crate::ready;
use crate::rejected::Refusal;
use crate::saved;
use crate::session::Session;
use crate::taken_back::Back;
use crate::ui::safe;
use crate::values::moment;

mod attached;
mod renewal;
mod shape;

pub(crate) use shape::Shape;

/// Arguments of `up`.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct UpArgs {
    /// Only these services and what they depend on; or a saved plan, `FILE.plan`, to do exactly that
    #[arg(value_name = "SERVICE|FILE.plan")]
    services: Vec<String>,
    /// Leave the services running and return
    #[arg(short, long)]
    detach: bool,
    /// Return when every service is as its file declares (healthy, running, or ended well); implies
    /// --detach
    #[arg(long)]
    wait: bool,
    /// Wait so long at most, in seconds
    #[arg(long, value_name = "SECONDS", value_parser = moment::seconds, requires = "wait")]
    wait_timeout: Option<Duration>,
    /// What is to be the same for `create`, `plan` and `up`
    #[command(flatten)]
    shape: Shape,
    /// Show images without their layers while they are pulled
    #[arg(long)]
    quiet_pull: bool,
    /// Create containers and start none
    #[arg(long, conflicts_with_all = ["wait", "detach"])]
    no_start: bool,
    /// Stop all when one container ends
    #[arg(long, conflicts_with_all = ["detach", "wait"])]
    abort_on_container_exit: bool,
    /// Stop all when one container fails
    #[arg(long, conflicts_with_all = ["detach", "wait", "abort_on_container_exit"])]
    abort_on_container_failure: bool,
    /// Return the exit code of this service; implies --abort-on-container-exit, unless
    /// --abort-on-container-failure is there
    #[arg(long, value_name = "SERVICE", conflicts_with_all = ["detach", "wait"])]
    exit_code_from: Option<String>,
    /// Show the output of this service only; may be repeated
    #[arg(long, value_name = "SERVICE", conflicts_with_all = ["detach", "wait", "attach_dependencies"])]
    attach: Vec<String>,
    /// Do not show the output of this service; may be repeated
    #[arg(long, value_name = "SERVICE")]
    no_attach: Vec<String>,
    /// Show the output of what the named services depend on, too
    #[arg(long, conflicts_with_all = ["detach", "wait"])]
    attach_dependencies: bool,
    /// Show output without colours
    #[arg(long)]
    no_color: bool,
    /// Show output without the name in front of each line
    #[arg(long)]
    no_log_prefix: bool,
    /// Show output with the time of each line
    #[arg(long)]
    timestamps: bool,
    /// Ask nothing: data that --renew-anon-volumes takes goes, and what needs consent is refused
    #[arg(short, long)]
    yes: bool,
}

impl UpArgs {
    /// `create` is an `up` that starts nothing.
    pub(crate) fn of_create(services: Vec<String>, shape: Shape, yes: bool) -> UpArgs {
        UpArgs { services, shape, yes, no_start: true, ..UpArgs::default() }
    }

    /// `scale` is a detached `up` of the named services in these numbers.
    pub(crate) fn of_scale(
        scale: Vec<(String, u32)>,
        (no_deps, retry): (bool, bool),
        policy: PolicyArgs,
    ) -> UpArgs {
        let services = scale.iter().map(|(service, _)| service.clone()).collect();
        let shape = Shape { scale, no_deps, retry, policy, ..Shape::default() };
        UpArgs { services, shape, detach: true, ..UpArgs::default() }
    }
}

/// Makes the host what the file says, or does what a saved plan says.
pub(crate) async fn run(session: &Session, args: &UpArgs) -> Result<Exit, Failure> {
    match saved::named(&args.services)? {
        Some(file) => run_saved(session, file, args).await,
        None => run_files(session, args).await,
    }
}

/// Makes the host what the file says.
pub(crate) async fn run_files(session: &Session, args: &UpArgs) -> Result<Exit, Failure> {
    if args.quiet_pull {
        session.ui.hide_layers();
    }
    let stack = ManuallyDrop::new(session.load(&args.services)?);
    check_names(&stack, args)?;
    let host = flow::open(session)?;
    let began = Timestamp::now();
    let Brought { changed, about, run } = bring_up(session, &host, &stack, args).await?;
    let attaching = Attaching { stack: &stack, args, about: &about };
    match changed {
        Ok(change) => go_on(session, &host, &attaching, (change, run, began)).await,
        Err(failure) => give_up(session, &host, &attaching, failure).await,
    }
}

/// Does what a saved plan says. Files and host are looked at under the lock of its project.
async fn run_saved(session: &Session, file: &str, args: &UpArgs) -> Result<Exit, Failure> {
    saved::check("up", file)?;
    let host = flow::open(session)?;
    let (plan, key) = saved::open(session, &host, file)?;
    let again = plan.inputs.session(session);
    if args.quiet_pull {
        again.ui.hide_layers();
    }
    let inputs = &plan.inputs;
    let args =
        UpArgs { services: inputs.services.clone(), shape: inputs.shape.clone(), ..args.clone() };
    let saved = (file, &plan, &key);
    if !host.roots().project(&plan.project).exists() {
        // Of a project that was never here nothing stays if its plan is refused, not even a lock.
        let stack = again.load(&args.services)?;
        saved::holding(&again, &host, &stack, saved).await?;
    }
    let lock = flow::lock(session, &host, &plan.project).await?;
    let stack = again.load(&args.services)?;
    check_names(&stack, &args)?;
    let began = Timestamp::now();
    let made = saved::holding(&again, &host, &stack, saved).await?;
    if !args.yes {
        made.loss(&host)?.refuse(renewal::YES)?;
    }
    let done = saved::apply(&again, (&host, &lock), &stack, (file, &plan, made)).await?;
    let options = args.shape.options(&args.services);
    let (pins, history, kept) = (&done.pins, stack.history, BTreeSet::new());
    let run = Run { stack: &stack, options: &options, pins, history, rollback: None, kept };
    let run =
        generations::remember_under(&again, &host, &lock, (&run, &done.desired), &done.changed);
    drop(lock);
    let about = generations::about(&done.desired, &options)?;
    let attaching = Attaching { stack: &stack, args: &args, about: &about };
    let change = match done.changed {
        Ok(change) => change,
        Err(failure) => return give_up(&again, &host, &attaching, failure).await,
    };
    if change.done > 0 {
        policy::tell(&again, &change.plan.grants);
    }
    go_on(&again, &host, &attaching, (change, run, began)).await
}

/// What a change came to.
struct Brought {
    changed: Result<Change, Failure>,
    /// Services that were made as described.
    about: BTreeSet<String>,
    /// The name of the run that the host is as it left it.
    run: Option<String>,
}

/// What is looked after when a change has ended.
struct Attaching<'a> {
    stack: &'a Stack,
    args: &'a UpArgs,
    /// Services that were made as described.
    about: &'a BTreeSet<String>,
}

impl Attaching<'_> {
    fn attached(&self) -> Attached {
        attached::attached(self.stack, self.args, self.about)
    }
}

/// What comes after the change: waiting, or following the output.
async fn go_on(
    session: &Session,
    host: &Arc<Host>,
    attaching: &Attaching<'_>,
    (change, run, began): (Change, Option<String>, Timestamp),
) -> Result<Exit, Failure> {
    if session.global.dry_run {
        return Ok(Exit::Done);
    }
    let Attaching { stack, args, about } = *attaching;
    let attached = !(args.detach || args.wait || args.no_start);
    if let Some(number) = change.interrupted {
        // What ran before and was not touched runs on.
        if attached && change.started {
            attach::stop(session, host, &attaching.attached()).await?;
        }
        return Ok(Exit::Signal(number));
    }
    if change.done == 0 {
        let unchanged = change.plan.unchanged;
        session.ui.note(&safe(&format!("{}: nothing to do, {unchanged} unchanged", stack.name)));
    }
    if change.done > 0 {
        tell_hindrances(session, host, &stack.name);
    }
    if args.wait {
        let (changed, whole) = (change.done > 0, args.services.is_empty());
        let waited = Waited { project: &stack.name, run, changed, whole };
        return wait(session, host, &waited, (about, args.wait_timeout)).await;
    }
    if !attached {
        return Ok(Exit::Done);
    }
    attach::follow(session, host, &attaching.attached(), began).await
}

/// Warns of rules of the host that keep containers apart, which no container can tell from a service
/// that is down.
fn tell_hindrances(session: &Session, host: &Host, project: &str) {
    for finding in doctor::hindrances(host.roots(), project) {
        let next = finding.next.map(|next| format!("; next: {next}")).unwrap_or_default();
        session.ui.warn(&format!("{}{next}", finding.found));
    }
}

/// Waits until services are as their file declares. When they are not, what was applied is no state
/// to go back to.
pub(super) async fn wait(
    session: &Session,
    host: &Arc<Host>,
    waited: &Waited<'_>,
    (services, limit): (&BTreeSet<String>, Option<Duration>),
) -> Result<Exit, Failure> {
    let ended = ready::wait(host, waited.project, services, limit).await;
    let became = match &ended {
        Ok(Exit::Done) => Ok(()),
        Err(failure @ Failure::Unhealthy { .. }) => Err(failure),
        // Nobody saw what became of it.
        Ok(_) | Err(_) => return ended,
    };
    if let Err(failure) = generations::mark(session, host, waited, &became).await {
        session.ui.warn(&format!("the history does not say how this ended: {failure}"));
    }
    ended
}

/// What comes after a change that was not done to its end. Who is to end with the first container
/// that ends or fails leaves nothing running.
async fn give_up(
    session: &Session,
    host: &Arc<Host>,
    attaching: &Attaching<'_>,
    failure: Failure,
) -> Result<Exit, Failure> {
    let attached = attaching.attached();
    if attached.end.at == EndAt::Last || !failure.is_half_done() {
        return Err(failure);
    }
    match attach::give_up(session, host, &attached).await? {
        None => Err(failure),
        Some(code) => {
            session.ui.failure(&failure);
            Ok(Exit::Container(code))
        }
    }
}

/// Makes the host what the file says; gives what came of it, and the services it was about. It fails
/// if none of them was touched.
async fn bring_up(
    session: &Session,
    host: &Arc<Host>,
    stack: &Stack,
    args: &UpArgs,
) -> Result<Brought, Failure> {
    // The program ends soon: taking large things apart is left to that.
    let mut images = ManuallyDrop::new(args.shape.images(session, stack)?);
    let options = UpOptions { no_start: args.no_start, ..args.shape.options(&args.services) };
    let aim = Aim::Up(&options);
    let look = images.pass(session, host, (stack, aim), (&args.shape.policy, !args.yes)).await?;
    let look = match images.pull_first(session, host, (stack, aim), look).await? {
        ControlFlow::Break(change) => {
            return Ok(Brought { changed: Ok(change), about: BTreeSet::new(), run: None });
        }
        ControlFlow::Continue(look) => look,
    };
    let of = (stack, aim, args);
    let (mut look, loss) = renewal::lets_go(session, host, &mut images, of, look).await?;
    let (wanted, tried, refusal) = (Wanted::default(), Wanted::default(), Refusal::default());
    let plan = images.planning((session, host), (stack, aim), |images, observed| {
        let (desired, plan) = images.planned(stack, observed, aim)?;
        let seen = (&*desired, observed);
        let (part, plan) = match args.shape.retries() {
            true => (None, plan),
            false => refusal.part((session, host), seen, plan, (&options, &stack.places))?,
        };
        loss.check(host, (&plan, observed), renewal::YES)?;
        tried.keep(part.map_or_else(|| Arc::clone(&desired), Arc::new));
        wanted.keep(desired);
        Ok(plan)
    });
    let desired = |_: &Observed| Ok(tried.last().unwrap_or_default());
    let back = Back { desired: &desired, places: &stack.places };
    let changed =
        flow::change_or_back(session, host, &mut look, plan, (Manner::Usual, &back)).await;
    let (changed, refused) = refusal.beside(changed);
    let about = wanted.about(&options);
    let kept = match &refused {
        Some(Failure::Rejected { services, .. }) => services.iter().cloned().collect(),
        _ => BTreeSet::new(),
    };
    let (pins, history) = (images.pins(), stack.history);
    let run = Run { stack, options: &options, pins, history, rollback: None, kept };
    let run = generations::remember(session, host, &look, (&run, wanted), &changed);
    // Others may work on the project while this run follows the output.
    look.end();
    if let Ok(change) = &changed
        && change.done > 0
    {
        policy::tell(session, &change.plan.grants);
    }
    let changed = match (changed, refused) {
        (Ok(change), Some(refused)) if change.interrupted.is_none() => Err(refused),
        (changed, refused) => {
            refused.iter().for_each(|refused| session.ui.warn(&refused.to_string()));
            changed
        }
    };
    Ok(Brought { changed, about: about?, run })
}

/// Services named by options that the stack does not have.
fn check_names(stack: &Stack, args: &UpArgs) -> Result<(), Failure> {
    let mut named = args.attach.iter().chain(&args.no_attach).chain(&args.exit_code_from);
    match named.find(|service| !stack.services.contains_key(*service)) {
        Some(service) => Err(unknown_service(service, stack.services.keys().map(String::as_str))),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::args::{Cli, Command};

    pub(super) fn parse(line: &str) -> Result<UpArgs, clap::error::ErrorKind> {
        match Cli::try_parse_from(line.split(' ')) {
            Ok(Cli { command: Command::Up(args), .. }) => Ok(args),
            Ok(_) => panic!("not `up`: {line}"),
            Err(error) => Err(error.kind()),
        }
    }

    #[test]
    fn words_become_options_of_the_planner() {
        let args = parse("berth up --force-recreate --always-recreate-deps --no-deps --remove-orphans --scale web=3 -t 5 web").unwrap();
        let options = args.shape.options(&args.services);
        assert_eq!(
            options,
            UpOptions {
                services: vec!["web".into()],
                no_deps: true,
                force_recreate: true,
                always_recreate_deps: true,
                no_recreate: false,
                remove_orphans: true,
                scale: [("web".to_owned(), 3)].into(),
                renew_volumes: false,
                no_start: false,
                grace: Some(Duration::from_secs(5)),
            }
        );
    }

    #[test]
    fn words_that_contradict_each_other_are_refused() {
        use clap::error::ErrorKind::{ArgumentConflict, MissingRequiredArgument, UnknownArgument};
        let kind = |line: &str| parse(line).err();
        assert_eq!(kind("berth up --force-recreate --no-recreate"), Some(ArgumentConflict));
        assert_eq!(kind("berth up -d --abort-on-container-exit"), Some(ArgumentConflict));
        assert_eq!(kind("berth up -d --attach web"), Some(ArgumentConflict));
        assert_eq!(kind("berth up -d --exit-code-from web"), Some(ArgumentConflict));
        assert_eq!(kind("berth up -d --abort-on-container-failure"), Some(ArgumentConflict));
        assert_eq!(kind("berth up --wait --exit-code-from web"), Some(ArgumentConflict));
        assert_eq!(
            kind("berth up --abort-on-container-exit --abort-on-container-failure"),
            Some(ArgumentConflict)
        );
        assert_eq!(kind("berth up --attach web --attach-dependencies"), Some(ArgumentConflict));
        assert_eq!(kind("berth up --wait --attach-dependencies web"), Some(ArgumentConflict));
        assert_eq!(kind("berth up --wait-timeout 5"), Some(MissingRequiredArgument));
        assert_eq!(kind("berth up --build"), Some(UnknownArgument));
        assert_eq!(kind("berth up --scale web"), Some(clap::error::ErrorKind::ValueValidation));
    }
}
