//! Who said yes to what, and to nothing else.

use super::*;

#[test]
fn a_consent_is_to_one_row_of_one_service_and_no_other() {
    let stack = Case1::service("privileged: true\nvolumes: [/var/run/docker.sock:/s, /etc:/e]");
    let allowed = |text: &str| -> Vec<String> {
        let consent = Consent { to: text.parse().unwrap(), source: Source::Flag };
        let grants = stack.grants(Level::Default, Origin::Operator, &[consent]);
        let given = grants.into_iter().filter(|grant| grant.consent.is_some());
        given.map(|grant| format!("{} {}", grant.id, grant.object)).collect()
    };
    assert_eq!(allowed("G-PRIV:web"), ["G-PRIV "]);
    assert_eq!(allowed("privileged:web"), ["G-PRIV "]);
    assert_eq!(allowed("sock:web"), ["G-SOCK /run/docker.sock"]);
    assert_eq!(allowed("all").len(), 3);
    assert_eq!(allowed("G-SOCK:web:/run/docker.sock"), ["G-SOCK /run/docker.sock"]);
    for none in ["G-PRIV:other", "G-SOCK:web:/etc", "G-DEV:web"] {
        assert_eq!(allowed(none), Vec::<String>::new(), "{none}");
    }
    for wrong in ["G-PRIV", "G-NO:web", "G-PRIV:", "G-BIND:web:"] {
        assert!(wrong.parse::<Subjects>().is_err(), "{wrong}");
    }
}

#[test]
fn nobody_can_consent_to_what_is_refused() {
    let stack = Case1::service("privileged: true\nvolumes: ['/run/berth:/b']");
    let consents: Vec<Consent> = ["G-PRIV:web", "G-BIND-ROOT:web"]
        .map(|text| Consent { to: text.parse().unwrap(), source: Source::Flag })
        .into();
    let denied = |level| {
        let grants = stack.grants(level, Origin::Operator, &consents);
        grants.iter().filter(|grant| grant.is_denied()).map(|grant| grant.id).collect::<Vec<_>>()
    };
    assert_eq!(denied(Level::Default), ["G-BIND-ROOT"]);
    assert!(denied(Level::Guarded).contains(&"G-PRIV"));
}

#[test]
fn a_remembered_consent_is_to_that_very_thing() {
    let grant = |body: &str| {
        let grants = Case1::service(body).grants(Level::Default, Origin::Operator, &[]);
        grants.into_iter().find(|grant| grant.id == "G-BIND-ROOT").unwrap().digest
    };
    let read_only = grant("volumes: ['/etc/a:/a:ro']");
    assert_eq!(grant("volumes: ['/etc/a:/other:ro']"), read_only);
    assert_ne!(grant("volumes: ['/etc/a:/a']"), read_only);
    assert_ne!(grant("volumes: ['/etc/b:/a:ro']"), read_only);
}

#[test]
fn a_consent_to_a_device_is_to_its_numbers_and_to_what_is_done_with_it() {
    let digest = |body: &str, node: (&str, Node)| {
        let mut made = Case1::service(body);
        let device = Some(node.1);
        let fact = PathFact { device, ..found(node.0, Kind::Other, &[]) };
        made.facts.paths.insert("/srv/shop/node".into(), fact);
        let grants = made.grants(Level::Default, Origin::Operator, &[]);
        let grant = grants.into_iter().find(|grant| grant.id == "G-DEV").unwrap();
        (grant.object, grant.digest)
    };
    let fuse = ("/dev/fuse", node(false, 10, 229));
    let disk = node(true, 8, 0);
    let read = digest("devices: ['/srv/shop/node:/dev/a:r']", fuse);
    assert_eq!(read.0, "/dev/fuse c 10:229");
    assert_eq!(digest("devices: ['/srv/shop/node:/dev/b:r']", fuse), read);
    assert_ne!(digest("devices: ['/srv/shop/node:/dev/a:rw']", fuse), read);
    assert_ne!(digest("devices: ['/srv/shop/node:/dev/a:r']", ("/dev/fuse", disk)), read);
    assert_ne!(digest("devices: ['/srv/shop/node:/dev/a:r']", ("/dev/sda", fuse.1)), read);
    let rule = |text: &str| digest(&format!("device_cgroup_rules: ['{text}']"), fuse);
    assert_ne!(rule("c 1:3 r"), rule("c 1:3 rw"));
}

