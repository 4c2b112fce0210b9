//! What a container may do, and who it is: each attribute as the kernel has it, and the default
//! where a file says nothing.

use berth_tests::TestHost;
use berth_tests::rows::{says, stack, up};

/// The eleven capabilities of a container's root.
const USUAL: &str = "00000000800405fb";
const NONE: &str = "0000000000000000";

/// A member of `/proc/1/status` of a service's container.
fn first(host: &TestHost, service: &str, member: &str) -> String {
    let pid = host.pid_of(service).pid;
    let text = std::fs::read_to_string(host.machine().path(format!("/proc/{pid}/status")));
    member_of(&text.expect("a running process"), member)
}

fn member_of(status: &str, member: &str) -> String {
    let line = status.lines().find_map(|line| line.strip_prefix(member)?.strip_prefix(':'));
    line.unwrap_or_else(|| panic!("no {member} in {status}")).trim().to_owned()
}

/// The sets of capabilities in `/proc/PID/status`.
fn sets(status: impl Fn(&str) -> String) -> [String; 5] {
    ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"].map(status)
}

#[test]
fn capabilities_are_the_listed_ones_in_every_process() {
    let write = "cat /proc/self/status >/tmp/new && mv /tmp/new /tmp/probe";
    let probe = format!("healthcheck: {{ test: '{write}', interval: 200ms }}");
    let host = up(&[
        ("usual", &probe),
        ("plain", &format!("user: app\n{probe}")),
        ("more", "cap_add: [NET_ADMIN, cap_sys_time]"),
        ("less", "cap_drop: [CHOWN]"),
        ("none", "cap_drop: [ALL]"),
        ("one", "cap_drop: [ALL]\ncap_add: [NET_RAW]"),
        ("all", "cap_add: [ALL]"),
        ("most", "cap_add: [ALL]\ncap_drop: [SYS_ADMIN]"),
    ]);
    let root = |set: &str| [NONE, set, set, set, NONE].map(str::to_owned);
    let expected = [
        ("usual", root(USUAL)),
        ("plain", [NONE, NONE, NONE, USUAL, NONE].map(str::to_owned)),
        ("more", root("00000000820415fb")),
        ("less", root("00000000800405fa")),
        ("none", root(NONE)),
        ("one", root("0000000000002000")),
        ("all", root("000001ffffffffff")),
        ("most", root("000001ffffdfffff")),
    ];
    for (service, expected) in expected {
        assert_eq!(sets(|set| first(&host, service, set)), expected, "first of {service}");
        let text = says(&host, service, "cat /proc/self/status");
        assert_eq!(sets(|set| member_of(&text, set)), expected, "exec in {service}");
    }
    for (service, permitted) in [("usual", USUAL), ("plain", NONE)] {
        host.eventually("the probe has run", || {
            host.berth(&format!("exec -T {service} test -s /tmp/probe")).code == 0
        });
        let text = says(&host, service, "cat /tmp/probe");
        assert_eq!(sets(|set| member_of(&text, set)), {
            [NONE, permitted, permitted, USUAL, NONE].map(str::to_owned)
        });
        assert_eq!(member_of(&text, "Seccomp"), "2", "the probe of {service}");
    }
}

/// Fails the calls that make folders, and signal 12.
const PROFILE: &str = r#"{
    "defaultAction": "SCMP_ACT_ALLOW",
    "syscalls": [
        {"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 28},
        {"names": ["kill"], "action": "SCMP_ACT_ERRNO", "errnoRet": 5,
         "args": [{"index": 1, "value": 12, "op": "SCMP_CMP_EQ"}]},
        {"names": ["chroot"], "action": "SCMP_ACT_ERRNO", "errnoRet": 5,
         "excludes": {"caps": ["CAP_SYS_ADMIN"]}}
    ]
}"#;

