//! What a scalar means: the YAML 1.2 core schema, and the older forms Compose files still use
//! (`0755` octal, `1_000`, timestamps).

use crate::tree::Value;

/// The value of a plain scalar without a tag.
pub fn plain(text: &str) -> Value {
    let first = match text.bytes().next() {
        None => return Value::Null,
        Some(first) => first,
    };
    match first {
        b'~' | b'n' | b'N' | b't' | b'T' | b'f' | b'F' => word(text),
        b'0'..=b'9' | b'+' | b'-' | b'.' => number(text)
            .or_else(|| timestamp(text).map(Value::Text))
            .unwrap_or_else(|| Value::Text(text.into())),
        _ => Value::Text(text.into()),
    }
}

/// Whether a plain scalar is a date, which the core schema does not know but Compose resolves.
pub fn is_timestamp(text: &str) -> bool {
    timestamp(text).is_some()
}

fn word(text: &str) -> Value {
    match text {
        "~" | "null" | "Null" | "NULL" => Value::Null,
        "true" | "True" | "TRUE" => Value::Bool(true),
        "false" | "False" | "FALSE" => Value::Bool(false),
        _ => Value::Text(text.into()),
    }
}

/// The value of a scalar with a tag of the core schema, if the text fits it.
pub fn tagged(suffix: &str, text: &str) -> Option<Value> {
    match suffix {
        "str" => Some(Value::Text(text.into())),
        "null" => Some(plain(text)).filter(|value| *value == Value::Null),
        "bool" => match word(text) {
            value @ Value::Bool(_) => Some(value),
            _ => None,
        },
        "int" => match number(text) {
            Some(value @ Value::Int(_)) => Some(value),
            _ => None,
        },
        "float" => match number(text)? {
            Value::Int(value) => Some(Value::Float(value as f64)),
            value => Some(value),
        },
        "binary" => base64(text).map(Value::Text),
        "timestamp" => timestamp(text).map(Value::Text),
        _ => Some(Value::Text(text.into())),
    }
}

/// The number that a text stands for where an attribute wants a number: decimal only, so `0644`
/// in quotes or from a variable is 644 and `0x10` is none.
pub fn cast(text: &str) -> Option<Value> {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return fraction(text).map(Value::Float);
    }
    let whole = text.parse::<i128>().ok().filter(fits);
    whole.map(Value::Int).or_else(|| fraction(text).map(Value::Float))
}

/// Whether it fits in 64 bits, signed or not.
fn fits(value: &i128) -> bool {
    (i128::from(i64::MIN)..=i128::from(u64::MAX)).contains(value)
}

/// A number in any of the accepted writings.
pub fn number(text: &str) -> Option<Value> {
    match text {
        ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" => {
            return Some(Value::Float(f64::INFINITY));
        }
        "-.inf" | "-.Inf" | "-.INF" => return Some(Value::Float(f64::NEG_INFINITY)),
        ".nan" | ".NaN" | ".NAN" => return Some(Value::Float(f64::NAN)),
        "-0" => return Some(Value::Float(-0.0)),
        _ => {}
    }
    let digits = text.replace('_', "");
    integer(&digits).map(Value::Int).or_else(|| fraction(&digits).map(Value::Float))
}

/// A whole number that fits in 64 bits, signed or not.
fn integer(text: &str) -> Option<i128> {
    let (negative, digits) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let (radix, digits) = match digits.as_bytes() {
        [b'0', b'x' | b'X', ..] => (16, &digits[2..]),
        [b'0', b'o' | b'O', ..] => (8, &digits[2..]),
        [b'0', b'b' | b'B', ..] => (2, &digits[2..]),
        [b'0', _, ..] => (8, &digits[1..]),
        _ => (10, digits),
    };
    if digits.is_empty() || digits.len() > 64 || !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    let value = i128::from_str_radix(digits, radix).ok()?;
    let value = if negative { -value } else { value };
    Some(value).filter(fits)
}

