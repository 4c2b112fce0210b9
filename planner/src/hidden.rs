//! What of a description is not for people: found by how it is named, and by how it is written. Rather too
//! much is hidden than too little.

use serde_json::Value;

/// What stands where a value is not for people.
pub(crate) const HIDDEN: &str = "(hidden)";

/// Whether the values of a field, by its path and the last key of that, are not for people.
pub(crate) fn is_sensitive(
    (path, key): (&str, &str),
    before: Option<&Value>,
    after: Option<&Value>,
) -> bool {
    // What is named by a path is a place, and a place is no secret.
    let named = !key.starts_with('/') && is_secret_name(key);
    let holds = |value: &Value| {
        let content = path.starts_with("secrets.") && value.get("content").is_some();
        content || holds_secret(value) || named && value.is_string()
    };
    is_secret_content(path)
        || has_secret_name(path)
        || before.is_some_and(holds)
        || after.is_some_and(holds)
}

/// Whether a path is that of the content of a config, a secret or a file that is mounted, which stands there
/// as a digest. A label may be called so as well.
pub(crate) fn is_content(path: &str) -> bool {
    path.starts_with("configs.") && path.ends_with(".content")
        || bound_file(path).is_some()
        || is_secret_content(path)
}

fn is_secret_content(path: &str) -> bool {
    let of_secret = path.starts_with("secrets.") && path.ends_with(".content");
    let name = bound_file(path).and_then(|file| file.rsplit('/').next());
    of_secret || name.is_some_and(is_secret_name)
}

/// The file of the host whose content a path is that of.
pub(crate) fn bound_file(path: &str) -> Option<&str> {
    path.strip_prefix("bound_files.")?.strip_suffix(".content")
}

/// Whether it is a variable, label or option whose name sounds like a secret.
fn has_secret_name(path: &str) -> bool {
    let named = ["environment.", "labels.", "driver_opts."];
    let name = named.iter().find_map(|prefix| path.strip_prefix(prefix));
    name.is_some_and(is_secret_name)
}

/// Whether a name is usually that of something to be kept from people.
fn is_secret_name(name: &str) -> bool {
    const WORDS: [&str; 10] = [
        "PASSWORD",
        "PASSWD",
        "PASSPHRASE",
        "SECRET",
        "TOKEN",
        "KEY",
        "CREDENTIAL",
        "PRIVATE",
        "AUTH",
        "_PASS",
    ];
    let name = name.to_uppercase();
    let folder = ["PWD", "OLDPWD"].contains(&name.as_str());
    WORDS.iter().any(|word| name.contains(word))
        || name.ends_with("PASS")
        || name.contains("PWD") && !folder
}

