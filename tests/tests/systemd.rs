//! A host that systemd manages, in a virtual machine: what it does to its units leaves containers,
//! their limits and their monitors as they are, and slices hold what is below them.

use berth_tests::Vm;

/// A machine that ran `script` with this stack in its folder.
fn with(stack: &str, script: &str) -> Option<Vm> {
    let script = format!("step load berth image load -q -i /given/busybox.tar\n{script}\n");
    match Vm::run_with_systemd(&[("compose.yaml", stack)], &script) {
        Ok(vm) => Some(vm),
        Err(why) => {
            berth_tests::skipped(&why);
            None
        }
    }
}

/// Shell functions that tell the limits of `web`, where its monitor is, and whether both live.
const LOOK: &str = r#"
look() {
    for f in memory.max cpu.max cpu.weight pids.max; do echo $f $(cat /sys/fs/cgroup/berth/stack-web-1/$f); done
    monitor=$(grep -o '"monitor": *[0-9]*' /run/berth/containers/stack-web-1/status.json | grep -o '[0-9]*')
    echo monitor $(cat /proc/$monitor/cgroup)
    berth exec -T web echo it runs
}
"#;

/// What that is for the stack of these tests.
const AS_WRITTEN: &str = "memory.max 67108864
cpu.max 50000 100000
cpu.weight 20
pids.max 30
monitor 0::/berth/.monitors
it runs";

const STACK: &str = "
services:
  web: { image: busybox:1, command: [sleep, '100000'], mem_limit: 64m, cpus: 0.5, cpu_shares: 512, pids_limit: 30 }
";

#[test]
fn what_systemd_does_to_its_units_leaves_containers_and_limits_alone() {
    let script = format!(
        r#"{LOOK}
step up berth up -d
step first look
systemctl daemon-reload
step reloaded look
systemd-run -q --unit=other -p MemoryMax=100M -p CPUWeight=50 -p CPUQuota=20% -p IOWeight=50 sleep 1000
systemctl set-property --runtime other.service CPUWeight=70 MemoryMax=50M
step beside look
systemctl stop other
systemctl daemon-reload
step alone look
systemctl daemon-reexec
step executed look
step same berth up -d
kill -9 $(grep -o '"monitor": *[0-9]*' /run/berth/containers/stack-web-1/status.json | grep -o '[0-9]*')
step down berth down
step left find /sys/fs/cgroup -name "'*berth*'"
"#
    );
    let Some(vm) = with(STACK, &script) else { return };
    vm.ok("up");
    for step in ["first", "reloaded", "beside", "alone", "executed"] {
        assert_eq!(vm.ok(step), AS_WRITTEN, "{step}");
    }
    assert!(vm.ok("same").contains("nothing to do"), "{vm:?}");
    vm.ok("down");
    assert_eq!(vm.ok("left"), "");
}

#[test]
fn a_monitor_lives_on_when_the_session_or_the_service_ends_that_started_it() {
    let script = format!(
        r#"{LOOK}
step session systemd-run -q --scope --unit=session-7.scope sh -c "'berth up -d; sleep 1000 & sleep 0.1'"
step active systemctl is-active session-7.scope
step logout systemctl stop session-7.scope
step gone systemctl is-active session-7.scope
step alone look
step same berth up -d
step down berth down
cat >/run/systemd/system/stack.service <<'END'
[Service]
Type=oneshot
RemainAfterExit=yes
WorkingDirectory=/stack
Environment=HOME=/root BERTH_ALLOW=all
ExecStart=/usr/local/bin/berth up -d
END
systemctl daemon-reload
step service systemctl start stack
pid() {{ grep -o '"monitor": *[0-9]*' /run/berth/containers/stack-web-1/status.json; }}
step before pid
step restart systemctl restart stack
step after pid
step stopped systemctl stop stack
step still look
berth kill web
for i in $(seq 60); do find /sys/fs/cgroup -name '*berth*' | grep -q . || break; sleep 1; done
step left find /sys/fs/cgroup -name "'*berth*'"
"#
    );
    let Some(vm) = with(STACK, &script) else { return };
    for step in ["session", "logout", "down", "service", "restart", "stopped"] {
        vm.ok(step);
    }
    assert_eq!([vm.ok("active"), &vm.step("gone").text], ["active", "inactive"]);
    assert_eq!([vm.ok("alone"), vm.ok("still")], [AS_WRITTEN; 2]);
    assert!(vm.ok("same").contains("nothing to do"), "{vm:?}");
    assert_eq!(vm.ok("before"), vm.ok("after"));
    assert_eq!(vm.ok("left"), "");
}

#[test]
fn a_container_in_a_slice_has_the_limits_of_its_unit() {
    let stack = "
services:
  web: { image: busybox:1, command: [sleep, '100000'], cgroup_parent: own-web.slice, mem_limit: 32m }
";
    let script = r#"
step refused berth up -d
cat >/run/systemd/system/own-web.slice <<'END'
[Slice]
MemoryMax=64M
END
systemctl daemon-reload
step start systemctl start own-web.slice
step up berth up -d
slice=/sys/fs/cgroup/own.slice/own-web.slice
look() { cat $slice/memory.max $slice/berth/stack-web-1/memory.max; wc -l <$slice/berth/stack-web-1/cgroup.procs; }
step first look
systemctl set-property --runtime own-web.slice MemoryMax=48M
systemctl daemon-reload
step second look
step restart berth restart
step third look
step down berth down
step left find /sys/fs/cgroup -name "'*berth*'"
step slice systemctl is-active own-web.slice
"#;
    let Some(vm) = with(stack, script) else { return };
    let refused = vm.step("refused").text.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(refused.contains("compose.yaml:3:71: `services.web.cgroup_parent`"), "{refused}");
    assert!(refused.contains("the slice `own.slice` is not active"), "{refused}");
    vm.ok("up");
    let look = |slice: u32| format!("{}\n{}\n1", slice << 20, 32 << 20);
    assert_eq!(vm.ok("first"), look(64));
    assert_eq!([vm.ok("second"), vm.ok("third")], [look(48), look(48)]);
    vm.ok("down");
    assert_eq!([vm.ok("left"), vm.ok("slice")], ["", "active"]);
}
