//! Names and links: what they reach.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileTypeExt;
use std::sync::atomic::{AtomicBool, Ordering};

use super::*;

const KINDS: [(u8, &str); 6] = [
    (b'0', "file"),
    (b'1', "hard link"),
    (b'2', "link"),
    (b'3', "device"),
    (b'5', "folder"),
    (b'6', "fifo"),
];

/// Every way in which a link can try to lead out of the root.
fn ways_out(site: &Site) -> Vec<String> {
    let out = site.out();
    let up = "../".repeat(30);
    vec![
        out.clone(),
        format!("{up}{}", &out[1..]),
        "../out".to_owned(),
        "x/../../out".to_owned(),
        "/".to_owned(),
        "..".to_owned(),
        "/proc/self/root".to_owned() + &out,
        "/proc/self/cwd".to_owned(),
        format!("/dev/fd/3/..{out}"),
    ]
}

/// I01. A name with `..` is refused in every form; Docker refuses it as well. An absolute name is
/// one of the root.
#[test]
fn names_that_lead_upwards_are_refused_however_they_are_written() {
    let names = [
        "..",
        "../x",
        "a/../../x",
        ".//../x",
        "a/..",
        "/../x",
        "./../out/canary",
        "a/b/../../../x",
    ];
    for name in names {
        for (kind, what) in KINDS {
            let error = unpacked(Archive::default().member(name, kind, "x", 0o644, b""));
            let error = error.err().unwrap_or_else(|| panic!("{what} {name} is taken"));
            assert!(error.contains("leads upwards"), "{what} {name}: {error}");
        }
        let pax = Archive::default().pax(&[("path", name.as_bytes())]).file("harmless", "x");
        refused(pax, "leads upwards");
        let long = Archive::default().member("long", b'L', "", 0, name.as_bytes());
        refused(long.file("harmless", "x"), "leads upwards");
    }
    let site = unpacked(Archive::default().file("/etc/passwd", "x").file("//y/.//z", "z")).unwrap();
    assert_eq!(fs::read_to_string(site.in_root("etc/passwd")).unwrap(), "x");
    assert_eq!(fs::read_to_string(site.in_root("y/z")).unwrap(), "z");
}

/// I02. Whatever is written through a link stays in the root or is refused.
#[test]
fn nothing_goes_through_a_link_out_of_the_root() {
    let ways = ways_out(&Site::new());
    for n in 0..ways.len() {
        for (kind, _) in KINDS {
            for name in ["l/canary", "l/new", "l/folder/below", "l", "l/out/canary", "l/canary/x"] {
                let site = Site::new();
                let way = &ways_out(&site)[n];
                let chain =
                    Archive::default().symlink("m", way).symlink("k", "m").symlink("l", "k");
                let link = Archive::default().symlink("l", way);
                for start in [link, chain] {
                    let _ = site.unpack(start.member(name, kind, "l/canary", 0o6777, b""));
                }
            }
        }
    }
}

/// I02. The parent may be a link inside, made at any time; a loop of links is an error.
#[test]
fn a_link_inside_leads_to_where_it_says_and_loops_are_errors() {
    let layer =
        Archive::default().symlink("bin", "/usr/bin").file("usr/bin/a", "a").file("bin/b", "b");
    let site = unpacked(layer).unwrap();
    // The link led nowhere when it was made; what is written through it is at its end.
    assert_eq!(fs::read_to_string(site.in_root("usr/bin/b")).unwrap(), "b");
    assert!(
        unpacked(Archive::default().symlink("a", "b").symlink("b", "a").file("a/x", "")).is_err()
    );
    let dead = unpacked(Archive::default().symlink("l", "/nowhere").file("l/x", "x")).unwrap();
    assert!(dead.stat("l").is_dir() && !dead.in_root("nowhere").exists());
}

/// I03. Outside is refused, and so is what is not in the layer (yet); Docker does the same, also
/// where a layer below has the file.
#[test]
fn a_hard_link_is_of_a_file_of_the_same_layer_that_is_there_already() {
    let out = Site::new().out();
    for target in ["../out/canary", "a/../../out/canary", &format!("{out}/canary"), "/etc/passwd"] {
        assert!(unpacked(Archive::default().hard_link("h", target)).is_err(), "{target}");
    }
    for target in ["later", "below", "h", ".", "", "folder", ".wh.gone", "gone", "file/x"] {
        let layer = Archive::default().dir("folder", 0o755).file("file", "").file(".wh.gone", "");
        let error = unpacked(layer.hard_link("h", target).file("later", "x"));
        let error = error.err().unwrap_or_else(|| panic!("a hard link to `{target}` is taken"));
        assert!(error.contains("`h`") && error.contains("hard link"), "{target}: {error}");
    }
    for way in ways_out(&Site::new()) {
        let site = Site::new();
        // The link itself gets a second name; what is written there replaces it.
        let layer = Archive::default().symlink("s", &format!("{way}/canary")).hard_link("h", "s");
        site.unpack(layer.member("h", b'0', "", 0o6777, b"mine")).unwrap();
        assert!(site.stat("s").is_symlink() && site.stat("h").is_file());
        let _ = site.unpack(Archive::default().symlink("d", &way).hard_link("i", "d/canary"));
    }
    let both =
        unpacked(Archive::default().file("f", "f").hard_link("g", "/./f").hard_link("f", "g"));
    let both = both.unwrap();
    assert_eq!(both.stat("f").ino(), both.stat("g").ino());
}

