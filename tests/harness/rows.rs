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
