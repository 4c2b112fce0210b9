//! How far images on their way are: for people at a terminal, in a log, and for programs.

use berth_tests::machine::Place;
use berth_tests::{Finished, TestHost};
use nix::sys::signal::Signal;
use serde_json::Value;

/// A registry that first has no time for the manifest, then for the first layer that is asked
/// for, and sends a large layer in forty pieces.
const REGISTRY: &str = r#"
import hashlib, http.server, io, json, random, tarfile, threading, time

def layer(name, size):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode='w') as tar:
        member = tarfile.TarInfo(name)
        member.size = size
        tar.addfile(member, io.BytesIO(random.Random(name).randbytes(size)))
    return out.getvalue()

def digest(data):
    return 'sha256:' + hashlib.sha256(data).hexdigest()

layers = [layer('small', 3000), layer('large', 2000000)]
config = json.dumps({'architecture': 'amd64', 'os': 'linux', 'config': {'Cmd': ['/large']},
    'rootfs': {'type': 'layers', 'diff_ids': [digest(l) for l in layers]}}).encode()
def about(data, kind):
    return {'mediaType': 'application/vnd.oci.image.' + kind, 'digest': digest(data), 'size': len(data)}
MANIFEST = 'application/vnd.oci.image.manifest.v1+json'
manifest = json.dumps({'schemaVersion': 2, 'mediaType': MANIFEST, 'config': about(config, 'config.v1+json'),
    'layers': [about(l, 'layer.v1.tar') for l in layers]}).encode()
blobs = {digest(b): b for b in layers + [config]}
refusals = {'manifest': 503, 'layer': 429}
lock = threading.Lock()

class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'
    def log_message(self, *words):
        pass
    def answer(self, status, body=b'', **headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace('_', '-'), value)
        self.send_header('Content-Length', str(len(body)))
        self.end_headers()
        pieces = 40 if len(body) > 1000000 else 1
        step = len(body) // pieces + 1
        for at in range(0, len(body), step):
            self.wfile.write(body[at:at + step])
            self.wfile.flush()
            if pieces > 1:
                time.sleep(0.05)
    def do_GET(self):
        what = self.path.rsplit('/', 1)[1]
        if '/manifests/' in self.path:
            kind, body, mime = 'manifest', manifest, MANIFEST
        elif what in blobs:
            kind, body, mime = 'layer', blobs[what], 'application/octet-stream'
        else:
            return self.answer(200, b'{}')
        if body == config:
            kind = 'config'
        with lock:
            refusal = refusals.pop(kind, None)
        if refusal:
            return self.answer(refusal, Retry_After='1')
        self.answer(200, body, Content_Type=mime)

http.server.ThreadingHTTPServer(('127.0.0.1', 5000), Handler).serve_forever()
"#;

const STACK: &str = "services: { web: { image: '127.0.0.1:5000/slow:1' } }";

/// A machine with that registry on its loopback.
fn with_slow_registry(test: impl FnOnce(&TestHost)) {
    let host = TestHost::bare();
    host.write("registry.py", REGISTRY);
    let server = host.start_shell(Place::Inside, "exec python3 registry.py");
    host.eventually("the registry answers", || host.get("127.0.0.1:5000/v2/") == "{}");
    test(&host);
    server.signal(Signal::SIGKILL);
    let _ = server.ends();
}

/// The events, which are all there is on standard error.
fn events(ran: &Finished) -> Vec<Value> {
    let event = |line: &str| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
    ran.stderr.lines().map(event).collect()
}

/// Events of layers.
fn of_layers(events: &[Value]) -> Vec<&Value> {
    events.iter().filter(|event| event["type"] == "layer").collect()
}

/// The states of a layer, each once where it is told several times in a row.
fn states<'e>(events: &[&'e Value], layer: &str) -> Vec<&'e str> {
    let of_it = events.iter().filter(|event| event["layer"] == layer);
    let mut states: Vec<&str> = of_it.filter_map(|event| event["state"].as_str()).collect();
    states.dedup();
    states
}

