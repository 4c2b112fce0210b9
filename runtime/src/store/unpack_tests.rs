//! What layers become on the disk, and what hostile ones cannot do.

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use super::super::test_images::{Archive, Scratch, gzip};
use super::*;

/// A folder to unpack into with a canary beside it that no layer may touch.
struct Site {
    scratch: Scratch,
}

impl Site {
    fn new() -> Site {
        let scratch = Scratch::new("unpack");
        fs::create_dir(scratch.path().join("root")).unwrap();
        fs::create_dir(scratch.path().join("out")).unwrap();
        fs::write(scratch.path().join("out/canary"), "alive").unwrap();
        Site { scratch }
    }

    fn root(&self) -> PathBuf {
        self.scratch.path().join("root")
    }

    fn out(&self) -> String {
        self.scratch.path().join("out").to_string_lossy().into_owned()
    }

    fn unpack_limited(&self, layer: &[u8], limits: Limits) -> Result<Unpacked, String> {
        let root = fs::File::open(self.root()).unwrap().into();
        let result = unpack(layer, root, limits).map_err(|e| e.to_string());
        let out: Vec<_> = fs::read_dir(self.out()).unwrap().collect();
        assert_eq!(out.len(), 1, "something was written beside the root");
        let canary = self.scratch.path().join("out/canary");
        assert_eq!(fs::read_to_string(&canary).unwrap(), "alive");
        assert_eq!(
            (canary.metadata().unwrap().mode() & 0o7777, canary.metadata().unwrap().uid()),
            (0o644, 0)
        );
        result
    }

    fn unpack(&self, layer: Archive) -> Result<Unpacked, String> {
        self.unpack_limited(&layer.end(), Limits::default())
    }

    fn read(&self, path: &str) -> String {
        fs::read_to_string(self.root().join(path)).unwrap()
    }

    fn stat(&self, path: &str) -> fs::Metadata {
        self.root().join(path).symlink_metadata().unwrap()
    }

    fn is_whiteout(&self, path: &str) -> bool {
        let there = self.stat(path);
        there.file_type().is_char_device() && there.rdev() == 0
    }

    fn xattr(&self, path: &str, name: &str) -> Option<Vec<u8>> {
        let mut value = vec![0; 100];
        let n = rustix::fs::lgetxattr(self.root().join(path), name, &mut value).ok()?;
        value.truncate(n);
        Some(value)
    }

    fn is_opaque(&self, path: &str) -> bool {
        ["trusted.overlay.opaque", "user.overlay.opaque"]
            .iter()
            .all(|name| self.xattr(path, name).as_deref() == Some(b"y"))
    }
}

