//! Keys that start with `x-`.

use insta::assert_snapshot;
use serde_json::json;

use super::shown;
use crate::config;

const TEXT: &str = "\
x-mine: {ports: loopback}
services:
  web:
    image: i
    x-mine: {drain: 5s, retries: 3, share: 0.5, on: true, list: [a, null]}
    environment: {x-name: v}
    deploy: {x-note: 1, replicas: 1}
networks: {default: {x-net: 1}}
";

#[test]
fn the_model_keeps_what_extensions_say() {
    let stack = shown(TEXT);
    assert_eq!(stack.extensions["x-mine"], json!({"ports": "loopback"}));
    let web = &stack.services["web"];
    assert_eq!(
        web.extensions["x-mine"],
        json!({"drain": "5s", "retries": 3, "share": 0.5, "on": true, "list": ["a", null]})
    );
    assert_eq!(web.extensions.len(), 1);
}

#[test]
fn yaml_shows_extensions_everywhere_and_json_at_the_top() {
    let stack = shown(TEXT);
    assert_snapshot!(config::to_yaml(&stack), @r#"
    name: p
    networks:
      default:
        name: p_default
        x-net: 1
    services:
      web:
        deploy:
          placement: {}
          replicas: 1
          resources: {}
          x-note: 1
        environment:
          x-name: v
        image: i
        networks:
          default: null
        x-mine:
          drain: "5s"
          list:
            - a
            - null
          "on": true
          retries: 3
          share: 0.5
    x-mine:
      ports: loopback
    "#);
    let json: serde_json::Value = serde_json::from_str(&config::to_json(&stack)).unwrap();
    assert_eq!(json["x-mine"], json!({"ports": "loopback"}));
    let web = &json["services"]["web"];
    assert_eq!(web.get("x-mine"), None);
    assert_eq!(web["environment"], json!({"x-name": "v"}));
    assert_eq!(web["deploy"].get("x-note"), None);
    assert_eq!(json["networks"]["default"].get("x-net"), None);
}

#[test]
fn what_config_prints_says_the_same_to_the_model() {
    let stack = shown(TEXT);
    let again = shown(&config::to_yaml(&stack));
    assert_eq!(stack.extensions, again.extensions);
    assert_eq!(stack.services, again.services);
}

#[test]
fn extensions_do_not_make_another_container() {
    let plain = "services: {web: {image: i, deploy: {replicas: 1}}}";
    let more = "services: {web: {image: i, x-a: 1, deploy: {replicas: 1, x-b: 2}}}";
    let identity = |text: &str| config::identity(&shown(text), "web").unwrap();
    assert_eq!(identity(plain), identity(more));
}