/// The digests of the layers, the smaller one first.
fn digests(events: &[&Value]) -> Vec<String> {
    let mut sizes: Vec<(u64, String)> = Vec::new();
    for event in events {
        if let (Some(total), Some(layer)) = (event["total"].as_u64(), event["layer"].as_str()) {
            sizes.push((total, layer.to_owned()));
        }
    }
    sizes.sort();
    sizes.dedup();
    sizes.into_iter().map(|(_, layer)| layer).collect()
}

#[test]
fn a_program_hears_of_each_layer_with_numbers() {
    with_slow_registry(|host| {
        let pull = host.berth("--progress json image pull 127.0.0.1:5000/slow:1").succeeds();
        assert_eq!(pull.stdout, "");
        let all = events(&pull);
        assert_eq!((&all[0]["type"], &all[0]["msg"]), (&"op.start".into(), &"Pulling".into()));
        let last = all.last().expect("an event");
        assert_eq!((&last["type"], &last["msg"]), (&"op.done".into(), &"Pulled".into()));
        assert!(all.iter().map(|event| event["seq"].as_u64()).is_sorted());

        let told = of_layers(&all);
        assert!(told.iter().all(|event| event["image"] == "127.0.0.1:5000/slow:1"));
        let fields = ["bytes_per_second", "current", "eta_seconds", "image", "layer", "reason"];
        let fields = fields.iter().chain(&["retry_seconds", "state", "total"]);
        assert!(fields.clone().all(|field| told.iter().all(|event| event.get(field).is_some())));

        let whole = told.iter().find(|event| event["layer"].is_null()).expect("of the image");
        assert_eq!(
            (&whole["state"], &whole["reason"]),
            (&"retrying".into(), &"503 Service Unavailable".into())
        );
        assert_eq!(whole["retry_seconds"], 1.0);
        let busy = told.iter().find(|event| event["reason"] == "429 Too Many Requests");
        assert!(busy.is_some_and(|event| event["layer"].is_string()), "{told:#?}");

        let digests = digests(&told);
        assert!(digests.len() == 2 && digests.iter().all(|digest| digest.starts_with("sha256:")));
        for digest in &digests {
            let states = states(&told, digest);
            assert_eq!(states.first(), Some(&"waiting"), "{states:?}");
            assert_eq!(states[states.len() - 2..], ["extracting", "complete"], "{states:?}");
        }
        let large: Vec<_> = told.iter().filter(|event| event["layer"] == digests[1]).collect();
        assert!(large.iter().map(|event| event["current"].as_u64()).is_sorted());
        assert!(large.iter().any(|event| event["bytes_per_second"].as_u64() > Some(1000)));
        assert!(large.iter().any(|event| event["eta_seconds"].is_u64()));
        assert!(large.len() < 20, "{} events of one layer", large.len());
    });
}

#[test]
fn a_log_has_a_line_for_each_change_of_a_layer_and_none_for_a_count() {
    with_slow_registry(|host| {
        host.write("compose.yaml", STACK);
        let create = host.berth("create").succeeds();
        let lines: Vec<&str> = create.stderr.lines().collect();
        let of_image = |text: &str| {
            let is = |line: &&&str| line.contains("Image ") && line.ends_with(text);
            lines.iter().filter(is).count()
        };
        assert_eq!(of_image("Pulling"), 1, "{lines:#?}");
        assert_eq!(of_image("Retrying in 1s: 503 Service Unavailable"), 1, "{lines:#?}");
        assert_eq!(of_image("Retrying in 1s: 429 Too Many Requests"), 1, "{lines:#?}");
        assert_eq!(of_image("Waiting"), 2, "{lines:#?}");
        assert_eq!(of_image("Downloading 2.01MB"), 1, "{lines:#?}");
        assert_eq!(of_image("Pull complete"), 2, "{lines:#?}");
        assert!(lines.len() < 25, "{lines:#?}");
        let again = host.berth("pull").succeeds();
        assert_eq!(again.stderr.matches("Already exists").count(), 2, "{again}");
    });
}

