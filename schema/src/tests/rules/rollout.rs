//! What there can be only once cannot be replaced by one that starts first.

use insta::assert_snapshot;

use super::{problems, warnings};

#[test]
fn what_there_can_be_only_once_does_not_start_first() {
    let text = "\
x-first: &first { update_config: { order: start-first } }
services:
  name: { image: i, deploy: *first, container_name: front }
  host: { image: i, deploy: *first, network_mode: host }
  mac: { image: i, deploy: *first, networks: { default: { mac_address: 02:00:00:00:00:01 } } }
  shared: { image: i, deploy: *first }
  follower: { image: i, deploy: *first, network_mode: \"service:shared\" }
  files: { image: i, deploy: *first }
  reader: { image: i, volumes_from: [\"files:ro\"] }
";
    assert_snapshot!(problems(text), @r"
    compose.yaml:3:53 berth::conflict
      service `name` cannot be replaced `start-first`: there can be only one container of the name `front`
      → write `order: stop-first`, or take the other away
    compose.yaml:4:51 berth::conflict
      service `host` cannot be replaced `start-first`: both would listen on the same ports of the host's network
      → write `order: stop-first`, or take the other away
    compose.yaml:5:72 berth::conflict
      service `mac` cannot be replaced `start-first`: both would have this address on network `default`
      → write `order: stop-first`, or take the other away
    compose.yaml:7:55 berth::conflict
      service `follower` cannot be replaced `start-first`: both would be in the same namespace
      → write `order: stop-first`, or take the other away
    compose.yaml:7:55 berth::conflict
      service `shared` cannot be replaced `start-first`: `follower` shares what one container of it has
      → write `order: stop-first`, or take the other away
    compose.yaml:9:38 berth::conflict
      service `files` cannot be replaced `start-first`: `reader` shares what one container of it has
      → write `order: stop-first`, or take the other away
    ");
}

#[test]
fn what_there_can_be_twice_may_start_first_and_all_may_stop_first() {
    let text = "\
services:
  web: { image: i, deploy: { update_config: { order: start-first } }, ports: ['80:80'] }
  name: { image: i, deploy: { update_config: { order: stop-first } }, container_name: front }
  host: { image: i, network_mode: host }
";
    assert_snapshot!(warnings(text), @"");
}
