//! Plans of `create`, `scale`, `run` and of `up` with its options, for every stack on every host.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use berth_planner::action::Action;
use berth_planner::cause::Cause;
use berth_planner::desired::Desired;
use berth_planner::observed::{ContainerState, Observed, ObservedContainer};
use berth_planner::{Plan, PlanProblems, RunOptions, UpOptions, run, up};
use berth_schema::stack::Places;
use proptest::prelude::*;
use proptest::test_runner::TestRunner;

use super::order::parents;
use super::world::{World, drawings};
use crate::checker::judge;
use crate::host::{FakeHost, active};

/// What is asked for, with numbers for the services.
#[derive(Debug, Clone)]
struct Asked {
    services: Vec<usize>,
    scale: Option<(usize, u32)>,
    flags: [bool; 6],
    runs: bool,
    grace: Option<Duration>,
}

fn asked() -> impl Strategy<Value = Asked> {
    let services = prop_oneof![Just(Vec::new()), prop::collection::vec(0..10usize, 1..3)];
    let scale = prop::option::weighted(0.3, (0..10usize, 0..4u32));
    let grace = prop::option::of((0..5u64).prop_map(Duration::from_secs));
    let flags = prop::array::uniform6(prop::bool::weighted(0.3));
    (services, scale, flags, prop::bool::weighted(0.2), grace).prop_map(
        |(services, scale, flags, runs, grace)| Asked { services, scale, flags, runs, grace },
    )
}

/// What makes containers.
#[derive(Debug, Clone)]
enum Making {
    Up(UpOptions),
    Run(Box<RunOptions>),
}

impl Asked {
    fn making(&self, world: &World) -> Making {
        let desired = &world.desired;
        let names: Vec<&String> = desired.services.keys().collect();
        let name = |at: usize| names.get(at % names.len().max(1)).map(|name| name.to_string());
        let services: Vec<String> = self.services.iter().filter_map(|at| name(*at)).collect();
        let [one, two, three, four, five, six] = self.flags;
        if let (true, Some(service)) = (self.runs, services.first().cloned()) {
            let slug = "ba9876543210".to_owned();
            let (no_deps, remove_orphans, service_ports) = (one, two, three);
            let options =
                RunOptions { service, slug, no_deps, remove_orphans, ..RunOptions::default() };
            return Making::Run(Box::new(RunOptions { service_ports, ..options }));
        }
        let scale = self.scale.and_then(|(at, count)| Some((name(at)?, count)));
        Making::Up(UpOptions {
            services,
            no_deps: one,
            force_recreate: two && !three,
            always_recreate_deps: two && four,
            no_recreate: three,
            remove_orphans: four,
            scale: scale.into_iter().collect(),
            renew_volumes: five,
            no_start: six,
            grace: self.grace,
        })
    }
}

impl Making {
    fn made(&self, desired: &Desired, observed: &Observed) -> Result<Plan, PlanProblems> {
        match self {
            Making::Up(options) => up(desired, observed, options, &Places::default()),
            Making::Run(options) => run(desired, observed, options, &Places::default()),
        }
    }

    /// A container that is left as it is may not be what others need, and may need what the stack has
    /// no more.
    fn may_meet(&self, error: &str) -> bool {
        let leaves = match self {
            Making::Up(options) => options.no_recreate || !options.services.is_empty(),
            Making::Run(_) => true,
        };
        let lacks = ["parent does not run", "parent missing", "has no probe", "bridge is down"];
        leaves && lacks.iter().any(|lack| error.ends_with(lack))
    }

    fn removes_orphans(&self) -> bool {
        match self {
            Making::Up(options) => options.remove_orphans,
            Making::Run(options) => options.remove_orphans,
        }
    }

    /// The services it is about: those named with all they need.
    fn scope<'a>(&'a self, desired: &'a Desired) -> BTreeSet<&'a str> {
        let (mut open, no_deps): (Vec<&str>, bool) = match self {
            Making::Up(options) if options.services.is_empty() => {
                (desired.services.keys().map(String::as_str).collect(), false)
            }
            Making::Up(options) => {
                (options.services.iter().map(String::as_str).collect(), options.no_deps)
            }
            Making::Run(options) => {
                let own = &desired.services[&options.service];
                let needed = own.depends_on.keys().map(String::as_str);
                (needed.filter(|_| !options.no_deps).collect(), false)
            }
        };
        let mut scope = BTreeSet::new();
        while let Some(service) = open.pop() {
            if scope.insert(service) && !no_deps {
                open.extend(desired.services[service].depends_on.keys().map(String::as_str));
            }
        }
        scope
    }
}

/// Whether there is a plan, which is as it has to be.
fn judge_making(making: &Making, World { observed, desired }: &World) -> bool {
    let plan = match making.made(desired, observed) {
        Ok(plan) => plan,
        Err(problems) => {
            let circle = problems.to_string().contains("wait for each other");
            assert!(!circle, "{making:?}: {problems}");
            return false;
        }
    };
    let text = serde_json::to_string(observed).unwrap();
    let again = making.made(desired, &serde_json::from_str(&text).unwrap()).unwrap();
    assert_eq!(plan.to_string(), again.to_string());
    assert_eq!(plan, again);
    judge(&plan, Some(desired), observed);
    let mut host = FakeHost::at(observed);
    let ran = host.apply(&plan, 1, None);
    let odd: Vec<&String> = ran.errors.iter().filter(|error| !making.may_meet(error)).collect();
    assert!(odd.is_empty(), "{making:?}: {odd:?}\n{plan}");
    untouched(making, &plan, (observed, desired), &host.observed);
    if ran.errors.is_empty() {
        reached(making, &plan, desired, &host.observed);
    }
    true
}

