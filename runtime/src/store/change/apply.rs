//! What becomes of the `config` of a config document.

use serde_json::{Map, Value, json};

use super::words::Word;
use super::{Change, Command};

/// Ports in one range, at most.
const MAX_PORTS: u16 = 4096;

/// Applies the changes in their order; a problem tells which value cannot be.
pub(in super::super) fn apply(
    config: &mut Map<String, Value>,
    changes: &[Change],
) -> Result<(), String> {
    let mut command_given = false;
    for change in changes {
        apply_one(config, change, command_given)?;
        command_given |= matches!(change, Change::Cmd(_));
    }
    Ok(())
}

fn apply_one(
    config: &mut Map<String, Value>,
    change: &Change,
    command_given: bool,
) -> Result<(), String> {
    let env = strings(config, "Env");
    let fill = |word: &Word| word.fill(|name| variable(&env, name));
    match change {
        Change::Cmd(command) => set_command(config, "Cmd", command),
        Change::Entrypoint(command) => {
            set_command(config, "Entrypoint", command);
            if !command_given {
                config.remove("Cmd");
            }
        }
        Change::Env(pairs) => {
            let mut new = env.clone();
            for (name, value) in pairs {
                set_variable(&mut new, &filled_name(fill(name))?, &fill(value));
            }
            config.insert("Env".into(), new.into());
        }
        Change::DropEnv(name) => {
            let keeps = |line: &String| variable_name(line) != name;
            config.insert("Env".into(), env.into_iter().filter(keeps).collect::<Vec<_>>().into());
        }
        Change::Expose(ports) => {
            for port in ports {
                for port in expand_ports(&fill(port))? {
                    put(config, "ExposedPorts", port, json!({}));
                }
            }
        }
        Change::Label(pairs) => {
            for (name, value) in pairs {
                put(config, "Labels", filled_name(fill(name))?, fill(value).into());
            }
        }
        Change::Onbuild(line) => {
            let lines: Vec<String> =
                strings(config, "OnBuild").into_iter().chain([line.clone()]).collect();
            config.insert("OnBuild".into(), lines.into());
        }
        Change::User(user) => drop(config.insert("User".into(), fill(user).into())),
        Change::Volume(paths) => {
            for path in paths {
                put(config, "Volumes", filled_name(fill(path))?, json!({}));
            }
        }
        Change::Workdir(path) => {
            let old = config.get("WorkingDir").and_then(Value::as_str).unwrap_or_default();
            let new = joined(old, &fill(path));
            config.insert("WorkingDir".into(), new.into());
        }
        Change::Healthcheck(probe) => drop(config.insert("Healthcheck".into(), probe.clone())),
        Change::StopSignal(signal) => {
            config.insert("StopSignal".into(), filled_name(fill(signal))?.into());
        }
    }
    Ok(())
}

fn set_command(config: &mut Map<String, Value>, key: &str, command: &Command) {
    let words = match command {
        Command::Exec(words) => words.clone(),
        Command::Shell(line) => {
            let mut words = strings(config, "Shell");
            if words.is_empty() {
                words = vec!["/bin/sh".to_owned(), "-c".to_owned()];
            }
            words.into_iter().chain([line.clone()]).collect()
        }
    };
    match words.is_empty() {
        true => drop(config.remove(key)),
        false => drop(config.insert(key.to_owned(), words.into())),
    }
}

fn strings(config: &Map<String, Value>, key: &str) -> Vec<String> {
    let values = config.get(key).and_then(Value::as_array);
    values.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}

/// Puts `value` at `name` into the object at `key`, which is made when there is none.
fn put(config: &mut Map<String, Value>, key: &str, name: String, value: Value) {
    let mut object = match config.remove(key) {
        Some(Value::Object(object)) => object,
        _ => Map::new(),
    };
    object.insert(name, value);
    config.insert(key.to_owned(), object.into());
}

fn variable_name(line: &str) -> &str {
    line.split_once('=').map_or(line, |(name, _)| name)
}

fn variable(env: &[String], name: &str) -> Option<String> {
    let line = env.iter().rev().find(|line| variable_name(line) == name)?;
    line.split_once('=').map(|(_, value)| value.to_owned())
}

