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
    made("busybox.tar", "images/busybox").expect("the busybox image")
}

/// The docker-archive of the images of `examples/shop`. They take two minutes and the Debian
/// mirror to make, so they are made once.
///
/// # Errors
/// Why they cannot be made here.
pub fn shop() -> Result<PathBuf, String> {
    if !on_path("mmdebstrap") {
        return Err("mmdebstrap is not installed".into());
    }
    made("shop.tar", "../examples/shop/images")
}

/// The docker-archive of the images `debian/postgres:1`, `redis`, `nginx`, `rabbitmq`, `mariadb` and
/// `memcached`, whose first process is root as in those that people pull.
///
/// # Errors
/// Why they cannot be made here.
pub fn services() -> Result<PathBuf, String> {
    if !on_path("mmdebstrap") {
        return Err("mmdebstrap is not installed".into());
    }
    made("services.tar", "images/services")
}

/// A tar of what a virtual machine starts from: `kernel` and `initrd`.
///
/// # Errors
/// Why it cannot be made here.
pub fn vm() -> Result<PathBuf, String> {
    made("vm.tar", "images/vm")
}

/// The disk of a virtual machine whose first process is systemd.
///
/// # Errors
/// Why it cannot be made here.
pub fn systemd() -> Result<PathBuf, String> {
    if !on_path("mmdebstrap") {
        return Err("mmdebstrap is not installed".into());
    }
    made("systemd.ext4", "images/systemd")
}

/// Whether a program is installed.
pub fn on_path(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin".into(), "/sbin".into()])
        .any(|dir| dir.join(program).exists())
}

/// Runs the script that makes an image unless its result is newer than the script.
fn made(file: &str, script: &str) -> Result<PathBuf, String> {
    let dir = target_dir().join("images");
    fs::create_dir_all(&dir).unwrap();
    let archive = dir.join(file);
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join(script);
    let time = |path: &Path| path.metadata().and_then(|m| m.modified()).ok();
    // Tests are processes of their own: one makes it, the others wait for that.
    let _lock = lock(&dir.join(format!("{file}.lock")));
    if time(&archive).is_some_and(|made| Some(made) > time(&script)) {
        return Ok(archive);
    }
    let beside = dir.join(format!(".{file}.{}", std::process::id()));
    // What it mounts on its way must not be seen by the ledgers of other tests.
    let mut apart = Command::new("unshare");
    apart.args(["--mount", "--propagation", "private"]).arg(&script).arg(&beside);
    let output = apart.output().map_err(|e| e.to_string())?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(format!("{}: {said}", script.display()));
    }
    fs::rename(&beside, &archive).map_err(|e| e.to_string())?;
    Ok(archive)
}

/// Holds the lock until the file is closed.
pub(crate) fn lock(path: &Path) -> fs::File {
    let file = fs::File::create(path).expect("a lock file");
    file.lock().expect("the lock");
    file
}
