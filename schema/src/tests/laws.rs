//! What holds for every text.

use proptest::prelude::*;

use super::{load_all, options};
use crate::config;

/// Lines that look like Compose, cut and mixed, so that the loader gets far before it stops.
fn texts() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "services:",
        "  web:",
        "    image: nginx",
        "    ports: [\"80:80\"]",
        "  - a",
        "x-a: &a",
        "<<: *a",
        "    environment:",
        "      A: ${B:-c}",
        "    - A=b",
        "volumes: {d: }",
        "    volumes: [\"d:/d\"]",
        "!reset",
        "!override [",
        "{",
        "}",
        "]",
        ",",
        "? ",
        ": ",
        "---",
        "...",
        "\"",
        "'",
        "|",
        "# c",
        "    depends_on: [web]",
        "    extends: web",
        "include: [compose.yaml]",
        "$",
        "${",
        "0x",
        "é",
        "    healthcheck: {interval: 1s}",
        "    deploy: {replicas: 2}",
        "\t",
        "    tmpfs: /a:size=1",
        "    command: 'a \\\\'",
        "    extra_hosts: [a=b]",
        "    networks: {n: {aliases: [a]}}",
        "~",
        "-",
    ]);
    prop::collection::vec((piece, prop::bool::ANY), 0..40).prop_map(|pieces| {
        pieces
            .into_iter()
            .map(|(text, new)| format!("{text}{}", if new { "\n" } else { "" }))
            .collect()
    })
}

proptest! {
    #[test]
    fn any_text_gives_a_stack_or_problems(text in texts()) {
        match load_all(&[("compose.yaml", &text)], &options()) {
            Ok(loaded) => prop_assert!(!loaded.stack.name.is_empty()),
            Err(problems) => prop_assert!(!problems.0.is_empty(), "no reason for {text:?}"),
        }
    }

    #[test]
    fn any_characters_give_a_stack_or_problems(text in "\\PC*", env in "[ -~\n]*") {
        let files = [("compose.yaml", text.as_str()), (".env", env.as_str())];
        if let Err(problems) = load_all(&files, &options()) {
            prop_assert!(!problems.0.is_empty());
        }
    }

    #[test]
    fn what_config_prints_loads_to_the_same_stack(
        image in "[a-z]{1,8}",
        command in prop::option::of("[ -~]{0,20}"),
        value in "[ -~\n]{0,20}",
        port in 1u16..,
        names in prop::collection::btree_set("[a-z]{1,5}", 1..4),
    ) {
        let mut services = serde_json::Map::new();
        for name in &names {
            let mut service = serde_json::json!({
                "image": image,
                "environment": {"A": value.replace('$', "$$")},
                "ports": [format!("{port}")],
                "volumes": ["data:/data", "./src:/src:ro"],
            });
            if let Some(command) = &command {
                service["command"] = serde_json::json!([command.replace('$', "$$")]);
            }
            services.insert(name.clone(), service);
        }
        let file = serde_json::json!({"services": services, "volumes": {"data": null}});
        let first = load_all(&[("compose.yaml", &file.to_string())], &options()).unwrap().stack;
        for printed in [config::to_yaml(&first), config::to_json(&first)] {
            let again = load_all(&[("compose.yaml", &printed)], &options());
            let mut again = again.unwrap_or_else(|problems| panic!("{problems}\n{printed}")).stack;
            again.places = first.places.clone();
            prop_assert_eq!(&again, &first);
        }
    }
}

#[test]
fn work_grows_with_the_text_and_not_faster() {
    let file = |count: usize| -> String {
        let mut text =
            String::from("x-base: &base {image: a, restart: always, labels: {a: b}}\nservices:\n");
        for number in 0..count {
            text += &format!(
                "  s{number}:\n    <<: *base\n    environment: {{A: \"{number}\", B: $TAG}}\n    depends_on: [s{}]\n",
                number.max(1) - 1
            );
        }
        text.replace("    depends_on: [s0]\n  s1", "  s1")
    };
    let stack = load_all(&[("compose.yaml", &file(2000))], &options()).unwrap().stack;
    assert_eq!(stack.services.len(), 2000);
    assert!(stack.places.has("services.s1999.labels.a"));
}

#[test]
fn long_chains_and_deep_nesting_end_in_a_stack_or_a_problem() {
    let chain = |length: usize| {
        let mut text = String::from("services:\n  s0: {image: a}\n");
        for number in 1..length {
            text += &format!("  s{number}: {{extends: s{}}}\n", number - 1);
        }
        text
    };
    let (chain, longer) = (chain(400), chain(3000));
    let deep = format!(
        "x-a: {}\nservices: {{a: {{image: i}}}}\n",
        "{a: [".repeat(100) + &"]}".repeat(100)
    );
    let deeper = format!("x-a: {}\n", "[".repeat(100_000));
    let wide = format!("services: {{a: {{image: i, command: [{}]}}}}\n", "x, ".repeat(50_000));
    let texts = [(&chain, true), (&longer, false), (&deep, true), (&deeper, false), (&wide, true)];
    for (text, loads) in texts {
        let result = load_all(&[("compose.yaml", text)], &options());
        assert_eq!(result.is_ok(), loads, "{:?}", result.err().map(|e| e.to_string()));
    }
}

#[test]
fn many_services_that_all_need_each_other_are_told_in_short() {
    let mut text = String::from("services:\n");
    let all: Vec<String> = (0..150).map(|number| format!("s{number}")).collect();
    for name in &all {
        text += &format!("  {name}: {{image: i, depends_on: [{}]}}\n", all.join(", "));
    }
    let Err(problems) = load_all(&[("compose.yaml", &text)], &options()) else {
        panic!("loads");
    };
    assert_eq!(problems.0.len(), 20);
}
