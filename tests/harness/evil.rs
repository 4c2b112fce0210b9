//! Images with whatever somebody wants in them: busybox, and a layer of entries over it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::TestHost;
use crate::images;
use crate::machine::target_dir;

/// A member of a tar archive.
///
/// # Panics
/// When a name is too long for this kind of header.
pub fn member(name: &str, kind: u8, link: &str, mode: u32, content: &[u8]) -> Vec<u8> {
    assert!(name.len().max(link.len()) <= 100, "{name} or {link} is too long for this header");
    let mut bytes = vec![0; 512];
    let mut text = |at: usize, text: &str| {
        bytes[at..at + text.len()].copy_from_slice(text.as_bytes());
    };
    text(0, name);
    text(100, &format!("{mode:07o}"));
    text(108, "0000000");
    text(116, "0000000");
    text(124, &format!("{:011o}", content.len()));
    text(136, "07346545000");
    text(148, "        ");
    text(157, link);
    text(257, "ustar\x0000");
    bytes[156] = kind;
    let sum: u32 = bytes.iter().map(|&byte| u32::from(byte)).sum();
    bytes[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
    bytes.extend_from_slice(content);
    bytes.resize(bytes.len().next_multiple_of(512), 0);
    bytes
}

/// An image to be made.
#[derive(Debug)]
pub struct Evil {
    name: String,
    layer: Vec<u8>,
    config: Value,
}

impl Evil {
    /// Busybox as it is, under this name and tag.
    pub fn image(name: &str) -> Evil {
        let config =
            json!({ "Env": ["PATH=/usr/sbin:/usr/bin:/sbin:/bin"], "Cmd": ["sleep", "100000"] });
        Evil { name: name.to_owned(), layer: Vec::new(), config }
    }

    /// With a folder.
    pub fn folder(self, path: &str) -> Evil {
        self.entry(path, b'5', "", 0o755, b"")
    }

    /// With a symbolic link.
    pub fn link(self, path: &str, to: &str) -> Evil {
        self.entry(path, b'2', to, 0o777, b"")
    }

    /// With a file.
    pub fn file(self, path: &str, mode: u32, content: &[u8]) -> Evil {
        self.entry(path, b'0', "", mode, content)
    }

    /// With an entry of any kind.
    pub fn entry(mut self, path: &str, kind: u8, link: &str, mode: u32, content: &[u8]) -> Evil {
        self.layer.extend(member(path, kind, link, mode, content));
        self
    }

    /// With another value of its configuration.
    pub fn set(mut self, key: &str, value: Value) -> Evil {
        self.config[key] = value;
        self
    }

    /// Puts it into the store of this host.
    ///
    /// # Panics
    /// When it cannot be made or loaded.
    pub fn load(self, host: &TestHost) {
        let folder = host.machine().dir().join("evil");
        fs::create_dir_all(&folder).expect("a folder for the image");
        let run = |words: &[&str]| {
            let done = Command::new(words[0]).args(&words[1..]).current_dir(&folder).output();
            let done = done.expect(words[0]);
            assert!(done.status.success(), "{words:?}: {}", String::from_utf8_lossy(&done.stderr));
            String::from_utf8_lossy(&done.stdout).into_owned()
        };
        let digest = |file: &str| run(&["sha256sum", file])[..64].to_owned();
        let busybox = images::busybox();
        run(&["tar", "-xf", &busybox.to_string_lossy(), "layer.tar"]);
        fs::write(folder.join("evil.tar"), [self.layer, vec![0; 1024]].concat()).expect("a layer");
        let layers = ["layer.tar", "evil.tar"].map(|file| format!("sha256:{}", digest(file)));
        let arch = if std::env::consts::ARCH == "aarch64" { "arm64" } else { "amd64" };
        let config = json!({
            "architecture": arch, "os": "linux", "config": self.config,
            "rootfs": { "type": "layers", "diff_ids": layers },
        });
        let manifest = json!([{
            "Config": "config.json", "RepoTags": [self.name], "Layers": ["layer.tar", "evil.tar"],
        }]);
        fs::write(folder.join("config.json"), config.to_string()).expect("a configuration");
        fs::write(folder.join("manifest.json"), manifest.to_string()).expect("a manifest");
        run(&[
            "tar",
            "-cf",
            "evil.docker",
            "config.json",
            "layer.tar",
            "evil.tar",
            "manifest.json",
        ]);
        host.load(&folder.join("evil.docker"));
        fs::remove_dir_all(folder).expect("its folder removed");
    }
}

/// A static program of one C file of `checks/probes`, made once.
///
/// # Panics
/// When the compiler refuses it.
pub fn probe(name: &str) -> PathBuf {
    let source =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("checks/probes").join(format!("{name}.c"));
    let folder = target_dir().join("checks");
    fs::create_dir_all(&folder).expect("a folder for probes");
    let time = |path: &Path| path.metadata().and_then(|m| m.modified()).ok();
    let program = folder.join(name);
    let _lock = images::lock(&folder.join(format!("{name}.lock")));
    if time(&program).is_none_or(|made| Some(made) < time(&source)) {
        let done = Command::new("cc")
            .args(["-static", "-O1", "-w", "-o"])
            .arg(&program)
            .arg(&source)
            .output();
        let done = done.expect("cc");
        assert!(done.status.success(), "{name}: {}", String::from_utf8_lossy(&done.stderr));
    }
    program
}