#[test]
fn a_consent_to_a_profile_is_to_what_it_says() {
    let object = |text: &[u8]| {
        let made = Case1::service("security_opt: ['seccomp=./seccomp.json']");
        let (mut desired, _) = made.found(|_| true);
        let spec = &mut desired.services.get_mut("web").unwrap().container;
        let crate::desired::Seccomp::Profile { digest, .. } = &mut spec.security.seccomp else {
            panic!("{spec:?}")
        };
        *digest = crate::resolve::digest(text);
        let found = rows::all(&made.scene(&desired), &made.subjects(&desired), |_| true);
        found.into_iter().find(|found| found.case == Case::Defences).unwrap().object
    };
    let known = object(PROFILE);
    assert!(known.starts_with("seccomp=/srv/shop/seccomp.json sha256:"), "{known}");
    assert_ne!(object(b"{}"), known);
}

#[test]
fn the_line_for_the_host_file_is_a_consent_to_that_grant_and_no_more() {
    let given = |body: &str, consents: &[Consent]| {
        let grants = Case1::service(body).grants(Level::Default, Origin::Operator, consents);
        grants.into_iter().find(|grant| grant.decision == Decision::Consent).unwrap()
    };
    for (body, others) in [
        ("volumes: ['/etc:/e:ro']", &["volumes: ['/etc:/e']", "volumes: ['/boot:/e:ro']"][..]),
        ("security_opt: [systempaths=unconfined]", &["security_opt: [label=disable]"]),
        ("security_opt: ['seccomp=./seccomp.json']", &["security_opt: [seccomp=unconfined]"]),
        ("devices: ['/dev/fuse:/dev/fuse:r']", &["devices: [/dev/fuse]"]),
    ] {
        let line = HostPolicy::line("shop", &given(body, &[]));
        let policy = HostPolicy::parse(format!(r#"{{"consents":[{line}]}}"#).as_bytes()).unwrap();
        let consents = policy.consents(Clone::clone, "policy.json");
        assert!(!given(body, &consents).is_denied(), "{line}");
        for other in others {
            assert!(given(other, &consents).is_denied(), "{line} is taken for {other}");
        }
    }
    assert!(HostPolicy::parse(
        br#"{"consents":[{"stack":"a","service":"b","grant":"G-DEV","path":"/a","object":"b"}]}"#
    ).is_err());
}

#[test]
fn a_host_file_names_stack_service_and_path() {
    let policy = |text: &str| HostPolicy::parse(text.as_bytes());
    let consented = |path: &str| {
        let text = format!(
            r#"{{"consents":[{{"stack":"shop","service":"web","grant":"G-SOCK"{path}}}]}}"#
        );
        let consents = policy(&text).unwrap().consents(Clone::clone, "policy.json");
        let stack = Case1::service("volumes: [/var/run/docker.sock:/s]");
        let grants = stack.grants(Level::Default, Origin::Operator, &consents);
        grants.into_iter().find(|grant| grant.id == "G-SOCK").unwrap().consent
    };
    assert_eq!(consented(r#","path":"/run/docker.sock""#), Some("in policy.json".to_owned()));
    assert_eq!(consented(r#","path":"/run/other.sock""#), None);
    assert_eq!(consented(""), None);
    assert!(policy(r#"{"polcy":"strict"}"#).is_err());
    assert!(policy(r#"{"consents":[{"stack":"a","service":"b","grant":"G-X"}]}"#).is_err());
    let full = policy(r#"{"policy":"guarded","security":{"userns":"require"}}"#).unwrap();
    assert_eq!((full.policy, full.security.userns), (Level::Guarded, Userns::Require));
}