/// What it is not about stays as it is.
fn untouched(
    making: &Making,
    plan: &Plan,
    (before, desired): (&Observed, &Desired),
    after: &Observed,
) {
    let touched: BTreeSet<String> = plan.steps.iter().map(|step| step.action.target()).collect();
    for (name, was) in &before.containers {
        let record = &was.record;
        let own = record.project == desired.project;
        let follows = parents(record).iter().any(|parent| touched.contains(*parent))
            || record.spec.volumes_from.iter().any(|from| touched.contains(&from.container));
        let orphan = own && !desired.services.contains_key(&record.service);
        let leaves = orphan && making.removes_orphans();
        let explained = own && !orphan && !record.oneoff;
        if !explained && !leaves && !follows {
            let is = after.containers.get(name);
            assert_eq!(is, Some(was), "{making:?} touches {name}\n{plan}");
        }
    }
    for (name, was) in before.networks.iter().filter(|(_, n)| n.record.project != desired.project) {
        let is = after.networks.get(name).map(|network| &network.record);
        assert_eq!(is, Some(&was.record), "{making:?} touches network {name}\n{plan}");
    }
    let renews = matches!(making, Making::Up(options) if options.renew_volumes);
    for (name, was) in &before.volumes {
        let may_go = renews && was.record.container.is_some();
        let is = after.volumes.get(name);
        assert!(
            may_go && is.is_none() || is == Some(was),
            "{making:?} touches volume {name}\n{plan}"
        );
    }
    let quiet = matches!(making, Making::Up(options) if options.no_start);
    for step in plan.steps.iter().filter(|_| quiet) {
        let starts =
            matches!(step.action, Action::StartContainer { .. } | Action::StartBeside { .. });
        assert!(!starts, "{making:?} starts {}\n{plan}", step.action.target());
    }
}

/// All that it is about is as described, and nothing is left to do.
fn reached(making: &Making, plan: &Plan, desired: &Desired, after: &Observed) {
    let mut of_service: BTreeMap<&str, Vec<&ObservedContainer>> = BTreeMap::new();
    let own = |have: &&ObservedContainer| {
        let record = &have.record;
        record.project == desired.project && !record.oneoff && record.init.is_none()
    };
    for have in after.containers.values().filter(own) {
        of_service.entry(&have.record.service).or_default().push(have);
    }
    let (quiet, keeps) = match making {
        Making::Up(options) => (options.no_start, options.no_recreate),
        Making::Run(_) => (false, false),
    };
    for service in making.scope(desired) {
        let have = of_service.get(service).map(Vec::as_slice).unwrap_or_default();
        let wanted = &desired.services[service];
        let scaled = match making {
            Making::Up(options) => options.scale.get(service).copied(),
            Making::Run(_) => None,
        };
        let count = scaled.unwrap_or(wanted.replicas) as usize;
        assert_eq!(have.len(), count, "{service} after {making:?}\n{plan}");
        for have in have {
            let done = have.state == ContainerState::Exited { exit_code: 0, finished_at: 0 };
            assert!(quiet || active(have) || done, "{service} after {making:?}\n{plan}");
            let same = have.record.spec == wanted.container;
            assert!(keeps || same, "{service} is another one after {making:?}\n{plan}");
        }
    }
    let Making::Up(options) = making else { return };
    let options = UpOptions { force_recreate: false, renew_volumes: false, ..options.clone() };
    let rest = Making::Up(options).made(desired, after);
    let rest = rest.unwrap_or_else(|problems| panic!("{making:?}, then {problems}\n{plan}"));
    let ended = |name: &str| {
        let done = ContainerState::Exited { exit_code: 0, finished_at: 0 };
        after.containers.get(name).is_some_and(|have| have.state == done)
    };
    let begins = |name: &str| {
        let mut steps = rest.steps.iter().map(|step| &step.action);
        steps
            .any(|action| matches!(action, Action::StartContainer { name: other } if other == name))
    };
    // One that has ended is started each time, and what that brings is done for it.
    let follows = |cause: &Cause| match cause {
        Cause::NeededBy { .. } => true,
        Cause::NamespaceParentReplaced { container } => begins(container),
        _ => false,
    };
    for step in &rest.steps {
        let name = step.action.target();
        let starts = matches!(step.action, Action::StartContainer { .. });
        let again = starts && ended(&name) || step.causes.iter().all(follows);
        let left = format!("{} {name} {:?}", step.action.verb(), step.causes);
        assert!(again, "{making:?} is not done:\n{plan}\nthen {left} of\n{rest}");
    }
}

#[test]
fn what_makes_containers_makes_those_it_is_asked_for() {
    let config =
        ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() };
    let planned = Cell::new(0);
    let judged = TestRunner::new(config).run(&(drawings(), asked()), |(drawing, asked)| {
        let world = drawing.world();
        if judge_making(&asked.making(&world), &world) {
            planned.set(planned.get() + 1);
        }
        Ok(())
    });
    judged.unwrap();
    assert!(planned.get() > 300, "{} of 1000 gave a plan", planned.get());
}
