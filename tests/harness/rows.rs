//! Stacks of services that sleep, to look at one attribute each, and what is seen from inside.

use crate::TestHost;

/// A stack of services that sleep, each with these further lines.
pub fn stack(services: &[(&str, &str)]) -> String {
    let mut text = String::from("services:\n");
    for (name, lines) in services {
        text += &format!("  {name}:\n    image: busybox:1\n    stop_grace_period: 0s\n");
        if !lines.contains("command:") {
            text += "    command: [sleep, '100000']\n";
        }
        for line in lines.lines().filter(|line| !line.trim().is_empty()) {
            text += &format!("    {line}\n");
        }
    }
    text
}

/// A host on which such a stack is up.
#[track_caller]
pub fn up(services: &[(&str, &str)]) -> TestHost {
    let host = TestHost::with("compose.yaml", &stack(services));
    host.berth("up -d").succeeds();
    host
}

/// What a shell line in the container of a service prints.
#[track_caller]
pub fn says(host: &TestHost, service: &str, line: &str) -> String {
    let line = line.replace('\'', "\"");
    host.berth(&format!("exec -T {service} sh -c '{line}'")).succeeds().stdout.trim().to_owned()
}

/// The mounts of a service: target, options of the mount, and tags of propagation.
pub fn mounts(host: &TestHost, service: &str) -> Vec<(String, String, String)> {
    let text = host.berth(&format!("exec -T {service} cat /proc/self/mountinfo")).succeeds().stdout;
    let fields = text.lines().map(|line| line.split(' ').collect::<Vec<_>>());
    let row = |fields: Vec<&str>| {
        let tags = fields[6..].iter().take_while(|field| **field != "-");
        // Numbers of groups differ from run to run.
        let tags: Vec<&str> = tags.map(|tag| tag.split(':').next().unwrap_or_default()).collect();
        (fields[4].to_owned(), fields[5].replace(",idmapped", ""), tags.join(" "))
    };
    fields.map(row).collect()
}

/// The options and tags of the mount at `target`, if there is one.
pub fn mount(host: &TestHost, service: &str, target: &str) -> Option<(String, String)> {
    let found = mounts(host, service).into_iter().find(|(at, ..)| at == target);
    found.map(|(_, options, tags)| (options, tags))
}

/// What a shell line prints in `web`; it may hold single quotes, no double ones.
#[track_caller]
pub fn web_says(host: &TestHost, line: &str) -> String {
    host.berth(&format!("exec -T web sh -c \"{line}\"")).succeeds().stdout.trim().to_owned()
}