#[test]
fn system_calls_are_filtered_by_our_list_a_profile_or_not_at_all() {
    let host = TestHost::with(
        "compose.yaml",
        &stack(&[
            ("usual", ""),
            ("free", "security_opt: [seccomp=unconfined]"),
            ("own", "security_opt: ['seccomp:rules.json']\ninit: true"),
            ("plain", "security_opt: [seccomp=rules.json]\nuser: app"),
        ]),
    );
    host.write("rules.json", PROFILE);
    host.berth("up -d").succeeds();
    let modes = ["usual", "free", "own", "plain"].map(|service| {
        let exec = says(&host, service, "cat /proc/self/status");
        (first(&host, service, "Seccomp"), member_of(&exec, "Seccomp"))
    });
    assert_eq!(modes, ["2", "0", "2", "2"].map(|mode| (mode.to_owned(), mode.to_owned())));
    // With its right to set a filter gone: what the filter came with is not there any more.
    assert_eq!(first(&host, "plain", "CapPrm"), NONE);
    assert_eq!(first(&host, "own", "CapPrm"), USUAL);
    let try_in =
        |service: &str, line: &str| host.berth(&format!("exec -T {service} sh -c '{line}'"));
    try_in("usual", "mkdir /tmp/a && kill -12 $$").fails_with(128 + 12);
    try_in("usual", "unshare -U true").stderr_has("Operation not permitted");
    try_in("free", "unshare -U true").succeeds();
    for service in ["own", "plain"] {
        try_in(service, "mkdir /tmp/a").fails_with(1).stderr_has("No space left on device");
        try_in(service, "kill -12 $$").fails_with(1).stderr_has("nput/output error");
        try_in(service, "kill -10 $$").fails_with(128 + 10);
    }
    try_in("own", "chroot / true").fails_with(1).stderr_has("nput/output error");
}

#[test]
fn a_profile_needs_to_allow_only_what_the_program_does() {
    // Nothing of what berth itself does on the way to the program: no groups, no
    // capabilities, no mounts, no descriptors passed.
    let calls = "execve brk arch_prctl set_tid_address set_robust_list rseq prlimit64 readlink \
                 readlinkat getrandom mprotect mmap munmap exit_group getuid getgid geteuid getegid setuid setgid \
                 prctl nanosleep clock_nanosleep rt_sigaction read write close fstat newfstatat openat \
                 ioctl lseek uname restart_syscall rt_sigreturn";
    let names: Vec<String> = calls.split_whitespace().map(|name| format!("\"{name}\"")).collect();
    let text = format!(
        "{{\"defaultAction\": \"SCMP_ACT_KILL_PROCESS\", \"syscalls\": [{{\"names\": [{}], \
         \"action\": \"SCMP_ACT_ALLOW\"}}]}}",
        names.join(", ")
    );
    let host = TestHost::with(
        "compose.yaml",
        &stack(&[
            ("web", "security_opt: [seccomp=few.json]\nuser: '1000:1000'\ngroup_add: [7]"),
            ("sure", "security_opt: [seccomp=few.json, no-new-privileges]"),
        ]),
    );
    host.write("few.json", &text);
    host.berth("up -d").succeeds();
    for service in ["web", "sure"] {
        assert_eq!(first(&host, service, "Seccomp"), "2");
        assert_eq!(says_words(&host, service, "echo alive"), "alive");
        // Killed by SIGSYS: no folder is made here.
        host.berth(&format!("exec -T {service} mkdir /tmp/a")).fails_with(128 + 31);
    }
}

/// What a program without a shell prints.
fn says_words(host: &TestHost, service: &str, words: &str) -> String {
    host.berth(&format!("exec -T {service} {words}")).succeeds().stdout.trim().to_owned()
}

#[test]
fn another_content_of_a_profile_is_a_change_and_a_bad_one_is_refused_with_its_place() {
    let service = ("web", "security_opt: [no-new-privileges, seccomp=rules.json]");
    let host = TestHost::with("compose.yaml", &stack(&[service]));
    host.write("rules.json", PROFILE);
    host.berth("up -d").succeeds();
    let before = host.pid_of("web");
    host.berth("up -d").succeeds();
    assert_eq!(host.pid_of("web"), before);
    host.edit("rules.json", "28", "30");
    host.berth("plan").succeeds().stdout_has("replace  web-1").stdout_has("security_opt");
    host.berth("up -d").succeeds();
    host.berth("exec -T web mkdir /tmp/a").fails_with(1).stderr_has("Read-only file system");
    // What was read is in the record: the file is not needed to start it again.
    std::fs::remove_file(host.project("rules.json")).unwrap();
    host.berth("restart web").succeeds();
    host.berth("exec -T web mkdir /tmp/a").fails_with(1).stderr_has("Read-only file system");
    host.berth("up -d").fails_with(65).stderr_has("rules.json");
    host.write("rules.json", &PROFILE.replace("SCMP_CMP_EQ", "SCMP_CMP_IS"));
    let told = host.berth("up -d").fails_with(65);
    told.stderr_has("compose.yaml:6:").stderr_has("SCMP_CMP_IS").stderr_has("line 6 column");
}

