//! The order of a replacement where the file does not say it.

use berth_planner::cause::{Cause, Gap, OrderWhy};
use berth_planner::rollout::{Chosen, Order, choose};

use super::*;

/// The shop, whose `web` lasts.
fn shop_with(change: impl Fn(&mut Stack)) -> Stack {
    let mut stack = shop();
    stack.services.get_mut("web").unwrap().restart = RestartPolicy::Always;
    change(&mut stack);
    stack
}

fn web(change: impl Fn(&mut Service)) -> impl Fn(&mut Stack) {
    move |stack| change(stack.services.get_mut("web").unwrap())
}

/// What the plan says of another image of `web`.
fn told(order: Order, scale: u32, change: impl Fn(&mut Stack)) -> String {
    let mut stack = shop_with(&change);
    stack.services.get_mut("web").unwrap().replicas = scale;
    let mut host = up_with(&stack);
    stack.services.get_mut("web").unwrap().image = Some("nginx:1.28".into());
    let mut wanted = desired(&stack);
    choose(&mut wanted, order, &BTreeMap::new());
    let plan = up(&wanted, &host.observed, &UpOptions::default(), &stack.places).unwrap();
    judge(&plan, Some(&wanted), &host.observed);
    host.apply_all(&plan, 3);
    let left = up(&wanted, &host.observed, &UpOptions::default(), &stack.places).unwrap();
    assert!(left.is_empty(), "{left}");
    let text = plan.to_string();
    let line = text.lines().find(|line| line.contains("-first")).unwrap_or_default();
    let at = line.find("st").unwrap_or_default();
    line[at..].to_owned()
}

/// How `web` came to its order.
fn chosen(wanted: &Desired) -> Option<&Chosen> {
    Some(&wanted.services["web"].order.as_ref()?.chosen)
}

fn mounts(source: MountSource, read_only: bool) -> impl Fn(&mut Stack) {
    move |stack| {
        let mount = Mount { target: "/at".into(), source: source.clone(), read_only };
        stack.services.get_mut("web").unwrap().volumes.push(mount);
    }
}

fn bind(path: &str) -> MountSource {
    MountSource::Bind {
        path: path.into(),
        create_host_path: false,
        propagation: None,
        recursive: Recursive::default(),
        selinux: None,
    }
}

fn volume() -> MountSource {
    MountSource::Volume { name: "data".into(), nocopy: false, subpath: None }
}

#[test]
fn what_nothing_stands_in_the_way_of_starts_first() {
    let auto = |scale, change: &dyn Fn(&mut Stack)| told(Order::Auto, scale, change);
    assert_snapshot!(auto(1, &|_| ()), @"start-first, as nothing stands in the way: no gap");
    let free = auto(1, &|_| ());
    for (scale, change) in [
        (1, Box::new(mounts(volume(), true)) as Box<dyn Fn(&mut Stack)>),
        (1, Box::new(mounts(bind("/srv/web"), true))),
        (1, Box::new(mounts(bind("/run/docker.sock"), false))),
    ] {
        assert_eq!(auto(scale, &*change), free);
    }
    // Several write to it already.
    let shared = |stack: &mut Stack| {
        mounts(volume(), false)(stack);
        stack.services.get_mut("web").unwrap().ports.clear();
    };
    assert_eq!(auto(2, &shared), free);
}

#[test]
fn what_stands_in_the_way_is_told() {
    let auto = |change: &dyn Fn(&mut Stack)| told(Order::Auto, 1, change);
    assert_snapshot!(auto(&mounts(volume(), false)), @"stop-first, as both would write to volume `shop_data`: gap expected, new connections to 8080/tcp held");
    assert_snapshot!(auto(&mounts(bind("/srv/web"), false)), @"stop-first, as both would write to `/srv/web`: gap expected, new connections to 8080/tcp held");
    assert_snapshot!(auto(&web(|web| web.container_name = Some("front".into()))), @"stop-first, as there can be only one of the name `front`: gap expected, new connections to 8080/tcp held");
    assert_snapshot!(auto(&web(|web| {
        web.restart = RestartPolicy::No;
        web.ports.clear();
    })), @"stop-first, as it may end by itself: nothing restarts, checks or publishes it: gap expected, no TCP port to hold");
    let mut waited = shop_with(|_| ());
    let mut late = service("late:1");
    let on = dependency(Condition::ServiceCompletedSuccessfully);
    late.depends_on.insert("web".into(), on);
    waited.services.insert("late".into(), late);
    let mut wanted = desired(&waited);
    choose(&mut wanted, Order::Auto, &BTreeMap::new());
    let why = Chosen::Blocked("`late` waits for its end".into());
    assert_eq!(chosen(&wanted), Some(&why));
}

#[test]
fn a_probe_that_is_off_checks_nothing() {
    for (disable, free) in [(false, true), (true, false)] {
        let mut wanted = desired(&shop_with(web(|web| {
            web.restart = RestartPolicy::No;
            web.ports.clear();
            web.healthcheck = Some(Healthcheck { disable, ..Healthcheck::default() });
        })));
        choose(&mut wanted, Order::Auto, &BTreeMap::new());
        assert_eq!(chosen(&wanted) == Some(&Chosen::Free), free);
    }
}

