//! A host with cgroup v2 alone, on a kernel of its own in a virtual machine: limits, devices,
//! standing still, running out of memory, networks and limits of writable layers there.

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
set_limit() { echo $2 >/sys/fs/cgroup/berth/stack-limited-1/$1; }
set_limit memory.max 128M; set_limit memory.swap.max max; set_limit memory.low 0
set_limit cpu.max 20000; set_limit cpu.weight 21; set_limit cpuset.cpus 0-1; set_limit pids.max max
step drift berth plan --detailed-exitcode
step again berth up -d
step put-back see limited
step nothing berth plan --detailed-exitcode
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
    let drift = vm.step("drift");
    assert_eq!(drift.code, 2, "{drift:?}");
    for limit in [
        "mem_limit: memory.max is 134217728, not 67108864",
        "memswap_limit: memory.swap.max is max, not 33554432",
        "mem_reservation: memory.low is 0, not 33554432",
        "cpus: cpu.max is 20000 100000, not 50000 100000",
        "cpu_shares: cpu.weight is 21, not 20",
        "cpuset: cpuset.cpus is 0-1, not 1",
        "pids_limit: pids.max is max, not 30",
    ] {
        assert!(drift.text.contains(&format!("drift: {limit}\n")), "{limit}: {drift:?}");
    }
    vm.ok("again");
    assert_eq!(vm.ok("put-back"), vm.ok("limited"));
    vm.ok("nothing");
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
    command: [sh, -c, 'while :; do date +%s >/tmp/new; mv /tmp/new /tmp/now; sleep 0.2; done']
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

