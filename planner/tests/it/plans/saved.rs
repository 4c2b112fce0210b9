//! What a saved plan rests on, and what is told when that moved.

use berth_planner::basis::Basis;

use super::*;

/// As a keyed digest would be: nothing of the bytes can be read in it.
fn digest(bytes: &[u8]) -> String {
    let fold = |all: u64, byte: &u8| (all ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    format!("{:016x}", bytes.iter().fold(0xcbf2_9ce4_8422_2325, fold))
}

fn basis(stack: &Stack, host: &FakeHost) -> Basis {
    let (desired, plan) = (desired(stack), plan(stack, host));
    Basis::of((&desired, &host.observed, &plan), Some("monday".into()), &digest)
}

/// What moved between the shop as it is, and as `change` makes it and the host.
fn moved(change: impl FnOnce(&mut Stack, &mut FakeHost)) -> String {
    let (mut stack, mut host) = (shop(), up_with(&shop()));
    let before = basis(&stack, &host);
    change(&mut stack, &mut host);
    stack.places = Places::from_iter([
        ("services.app".to_owned(), place(9, 3)),
        ("services.app.environment.LOG".to_owned(), place(12, 7)),
    ]);
    before.moved(&basis(&stack, &host), &stack.places).join("\n")
}

fn service_of<'a>(stack: &'a mut Stack, name: &str) -> &'a mut Service {
    stack.services.get_mut(name).unwrap()
}

#[test]
fn the_same_files_on_the_same_host_are_the_same_basis_wherever_their_lines_are() {
    assert_eq!(moved(|_, _| ()), "");
    let text = |basis: Basis| serde_json::to_string(&basis).unwrap();
    let host = up_with(&shop());
    assert_eq!(text(basis(&shop(), &host)), text(basis(&shop(), &host)));
}