fn set_variable(env: &mut Vec<String>, name: &str, value: &str) {
    let line = format!("{name}={value}");
    match env.iter_mut().find(|old| variable_name(old) == name) {
        Some(old) => *old = line,
        None => env.push(line),
    }
}

fn filled_name(text: String) -> Result<String, String> {
    if text.is_empty() { Err("a name or value in it is empty".to_owned()) } else { Ok(text) }
}

/// `80` is `80/tcp`; a range is every port of it.
fn expand_ports(text: &str) -> Result<Vec<String>, String> {
    let bad = || format!("`{text}` is no port; write `80`, `53/udp` or `8000-8010`");
    let (ports, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let protocol = protocol.to_ascii_lowercase();
    if !matches!(protocol.as_str(), "tcp" | "udp" | "sctp") {
        return Err(bad());
    }
    let (first, last) = ports.split_once('-').unwrap_or((ports, ports));
    let number = |text: &str| text.parse::<u16>().ok().filter(|&port| port > 0).ok_or_else(bad);
    let (first, last) = (number(first)?, number(last)?);
    if last < first || last - first >= MAX_PORTS {
        return Err(bad());
    }
    Ok((first..=last).map(|port| format!("{port}/{protocol}")).collect())
}

/// `path` seen from `folder`; always absolute.
fn joined(folder: &str, path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    let start = if path.starts_with('/') { "" } else { folder };
    for part in start.split('/').chain(path.split('/')) {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changed(config: Value, lines: &[&str]) -> Result<Value, String> {
        let Value::Object(mut config) = config else { panic!("no object") };
        let changes: Vec<Change> = lines.iter().map(|line| Change::parse(line).unwrap()).collect();
        apply(&mut config, &changes).map(|()| config.into())
    }

    #[test]
    fn every_change_finds_its_place() {
        let config = json!({"Env": ["PATH=/bin", "A=1"], "Cmd": ["old"], "WorkingDir": "/srv"});
        let lines = [
            r#"ENTRYPOINT ["/run", "now"]"#,
            "CMD echo $HOME",
            "ENV PATH=$PATH:/own B=\"two words\"",
            "ENV A the rest of it",
            "EXPOSE 80 53/udp 8000-8001",
            "LABEL a.b=c",
            "ONBUILD RUN make",
            "USER app:app",
            r#"VOLUME ["/a b"]"#,
            "VOLUME /c /d",
            "WORKDIR data",
            "WORKDIR ../x",
            "STOPSIGNAL SIGINT",
            "HEALTHCHECK NONE",
        ];
        let wanted = json!({
            "Cmd": ["/bin/sh", "-c", "echo $HOME"],
            "Entrypoint": ["/run", "now"],
            "Env": ["PATH=/bin:/own", "A=the rest of it", "B=two words"],
            "ExposedPorts": {"80/tcp": {}, "53/udp": {}, "8000/tcp": {}, "8001/tcp": {}},
            "Healthcheck": {"Test": ["NONE"]},
            "Labels": {"a.b": "c"},
            "OnBuild": ["RUN make"],
            "StopSignal": "SIGINT",
            "User": "app:app",
            "Volumes": {"/a b": {}, "/c": {}, "/d": {}},
            "WorkingDir": "/srv/x",
        });
        assert_eq!(changed(config, &lines), Ok(wanted));
    }

    #[test]
    fn a_new_entrypoint_drops_the_old_command_and_keeps_the_new_one() {
        let config = json!({"Cmd": ["old"], "Shell": ["/bin/bash", "-c"]});
        let wanted = json!({"Shell": ["/bin/bash", "-c"], "Entrypoint": ["/bin/bash", "-c", "a"]});
        assert_eq!(changed(config.clone(), &["ENTRYPOINT a"]), Ok(wanted));
        let both = changed(config, &[r#"CMD ["b"]"#, r#"ENTRYPOINT ["a"]"#]).unwrap();
        assert_eq!((&both["Cmd"], &both["Entrypoint"]), (&json!(["b"]), &json!(["a"])));
    }

    #[test]
    fn ports_that_are_none_are_refused() {
        for port in ["0", "80/icmp", "9-8", "70000", "1-65535", "a"] {
            assert!(changed(json!({}), &[&format!("EXPOSE {port}")]).is_err(), "{port}");
        }
    }
}
