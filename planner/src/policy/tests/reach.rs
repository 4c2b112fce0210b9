//! What a stack has by others and by the host: their mounts, links, devices, users, variables.

use super::*;

/// A container of this or another project that has this mount.
fn there(name: &str, project: &str, spec: ContainerSpec) -> (String, ObservedContainer) {
    let record = serde_json::json!({
        "name": name, "project": project, "service": "other", "number": 1, "oneoff": false,
        "spec": spec, "image_id": "", "addresses": {}, "id_base": null, "depends_on": {},
        "working_dir": "", "config_files": [],
    });
    let container = serde_json::json!({
        "record": record, "id": "", "created_at": 0, "state": { "state": "created" },
        "health": "none", "monitored": false, "held": false, "published": [], "restarts": 0,
    });
    (name.to_owned(), serde_json::from_value(container).unwrap())
}

#[test]
fn mounts_of_a_container_that_is_there_are_looked_at_with_what_it_has_of_others() {
    let mut made = Case1::service("volumes_from: ['container:theirs']");
    let bare = Case1::service("volumes: [/etc:/e, /srv/data:/d]");
    let (desired, _) = bare.found(|_| true);
    let mut spec = desired.services["web"].container.clone();
    let borrowed = spec.mounts.remove("/d").unwrap();
    let (name, mut container) = there("theirs", "others", spec);
    container.record.borrowed.mounts.insert("/d".into(), borrowed);
    made.observed.containers.insert(name, container);
    let cases = made.cases();
    for case in ["HostRoot /etc", "Bind /srv/data", "Foreign theirs"] {
        assert!(cases.contains(case), "{case}: {cases:?}");
    }
    let (desired, _) = made.found(|_| true);
    let subjects = made.subjects(&desired);
    let wanted = wanted(&made.stack, &desired, &made.observed, &subjects);
    assert_eq!(wanted, ["/etc".into(), "/srv/data".into()].into());
}

#[test]
fn a_volume_that_is_there_is_what_it_was_made_of() {
    let mut made = Case1::service("volumes: [data:/v]\n---\nvolumes: { data: { external: true } }");
    let opts = [("type", "none"), ("o", "bind"), ("device", "/etc")];
    let driver_opts = opts.into_iter().map(|(key, value)| (key.into(), value.into())).collect();
    let record = VolumeRecord {
        name: "data".into(),
        project: "others".into(),
        spec: VolumeSpec { driver_opts, ..VolumeSpec::default() },
        container: None,
    };
    made.observed.volumes.insert("data".into(), ObservedVolume { record });
    assert!(made.cases().contains("HiddenHostRoot /etc"), "{:?}", made.cases());
    let (desired, _) = made.found(|_| true);
    let subjects = made.subjects(&desired);
    let wanted = wanted(&made.stack, &desired, &made.observed, &subjects);
    assert_eq!(wanted, ["/etc".into()].into());
}

#[test]
fn a_folder_that_holds_the_host_is_no_project() {
    for (project, path) in
        [("/", "/etc/shadow"), ("/home/ann", "/home/ann/.ssh"), ("/usr", "/usr/bin")]
    {
        let mut made = Case1::service(&format!("volumes: ['{path}:/x']"));
        made.facts.project = project.into();
        made.facts.files.insert(Path::new(project).join("part.yaml"));
        let cases = made.cases();
        assert!(cases.contains(&format!("HostRoot {path}")), "{project}: {cases:?}");
        assert!(!cases.iter().any(|case| case.starts_with("File ")), "{project}: {cases:?}");
    }
}

#[test]
fn a_file_beside_the_stack_that_leads_elsewhere_is_judged_as_what_it_leads_to() {
    let mut made = Case1::service("init: true");
    made.facts.files = ["/srv/shop/link".into(), "/srv/shop/part.yaml".into()].into();
    let files = |case: &&String| case.starts_with("File ");
    assert_eq!(Vec::from_iter(made.cases().iter().filter(files)), ["File /etc/shadow"]);
}