#[test]
fn rights_are_not_gained_where_the_file_says_so() {
    let host = up(&[
        ("usual", "user: app"),
        ("sure", "user: app\nsecurity_opt: ['no-new-privileges:true']"),
        ("off", "security_opt: ['no-new-privileges:false', label=disable, apparmor=unconfined]"),
    ]);
    let flags = ["usual", "sure", "off"].map(|service| {
        let exec = says(&host, service, "cat /proc/self/status");
        (first(&host, service, "NoNewPrivs"), member_of(&exec, "NoNewPrivs"))
    });
    assert_eq!(flags, ["0", "1", "0"].map(|flag| (flag.to_owned(), flag.to_owned())));
}

#[test]
fn a_program_of_another_user_gives_its_rights_unless_the_file_says_otherwise() {
    let service = "image: localhost/host\n    user: '1234:1234'\n    stop_grace_period: 0s\n    \
                   command: [sleep, '100000']";
    let sure = "security_opt: ['no-new-privileges:true']";
    let text = format!("services:\n  usual:\n    {service}\n  sure:\n    {service}\n    {sure}\n");
    let host = TestHost::with("compose.yaml", &text);
    host.berth("up -d").succeeds();
    for (service, uid) in [("usual", "0"), ("sure", "1234")] {
        let make = "cp /usr/bin/id /var/id && chmod 4755 /var/id";
        host.berth(&format!("exec -T -u 0:0 {service} sh -c '{make}'")).succeeds();
        assert_eq!(says(&host, service, "/var/id -u"), uid, "{service}");
    }
}

#[test]
fn rules_of_security_modules_are_refused_on_a_host_without_them() {
    for (option, told) in [
        ("apparmor=nobody-knows", "no profile `nobody-knows`"),
        ("label=type:mine_t", "berth sets no labels of SELinux"),
    ] {
        let text = stack(&[("web", &format!("security_opt: [label=disable, '{option}']"))]);
        let host = TestHost::with("compose.yaml", &text);
        for command in ["plan", "up -d"] {
            let refused = host.berth(command).fails_with(65);
            refused.stderr_has("compose.yaml:6:35").stderr_has(told);
        }
        host.berth("check").fails_with(65);
    }
}

#[test]
fn hidden_paths_are_seen_only_where_the_file_says_so() {
    let host = up(&[("usual", ""), ("seen", "security_opt: [systempaths=unconfined]")]);
    let look = "wc -c </proc/interrupts; grep -c ' /proc/sys ' /proc/1/mountinfo";
    assert_eq!(says(&host, "usual", look), "0\n1");
    let seen = host.berth(&format!("exec -T seen sh -c \"{look}\"")).stdout;
    assert!(!seen.starts_with("0\n") && seen.ends_with("\n0\n"), "{seen}");
}

