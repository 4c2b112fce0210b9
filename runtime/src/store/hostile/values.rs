//! Numbers, attributes, streams: what they cost and what is made of them.

use std::io::{Read, Write};

use super::super::Store;
use super::super::create::About;
use super::super::test_images::{docker_archive, gzip};
use super::*;

const CAPABILITY: [u8; 20] = [1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

/// A header of `size`, its fields changed by `change`, with a right checksum.
fn header(name: &str, kind: u8, size: u64, change: impl FnOnce(&mut [u8])) -> Vec<u8> {
    let mut header = tar::Header::new_gnu();
    header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
    header.set_entry_type(tar::EntryType::new(kind));
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(1_000_000_000);
    header.set_size(size);
    change(header.as_mut_bytes());
    header.set_cksum();
    header.as_bytes().to_vec()
}

fn raw(bytes: &[u8]) -> Archive {
    Archive::default().raw(bytes)
}

/// I08. `user.*` and a whole file capability are kept, nothing else; too large is told.
#[test]
fn only_attributes_of_the_list_are_kept() {
    let cut = &CAPABILITY[..19];
    let mut third = [0; 24];
    third[3] = 3;
    let refused: [(&str, &[u8]); 12] = [
        ("security.selinux", b"system_u:object_r:bin_t:s0\0"),
        ("security.ima", b"\x01"),
        ("security.evm", b"\x02"),
        ("security.apparmor", b"x"),
        ("security.capability", b""),
        ("security.capability", cut),
        ("security.capability", &third),
        ("security.capability", &[0; 20]),
        ("system.posix_acl_access", b"\x02\0\0\0"),
        ("trusted.x", b"x"),
        ("users.x", b"x"),
        ("", b"x"),
    ];
    for (name, value) in refused {
        let key = format!("SCHILY.xattr.{name}");
        let site = unpacked(Archive::default().pax(&[(&key, value)]).file("f", "")).unwrap();
        assert_eq!(attributes(&site.in_root("f")), [], "{name}");
    }
    let good = [
        ("SCHILY.xattr.security.capability", &CAPABILITY[..]),
        ("SCHILY.xattr.user.a=b", &b"x"[..]),
    ];
    let site = Site::new();
    for (kind, name) in [(b'0', "f"), (b'5', "d"), (b'2', "l"), (b'6', "p")] {
        let layer = Archive::default().pax(&good[..1]).owned(name, kind, "f", 0o6755, (7, 7), b"");
        site.unpack(layer).unwrap();
    }
    // It is set after the owner, whose change clears it, and the set-id bits with it.
    let kept = ("security.capability".to_owned(), CAPABILITY.to_vec());
    assert_eq!(attributes(&site.in_root("f")), [kept]);
    assert_eq!(site.stat("f").mode() & 0o7777, 0o6755);
    for name in ["d", "l", "p"] {
        assert_eq!(attributes(&site.in_root(name)), [], "{name}");
    }
    // A key ends at its first `=`, for every reader.
    let site = unpacked(Archive::default().pax(&good[1..]).file("f", "")).unwrap();
    assert_eq!(attributes(&site.in_root("f")), [("user.a".to_owned(), b"b=x".to_vec())]);
    let large = [("SCHILY.xattr.user.large", &[b'x'; 1 << 16][..])];
    match unpacked(Archive::default().pax(&large).file("f", "")) {
        Ok(site) => assert_eq!(attributes(&site.in_root("f"))[0].1.len(), 1 << 16),
        Err(message) => assert!(message.contains("too large"), "{message}"),
    }
    let more = [("SCHILY.xattr.user.large", &vec![b'x'; (1 << 16) + 1][..])];
    assert!(unpacked(Archive::default().pax(&more).file("f", "")).is_err());
}

/// I11. No owner becomes root because chown took it for "leave it"; times may be any.
#[test]
fn owners_are_as_written_or_refused_and_any_time_is_taken() {
    for bad in ["4294967295", "4294967296", "-1", "99999999999999999999", "x", "+5", " 5", "5 "] {
        for key in ["uid", "gid"] {
            let layer = Archive::default().pax(&[(key, bad.as_bytes())]).file("f", "");
            assert!(unpacked(layer).is_err(), "{key} {bad}");
        }
    }
    let site = unpacked(
        Archive::default().pax(&[("uid", b"4294967294"), ("gid", b"2097152")]).file("f", ""),
    );
    let site = site.unwrap();
    assert_eq!((site.stat("f").uid(), site.stat("f").gid()), (4_294_967_294, 2_097_152));
    let negative =
        |range: std::ops::Range<usize>| raw(&header("f", b'0', 0, |bytes| bytes[range].fill(0xff)));
    refused(negative(108..116), "owner is not a valid id");
    refused(negative(116..124), "group is not a valid id");
    let site = unpacked(negative(136..148)).unwrap();
    assert_eq!(site.stat("f").mtime(), -1);
    for time in
        ["9223372036854775807", "-9223372036854775808", "-0.5", "0.999999999999", "-1.000000001"]
    {
        let records = [("mtime", time.as_bytes())];
        for (kind, name) in [(b'0', "f"), (b'2', "l"), (b'5', "d"), (b'6', "p")] {
            unpacked(Archive::default().pax(&records).member(name, kind, "x", 0o644, b"")).unwrap();
        }
    }
    let half = unpacked(Archive::default().pax(&[("mtime", b"-0.5")]).file("f", "")).unwrap();
    assert_eq!((half.stat("f").mtime(), half.stat("f").mtime_nsec()), (-1, 500_000_000));
    for bad in ["", "1e3", ".", "1.2.3", "NaN", "9223372036854775808", "--1"] {
        let layer = Archive::default().pax(&[("mtime", bad.as_bytes())]).file("f", "");
        assert_eq!(unpacked(layer).is_ok(), bad.is_empty(), "{bad}");
    }
    let mode = raw(&header("f", b'0', 0, |bytes| bytes[100..108].copy_from_slice(b"7777777\0")));
    assert_eq!(unpacked(mode).unwrap().stat("f").mode(), 0o107_777);
}

/// I13. Where readers could see other members than we do, nothing is read.
#[test]
fn a_size_is_read_one_way() {
    let inner = Archive::default().file("smuggled", "x").open_end();
    let size = inner.len().to_string();
    // The record wins over the header, as everywhere but in the readers that had the hole.
    let zero =
        Archive::default().pax(&[("size", size.as_bytes())]).raw(&header("f", b'0', 0, |_| ()));
    let site = unpacked(zero.raw(&inner).file("after", "")).unwrap();
    assert!(!site.in_root("smuggled").exists() && site.in_root("after").exists());
    assert_eq!(fs::read(site.in_root("f")).unwrap(), inner);
    let smaller = Archive::default().pax(&[("size", b"0")]);
    let smaller = smaller.raw(&header("f", b'0', inner.len() as u64, |_| ())).raw(&inner);
    assert!(unpacked(smaller).unwrap().in_root("smuggled").exists());
    let larger = Archive::default().pax(&[("size", b"99999")]).file("f", "x");
    refused(larger, "ends in the middle");
    for (kind, name) in
        [(b'1', "h"), (b'2', "l"), (b'3', "c"), (b'4', "b"), (b'5', "d"), (b'6', "p")]
    {
        let sized = Archive::default().file("x", "").member(name, kind, "x", 0o644, &inner);
        refused(sized, "a size on a member that has no content");
        let by_record = Archive::default().file("x", "").pax(&[("size", b"512")]);
        refused(by_record.member(name, kind, "x", 0o644, b"").raw(&[0; 512]), "no content");
    }
    let twice = Archive::default().pax(&[("size", b"1")]).pax(&[("size", b"0")]).file("f", "x");
    refused(twice, "two extended headers");
    let mixed =
        Archive::default().member("L", b'L', "", 0, b"a").pax(&[("path", b"b")]).file("f", "");
    refused(mixed, "a GNU and a PAX name");
    for (bad, reason) in [
        (&b"12 size=1"[..], "damaged extended"),
        (&b"11 size=1\n"[..], "damaged extended"),
        (&b"013 size=10\n"[..], "damaged extended"),
        (&b"10 size=+1\n"[..], "damaged extended"),
        (&b"11 size=0x1\n"[..], "damaged extended"),
        (&b"11 size=+1\n"[..], "not decimal"),
        (&b"4294967296 size=1\n"[..], "damaged extended"),
    ] {
        let layer = Archive::default().member("x", b'x', "", 0, bad).file("f", "x");
        refused(layer, reason);
    }
    for key in ["size", "path", "linkpath", "GNU.sparse.size"] {
        let record = Archive::default().pax(&[(key, b"1")]).open_end()[512..1024].to_vec();
        let length = record.iter().position(|&b| b == 0).unwrap();
        let global = Archive::default().member("g", b'g', "", 0, &record[..length]);
        refused(global.file("f", "x"), "for every member");
    }
    let comment = Archive::default().member("g", b'g', "", 0, b"18 comment=abcdef\n");
    assert!(unpacked(comment.file("f", "x")).unwrap().in_root("f").exists());
    let leading = header("f", b'0', 0, |bytes| bytes[124..136].copy_from_slice(b"\x0000000001000"));
    refused(raw(&leading), "after a NUL byte");
}

/// I14. A hole counts as what it is, and a map has to fit the file and its content.
#[test]
fn holes_count_and_maps_are_checked() {
    let sparse = |size: &str, map: &str, content: &[u8]| {
        let records = [("GNU.sparse.size", size.as_bytes()), ("GNU.sparse.map", map.as_bytes())];
        Archive::default().pax(&records).member("f", b'0', "", 0o644, content)
    };
    let site = unpacked(sparse("1073741824", "4096,3,1073741820,2", b"abcde")).unwrap();
    let there = site.stat("f");
    assert_eq!(there.size(), 1 << 30);
    assert!(there.blocks() < 100, "{} blocks", there.blocks());
    let mut file = vec![0; 4100];
    fs::File::open(site.in_root("f")).unwrap().read_exact(&mut file).unwrap();
    assert_eq!((&file[4094..], file[..4096].iter().all(|&b| b == 0)), (&b"\0\0abc\0"[..], true));
    refused(sparse("1099511627776", "0,1", b"x"), "more than 34359738368 bytes");
    for (size, map) in [
        ("10", "0,3,2,3"),
        ("10", "5,3,0,3"),
        ("5", "0,3,3,3"),
        ("10", "0,5"),
        ("10", "0,7"),
        ("10", "0"),
        ("10", "0,"),
        ("10", "-1,6"),
        ("10", "9223372036854775807,6"),
        ("-10", "0,6"),
        ("", "0,6"),
        ("10", "a,b"),
    ] {
        assert!(unpacked(sparse(size, map, b"abcdef")).is_err(), "{size} {map}");
    }
    let many = "0,0,".repeat(70_000) + "0,6";
    refused(sparse("10", &many, b"abcdef"), "above 1 MiB");
    let lines = |map: &[u8]| {
        let records = [
            ("GNU.sparse.major", &b"1"[..]),
            ("GNU.sparse.minor", &b"0"[..]),
            ("GNU.sparse.realsize", &b"10"[..]),
        ];
        let mut content = map.to_vec();
        content.resize(map.len().next_multiple_of(512), 0);
        Archive::default().pax(&records).member("f", b'0', "", 0o644, &content)
    };
    for map in [&b"99999999999\n"[..], b"1\n0", b"", b"1\n-1\n1\n", b"x\n", &[b'1'; 512]] {
        assert!(unpacked(lines(map)).is_err(), "{map:?}");
    }
    // Old headers that promise more blocks of map than there is anything in them.
    let mut endless = header("f", b'S', 0, |bytes| bytes[482] = 1);
    let mut block = [0; 512];
    block[504] = 1;
    endless.extend(block.repeat(66_000));
    refused(raw(&endless), "above 1 MiB");
}

/// I15. Nothing that was cut gets a name, wherever it was cut.
#[test]
fn a_cut_archive_gets_no_name() {
    let scratch = Scratch::new("cut");
    let store = Store::open(scratch.path());
    let layer = Archive::default().dir("d", 0o755).file("d/a", "text").file("b", &"b".repeat(700));
    let layer = layer.end();
    let about = About { reference: Some("cut:1".to_owned()), ..About::default() };
    let whole = docker_archive(&["cut:1"], std::slice::from_ref(&layer));
    for (archive, is_flat) in [(&layer, true), (&whole, false)] {
        let content = archive.len() - 1024;
        let near = (0..=content).step_by(512).flat_map(|at| [at.saturating_sub(1), at, at + 1]);
        for cut in near.filter(|cut| *cut <= content) {
            let done = match is_flat {
                true => store.import(&archive[..cut], &about).map(drop),
                false => store.load_stream(&archive[..cut]).map(drop),
            };
            // Without its mark of the end, but whole, an archive of images has its digests.
            assert_eq!(done.is_ok(), cut == content && !is_flat, "cut at {cut}: {done:?}");
            assert!(done.is_ok() || store.list().unwrap().is_empty());
        }
    }
    assert_eq!(store.list().unwrap().len(), 1);
    let making = fs::read_dir(scratch.path().join("making")).map_or(0, Iterator::count);
    assert_eq!(making, 0, "something half made is left");
    let lone = Archive::default().file("a", "").raw(&[0; 512]).file("hidden", "");
    refused(lone, "an empty block");
    // After the mark of the end nothing is read, by anyone; it is a part of the digest.
    let trailing = [layer.as_slice(), &Archive::default().file("hidden", "").end()].concat();
    let site = Site::new();
    site.unpack_limited(&trailing, Limits::default()).unwrap();
    assert!(!site.in_root("hidden").exists());
    let bad = header("f", b'0', 0, |_| ());
    for at in [0, 100, 124, 148, 156, 345] {
        let mut damaged = bad.clone();
        damaged[at] ^= 1;
        assert!(unpacked(raw(&damaged)).is_err(), "a flipped bit at {at}");
    }
}

/// I16. Every member, frame and checksum is read; what follows them is no stream.
#[test]
fn a_compressed_stream_is_whole_and_nothing_beside() {
    let plain = Archive::default().file("a", &"a".repeat(5000)).file("b", "b").end();
    let (left, right) = plain.split_at(3000);
    let zstd = |bytes: &[u8]| zstd::encode_all(bytes, 3).unwrap();
    let skip = [&[0x53, 0x2a, 0x4d, 0x18, 5, 0, 0, 0][..], b"notes"].concat();
    let take = |layer: &[u8]| Site::new().unpack_limited(layer, Limits::default());
    for good in [
        [gzip(left), gzip(b""), gzip(right)].concat(),
        [zstd(left), zstd(right)].concat(),
        [skip.clone(), zstd(left), skip.clone(), zstd(right), skip.clone()].concat(),
    ] {
        assert_eq!(take(&good).unwrap().entries, 2);
    }
    let (gz, zs) = (gzip(&plain), zstd(&plain));
    for bad in [
        [&gz[..], b"garbage"].concat(),
        [&gz[..], &[0; 512]].concat(),
        [&zs[..], b"garbage"].concat(),
        gz[..gz.len() - 1].to_vec(),
        gz[..gz.len() - 9].to_vec(),
        zs[..zs.len() - 1].to_vec(),
        [&gz[..], &gz[..11]].concat(),
        gzip(&gz),
    ] {
        assert!(take(&bad).is_err(), "{:?}…", &bad[..20.min(bad.len())]);
    }
    for at in [gz.len() - 1, gz.len() - 6, gz.len() / 2] {
        let mut damaged = gz.clone();
        damaged[at] ^= 1;
        assert!(take(&damaged).is_err(), "a flipped bit at {at}");
    }
    // A window of 2 GiB: descriptor 0xa8 is 2^31.
    let window = [0x28, 0xb5, 0x2f, 0xfd, 0, 0xa8, 1, 0, 0];
    assert!(take(&window).unwrap_err().contains("memory"));
    for (name, magic) in [("xz", &b"\xfd7zXZ\0\0\x04"[..]), ("bzip2", b"BZh91AY&SY")] {
        let told = take(magic).unwrap_err();
        assert!(told.contains(name) && told.contains("decompress it first"), "{told}");
    }
}

/// I16. A bomb is stopped by what it becomes, and costs no memory until then.
#[test]
fn a_bomb_is_stopped_before_it_fills_anything() {
    let zeros = 300 << 20;
    let mut bomb = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(6));
    bomb.write_all(&header("zeros", b'0', zeros, |_| ())).unwrap();
    std::io::copy(&mut std::io::repeat(0).take(zeros + 1024), &mut bomb).unwrap();
    let bomb = bomb.finish().unwrap();
    assert!(bomb.len() < 2 << 20);
    let limits = Limits { plain: 1 << 20, expansion: 50, ..Limits::default() };
    let told = Site::new().unpack_limited(&bomb, limits).unwrap_err();
    assert!(told.contains("50 times as many"), "{told}");
    let told = Site::new().unpack_limited(&bomb, Limits { bytes: 1 << 20, ..Limits::default() });
    assert!(told.unwrap_err().contains("more than 1048576 bytes"));
    // What is short may become a lot, up to a limit.
    let site = Site::new();
    site.unpack_limited(&bomb, Limits { plain: 400 << 20, ..Limits::default() }).unwrap();
    assert_eq!(site.stat("zeros").size(), zeros);
    let frames = zstd::encode_all(std::io::repeat(0).take(64 << 20), 1).unwrap();
    let limits = Limits { plain: 1 << 20, ..Limits::default() };
    assert!(Site::new().unpack_limited(&frames, limits).is_err());
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let peak: u64 = peak.trim().trim_end_matches(" kB").parse().unwrap();
    assert!(peak < 256 << 10, "{peak} KiB at most in memory");
}

