//! What stands below `x-berth`.

use std::time::Duration;

use insta::assert_snapshot;

use super::{refused, refused_file, service, shown};
use crate::config;
use crate::stack::{Berth, OnChange, OnUnhealthy, Owner, ReadySign};

fn sign(ready: &str) -> ReadySign {
    let text = format!("x-berth: {{ready: {{{ready}}}}}");
    service(&text).berth.ready.expect("there is a sign").sign
}

fn page(port: u16, path: &str) -> ReadySign {
    ReadySign::Http { port, path: path.to_owned(), status: None }
}

#[test]
fn a_service_says_nothing_unless_it_does() {
    assert_eq!(service("").berth, Berth::default());
}

#[test]
fn everything_a_service_can_say_is_read() {
    let berth = service(
        "x-berth: {ready: {tcp: 5432, interval: 250ms, retries: 3}, on_unhealthy: restart, owner: host, privileged: contained}",
    )
    .berth;
    let ready = berth.ready.as_ref().expect("there is a sign");
    assert_eq!(ready.interval, Some(Duration::from_millis(250)));
    assert_eq!((ready.retries, ready.timeout), (Some(3), None));
    assert_eq!((berth.on_unhealthy, berth.owner), (OnUnhealthy::Restart, Owner::Host));
    assert!(berth.contained);
}

#[test]
fn a_page_is_written_in_short_or_in_full() {
    assert_eq!(sign("http: 8080"), page(8080, "/"));
    assert_eq!(sign("http: 8080/health?full=1"), page(8080, "/health?full=1"));
    assert_eq!(sign("http: http://localhost:8080/health"), page(8080, "/health"));
    assert_eq!(sign("http: 'http://[::1]:81'"), page(81, "/"));
    assert_eq!(sign("http: http://127.0.0.1"), page(80, "/"));
    assert_eq!(sign("http: {path: /x}"), page(80, "/x"));
    let status = ReadySign::Http { port: 8, path: "/".to_owned(), status: Some(204) };
    assert_eq!(sign("http: {port: 8, status: 204}"), status);
    assert_eq!(sign("tcp: '5432'"), ReadySign::Tcp(5432));
    assert_eq!(sign("log: ^ready"), ReadySign::Log("^ready".to_owned()));
}

