//! Values that mix types (`80` or `"80"`, `64m` or `67108864`) brought to one canonical form.

use crate::scalar;
use crate::tree::Value;
use crate::value::{self, Bad, bad};
use crate::words;

/// The most memory a regular expression may take, compiled.
const PATTERN_BYTES: usize = 256 << 10;

/// A duration as the Compose tools print it.
pub fn duration(value: &Value) -> Result<Value, Bad> {
    match value {
        Value::Text(text) => Ok(Value::Text(value::print_duration(value::duration(text)?))),
        Value::Int(number @ 0..) => {
            bad("has no unit", &format!("write `{number}s` for seconds, or `{number}ms`"))
        }
        _ => bad("is not a duration", "write it as text with a unit: `30s`, `1m30s`"),
    }
}

/// Bytes.
pub fn memory(value: &Value) -> Result<Value, Bad> {
    value::size_of(value, false)
}

/// Bytes or operations in a second.
pub fn rate(value: &Value) -> Result<Value, Bad> {
    match value {
        Value::Text(text) => Ok(Value::Text(value::size(text)?.to_string())),
        Value::Int(rate @ 0..) => Ok(Value::Text(rate.to_string())),
        _ => bad("is not a rate", "write it like `1mb` or `1000`"),
    }
}

/// Bytes, or −1 for no limit.
pub fn memory_or_unlimited(value: &Value) -> Result<Value, Bad> {
    value::size_of(value, true)
}

/// Bytes of a tmpfs.
pub fn tmpfs_size(value: &Value) -> Result<Value, Bad> {
    match value {
        Value::Int(_) | Value::Text(_) => value::size_of(value, false),
        _ => bad("is not a size", "write it like `64m` or `67108864`"),
    }
}

/// A number of processors, a fraction allowed.
pub fn cpus(value: &Value) -> Result<Value, Bad> {
    let number = match value {
        Value::Text(text) => value::number(text),
        value => Some(value.clone()),
    };
    match number {
        Some(Value::Int(number)) if number >= 0 => Ok(Value::Float(number as f64)),
        Some(Value::Float(number)) if number >= 0.0 && number.is_finite() => {
            Ok(Value::Float(number))
        }
        _ => bad("is not a number of processors", &cpus_help(value)),
    }
}

/// `500m` and `50%` are other ways of saying half a processor.
fn cpus_help(value: &Value) -> String {
    let Value::Text(text) = value else {
        return "write it like `0.5` or `2`".into();
    };
    let other = |unit: char, whole: f64| {
        let number: f64 = text.strip_suffix(unit)?.trim().parse().ok()?;
        Some(scalar::print_float(number / whole))
    };
    match other('m', 1000.0).or_else(|| other('%', 100.0)) {
        Some(number) => format!("write `{number}`, the number of processors"),
        None => "write it like `0.5` or `2`".into(),
    }
}

/// Microseconds of processor time, or a duration.
pub fn cpu_time(value: &Value) -> Result<Value, Bad> {
    const HELP: &str = "write microseconds as a number: `50000`";
    match value {
        Value::Int(_) => Ok(value.clone()),
        Value::Float(number) if number.fract() == 0.0 => Ok(Value::Int(*number as i128)),
        Value::Text(text) => match value::number(text) {
            Some(Value::Int(number)) => Ok(Value::Int(number)),
            _ => bad("is not a time", HELP),
        },
        _ => bad("is not a time", HELP),
    }
}

/// A number of devices: −1 for all.
pub fn device_count(value: &Value) -> Result<Value, Bad> {
    match value {
        Value::Int(_) => Ok(value.clone()),
        Value::Text(text) if text == "all" => Ok(Value::Int(-1)),
        Value::Text(text) => match value::number(text) {
            Some(number @ Value::Int(_)) => Ok(number),
            _ => bad("is not a number of devices", "write a number or `all`"),
        },
        _ => bad("is not a number of devices", "write a number or `all`"),
    }
}

/// A port or range the service listens on, `80`, `80/udp`.
pub fn expose(value: &Value) -> Result<Value, Bad> {
    let text = match value {
        Value::Int(port) => port.to_string(),
        Value::Text(text) => text.clone(),
        _ => return bad("is not a port", "write `80`, `80/udp` or `8000-8010`"),
    };
    let (ports, protocol) = text.split_once('/').unwrap_or((&text, "tcp"));
    value::port_range(ports)?;
    if !["tcp", "udp", "sctp"].contains(&protocol.to_ascii_lowercase().as_str()) {
        return bad(format!("has the protocol `{protocol}`"), "protocols are tcp, udp and sctp");
    }
    Ok(Value::Text(text))
}

