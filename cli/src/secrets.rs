//! What nobody else should see, found by how it is written: values of names that sound like
//! secrets, passwords in addresses, and those that stand behind an option.

use berth_schema::explain::{Explanation, Origin, Variable};
use serde_json::Value;

/// What stands in place of a secret.
const HIDDEN: &str = "********";

/// Puts stars in place of every secret of an explanation.
pub(crate) fn hide(told: &mut Explanation) {
    let behind_flag = told.previous.as_ref().and_then(Value::as_str).is_some_and(is_flag);
    let secret = name_is_secret(&told.path) || behind_flag;
    let mut all: Vec<String> = told
        .values
        .iter()
        .flat_map(|below| of_variables(&below.variables, name_is_secret(&below.path)))
        .collect();
    all.extend(of_variables(&told.variables, secret));
    if let Some(value) = &mut told.value {
        cover(value, secret, &all);
    }
    for origin in told.from.iter_mut().chain(&mut told.over) {
        hide_origin(origin, secret);
    }
    let nested = is_nested(&told.variables, secret);
    for variable in &mut told.variables {
        hide_variable(variable, secret || nested);
    }
    let mut flag = false;
    for below in &mut told.values {
        let secret = name_is_secret(&below.path) || flag && below.path.ends_with(']');
        flag = below.value.as_str().is_some_and(is_flag);
        let texts = of_variables(&below.variables, secret);
        cover(&mut below.value, secret, &texts);
        below.how = cover_way(&below.how, secret);
    }
}

fn name_is_secret(path: &str) -> bool {
    path.rsplit('.').next().is_some_and(sounds_secret)
}

fn hide_origin(origin: &mut Origin, secret: bool) {
    let texts = of_variables(&origin.variables, secret);
    if secret {
        origin.line = None;
    }
    if let Some(line) = &mut origin.line {
        *line = cover_text(line, &texts);
    }
    if let Some(value) = &mut origin.value {
        cover(value, secret, &texts);
    }
    for way in &mut origin.ways {
        way.what = cover_way(&way.what, secret);
    }
}

/// A short form says the value again.
fn cover_way(way: &str, secret: bool) -> String {
    match way.split_once(" `") {
        Some((what, _)) if secret && what == "short form" => what.to_owned(),
        _ => cover_text(way, &[]),
    }
}

fn hide_variable(variable: &mut Variable, secret: bool) {
    if !secret && !sounds_secret(&variable.name) {
        variable.from = cover_text(&variable.from, &[]);
        for text in variable.value.iter_mut().chain(&mut variable.default) {
            *text = cover_text(text, &[]);
        }
        return;
    }
    if let Some(default) = &mut variable.default {
        variable.from = variable.from.replace(default.as_str(), HIDDEN);
        *default = HIDDEN.to_owned();
    }
    if let Some(value) = &mut variable.value {
        *value = HIDDEN.to_owned();
    }
}

/// Whether a secret is made of the other variables too.
fn is_nested(variables: &[Variable], secret: bool) -> bool {
    let nested = |variable: &Variable| variable.default.as_deref().unwrap_or("").contains('$');
    variables.iter().any(|one| (secret || sounds_secret(&one.name)) && nested(one))
}

/// What secret variables say.
fn of_variables(variables: &[Variable], secret: bool) -> Vec<String> {
    let every = secret || is_nested(variables, secret);
    let secrets = variables.iter().filter(|one| every || sounds_secret(&one.name));
    let texts = secrets.filter_map(|one| one.value.as_ref().or(one.default.as_ref()));
    texts.filter(|text| !text.is_empty()).cloned().collect()
}

/// Puts stars in place of a value, or of what is secret in it.
fn cover(value: &mut Value, secret: bool, texts: &[String]) {
    match value {
        Value::Object(map) => {
            for (name, value) in map {
                cover(value, sounds_secret(name), texts);
            }
        }
        Value::Array(items) => {
            let mut flag = secret;
            for item in items {
                let next = secret || item.as_str().is_some_and(is_flag);
                cover(item, flag, texts);
                flag = next;
            }
        }
        Value::Null => {}
        scalar if secret => *scalar = HIDDEN.into(),
        Value::String(text) => *text = cover_text(text, texts),
        Value::Bool(_) | Value::Number(_) => {}
    }
}

/// Whether it is an option like `--password`, whose value comes next.
fn is_flag(text: &str) -> bool {
    text.starts_with("--") && !text.contains('=') && sounds_secret(text)
}

/// A text with stars in place of what is secret in it. `texts` are secret wherever they stand.
fn cover_text(text: &str, texts: &[String]) -> String {
    let text = texts.iter().fold(text.to_owned(), |text, secret| text.replace(secret, HIDDEN));
    cover_named(&cover_addresses(&text))
}

/// `scheme://user:password@host` without the password.
fn cover_addresses(text: &str) -> String {
    let mut covered = String::new();
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let (before, address) = rest.split_at(at + 3);
        covered += before;
        let end = address.find([' ', '\t', '\n', '"', '\'']).unwrap_or(address.len());
        rest = address;
        if let (Some(colon), Some(sign)) = (address[..end].find(':'), address[..end].rfind('@'))
            && colon + 1 < sign
        {
            covered += &address[..=colon];
            covered += HIDDEN;
            rest = &address[sign..];
        }
    }
    covered + rest
}

