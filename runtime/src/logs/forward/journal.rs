//! A line as the journal of systemd takes it (systemd.io, "Native Journal Protocol"). Pure.

use std::collections::BTreeMap;

use super::super::format::RawLine;
use super::severity;

/// Appends a line with the fields of its container.
pub(super) fn append(out: &mut Vec<u8>, fields: &[u8], line: &RawLine<'_>) {
    out.extend_from_slice(fields);
    let severity = [b'0' + severity(line.stream)];
    field(out, "PRIORITY", &severity);
    field(out, "SYSLOG_TIMESTAMP", line.time.as_bytes());
    if line.partial {
        field(out, "CONTAINER_PARTIAL_MESSAGE", b"true");
    }
    field(out, "MESSAGE", line.text);
}

/// The fields that are the same for all lines.
pub(super) fn fields(fields: &BTreeMap<String, String>) -> Vec<u8> {
    let mut out = Vec::new();
    for (name, value) in fields {
        field(&mut out, name, value.as_bytes());
    }
    out
}

/// `NAME=value`, or the form with a length where the value has a newline or is no text.
fn field(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    out.extend_from_slice(name.as_bytes());
    if value.iter().any(|byte| *byte < b' ' && *byte != b'\t') {
        out.push(b'\n');
        out.extend_from_slice(&(value.len() as u64).to_le_bytes());
    } else {
        out.push(b'=');
    }
    out.extend_from_slice(value);
    out.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::logs::format::raw;

    #[test]
    fn a_line_is_its_fields_and_binary_text_has_a_length() {
        let all = [("CONTAINER_NAME", "web"), ("A", "x\ny")];
        let all = all.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let fields = fields(&BTreeMap::from(all));
        let mut out = Vec::new();
        let line = raw(b"2026-11-21T10:00:00.123456789Z stderr F oh no").unwrap();
        append(&mut out, &fields, &line);
        let text = "A\n\x03\0\0\0\0\0\0\0x\ny\nCONTAINER_NAME=web\nPRIORITY=3\n\
                    SYSLOG_TIMESTAMP=2026-11-21T10:00:00.123456789Z\nMESSAGE=oh no\n";
        assert_eq!(String::from_utf8(out).unwrap(), text);

        let mut out = Vec::new();
        let line = raw(b"2026-11-21T10:00:00.123456789Z stdout P \x1b[1m").unwrap();
        append(&mut out, b"", &line);
        assert!(out.ends_with(b"PARTIAL_MESSAGE=true\nMESSAGE\n\x04\0\0\0\0\0\0\0\x1b[1m\n"));
    }
}