/// A regular expression, matched against one line at a time.
pub fn pattern(value: &Value) -> Result<Value, Bad> {
    let Value::Text(text) = value else {
        return bad("is no regular expression", "write it as text, in quotes");
    };
    if text.is_empty() {
        return bad("matches every line", "write what the line must hold");
    }
    match regex::RegexBuilder::new(text).size_limit(PATTERN_BYTES).build() {
        Ok(_) => Ok(Value::Text(text.clone())),
        Err(regex::Error::CompiledTooBig(_)) => {
            bad("is too large a regular expression", "repeat less, or write `.*`")
        }
        Err(error) => {
            let why = error.to_string();
            let last = why.lines().last().unwrap_or_default();
            let last = last.strip_prefix("error: ").unwrap_or(last);
            bad(format!("is no regular expression: {last}"), "see docs.rs/regex for the syntax")
        }
    }
}

/// The host side of a port: a port, a range, or nothing.
pub fn published(value: &Value) -> Result<Value, Bad> {
    let text = match value {
        Value::Int(port) => port.to_string(),
        Value::Text(text) => text.clone(),
        _ => return bad("is not a port", "write `\"8080\"` or `\"8080-8090\"`"),
    };
    if !text.is_empty() && text != "0" {
        value::port_range(&text)?;
    }
    Ok(Value::Text(text))
}

/// The name of a container, as the Compose tools take it: anything with a name inside. What runs it
/// asks for more.
pub fn container_name(value: &Value) -> Result<Value, Bad> {
    let Value::Text(text) = value else {
        return bad("is not text", "write it in quotes");
    };
    let inside = text.as_bytes().windows(2).any(|pair| {
        let later = pair[1].is_ascii_alphanumeric() || b"_.-".contains(&pair[1]);
        pair[0].is_ascii_alphanumeric() && later
    });
    if inside { Ok(value.clone()) } else { words::no_container_name() }
}

/// An address of this host.
pub fn host_ip(value: &Value) -> Result<Value, Bad> {
    match value {
        Value::Text(text) if text.is_empty() || text.parse::<std::net::IpAddr>().is_ok() => {
            Ok(value.clone())
        }
        _ => bad("is not an address", "write an IPv4 or IPv6 address of this host"),
    }
}

/// The container side of a port.
pub fn port_target(value: &Value) -> Result<Value, Bad> {
    let number = match value {
        Value::Text(text) => value::number(text),
        value => Some(value.clone()),
    };
    match number {
        Some(Value::Int(port @ 1..=65535)) => Ok(Value::Int(port)),
        Some(Value::Int(_)) => bad("is no port: ports are 1 to 65535", ""),
        _ => bad("is not a port", "write one port as a number; a range needs one entry each"),
    }
}

/// What happens when a config or secret has another content.
pub fn on_change(value: &Value) -> Result<Value, Bad> {
    match value {
        Value::Text(text) => words::on_change(text).map(|_| value.clone()),
        _ => bad("is not known here", "write none, signal:HUP, restart or replace"),
    }
}

/// When an image is pulled.
pub fn pull_policy(value: &Value) -> Result<Value, Bad> {
    const HELP: &str = "write always, missing, never, daily, weekly or every_DURATION";
    match value {
        Value::Text(text) if ["build", "refresh"].contains(&text.as_str()) => Ok(value.clone()),
        Value::Text(text) => words::pull_policy(text).map(|_| value.clone()),
        _ => bad("is not a pull policy", HELP),
    }
}

/// The mode of a file: numbers are taken as they are, text is octal.
pub fn file_mode(value: &Value) -> Result<Value, Bad> {
    const HELP: &str = "write it in octal: `0440`";
    let mode = match value {
        Value::Int(mode) => *mode,
        Value::Text(text) => {
            let digits = text.strip_prefix("0o").unwrap_or(text);
            match i128::from_str_radix(digits, 8) {
                Ok(mode) => mode,
                Err(_) => return bad("is not a file mode", HELP),
            }
        }
        _ => return bad("is not a file mode", HELP),
    };
    match mode {
        0..=0o7777 => Ok(Value::Text(format!("0{mode:o}"))),
        _ => bad("is not a file mode", HELP),
    }
}

/// The mode of a tmpfs: a number.
pub fn mount_mode(value: &Value) -> Result<Value, Bad> {
    const HELP: &str = "write it in octal: `01777`";
    match value {
        Value::Int(mode @ 0..=0o7777) => Ok(Value::Int(*mode)),
        _ => bad("is not the mode of a tmpfs", HELP),
    }
}
