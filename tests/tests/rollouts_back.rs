//! What is left of a rollout that fails or is killed: the containers from before, and the next run.

use berth_tests::TestHost;

/// Two of an image that end at once if they find a file in it.
const TAGGED: &str = "
services:
  web:
    image: app:1
    command: [sh, -c, 'test -e /broken && { echo no table called orders; exit 3; }; exec sleep 100000']
    stop_grace_period: 1s
    deploy: { replicas: 2, update_config: { ORDER, failure_action: rollback, monitor: 500ms } }
";

/// What runs, in order: names and images.
fn running(host: &TestHost) -> String {
    let all = "ps --format '{{.Names}} {{.Image}} {{.State}}'";
    let listed = host.berth(all).succeeds().stdout;
    let mut lines: Vec<&str> = listed.lines().collect();
    lines.sort();
    lines.join(", ")
}

#[test]
fn what_a_tag_meant_before_comes_back_when_the_new_image_fails() {
    for order in ["order: start-first", "order: stop-first"] {
        let host = TestHost::with("compose.yaml", "services: { any: { image: busybox } }");
        host.berth("image tag busybox:1 app:1").succeeds();
        host.write("compose.yaml", &TAGGED.replace("ORDER", order));
        host.berth("up -d").succeeds();
        let before = running(&host);
        let images =
            "grep -o '\"image_id\": *\"[^\"]*\"' /var/lib/berth/containers/stack-web-*/record.json";
        let made_of = host.shell(images).succeeds().stdout;
        host.berth("exec -T web touch /broken").succeeds();
        host.berth("commit web app:1").succeeds();
        host.berth("exec -T web rm /broken").succeeds();

        host.berth("up -d").fails_with(6).stderr_has("no table called orders");
        assert_eq!(running(&host), before);
        assert_eq!(host.shell(images).succeeds().stdout, made_of);
    }
}