#[test]
fn what_happens_on_another_content_is_read_and_written_as_it_is() {
    assert_eq!(service("").berth.on_change, OnChange::Replace);
    for (text, wanted) in [
        ("none", OnChange::None),
        ("restart", OnChange::Restart),
        ("replace", OnChange::Replace),
        ("signal:HUP", OnChange::Signal("SIGHUP".into())),
        ("signal:sigusr1", OnChange::Signal("SIGUSR1".into())),
        ("signal:10", OnChange::Signal("10".into())),
    ] {
        let on_change = service(&format!("x-berth: {{on_change: {text}}}")).berth.on_change;
        assert_eq!(on_change, wanted);
        let written = serde_json::to_string(&on_change).unwrap();
        assert_eq!(serde_json::from_str::<OnChange>(&written).unwrap(), wanted);
    }
    let wrong = ["recreate", "restrat", "SIGHUP", "signal:HUPP", "signal", "true"]
        .map(|text| refused(&format!("x-berth: {{on_change: {text}}}")));
    assert_snapshot!(wrong.join(""), @"
    compose.yaml:4:26 berth::bad_value
      `services.web.x-berth.on_change`: `recreate` is not known here
      → did you mean `replace`?
    compose.yaml:4:26 berth::bad_value
      `services.web.x-berth.on_change`: `restrat` is not known here
      → did you mean `restart`?
    compose.yaml:4:26 berth::bad_value
      `services.web.x-berth.on_change`: `SIGHUP` is not known here
      → write none, signal:HUP, restart or replace
    compose.yaml:4:26 berth::bad_value
      `services.web.x-berth.on_change`: `signal:HUPP` is not a signal
      → did you mean `SIGHUP`?
    compose.yaml:4:26 berth::bad_value
      `services.web.x-berth.on_change`: `signal` is not known here
      → write none, signal:HUP, restart or replace
    compose.yaml:4:26 berth::bad_value
      `services.web.x-berth.on_change`: `true` is not known here
      → write none, signal:HUP, restart or replace
    ");
}

#[test]
fn a_file_says_how_many_generations_are_kept() {
    let file = |top: &str| format!("{top}services: {{web: {{image: i}}}}\n");
    assert_eq!(shown(&file("")).history, None);
    assert_eq!(shown(&file("x-berth: {}\n")).history, None);
    assert_eq!(shown(&file("x-berth: {history: 1}\n")).history, Some(1));
    assert_eq!(shown(&file("x-berth: {history: '500'}\n")).history, Some(500));
    let wrong = ["0", "501", "-1", "ten", "1.5"]
        .map(|n| refused_file(&file(&format!("x-berth: {{history: {n}}}\n"))));
    assert_snapshot!(wrong.join(""), @"
    compose.yaml:1:20 berth::bad_value
      `x-berth.history`: `0` is not between 1 and 500
    compose.yaml:1:20 berth::bad_value
      `x-berth.history`: `501` is not between 1 and 500
    compose.yaml:1:20 berth::bad_value
      `x-berth.history`: `-1` is not between 1 and 500
    compose.yaml:1:20 berth::wrong_type
      `x-berth.history` must be a whole number, and this is text
    compose.yaml:1:20 berth::wrong_type
      `x-berth.history` must be a whole number, and this is a number with a fraction
    ");
}

#[test]
fn what_cannot_work_is_told_with_its_place() {
    assert_snapshot!(refused("x-berth: {redy: {tcp: 1}, owner: root, privileged: true}"), @r"
    compose.yaml:4:15 berth::unknown_key
      `services.web.x-berth`: what berth adds to a service has no attribute `redy`
      → did you mean `ready`?
    compose.yaml:4:38 berth::bad_value
      `services.web.x-berth.owner`: `root` is not known here
      → it is one of container, host
    compose.yaml:4:56 berth::wrong_type
      `services.web.x-berth.privileged` must be text, and this is a boolean
      → write it in quotes
    ");
    assert_snapshot!(refused("x-berth: {ready: {}}"), @r"
    compose.yaml:4:22 berth::bad_value
      `services.web.x-berth.ready` has no sign to wait for
      → write one of tcp, http or log
    ");
    assert_snapshot!(refused("x-berth: {ready: {tcp: 1, log: x}}"), @r"
    compose.yaml:4:36 berth::conflict
      `services.web.x-berth.ready` can have one sign, and `log` is another
      → write one of tcp, http or log
    ");
    assert_snapshot!(refused("x-berth: {ready: {tcp: 70000, retries: 0}}"), @r"
    compose.yaml:4:28 berth::bad_value
      `services.web.x-berth.ready.tcp`: `70000` is no port: ports are 1 to 65535
    ");
    assert_snapshot!(refused("x-berth: {ready: {log: '(a'}}"), @r"
    compose.yaml:4:28 berth::bad_value
      `services.web.x-berth.ready.log`: `(a` is no regular expression: unclosed group
      → see docs.rs/regex for the syntax
    ");
    assert_snapshot!(refused("x-berth: {ready: {log: '(a{1000}){1000}'}}"), @r"
    compose.yaml:4:28 berth::bad_value
      `services.web.x-berth.ready.log`: `(a{1000}){1000}` is too large a regular expression
      → repeat less, or write `.*`
    ");
    assert_snapshot!(refused("x-berth: {ready: {http: example.com/}}"), @r"
    compose.yaml:4:29 berth::bad_value
      `services.web.x-berth.ready.http`: `example.com/` is no page of the container itself
      → write `PORT/PATH`, like `8080/health`
    ");
    assert_snapshot!(refused("x-berth: {ready: {http: {path: health}}}"), @r"
    compose.yaml:4:36 berth::bad_value
      `services.web.x-berth.ready.http.path`: `health` is no path of a page
      → it starts with `/` and has no spaces, like `/health`
    ");
    assert_snapshot!(refused_file("x-berth: {a: 1}\nservices: {web: {image: i}}"), @r"
    compose.yaml:1:11 berth::unknown_key
      `x-berth`: what berth adds to a stack has no attribute `a`
      → what berth adds to a stack has history
    ");
}

#[test]
fn later_files_go_over_earlier_ones_key_by_key() {
    let text = "\
services:
  base: {image: i, x-berth: {owner: host, ready: {tcp: 1, interval: 2s}}}
  web: {extends: {service: base}, x-berth: {ready: {tcp: 2}}}
";
    let berth = &shown(text).services["web"].berth;
    let ready = berth.ready.as_ref().expect("there is a sign");
    assert_eq!((berth.owner, &ready.sign), (Owner::Host, &ReadySign::Tcp(2)));
    assert_eq!(ready.interval, Some(Duration::from_secs(2)));
    let other = text.replace("{tcp: 2}", "{log: up}");
    let ready = shown(&other).services["web"].berth.ready.clone().expect("there is a sign");
    assert_eq!((ready.sign, ready.interval), (ReadySign::Log("up".to_owned()), None));
    let again = shown(&config::to_yaml(&shown(text)));
    assert_eq!(&again.services["web"].berth, berth);
}