/// Whether a value holds a password: `scheme://user:password@host`, `--password=…`, `--password …`.
fn holds_secret(value: &Value) -> bool {
    match value {
        Value::String(text) => has_login(text) || says_secret(text.split_whitespace()),
        Value::Array(items) => {
            says_secret(items.iter().filter_map(Value::as_str)) || items.iter().any(holds_secret)
        }
        Value::Object(fields) => fields.iter().any(|(name, value)| {
            let named = value.is_string() && is_secret_name(name);
            named || holds_secret(value)
        }),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

/// Whether an address in a text has a password.
fn has_login(text: &str) -> bool {
    let ends = |c: char| c.is_whitespace() || "/?#\"'".contains(c);
    let hosts = text.split("://").skip(1).map(|rest| rest.split(ends).next().unwrap_or_default());
    let mut logins = hosts.filter_map(|host| host.rsplit_once('@'));
    logins.any(|(login, _)| login.split_once(':').is_some_and(|(_, password)| !password.is_empty()))
}

/// Whether one of these words of a command is a secret: behind the `=` of a name that sounds like one, or
/// behind such an option.
fn says_secret<'a>(words: impl Iterator<Item = &'a str>) -> bool {
    let mut behind = false;
    for word in words {
        let assigned = word.split_once('=').is_some_and(|(name, value)| {
            let is_name = name.bytes().all(|c| c.is_ascii_alphanumeric() || b"_-.".contains(&c));
            is_name && !value.is_empty() && is_secret_name(name)
        });
        if assigned || behind && !word.starts_with('-') {
            return true;
        }
        behind = word.starts_with('-') && is_secret_name(word);
    }
    false
}

/// The words of a command, to be written down and shown to others: without values of what sounds like a
/// secret, and of `run` and `exec` without what they set and start.
pub fn command(words: impl IntoIterator<Item = String>) -> String {
    const LEFT_OUT: &str = "…";
    let mut words = words.into_iter();
    let mut told: Vec<String> = words.next().into_iter().collect();
    let (mut starts, mut behind, mut bare) = (false, false, 0);
    for word in words {
        let is_option = word.starts_with('-');
        let is_value = behind && !is_option;
        bare += usize::from(starts && !is_option && !is_value);
        if bare > 1 {
            told.push(LEFT_OUT.to_owned());
            break;
        }
        let is_start = !is_option && ["run", "exec"].contains(&word.as_str());
        let value = word.split_once('=').filter(|(name, _)| starts || is_secret_name(name));
        let valued = is_secret_name(&word) || starts && takes_value(&word);
        let next = is_option && !word.contains('=') && valued;
        let is_text = starts && !is_option && word.contains(char::is_whitespace);
        told.push(match value {
            _ if has_login(&word) || is_value || is_text => LEFT_OUT.to_owned(),
            Some((name, _)) => format!("{name}={LEFT_OUT}"),
            None => word,
        });
        (starts, behind) = (starts || is_start, next);
    }
    told.join(" ")
}

/// Whether an option of `run` or `exec` has its value in the next word.
fn takes_value(option: &str) -> bool {
    const NAMED: [&str; 16] = [
        "allow",
        "cap-add",
        "cap-drop",
        "detach-keys",
        "entrypoint",
        "env",
        "env-from-file",
        "index",
        "label",
        "name",
        "policy",
        "publish",
        "pull",
        "user",
        "volume",
        "workdir",
    ];
    let is_valued = |letter: char| "elpuvw".contains(letter);
    match option.strip_prefix("--") {
        Some(name) => NAMED.contains(&name),
        // What follows the first that has a value is the value.
        None => option.find(is_valued).is_some_and(|at| at + 1 == option.len()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn of_a_command_is_told_what_is_nobodys_secret() {
        for (line, told) in [
            ("berth up -d --scale web=3 web", "berth up -d --scale web=3 web"),
            ("berth run --rm -e TOKEN=x web sh", "berth run --rm -e … web …"),
            ("berth run -de x --entrypoint hunter2 web", "berth run -de … --entrypoint … web"),
            ("berth run -eTOKEN=x web", "berth run -eTOKEN=… web"),
            ("berth run web mysql --password hunter2", "berth run web …"),
            ("berth exec -T web touch /x", "berth exec -T web …"),
            ("berth login --password hunter2 r.example", "berth login --password … r.example"),
            ("berth login --password=hunter2 r.example", "berth login --password=… r.example"),
            ("berth -f https://me:pass@r.example/c.yaml up", "berth -f … up"),
        ] {
            assert_eq!(command(line.split(' ').map(str::to_owned)), told, "{line}");
        }
        let text = ["berth", "run", "web --password"].map(str::to_owned);
        assert_eq!(command(text), "berth run …");
        assert_eq!(command([]), "");
    }

    fn hides(path: &str, value: Value) -> bool {
        let key = path.rsplit('.').next().unwrap_or(path);
        is_sensitive((path, key), None, Some(&value))
    }

    #[test]
    fn names_that_sound_like_secrets_hide_their_values() {
        for name in ["DB_PWD", "MYSQL_PWD", "dbpass", "PGPASS", "API_TOKEN", "PWD_DB", "DB_PASS_2"]
        {
            assert!(hides(&format!("environment.{name}"), json!("x")), "{name}");
        }
        for name in ["PWD", "OLDPWD", "PASSIVE", "LEVEL", "PASSES"] {
            assert!(!hides(&format!("environment.{name}"), json!("x")), "{name}");
        }
    }

    #[test]
    fn a_password_hides_the_value_it_stands_in_wherever_it_stands() {
        for value in [
            json!(["serve", "--password", "x"]),
            json!(["serve", "-db-password", "x"]),
            json!(["sh", "-c", "serve --verbose --token x"]),
            json!("MYSQL_PWD=x mysql"),
            json!(["--password=x"]),
            json!("http://a.example/ and db://u:x@db/shop"),
            json!({ "url": ["db://a,db://u:x@db"] }),
        ] {
            assert!(hides("command", value.clone()), "{value}");
        }
        for value in [
            json!(["serve", "--password", "--verbose"]),
            json!(["serve", "--password-file"]),
            json!("http://a:80/x@y and http://u@b:80 and u:x@c"),
            json!("http://u:@b"),
            json!("--token="),
        ] {
            assert!(!hides("command", value.clone()), "{value}");
        }
    }

    #[test]
    fn content_is_that_of_configs_and_secrets_alone() {
        assert!(is_content("configs./etc/app.content") && is_content("secrets./run/x.content"));
        assert!(!is_content("labels.app.content") && !is_content("environment.content"));
        assert!(hides("secrets./run/secrets/x", json!({ "content": "sha256:1", "uid": 0 })));
        assert!(!hides("configs./etc/app", json!({ "content": "sha256:1", "uid": 0 })));
    }
}