/// I17. Entries, implied folders, bytes, names in memory, extended headers: each has a limit.
#[test]
fn too_much_of_anything_is_stopped_and_nothing_of_it_stays() {
    let stop = |layer: Archive, limits: Limits, reason: &str| {
        let site = Site::new();
        let told = site.unpack_limited(&layer.end(), limits).unwrap_err();
        assert!(told.contains(reason), "{told}");
        site
    };
    let few = Limits { entries: 10, ..Limits::default() };
    let deep = "d/".repeat(40) + "f";
    stop(Archive::default().file(&deep, ""), few, "more than 10 entries");
    let many = (0..11).fold(Archive::default(), |layer, _| layer.file("same", ""));
    stop(many, few, "more than 10 entries");
    let small = Limits { bytes: 1000, ..Limits::default() };
    let large = Archive::default().file("a", &"x".repeat(600)).file("b", &"x".repeat(600));
    let site = stop(large, small, "more than 1000 bytes");
    assert!(!site.in_root("b").exists());
    let value = vec![b'v'; 600];
    let attribute = [("SCHILY.xattr.user.a", &value[..])];
    let attributes = Archive::default().pax(&attribute).file("a", "").pax(&attribute).file("b", "");
    stop(attributes, small, "more than 1000 bytes");
    let names = Limits { folder_names: 100, ..Limits::default() };
    let folders = (0..30).fold(Archive::default(), |layer, n| layer.dir(&format!("d{n}"), 0o755));
    let folders = folders.dir("e".repeat(60).as_str(), 0o755).file("last", "");
    stop(folders, names, "more than 100 bytes of names of folders");
    let huge = raw(&header("x", b'x', (8 << 30) - 1, |_| ()));
    stop(huge, Limits::default(), "above 1 MiB");
    let long = (0..40).fold(Archive::default(), |layer, _| layer.member("g", b'g', "", 0, &[]));
    assert!(Site::new().unpack(long.file("f", "")).is_ok());
    // A store that refused a layer has nothing of it.
    let scratch = Scratch::new("bomb");
    let store = Store::open(scratch.path());
    let hole = [("GNU.sparse.size", &b"1099511627776"[..]), ("GNU.sparse.map", &b"0,1"[..])];
    let layer = Archive::default().file("first", "x").pax(&hole).file("hole", "x").end();
    let told = store.load_stream(docker_archive(&["bomb:1"], &[layer]).as_slice()).unwrap_err();
    assert!(told.to_string().contains("more than 34359738368 bytes"), "{told}");
    assert_eq!(store.list().unwrap(), []);
    for folder in ["layers", "making", "images"] {
        let left = fs::read_dir(scratch.path().join(folder)).unwrap().count();
        assert_eq!(left, 0, "{folder} has something left");
    }
}