/// A decimal number with fraction or exponent.
fn fraction(text: &str) -> Option<f64> {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (unsigned, None),
    };
    let (whole, part) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let all_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if !all_digits(whole) || !all_digits(part) || (whole.is_empty() && part.is_empty()) {
        return None;
    }
    if let Some(exponent) = exponent {
        let digits = exponent.strip_prefix(['-', '+']).unwrap_or(exponent);
        if digits.is_empty() || !all_digits(digits) {
            return None;
        }
    }
    text.parse().ok()
}

/// A number the way the Compose tools print it: shortest digits, an exponent from a million on.
pub fn print_float(value: f64) -> String {
    if value.is_nan() {
        return "NaN".into();
    }
    if value.is_infinite() {
        return if value > 0.0 { "+Inf".into() } else { "-Inf".into() };
    }
    let scientific = format!("{value:e}");
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    match exponent.parse::<i32>() {
        Ok(exponent) if exponent < -4 => format!("{mantissa}e-{:02}", -exponent),
        Ok(exponent) if exponent >= 6 => format!("{mantissa}e+{exponent:02}"),
        _ => format!("{value}"),
    }
}

const UTC: &str = "+0000 UTC";

/// A date or time of YAML 1.1, printed as the Compose tools do.
fn timestamp(text: &str) -> Option<String> {
    let bytes = text.as_bytes();
    if bytes.len() < 8 || bytes[4] != b'-' || !bytes[..4].iter().all(u8::is_ascii_digit) {
        return None;
    }
    let separator = text.find(['T', 't', ' ']);
    let (date, time) = separator.map_or((text, ""), |at| (&text[..at], text[at + 1..].trim()));
    let mut parts = date.split('-');
    let (year, month, day) = (parts.next()?, parts.next()?, parts.next()?);
    let (month, day) = (two_digits(month, 12)?, two_digits(day, 31)?);
    if parts.next().is_some() || month == 0 || day == 0 || day > days_of(year, month) {
        return None;
    }
    // After a space no zone may stand, after a `T` one must.
    let (time, zone) = match separator.map(|at| bytes[at]) {
        None => ("0:0:0", UTC.to_owned()),
        Some(b' ') => (time, UTC.to_owned()),
        Some(_) => split_zone(time)?,
    };
    let (clock, part) = time.split_once('.').unwrap_or((time, ""));
    let mut parts = clock.split(':');
    let hour = two_digits(parts.next()?, 23)?;
    let minute = two_digits(parts.next()?, 59)?;
    let second = two_digits(parts.next()?, 59)?;
    if parts.next().is_some() || !part.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let part = part[..part.len().min(9)].trim_end_matches('0');
    let dot = if part.is_empty() { "" } else { "." };
    Some(format!("{year}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}{dot}{part} {zone}"))
}

