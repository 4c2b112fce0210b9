//! From the text of a file to the plan: the place of every change is where it was written.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use berth_planner::observed::HostFacts;
use berth_planner::resolve::wanted;
use berth_planner::{Inputs, Plan, UpOptions, resolve, up};
use berth_schema::{LoadOptions, Source, Stack, load};
use insta::assert_snapshot;

use crate::checker::judge;
use crate::host::FakeHost;

/// Files by path.
struct Files(BTreeMap<PathBuf, String>);

impl Source for Files {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        let text = self.0.get(path).ok_or(io::ErrorKind::NotFound)?;
        Ok(text.clone().into_bytes())
    }

    fn exists(&self, path: &Path) -> bool {
        self.0.contains_key(path)
    }
}

fn files(compose: &str, config: &str) -> Files {
    Files(BTreeMap::from([
        ("/srv/shop/compose.yaml".into(), compose.to_string()),
        ("/srv/shop/nginx.conf".into(), config.to_string()),
    ]))
}

fn loaded(files: &Files) -> (Stack, Inputs) {
    let options = LoadOptions { working_dir: "/srv/shop".into(), ..LoadOptions::default() };
    let stack = load(&options, files).map_err(|problems| format!("{problems:?}")).unwrap().stack;
    let read = |path: PathBuf| (path.clone(), files.read(&path).unwrap());
    let inputs =
        Inputs { files: wanted(&stack).into_iter().map(read).collect(), ..Inputs::default() };
    (stack, inputs)
}

fn plan(files: &Files, host: &FakeHost) -> Plan {
    let (stack, inputs) = loaded(files);
    let facts = HostFacts { userns: true, ..HostFacts::default() };
    let desired = resolve(&stack, &inputs, &facts).unwrap();
    let plan = up(&desired, &host.observed, &UpOptions::default(), &stack.places).unwrap();
    judge(&plan, Some(&desired), &host.observed);
    plan
}

const SHOP: &str = "\
services:
  web:
    image: nginx:1.27
    ports: ['8080:80']
    depends_on: [app]
    configs:
      - source: nginx
        target: /etc/nginx/nginx.conf
  app:
    image: app:1
    environment:
      LOG: info
    networks: [default, back]
    depends_on:
      db: { condition: service_completed_successfully }
    deploy:
      resources:
        limits: { memory: 64M }
  db:
    image: postgres:17
    networks: [back]
    volumes: ['data:/var/lib/postgresql/data']
networks:
  back:
    internal: true
volumes:
  data:
configs:
  nginx:
    file: ./nginx.conf
";

fn shop_is_up() -> FakeHost {
    let mut host = FakeHost::new();
    let plan = plan(&files(SHOP, "one"), &host);
    host.apply_all(&plan, 11);
    host
}

#[test]
fn a_file_comes_up() {
    assert_snapshot!(plan(&files(SHOP, "one"), &FakeHost::new()), @"
    pull    image app:1
    pull    image nginx:1.27
    pull    image postgres:17
    create  network shop_back     172.19.0.0/16
    create  network shop_default  172.20.0.0/16
    create  volume shop_data
    create  db-1                  postgres:17
    create  app-1                 app:1
    create  web-1                 nginx:1.27
                                  PUBLIC 8080:80/tcp
    Plan: 6 create, 3 pull
    ");
}

#[test]
fn changed_values_are_told_with_the_place_they_were_written_at() {
    let text = SHOP
        .replace("LOG: info", "LOG: debug")
        .replace("memory: 64M", "memory: 128M")
        .replace("nginx:1.27", "nginx:1.28")
        .replace("8080:80", "127.0.0.1:8080:80")
        .replace("data:/var", "data:/srv")
        .replace("internal: true", "internal: false");
    assert_snapshot!(plan(&files(&text, "one"), &shop_is_up()), @r#"
    pull     image nginx:1.28
    replace  db-1               network `shop_back` is made anew
                                volumes./srv/lib/postgresql/data — → "volume shop_data" (compose.yaml:22:5)
                                volumes./var/lib/postgresql/data "volume shop_data" → — (compose.yaml:22:5)
    replace  web-1              stop-first by default: gap expected, its TCP ports change
                                image "nginx:1.27" → "nginx:1.28" (compose.yaml:3:12)
                                ports ["8080:80/tcp"] → ["127.0.0.1:8080:80/tcp"] (compose.yaml:4:5)
    replace  app-1              network `shop_back` is made anew
                                environment.LOG "info" → "debug" (compose.yaml:12:12)
                                limits.memory "64 MiB" → "128 MiB" (compose.yaml:18:27)
    replace  network shop_back  172.19.0.0/16
                                internal true → false (compose.yaml:25:15)
    Plan: 4 replace, 1 pull, 2 unchanged
    "#);
}

#[test]
fn changed_content_of_a_config_counts() {
    let plan = plan(&files(SHOP, "two"), &shop_is_up());
    assert_snapshot!(plan, @r"
    start    db-1   exited with 0
    replace  web-1  stop-first by default: gap expected, new connections to 8080/tcp held
                    configs./etc/nginx/nginx.conf.content sha256:7692c3ad3540 → sha256:3fc4ccfe7458 (compose.yaml:6:5)
    Plan: 1 replace, 1 start, 4 unchanged
    ");
}

#[test]
fn a_service_that_completed_runs_again_and_nothing_else_is_touched() {
    assert_snapshot!(plan(&files(SHOP, "one"), &shop_is_up()), @"
    start  db-1  exited with 0
    Plan: 1 start, 5 unchanged
    ");
}