/// I04. A folder over a link replaces it; set-id bits on a link are bits of nothing.
#[test]
fn a_folder_or_mode_never_reaches_what_a_link_points_to() {
    for way in ["canary", "folder", ""] {
        let site = Site::new();
        let target = format!("{}/{way}", site.out());
        let owned = |kind, name: &str, link: &str| {
            Archive::default().symlink("l", &target).owned(
                name,
                kind,
                link,
                0o6777,
                (1234, 1234),
                b"",
            )
        };
        site.unpack(owned(b'5', "l", "")).unwrap();
        assert!(site.stat("l").is_dir() && site.stat("l").uid() == 1234);
        site.unpack(owned(b'5', "l/", "")).unwrap();
        site.unpack(owned(b'0', "l", "")).unwrap();
        assert_eq!(site.stat("l").mode() & 0o7777, 0o6777);
        site.unpack(owned(b'6', "l", "")).unwrap();
        site.unpack(owned(b'2', "l", &target)).unwrap();
        assert!(site.stat("l").is_symlink());
        site.unpack(owned(b'1', "h", "l")).unwrap();
    }
}

/// I05. The last member of a name wins, whatever stood there.
#[test]
fn the_last_of_many_kinds_is_what_stands_at_a_name() {
    for (last, _) in KINDS.into_iter().filter(|(kind, _)| *kind != b'3') {
        let site = Site::new();
        let mut layer = Archive::default().file("target", "t");
        for (kind, _) in KINDS.into_iter().chain(KINDS).chain([(last, "")]) {
            let link =
                if kind == b'2' { format!("{}/canary", site.out()) } else { "target".into() };
            layer = layer.member("x", kind, &link, 0o711, b"");
            if kind == b'5' {
                layer = layer.file("x/in/it", "").symlink("x/out", &site.out());
            }
        }
        site.unpack(layer).unwrap();
        let kind = site.stat("x").file_type();
        let right = match last {
            b'0' => kind.is_file() && site.stat("x").nlink() == 1,
            b'1' => site.stat("x").ino() == site.stat("target").ino(),
            b'2' => kind.is_symlink(),
            b'5' => kind.is_dir(),
            _ => kind.is_fifo(),
        };
        assert!(right, "{} is {kind:?}", char::from(last));
    }
}

/// I06. A deletion through a link marks inside or nothing; one of a name that is none is refused.
#[test]
fn deletions_through_links_and_of_nothing_touch_nothing_outside() {
    for way in ways_out(&Site::new()) {
        for name in ["l/.wh.canary", "l/.wh..wh..opq", "l/folder/.wh.below", ".wh.l", "l/.wh..wh.x"]
        {
            let _ = Site::new().unpack(Archive::default().symlink("l", &way).file(name, ""));
        }
    }
    for name in [".wh.", ".wh..", ".wh...", "a/.wh.", "a/.wh..", ".wh.x/y"] {
        refused(Archive::default().file(name, ""), "deletion mark");
    }
    // What the layer has itself stays, in either order, also behind a link.
    let layer = Archive::default().dir("d", 0o755).symlink("l", "d").file("d/a", "a");
    let site = unpacked(layer.file("l/.wh.a", "").file("l/.wh.b", "").file("l/.wh..wh..opq", ""));
    let site = site.unwrap();
    assert!(site.stat("d/a").is_file() && site.stat("d/b").file_type().is_char_device());
    assert_eq!(attributes(&site.in_root("d")).len(), 2);
}

/// I07. No attribute of overlayfs comes from an archive, and no device that would be a whiteout.
#[test]
fn a_layer_cannot_speak_to_overlayfs() {
    let mut layer = Archive::default();
    let names =
        ["opaque", "redirect", "metacopy", "origin", "impure", "nlink", "upper", "whiteout"];
    for (kind, name) in [(b'5', "grafted"), (b'0', "file"), (b'2', "link"), (b'6', "fifo")] {
        for space in ["trusted.overlay.", "user.overlay.", "user.overlay.overlay."] {
            for attribute in names {
                let key = format!("SCHILY.xattr.{space}{attribute}");
                layer = layer.pax(&[(&key, b"/secret")]).member(name, kind, "x", 0o755, b"");
            }
        }
    }
    let site = unpacked(layer.member("null", b'3', "", 0o666, b"")).unwrap();
    for name in ["grafted", "file", "link", "fifo"] {
        assert_eq!(attributes(&site.in_root(name)), [], "{name}");
    }
    assert!(!site.in_root("null").exists());
    let base = unpacked(Archive::default().file("secret/key", "key").file("null", "kept")).unwrap();
    let script = format!(
        "mount -t overlay o -o lowerdir={}:{} {2} && ls {2}/grafted && cat {2}/null",
        site.root().display(),
        base.root().display(),
        base.scratch.path().join("out/folder").display(),
    );
    match std::process::Command::new("unshare").args(["-m", "sh", "-c", &script]).output() {
        Ok(done) if done.status.success() => assert_eq!(done.stdout, b"kept"),
        other => eprintln!("skipped: no overlay here: {other:?}"),
    }
}

