//! A host with cgroup v2 alone, on a kernel of its own in a virtual machine: limits, devices,
//! standing still, running out of memory, and networks there.

use berth_tests::Vm;

/// A machine that ran `script` with this stack up.
fn with(stack: &str, script: &str) -> Option<Vm> {
    let script = format!("step load berth image load -q -i /given/busybox.tar\n{script}\n");
    match Vm::run(&[("compose.yaml", stack)], &script) {
        Ok(vm) => Some(vm),
        Err(why) => {
            berth_tests::skipped(&why);
            None
        }
    }
}

#[test]
fn limits_are_those_of_the_file_and_the_rest_is_as_usual() {
    let stack = "
services:
  limited:
    image: busybox:1
    command: [sleep, '100000']
    mem_limit: 64m
    memswap_limit: 96m
    mem_reservation: 32m
    cpus: 0.5
    cpu_shares: 512
    cpuset: '1'
    pids_limit: 30
  plain:
    image: busybox:1
    command: [sleep, '100000']
";
    let script = r#"
step up berth up -d
see() { for f in memory.max memory.swap.max memory.low cpu.max cpu.weight cpuset.cpus pids.max; do echo $f $(cat /sys/fs/cgroup/berth/stack-$1-1/$f); done; }
step limited see limited
step plain see plain
step inside berth exec -T limited sh -c "'cat /proc/self/cgroup /sys/fs/cgroup/memory.max; grep cgroup /proc/self/mountinfo | grep -c ro,; nproc'"
step write berth exec -T limited sh -c "'echo max >/sys/fs/cgroup/memory.max'"
step full berth exec -T limited sh -c "'for i in \$(seq 60); do sleep 30 & done'"
step down berth down
step left find /sys/fs/cgroup -mindepth 1 -type d
"#;
    let Some(vm) = with(stack, script) else { return };
    vm.ok("up");
    insta::assert_snapshot!(vm.ok("limited"), @r"
    memory.max 67108864
    memory.swap.max 33554432
    memory.low 33554432
    cpu.max 50000 100000
    cpu.weight 20
    cpuset.cpus 1
    pids.max 30
    ");
    insta::assert_snapshot!(vm.ok("plain"), @r"
    memory.max max
    memory.swap.max max
    memory.low 0
    cpu.max max 100000
    cpu.weight 100
    cpuset.cpus
    pids.max 2048
    ");
    insta::assert_snapshot!(vm.ok("inside"), @r"
    0::/
    67108864
    1
    1
    ");
    assert_ne!(vm.step("write").code, 0);
    assert!(vm.step("full").text.contains("can't fork"), "{:?}", vm.step("full"));
    vm.ok("down");
    assert_eq!(vm.ok("left"), "");
}

#[test]
fn nodes_are_made_for_the_devices_of_the_list_only() {
    let stack = "
services:
  mapped: { image: busybox:1, command: [sleep, '100000'] }
  host: { image: busybox:1, command: [sleep, '100000'], userns_mode: host, cap_add: [MKNOD] }
  all: { image: busybox:1, command: [sleep, '100000'], privileged: true }
";
    let script = r#"
step up berth up -d
make() { berth exec -T $1 sh -c 'for n in "c 1 3 null" "c 1 11 kmsg" "b 254 0 disk"; do set -- $n; mknod /tmp/$4 $1 $2 $3 && echo "$4 made"; done' 2>/dev/null; }
step mapped make mapped
step host make host
step all make all
step down berth down
step left find /sys/fs/cgroup -mindepth 1 -type d
"#;
    let Some(vm) = with(stack, script) else { return };
    vm.ok("up");
    assert_eq!(vm.step("mapped").text, "");
    insta::assert_snapshot!(vm.step("host").text, @"null made");
    insta::assert_snapshot!(vm.step("all").text, @r"
    null made
    kmsg made
    disk made
    ");
    vm.ok("down");
    assert_eq!(vm.ok("left"), "");
}

#[test]
fn what_runs_wild_is_held_and_told() {
    let stack = "
services:
  hog:
    image: busybox:1
    command: [sh, -c, 'sleep 0.2; x=a; while :; do x=$$x$$x; done']
    mem_limit: 16m
    memswap_limit: 16m
  bomb:
    image: busybox:1
    command: [sh, -c, 'b() { b | b & }; b; sleep 100000']
    pids_limit: 50
  deaf:
    image: busybox:1
    command: [sh, -c, 'trap \"\" TERM; while :; do sleep 1; done']
    stop_grace_period: 1s
  good:
    image: busybox:1
    command: [sh, -c, 'while :; do date +%s >/tmp/now; sleep 0.2; done']
";
    let script = r#"
step up berth up -d
wait=0; while berth ps --format json hog | grep -q '"State":"running"' && [ $wait -lt 100 ]; do sleep 0.2; wait=$((wait + 1)); done
step ps berth ps -a
step oom grep -o "'\"oom_killed\": *true'" /run/berth/containers/stack-hog-1/status.json
step bomb cat /sys/fs/cgroup/berth/stack-bomb-1/pids.max
step good berth exec -T good sh -c "'test \$((\$(date +%s) - \$(cat /tmp/now))) -lt 5'"
step pause berth pause good
step frozen cat /sys/fs/cgroup/berth/stack-good-1/cgroup.freeze
step unpause berth unpause good
step thawed cat /sys/fs/cgroup/berth/stack-good-1/cgroup.freeze
step down berth down
step left find /sys/fs/cgroup -mindepth 1 -type d
step processes sh -c "'ps | grep -c \"[s]leep 1\"'"
"#;
    let Some(vm) = with(stack, script) else { return };
    vm.ok("up");
    assert!(vm.ok("ps").lines().any(|l| l.contains("hog") && l.contains("Exited (137)")), "{vm:?}");
    vm.ok("oom");
    assert_eq!(vm.ok("bomb"), "50");
    vm.ok("good");
    vm.ok("pause");
    vm.ok("unpause");
    assert_eq!([vm.ok("frozen"), vm.ok("thawed")], ["1", "0"]);
    vm.ok("down");
    assert_eq!(vm.ok("left"), "");
    assert_eq!(vm.step("processes").text, "0");
}

#[test]
fn services_find_each_other_and_answer_on_published_ports() {
    let stack = "
services:
  web:
    image: busybox:1
    command: [sh, -c, 'mkdir /tmp/w; echo hello >/tmp/w/index.html; httpd -f -p 80 -h /tmp/w']
    ports: ['8080:80']
  other: { image: busybox:1, command: [sleep, '100000'] }
  apart: { image: busybox:1, command: [sleep, '100000'], networks: [b] }
networks: { b: { internal: true } }
";
    let script = r#"
step up berth up -d
step host sh -c "'for i in 1 2 3 4 5 6 7 8 9 10; do wget -qO- http://127.0.0.1:8080/ && break; sleep 0.3; done'"
step peer berth exec -T other wget -qO- http://web/
step apart berth exec -T apart wget -qO- -T 2 http://web/
step down berth down
step links sh -c "'ls /sys/class/net'"
step left find /sys/fs/cgroup -mindepth 1 -type d
"#;
    let Some(vm) = with(stack, script) else { return };
    vm.ok("up");
    assert_eq!([vm.ok("host"), vm.ok("peer")], ["hello"; 2]);
    assert_ne!(vm.step("apart").code, 0);
    vm.ok("down");
    assert_eq!(vm.ok("links"), "lo");
    assert_eq!(vm.ok("left"), "");
}
