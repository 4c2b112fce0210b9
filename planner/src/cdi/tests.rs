//! Tests of files that describe devices.

use super::*;

const GOOD: &str = r#"{
    "cdiVersion": "0.6.0", "kind": "vendor.com/net", "annotations": {"a": "b"},
    "containerEdits": {"env": ["ALL=1"]},
    "devices": [
        {"name": "0", "containerEdits": {
            "deviceNodes": [{"path": "/dev/x", "hostPath": "/dev/null", "permissions": "rw"}],
            "mounts": [{"hostPath": "/lib/x", "containerPath": "/lib/y", "options": ["ro"]}],
            "additionalGids": [0, 7]}},
        {"name": "10", "containerEdits": {"env": ["TEN=1"]}},
        {"name": "9", "containerEdits": {"netDevices": [{}]}}
    ]}"#;

fn file(path: &str, folder: usize, text: &str) -> CdiFile {
    CdiFile { path: path.into(), folder, text: Ok(text.as_bytes().to_vec()), doubt: None }
}

fn why(text: &str, device: &str) -> String {
    let library = Library::read(&[file("/etc/cdi/a.json", 0, text)]);
    library.edits(&[device.to_owned()]).unwrap_err().1
}

#[test]
fn devices_of_one_file_share_what_it_asks_for_all() {
    let library = Library::read(&[file("/etc/cdi/a.json", 0, GOOD)]);
    let edits = library.edits(&["vendor.com/net=0".into(), "vendor.com/net=10".into()]).unwrap();
    assert_eq!(edits.env, ["ALL=1", "TEN=1"]);
    assert_eq!((edits.nodes.len(), edits.mounts.len()), (1, 1));
    assert_eq!(edits.nodes[0].source, Path::new("/dev/null"));
    assert!(!edits.nodes[0].access.mknod && edits.mounts[0].read_only);
    assert_eq!(edits.groups, [7]);
    assert_eq!(library.names("vendor.com/net"), ["0", "9", "10"]);
}

#[test]
fn yaml_says_the_same() {
    let text = "cdiVersion: 0.5.0\nkind: v.com/c\ndevices:\n- name: a\n  containerEdits:\n    \
                env: [A=b]\n";
    let library = Library::read(&[file("/etc/cdi/a.yaml", 0, text)]);
    assert_eq!(library.edits(&["v.com/c=a".into()]).unwrap().env, ["A=b"]);
}

#[test]
fn a_later_folder_wins_and_two_files_of_one_folder_exclude_each_other() {
    let other = GOOD.replace("ALL=1", "ALL=2");
    let files = [file("/etc/cdi/a.json", 0, GOOD), file("/run/cdi/a.json", 1, &other)];
    let device = ["vendor.com/net=10".to_owned()];
    assert_eq!(Library::read(&files).edits(&device).unwrap().env[0], "ALL=2");
    let files = [file("/etc/cdi/a.json", 0, GOOD), file("/etc/cdi/b.json", 0, &other)];
    let (_, why) = Library::read(&files).edits(&device).unwrap_err();
    assert_eq!(why, "`/etc/cdi/a.json` and `/etc/cdi/b.json` both describe it, so neither counts");
}

