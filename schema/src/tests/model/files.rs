//! Configs and secrets.

use insta::assert_snapshot;

use super::{refused_file, shown};
use crate::stack::{FileContent, FileMount, TemplateDriver};

#[test]
fn configs_and_secrets_know_where_their_content_is() {
    let stack = shown(
        "services:
  web: {image: i, configs: [a, {source: b, target: /b, uid: '1', gid: '2', mode: 0440}], secrets: [s, t]}
configs:
  a: {file: ./a, labels: {l: v}, template_driver: golang}
  b: {content: text}
secrets:
  s: {environment: TAG, driver: vault, driver_opts: {o: 1}}
  t: {external: true, name: kept}
",
    );
    let a = &stack.configs["a"];
    assert_eq!(a.content, FileContent::File("/p/a".into()));
    assert_eq!((a.template, &a.labels["l"][..]), (Some(TemplateDriver::Golang), "v"));
    assert_eq!(stack.configs["b"].content, FileContent::Inline("text".into()));
    let s = &stack.secrets["s"];
    assert_eq!(s.content, FileContent::Environment("TAG".into(), Some("1.27".into())));
    assert_eq!((s.driver.as_deref(), &s.driver_opts["o"][..]), (Some("vault"), "1"));
    assert_eq!(stack.secrets["t"].content, FileContent::External);
    assert_eq!(stack.secrets["t"].name, "kept");
    let mount = FileMount {
        source: "b".into(),
        target: "/b".into(),
        uid: Some(1),
        gid: Some(2),
        mode: Some(0o440),
    };
    assert_eq!(stack.services["web"].configs[1], mount);
    assert_eq!(stack.services["web"].secrets[0].target, "/run/secrets/s");
}

#[test]
fn owners_and_templates_that_cannot_be_are_refused() {
    assert_snapshot!(refused_file(
        "services:
  web: {image: i, configs: [{source: a, uid: root, gid: '-1'}]}
configs:
  a: {content: x, template_driver: jinja}
"
    ), @"
    compose.yaml:2:46 berth::bad_value
      `services.web.configs.0.uid`: `root` is not a number
    compose.yaml:2:57 berth::bad_value
      `services.web.configs.0.gid`: `-1` is not a number
    compose.yaml:4:36 berth::bad_value
      `configs.a.template_driver`: `jinja` is not a template driver
      → write golang
    ");
}
