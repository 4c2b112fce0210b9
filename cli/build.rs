//! Packs the relocations of the program, and puts a link to it where people look for it.
//!
//! Relocations of some twenty bytes each are read and done at every start of a program that can be
//! anywhere in memory; packed (`DT_RELR`) they are a bit each. The C library, which is part of the
//! program, does that from glibc 2.36 on.
//!
//! The workspace builds for an explicit target (`.cargo/config.toml`: the flag for a static
//! program must not reach the procedural macros), so Cargo writes
//! `target/TRIPLE/PROFILE/berth`, while everybody types `target/PROFILE/berth`. This makes the
//! second a relative link to the first. The link may be made before the program is; that is fine.

use std::env;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    // Another version may come with the next update of the system.
    let arch = env::var("CARGO_CFG_TARGET_ARCH").unwrap_or_default();
    let library = PathBuf::from(format!("/usr/lib/{arch}-linux-gnu/libc.a"));
    if library.exists() {
        println!("cargo::rerun-if-changed={}", library.display());
    }
    if glibc().is_some_and(|version| version >= (2, 36)) {
        println!("cargo::rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
    }
    if let Some((link, target)) = link()
        && fs::read_link(&link).ok().as_deref() != Some(target.as_path())
    {
        replace(&link, &target);
    }
}

/// The version of the C library of this machine, which is what is linked in when it builds for itself.
fn glibc() -> Option<(u32, u32)> {
    let gnu = env::var("CARGO_CFG_TARGET_ENV").is_ok_and(|env| env == "gnu");
    let native = gnu && env::var("TARGET").ok()? == env::var("HOST").ok()?;
    let known = Command::new("getconf").arg("GNU_LIBC_VERSION").output().ok().filter(|_| native)?;
    let text = String::from_utf8(known.stdout).ok()?;
    let (major, minor) = text.trim().strip_prefix("glibc ")?.split_once('.')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

/// `target/PROFILE/berth` and `../TRIPLE/PROFILE/berth`, if the output folder has the expected
/// shape `target/TRIPLE/PROFILE/build/berth-HASH/out`.
fn link() -> Option<(PathBuf, PathBuf)> {
    let out = PathBuf::from(env::var_os("OUT_DIR")?);
    let profile_dir = out.ancestors().nth(3)?;
    let profile = profile_dir.file_name()?;
    let triple_dir = profile_dir.parent()?;
    let triple = triple_dir.file_name()?;
    if triple.to_str()? != env::var("TARGET").ok()?
        || out.parent()?.parent()?.file_name()? != "build"
    {
        return None;
    }
    let link = triple_dir.parent()?.join(profile).join("berth");
    let target = Path::new("..").join(triple).join(profile).join("berth");
    Some((link, target))
}

/// Makes the link. A failure is told, not fatal: the program itself is built all the same.
fn replace(link: &Path, target: &Path) {
    let folder = link.parent().unwrap_or(Path::new("."));
    let _ = fs::remove_file(link);
    if let Err(e) = fs::create_dir_all(folder).and_then(|()| symlink(target, link)) {
        println!("cargo::warning=no link at {}: {e}", link.display());
    }
}
