//! What a rollout leaves that fails or is broken off, case by case: by the way back, and by the next run.

use std::collections::BTreeMap;

use berth_planner::desired::Desired;
use berth_planner::observed::Observed;
use berth_planner::rollback::{NoWay, Way, due, way_back};
use berth_planner::{Plan, StepId, UpOptions, up};
use berth_schema::stack::*;

use crate::checker::judge;
use crate::host::{Break, FakeHost, Ran, active};
use crate::stacks::{desired, service, with};

/// A run that was broken.
struct Broken {
    wanted: Desired,
    before: Observed,
    plan: Plan,
    failed: StepId,
    ran: Ran,
}

impl Broken {
    /// The way back from it.
    fn back(&self, now: &FakeHost) -> Result<Way, NoWay> {
        let services = due(&self.wanted, &self.plan, &[self.failed], &self.ran.skipped);
        assert!(!services.is_empty(), "nothing is to go back\n{}", self.plan);
        way_back(&self.wanted, &services, (&self.before, &now.observed), &Places::default())
    }
}

fn rolls(order: RolloutOrder, on_failure: FailureAction) -> Rollout {
    let (order, on_failure) = (Some(order), Some(on_failure));
    Rollout { order, on_failure, ..Rollout::default() }
}

/// A service of an image that is replaced so.
fn web(image: &str, replicas: u32, update: &Rollout) -> Service {
    let deploy = Deploy { update: Some(update.clone()), ..Deploy::default() };
    Service { replicas, deploy: Some(Box::new(deploy)), ..service(image) }
}

fn plan(wanted: &Desired, host: &FakeHost) -> Plan {
    let plan = up(wanted, &host.observed, &UpOptions::default(), &Places::default()).unwrap();
    judge(&plan, Some(wanted), &host.observed);
    plan
}

/// A host on which this is up, and where images of two versions are.
fn host_of(stack: &Stack) -> FakeHost {
    let mut host = FakeHost::new();
    host.apply_all(&plan(&desired(stack), &host), 7);
    let mut second = host.observed.images["web:1"].clone();
    second.id = "sha256:second".into();
    host.observed.images.insert("web:2".into(), second);
    host
}

/// What `up` does, with an end at the step of these words.
#[track_caller]
fn broken(host: &mut FakeHost, stack: &Stack, step: &str) -> Broken {
    let (wanted, before) = (desired(stack), host.observed.clone());
    let plan = plan(&wanted, host);
    let words = |id: &StepId| {
        let action = &plan.step(*id).unwrap().action;
        format!("{} {}", action.verb(), action.target())
    };
    let failed = plan.steps.iter().map(|at| at.id).find(|id| words(id) == step);
    let failed = failed.unwrap_or_else(|| panic!("no {step}\n{plan}"));
    let ran = host.apply(&plan, 3, Some(Break::At(failed)));
    Broken { wanted, before, plan, failed, ran }
}

/// The images of the containers, by name; of those that do not run in brackets.
fn images(host: &FakeHost) -> BTreeMap<&str, String> {
    let all = host.observed.containers.iter();
    let image = all.map(|(name, have)| match (active(have), &have.record.image_id) {
        (true, image) => (name.as_str(), image.clone()),
        (false, image) => (name.as_str(), format!("({image})")),
    });
    image.collect()
}

#[test]
fn one_whose_tag_moved_goes_back_to_the_image_that_it_ran() {
    for order in [RolloutOrder::StartFirst, RolloutOrder::StopFirst] {
        let stack = with([("web", web("web:1", 2, &rolls(order, FailureAction::Rollback)))]);
        let mut host = host_of(&stack);
        let second = host.observed.images["web:2"].clone();
        host.observed.images.insert("web:1".into(), second);
        let before = host.clone();
        let new = broken(&mut host, &stack, "prove_container shop-web-2-b");

        let way = new.back(&host).unwrap();
        host.apply_all(&way.plan, 5);
        assert_eq!(images(&host), images(&before), "{}", way.plan);
    }
}