#[test]
fn who_may_mount_uncovers_nothing_and_changes_nothing_of_the_host() {
    let host =
        up(&[("web", "cap_add: [SYS_ADMIN]"), ("own", "cap_add: [SYS_ADMIN]\nuserns_mode: host")]);
    let uncover =
        "umount /proc/interrupts 2>&1; umount /proc/sys 2>&1; head -c 9 /proc/interrupts | wc -c";
    let said = says(&host, "web", uncover);
    assert!(said.ends_with("\n0") && said.matches("Invalid argument").count() == 2, "{said}");
    assert_eq!(says(&host, "own", uncover), "9", "the grant tells of it");
    let mounts =
        "mkdir /m && mount -t tmpfs m /m && mount -o bind /bin /m && ls /m/sh && umount /m";
    assert_eq!(says(&host, "web", mounts), "/m/sh");
    // Opened, and nothing is written: the file is the real host's.
    let write = "for f in /proc/sys/vm/* /proc/sys/kernel/core_pattern /proc/sys/kernel/modprobe \
                 /proc/sys/kernel/sysrq /proc/sys/kernel/printk; do \
                 test -f $f && echo tried && (: >>$f) 2>/dev/null && echo $f; done; true";
    let said = says(&host, "web", write);
    assert!(said.lines().count() > 20, "{said}");
    assert!(said.lines().all(|line| line == "tried"), "a container may write {said}");
}

#[test]
fn the_process_is_the_user_of_the_file_with_exactly_its_groups() {
    let host = up(&[
        ("usual", ""),
        ("named", "user: app"),
        ("numbers", "user: '1234:5678'"),
        ("mixed", "user: 'app:extra'"),
        ("added", "user: app\ngroup_add: [4242, root]"),
        ("host", "user: '1234:5678'\ngroup_add: ['9']\nuserns_mode: host"),
    ]);
    let who = |service: &str| {
        let text = says(&host, service, "cat /proc/1/status");
        ["Uid", "Gid", "Groups"].map(|member| {
            member_of(&text, member).split_whitespace().map(str::to_owned).collect::<Vec<_>>()
        })
    };
    let all = |id: &str| vec![id.to_owned(); 4];
    let groups = |ids: &[&str]| ids.iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(who("usual"), [all("0"), all("0"), groups(&["0"])]);
    assert_eq!(who("named"), [all("1000"), all("1000"), groups(&["1000", "1001"])]);
    assert_eq!(who("numbers"), [all("1234"), all("5678"), groups(&["5678"])]);
    assert_eq!(who("mixed"), [all("1000"), all("1001"), groups(&["1001"])]);
    assert_eq!(who("added"), [all("1000"), all("1000"), groups(&["0", "1000", "1001", "4242"])]);
    assert_eq!(who("host"), [all("1234"), all("5678"), groups(&["9", "5678"])]);
    // Seen from the kernel's side, the ids lie in the range of the container.
    let seen = first(&host, "named", "Uid");
    let uid: u32 = seen.split_whitespace().next().unwrap().parse().unwrap();
    assert!(uid > 65_536 && uid % 65_536 == 1000, "{uid}");
    assert_eq!(first(&host, "host", "Uid").split_whitespace().next(), Some("1234"));
    let bad = TestHost::with("compose.yaml", &stack(&[("web", "user: nobody-here")]));
    bad.berth("up -d").fails_with(3).stderr_has("nobody-here");
}

#[test]
fn the_root_is_writable_unless_the_file_says_otherwise() {
    let host = up(&[("usual", ""), ("fixed", "read_only: true\ntmpfs: [/scratch]")]);
    says(&host, "usual", "touch /file && test -f /file");
    host.berth("exec -T fixed touch /file").fails_with(1).stderr_has("Read-only file system");
    says(&host, "fixed", "touch /scratch/file /dev/shm/file");
    for file in ["hosts", "hostname", "resolv.conf"] {
        says(&host, "usual", &format!("touch /etc/{file}"));
        let fixed = host.berth(&format!("exec -T fixed touch /etc/{file}"));
        fixed.fails_with(1).stderr_has("Read-only file system");
    }
    let root = |service| says(&host, service, "grep ' / / ' /proc/1/mountinfo");
    assert!(root("usual").contains(" / / rw,nodev,"), "{}", root("usual"));
    assert!(root("fixed").contains(" / / ro,nodev,"), "{}", root("fixed"));
}

