//! Containers under profiles of AppArmor, on a host whose kernel has it.

use berth_tests::Vm;

/// What is loaded there.
const PROFILES: &str = "
profile shut flags=(attach_disconnected,mediate_deleted) {
  file, capability, network, signal, ptrace, unix,
  deny /etc/passwd r,
}
profile mounts flags=(attach_disconnected,mediate_deleted) {
  file, capability, network, signal, ptrace, unix, mount, umount,
}
";

const STACK: &str = "
x-all: &all { image: busybox:1, command: [sleep, '100000'], stop_grace_period: 0s }
services:
  shut:
    <<: *all
    security_opt: [no-new-privileges:false, apparmor=shut]
    init: true
    healthcheck: { test: cat /proc/self/attr/current >/tmp/new && mv /tmp/new /tmp/probe, interval: 1s }
    post_start: [{ command: [sh, -c, cat /proc/self/attr/current >/tmp/hook] }]
  sure: { <<: *all, user: app, security_opt: [apparmor=shut, no-new-privileges] }
  host: { <<: *all, userns_mode: host, security_opt: [apparmor=shut, seccomp=unconfined] }
  fake: { <<: *all, cap_add: [SYS_ADMIN], security_opt: [apparmor=mounts, seccomp=unconfined] }
  open: { <<: *all, security_opt: [apparmor=unconfined] }
  usual: *all
";

const UNKNOWN: &str = "
services:
  web:
    image: busybox:1
    security_opt:
      - no-new-privileges
      - apparmor=nobody-knows
";

const SCRIPT: &str = r#"
step load berth image load -q -i /given/busybox.tar
mount -t securityfs securityfs /sys/kernel/security
step profiles apparmor_parser --replace profiles
umount /sys/kernel/security
step up berth up -d --wait
look() { berth exec -T $1 sh -c 'cat /proc/1/attr/current /proc/self/attr/current; head -n 1 /etc/passwd 2>&1'; }
for service in shut sure host open usual; do step $service look $service; done
step program berth exec -T shut sh -c "'for p in 1 2; do cat /proc/\$p/attr/current; done'"
step others berth exec -T shut cat /tmp/probe /tmp/hook
step privileged berth exec -T --privileged shut cat /proc/self/attr/current
step cover berth exec -T fake sh -c "'mount -t tmpfs tmpfs /proc && mkdir -p /proc/thread-self/attr/apparmor /proc/self && touch /proc/thread-self/attr/apparmor/exec'"
step behind berth exec -d fake sleep 4242
behind() { for p in /proc/[0-9]*; do tr '\0' ' ' <$p/cmdline | grep -q '^sleep 4242' && cat $p/attr/current; done; true; }
step confined behind
sed 's/user: app, security_opt: .apparmor=shut/user: app, security_opt: [apparmor=mounts/' compose.yaml >changed.yaml
step plan berth -f changed.yaml plan
step unknown berth -f unknown.yaml plan
step check berth -f unknown.yaml check
mount -t securityfs securityfs /sys/kernel/security
step remove apparmor_parser --remove profiles
step restart berth restart sure
step down berth down
"#;

#[test]
fn every_process_of_a_container_is_under_its_profile() {
    let files = [("compose.yaml", STACK), ("unknown.yaml", UNKNOWN), ("profiles", PROFILES)];
    let vm = match Vm::run(&files, SCRIPT) {
        Ok(vm) => vm,
        Err(why) => return berth_tests::skipped(&why),
    };
    for step in ["load", "profiles", "up", "cover", "behind"] {
        vm.ok(step);
    }
    for service in ["shut", "sure", "host"] {
        let told = "shut (enforce)\nshut (enforce)\nhead: /etc/passwd: Permission denied";
        assert_eq!(vm.step(service).text, told, "{service}");
    }
    for service in ["open", "usual"] {
        assert_eq!(vm.ok(service), "unconfined\nunconfined\nroot:x:0:0:root:/root:/bin/sh");
    }
    assert_eq!(vm.ok("program"), "shut (enforce)\nshut (enforce)", "the init and its program");
    assert_eq!(vm.ok("others"), "shut (enforce)\nshut (enforce)", "the probe and the hook");
    assert_eq!(vm.ok("privileged"), "shut (enforce)");
    assert_eq!(vm.ok("confined"), "mounts (enforce)", "whatever is at `/proc` inside");
    let words = ["replace", "sure-1", "apparmor=shut", "apparmor=mounts"];
    assert!(words.iter().all(|word| vm.ok("plan").contains(word)), "{}", vm.ok("plan"));
    for (step, place) in [("unknown", "unknown.yaml:7:9: "), ("check", "[unknown.yaml:7:9]")] {
        let told = &vm.step(step).text;
        assert!(told.contains(place) && told.contains("no profile `nobody-knows`"), "{told}");
    }
    assert_eq!(vm.step("unknown").code, 65);
    assert_eq!(vm.step("check").code, 65);
    vm.ok("remove");
    let told = "choose AppArmor profile `shut`: no such profile is loaded";
    assert!(vm.step("restart").text.contains(told), "{}", vm.step("restart").text);
    vm.ok("down");
}