#[test]
fn a_folder_of_devices_is_what_it_holds_by_driver_and_a_disk_among_them_is_the_host() {
    let judged = |nodes: &[Node]| {
        let mut made = Case1::service("devices: [/dev/snd]");
        made.facts.devices.insert("/dev/snd".into(), nodes.iter().copied().collect());
        let grants = made.grants(Level::Default, Origin::Operator, &[]);
        let grant = grants.into_iter().find(|grant| grant.id == "G-DEV").unwrap();
        (grant.case, grant.what, grant.digest)
    };
    let sound = judged(&[node(false, 116, 1), node(false, 116, 33)]);
    assert_eq!(sound.0, Case::Device);
    assert_eq!(sound.1, "all devices in /dev/snd, c 116:* (rwm)");
    assert_eq!(judged(&[node(false, 116, 7)]), sound, "another card of the same driver");
    let disk = judged(&[node(false, 116, 1), node(true, 8, 0)]);
    assert_eq!(disk.0, Case::HostDevice);
    assert_eq!(
        disk.1,
        "all devices in /dev/snd, b 8:*, c 116:* (rwm): memory or a disk of the host"
    );
    assert_ne!(disk.2, sound.2);
    assert_eq!(judged(&[node(false, 1, 1)]).0, Case::HostDevice, "memory");
}

#[test]
fn a_user_is_root_unless_a_number_or_its_image_says_otherwise() {
    let what = |user: &str, uid: Option<u32>| {
        let mut made = Case1::service(user);
        made.facts.uids.extend(uid.map(|uid| ("web".to_owned(), uid)));
        let found = made.found(|row| row == "G-ROOT").1;
        found.into_iter().map(|found| found.what).collect::<String>()
    };
    assert_eq!(what("user: '1000'", None), "");
    assert_eq!(what("user: '1000:0'", None), "");
    assert_eq!(what("user: nobody", Some(65534)), "");
    assert_eq!(what("init: true", Some(5)), "");
    assert_eq!(what("user: '0:5'", None), "user 0 of the container");
    assert_eq!(what("init: true", Some(0)), "user 0 of the container");
    assert_eq!(what("user: nobody", Some(0)), "user 0 of the container: its image calls it nobody");
    assert_eq!(what("init: true", None), "the user of its image, and nobody knows which");
    assert_eq!(what("user: nobody:x", None), "whoever nobody:x is in its image, and nobody knows");
}

#[test]
fn data_for_everybody_is_told_to_need_no_word_when_it_is_read_only() {
    let harmless = |volume: &str| {
        let made = Case1::service(&format!("volumes: ['{volume}']"));
        let grants = made.grants(Level::Default, Origin::Operator, &[]);
        grants.iter().any(Grant::is_harmless_to_read)
    };
    assert!(harmless("/etc/ssl/certs:/c"));
    assert!(harmless("/etc/localtime:/c"), "a link to what is public");
    assert!(!harmless("/etc/ssl/certs:/c:ro"));
    assert!(!harmless("/etc:/c"));
}

#[test]
fn what_is_handed_to_the_whole_stack_has_the_place_that_asks_for_it() {
    let mut made = Case1::service("init: true");
    made.stack = load(&[
        ("compose.yaml", "services:\n  web: { image: a, env_file: link }\nx-a: $HOME\n"),
        ("link", "A=1\nB=${TOKEN}\n"),
    ]);
    made.facts.variables = ["HOME".into(), "TOKEN".into()].into();
    made.facts.files = ["/srv/shop/link".into()].into();
    let grants = made.grants(Level::Guarded, Origin::Operator, &[]);
    let of_stack = grants.iter().filter(|grant| grant.service.is_none());
    let told = of_stack.map(|grant| {
        let place = grant.place.as_ref().map(ToString::to_string).unwrap_or_default();
        format!("{} {} {place}", grant.id, grant.object)
    });
    assert_snapshot!(Vec::from_iter(told).join("\n"), @r"
    G-FILE /etc/shadow compose.yaml:2:30
    G-ENV HOME compose.yaml:3:6
    G-ENV TOKEN link:2:3
    ");
}