#[test]
fn an_edit_is_told_by_its_fields_with_their_places() {
    let edited = moved(|stack, _| {
        let app = service_of(stack, "app");
        app.environment.insert("LOG".into(), Some("debug".into()));
        app.environment.insert("NEW".into(), Some("1".into()));
        app.environment.remove("DB_PASSWORD");
        service_of(stack, "web").ports[0] = port(9090, 80);
        service_of(stack, "db").replicas = 2;
    });
    assert_snapshot!(edited, @"
    `services.app.environment.DB_PASSWORD` is not in the files any more
    `services.app.environment.LOG` is not what it was (shop.yaml:12:7)
    `services.app.environment.NEW` is new in the files (shop.yaml:9:3)
    `services.db.replicas` is not what it was
    `services.web.ports` is not what it was
    ");
}

#[test]
fn what_happened_to_the_host_is_told_by_its_things() {
    let happened = moved(|_, host| {
        let observed = &mut host.observed;
        observed.containers.remove("shop-web-1");
        observed.containers.get_mut("shop-app-1").unwrap().id = "another".into();
        observed.containers.get_mut("shop-db-1").unwrap().state =
            ContainerState::Exited { exit_code: 1, finished_at: 1 };
        observed.networks.get_mut("shop_back").unwrap().rules_present = false;
        observed.volumes.clear();
        observed.images.get_mut("app:1").unwrap().id = "sha256:moved".into();
        observed.images.remove("postgres:17");
    });
    assert_snapshot!(happened, @"
    image `app:1` is another one now
    image `postgres:17` is gone
    container `shop-app-1` was made anew or changed
    container `shop-db-1` was running and is ended
    container `shop-web-1` is gone
    network `shop_back` was whole and is without its rules
    volume `shop_data` is gone
    ");
}

#[test]
fn what_changes_no_plan_moves_nothing() {
    let moved = moved(|_, host| {
        let web = host.observed.containers.get_mut("shop-web-1").unwrap();
        (web.restarts, web.health) = (7, Health::Unhealthy);
        web.state = ContainerState::Running { pid: 99, started_at: 99 };
        host.observed.host.links.insert("tun0".into());
    });
    assert_eq!(moved, "");
}

#[test]
fn another_run_and_another_host_around_it_are_told() {
    let (mut stack, host) = (shop(), up_with(&shop()));
    service_of(&mut stack, "web").networks.insert("front".into(), ServiceNetwork::default());
    stack.networks.insert("front".into(), network("front"));
    let made = |host: &FakeHost, run: &str| {
        let (desired, plan) = (desired(&stack), plan(&stack, host));
        Basis::of((&desired, &host.observed, &plan), Some(run.into()), &digest)
    };
    let before = made(&host, "monday");
    let told = |now: &Basis| before.moved(now, &stack.places).join("\n");
    assert_eq!(told(&made(&host, "tuesday")), "another run changed something, at tuesday");
    let mut elsewhere = host.clone();
    elsewhere.observed.host.routes.push("172.16.0.0/12".parse().unwrap());
    assert_snapshot!(told(&made(&elsewhere, "monday")), @"step 0, create network `shop_front`, comes out otherwise on this host now");
}

#[test]
fn nothing_of_the_files_can_be_read_in_it() {
    let mut stack = shop();
    service_of(&mut stack, "app").environment.insert("TOKEN".into(), Some("hunter2".into()));
    service_of(&mut stack, "app").command = Some(vec!["--password=swordfish".into()]);
    let host = up_with(&shop());
    let text = serde_json::to_string(&basis(&stack, &host)).unwrap();
    for secret in ["hunter2", "swordfish", "info"] {
        assert!(!text.contains(secret), "{secret}: {text}");
    }
}

#[test]
fn much_that_moved_is_told_by_the_first_and_counted() {
    let told = moved(|stack, host| {
        for n in 0..100 {
            service_of(stack, "app").environment.insert(format!("V{n}"), Some("x".into()));
        }
        for n in 0..100 {
            let image = host.observed.images["app:1"].clone();
            host.observed.images.insert(format!("other:{n}"), image);
        }
    });
    assert_snapshot!(told, @r"
    `services.app` is not what it was in `environment.V0`, `environment.V1`, `environment.V10`, and 97 more
    image `other:0` has come
    image `other:1` has come
    image `other:10` has come
    image `other:11` has come
    image `other:12` has come
    image `other:13` has come
    image `other:14` has come
    image `other:15` has come
    image `other:16` has come
    and 91 more
    ");
}

#[test]
fn containers_of_others_count_if_the_plan_has_to_do_with_them() {
    let mut stack = shop();
    let app = service_of(&mut stack, "app");
    (app.networks, app.network_mode) =
        (Default::default(), Some(NetworkMode::Container("other-vpn-1".into())));
    let mut others = with([("vpn", service("vpn:1")), ("far", service("far:1"))]);
    others.name = "other".into();
    others.services.get_mut("far").unwrap().ports = vec![port(9999, 80)];
    let host = up_with(&others);
    let before = basis(&stack, &host);
    let told = |change: &dyn Fn(&mut Observed)| {
        let mut now = host.clone();
        change(&mut now.observed);
        before.moved(&basis(&stack, &now), &stack.places).join("\n")
    };
    let named = |observed: &mut Observed| {
        observed.containers.get_mut("other-vpn-1").unwrap().id = "another".into();
    };
    assert_eq!(told(&named), "container `other-vpn-1` was made anew or changed");
    let unrelated = |observed: &mut Observed| {
        observed.containers.get_mut("other-far-1").unwrap().id = "another".into();
    };
    assert_eq!(told(&unrelated), "");
    let port_of_web = |observed: &mut Observed| {
        let far = observed.containers.get_mut("other-far-1").unwrap();
        far.state = ContainerState::Created;
        let web = &stack.services["web"].ports[0];
        far.record.spec.ports[0].published = web.published;
    };
    assert_eq!(told(&port_of_web), "container `other-far-1` has come");
}
