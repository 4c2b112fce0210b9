//! Files over files: what each rule makes of two of them.

use insta::assert_snapshot;

use super::{brief, load_all, options, stack_of};
use crate::config;

/// What the last file makes of `services.a` in the first ones, or what is wrong.
fn over(files: &[&str]) -> String {
    let names = ["compose.yaml", "compose.override.yaml"];
    let indent = |text: &str| format!("services:\n  a:\n    image: i\n    {text}\n");
    let texts: Vec<String> = files.iter().map(|text| indent(text)).collect();
    let files: Vec<(&str, &str)> =
        names.into_iter().zip(texts.iter().map(String::as_str)).collect();
    service(&files)
}

/// The attributes of `services.a` but the default network, the image and the names of networks.
fn service(files: &[(&str, &str)]) -> String {
    match shown(files) {
        Ok(text) => {
            let start = text.find("\n  a:\n").map_or(0, |at| at + 6);
            let lines = text[start..].lines().take_while(|line| line.starts_with("    "));
            let boring = ["    image: i", "    networks:", "      default: null"];
            lines
                .filter(|line| !boring.contains(line))
                .map(|line| format!("{}\n", &line[4..]))
                .collect()
        }
        Err(text) => text,
    }
}

fn shown(files: &[(&str, &str)]) -> Result<String, String> {
    let source = super::texts(files);
    match config::load(&options(), &source) {
        Ok(loaded) => Ok(config::to_yaml(&loaded.stack)),
        Err(problems) => Err(super::lines(&problems.0)),
    }
}

