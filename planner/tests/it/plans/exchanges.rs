//! Ports and addresses that change hands between containers that run.

use super::*;

/// Services on one network, each with its port and its fixed address, if it has one.
fn stack_of(all: &[(&'static str, u16, Option<&str>)]) -> Stack {
    let services = all.iter().map(|(name, published, address)| {
        let mut service = service("app:1");
        service.ports.push(port(*published, 80));
        let on = service.networks.get_mut("default").unwrap();
        on.ipv4_address = address.map(|address| address.parse().unwrap());
        (*name, service)
    });
    let mut stack = with(services);
    let pool = IpamPool { subnet: Some("10.1.0.0/24".into()), ..IpamPool::default() };
    stack.networks.get_mut("default").unwrap().ipam = vec![pool];
    stack
}

/// The plan from one to the other, which leads there in whatever order it is done.
fn from_to(before: &Stack, after: &Stack) -> Plan {
    let made = plan(after, &up_with(before));
    for seed in 0..20 {
        let mut host = up_with(before);
        host.apply_all(&made, seed);
        let left = plan(after, &host);
        assert!(left.is_empty(), "still to do:\n{left}");
    }
    made
}

#[test]
fn two_that_exchange_their_ports_do_so_as_one_of_them_is_made_anew() {
    let before = stack_of(&[("a", 8001, None), ("b", 8002, None), ("c", 8003, None)]);
    let after = stack_of(&[("a", 8002, None), ("b", 8001, None), ("c", 8003, None)]);
    let plan = from_to(&before, &after);
    assert_snapshot!(plan, @r#"
    replace  a-1  PUBLIC 8002:80/tcp
                  exchanges ports or addresses with others
                  stop-first by default: gap expected, its TCP ports change
                  ports ["8001:80/tcp"] → ["8002:80/tcp"]
    update   b-1  ports ["8002:80/tcp"] → ["8001:80/tcp"]
    Plan: 1 replace, 1 update, 2 unchanged
    "#);
    assert_snapshot!(steps(&plan), @r"
    0 stop_container shop-a-1 ←
    1 remove_container shop-a-1 ← 0
    2 create_container shop-a-1 ← 1
    3 update_container shop-b-1 ← 0
    4 start_container shop-a-1 ← 2,3
    ");
}

#[test]
fn a_circle_over_three_is_cut_at_one() {
    let before = stack_of(&[("a", 8001, None), ("b", 8002, None), ("c", 8003, None)]);
    let after = stack_of(&[("a", 8002, None), ("b", 8003, None), ("c", 8001, None)]);
    let plan = from_to(&before, &after);
    let updates = plan.steps.iter().filter(|step| step.action.verb() == "update_container");
    assert_eq!(updates.count(), 2);
}

#[test]
fn two_that_exchange_their_addresses_do_so_as_one_of_them_is_made_anew() {
    let (five, six) = (Some("10.1.0.5"), Some("10.1.0.6"));
    let before = stack_of(&[("a", 8001, five), ("b", 8002, six)]);
    let after = stack_of(&[("a", 8001, six), ("b", 8002, five)]);
    let plan = from_to(&before, &after);
    assert_snapshot!(steps(&plan), @r"
    0 hold_container shop-a-1 ←
    1 stop_container shop-a-1 ← 0
    2 remove_container shop-a-1 ← 1
    3 update_container shop-b-1 ← 2
    4 create_container shop-a-1 ← 2,3
    5 start_container shop-a-1 ← 3,4
    6 release_container shop-a-1 ← 0 ended 5
    ");
}

#[test]
fn who_shares_the_network_of_one_that_is_made_anew_follows_it() {
    let with_side = |mut stack: Stack| {
        let mut side = service("side:1");
        side.networks.clear();
        side.network_mode = Some(berth_schema::stack::NetworkMode::Service("a".into()));
        stack.services.insert("side".into(), side);
        stack
    };
    let before = with_side(stack_of(&[("a", 8001, None), ("b", 8002, None)]));
    let after = with_side(stack_of(&[("a", 8002, None), ("b", 8001, None)]));
    assert_snapshot!(from_to(&before, &after), @r#"
    replace  side-1  shares a namespace of `shop-a-1`, which is made anew
    replace  a-1     PUBLIC 8002:80/tcp
                     exchanges ports or addresses with others
                     stop-first by default: gap expected, its TCP ports change
                     ports ["8001:80/tcp"] → ["8002:80/tcp"]
    update   b-1     ports ["8002:80/tcp"] → ["8001:80/tcp"]
    Plan: 2 replace, 1 update, 1 unchanged
    "#);
}

#[test]
fn addresses_of_the_host_change_hands_on_one_port() {
    let bound = |[a, b]: [&str; 2]| {
        let mut stack = stack_of(&[("a", 8000, None), ("b", 8000, None)]);
        for (name, ip) in [("a", a), ("b", b)] {
            stack.services.get_mut(name).unwrap().ports[0].host_ip = Some(ip.parse().unwrap());
        }
        stack
    };
    let plan = from_to(&bound(["127.0.0.1", "127.0.0.2"]), &bound(["127.0.0.2", "127.0.0.1"]));
    assert_eq!(plan.steps.iter().filter(|s| s.action.verb() == "create_container").count(), 1);
    let plan = from_to(&bound(["127.0.0.1", "127.0.0.2"]), &bound(["127.0.0.3", "127.0.0.1"]));
    assert_snapshot!(steps(&plan), @r"
    0 update_container shop-a-1 ←
    1 update_container shop-b-1 ← 0
    ");
}

#[test]
fn a_fixed_address_moves_to_another_service_and_leaves_the_first() {
    let five = Some("10.1.0.5");
    let before = stack_of(&[("a", 8001, five), ("b", 8002, None)]);
    let after = stack_of(&[("a", 8001, None), ("b", 8002, five)]);
    let plan = from_to(&before, &after);
    assert_snapshot!(steps(&plan), @r"
    0 update_container shop-a-1 ←
    1 update_container shop-b-1 ← 0
    ");
    let given = plan.steps.iter().find_map(|step| match &step.action {
        Action::UpdateContainer(record) if record.service == "a" => Some(record),
        _ => None,
    });
    assert_ne!(given.unwrap().addresses["shop_default"].ipv4, Some("10.1.0.5".parse().unwrap()));
}

#[test]
fn a_fixed_address_moves_to_a_service_that_is_made_anew() {
    let five = Some("10.1.0.5");
    let before = stack_of(&[("a", 8001, five), ("b", 8002, None)]);
    let mut after = stack_of(&[("a", 8001, None), ("b", 8002, five)]);
    after.services.get_mut("b").unwrap().tty = true;
    assert_snapshot!(steps(&from_to(&before, &after)), @r"
    0 update_container shop-a-1 ←
    1 hold_container shop-b-1 ←
    2 stop_container shop-b-1 ← 1
    3 remove_container shop-b-1 ← 2
    4 create_container shop-b-1 ← 0,3
    5 start_container shop-b-1 ← 0,4
    6 release_container shop-b-1 ← 1 ended 5
    ");
}

#[test]
fn a_fixed_address_that_nobody_names_any_more_stays() {
    let before = stack_of(&[("a", 8001, Some("10.1.0.5"))]);
    let plan = from_to(&before, &stack_of(&[("a", 8001, None)]));
    let [Step { action: Action::UpdateContainer(record), .. }] = plan.steps.as_slice() else {
        panic!("{plan}")
    };
    assert_eq!(record.addresses["shop_default"].ipv4, Some("10.1.0.5".parse().unwrap()));
}
