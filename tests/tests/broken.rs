//! A broken file is told with its places, all problems at once, and nothing is touched.

use berth_tests::TestHost;

/// A file, and for each of its problems the line and a word of the report.
const BROKEN: &[(&str, &[(u32, &str)])] = &[
    ("services:\n  web:\n    image: a\n    comand: [x]\n", &[(4, "comand")]),
    ("services:\n  web:\n    image: a\n    ports: hello\n", &[(4, "ports")]),
    (
        "services:\n  web:\n    image: a\n    depends_on: [databse]\n  database: { image: b }\n",
        &[(4, "databse")],
    ),
    (
        "services:\n  a: { image: x, depends_on: [b] }\n  b: { image: x, depends_on: [c] }\n  c: { image: x, depends_on: [a] }\n",
        &[(2, "a → b → c → a")],
    ),
    ("services:\n  web:\n    image: a\n    networks: [front]\n", &[(4, "front")]),
    ("services:\n  web:\n    image: a\n    volumes: ['data:/data']\n", &[(4, "data")]),
    ("services:\n  web:\n    image: a\n    configs: [settings]\n", &[(4, "settings")]),
    ("services:\n  web:\n    image: a\n    secrets: [password]\n", &[(4, "password")]),
    ("services:\n  web:\n    command: [x]\n", &[(2, "image")]),
    ("services:\n  web:\n    image: a\n    restart: sometimes\n", &[(4, "sometimes")]),
    ("services:\n  web:\n    image: a\n    ports: ['99999:80']\n", &[(4, "99999")]),
    ("services:\n  web:\n    image: a\n    healthcheck: { interval: soon }\n", &[(4, "soon")]),
    ("services:\n  web:\n    image: a\n    mem_limit: lots\n", &[(4, "lots")]),
    ("services:\n  web:\n    image: ${IMAGE:?is needed}\n", &[(3, "IMAGE")]),
    ("services:\n  web:\n    image: ${IMAGE\n", &[(3, "IMAGE")]),
    ("services:\n  web:\n  image: a\n   command: x\n", &[(4, "")]),
    ("services:\n  web:\n    image: a\n    image: b\n", &[(3, "image")]),
    ("services:\n  'two words': { image: a }\n", &[(2, "two words")]),
    (
        "services:\n  web:\n    image: a\n    depends_on: { db: { condition: service_happy } }\n  db: { image: b }\n",
        &[(4, "service_happy")],
    ),
    ("services:\n  web:\n    image: a\n    environment: { A: [1, 2] }\n", &[(4, "A")]),
    ("services:\n  web:\n    image: a\n    user: &x root\n    group_add: *y\n", &[(5, "y")]),
    ("serivces:\n  web: { image: a }\n", &[(1, "serivces")]),
    (
        "services:\n  web:\n    image: a\n    comand: [x]\n    ports: hello\n  app:\n    image: b\n    networks: [front]\n    restart: sometimes\n",
        &[(4, "comand"), (5, "ports"), (8, "front"), (9, "sometimes")],
    ),
];

#[test]
fn every_broken_file_is_told_with_its_lines_and_nothing_is_made() {
    let host = TestHost::bare();
    for (number, (text, problems)) in BROKEN.iter().enumerate() {
        host.write("compose.yaml", text);
        for command in ["up -d", "plan"] {
            let report = host.berth(command).fails_with(65);
            for (line, word) in *problems {
                let place = format!("compose.yaml:{line}:");
                assert!(
                    report.stderr.contains(&place) && report.stderr.contains(word),
                    "file {number} has no report for {place} with {word:?}:\n{text}\n{report}"
                );
            }
        }
    }
    host.leaves_nothing_but(&[]);
}

#[test]
fn a_fault_of_another_file_is_told_with_that_file_and_nothing_is_made() {
    let host = TestHost::with(
        "compose.yaml",
        "include: [part.yaml]\nservices:\n  web:\n    image: a\n    network_mode: host\n    env_file: web.env\n",
    );
    host.write("part.yaml", "services:\n  db:\n    imge: b\n    restart: sometimes\n");
    host.write("compose.override.yaml", "services:\n  web:\n    networks: [default]\n");
    host.write("web.env", "GOOD=1\nNOT GOOD=2\n");
    let places = [
        "part.yaml:3:5",
        "part.yaml:4:14",
        "compose.yaml:5:19",
        "compose.override.yaml:3:15",
        "web.env:2:1",
    ];
    for command in ["up -d", "plan", "create"] {
        let report = host.berth(command).fails_with(65).stdout_is("");
        for place in places {
            assert!(report.stderr.contains(place), "{command}: no {place}\n{report}");
        }
    }
    host.leaves_nothing_but(&[]);
}

#[test]
fn config_refuses_what_is_no_stack() {
    let host = TestHost::with("compose.yaml", "services:\n  web:\n    image: a\n    comand: [x]\n");
    host.berth("config").fails_with(65).stderr_has("compose.yaml:4:").stdout_is("");
}

#[test]
fn a_misspelt_name_comes_with_the_right_one() {
    let host = TestHost::with(
        "compose.yaml",
        "services:\n  web:\n    image: a\n    comand: [x]\n    depends_on: [databse]\n  database: { image: b }\n",
    );
    host.berth("up -d").fails_with(65).stderr_has("command").stderr_has("`database`");
}

#[test]
fn a_cycle_is_told_with_the_whole_path() {
    let host = TestHost::with(
        "compose.yaml",
        "services:\n  a: { image: x, depends_on: [b] }\n  b: { image: x, depends_on: [c] }\n  c: { image: x, depends_on: [a] }\n",
    );
    let report = host.berth("up -d").fails_with(65);
    assert!(
        report.stderr.contains("a → b → c → a") || report.stderr.contains("a -> b -> c -> a"),
        "{report}"
    );
}

#[test]
fn a_file_that_is_not_there_says_where_was_looked() {
    let host = TestHost::bare();
    let up = host.berth("up -d");
    assert_ne!(up.code, 0);
    up.stderr_has("compose.yaml");
    let up = host.berth("-f nowhere.yaml up -d");
    assert_ne!(up.code, 0);
    up.stderr_has("nowhere.yaml");
    host.leaves_nothing_but(&[]);
}

#[test]
fn wrong_words_are_a_usage_error() {
    let host = TestHost::bare();
    host.berth("upp").fails_with(64);
    host.berth("up --no-such-option").fails_with(64);
    host.leaves_nothing_but(&[]);
}