#[test]
fn an_init_reaps_what_nobody_waits_for() {
    let host = up(&[("usual", ""), ("tidy", "init: true")]);
    assert_eq!(says(&host, "usual", "cat /proc/1/comm"), "sleep");
    assert_eq!(says(&host, "tidy", "cat /proc/1/comm"), "berth-init");
    for service in ["usual", "tidy"] {
        says(&host, service, "for i in 1 2 3; do sh -c 'true &'; done");
    }
    let zombies =
        |service: &str| says(&host, service, "grep -l 'State:.Z' /proc/[0-9]*/status | wc -l");
    host.eventually("the orphans are reaped", || zombies("tidy") == "0");
    assert_eq!(zombies("usual"), "3");
    assert_eq!(first(&host, "tidy", "CapPrm"), USUAL);
    assert_eq!(first(&host, "tidy", "Seccomp"), "2");
}

#[test]
fn a_terminal_and_an_open_input_are_there_where_the_file_says_so() {
    let host = up(&[("usual", ""), ("tty", "tty: true"), ("input", "stdin_open: true")]);
    let stream =
        |service: &str, number: u8| says(&host, service, &format!("readlink /proc/1/fd/{number}"));
    assert_eq!(stream("usual", 0), "/dev/null");
    assert!(stream("usual", 1).starts_with("pipe:") || stream("usual", 1).contains("/out"));
    assert_ne!(stream("usual", 1), stream("usual", 2));
    for number in 0..3 {
        assert_eq!(stream("tty", number), "/dev/pts/0");
    }
    assert_ne!(stream("input", 0), "/dev/null");
    assert_eq!(says(&host, "tty", "test -c /dev/console && echo yes"), "yes");
    host.berth("exec -T usual test -e /dev/console").fails_with(1);
    assert_eq!(says(&host, "tty", "tr '\\0' '\\n' </proc/1/environ | grep TERM"), "TERM=xterm");
    host.berth("exec -T usual sh -c \"tr '\\\\0' '\\\\n' </proc/1/environ | grep TERM\"")
        .fails_with(1);
}

#[test]
fn the_program_starts_in_its_folder_with_its_words_and_variables() {
    let host = up(&[
        ("usual", "hostname: here"),
        ("made", "working_dir: /deep/down"),
        (
            "linked",
            "working_dir: /data/link\nentrypoint: [sh, -c, 'exec sleep $$TIME', name]\ncommand: [a, b]\nenvironment: {TIME: '4242', FROM_IMAGE: null, A: 'b=c d'}",
        ),
    ]);
    let word =
        |service: &str, file: &str| says(&host, service, &format!("tr '\\0' '|' </proc/1/{file}"));
    assert_eq!(says(&host, "usual", "readlink /proc/1/cwd"), "/");
    assert_eq!(word("usual", "cmdline"), "sleep|100000|");
    assert_eq!(
        word("usual", "environ"),
        "FROM_IMAGE=yes|HOME=/root|HOSTNAME=here|\
         PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin|"
    );
    assert_eq!(
        says(&host, "made", "readlink /proc/1/cwd; stat -c %u:%a /deep/down"),
        "/deep/down\n0:755"
    );
    assert_eq!(word("linked", "cmdline"), "sleep|4242|");
    let environment = word("linked", "environ");
    let environment: Vec<&str> = environment.split('|').collect();
    assert!(environment.contains(&"A=b=c d") && environment.contains(&"TIME=4242"));
    assert!(!environment.iter().any(|variable| variable.starts_with("FROM_IMAGE")));
    // A link is followed inside, wherever it points.
    says(&host, "linked", "rmdir /data/link && ln -s ../../../../tmp /data/link");
    host.berth("restart linked").succeeds();
    assert_eq!(says(&host, "linked", "readlink /proc/1/cwd"), "/tmp");
}

#[test]
fn nothing_of_the_host_is_inherited() {
    let host = up(&[("web", "tty: false")]);
    let pid = host.pid_of("web").pid;
    let fds = std::fs::read_dir(host.machine().path(format!("/proc/{pid}/fd"))).unwrap();
    let mut fds: Vec<_> = fds.map(|fd| fd.unwrap().file_name().into_string().unwrap()).collect();
    fds.sort();
    assert_eq!(fds, ["0", "1", "2"]);
    assert_eq!(says(&host, "web", "umask; ulimit -Sc; cat /proc/self/oom_score_adj"), "0022\n0\n0");
    // `ls` itself has the folder open as 3.
    assert_eq!(
        says(&host, "web", "ls /proc/self/fd").split_whitespace().collect::<Vec<_>>(),
        ["0", "1", "2", "3"]
    );
    for member in ["SigBlk", "SigIgn"] {
        assert_eq!(first(&host, "web", member), NONE, "{member}");
    }
}

