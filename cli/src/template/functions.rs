//! The functions of templates: Go's own, and those Docker adds.

use serde_json::Value;

/// Calls a function.
pub(super) fn call(name: &str, arguments: &[Value]) -> Result<Value, String> {
    match (name, arguments) {
        ("json", [value]) => Ok(value.to_string().into()),
        ("len", [value]) => len(value),
        ("index", [value, keys @ ..]) => index(value, keys),
        ("slice", [value, bounds @ ..]) => slice(value, bounds),
        ("join", [Value::Array(items), Value::String(by)]) => {
            Ok(items.iter().map(plain).collect::<Vec<_>>().join(by).into())
        }
        ("join", [Value::Null, _]) => Ok("".into()),
        ("split", [Value::String(text), Value::String(by)]) => {
            Ok(text.split(by.as_str()).collect())
        }
        ("lower", [value]) => Ok(plain(value).to_lowercase().into()),
        ("upper", [value]) => Ok(plain(value).to_uppercase().into()),
        ("title", [value]) => Ok(title(&plain(value)).into()),
        ("truncate", [value, length]) => {
            let length = whole(length)?;
            Ok(plain(value).chars().take(length).collect::<String>().into())
        }
        ("print", values) => Ok(print(values).into()),
        ("println", values) => {
            let words: Vec<String> = values.iter().map(plain).collect();
            Ok(format!("{}\n", words.join(" ")).into())
        }
        ("printf", [Value::String(format), values @ ..]) => printf(format, values),
        ("not", [value]) => Ok((!truth(value)).into()),
        ("eq", [first, others @ ..]) if !others.is_empty() => {
            Ok(others.iter().any(|other| same(first, other)).into())
        }
        ("ne", [first, second]) => Ok((!same(first, second)).into()),
        ("lt" | "le" | "gt" | "ge", [first, second]) => compare(name, first, second),
        _ => Err(format!("there is no function `{name}` for this")),
    }
}

/// Whether a function is about a value's look only, so that it leaves a heading as it is.
pub(super) fn is_of_values(name: &str) -> bool {
    matches!(name, "json" | "join" | "split" | "lower" | "upper" | "title" | "truncate")
}

/// A value as Go prints it.
pub(super) fn plain(value: &Value) -> String {
    match value {
        Value::Null => "<no value>".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(items) => {
            format!("[{}]", items.iter().map(plain).collect::<Vec<_>>().join(" "))
        }
        Value::Object(map) => {
            let mut pairs: Vec<String> =
                map.iter().map(|(key, value)| format!("{key}:{}", plain(value))).collect();
            pairs.sort();
            format!("map[{}]", pairs.join(" "))
        }
        Value::Bool(_) | Value::Number(_) => value.to_string(),
    }
}

/// Whether a value counts as true: it is not empty and not zero.
pub(super) fn truth(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(value) => *value,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(items) => !items.is_empty(),
        Value::Object(map) => !map.is_empty(),
    }
}

fn len(value: &Value) -> Result<Value, String> {
    match value {
        Value::Null => Ok(0.into()),
        Value::String(text) => Ok(text.len().into()),
        Value::Array(items) => Ok(items.len().into()),
        Value::Object(map) => Ok(map.len().into()),
        other => Err(format!("`{}` has no length", plain(other))),
    }
}

/// What is not in a map is an empty text, as with Docker's labels.
fn index(value: &Value, keys: &[Value]) -> Result<Value, String> {
    let mut value = value.clone();
    for key in keys {
        value = match &value {
            Value::Array(items) => {
                let at = whole(key)?;
                items.get(at).cloned().ok_or_else(|| format!("index out of range: {at}"))?
            }
            Value::Object(map) => map.get(&plain(key)).cloned().unwrap_or_else(|| "".into()),
            Value::Null => "".into(),
            other => return Err(format!("`{}` has no index", plain(other))),
        };
    }
    Ok(value)
}

fn slice(value: &Value, bounds: &[Value]) -> Result<Value, String> {
    let length = usize::try_from(len(value)?.as_u64().unwrap_or(0)).unwrap_or(0);
    let from = bounds.first().map_or(Ok(0), whole)?;
    let to = bounds.get(1).map_or(Ok(length), whole)?;
    let outside = || format!("index out of range: {from} to {to} of {length}");
    match value {
        Value::String(text) => text.get(from..to).map(Value::from).ok_or_else(outside),
        Value::Array(items) => items.get(from..to).map(Value::from).ok_or_else(outside),
        other => Err(format!("`{}` cannot be sliced", plain(other))),
    }
}

fn whole(value: &Value) -> Result<usize, String> {
    let whole = value.as_u64().and_then(|number| usize::try_from(number).ok());
    whole.ok_or_else(|| format!("`{}` is no index", plain(value)))
}

/// There is a space between two values of which none is a text.
fn print(values: &[Value]) -> String {
    let mut out = String::new();
    for (at, value) in values.iter().enumerate() {
        if at > 0 && !value.is_string() && !values[at - 1].is_string() {
            out.push(' ');
        }
        out.push_str(&plain(value));
    }
    out
}

fn title(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| {
        first.to_uppercase().collect::<String>() + letters.as_str()
    })
}

fn printf(format: &str, values: &[Value]) -> Result<Value, String> {
    let mut values = values.iter();
    let mut out = String::new();
    let mut letters = format.chars();
    while let Some(letter) = letters.next() {
        if letter != '%' {
            out.push(letter);
            continue;
        }
        let verb = letters.next();
        if verb == Some('%') {
            out.push('%');
            continue;
        }
        let value = values.next().ok_or("printf has too few values")?;
        match verb {
            Some('s' | 'v' | 'd') => out.push_str(&plain(value)),
            Some('q') => out.push_str(&Value::from(plain(value)).to_string()),
            _ => return Err("printf knows %s, %v, %d, %q and %%".to_owned()),
        }
    }
    Ok(out.into())
}

fn same(first: &Value, second: &Value) -> bool {
    match (first.as_f64(), second.as_f64()) {
        (Some(first), Some(second)) => first == second,
        _ => first == second,
    }
}

fn compare(name: &str, first: &Value, second: &Value) -> Result<Value, String> {
    let order = match (first, second) {
        (Value::Number(_), Value::Number(_)) => {
            let numbers = first.as_f64().zip(second.as_f64());
            numbers.and_then(|(first, second)| first.partial_cmp(&second))
        }
        (Value::String(first), Value::String(second)) => Some(first.cmp(second)),
        _ => None,
    };
    let order = order.ok_or_else(|| format!("`{name}` cannot compare these"))?;
    Ok(match name {
        "lt" => order.is_lt(),
        "le" => order.is_le(),
        "gt" => order.is_gt(),
        _ => order.is_ge(),
    }
    .into())
}