#[test]
fn what_is_not_done_or_not_sound_makes_the_device_unusable_with_the_reason() {
    assert!(why(GOOD, "vendor.com/net=9").contains("asks for network devices"));
    assert_eq!(why(GOOD, "vendor.com/net=1"), "there are 0, 9, 10");
    let edits = |edits: &str| {
        let text = format!(
            r#"{{"cdiVersion": "1.0.0", "kind": "v/c",
                "devices": [{{"name": "a", "containerEdits": {edits}}}]}}"#
        );
        why(&text, "v/c=a")
    };
    for (bad, told) in [
        (r#"{"deviceNodes": [{"path": "/dev/../x"}]}"#, "no absolute path"),
        (r#"{"deviceNodes": [{"path": "dev/x"}]}"#, "no absolute path"),
        (r#"{"deviceNodes": [{"path": "/dev/x", "permissions": "rx"}]}"#, "which are none"),
        (r#"{"deviceNodes": [{"path": "/dev/x", "type": "p"}]}"#, "no device node"),
        (r#"{"env": ["=x"]}"#, "no variable"),
        (r#"{"mounts": [{"hostPath": "/a", "containerPath": "/b", "options": ["suid"]}]}"#, "suid"),
        (r#"{"mounts": [{"hostPath": "/a", "containerPath": "/b", "type": "tmpfs"}]}"#, "no bind"),
        (r#"{"netDevices": [{}]}"#, "network devices"),
        (r#"{"hooks": [{"hookName": "now", "path": "/x"}]}"#, "no time for a hook"),
        (r#"{"hooks": [{"hookName": "poststop", "path": "x"}]}"#, "no absolute path"),
        (r#"{"hooks": [{"hookName": "poststop", "path": "/x", "timeout": 0}]}"#, "0 s"),
        (r#"{"hooks": [{"hookName": "poststop", "path": "/x", "env": ["a"]}]}"#, "no variable"),
        (r#"{"surprise": 1}"#, "unknown field"),
    ] {
        assert!(edits(bad).contains(told), "{bad}: {}", edits(bad));
    }
    for bad in ["", "{", "[]", "{\"cdiVersion\": \"9.0\", \"kind\": \"v/c\", \"devices\": []}"] {
        assert!(why(bad, "v/c=a").contains("/etc/cdi/a.json"), "{bad}");
    }
}

#[test]
fn a_hostile_text_ends_with_a_reason() {
    let bomb = (0..30).fold("a0: &a0 [x, x]\n".to_owned(), |text, n| {
        text + &format!("a{}: &a{} [*a{n}, *a{n}, *a{n}]\n", n + 1, n + 1)
    });
    let deep = "[".repeat(100_000);
    for text in [bomb, deep] {
        let library = Library::read(&[file("/etc/cdi/a.yaml", 0, &text)]);
        assert!(library.edits(&["v/c=a".into()]).is_err());
    }
}

#[test]
fn hooks_are_taken_from_what_root_alone_can_change() {
    let text = r#"{"cdiVersion": "1.0.0", "kind": "v/c", "devices": [
        {"name": "a", "containerEdits": {"hooks": [
            {"hookName": "createContainer", "path": "/bin/link", "args": ["link", "-s"], "timeout": 3},
            {"hookName": "startContainer", "path": "/bin/own"}]}},
        {"name": "plain", "containerEdits": {"env": ["A=b"]}}]}"#;
    let mut file = file("/etc/cdi/a.json", 0, text);
    let mut library = Library::read(std::slice::from_ref(&file));
    let edits = library.edits(&["v/c=a".into()]).unwrap();
    let [link, own] = edits.hooks.as_slice() else { panic!("{edits:?}") };
    assert_eq!((link.moment, link.seconds, own.seconds), (Moment::CreateContainer, 3, 60));
    assert_eq!(
        (link.args.as_slice(), own.args.as_slice()),
        (&["link".into(), "-s".into()][..], &["/bin/own".into()][..])
    );
    assert_eq!(library.programs().len(), 2);

    let changed =
        || ["/bin/link", "/bin/own"].map(|path| (path.into(), "is not of root".into())).into();
    library.doubt(changed());
    let (_, why) = library.edits(&["v/c=a".into()]).unwrap_err();
    assert_eq!(why, "its hook is not run, because `/bin/link` is not of root");
    file.doubt = Some("can be changed by others".into());
    let library = Library::read(&[file]);
    let (_, why) = library.edits(&["v/c=a".into()]).unwrap_err();
    assert_eq!(why, "its hooks are not run, because `/etc/cdi/a.json` can be changed by others");
    assert!(library.edits(&["v/c=plain".into()]).is_ok());
}
