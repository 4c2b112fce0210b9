//! One row for each attribute of a service: it is changed, the plan says how that takes effect, and
//! then the process is the same or another one, and the new value counts.

#![allow(clippy::unwrap_used, reason = "all of this is tests")]

#[path = "rows_changes/elsewhere.rs"]
mod elsewhere;
#[path = "rows_changes/limits.rs"]
mod limits;
#[path = "rows_changes/live.rs"]
mod live;
#[path = "rows_changes/meta.rs"]
mod meta;
#[path = "rows_changes/replace.rs"]
mod replace;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use berth_tests::limits::file;
use berth_tests::{TestHost, skipped};
use serde_json::{Value, json};

/// An attribute with two values.
struct Row {
    /// Attributes that differ, as `schema/ATTRIBUTES.md` has them below a service.
    attributes: &'static str,
    /// What the plan says: `meta`, `live`, `replace`, or `none` where nothing on the host has it.
    class: &'static str,
    before: &'static str,
    after: &'static str,
    /// How the new value shows.
    shows: Shows,
}

/// How a value shows: where it is looked for, and what is there.
enum Shows {
    /// A shell line inside the container prints it.
    Inside(&'static str, &'static str),
    /// A shell line on the machine prints it; `$PID` is the first process, `$NAME` the service, `$STATUS`
    /// what its monitor says. The container need not run afterwards.
    Host(&'static str, &'static str),
    /// The record of the container, by a JSON pointer.
    Record(&'static str, Value),
    /// What the monitor goes by.
    Bundle(&'static str, Value),
    /// A file of the cgroup, by its names and contents in v1 and v2.
    Cgroup([&'static str; 2], [&'static str; 2]),
    /// Its checks come to this.
    Health(&'static str),
    /// Output of a command contains it; `$NAME` is the service in both.
    Says(&'static str, &'static str),
}

fn row(
    attributes: &'static str,
    class: &'static str,
    (before, after): (&'static str, &'static str),
    shows: Shows,
) -> Row {
    Row { attributes, class, before, after, shows }
}

/// What all rows have around them.
const AROUND: &str = "
  peer: { image: 'busybox:1', command: [sleep, '100000'], ipc: shareable, volumes: ['data:/peer'] }
networks:
  default: {}
  back: { ipam: { config: [{ subnet: 10.77.0.0/24 }] } }
volumes: { data: {}, more: {} }
configs: { one: { content: one }, two: { content: two } }
secrets: { one: { file: ./one }, two: { file: ./two } }
";

const FILES: [(&str, &str); 9] = [
    ("dns.py", include_str!("names/dns.py")),
    ("one", "one"),
    ("two", "two"),
    ("one.env", "FROM=one"),
    ("two.env", "FROM=two"),
    ("one.labels", "from=one"),
    ("two.labels", "from=two"),
    ("base.yaml", "services: { base: { working_dir: /usr } }\n"),
    ("other.yaml", "services: { base: { working_dir: /usr } }\n"),
];

fn stack(rows: &[Row], lines: impl Fn(&Row) -> &'static str) -> String {
    let mut text = String::from("services:\n");
    for (number, row) in rows.iter().enumerate() {
        let lines = lines(row);
        let says = |key: &str| lines.lines().any(|line| line.starts_with(key));
        text += &format!("  r{number}:\n");
        if !says("image:") {
            text += "    image: busybox:1\n";
        }
        if !says("command:") && !says("entrypoint:") {
            text += "    command: [sleep, '100000']\n";
        }
        for line in lines.lines().filter(|line| !line.trim().is_empty()) {
            text += &format!("    {line}\n");
        }
    }
    text + AROUND
}

/// Brings the stack of these rows up, changes all of them at once, and looks at each.
fn check(rows: &[Row]) {
    let host = TestHost::with("compose.yaml", &stack(rows, |row| row.before));
    FILES.iter().for_each(|(file, text)| host.write(file, text));
    host.berth("--profile all up -d").succeeds();
    let before = processes(&host, rows.len());
    host.write("compose.yaml", &stack(rows, |row| row.after));
    let plan = host.berth("--profile all plan --json").succeeds().json();
    host.berth("--profile all up -d").succeeds();
    let after = processes(&host, rows.len());
    host.berth("--profile all plan --detailed-exitcode").fails_with(0);
    let mut wrong = Vec::new();
    for (number, row) in rows.iter().enumerate() {
        let told = class(&plan, number);
        if told != row.class {
            wrong.push(format!("{}: the plan says {told}, not {}", row.attributes, row.class));
        }
        if (before[number] == after[number]) != (row.class != "replace") {
            let (old, new) = (&before[number], &after[number]);
            wrong.push(format!("{} ({}): process {old} → {new}", row.attributes, row.class));
        }
        if let Some(why) = shown(&host, number, &row.shows) {
            wrong.push(format!("{}: {why}", row.attributes));
        }
    }
    assert!(wrong.is_empty(), "{}\n{plan:#}", wrong.join("\n"));
}

/// The first process of each: its number and when it started, as the kernel has it.
fn processes(host: &TestHost, rows: usize) -> Vec<String> {
    let pids: Vec<i64> = (0..rows).map(|number| host.pid_of(&format!("r{number}")).pid).collect();
    let stat = |pid: &i64| format!("cut -d' ' -f1,22 /proc/{pid}/stat");
    let line = pids.iter().map(stat).collect::<Vec<_>>().join("; ");
    host.shell(&line).succeeds().stdout.lines().map(str::to_owned).collect()
}

/// The class of all that the plan says about a container; `none` when it says nothing.
fn class(plan: &Value, number: usize) -> String {
    let name = json!(format!("stack-r{number}-1"));
    let steps = plan["steps"].as_array().unwrap().iter().filter(|step| step["target"] == name);
    let steps: Vec<&Value> = steps.collect();
    let changes = steps.iter().filter_map(|step| step["changes"].as_array()).flatten();
    let order = ["none", "meta", "live", "replace"];
    let place = |word: &str| order.iter().position(|other| *other == word).unwrap();
    let told = changes.map(|change| place(change["class"].as_str().unwrap())).max();
    let update = steps.iter().any(|step| step["action"] == "update_container");
    match (told, steps.is_empty(), update) {
        (None, true, _) => "none".to_owned(),
        // Only what takes effect in a container as it is goes without a new one.
        (Some(told), _, true) if told < place("replace") => order[told].to_owned(),
        (_, _, false) => "replace".to_owned(),
        (told, ..) => format!("{told:?} with {steps:?}"),
    }
}

/// Why the new value does not show; nothing when it does.
fn shown(host: &TestHost, number: usize, shows: &Shows) -> Option<String> {
    let service = format!("r{number}");
    let name = format!("stack-{service}-1");
    let differs = |found: String, wanted: &str| {
        (found.trim() != wanted).then(|| format!("{:?}, not {wanted:?}", found.trim()))
    };
    let read = |path: String, pointer: &str| -> Value {
        let text = fs::read(host.machine().path(path)).unwrap();
        let all: Value = serde_json::from_slice(&text).unwrap();
        all.pointer(pointer).cloned().unwrap_or_default()
    };
    match shows {
        Shows::Inside(line, wanted) => {
            let told = host.berth(&format!("exec -T {service} sh -c '{line}'"));
            differs(told.stdout, wanted).map(|why| format!("{why} {}", told.stderr))
        }
        Shows::Host(line, wanted) => {
            let status = format!("/run/berth/containers/{name}/status.json");
            let line = line.replace("$PID", &host.pid_of(&service).pid.to_string());
            let line = line.replace("$NAME", &service).replace("$STATUS", &status);
            differs(host.shell(&line).stdout, wanted)
        }
        Shows::Record(pointer, wanted) => {
            let found = read(format!("/var/lib/berth/containers/{name}/record.json"), pointer);
            (found != *wanted).then(|| format!("{found}, not {wanted}"))
        }
        Shows::Bundle(pointer, wanted) => {
            let found = read(format!("/run/berth/containers/{name}/bundle.json"), pointer);
            (found != *wanted).then(|| format!("{found}, not {wanted}"))
        }
        Shows::Cgroup(names, wanted) => {
            let Some(file) = file(host, &format!("berth/{name}"), *names) else {
                skipped(&format!("this host has neither of {names:?}"));
                return None;
            };
            let found = fs::read_to_string(file).unwrap();
            (!wanted.contains(&found.trim())).then(|| format!("{found:?}, not {wanted:?}"))
        }
        Shows::Health(wanted) => {
            host.eventually(&format!("{service} is {wanted}"), || {
                host.status(&name)["health"] == *wanted
            });
            None
        }
        Shows::Says(words, wanted) => {
            let [words, wanted] = [words, wanted].map(|text| text.replace("$NAME", &service));
            let told = host.berth(&format!("--profile all {words}")).succeeds().stdout;
            (!told.contains(&wanted)).then(|| format!("{told:?} has no {wanted:?}"))
        }
    }
}

#[test]
fn what_only_the_record_has_is_noted_there() {
    check(&meta::rows());
}

#[test]
fn what_the_monitor_does_changes_while_the_container_runs() {
    check(&live::of_the_monitor());
}

#[test]
fn what_the_kernel_has_changes_while_the_container_runs() {
    check(&live::of_the_kernel());
}

#[test]
fn links_names_and_ports_change_while_the_container_runs() {
    check(&live::of_the_network());
}

#[test]
fn contents_change_while_the_container_runs_where_it_says_so() {
    check(&live::of_the_contents());
}

#[test]
fn what_a_program_is_needs_a_new_container() {
    check(&replace::of_the_program());
}

#[test]
fn what_a_container_is_needs_a_new_one() {
    check(&replace::of_the_container());
}

#[test]
fn what_a_container_has_mounted_needs_a_new_one() {
    check(&replace::of_the_mounts());
}

fn all() -> Vec<Row> {
    let groups = [
        meta::rows(),
        live::of_the_monitor(),
        live::of_the_kernel(),
        live::of_the_network(),
        live::of_the_contents(),
        replace::of_the_program(),
        replace::of_the_container(),
        replace::of_the_mounts(),
    ];
    groups.into_iter().flatten().collect()
}

#[test]
fn every_attribute_of_a_service_has_a_row_or_a_reason() {
    let table = Path::new(env!("CARGO_MANIFEST_DIR")).join("../schema/ATTRIBUTES.md");
    let table = fs::read_to_string(table).unwrap();
    let row = |line: &str| {
        let cells: Vec<&str> = line.split(" | ").collect();
        let path = cells.first()?.strip_prefix("| `services.*.")?.strip_suffix('`')?;
        (*cells.get(2)? == "done").then(|| path.to_owned())
    };
    let done: BTreeSet<String> = table.lines().filter_map(row).collect();
    assert!(done.len() > 200, "{done:?}");
    let holds = |path: &String| {
        let below = [format!("{path}."), format!("{path}[]."), format!("{path}.*.")];
        done.iter().any(|other| below.iter().any(|below| other.starts_with(below)))
    };
    let rows = all();
    let tested = rows.iter().flat_map(|row| row.attributes.split(' '));
    let tested: BTreeSet<&str> = tested.collect();
    let elsewhere: BTreeMap<&str, &str> = elsewhere::ELSEWHERE.iter().copied().collect();
    let without = done.iter().filter(|path| !holds(path));
    let without = without.filter(|path| !tested.contains(path.as_str()));
    let without: Vec<&String> =
        without.filter(|path| !elsewhere.contains_key(path.as_str())).collect();
    assert!(without.is_empty(), "they have no row: {without:?}");
    let named = tested.iter().chain(elsewhere.keys());
    let unknown: Vec<&&str> = named.filter(|path| !done.contains(**path)).collect();
    assert!(unknown.is_empty(), "they are no attributes that are done: {unknown:?}");
    let twice: Vec<&&str> = tested.iter().filter(|path| elsewhere.contains_key(**path)).collect();
    assert!(twice.is_empty(), "they have a row and a reason for none: {twice:?}");
}

#[test]
fn explain_says_the_class_that_the_plan_says() {
    let host = TestHost::with("compose.yaml", "services: { web: { image: 'localhost/host' } }\n");
    let mut wrong = Vec::new();
    for row in all().iter().filter(|row| row.class != "none") {
        // One that has an exception of its own is last in its row.
        let plain = row.attributes.split(' ').filter(|path| !path.contains(['[', '*']));
        for path in plain.filter(|path| !elsewhere::EXCEPTIONS.contains(path)) {
            let told = host.berth(&format!("explain web.{path} --format json")).succeeds().json();
            if !told["changed"].as_str().is_some_and(|text| text.starts_with(row.class)) {
                wrong.push(format!("{path}: {}, not {}", told["changed"], row.class));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