#[test]
fn no_program_is_looked_up_through_what_the_runtime_has_open() {
    let host = up(&[("web", "")]);
    // A file that is there and is no program answers with 126, one that is not there with 127.
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
    assert!(std::path::Path::new(file).exists());
    host.berth("exec -T web /etc/passwd").fails_with(126);
    let up = "../".repeat(20);
    for number in 3..32 {
        let name = format!("/proc/self/fd/{number}/{up}{file}");
        host.berth(&format!("exec -T web {name}")).fails_with(127);
        host.berth(&format!("run --rm -T web {name}")).fails_with(127);
    }
}

#[test]
fn the_host_itself_as_an_image_runs_its_programs_apart_from_it() {
    let text = "services:\n  web:\n    image: localhost/host\n    command: [sleep, '100000']\n    stop_grace_period: 0s\n";
    let host = TestHost::with("compose.yaml", text);
    host.berth("up -d").succeeds();
    host.berth("exec -T web touch /usr/file").fails_with(1).stderr_has("Read-only file system");
    let name = host.shell("readlink /proc/self/ns/mnt").stdout;
    host.berth("exec -T web readlink /proc/self/ns/mnt").succeeds().stdout_lacks(&name);
    host.berth("exec -T web test -e /var/lib/berth").fails_with(1);
    assert_eq!(sets(|set| first(&host, "web", set)), [NONE, USUAL, USUAL, USUAL, NONE]);
}

/// Places in `/proc` and `/sys` that are empty or refuse to be read.
const HIDDEN: [&str; 8] = [
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/sched_debug",
    "/proc/timer_list",
    "/proc/acpi",
    "/sys/firmware",
    "/sys/kernel/security",
];

#[test]
fn file_systems_of_the_kernel_show_and_take_what_they_should() {
    let host = up(&[("web", "")]);
    let mounts = says(&host, "web", "cat /proc/1/mountinfo");
    let options = |target: &str| {
        let line = mounts.lines().find(|line| line.split(' ').nth(4) == Some(target));
        let line = line.unwrap_or_else(|| panic!("no mount at {target}: {mounts}"));
        line.split(' ').nth(5).unwrap().to_owned()
    };
    for (target, expected) in [
        ("/", "rw,nodev,relatime"),
        ("/proc", "rw,nosuid,nodev,noexec,relatime"),
        ("/proc/sys", "ro,nosuid,nodev,noexec,relatime"),
        ("/proc/bus", "ro,nosuid,nodev,noexec,relatime"),
        ("/sys", "ro,nosuid,nodev,noexec,relatime"),
        ("/sys/fs/cgroup", "ro,nosuid,nodev,noexec,relatime"),
        ("/dev", "rw,nosuid,noexec,relatime"),
        ("/dev/pts", "rw,nosuid,noexec,relatime"),
        ("/dev/shm", "rw,nosuid,nodev,noexec,relatime"),
        ("/dev/mqueue", "rw,nosuid,nodev,noexec,relatime"),
    ] {
        assert_eq!(options(target), expected, "{target}");
    }
    for path in HIDDEN {
        let line = format!(
            "test ! -e {path} || test -z \"$(cat {path}/* {path} 2>/dev/null | head -c1)\""
        );
        host.berth(&format!("exec -T web sh -c '{line}'")).succeeds();
    }
    let nodes = says(
        &host,
        "web",
        "cd /dev; for f in *; do test -c $f && echo $f $(stat -Lc %t:%T:%a $f); done",
    );
    assert_eq!(
        nodes,
        "full 1:7:666\nnull 1:3:666\nptmx 5:2:666\nrandom 1:8:666\ntty 5:0:666\nurandom 1:9:666\nzero 1:5:666"
    );
    // No mount travels in either direction.
    assert!(!mounts.contains(" shared:") && !mounts.contains(" master:"), "{mounts}");
}