/// I09. No device is ever made, only counted; a FIFO is kept.
#[test]
fn devices_are_counted_and_never_made() {
    let site = Site::new();
    let layer =
        Archive::default().member("d/c", b'3', "", 0o666, b"").member("d/b", b'4', "", 0o666, b"");
    let layer = layer
        .file("was", "x")
        .member("was", b'3', "", 0o666, b"")
        .member("d/f", b'6', "", 0o622, b"");
    let told = site.unpack(layer).unwrap();
    assert_eq!(told.skipped_devices, 3);
    assert!(site.stat("d/f").file_type().is_fifo() && site.stat("d/f").mode() & 0o7777 == 0o622);
    for name in ["d/c", "d/b"] {
        assert!(site.in_root(name).symlink_metadata().is_err());
    }
    assert!(unpacked(Archive::default().member("s", b's', "", 0o644, b"")).is_err());
}

/// I10. A name is bytes and stays so; too long ones are refused, and shown without control bytes.
#[test]
fn names_are_bytes_kept_as_they_are_or_refused_and_shown_escaped() {
    let named = |name: &[u8]| Archive::default().pax(&[("path", name)]).file("x", "x");
    let long = [b'n'; 255];
    for name in
        [&b"\x1b[2Jred"[..], b"two\nlines", b"\xff\xfe\x80", b"\xe2\x80\xae", b" ", b"-rf", &long]
    {
        let site = unpacked(named(name)).unwrap();
        assert!(site.root().join(OsStr::from_bytes(name)).exists(), "{name:?}");
    }
    let deep = "d/".repeat(2047) + "f";
    assert!(unpacked(named(deep.as_bytes())).is_ok());
    refused(named(&[b'n'; 256]), "too long");
    refused(named(("d/".repeat(4000) + "f").as_bytes()), "longer than 4095");
    refused(named(b"a\0b"), "damaged extended header");
    refused(named(b"\x1b[2J/../\n"), r"\u{1b}[2J/../\n");
    refused(named(b"\xe2\x80\xae/.."), "u{202e}");
    let links = Archive::default().pax(&[("linkpath", b"a\x1b\xff\n")]).symlink("l", "x");
    let site = unpacked(links).unwrap();
    assert_eq!(fs::read_link(site.in_root("l")).unwrap().as_os_str().as_bytes(), b"a\x1b\xff\n");
    assert!(
        unpacked(Archive::default().pax(&[("linkpath", &[b'l'; 5000])]).symlink("l", "x")).is_err()
    );
    for name in ["", ".", "/", "./"] {
        for (kind, _) in KINDS.into_iter().filter(|(kind, _)| *kind != b'5') {
            if kind != b'0' || !name.ends_with('/') {
                refused(Archive::default().member(name, kind, "x", 0o644, b""), "root of a layer");
            }
        }
    }
}

/// I12. Someone with the right to do so exchanges a folder with a link while it is written to.
#[test]
fn a_neighbour_that_swaps_folders_for_links_gains_nothing() {
    let site = Site::new();
    let root: std::os::fd::OwnedFd = fs::File::open(site.root()).unwrap().into();
    fs::create_dir(site.in_root("d")).unwrap();
    symlink(site.out(), site.in_root("other")).unwrap();
    let mut layer = Archive::default();
    for n in 0..150 {
        layer =
            layer.dir("d", 0o777).file("d/canary", "dead").file(&format!("d/folder/{n}"), "dead");
        layer =
            layer.member("d/link", b'6', "", 0o666, b"").hard_link(&format!("d/h{n}"), "d/canary");
        layer =
            layer.file("d/folder/.wh.below", "").file("d/.wh..wh..opq", "").symlink("d/again", "x");
    }
    let layer = layer.end();
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let exchange = rustix::fs::RenameFlags::EXCHANGE;
            while !over.load(Ordering::Relaxed) {
                let _ = rustix::fs::renameat_with(&root, "d", &root, "other", exchange);
            }
        });
        for _ in 0..10 {
            // It may fail, and it does; it may not write outside.
            let _ = site.unpack_limited(&layer, Limits::default());
        }
        over.store(true, Ordering::Relaxed);
    });
    assert_eq!(site.look_beside(), site.beside);
}