fn days_of(year: &str, month: u32) -> u32 {
    let year: u32 = year.parse().unwrap_or(0);
    let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    match month {
        2 if leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

fn two_digits(text: &str, most: u32) -> Option<u32> {
    if text.is_empty() || text.len() > 2 || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    text.parse().ok().filter(|value| *value <= most)
}

/// Time and printed zone of `21:59:43.10-05:00` or `…Z`.
fn split_zone(time: &str) -> Option<(&str, String)> {
    if let Some(time) = time.strip_suffix('Z') {
        return Some((time, UTC.to_owned()));
    }
    let at = time.find(['+', '-'])?;
    let (hours, minutes) = time[at + 1..].split_once(':')?;
    let (hours, minutes) = (two_digits(hours, 23)?, two_digits(minutes, 59)?);
    let zone = format!("{}{hours:02}{minutes:02}", &time[at..=at]);
    let zone = if (hours, minutes) == (0, 0) { UTC.to_owned() } else { format!("{zone} {zone}") };
    Some((&time[..at], zone))
}

/// Text of base64 with its padding; line breaks may stand in it.
fn base64(text: &str) -> Option<String> {
    let digits: Vec<u8> = text.bytes().filter(|byte| !b"\r\n".contains(byte)).collect();
    let padding = digits.iter().rev().take_while(|byte| **byte == b'=').count();
    if !digits.len().is_multiple_of(4) || padding > 2 {
        return None;
    }
    let mut bytes = Vec::new();
    let (mut buffer, mut bits) = (0u32, 0);
    for byte in &digits[..digits.len() - padding] {
        let six = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        buffer = (buffer << 6 | u32::from(six)) & 0xffff;
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            bytes.push((buffer >> bits) as u8);
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn show(text: &str) -> String {
        match plain(text) {
            Value::Null => "null".into(),
            Value::Bool(value) => format!("bool {value}"),
            Value::Int(value) => format!("int {value}"),
            Value::Float(value) => format!("float {}", print_float(value)),
            Value::Text(value) => format!("text {value}"),
            Value::List(_) | Value::Map(_) => "collection".into(),
        }
    }

    #[test]
    fn scalars_mean_what_compose_files_expect() {
        for (text, meaning) in [
            ("yes", "text yes"),
            ("no", "text no"),
            ("True", "bool true"),
            ("~", "null"),
            ("", "null"),
            ("0123", "int 83"),
            ("0o777", "int 511"),
            ("0xFF", "int 255"),
            ("0b101", "int 5"),
            ("1_000", "int 1000"),
            ("12:30", "text 12:30"),
            ("+7", "int 7"),
            ("-0", "float -0"),
            ("18446744073709551615", "int 18446744073709551615"),
            ("123456789012345678901234567890", "float 1.2345678901234568e+29"),
            ("1.10", "float 1.1"),
            ("5.0", "float 5"),
            ("1e3", "float 1000"),
            ("999999.5", "float 999999.5"),
            ("1000000.0", "float 1e+06"),
            ("12345678.9", "float 1.23456789e+07"),
            ("0.00001234", "float 1.234e-05"),
            ("6.02e23", "float 6.02e+23"),
            ("1.2.3", "text 1.2.3"),
            ("-", "text -"),
            (".", "text ."),
            ("08", "float 8"),
            ("2001-12-14", "text 2001-12-14 00:00:00 +0000 UTC"),
            ("2001-12-14T21:59:43Z", "text 2001-12-14 21:59:43 +0000 UTC"),
            ("2001-1-1", "text 2001-01-01 00:00:00 +0000 UTC"),
            ("2001-12-14 21:59:43", "text 2001-12-14 21:59:43 +0000 UTC"),
            ("2001-12-14T21:59:43.10-05:00", "text 2001-12-14 21:59:43.1 -0500 -0500"),
            ("2001-12-14T21:59:43+00:00", "text 2001-12-14 21:59:43 +0000 UTC"),
            ("2001-12-14T21:59:43", "text 2001-12-14T21:59:43"),
            ("2001-12-14 21:59:43Z", "text 2001-12-14 21:59:43Z"),
            ("2001-12-14T", "text 2001-12-14T"),
            ("2001-13-14", "text 2001-13-14"),
        ] {
            assert_eq!(show(text), meaning, "{text}");
        }
    }

    #[test]
    fn tags_of_the_core_schema_decide() {
        assert_eq!(tagged("str", "012"), Some(Value::Text("012".into())));
        assert_eq!(tagged("int", "12"), Some(Value::Int(12)));
        assert_eq!(tagged("binary", "aGVsbG8="), Some(Value::Text("hello".into())));
        assert_eq!(tagged("binary", "aGVsbG8"), None);
        assert_eq!(tagged("bool", "yes"), None);
        assert_eq!(tagged("null", "x"), None);
        assert_eq!(tagged("timestamp", "x"), None);
        assert_eq!(tagged("set", "1"), Some(Value::Text("1".into())), "unknown tags mean text");
    }

    #[test]
    fn text_becomes_a_number_as_decimal_only() {
        assert_eq!(cast("0644"), Some(Value::Int(644)));
        assert_eq!(cast("+7"), Some(Value::Int(7)));
        assert_eq!(cast("1e3"), Some(Value::Float(1000.0)));
        for text in ["0x10", "0o17", "1_000", ".inf", "", " 3", "-"] {
            assert_eq!(cast(text), None, "{text}");
        }
    }
}
