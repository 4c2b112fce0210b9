//! A line as a syslog server takes it. Pure but for the zone of this host's clock.

use berth_schema::stack::SyslogFormat;
use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::super::format::RawLine;
use super::severity;

/// A datagram of IP holds no more (65 507), and some of it is for what stands before the text.
pub(super) const DATAGRAM: usize = 65_000;

/// How lines of one container are written.
pub(super) struct Form {
    pub(super) facility: u8,
    pub(super) format: SyslogFormat,
    pub(super) hostname: String,
    pub(super) tag: String,
    /// The time of lines read together is worked out once.
    pub(super) last: (String, String),
}

impl Form {
    /// Appends a line as Docker's driver writes it: the tag, and our process as its number.
    pub(super) fn append(&mut self, out: &mut Vec<u8>, line: &RawLine<'_>) {
        if self.last.0 != line.time {
            self.last = (line.time.to_owned(), self.time(line.time));
        }
        let Form { facility, format, hostname, tag, last: (_, time) } = self;
        let priority = u32::from(*facility) * 8 + u32::from(severity(line.stream));
        let process = std::process::id();
        let head = match format {
            SyslogFormat::Unix => format!("<{priority}>{time} {tag}[{process}]: "),
            SyslogFormat::Rfc3164 => format!("<{priority}>{time} {hostname} {tag}[{process}]: "),
            SyslogFormat::Rfc5424 | SyslogFormat::Rfc5424micro => {
                format!("<{priority}>1 {time} {hostname} {tag} {process} {tag} - ")
            }
        };
        out.extend_from_slice(head.as_bytes());
        out.extend_from_slice(line.text);
        out.push(b'\n');
    }

    /// RFC 3164 section 4.1.2 and RFC 5424 section 6.2.3, both with the clock of this host.
    fn time(&self, time: &str) -> String {
        let time = time.parse::<Timestamp>().unwrap_or_default().to_zoned(TimeZone::system());
        match self.format {
            SyslogFormat::Unix | SyslogFormat::Rfc3164 => time.strftime("%b %e %H:%M:%S"),
            SyslogFormat::Rfc5424 => time.strftime("%Y-%m-%dT%H:%M:%S%:z"),
            SyslogFormat::Rfc5424micro => time.strftime("%Y-%m-%dT%H:%M:%S.%6f%:z"),
        }
        .to_string()
    }
}

/// Cuts a message to what a datagram holds; it keeps its newline.
pub(super) fn cut(message: &mut Vec<u8>) {
    if message.len() > DATAGRAM {
        message.truncate(DATAGRAM - 1);
        message.push(b'\n');
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::logs::format::raw;

    #[test]
    fn every_form_is_as_docker_writes_it() {
        let written = |format| {
            let (hostname, tag) = ("box".to_owned(), "web".to_owned());
            let last = (String::new(), String::new());
            let mut form = Form { facility: 3, format, hostname, tag, last };
            let mut out = Vec::new();
            let line = raw(b"2026-11-01T10:00:00.123456789Z stderr F oh no").unwrap();
            form.append(&mut out, &line);
            let text = String::from_utf8(out).unwrap();
            text.replace(&std::process::id().to_string(), "PID").replace("+00:00", "ZONE")
        };
        // The clock of the host that this runs on may be of any zone.
        let hour = |text: &str| text.split(' ').any(|word| word.ends_with(":00:00"));
        assert!(written(SyslogFormat::Unix).starts_with("<27>Nov  1 "));
        assert!(written(SyslogFormat::Unix).ends_with(" web[PID]: oh no\n"));
        assert!(hour(&written(SyslogFormat::Rfc3164)));
        assert!(written(SyslogFormat::Rfc3164).ends_with(" box web[PID]: oh no\n"));
        let rfc = written(SyslogFormat::Rfc5424);
        assert!(rfc.starts_with("<27>1 2026-11-01T"), "{rfc}");
        assert!(rfc.ends_with(" box web PID web - oh no\n"), "{rfc}");
        assert!(written(SyslogFormat::Rfc5424micro).contains(":00.123456"));
    }

    #[test]
    fn a_datagram_is_cut_and_keeps_its_end() {
        let mut long = vec![b'x'; 70_000];
        cut(&mut long);
        assert_eq!((long.len(), long.last()), (DATAGRAM, Some(&b'\n')));
    }
}
