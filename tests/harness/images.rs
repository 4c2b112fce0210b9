//! Images for the tests, made from Debian packages and kept beside the build.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::machine::target_dir;

/// The docker-archive of `busybox:1`: `/bin/busybox` of Debian's busybox-static with its names.
///
/// # Panics
/// When it cannot be made, with what the script said.
pub fn busybox() -> PathBuf {
    made("busybox.tar", "images/busybox")
}

/// Whether a program is installed.
pub fn on_path(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin".into(), "/sbin".into()])
        .any(|dir| dir.join(program).exists())
}

/// Runs the script that makes an image unless its result is newer than the script.
fn made(file: &str, script: &str) -> PathBuf {
    let dir = target_dir().join("images");
    fs::create_dir_all(&dir).unwrap();
    let archive = dir.join(file);
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join(script);
    let time = |path: &Path| path.metadata().and_then(|m| m.modified()).ok();
    if time(&archive).is_some_and(|made| Some(made) > time(&script)) {
        return archive;
    }
    let beside = dir.join(format!(".{file}.{}", std::process::id()));
    let output = Command::new(&script).arg(&beside).output().expect("the image's script");
    assert!(
        output.status.success(),
        "{}: {}",
        script.display(),
        String::from_utf8_lossy(&output.stderr)
    );
    fs::rename(&beside, &archive).unwrap();
    archive
}