#[test]
fn further_limits_parents_and_changes_reach_the_kernel() {
    let stack = "
services:
  disk:
    image: busybox:1
    command: [sleep, '100000']
    blkio_config:
      device_read_bps: [{ path: /dev/vda, rate: 1mb }]
      device_write_iops: [{ path: /dev/vda, rate: 100 }]
  child:
    image: busybox:1
    command: [sleep, '100000']
    cgroup_parent: /own/slice
    mem_limit: 32m
  live:
    image: busybox:1
    command: [sleep, '100000']
    mem_limit: 64m
    cpus: 0.5
  view: { image: busybox:1, command: [sleep, '100000'], cgroup: host }
";
    let script = r#"
mkdir /sys/fs/cgroup/own
echo +cpuset >/sys/fs/cgroup/cgroup.subtree_control; echo +cpuset >/sys/fs/cgroup/own/cgroup.subtree_control
step up berth up -d
step passed cat /sys/fs/cgroup/own/cgroup.subtree_control
step io cat /sys/fs/cgroup/berth/stack-disk-1/io.max
step child cat /sys/fs/cgroup/own/slice/berth/stack-child-1/memory.max
step view berth exec -T view cat /proc/self/cgroup
pid() { grep -o '"pid": *[0-9]*' /run/berth/containers/stack-live-1/status.json; }
step before pid
sed -i 's/mem_limit: 64m/mem_limit: 128m/; s/cpus: 0.5/cpus: 0.25/' compose.yaml
step plan berth plan
step change berth up -d
sed -i 's/mem_limit: 32m/mem_limit: 32m\n    cpu_shares: 512/' compose.yaml
step more berth up -d
step weight cat /sys/fs/cgroup/own/slice/berth/stack-child-1/cpu.weight
step then cat /sys/fs/cgroup/own/cgroup.subtree_control
step after pid
step memory cat /sys/fs/cgroup/berth/stack-live-1/memory.max /sys/fs/cgroup/berth/stack-live-1/memory.swap.max /sys/fs/cgroup/berth/stack-live-1/cpu.max
sed -i 's/mem_limit: 128m/mem_limit: 16m/' compose.yaml
step shrink berth up -d
step small cat /sys/fs/cgroup/berth/stack-live-1/memory.max
step down berth down
step left find /sys/fs/cgroup -mindepth 1 -type d
"#;
    let Some(vm) = with(stack, script) else { return };
    vm.ok("up");
    assert_eq!(vm.ok("io"), "254:0 rbps=1048576 wbps=max riops=max wiops=100");
    assert_eq!(vm.ok("child"), (32 << 20).to_string());
    // What others had there, and what the limits need: no `cpu`, no `io`.
    assert_eq!(vm.ok("passed"), "cpuset memory pids");
    vm.ok("more");
    assert_eq!([vm.ok("weight"), vm.ok("then")], ["20", "cpuset cpu memory pids"]);
    assert_eq!(vm.ok("view"), "0::/berth/stack-view-1");
    insta::assert_snapshot!(vm.ok("plan"), @r#"
    Stack stack: 4 containers run, generation 1 → 2; compose.yaml
    Edited since it was applied:
      update  live-1  limits.cpus 0.5 → 0.25 (compose.yaml:18:11)
                      limits.memory "64 MiB" → "128 MiB" (compose.yaml:17:16)
    Plan: 1 update, 4 unchanged
    Grants:
      critical  kept  view   G-NS  the cgroups of the host, consented in an earlier run  (compose.yaml:19:65)
      high      kept  child  G-CG  a place in the cgroup own/slice, outside our own, consented in an earlier run  (compose.yaml:12:20)
    Next: berth up
    "#);
    vm.ok("change");
    assert_eq!(vm.ok("before"), vm.ok("after"));
    assert_eq!(vm.ok("memory"), "134217728\n134217728\n25000 100000");
    vm.ok("shrink");
    assert_eq!(vm.ok("small"), (16 << 20).to_string());
    vm.ok("down");
    assert_eq!(vm.ok("left"), "/sys/fs/cgroup/own");
}

#[test]
fn a_limit_below_what_is_used_ends_nobody() {
    let stack = "
services:
  full:
    image: busybox:1
    command: [sh, -c, 'head -c 40000000 /dev/zero >/dev/shm/x; sleep 100000']
    shm_size: 64m
    mem_limit: 64m
  reader:
    image: busybox:1
    command: [sh, -c, 'head -c 40000000 /dev/zero >/x; sync; for i in 1 2 3 4; do cat /x >/dev/null; done; touch /read; sleep 100000']
    mem_limit: 64m
";
    let script = r#"
step up berth up -d
size() { berth exec -T full du -k /dev/shm/x | cut -f1; }
wait=0; until [ "$(size)" -gt 39000 ] && berth exec -T reader test -e /read || [ $wait -gt 100 ]; do sleep 0.2; wait=$((wait + 1)); done
group() { echo /sys/fs/cgroup/berth/stack-$1-1; }
pids() { cat $(group full)/cgroup.procs $(group reader)/cgroup.procs; }
step size size
step active sed -n "'s/^active_file //p'" $(group reader)/memory.stat
step before pids
sed -i 's/mem_limit: 64m/mem_limit: 16m/' compose.yaml
step shrink berth up -d
step after pids
step limits cat $(group full)/memory.max $(group reader)/memory.max
step kills sh -c "'cat /sys/fs/cgroup/berth/stack-*/memory.events | grep \"oom_kill \"'"
step left berth plan --detailed-exitcode
step anew berth up -d --force-recreate full
step then cat $(group full)/memory.max
step down berth down -t 0
"#;
    let Some(vm) = with(stack, script) else { return };
    vm.ok("up");
    assert!(vm.ok("size").parse::<u64>().is_ok_and(|kib| kib > 39_000), "{vm:?}");
    // More than the limit to come, of what the kernel keeps longest: only when it is asked to, it lets go.
    assert!(vm.ok("active").parse::<u64>().is_ok_and(|bytes| bytes > 30 << 20), "{vm:?}");
    let refused = vm.step("shrink");
    assert_ne!(refused.code, 0);
    assert!(refused.text.contains("stack-full-1") && refused.text.contains("uses"), "{refused:?}");
    assert!(!refused.text.contains("stack-reader-1: "), "{refused:?}");
    assert_eq!(vm.ok("before"), vm.ok("after"));
    assert_eq!(vm.ok("limits"), "67108864\n16777216");
    assert_eq!(vm.ok("kills"), "oom_kill 0\noom_kill 0");
    assert_eq!(vm.step("left").code, 2);
    vm.ok("anew");
    assert_eq!(vm.ok("then"), (16 << 20).to_string());
    vm.ok("down");
}

#[test]
fn devices_and_operations_work_as_on_other_hosts() {
    let stack = "
services:
  disk: { image: busybox:1, command: [sleep, '100000'], devices: ['/dev/vda:/dev/mine:r'] }
  rule: { image: busybox:1, command: [sleep, '100000'], userns_mode: host, cap_add: [MKNOD], device_cgroup_rules: ['b 254:* rm'] }
  kin: { image: busybox:1, command: [sleep, '100000'], pid: 'service:disk' }
  busy: { image: busybox:1, command: [sh, -c, 'while :; do :; done'], cpus: 0.2 }
";
    let script = r#"
step up berth up -d
step read berth exec -T disk sh -c "'head -c 1 /dev/mine | wc -c'"
step write berth exec -T disk sh -c "'echo x >/dev/mine'"
step rule berth exec -T rule sh -c "'cd /dev && mknod own b 254 0 && head -c 1 own | wc -c && ! true >own'"
step other berth exec -T rule mknod /dev/kmsg c 1 11
step kin berth exec -T kin sh -c "'ps | grep -c [s]leep'"
step stats berth stats --no-stream --format json busy
step top berth top disk
echo from the host >/tmp/file
step in berth cp /tmp/file disk:/tmp/file
step out sh -c "'berth cp disk:/tmp/file - | tar -xO'"
step commit berth commit disk made:1
step runs berth exec -T disk true
step stopped berth pause busy
step end berth stop busy
step down berth down
step left find /sys/fs/cgroup -mindepth 1 -type d
"#;
    let Some(vm) = with(stack, script) else { return };
    vm.ok("up");
    assert_eq!(vm.ok("read"), "1");
    assert_ne!(vm.step("write").code, 0);
    assert!(vm.ok("rule").starts_with('1'), "{vm:?}");
    assert_ne!(vm.step("other").code, 0);
    assert_eq!(vm.ok("kin"), "2");
    assert!(vm.ok("stats").contains("\"PIDs\":\"1\""), "{vm:?}");
    for step in ["top", "in", "commit", "runs", "stopped", "end", "down"] {
        vm.ok(step);
    }
    assert!(vm.ok("out").contains("from the host"), "{vm:?}");
    assert_eq!(vm.ok("left"), "");
}

#[test]
fn a_writable_layer_has_the_size_of_the_file() {
    let stack = "
services:
  small: { image: busybox:1, command: [sleep, '100000'], storage_opt: { size: 10M } }
  host: { image: busybox:1, command: [sleep, '100000'], userns_mode: host, storage_opt: { size: 10485760 } }
  free: { image: busybox:1, command: [sleep, '100000'] }
";
    let script = r#"
step check berth check
step refused berth up -d
umount /var/lib && mount -t ext4 -o prjquota /dev/vda /var/lib
step fine berth check
step up berth up -d
fill() { berth exec -T $1 sh -c 'dd if=/dev/zero of=/big bs=1M count=20 2>&1 | grep -v records | head -n 1; du -m /big | cut -f 1; rm /big'; }
step small fill small
step host fill host
step free fill free
size() { berth exec -T small df -m / | awk 'NR == 2 { print $2 }'; }
step size size
project() { grep -o '"layer_project": *[0-9]*' /var/lib/berth/containers/stack-small-1/record.json; }
step project project
step restart berth restart small
step again fill small
kill -9 $(grep -o '"monitor": *[0-9]*' /run/berth/containers/stack-small-1/status.json | grep -o '[0-9]*')
step adopt berth up -d
step adopted fill small
step kept project
step same berth plan
sed -i 's/size: 10M/size: 12M/' compose.yaml
step plan berth plan
step bigger berth up -d
step now size
step other project
step held ls /var/lib/berth/quotas
step down berth down
step left ls /var/lib/berth/quotas
step anew berth up -d small
step first project
"#;
    let Some(vm) = with(stack, script) else { return };
    let full = "dd: error writing '/big': Disk quota exceeded\n10";
    for refused in ["check", "refused"] {
        let said = vm.step(refused).text.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(said.contains("`/var/lib`, which is ext4 without project quotas"), "{vm:?}");
        assert!(said.contains("compose.yaml:3:79"), "{said}");
    }
    for step in ["fine", "up", "restart", "adopt", "bigger", "down", "anew"] {
        vm.ok(step);
    }
    assert_eq!(["small", "host", "again", "adopted"].map(|step| vm.ok(step)), [full; 4]);
    assert_eq!(vm.ok("free"), "20");
    assert_eq!([vm.ok("size"), vm.ok("now")], ["10", "12"]);
    assert_eq!(vm.ok("project"), vm.ok("kept"));
    assert!(vm.ok("same").contains("\nnothing to do"), "{vm:?}");
    let replaced = "replace  small-1  storage_opt.size \"10 MiB\" → \"12 MiB\" (compose.yaml:3:79)";
    assert!(vm.ok("plan").contains(replaced), "{vm:?}");
    // Its files were gone with their project, so another has it now.
    assert_ne!(vm.ok("project"), vm.ok("other"));
    assert_eq!(vm.ok("held").split_whitespace().count(), 2);
    assert_eq!(vm.ok("left"), "");
    // Neither the records nor the kernel know it any more.
    assert!(vm.ok("first").ends_with(&0x6265_0000.to_string()), "{vm:?}");
}
