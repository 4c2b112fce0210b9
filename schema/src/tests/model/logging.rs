//! Where output goes.

use insta::assert_snapshot;

use super::{refused, service};
use crate::stack::{LogDriver, Logging};
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
fn other_drivers_keep_their_options() {
    let attributes = "logging: {driver: syslog, options: {syslog-address: 'udp://a:514', tag: x}}";
    let logging = service(attributes).logging;
    assert_eq!(logging.driver, LogDriver::Syslog);
    assert_eq!(logging.options["syslog-address"], "udp://a:514");
}

#[test]
fn drivers_and_options_that_nobody_has_are_refused() {
    assert_snapshot!(refused("logging: {driver: json}"), @"
    compose.yaml:4:23 berth::bad_value
      `services.web.logging.driver`: `json` is not a log driver
      → use json-file, local or none
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
