//! Where output goes.

use insta::assert_snapshot;

use super::{refused, service};
use crate::stack::{ForwardTo, LogDriver, Logging, SyslogAddress, SyslogFormat, TagPart};
use crate::tests::{lines, load_all, options};

#[test]
fn logs_are_kept_in_files_that_are_rotated() {
    let logging = |attributes: &str| service(attributes).logging;
    assert_eq!(logging(""), Logging::default());
    let kept = logging("logging: {driver: json-file, options: {max-size: 1m, max-file: '5'}}");
    assert_eq!((kept.driver, kept.max_size, kept.max_files), (LogDriver::JsonFile, 1 << 20, 5));
    assert_eq!(logging("logging: {driver: none}").driver, LogDriver::None);
}

#[test]
fn the_record_of_a_container_stays_as_it_was() {
    let record = serde_json::to_string(&Logging::default()).unwrap();
    assert_eq!(record, r#"{"driver":"local","max_size":10485760,"max_files":3}"#);
}

#[test]
fn lines_can_go_to_the_journal_besides() {
    let forwarding = |options: &str| {
        let logging =
            service(&format!("logging: {{driver: journald, options: {options}}}")).logging;
        *logging.forwarding.unwrap()
    };
    let plain = forwarding("{}");
    assert_eq!(
        (plain.to, plain.tag, plain.drop_over),
        (ForwardTo::Journal, vec![TagPart::Id], None)
    );
    let full = forwarding(
        "{tag: 'a {{.Name}}/{{ .FullID }}{{(.ExtraAttributes nil).SITE}}', labels: 'a,b', \
         env-regex: ^OS, mode: non-blocking, max-buffer-size: 2m, cache-disabled: 'true'}",
    );
    let text = |text: &str| TagPart::Text(text.to_owned());
    let tag = [text("a "), TagPart::Name, text("/"), TagPart::FullId];
    assert_eq!(full.tag[..4], tag);
    assert_eq!(full.tag[4], TagPart::ExtraOf("SITE".to_owned()));
    assert_eq!((full.labels.names.len(), full.env.pattern.as_deref()), (2, Some("^OS")));
    assert_eq!((full.drop_over, full.no_files), (Some(2 << 20), true));
    assert_eq!(forwarding("{mode: non-blocking}").drop_over, Some(1 << 20));
}

#[test]
fn a_syslog_server_has_an_address_a_facility_and_a_form() {
    let syslog = |options: &str| {
        let logging = service(&format!("logging: {{driver: syslog, options: {options}}}")).logging;
        match logging.forwarding.unwrap().to {
            ForwardTo::Syslog(syslog) => syslog,
            ForwardTo::Journal => panic!("not to the journal"),
        }
    };
    let address = |text: &str| syslog(&format!("{{syslog-address: '{text}'}}")).address;
    let udp = |host: &str, port| SyslogAddress::Udp(host.to_owned(), port);
    let default = syslog("{}");
    assert_eq!(default.address, SyslogAddress::Local);
    assert_eq!((default.facility, default.format), (3, SyslogFormat::Unix));
    assert_eq!(address("udp://a.example"), udp("a.example", 514));
    assert_eq!(address("udp://[2001:db8::1]:1514"), udp("2001:db8::1", 1514));
    assert_eq!(address("tcp://192.0.2.7:601"), SyslogAddress::Tcp("192.0.2.7".to_owned(), 601));
    assert_eq!(address("unixgram:///dev/log"), SyslogAddress::Unixgram("/dev/log".into()));
    assert_eq!(address("unix:///run/s"), SyslogAddress::Unix("/run/s".into()));
    assert_eq!(syslog("{syslog-facility: local7}").facility, 23);
    assert_eq!(syslog("{syslog-facility: 5, syslog-format: rfc5424micro}").facility, 5);
}

#[test]
fn options_of_forwarding_that_cannot_work_are_refused() {
    assert_snapshot!(refused(
        "logging: {driver: syslog, options: {syslog-address: 'tcp+tls://a:6514', \
         syslog-facility: locale7, syslog-format: rfc3165, syslog-tls-cert: c, tag: '{{.Nam}}', \
         mode: slow, max-size: 1m, max-buffer-size: 0, labels-regex: '(a', sysloq-format: a}}"
    ), @"
    compose.yaml:4:57 berth::bad_value
      `services.web.logging.options.syslog-address`: `tcp+tls://a:6514` asks for TLS, which berth does not speak with a syslog server
      → forward to a syslog server on this host, and let it use TLS
    compose.yaml:4:94 berth::bad_value
      `services.web.logging.options.syslog-facility`: `locale7` is not a facility
      → did you mean `local7`?
    compose.yaml:4:118 berth::bad_value
      `services.web.logging.options.syslog-format`: `rfc3165` is not a format
      → did you mean `rfc3164`?
    compose.yaml:4:144 berth::bad_value
      `services.web.logging.options.syslog-tls-cert`: berth does not speak TLS with a syslog server
      → forward to a syslog server on this host, and let it use TLS
    compose.yaml:4:152 berth::bad_value
      `services.web.logging.options.tag`: `{{.Nam}}` has `{{.Nam}}`, which is no field of a tag
      → did you mean `{{.Name}}`?
    compose.yaml:4:170 berth::bad_value
      `services.web.logging.options.mode`: `slow` is not a mode
      → write blocking or non-blocking
    compose.yaml:4:186 berth::bad_value
      `services.web.logging.options.max-size`: the log driver `syslog` has no such option
      → did you mean `cache-max-size`?
    compose.yaml:4:207 berth::bad_value
      `services.web.logging.options.max-buffer-size`: `0` leaves room for nothing
      → write it like `4m`
    compose.yaml:4:224 berth::bad_value
      `services.web.logging.options.labels-regex`: `(a` is no regular expression: unclosed group
      → see docs.rs/regex for the syntax
    compose.yaml:4:245 berth::bad_value
      `services.web.logging.options.sysloq-format`: the log driver `syslog` has no such option
      → did you mean `syslog-format`?
    ");
    assert_snapshot!(refused(
        "logging: {driver: journald, options: {syslog-format: rfc5424, max-buffer-size: 1m}}"
    ), @"
    compose.yaml:4:58 berth::bad_value
      `services.web.logging.options.syslog-format`: the log driver `journald` has no such option
      → there are cache-compress, cache-disabled, cache-max-file, cache-max-size, env, env-regex, labels, labels-regex, max-buffer-size, mode and tag
    compose.yaml:4:84 berth::bad_value
      `services.web.logging`: `max-buffer-size` without `mode: non-blocking`
      → write `mode: non-blocking` beside it
    ");
    for bad in ["udp://", "a:514", "http://a", "unix://a", "udp://a:0", "udp://a b"] {
        refused(&format!("logging: {{driver: syslog, options: {{syslog-address: '{bad}'}}}}"));
    }
}

#[test]
fn drivers_and_options_that_nobody_has_are_refused() {
    assert_snapshot!(refused("logging: {driver: json}"), @"
    compose.yaml:4:23 berth::bad_value
      `services.web.logging.driver`: `json` is not a log driver
      → use json-file, local, none, journald or syslog
    ");
    assert_snapshot!(refused(
        "logging: {options: {max-sise: 1m, max-file: 0, max-size: x, colour: red}}"
    ), @"
    compose.yaml:4:35 berth::bad_value
      `services.web.logging.options.max-sise`: logs in files have no such option
      → did you mean `max-size`?
    compose.yaml:4:49 berth::bad_value
      `services.web.logging.options.max-file`: `0` is not a number of files
      → write 1 or more
    compose.yaml:4:62 berth::bad_value
      `services.web.logging.options.max-size`: `x` is not a size
      → write it like `512m`, `1g` or `1048576`; units are b k m g t p, times 1024 each
    compose.yaml:4:73 berth::bad_value
      `services.web.logging.options.colour`: logs in files have no such option
      → there are max-size and max-file
    ");
}

#[test]
fn options_without_effect_are_told() {
    let text = "\
services:
  web: {image: i, logging: {options: {tag: a, compress: 'true'}}}
  off: {image: i, logging: {driver: none, options: {max-size: 1m}}}
";
    let loaded = load_all(&[("compose.yaml", text)], &options()).unwrap();
    assert_snapshot!(lines(&loaded.warnings), @"
    compose.yaml:2:44 berth::inert
      `services.web.logging.options.tag` has no effect on berth's logs
    compose.yaml:2:57 berth::inert
      `services.web.logging.options.compress` has no effect on berth's logs
    compose.yaml:3:63 berth::inert
      `services.off.logging.options.max-size` has no effect: nothing is kept
    ");
}