/// `NAME=value`, `NAME: value`, `--name value` and `${NAME:-value}` without the values.
fn cover_named(text: &str) -> String {
    let mut covered = String::new();
    let mut rest = text;
    while let Some(start) = rest.find(is_of_name) {
        let before = &rest[..start];
        let variable = before.ends_with("${");
        let inside = |c: char| is_of_name(c) && !(variable && "-.".contains(c));
        let length = rest[start..].find(|c| !inside(c)).unwrap_or(rest.len() - start);
        let name = &rest[start..start + length];
        covered += before;
        covered += name;
        rest = &rest[start + length..];
        let value = match variable {
            true => of_default(name, rest),
            false => of_name(name, rest),
        };
        if let Some((start, end)) = value.filter(|(start, end)| start < end) {
            covered += &rest[..start];
            covered += HIDDEN;
            rest = &rest[end..];
        }
    }
    covered + rest
}

fn is_of_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || "_.-".contains(c)
}

/// Where the default of `${NAME:-default}` stands behind the name.
fn of_default(name: &str, rest: &str) -> Option<(usize, usize)> {
    if !sounds_secret(name) {
        return None;
    }
    let start = rest.find(|c| !":-+?".contains(c)).unwrap_or(rest.len());
    let mut depth = 1_usize;
    let end = rest.char_indices().find(|(_, c)| {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        depth == 0
    });
    Some((start, end.map_or(rest.len(), |(at, _)| at)))
}

/// Where the value stands behind a name that sounds like a secret.
fn of_name(name: &str, rest: &str) -> Option<(usize, usize)> {
    if !sounds_secret(name) {
        return None;
    }
    let bare = rest.trim_start_matches(['"', '\'']);
    let (whole_line, value) = match (bare.strip_prefix('='), bare.strip_prefix(':')) {
        (Some(value), _) => (false, value),
        (None, Some(value)) if value.starts_with([' ', '"', '\'']) => (true, value.trim_start()),
        _ if name.starts_with("--") => (false, rest.trim_start_matches([' ', '"', '\'', ','])),
        _ => return None,
    };
    let behind = rest.len() - value.len();
    if name.starts_with("--") && value.starts_with(['-', ']']) {
        return None;
    }
    let (start, end) = match value.chars().next().filter(|c| "\"'".contains(*c)) {
        Some(quote) => (1, value[1..].find(quote).map_or(value.len(), |end| end + 1)),
        None if whole_line => (0, value.find('\n').unwrap_or(value.len())),
        None => (0, value.find([' ', '\t', '\n', '"', '\'']).unwrap_or(value.len())),
    };
    Some((behind + start, behind + end))
}

/// Whether a name is usually that of something nobody else should see. Names of files are not.
fn sounds_secret(name: &str) -> bool {
    let name = name.to_ascii_uppercase();
    let words: Vec<&str> = name.split(['_', '-', '.']).collect();
    let secret = ["PASSWD", "PASS", "SECRET", "TOKEN", "APIKEY", "CREDENTIALS", "PASSPHRASE"];
    let folder = ["PWD", "OLDPWD"].contains(&name.as_str());
    let ends = |word: &str| {
        ["PASSWORD", "PASS"].iter().any(|end| word.ends_with(end))
            || word.ends_with("PWD") && !folder
    };
    let secret = |word: &&str| secret.contains(word) || ends(word);
    let key = name.ends_with("_KEY") && !name.ends_with("PUBLIC_KEY");
    let sign = name.split(['_', '-', '.']).any(|word| word == "PW");
    words.last() != Some(&"FILE") && (key || sign || words.iter().any(secret))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_sound_like_secrets_are_told_from_others() {
        for name in [
            "DB_PASSWORD",
            "token",
            "AWS_SECRET_ACCESS_KEY",
            "com.example.api-token",
            "DBPASS",
            "MYSQL_PWD",
        ] {
            assert!(sounds_secret(name), "{name}");
        }
        for name in ["POSTGRES_PASSWORD_FILE", "KEYBOARD", "MONKEY", "PUBLIC_KEY", "image", "PWD"] {
            assert!(!sounds_secret(name), "{name}");
        }
    }

    #[test]
    fn secrets_are_covered_wherever_they_stand_in_a_text() {
        for (text, shown) in [
            ("postgres://u:top@db/x", "postgres://u:********@db/x"),
            ("redis://:top@a:1/ http://b:2", "redis://:********@a:1/ http://b:2"),
            ("mysqld --password=top --port=1", "mysqld --password=******** --port=1"),
            ("a --password top --x", "a --password ******** --x"),
            ("[a, --password, \"top\", b]", "[a, --password, \"********\", b]"),
            ("sh -c 'PGPASSWORD=\"a b\" psql'", "sh -c 'PGPASSWORD=\"********\" psql'"),
            ("image: x:${PW:-hunter2}", "image: x:${PW:-********}"),
            ("x:${TOKEN-${A:-b}}/y", "x:${TOKEN-********}/y"),
            ("x:${TOKEN-top}", "x:${TOKEN-********}"),
            ("api_key: top secret", "api_key: ********"),
            ("x:${TAG:-1} --password-file=/run/a", "x:${TAG:-1} --password-file=/run/a"),
            ("x --password", "x --password"),
        ] {
            assert_eq!(cover_text(text, &[]), shown);
        }
    }
}
