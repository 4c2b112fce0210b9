//! The quick start answers, goes, and comes back with its data.

use berth_tests::TestHost;

/// A machine with `examples/quickstart` as its project.
fn quickstart() -> TestHost {
    let host = TestHost::bare();
    host.copy_example("quickstart");
    host
}

#[test]
fn the_quick_start_answers_through_front_app_and_store() {
    let host = quickstart();
    host.berth("up -d --wait").succeeds();

    assert_eq!(host.get("127.0.0.1:8080/api/"), "Hello, visitor 1\n");
    assert_eq!(host.get("127.0.0.1:8080/api/"), "Hello, visitor 2\n");
    assert!(host.get("127.0.0.1:8080/").contains("It works"));
    assert_eq!(host.get_from_outside("192.0.2.1:8080/"), "", "it is published on loopback only");
}

#[test]
fn down_leaves_the_volume_and_a_second_up_has_the_data() {
    let host = quickstart();
    host.berth("up -d --wait").succeeds();
    assert_eq!(host.get("127.0.0.1:8080/api/"), "Hello, visitor 1\n");

    host.berth("down").succeeds();
    assert_eq!(host.get("127.0.0.1:8080/api/"), "");
    host.leaves_nothing_but(&["/var/lib/berth/volumes/stack_data"]);

    host.berth("up -d --wait").succeeds();
    assert_eq!(host.get("127.0.0.1:8080/api/"), "Hello, visitor 2\n");

    host.berth("down -v -y").succeeds();
    host.leaves_nothing_but(&[]);
}

#[test]
fn the_port_of_the_quick_start_can_be_chosen() {
    let host = quickstart();
    host.shell("PORT=9090 $berth up -d --wait").succeeds();
    assert_eq!(host.get("127.0.0.1:9090/api/"), "Hello, visitor 1\n");
    assert_eq!(host.get("127.0.0.1:8080/api/"), "");
}
