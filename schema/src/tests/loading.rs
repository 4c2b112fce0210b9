//! Good files: what a stack holds in the end.

use insta::assert_snapshot;

use super::{lines, load_all, options, stack_of};
use crate::stack::{Condition, MountSource, PullPolicy, RestartPolicy};
use crate::{LoadOptions, Stack, config};

fn merged(files: &[(&str, &str)]) -> String {
    match load_all(files, &options()) {
        Ok(loaded) => config::to_yaml(&loaded.stack),
        Err(problems) => problems.to_string(),
    }
}

#[test]
fn the_override_file_is_merged_by_the_rules_of_each_attribute() {
    let files = [
        (
            "compose.yaml",
            "services:\n  web:\n    image: a\n    command: [x, y]\n    environment: [A=1, B=2]\n    ports: [\"80:80\"]\n    volumes: [\"./a:/data\"]\n    dns: 1.1.1.1\n    labels: {l: one}\n",
        ),
        (
            "compose.override.yml",
            "services:\n  web:\n    command: z\n    environment: {B: 3, C: 4}\n    ports: [\"80:80\", \"81:81\"]\n    volumes: [\"./b:/data/\"]\n    dns: [1.1.1.1, 8.8.8.8]\n    labels: !override [n=2]\n",
        ),
    ];
    assert_snapshot!(merged(&files), @r#"
    name: p
    networks:
      default:
        name: p_default
    services:
      web:
        command:
          - z
        dns:
          - "1.1.1.1"
          - "8.8.8.8"
        environment:
          A: "1"
          B: "3"
          C: "4"
        image: a
        labels:
          "n": "2"
        networks:
          default: null
        ports:
          - mode: ingress
            protocol: tcp
            published: "80"
            target: 80
          - mode: ingress
            protocol: tcp
            published: "81"
            target: 81
        volumes:
          - bind:
              create_host_path: true
            source: /p/b
            target: /data
            type: bind
    "#);
}

#[test]
fn reset_takes_away_and_an_empty_value_keeps() {
    let files = [
        (
            "compose.yaml",
            "services:\n  web:\n    image: a\n    ports: [\"80:80\"]\n    dns: [1.1.1.1]\n    environment: {A: 1, B: 2}\n  old: {image: b}\n",
        ),
        (
            "compose.override.yml",
            "services:\n  web:\n    ports: !reset []\n    dns:\n    environment: {A: !reset }\n  old: !reset {}\n",
        ),
    ];
    assert_snapshot!(merged(&files), @r#"
    name: p
    networks:
      default:
        name: p_default
    services:
      web:
        dns:
          - "1.1.1.1"
        environment:
          B: "2"
        image: a
        networks:
          default: null
    "#);
}

#[test]
fn parts_are_included_with_their_own_folder_and_environment() {
    let files = [
        (
            "compose.yaml",
            "include: [db/compose.yaml]\nservices:\n  web: {image: \"a:${TAG}\", depends_on: [db]}\n",
        ),
        (
            "db/compose.yaml",
            "name: other\nservices:\n  db: {image: \"pg:${PG}\", volumes: [\"./data:/data\"], environment: [PG]}\n",
        ),
        ("db/.env", "PG=17\nTAG=never\n"),
    ];
    assert_snapshot!(merged(&files), @r#"
    name: p
    networks:
      default:
        name: p_default
    services:
      db:
        environment:
          PG: "17"
        image: "pg:17"
        networks:
          default: null
        volumes:
          - bind:
              create_host_path: true
            source: /p/db/data
            target: /data
            type: bind
      web:
        depends_on:
          db:
            condition: service_started
            required: true
        image: "a:1.27"
        networks:
          default: null
    "#);
}

#[test]
fn a_service_starts_from_another_one() {
    let files = [
        (
            "compose.yaml",
            "services:\n  web:\n    extends: {file: lib/base.yaml, service: base}\n    environment: {B: 2}\n  copy: {extends: web, image: c}\n",
        ),
        (
            "lib/base.yaml",
            "services:\n  root: {image: a, init: true}\n  base: {extends: root, environment: {A: 1, B: 1}, volumes: [\"./x:/x\"], env_file: b.env}\n",
        ),
        ("lib/b.env", "C=3\n"),
    ];
    assert_snapshot!(merged(&files), @r#"
    name: p
    networks:
      default:
        name: p_default
    services:
      copy:
        environment:
          A: "1"
          B: "2"
          C: "3"
        image: c
        init: true
        networks:
          default: null
        volumes:
          - bind:
              create_host_path: true
            source: /p/lib/x
            target: /x
            type: bind
      web:
        environment:
          A: "1"
          B: "2"
          C: "3"
        image: a
        init: true
        networks:
          default: null
        volumes:
          - bind:
              create_host_path: true
            source: /p/lib/x
            target: /x
            type: bind
    "#);
}

#[test]
fn the_environment_has_its_order() {
    let files = [
        (
            "compose.yaml",
            "services:\n  web:\n    image: \"i:${TAG}-${FROM_DOTENV}\"\n    env_file: [a.env, {path: b.env, format: raw}, {path: none.env, required: false}]\n    environment: {OWN: \"1\", FROM_DOTENV: , UNSET: }\n",
        ),
        (".env", "TAG=dotenv\nFROM_DOTENV=d\n"),
        ("a.env", "A=1\nB=${A}-$TAG\nOWN=file\n"),
        ("b.env", "A='raw'\n"),
    ];
    assert_snapshot!(merged(&files), @r#"
    name: p
    networks:
      default:
        name: p_default
    services:
      web:
        environment:
          A: "'raw'"
          B: "1-1.27"
          FROM_DOTENV: d
          OWN: "1"
          UNSET: null
        image: "i:1.27-d"
        networks:
          default: null
    "#);
}

#[test]
fn profiles_switch_services_on_and_naming_one_does_too() {
    let text = "services:\n  web: {image: a}\n  debug: {image: b, profiles: [debug]}\n  tool: {image: c, profiles: [tools], depends_on: [web]}\n";
    let names = |change: &dyn Fn(&mut LoadOptions)| {
        let mut options = options();
        change(&mut options);
        let stack = load_all(&[("compose.yaml", text)], &options).unwrap().stack;
        let active: Vec<_> = stack.services.keys().map(String::as_str).collect();
        format!("{} | {}", active.join(" "), stack.inactive.join(" "))
    };
    assert_eq!(names(&|_| {}), "web | debug tool");
    assert_eq!(names(&|o| o.profiles = vec!["debug".into()]), "debug web | tool");
    assert_eq!(names(&|o| o.profiles = vec!["*".into()]), "debug tool web | ");
    assert_eq!(names(&|o| o.services = vec!["tool".into()]), "tool web | debug");
    // Left out is not gone: its containers are no orphans.
    assert_eq!(names(&|o| o.services = vec!["web".into()]), "web | debug tool");
    let both = |o: &mut LoadOptions| {
        o.services = vec!["web".into()];
        o.profiles = vec!["debug".into()];
    };
    assert_eq!(names(&both), "web | debug tool");
    let variable = |o: &mut LoadOptions| {
        o.environment.insert("COMPOSE_PROFILES".into(), "debug, tools".into());
    };
    assert_eq!(names(&variable), "debug tool web | ");
}

#[test]
fn the_project_is_named_by_flag_variable_file_and_folder() {
    let name = |text: &str, change: &dyn Fn(&mut LoadOptions)| {
        let mut options = options();
        change(&mut options);
        let stack = load_all(&[("compose.yaml", text)], &options).unwrap().stack;
        (stack.name, stack.services["w"].image.clone().unwrap())
    };
    let text = "name: file-${TAG}\nservices: {w: {image: \"i:$COMPOSE_PROJECT_NAME\"}}\n";
    assert_eq!(name(text, &|_| {}), ("file-127".into(), "i:file-127".into()));
    assert_eq!(name(text, &|o| o.project_name = Some("flag".into())).0, "flag");
    let variable = |o: &mut LoadOptions| {
        o.environment.insert("COMPOSE_PROJECT_NAME".into(), "variable".into());
    };
    assert_eq!(name(text, &variable).0, "variable");
    assert_eq!(name("services: {w: {image: i}}\n", &|_| {}).0, "p");
}

#[test]
fn long_and_short_forms_mean_the_same() {
    let short = stack_of(
        "services:\n  a:\n    image: i\n    depends_on: [b]\n    ports: [\"127.0.0.1:80:8080/udp\"]\n    volumes: [\"vol:/v:ro\", \"/anon\"]\n    secrets: [s]\n    ulimits: {nofile: 5}\n    networks: [n]\n  b: {image: i}\nvolumes: {vol: }\nnetworks: {n: }\nsecrets: {s: {environment: TAG}}\n",
    );
    let long = stack_of(
        "services:\n  a:\n    image: i\n    depends_on: {b: {condition: service_started}}\n    ports: [{target: 8080, published: 80, host_ip: 127.0.0.1, protocol: udp}]\n    volumes: [{type: volume, source: vol, target: /v, read_only: true}, {type: volume, target: /anon}]\n    secrets: [{source: s, target: /run/secrets/s}]\n    ulimits: {nofile: {soft: 5, hard: 5}}\n    networks: {n: }\n  b: {image: i}\nvolumes: {vol: {}}\nnetworks: {n: {}}\nsecrets: {s: {environment: TAG}}\n",
    );
    assert_eq!(Stack { places: long.places.clone(), ..short.clone() }, long);
    assert!(matches!(&short.services["a"].volumes[0].source, MountSource::Anonymous { .. }));
    assert_eq!(short.services["a"].depends_on["b"].condition, Condition::ServiceStarted);
}

#[test]
fn deploy_speaks_for_limits_replicas_and_restarts() {
    let stack = stack_of(
        "services:\n  a:\n    image: i\n    deploy:\n      replicas: 3\n      resources: {limits: {cpus: '1.5', memory: 1g, pids: 100}, reservations: {memory: 512m}}\n      restart_policy: {condition: on-failure, max_attempts: 4}\n",
    );
    let service = &stack.services["a"];
    assert_eq!(service.replicas, 3);
    assert_eq!(service.limits.cpu_micros, Some(1_500_000));
    assert_eq!(service.limits.memory_reservation, Some(512 << 20));
    assert_eq!(service.limits.pids, Some(100));
    assert_eq!(service.restart, RestartPolicy::OnFailure(4));
}

#[test]
fn what_has_no_effect_is_a_warning_with_its_place() {
    let text = "version: '3'\nservices:\n  a:\n    image: \"i${NOT_SET}\"\n    init: yes\n    isolation: default\n    deploy: {placement: {constraints: [a]}, endpoint_mode: vip}\n";
    let loaded = load_all(&[("compose.yaml", text)], &options());
    let text = loaded.map(|loaded| lines(&loaded.warnings)).unwrap_or_else(|e| e.to_string());
    assert_snapshot!(text, @r#"
    compose.yaml:1:10 berth::obsolete
      `version` has no meaning any more
      → take it away
    compose.yaml:4:14 berth::unset_variable
      the variable `NOT_SET` is not set, empty text stands in its place
      → set it in the environment or in `.env`, or give a default: `${NOT_SET:-…}`
    compose.yaml:5:11 berth::obsolete
      `services.a.init`: `yes` is read as true
      → write `true`
    compose.yaml:6:5 berth::inert
      `services.a.isolation` has no effect: it is for Windows containers
      → take it away, or keep it for Docker on Windows
    compose.yaml:7:14 berth::inert
      `services.a.deploy.placement` has no effect: it steers a cluster, and berth runs on one host
      → take it away, or keep it for Docker Swarm
    compose.yaml:7:45 berth::inert
      `services.a.deploy.endpoint_mode` has no effect: it steers a cluster, and berth runs on one host
      → take it away, or keep it for Docker Swarm
    "#);
}

#[test]
fn the_reserved_image_is_a_reference_like_others() {
    let stack = stack_of("services: {a: {image: localhost/host, command: sleep 1}}\n");
    assert_eq!(stack.services["a"].image.as_deref(), Some("localhost/host"));
}

#[test]
fn files_are_found_above_and_named_by_variables() {
    let files = [
        ("compose.yaml", "services: {a: {image: i}}\n"),
        ("sub/one.yaml", "services: {b: {image: i}}\n"),
        ("sub/two.yaml", "services: {b: {image: k}}\n"),
    ];
    let mut options = options();
    options.working_dir = "/p/sub/deep".into();
    let stack = load_all(&files, &options).unwrap().stack;
    assert_eq!((stack.name.as_str(), stack.working_dir.to_str()), ("p", Some("/p")));
    options.working_dir = "/p".into();
    options.environment.insert("COMPOSE_FILE".into(), "sub/one.yaml:sub/two.yaml".into());
    let stack = load_all(&files, &options).unwrap().stack;
    assert_eq!(stack.services["b"].image.as_deref(), Some("k"));
    assert_eq!(stack.name, "sub");
    assert_eq!(stack.places.find("services.b.image").unwrap().to_string(), "sub/two.yaml:1:23");
}

#[test]
fn what_says_nothing_and_names_with_dots_have_their_places() {
    let text = "services:\n  a:\n    image: i\n    privileged: false\n    labels: {x.y: 1, x: 2}\n    \
                volumes:\n      - {type: bind, source: /z, target: /z, read_only: false}\n      - /a:/a\n";
    let stack = load_all(&[("compose.yaml", text)], &options()).unwrap().stack;
    let place = |path: &str| stack.places.get(path).map(|place| place.to_string());
    assert_eq!(place("services.a.privileged").as_deref(), Some("compose.yaml:4:17"));
    assert_eq!(place("services.a.labels.x.y").as_deref(), Some("compose.yaml:5:19"));
    assert_eq!(place("services.a.labels.x").as_deref(), Some("compose.yaml:5:25"));
    assert_eq!(place("services.a.volumes.1.read_only").as_deref(), Some("compose.yaml:7:57"));
    assert_eq!(place("services.a.volumes.2"), None);
    assert_eq!(place("services.a.tty"), None);
}

#[test]
fn a_pull_policy_may_have_its_time_beside_it() {
    let file = |said: &str| format!("services:\n  a: {{ image: b, {said} }}\n");
    let load = |said: &str| load_all(&[("compose.yaml", &file(said))], &options());
    let policy = |said: &str| load(said).unwrap().stack.services["a"].pull_policy;
    let refresh = "pull_policy: refresh, pull_refresh_after: 1w12h";
    assert_eq!(policy(refresh), PullPolicy::Every(648_000));
    assert_eq!(policy("pull_policy: every_1w2d3h4m5s"), PullPolicy::Every(788_645));
    assert_eq!(policy("pull_policy: if_not_present"), PullPolicy::Missing);
    let refused = |said: &str| load(said).unwrap_err().to_string();
    assert_snapshot!(refused("pull_policy: refresh"), @"compose.yaml:2:31: `services.a.pull_policy`: `refresh` needs `pull_refresh_after` beside it");
    assert_snapshot!(refused("pull_policy: refresh, pull_refresh_after: soon"), @"compose.yaml:2:60: `services.a.pull_refresh_after`: `soon` is not a duration");
    let warned = load("pull_refresh_after: 12h").unwrap().warnings;
    let warned: Vec<String> = warned.iter().map(ToString::to_string).collect();
    assert_snapshot!(warned.join("\n"), @"`services.a.pull_refresh_after` counts only with another `pull_policy`");
}
