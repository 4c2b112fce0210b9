//! One thing written in many ways is judged as one.

use super::*;

/// The same thing, spelt in different ways: the decision must not see it.
#[test]
fn the_spelling_of_an_attribute_does_not_change_the_decision() {
    let base = |body: &str| Case1::service(body).cases();
    let same = [
        vec!["privileged: true", "privileged: 'true'"],
        vec!["cap_add: [SYS_ADMIN]", "cap_add: [CAP_SYS_ADMIN]", "cap_add: [sys_admin]"],
        vec![
            "security_opt: ['seccomp:unconfined']",
            "security_opt: ['seccomp=unconfined']",
            "security_opt: [&a 'seccomp=unconfined']",
        ],
        vec![
            "volumes: ['/etc:/e:ro']",
            "volumes: [{ type: bind, source: /etc, target: /e, read_only: true }]",
            "volumes: [{ type: bind, source: /srv/../etc/, target: /e, read_only: 'true' }]",
            "volumes: ['../../etc:/e:ro']",
        ],
        vec![
            "volumes: ['/var/run/docker.sock:/run/docker.sock']",
            "volumes: [{ type: bind, source: /var/run/docker.sock, target: /run/docker.sock }]",
            "volumes: ['../../var/run/docker.sock:/run/docker.sock']",
        ],
        vec!["ports: ['8080:80']", "ports: [{ target: 80, published: '8080' }]"],
        vec!["pids_limit: -1", "deploy: { resources: { limits: { pids: -1 } } }"],
        vec![
            "devices: ['/dev/fuse']",
            "devices: [{ source: /dev/fuse, target: /dev/fuse, permissions: rwm }]",
        ],
        vec!["sysctls: { net.core.somaxconn: 5 }", "sysctls: [net.core.somaxconn=5]"],
        vec!["gpus: all", "gpus: [{ count: all }]"],
    ];
    for spellings in same {
        let first = base(spellings[0]);
        for spelling in &spellings[1..] {
            assert_eq!(base(spelling), first, "{spelling}");
        }
    }
}

#[test]
fn what_comes_by_anchor_merge_extends_or_another_file_is_judged_the_same() {
    let image = format!("image: a@sha256:{}", "0".repeat(64));
    let wanted = Case1::service("privileged: true\ncap_add: [NET_ADMIN]").cases();
    let texts = [
        format!(
            "x-a: &a {{ privileged: true, cap_add: [NET_ADMIN] }}\nservices: {{ web: {{ {image}, <<: *a }} }}"
        ),
        format!("services:\n  web: {{ {image}, extends: {{ file: base.yaml, service: base }} }}"),
        format!("include: [part.yaml]\nservices: {{}}\nx-unused: {{ {image} }}"),
    ];
    let part =
        format!("services: {{ web: {{ {image}, privileged: true, cap_add: [NET_ADMIN] }} }}");
    for text in &texts {
        let mut made = Case1::service("init: true");
        made.stack = load(&[
            ("compose.yaml", text),
            ("base.yaml", "services: { base: { privileged: true, cap_add: [NET_ADMIN] } }"),
            ("part.yaml", &part),
        ]);
        assert_eq!(made.cases(), wanted, "{text}");
    }
}

#[test]
fn what_is_reset_or_switched_off_is_no_grant() {
    let mut made = Case1::service("init: true");
    let plain = made.cases();
    let image = format!("image: a@sha256:{}", "0".repeat(64));
    let web = "extends: { file: base.yaml, service: base }, privileged: !reset null";
    made.stack = load(&[
        ("compose.yaml", &format!("services: {{ web: {{ {image}, {web} }} }}")),
        ("base.yaml", "services: { base: { image: b, privileged: true } }"),
    ]);
    assert_eq!(made.cases(), plain);
    let off = "{ image: b, profiles: [off], privileged: true }";
    let text = format!("services: {{ web: {{ {image} }}, more: {off} }}");
    made.stack = load(&[("compose.yaml", &text)]);
    assert_eq!(made.cases(), plain);
}
