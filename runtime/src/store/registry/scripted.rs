//! A registry for tests that does as a script says, and an image for it to serve.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use super::super::digest::Digest;
use super::super::document::{self, Platform};
use super::super::test_images::{Archive, config_json, gzip};

/// A request as the registry got it; header names in lower case.
#[derive(Debug, Clone)]
pub(super) struct Request {
    pub(super) method: String,
    pub(super) path: String,
    pub(super) headers: BTreeMap<String, String>,
    pub(super) body: Vec<u8>,
}

/// An answer. `cut` closes the connection after so many bytes of the body; `stall` leaves it
/// open instead.
#[derive(Clone, Default)]
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
    pub(super) cut: Option<usize>,
    pub(super) stall: bool,
}

impl Reply {
    pub(super) fn of(status: u16, body: &[u8]) -> Reply {
        Reply { status, body: body.to_vec(), ..Reply::default() }
    }

    pub(super) fn header(mut self, name: &str, value: &str) -> Reply {
        self.headers.push((name.into(), value.into()));
        self
    }
}

type Script = dyn Fn(&Request) -> Reply + Send + Sync;

/// A server on loopback that lives as long as the test's process.
pub(super) struct Registry {
    pub(super) address: SocketAddr,
    requests: Arc<Mutex<Vec<Request>>>,
}

impl Registry {
    pub(super) fn start(script: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Registry {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let script: Arc<Script> = Arc::new(script);
        let seen = Arc::clone(&requests);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (script, seen) = (Arc::clone(&script), Arc::clone(&seen));
                std::thread::spawn(move || serve(stream, &*script, &seen));
            }
        });
        Registry { address, requests }
    }

    /// The image by `name` of this registry.
    pub(super) fn image(&self, name: &str) -> String {
        format!("{}/{name}", self.address)
    }

    pub(super) fn requests(&self, part: &str) -> Vec<Request> {
        let requests = self.requests.lock().unwrap();
        requests.iter().filter(|request| request.path.contains(part)).cloned().collect()
    }
}

fn serve(stream: TcpStream, script: &Script, seen: &Mutex<Vec<Request>>) -> Option<()> {
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    let mut stream = stream;
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    // A TLS hello, sent to find out whether TLS is spoken here.
    let (method, rest) = line.split_once(' ')?;
    let known = ["GET", "HEAD", "POST", "PATCH", "PUT"].contains(&method);
    let path = rest.split(' ').next().filter(|_| known)?.to_owned();
    let method = method.to_owned();
    let mut headers = BTreeMap::new();
    loop {
        line.clear();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(": ") else { break };
        headers.insert(name.to_ascii_lowercase(), value.to_owned());
    }
    let length = headers.get("content-length").and_then(|text| text.parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    let request = Request { method, path, headers, body };
    seen.lock().unwrap().push(request.clone());
    let reply = script(&request);
    let mut head = format!("HTTP/1.1 {} X\r\nConnection: close\r\n", reply.status);
    head += &format!("Content-Length: {}\r\n", reply.body.len());
    for (name, value) in &reply.headers {
        head += &format!("{name}: {value}\r\n");
    }
    stream.write_all(format!("{head}\r\n").as_bytes()).ok()?;
    if request.method == "HEAD" {
        return Some(());
    }
    let end = reply.cut.unwrap_or(reply.body.len()).min(reply.body.len());
    stream.write_all(&reply.body[..end]).ok()?;
    stream.flush().ok()?;
    if reply.stall {
        // Ends when the client goes away.
        let _ = reader.read(&mut [0]);
    }
    Some(())
}

/// An image as documents and blobs by digest.
#[derive(Clone)]
pub(super) struct Image {
    pub(super) documents: BTreeMap<String, (String, Vec<u8>)>,
    pub(super) layers: Vec<Digest>,
    pub(super) manifest: Digest,
    pub(super) index: Digest,
}

/// Text that gzip cannot make small, so that layers have many pieces.
pub(super) fn noise(seed: u64, bytes: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(2).wrapping_add(1);
    let step = |_| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 56) as u8
    };
    (0..bytes).map(step).collect()
}

impl Image {
    pub(super) fn new(seeds: &[u64]) -> Image {
        let make = |seed: &u64| {
            Archive::default().member("file", b'0', "", 0o644, &noise(*seed, 600_000)).end()
        };
        let plain: Vec<Vec<u8>> = seeds.iter().map(make).collect();
        let mut documents = BTreeMap::new();
        let mut put = |media_type: &str, bytes: Vec<u8>| {
            let digest = Digest::of(&bytes);
            let described =
                serde_json::json!({"mediaType": media_type, "digest": digest, "size": bytes.len()});
            documents.insert(digest.to_string(), (media_type.to_owned(), bytes));
            described
        };
        let config = put(document::OCI_CONFIG, config_json(&plain));
        let compressed: Vec<Vec<u8>> = plain.iter().map(|layer| gzip(layer)).collect();
        let layers: Vec<Digest> = compressed.iter().map(|layer| Digest::of(layer)).collect();
        let gzip_type = format!("{}+gzip", document::OCI_LAYER);
        let mut described: Vec<_> =
            compressed.into_iter().map(|layer| put(&gzip_type, layer)).collect();
        // Nothing may ever be fetched from there.
        for layer in &mut described {
            layer["urls"] = serde_json::json!(["http://127.0.0.1:1/foreign"]);
        }
        let manifest = serde_json::json!({"schemaVersion": 2, "mediaType": document::OCI_MANIFEST,
            "config": config, "layers": described});
        let manifest = manifest.to_string().into_bytes();
        let manifest_digest = Digest::of(&manifest);
        let mut child = put(document::OCI_MANIFEST, manifest);
        let host = Platform::host();
        child["platform"] = serde_json::json!({"os": "linux", "architecture": host.architecture});
        let index =
            serde_json::json!({"schemaVersion": 2, "manifests": [child]}).to_string().into_bytes();
        let index_digest = Digest::of(&index);
        put("application/vnd.oci.image.index.v1+json", index);
        Image { documents, layers, manifest: manifest_digest, index: index_digest }
    }

    /// What an honest registry answers.
    pub(super) fn reply(&self, request: &Request) -> Reply {
        let name = request.path.rsplit('/').next().unwrap_or_default();
        let name = if name == "latest" { self.index.to_string() } else { name.to_owned() };
        let Some((media_type, bytes)) = self.documents.get(&name) else {
            return Reply::of(
                404,
                br#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]}"#,
            );
        };
        let range = request.headers.get("range").and_then(|range| {
            range.strip_prefix("bytes=")?.strip_suffix('-')?.parse::<usize>().ok()
        });
        match range {
            Some(from) => {
                let range = format!("bytes {from}-{}/{}", bytes.len() - 1, bytes.len());
                Reply::of(206, &bytes[from..]).header("Content-Range", &range)
            }
            None => Reply::of(200, bytes).header("Content-Type", media_type),
        }
    }

    pub(super) fn is_layer(&self, request: &Request) -> bool {
        self.layers.iter().any(|layer| request.path.ends_with(&layer.to_string()))
    }
}
