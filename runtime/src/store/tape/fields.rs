//! Numbers, times and records as tar headers write them.

use std::collections::BTreeMap;

use super::TapeError;

/// The records of an extended header by their keys.
pub(super) type Records = BTreeMap<Vec<u8>, Vec<u8>>;

/// Octal text, or GNU's base 256 with the first bit set.
pub(super) fn numeric(field: &[u8]) -> Result<i64, TapeError> {
    let overflow = || TapeError::Header("a number out of range");
    if field[0] & 0x80 != 0 {
        let mut value: i128 = if field[0] & 0x40 != 0 { -1 } else { 0 };
        for (i, &byte) in field.iter().enumerate() {
            let byte = if i == 0 && value == 0 { byte & 0x7f } else { byte };
            value = (value << 8) | i128::from(byte);
            if i64::try_from(value).is_err() {
                return Err(overflow());
            }
        }
        return i64::try_from(value).map_err(|_| overflow());
    }
    let end = field.iter().position(|&b| b == 0).unwrap_or(field.len());
    if end == 0 && field.iter().any(|&b| !matches!(b, 0 | b' ')) {
        // Some readers end the number here, others begin it.
        return Err(TapeError::Header("a number after a NUL byte"));
    }
    let digits = field[..end].trim_ascii();
    digits.iter().try_fold(0_i64, |value, &b| match b {
        b'0'..=b'7' => value
            .checked_mul(8)
            .and_then(|value| value.checked_add(i64::from(b - b'0')))
            .ok_or_else(overflow),
        _ => Err(TapeError::Header("a number that is not octal")),
    })
}

pub(super) fn positive(value: i64) -> Result<u64, TapeError> {
    u64::try_from(value).map_err(|_| TapeError::Header("a negative size"))
}

pub(super) fn decimal(text: &[u8]) -> Result<i64, TapeError> {
    let number = std::str::from_utf8(text).ok().filter(|text| !text.starts_with('+'));
    number.and_then(|n| n.parse().ok()).ok_or(TapeError::Header("a number that is not decimal"))
}

/// `-12.345` is 12.345 seconds before the epoch.
pub(super) fn pax_time(text: &[u8]) -> Result<(i64, u32), TapeError> {
    let (whole, fraction) = match text.iter().position(|&b| b == b'.') {
        Some(dot) => (&text[..dot], &text[dot + 1..]),
        None => (text, &b""[..]),
    };
    let seconds = decimal(whole)?;
    if !fraction.iter().all(u8::is_ascii_digit) {
        return Err(TapeError::Header("a time that is not decimal"));
    }
    let nanos = fraction.iter().chain(std::iter::repeat(&b'0')).take(9);
    let nanos = nanos.fold(0, |value, digit| value * 10 + u32::from(digit - b'0'));
    match (whole.starts_with(b"-"), nanos) {
        (true, 1..) => Ok((seconds.saturating_sub(1), 1_000_000_000 - nanos)),
        _ => Ok((seconds, nanos)),
    }
}

/// `LENGTH KEY=VALUE\n`, where the length counts itself and the value may hold any byte.
///
/// The map of a sparse file in PAX 0.0, where keys come again, is brought into the form of 0.1.
pub(super) fn pax_records(mut data: &[u8]) -> Result<Records, TapeError> {
    let bad = || TapeError::Header("a damaged extended header");
    let mut records = BTreeMap::new();
    let mut map: Vec<&[u8]> = Vec::new();
    while !data.is_empty() {
        let space = data.iter().take(10).position(|&b| b == b' ').ok_or_else(bad)?;
        let length = usize::try_from(decimal(&data[..space])?).map_err(|_| bad())?;
        if length <= space + 1 || length > data.len() || data[length - 1] != b'\n' {
            return Err(bad());
        }
        let record = &data[space + 1..length - 1];
        let equals = record.iter().position(|&b| b == b'=').ok_or_else(bad)?;
        let (key, value) = (&record[..equals], &record[equals + 1..]);
        let is_name = matches!(key, b"path" | b"linkpath");
        // An empty one is the header's for some readers, and empty for others.
        let is_odd = is_name && (value.is_empty() || value.contains(&0));
        if key.is_empty() || key.contains(&0) || is_odd || (key == b"size" && value.is_empty()) {
            return Err(bad());
        }
        match (key, map.len() % 2) {
            (b"GNU.sparse.offset", 0) | (b"GNU.sparse.numbytes", 1) if !value.contains(&b',') => {
                map.push(value);
            }
            (b"GNU.sparse.offset" | b"GNU.sparse.numbytes", _) => return Err(bad()),
            _ if value.is_empty() && !key.starts_with(b"SCHILY.xattr.") => {
                records.remove(key);
            }
            _ => {
                records.insert(key.to_vec(), value.to_vec());
            }
        }
        data = &data[length..];
    }
    if !map.is_empty() && records.insert(b"GNU.sparse.map".to_vec(), map.join(&b',')).is_some() {
        return Err(bad());
    }
    Ok(records)
}