#[test]
fn entries_of_a_set_are_told_apart_by_the_text_before_the_equals_sign() {
    assert_snapshot!(over(&["tmpfs: [\"/a:mode=1\", /b]", "tmpfs: [\"/a:mode=2\", /c]"]), @r#"
    tmpfs:
      - "/a:mode=2"
      - /b
      - /c
    "#);
    assert_snapshot!(over(&["dns_opt: [use-vc, ndots=1]", "dns_opt: [ndots=2, use-vc]"]), @"
    dns_opt:
      - use-vc
      - ndots=2
    ");
}

#[test]
fn equal_entries_of_two_files_are_a_mistake_where_each_must_differ() {
    let files = ["device_cgroup_rules: [\"c 1:3 r\"]", "device_cgroup_rules: [a, \"c 1:3 r\"]"];
    assert_snapshot!(over(&files), @"
    compose.override.yaml:4:30 berth::duplicate
      `services.a.device_cgroup_rules` has `c 1:3 r` twice
      → keep one of them
    ");
}

#[test]
fn an_empty_command_takes_the_earlier_one_away_and_other_empty_values_do_not() {
    assert_snapshot!(over(&["command: a b\n    user: me", "command:\n    user:"]), @"user: me");
}

#[test]
fn a_port_of_every_address_is_the_port_of_no_address() {
    assert_snapshot!(over(&["ports: [\"80:80\"]", "ports: [\"0.0.0.0:80:80\"]"]), @r#"
    ports:
      - host_ip: "0.0.0.0"
        mode: ingress
        protocol: tcp
        published: "80"
        target: 80
    "#);
}

#[test]
fn pools_of_one_subnet_are_merged() {
    let files = [
        (
            "compose.yaml",
            "services: {a: {image: i, networks: [n]}}\nnetworks: {n: {ipam: {config: [{subnet: 10.0.0.0/24, gateway: 10.0.0.1}, {subnet: 10.0.1.0/24}]}}}\n",
        ),
        (
            "compose.override.yaml",
            "networks: {n: {ipam: {config: [{subnet: 10.0.0.0/24, ip_range: 10.0.0.128/25}, {subnet: 10.0.2.0/24}]}}}\n",
        ),
    ];
    let text = shown(&files).unwrap();
    assert_snapshot!(&text[text.find("    ipam").unwrap()..text.find("services:").unwrap()], @r#"
        ipam:
          config:
            - gateway: "10.0.0.1"
              ip_range: "10.0.0.128/25"
              subnet: "10.0.0.0/24"
            - subnet: "10.0.1.0/24"
            - subnet: "10.0.2.0/24"
        name: p_n
    "#);
}

#[test]
fn a_service_that_extends_resets_its_base_and_the_earlier_file() {
    let files = [
        ("compose.yaml", "services:\n  a: {image: i, dns: 1.1.1.1, labels: {x: old}}\n"),
        (
            "compose.override.yaml",
            "services:\n  base: {image: i, dns: 2.2.2.2, labels: {y: base}}\n  a: {extends: base, dns: !reset null, labels: !override {z: own}}\n",
        ),
    ];
    assert_snapshot!(service(&files), @"
    labels:
      z: own
    ");
}

#[test]
fn what_is_reset_in_the_first_file_can_be_set_by_the_next() {
    assert_snapshot!(over(&["labels: {x: !reset 1, y: 1}", "labels: {x: 2}"]), @r#"
    labels:
      x: "2"
      "y": "1"
    "#);
}

#[test]
fn a_file_resets_and_replaces_what_its_parts_say() {
    let files = [
        (
            "compose.yaml",
            "include: [part.yaml]\nservices:\n  a: {image: i, dns: !reset [], labels: !override {x: own}}\n",
        ),
        ("part.yaml", "services:\n  a: {image: j, dns: 1.1.1.1, labels: {y: part}}\n"),
    ];
    assert_snapshot!(service(&files), @"
    labels:
      x: own
    ");
}

#[test]
fn parts_of_a_later_file_stand_over_the_earlier_file() {
    let files = [
        ("compose.yaml", "services:\n  a: {image: i, user: first, hostname: first}\n"),
        ("compose.override.yaml", "include: [part.yaml]\nservices:\n  a: {hostname: second}\n"),
        ("part.yaml", "services:\n  a: {user: part, hostname: part}\n"),
    ];
    assert_snapshot!(service(&files), @"
    hostname: second
    user: part
    ");
}

#[test]
fn a_service_over_an_empty_one_still_says_that_it_extends() {
    let files = [
        (
            "compose.yaml",
            "services:\n  a: {image: i, extends: {file: sub/base.yaml, service: none}}\n",
        ),
        ("sub/base.yaml", "services:\n  none:\n"),
    ];
    assert_snapshot!(service(&files), @"
    extends:
      file: /p/sub/base.yaml
      service: none
    ");
}

#[test]
fn a_label_file_sees_only_the_labels_before_it() {
    let files = [
        ("compose.yaml", "services:\n  a: {image: i, label_file: [one, two]}\n"),
        ("one", "x=1\nhome=$HOME\n"),
        ("two", "y=${x}2\n"),
    ];
    assert_snapshot!(service(&files), @r#"
    labels:
      home: ""
      x: "1"
      "y": "12"
    "#);
}

#[test]
fn the_folder_of_a_volume_counts_from_the_project_or_the_part() {
    let options = "{driver: local, driver_opts: {type: none, o: bind, device: ./d}}";
    let main = format!(
        "include: [sub/part.yaml]\nservices: {{a: {{image: i, volumes: [\"one:/1\", \"two:/2\"]}}}}\nvolumes: {{one: {options}}}\n"
    );
    let part = format!("volumes: {{two: {options}}}\n");
    let text = shown(&[("compose.yaml", &main), ("sub/part.yaml", &part)]).unwrap();
    let devices = text.lines().filter(|line| line.contains("device:"));
    assert_snapshot!(devices.collect::<Vec<_>>().join("\n"), @"
          device: /p/d
          device: /p/sub/d
    ");
}

#[test]
fn a_volume_without_a_driver_binds_absolute_folders_only() {
    let text = "services: {a: {image: i, volumes: [\"one:/1\"]}}\nvolumes: {one: {driver_opts: {type: none, o: bind, device: ./d}}}\n";
    assert_snapshot!(brief(&[("compose.yaml", text)]), @"
    compose.yaml:2:60 berth::bad_value
      the volume binds `./d`, which is no absolute path
      → write `driver: local` beside `driver_opts`, then it counts from the project's folder
    ");
    assert!(load_all(&[("compose.yaml", &text.replace("./d", "/d"))], &options()).is_ok());
}

#[test]
fn programs_get_the_names_that_the_compose_tools_print() {
    let text = "services:\n  a:\n    image: i\n    blkio_config: {device_read_bps: [{path: /dev/sda, rate: 1mb}]}\n";
    let stack = config::load(&options(), &super::texts(&[("compose.yaml", text)])).unwrap().stack;
    assert!(config::to_json(&stack).contains("\"Rate\": \"1048576\""));
    assert!(config::to_yaml(&stack).contains("rate: \"1048576\""));
}

#[test]
fn only_the_service_that_is_extended_must_be_right() {
    let base = "foo: 1\nservices:\n  good: {image: i, user: me}\n  bad: {imag: j}\n";
    let main =
        |name: &str| format!("services:\n  a: {{extends: {{file: base.yaml, service: {name}}}}}\n");
    let good = main("good");
    let files = [("compose.yaml", good.as_str()), ("base.yaml", base)];
    assert_snapshot!(service(&files), @"user: me");
    let warnings = load_all(&files, &options()).unwrap().warnings;
    assert_snapshot!(super::lines(&warnings), @r"
    base.yaml:1:1 berth::unknown_key
      a Compose file has no attribute `foo`
      → a Compose file has configs, include, models, name, networks, secrets, services, version, volumes, x-berth; keys of your own start with `x-`
    base.yaml:4:9 berth::unknown_key
      `services.bad`: a service has no attribute `imag`
      → did you mean `image`?
    ");
    let bad = main("bad");
    assert_snapshot!(brief(&[("compose.yaml", bad.as_str()), ("base.yaml", base)]), @r"
    base.yaml:4:9 berth::unknown_key
      `services.bad`: a service has no attribute `imag`
      → did you mean `image`?
    ");
}

#[test]
fn a_base_in_several_documents_is_merged_first() {
    let files = [
        ("compose.yaml", "services:\n  a: {extends: {file: base.yaml, service: b}}\n"),
        ("base.yaml", "services:\n  b: {image: i, user: one}\n---\nservices:\n  b: {user: two}\n"),
    ];
    assert_snapshot!(service(&files), @"user: two");
}

#[test]
fn a_service_that_is_named_activates_its_profiles() {
    let text = "services:\n  a: {image: i, profiles: [p, q], depends_on: [b]}\n  b: {image: i, profiles: [q]}\n  c: {image: i, profiles: [r]}\n  d: {image: i, profiles: [q], depends_on: [c]}\n";
    let options = crate::LoadOptions { services: vec!["a".into()], ..options() };
    let stack = load_all(&[("compose.yaml", text)], &options).unwrap().stack;
    assert_eq!(stack.services.keys().collect::<Vec<_>>(), ["a", "b"]);
}

#[test]
fn an_optional_dependency_that_is_off_stays_in_the_text() {
    let text = "services:\n  a:\n    image: i\n    depends_on: {b: {condition: service_started, required: false}}\n  b: {image: i, profiles: [p]}\n";
    let files = [("compose.yaml", text)];
    assert_snapshot!(service(&files), @"
    depends_on:
      b:
        condition: service_started
        required: false
    ");
    assert!(load_all(&files, &options()).unwrap().stack.services["a"].depends_on.is_empty());
}

#[test]
fn what_a_part_has_for_itself_stays_behind() {
    let files = [
        ("compose.yaml", "include: [part.yaml]\nx-mine: 1\nservices: {a: {image: i}}\n"),
        ("part.yaml", "name: other\nx-its: 2\nservices: {b: {image: i}}\n"),
    ];
    let text = shown(&files).unwrap();
    assert!(text.contains("x-mine: 1") && !text.contains("x-its"), "{text}");
    assert!(text.contains("name: p\n"), "{text}");
}

#[test]
fn services_of_one_model_lie_beside_those_of_another() {
    let model = |level: &str, rest: &str| {
        stack_of(&format!(
            "services:\n  db: {{ image: pg, environment: {{ L: '{level}' }}, volumes: ['data:/d'] }}\n  \
             web: {{ image: app, environment: {{ L: '{level}', P: 'a$$b' }}, deploy: {{ replicas: 2 }} }}\n\
             {rest}volumes: {{ data: {{}} }}\n"
        ))
        .document
    };
    let (before, after) = (model("1", ""), model("2", "x-a: 1\n"));
    let scale = [("web".to_owned(), 3)].into();
    let both = after.over(Some(&before), &["web"].into(), &scale).to_value();
    assert_eq!(both["services"]["db"]["environment"]["L"], "1");
    assert_eq!(both["services"]["web"]["environment"]["L"], "2");
    assert_eq!(both["services"]["web"]["environment"]["P"], "a$b");
    assert_eq!(both["services"]["web"]["deploy"]["replicas"], 3);
    assert_eq!(both["services"]["web"]["scale"], 3);
    assert_eq!(both["x-a"], 1);
    assert!(both["volumes"]["data"].is_object());

    // Without one before, the other services were never applied; the text loads as it is.
    let alone = after.over(None, &["web"].into(), &scale).to_yaml();
    let stack = stack_of(&alone);
    assert_eq!(stack.services.keys().collect::<Vec<_>>(), ["web"]);
    assert_eq!(stack.services["web"].replicas, 3);
    assert_eq!(stack.services["web"].environment["P"].as_deref(), Some("a$b"));
}
