//! Debian's registry on a machine's loopback, and images with layers of noise for it.

use std::path::PathBuf;

use nix::sys::signal::Signal;

use crate::command::Running;
use crate::host::TestHost;
use crate::images;
use crate::machine::Place;

/// `user:secret`, as `htpasswd -B` writes it.
const HTPASSWD: &str = "user:$2y$05$XGQzq2xhfo6dXJfEyQ0sIebLusCuLfm/nZ5Zcdn7ad916JKgBsdBm\n";

/// Everybody may do everything.
pub const OPEN: &str = "";
/// `user` with the password `secret` may.
pub const GUARDED: &str = "auth: { htpasswd: { realm: berth, path: htpasswd } }\n";
/// Where it listens.
pub const ADDRESS: &str = "127.0.0.1:5000";

/// A registry that runs until [`Registry::end`].
#[derive(Debug)]
pub struct Registry<'a> {
    host: &'a TestHost,
    server: Running,
}

/// Whether the programs for it are here; says so, if not.
pub fn is_here() -> bool {
    let missing =
        ["docker-registry", "skopeo", "openssl"].into_iter().find(|p| !images::on_path(p));
    if let Some(program) = missing {
        crate::skipped(&format!("{program} is not installed"));
    }
    missing.is_none()
}

impl<'a> Registry<'a> {
    /// Starts one at [`ADDRESS`]; `auth` is a part of its configuration.
    pub fn start(host: &'a TestHost, auth: &str) -> Registry<'a> {
        let config = "version: 0.1\nlog: { level: error }\n\
                      storage: { filesystem: { rootdirectory: registry } }\n\
                      http: { addr: '127.0.0.1:5000' }\n";
        host.write("registry.yml", &format!("{config}{auth}"));
        host.write("htpasswd", HTPASSWD);
        let server = host.start_shell(Place::Inside, "exec docker-registry serve registry.yml");
        let status = "curl -s -o /dev/null -w %{http_code} http://127.0.0.1:5000/v2/";
        host.eventually("the registry answers", || {
            ["200", "401"].contains(&&*host.shell(status).stdout)
        });
        Registry { host, server }
    }

    /// Its process, which prints every request.
    pub fn server(&self) -> &Running {
        &self.server
    }

    /// Ends it, if a test has not.
    pub fn end(self) {
        if self.server.running().is_some() {
            self.server.signal(Signal::SIGKILL);
        }
        let _ = self.server.ends();
    }

    /// Ends it and starts one that wants to know who asks, with the same content.
    #[must_use]
    pub fn guarded_by(self, auth: &str) -> Registry<'a> {
        let host = self.host;
        self.end();
        Registry::start(host, auth)
    }

    /// Puts an image with a layer of noise for each of `seeds` in an open registry.
    pub fn push_noise(&self, name: &str, seeds: &[u64], bytes: usize) -> Image {
        let archive = noise_archive(self.host, seeds, bytes);
        self.host
            .shell(&format!(
                "skopeo --insecure-policy copy -q docker-archive:{archive} --dest-tls-verify=false \
                 docker://{ADDRESS}/{name}; s=$?; rm -rf /var/lib/containers {archive}; exit $s"
            ))
            .succeeds();
        let manifest = self.host.shell(&format!(
            "curl -sf -H 'Accept: application/vnd.docker.distribution.manifest.v2+json' \
             http://{ADDRESS}/v2/{}",
            name.replace(':', "/manifests/")
        ));
        let manifest = manifest.succeeds();
        let document = manifest.json();
        let layers = document["layers"].as_array().expect("layers");
        Image {
            layers: layers.iter().map(|l| l["digest"].as_str().expect("a digest").into()).collect(),
            sizes: layers.iter().map(|l| l["size"].as_u64().expect("a size")).collect(),
            config: document["config"]["digest"].as_str().expect("a digest").into(),
            manifest: manifest.stdout.into_bytes(),
        }
    }

    /// The file in which it keeps a blob.
    pub fn blob(&self, digest: &str) -> PathBuf {
        let hex = digest.strip_prefix("sha256:").unwrap_or(digest);
        self.host
            .project(&format!("registry/docker/registry/v2/blobs/sha256/{}/{hex}/data", &hex[..2]))
    }
}

/// An image of a registry.
#[derive(Debug, Clone)]
pub struct Image {
    /// Digests of its layers, the bottom one first.
    pub layers: Vec<String>,
    /// Bytes of each layer.
    pub sizes: Vec<u64>,
    /// Digest of its config.
    pub config: String,
    /// Its manifest.
    pub manifest: Vec<u8>,
}

/// Bytes that no compression makes small, the same for the same seed.
pub fn noise(seed: u64, bytes: usize) -> Vec<u8> {
    let mut random = Random::new(seed);
    (0..bytes.div_ceil(8)).flat_map(|_| random.next().to_le_bytes()).take(bytes).collect()
}

/// Numbers that look like chance and are the same for the same seed (splitmix64).
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// From a seed.
    pub fn new(seed: u64) -> Random {
        Random(seed)
    }

    /// The next one.
    #[allow(clippy::should_implement_trait, reason = "there is always a next one")]
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// The next one below `end`.
    pub fn below(&mut self, end: u64) -> u64 {
        self.next() % end.max(1)
    }
}

/// A docker-archive whose layer `n` has the file `noise-n`, in the project's folder.
fn noise_archive(host: &TestHost, seeds: &[u64], bytes: usize) -> String {
    let mut script = String::from("set -e; rm -rf noisy; mkdir noisy; cd noisy; ids=; paths=;");
    for (n, seed) in seeds.iter().enumerate() {
        let folder = host.project(&format!("noise/{n}"));
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join(format!("noise-{n}")), noise(*seed, bytes)).unwrap();
        script += &format!(
            " tar --sort=name --mtime=@1000000000 --owner=0 --group=0 -C ../noise/{n} -cf {n}.tar .;\
              ids=\"$ids,\\\"sha256:$(sha256sum <{n}.tar | cut -c1-64)\\\"\"; paths=\"$paths,\\\"{n}.tar\\\"\";"
        );
    }
    script += r#"
        echo "{\"architecture\":\"amd64\",\"os\":\"linux\",\"config\":{\"Cmd\":[\"/noise\"]},\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[${ids#,}]}}" >config.json
        echo "[{\"Config\":\"config.json\",\"RepoTags\":[],\"Layers\":[${paths#,}]}]" >manifest.json
        tar -cf ../noise.tar *; cd ..; rm -rf noisy noise"#;
    host.shell(&script).succeeds();
    "noise.tar".to_owned()
}
