//! What the tar reader makes of archives, good and bad.

use super::*;

fn header(name: &str, kind: u8, size: u64) -> [u8; BLOCK] {
    let mut bytes = [0; BLOCK];
    bytes[..name.len()].copy_from_slice(name.as_bytes());
    bytes[100..107].copy_from_slice(b"0000644");
    bytes[108..115].copy_from_slice(b"0000000");
    bytes[116..123].copy_from_slice(b"0000000");
    bytes[124..135].copy_from_slice(format!("{size:011o}").as_bytes());
    bytes[136..147].copy_from_slice(b"00000000000");
    bytes[156] = kind;
    bytes[257..265].copy_from_slice(b"ustar\x0000");
    seal(&mut bytes);
    bytes
}

fn seal(bytes: &mut [u8; BLOCK]) {
    bytes[148..156].fill(b' ');
    let sum: u32 = bytes.iter().map(|&b| u32::from(b)).sum();
    bytes[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
}

fn member(name: &str, kind: u8, content: &[u8]) -> Vec<u8> {
    let mut out = header(name, kind, content.len() as u64).to_vec();
    out.extend_from_slice(content);
    out.resize(out.len().next_multiple_of(BLOCK), 0);
    out
}

fn record(key: &str, value: &[u8]) -> Vec<u8> {
    let body = key.len() + value.len() + 3;
    let mut length = body + 1;
    while length != body + length.to_string().len() {
        length = body + length.to_string().len();
    }
    [length.to_string().as_bytes(), b" ", key.as_bytes(), b"=", value, b"\n"].concat()
}

fn read(archive: &[u8]) -> Result<Vec<(Member, Vec<u8>)>, TapeError> {
    let mut tape = Tape::new(archive);
    let mut members = Vec::new();
    while let Some(member) = tape.next()? {
        let mut content = Vec::new();
        tape.read_to_end(&mut content)?;
        members.push((member, content));
    }
    Ok(members)
}

fn message(archive: &[u8]) -> String {
    read(archive).unwrap_err().to_string()
}

#[test]
fn a_record_with_newlines_in_it_hides_nothing() {
    let records = [
        record("SCHILY.xattr.security.capability", b"\x01\n12 size=99\n\x00"),
        record("mtime", b"-1.25"),
        record("uid", b"4000000"),
    ]
    .concat();
    let archive = [member("x", b'x', &records), member("f", b'0', b"hello")].concat();
    let members = read(&archive).unwrap();
    let (f, content) = &members[0];
    assert_eq!(content, b"hello");
    assert_eq!(f.xattrs[b"security.capability".as_slice()], b"\x01\n12 size=99\n\x00");
    assert_eq!((f.mtime, f.uid), ((-2, 750_000_000), 4_000_000));
}

#[test]
fn the_size_of_an_extended_header_wins_and_is_what_is_skipped() {
    let mut body = header("f", b'0', 0).to_vec();
    body.extend_from_slice(&member("hidden", b'0', b"")[..BLOCK]);
    let archive =
        [member("x", b'x', &record("size", b"512")), body, member("g", b'0', b"g")].concat();
    let names: Vec<_> = read(&archive).unwrap().into_iter().map(|(m, _)| m.path).collect();
    assert_eq!(names, [b"f".to_vec(), b"g".to_vec()]);
}

#[test]
fn long_names_and_base_256_numbers_are_read() {
    let long = "d/".repeat(100) + "f";
    let mut big = header("short", b'0', 0);
    big[108..116].copy_from_slice(&[0x80, 0, 0, 0, 0xff, 0xff, 0xff, 0xfe]);
    big[136..148].copy_from_slice(&[0xff; 12]);
    seal(&mut big);
    let archive = [member("././@LongLink", b'L', long.as_bytes()), big.to_vec()].concat();
    let (member, _) = read(&archive).unwrap().remove(0);
    assert_eq!(member.path, long.as_bytes());
    assert_eq!((member.uid, member.mtime), (0xffff_fffe, (-1, 0)));
}

#[test]
fn both_forms_of_sparse_files_are_read() {
    let mut old = header("old", b'S', 3);
    old[386..397].copy_from_slice(b"00000001000");
    old[398..409].copy_from_slice(b"00000000003");
    old[483..494].copy_from_slice(b"00000002000");
    seal(&mut old);
    let mut archive = old.to_vec();
    archive.extend_from_slice(b"abc");
    archive.resize(1024, 0);
    let records = [
        record("GNU.sparse.major", b"1"),
        record("GNU.sparse.minor", b"0"),
        record("GNU.sparse.name", b"new"),
        record("GNU.sparse.realsize", b"1024"),
    ]
    .concat();
    let mut content = b"1\n512\n3\n".to_vec();
    content.resize(512, 0);
    content.extend_from_slice(b"abc");
    archive.extend(member("x", b'x', &records));
    archive.extend(member("GNUSparseFile.0/new", b'0', &content));
    let members = read(&archive).unwrap();
    for ((member, content), name) in members.iter().zip(["old", "new"]) {
        assert_eq!(member.path, name.as_bytes());
        assert_eq!(content, b"abc");
        assert_eq!(member.sparse, Some(Sparse { size: 1024, segments: vec![(512, 3)] }));
    }
}

#[test]
fn what_two_readers_could_read_differently_is_refused() {
    let f = member("f", b'0', b"");
    let twice = [member("x", b'x', b""), member("x", b'x', b""), f.clone()].concat();
    assert!(message(&twice).contains("two extended headers"));
    let mixed =
        [member("L", b'L', b"a"), member("x", b'x', &record("path", b"b")), f.clone()].concat();
    assert!(message(&mixed).contains("a GNU and a PAX name"));
    for bad in [&b"5 a=b\n"[..], b"9999 a=b\n", b"7 ab=c ", b"-7 a=b\n", b"6 abc\n"] {
        assert!(
            message(&[member("x", b'x', bad), f.clone()].concat()).contains("damaged extended")
        );
    }
    let size = [member("x", b'x', &record("size", b"-1")), f.clone()].concat();
    assert!(message(&size).contains("negative size"));
    assert!(message(&[member("x", b'x', b"").as_slice()].concat()).contains("ends in the middle"));
    assert!(message(&member("v", b'V', b"")).contains("unknown type `V`"));
}

#[test]
fn a_cut_archive_is_an_error_unless_it_is_cut_between_members() {
    let archive = [member("a", b'0', &[1; 600]), member("b", b'0', b"b")].concat();
    let between = [BLOCK * 3, archive.len()];
    for cut in 1..archive.len() {
        let whole = between.contains(&cut) || cut > BLOCK * 4 && cut >= archive.len();
        assert_eq!(
            read(&archive[..cut]).is_ok() && drained(&archive[..cut]),
            whole,
            "cut at {cut}"
        );
    }
}

fn drained(archive: &[u8]) -> bool {
    let mut tape = Tape::new(archive);
    while let Ok(Some(_)) = tape.next() {}
    tape.position() == archive.len() as u64
}

#[test]
fn extended_headers_are_capped_before_they_are_read() {
    let huge = header("x", b'x', (8 << 30) - 1);
    assert!(message(&huge).contains("above 1 MiB"));
    let name = header("x", b'L', 2 << 20);
    assert!(message(&name).contains("above 1 MiB"));
}
