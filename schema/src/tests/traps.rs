//! Mistakes that people often make in YAML and Compose: each is recognised and explained.

use insta::assert_snapshot;

use super::problems;

#[test]
fn a_value_of_the_wrong_form_is_written_out_in_the_right_one() {
    let text = "\
services:
  web:
    image: [nginx]
    ports: 80:80
    expose: 80
    volumes: {./src: /app}
    depends_on: db
    networks: front
    healthcheck: curl -f localhost
    logging: local
    restart: false
    tty: 1
    stdin_open: maybe
    env_file: {path: a.env}
    environment:
      - A: 1
      - {B: {c: d}}
  db: postgres
  job:
    image: job
    environment:
      A=1
      B=2
    labels: {conf: {a: b}}
    dns_search: {a: b}
    cap_add:
      -NET_ADMIN
      -SYS_TIME
    ports:
      - 80.5
      - \"8080\": 80
      - {target: 80, publised: 8080}
    volumes:
      - ./src: /app
";
    assert_snapshot!(problems(text), @r#"
    compose.yaml:3:12 berth::wrong_type
      `services.web.image` must be text, and this is a list
      → take the list away: `image: nginx`
    compose.yaml:4:12 berth::wrong_type
      `services.web.ports` must be a list, and this is text
      → write it as a list: `- 80:80`
    compose.yaml:5:13 berth::wrong_type
      `services.web.expose` must be a list, and this is a number
      → write it as a list: `- "80"`
    compose.yaml:6:14 berth::wrong_type
      `services.web.volumes` must be a list, and this is a map
      → write it as a list: `- ./src:/app`
    compose.yaml:7:17 berth::wrong_type
      `services.web.depends_on` must be a list or a map, and this is text
      → write it as a list: `- db`
    compose.yaml:8:15 berth::wrong_type
      `services.web.networks` must be a list or a map, and this is text
      → write it as a list: `- front`
    compose.yaml:9:18 berth::wrong_type
      `services.web.healthcheck` must be a map, and this is text
      → write `test: curl -f localhost` in a line below `healthcheck:`
    compose.yaml:10:14 berth::wrong_type
      `services.web.logging` must be a map, and this is text
      → write `driver: local` in a line below `logging:`
    compose.yaml:11:14 berth::wrong_type
      `services.web.restart` must be text, and this is a boolean
      → `no` without quotes is text here, but `false` is not: write `restart: "no"`
    compose.yaml:12:10 berth::wrong_type
      `services.web.tty` must be true or false, and this is a number
      → write `true` or `false`
    compose.yaml:13:17 berth::wrong_type
      `services.web.stdin_open` must be true or false, and this is text
      → write `true` or `false`
    compose.yaml:14:15 berth::wrong_type
      `services.web.env_file` must be a list, and this is a map
      → put a `- ` before the first line of each entry: `- path: …`
    compose.yaml:16:9 berth::wrong_type
      `services.web.environment` must be `KEY=value`, and this is a map
      → write `- A=1`, or `A: 1` in all lines without the dashes
    compose.yaml:17:9 berth::wrong_type
      `services.web.environment` must be `KEY=value`, and this is a map
      → write `- B=value`, or `B: value` in all lines without the dashes
    compose.yaml:18:7 berth::wrong_type
      `services.db` must be a map, and this is text
      → write `image: postgres` in a line below `db:`
    compose.yaml:22:7 berth::wrong_type
      `services.job.environment` must be a map or a list of `KEY=value`, and this is text
      → put a `- ` before each of them: `- A=1`
    compose.yaml:24:20 berth::wrong_type
      `services.job.labels.conf` must be text or a number, and this is a map
      → write it as one text in quotes: `'{"key": "value"}'`
    compose.yaml:25:17 berth::wrong_type
      `services.job.dns_search.0` must be text, and this is a map
    compose.yaml:27:7 berth::wrong_type
      `services.job.cap_add` must be a list, and this is text
      → put a space behind each dash: `- NET_ADMIN`
    compose.yaml:30:9 berth::wrong_type
      `services.job.ports.0` must be a port, and this is a number with a fraction
      → write it in quotes: `"HOST:CONTAINER"`
    compose.yaml:31:9 berth::unknown_key
      `services.job.ports.1`: a port has no attribute `8080`
      → take the space behind the colon away: `- "8080:80"`
    compose.yaml:32:22 berth::unknown_key
      `services.job.ports.2`: a port has no attribute `publised`
      → did you mean `published`?
    compose.yaml:34:9 berth::unknown_key
      `services.job.volumes.0`: a mount has no attribute `./src`
      → take the space behind the colon away: `- "./src:/app"`
    "#);
}

#[test]
fn lists_where_maps_are_wanted_lose_their_dashes() {
    let text = "\
services:
  - web:
      image: nginx
networks:
  - front
volumes:
  - data:/var/lib/data
";
    assert_snapshot!(problems(text), @r"
    compose.yaml:2:5 berth::wrong_type
      `services` must be a map, and this is a list
      → take the `- ` before `web:` away, in every line
    compose.yaml:5:5 berth::wrong_type
      `networks` must be a map, and this is a list
      → write `front:` without the dash
    compose.yaml:7:5 berth::wrong_type
      `volumes` must be a map, and this is a list
      → `data:/var/lib/data` is a mount and belongs to a service; here stands only the name: `data:`
    ");
}

#[test]
fn keys_at_the_wrong_level_say_where_they_belong() {
    let text = "\
image: nginx
command: run
cache:
  image: redis
services:
  web:
    image: nginx
    replicas: 2
    interval: 5s
    memory: 1g
    dockerfile: Dockerfile
    include: [a.yaml]
    deploy:
      ports: [\"80:80\"]
      memory: 1g
    healthcheck:
      test: \"true\"
      restart: always
    build:
      context: .
      env_file: a.env
      cache_form: [x]
";
    assert_snapshot!(problems(text), @r"
    compose.yaml:1:1 berth::wrong_place
      `image` is no attribute of a Compose file
      → it is an attribute of a service: indent it below the service it is for
    compose.yaml:2:1 berth::wrong_place
      `command` is no attribute of a Compose file
      → it is an attribute of a service: indent it below the service it is for
    compose.yaml:3:1 berth::wrong_place
      `cache` is no attribute of a Compose file
      → it looks like a service: indent it below `services:`
    compose.yaml:8:5 berth::wrong_place
      `services.web`: `replicas` is no attribute of a service
      → it belongs below `deploy:`
    compose.yaml:9:5 berth::wrong_place
      `services.web`: `interval` is no attribute of a service
      → it belongs below `healthcheck:`
    compose.yaml:10:5 berth::wrong_place
      `services.web`: `memory` is no attribute of a service
      → it belongs below `deploy.resources.limits:` or `deploy.resources.reservations:`
    compose.yaml:11:5 berth::wrong_place
      `services.web`: `dockerfile` is no attribute of a service
      → it belongs below `build:`
    compose.yaml:12:5 berth::wrong_place
      `services.web`: `include` is no attribute of a service
      → it belongs to the top level of the file: take its indentation away
    compose.yaml:14:7 berth::wrong_place
      `services.web.deploy`: `ports` is no attribute of a deployment
      → it is an attribute of the service: write it directly below `web:`
    compose.yaml:15:7 berth::wrong_place
      `services.web.deploy`: `memory` is no attribute of a deployment
      → it belongs below `resources.limits:` or `resources.reservations:`
    compose.yaml:18:7 berth::wrong_place
      `services.web.healthcheck`: `restart` is no attribute of a health check
      → it is an attribute of the service: write it directly below `web:`
    compose.yaml:19:5 berth::not_yet
      `services.web.build` is part of the Compose Specification, but berth does not do it yet
      → take it away to go on without it
    compose.yaml:21:7 berth::wrong_place
      `services.web.build`: `env_file` is no attribute of a build
      → it is an attribute of the service: write it directly below `web:`
    compose.yaml:22:7 berth::unknown_key
      `services.web.build`: a build has no attribute `cache_form`
      → did you mean `cache_from`?
    ");
}

#[test]
fn a_file_of_the_first_format_is_one_problem() {
    let text = "\
web:
  image: nginx
  links: [db]
db:
  image: postgres
";
    assert_snapshot!(problems(text), @r"
    compose.yaml:1:1 berth::not_compose
      the service `web` stands at the top level, as in files before 2016
      → put `services:` above the services and indent them below it
    ");
}

#[test]
fn a_kubernetes_manifest_is_one_problem() {
    let text = "\
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec: {replicas: 2}
";
    assert_snapshot!(problems(text), @r"
    compose.yaml:1:1 berth::not_compose
      this is a Kubernetes manifest (`kind: Deployment`) and no Compose file
      → write the workload as a service below `services:`
    ");
}

#[test]
fn conditions_of_dependencies_are_written_as_a_map() {
    let text = "\
services:
  web:
    image: nginx
    depends_on:
      - db: {condition: service_healthy}
  api:
    image: nginx
    depends_on:
      db: service_healthy
  db: {image: pg}
";
    assert_snapshot!(problems(text), @r"
    compose.yaml:5:9 berth::wrong_type
      `services.web.depends_on` must be text, and this is a map
      → take the `- ` before `db:` away, in every line
    compose.yaml:9:11 berth::wrong_type
      `services.api.depends_on.db` must be a map, and this is text
      → write `condition: service_healthy` in a line below `db:`
    ");
}