const CAPABILITY: [u8; 20] = [1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

#[test]
fn a_layer_keeps_modes_owners_times_links_and_attributes() {
    let site = Site::new();
    let layer = Archive::default()
        .dir("./", 0o755)
        .dir("etc/", 0o750)
        .owned("etc/shadow", b'0', "", 0o4640, (70_000, 42), b"secret")
        .hard_link("etc/shadow-", "etc/shadow")
        .symlink("etc/link", "/etc/../../shadow")
        .pax(&[
            ("SCHILY.xattr.security.capability", &CAPABILITY),
            ("SCHILY.xattr.user.note", b"x\ny"),
            ("SCHILY.xattr.user.overlay.opaque", b"y"),
            ("SCHILY.xattr.trusted.overlay.redirect", b"/etc"),
            ("mtime", b"123.5"),
        ])
        .member("bin/ping", b'0', "", 0o755, b"elf")
        .member("fifo", b'6', "", 0o622, b"")
        .member("dev/null", b'3', "", 0o666, b"");
    let plain = layer.end();
    let unpacked = site.unpack_limited(&gzip(&plain), Limits::default()).unwrap();
    assert_eq!(unpacked.diff_id, Digest::of(&plain));
    assert_eq!(unpacked.blob, Digest::of(&gzip(&plain)));
    assert_eq!((unpacked.size, unpacked.skipped_devices), (9, 1));
    let shadow = site.stat("etc/shadow");
    assert_eq!((shadow.mode() & 0o7777, shadow.uid(), shadow.gid()), (0o4640, 70_000, 42));
    assert_eq!(shadow.ino(), site.stat("etc/shadow-").ino());
    assert_eq!((shadow.mtime(), site.stat("etc").mtime()), (1_000_000_000, 1_000_000_000));
    assert_eq!(site.stat("etc").mode() & 0o7777, 0o750);
    assert_eq!(
        fs::read_link(site.root().join("etc/link")).unwrap(),
        Path::new("/etc/../../shadow")
    );
    let ping = site.stat("bin/ping");
    assert_eq!((ping.mtime(), ping.mtime_nsec()), (123, 500_000_000));
    assert_eq!(site.xattr("bin/ping", "security.capability").as_deref(), Some(&CAPABILITY[..]));
    assert_eq!(site.xattr("bin/ping", "user.note").as_deref(), Some(&b"x\ny"[..]));
    assert_eq!(site.xattr("bin/ping", "user.overlay.opaque"), None);
    assert_eq!(site.xattr("bin/ping", "trusted.overlay.redirect"), None);
    assert!(site.stat("fifo").file_type().is_fifo() && site.stat("fifo").mode() & 0o777 == 0o622);
    assert!(!site.root().join("dev/null").exists());
}

#[test]
fn zstd_plain_and_many_gzip_members_are_one_stream() {
    let plain = Archive::default().file("a", "a").file("b", "b").end();
    let zstd = zstd::encode_all(plain.as_slice(), 1).unwrap();
    let members = [gzip(&plain[..700]), gzip(&plain[700..])].concat();
    for layer in [plain.clone(), zstd, members] {
        let site = Site::new();
        let unpacked = site.unpack_limited(&layer, Limits::default()).unwrap();
        assert_eq!((unpacked.diff_id, unpacked.blob), (Digest::of(&plain), Digest::of(&layer)));
        assert_eq!(site.read("b"), "b");
    }
}

#[test]
fn deletions_hide_the_layers_below_whatever_their_order() {
    let site = Site::new();
    site.unpack(
        Archive::default()
            .file("gone/.wh.file", "")
            .file(".wh.early", "")
            .file("early", "mine")
            .file("late", "mine")
            .file(".wh.late", "")
            .file("a/.wh.sub", "")
            .file("a/sub/new", "new")
            .dir("b", 0o700)
            .file(".wh.b", "")
            .file("c/own", "own")
            .file("c/.wh..wh..opq", "")
            .file(".wh..wh.plnk/x", ""),
    )
    .unwrap();
    assert!(site.is_whiteout("gone/file"));
    assert_eq!((site.read("early"), site.read("late")), ("mine".into(), "mine".into()));
    assert!(site.is_opaque("a/sub") && site.read("a/sub/new") == "new");
    assert!(site.is_opaque("b") && site.stat("b").mode() & 0o777 == 0o700);
    assert!(site.is_opaque("c") && site.read("c/own") == "own");
    assert!(!site.is_opaque("a") && !site.root().join(".wh..wh.plnk").exists());
}

#[test]
fn deletion_marks_that_name_nothing_are_refused() {
    for name in [".wh.", "a/.wh..", "a/.wh...", ".wh.a/b"] {
        let error = Site::new().unpack(Archive::default().file(name, "")).unwrap_err();
        assert!(error.contains("deletion mark"), "{name}: {error}");
    }
}

#[test]
fn names_that_lead_upwards_are_refused_and_absolute_ones_are_of_the_root() {
    for name in ["../x", "a/../../x", ".//../x", "..", "a/.."] {
        let error = Site::new().unpack(Archive::default().file(name, "x")).unwrap_err();
        assert!(error.contains("leads upwards"), "{name}: {error}");
    }
    let site = Site::new();
    site.unpack(Archive::default().file("/abs", "1").file("//x//./y", "2")).unwrap();
    assert_eq!((site.read("abs"), site.read("x/y")), ("1".into(), "2".into()));
}

#[test]
fn a_link_in_the_layer_never_leads_out_of_it() {
    let site = Site::new();
    let up = "../".repeat(20) + site.out().trim_start_matches('/');
    for (n, target) in [site.out(), up, "/".into(), "..".into()].iter().enumerate() {
        let link = format!("link{n}");
        // Written through it, a file stays in the layer or is refused.
        let _ = site.unpack(
            Archive::default().symlink(&link, target).file(&format!("{link}/canary"), "dead"),
        );
        let _ = site
            .unpack(Archive::default().symlink(&link, target).dir(&format!("{link}/new"), 0o777));
        let _ = site.unpack(
            Archive::default().symlink(&link, target).hard_link(&format!("{link}/h"), "link0"),
        );
        let _ = site.unpack(
            Archive::default().symlink(&link, target).file(&format!("{link}/.wh.canary"), ""),
        );
        let _ = site.unpack(
            Archive::default().symlink(&link, target).file(&format!("{link}/.wh..wh..opq"), ""),
        );
    }
    let chain =
        Archive::default().symlink("a", "b").symlink("b", &site.out()).file("a/canary", "dead");
    let _ = site.unpack(chain);
    let looped = Archive::default().symlink("l", "l").file("l/x", "x");
    assert!(site.unpack(looped).is_err());
}

#[test]
fn a_link_of_the_layer_to_its_own_folder_is_followed_inside() {
    let site = Site::new();
    let layer =
        Archive::default().dir("usr/bin", 0o755).symlink("bin", "/usr/bin").file("bin/sh", "sh");
    site.unpack(layer).unwrap();
    assert_eq!(site.read("usr/bin/sh"), "sh");
}

#[test]
fn hard_links_stay_in_the_layer() {
    let site = Site::new();
    let outside = format!("{}/canary", site.out());
    for target in ["../out/canary", &outside, "later", "."] {
        let layer = Archive::default().hard_link("h", target).file("later", "");
        let error = site.unpack(layer).unwrap_err();
        assert!(error.contains('h'), "{target}: {error}");
    }
    let through = Archive::default()
        .symlink("s", &outside)
        .hard_link("h", "s")
        .member("h", b'0', "", 0o7777, b"dead");
    site.unpack(through).unwrap();
    assert_eq!(site.read("h"), "dead");
    assert!(site.stat("s").file_type().is_symlink());
}

#[test]
fn the_last_member_of_a_name_wins_and_links_are_replaced_not_followed() {
    let site = Site::new();
    site.unpack(
        Archive::default()
            .symlink("x", &site.out())
            .dir("x", 0o777)
            .file("x/y", "1")
            .file("x", "file")
            .dir("x", 0o711)
            .symlink("f", &format!("{}/canary", site.out()))
            .member("f", b'0', "", 0o4777, b"new")
            .file("d/e", "")
            .symlink("d", "elsewhere"),
    )
    .unwrap();
    assert!(site.stat("x").is_dir() && site.stat("x").mode() & 0o777 == 0o711);
    assert_eq!(fs::read_dir(site.root().join("x")).unwrap().count(), 0);
    assert_eq!(site.read("f"), "new");
    assert!(site.stat("d").file_type().is_symlink());
}

#[test]
fn owners_that_chown_would_skip_are_refused() {
    for id in [u64::from(u32::MAX), 1 << 32] {
        let layer = Archive::default().owned("f", b'0', "", 0o4755, (id, 0), b"");
        assert!(Site::new().unpack(layer).unwrap_err().contains("owner is not a valid id"));
    }
}

#[test]
fn limits_stop_bombs_before_they_are_written() {
    let limits = Limits { entries: 3, bytes: 1000, ..Limits::default() };
    let site = Site::new();
    let many = Archive::default().file("1", "").file("2", "").file("3", "").file("4", "").end();
    assert!(site.unpack_limited(&many, limits).unwrap_err().contains("more than 3 entries"));
    let big = Archive::default().member("big", b'0', "", 0o644, &[0; 1001]).end();
    assert!(site.unpack_limited(&gzip(&big), limits).unwrap_err().contains("more than 1000 bytes"));
    assert!(!site.root().join("big").exists());
    let padded = [Archive::default().end(), vec![0; 5000]].concat();
    assert!(site.unpack_limited(&gzip(&padded), limits).unwrap_err().contains("after its end"));
}

#[test]
fn cut_or_damaged_streams_are_errors() {
    let plain = Archive::default().file("a", &"text ".repeat(2000)).file("b", "b").end();
    let compressed = gzip(&plain);
    for cut in [3, 12, compressed.len() / 2, compressed.len() - 5] {
        assert!(
            Site::new().unpack_limited(&compressed[..cut], Limits::default()).is_err(),
            "{cut}"
        );
    }
    assert!(Site::new().unpack_limited(&plain[..700], Limits::default()).is_err());
    let mut damaged = compressed.clone();
    let end = damaged.len() - 6;
    damaged[end] ^= 1;
    assert!(Site::new().unpack_limited(&damaged, Limits::default()).is_err());
    let xz = [&[0xfd, b'7', b'z', b'X', b'Z', 0][..], &[0; 100]].concat();
    assert!(Site::new().unpack_limited(&xz, Limits::default()).unwrap_err().contains("xz"));
}

#[test]
fn a_layer_is_a_lower_layer_for_the_kernel() {
    let base = Site::new();
    base.unpack(Archive::default().file("d/old", "old").file("keep", "keep").file("gone", "gone"))
        .unwrap();
    let top = Site::new();
    top.unpack(
        Archive::default().file("d/.wh..wh..opq", "").file("d/new", "new").file(".wh.gone", ""),
    )
    .unwrap();
    for (namespaces, option) in [(&["-m"][..], ""), (&["-Urm"], ",userxattr")] {
        let mount = Scratch::new("mount");
        let target = mount.path().display();
        let script = format!(
            "mount -t overlay overlay -o lowerdir={}:{}{option} {target} && cd {target} && echo $(ls . d)",
            top.root().display(),
            base.root().display(),
        );
        let run = std::process::Command::new("unshare")
            .args(namespaces)
            .args(["sh", "-c", &script])
            .output();
        match run {
            Ok(done) if done.status.success() => {
                assert_eq!(String::from_utf8_lossy(&done.stdout).trim(), ".: d keep d: new");
            }
            other => eprintln!("skipped: no overlay with {namespaces:?} here: {other:?}"),
        }
    }
}