#[test]
fn nothing_is_shown_when_nothing_is_asked_for() {
    with_slow_registry(|host| {
        let name = "127.0.0.1:5000/slow:1";
        let quiet = host.berth(&format!("image pull -q {name}")).succeeds();
        quiet.stdout_is(name);
        for words in ["image pull -q", "--progress quiet image pull"] {
            assert_eq!(host.berth(&format!("{words} {name}")).succeeds().stderr, "");
        }
        let failed = host.berth("image pull -q 127.0.0.1:1/slow:1").fails_with(1);
        assert_eq!((failed.stdout.as_str(), failed.stderr.lines().count()), ("", 1), "{failed}");
    });
}

#[test]
fn up_can_leave_the_layers_out() {
    with_slow_registry(|host| {
        host.write("compose.yaml", STACK);
        let create = host.berth("create --quiet-pull").succeeds();
        assert!(create.stderr.contains("Image 127.0.0.1:5000/slow:1  Pulled"), "{create}");
        assert!(!create.stderr.contains("Downloading"), "{create}");
    });
}

#[test]
fn a_terminal_shows_layers_and_no_line_wraps() {
    if !berth_tests::images::on_path("script") {
        return berth_tests::skipped("script is not installed");
    }
    with_slow_registry(|host| {
        let pull = "$berth image pull 127.0.0.1:5000/slow:1";
        let shown = host.shell(&format!(
            "export berth; script -qec 'export TERM=xterm; stty rows 12 cols 40; {pull}' typescript >/dev/null; cat typescript"
        ));
        let text = shown.succeeds().stdout;
        for word in ["Downloading", "Retrying in 1s", "Pulled", "%"] {
            assert!(text.contains(word), "no {word} in {text:?}");
        }
        // Lines are filled up with spaces, so the next one begins after forty characters.
        let plain = without_escapes(&text);
        let pictures = plain.split(['\r', '\n']).filter(|picture| picture.starts_with(" ⠋"));
        for picture in pictures {
            let picture: Vec<char> = picture.chars().collect();
            for line in picture.chunks(40).skip(1) {
                let (indent, rest) = line.split_at(5.min(line.len()));
                assert!(indent.iter().all(|c| *c == ' '), "{line:?}");
                assert!(rest.first().is_none_or(char::is_ascii_hexdigit), "{line:?}");
            }
        }
        assert!(plain.contains("  Downloading"), "{plain:?}");
    });
}

/// Text without `ESC [ … letter`.
fn without_escapes(text: &str) -> String {
    let mut parts = text.split('\u{1b}');
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let end = part.find(|c: char| c.is_ascii_alphabetic()).map_or(part.len(), |at| at + 1);
        // What comes after is drawn anew.
        plain.push('\n');
        plain.push_str(&part[end..]);
    }
    plain
}

#[test]
fn an_archive_that_is_read_is_told_too() {
    let host = TestHost::bare();
    let archive = berth_tests::images::busybox();
    let load = host.berth(&format!("--progress json load -i {}", archive.display())).succeeds();
    load.stdout_has("Loaded image: busybox:1");
    let load = host.berth(&format!("--progress json load -i {}", archive.display())).succeeds();
    let all = events(&load);
    let told = of_layers(&all);
    assert!(told.iter().all(|event| event["state"] == "already_exists"), "{told:#?}");
    assert!(!told.is_empty());
    host.shell("mkdir a && echo x >a/x && tar -C a -cf flat.tar x").succeeds();
    let import = host.berth("--progress json image import flat.tar flat:1").succeeds();
    let all = events(&import);
    let read = of_layers(&all);
    assert!(read.iter().all(|event| event["state"] == "reading"), "{read:#?}");
    let last = read.last().expect("an event");
    assert!(last["total"].is_u64() && last["layer"].is_null(), "{last}");
    let quiet = host.berth("image import -q flat.tar flat:1").succeeds();
    assert_eq!(quiet.stderr, "");
}