#[test]
fn what_somebody_who_is_not_named_shares_with_it_stops_first() {
    let start_first = web(|web| {
        let order = Some(RolloutOrder::StartFirst);
        let update = Some(Rollout { order, ..Rollout::default() });
        web.deploy = Some(Box::new(Deploy { update, ..Deploy::default() }));
    });
    let by_volumes = |side: &mut Service| {
        let source = VolumesSource::Service("web".into());
        side.volumes_from.push(VolumesFrom { source, read_only: true });
    };
    let by_network = |side: &mut Service| {
        (side.network_mode, side.networks) =
            (Some(NetworkMode::Service("web".into())), BTreeMap::new());
    };
    for (of_file, shares) in [
        (None, Box::new(by_network) as Box<dyn Fn(&mut Service)>),
        (None, Box::new(by_volumes)),
        (Some(&start_first), Box::new(by_network)),
    ] {
        let mut stack = shop_with(|_| ());
        let mut side = service("side:1");
        shares(&mut side);
        stack.services.insert("side".into(), side);
        let mut host = up_with(&stack);
        stack.services.remove("side");
        stack.inactive.push("side".into());
        stack.services.get_mut("web").unwrap().image = Some("nginx:1.28".into());
        of_file.into_iter().for_each(|change| change(&mut stack));
        let mut wanted = desired(&stack);
        choose(&mut wanted, Order::Auto, &BTreeMap::new());
        let plan = up(&wanted, &host.observed, &UpOptions::default(), &stack.places).unwrap();
        judge(&plan, Some(&wanted), &host.observed);
        let told = "stops first: `shop-side-1` shares what one container of it has";
        assert!(plan.to_string().contains(told), "{plan}");
        host.apply_all(&plan, 3);
        let left = up(&wanted, &host.observed, &UpOptions::default(), &stack.places).unwrap();
        assert!(left.is_empty(), "{left}");
    }
}

#[test]
fn programs_get_the_reason_as_a_word_and_what_stands_in_the_way_beside_it() {
    let (why, obstacle) = (OrderWhy::Blocked, Some("both would write to volume `a`".to_owned()));
    let order = Cause::Order { start_first: false, why, obstacle, gap: Gap::None };
    let shown = serde_json::to_string(&order).unwrap();
    assert!(shown.contains(r#""why":"blocked","obstacle":"both would"#), "{shown}");
    let (why, obstacle) = (OrderWhy::Free, None);
    let order = Cause::Order { start_first: true, why, obstacle, gap: Gap::None };
    assert!(!serde_json::to_string(&order).unwrap().contains("obstacle"));
}

#[test]
fn who_asks_for_an_order_gets_it_where_the_file_says_none() {
    assert_snapshot!(told(Order::StartFirst, 1, |_| ()), @"start-first as asked: no gap");
    assert_snapshot!(told(Order::StopFirst, 1, |_| ()), @"stop-first as asked: gap expected, new connections to 8080/tcp held");
    let says = |order| {
        web(move |web| {
            let update = Some(Rollout { order: Some(order), ..Rollout::default() });
            web.deploy = Some(Box::new(Deploy { update, ..Deploy::default() }));
        })
    };
    assert_snapshot!(told(Order::Auto, 1, says(RolloutOrder::StopFirst)), @"stop-first as the file says: gap expected, new connections to 8080/tcp held");
    assert_snapshot!(told(Order::StopFirst, 1, says(RolloutOrder::StartFirst)), @"start-first as the file says: no gap");
}

#[test]
fn an_order_that_cannot_be_is_refused() {
    let mut stack = shop_with(web(|web| web.container_name = Some("front".into())));
    let host = up_with(&stack);
    stack.services.get_mut("web").unwrap().image = Some("nginx:1.28".into());
    let mut wanted = desired(&stack);
    choose(&mut wanted, Order::StartFirst, &BTreeMap::new());
    let refused = up(&wanted, &host.observed, &UpOptions::default(), &stack.places).unwrap_err();
    assert!(refused.to_string().contains("cannot be replaced `start-first`"), "{refused}");
}

#[test]
fn a_device_that_one_may_have_alone_stands_in_the_way_and_a_shared_one_does_not() {
    for (device, expected) in [
        ("/dev/ttyUSB0", Chosen::Blocked("both would have device `/dev/ttyUSB0`".into())),
        ("/dev/dri", Chosen::Free),
    ] {
        let mut wanted = desired(&shop_with(|_| ()));
        let access = DeviceAccess { read: true, write: true, mknod: false };
        let node = Device::Node { source: device.into(), target: device.into(), access };
        wanted.services.get_mut("web").unwrap().container.devices.push(node);
        choose(&mut wanted, Order::Auto, &BTreeMap::new());
        assert_eq!(chosen(&wanted), Some(&expected));
    }
}
