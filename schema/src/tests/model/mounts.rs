//! Mounts.

use insta::assert_snapshot;

use super::{refused, refused_file, service, shown};
use crate::stack::{
    Mount, MountSource, Propagation, Recursive, Relabel, Tmpfs, VolumesFrom, VolumesSource,
};

fn mount(attributes: &str) -> Mount {
    service(&format!("volumes: [{attributes}]")).volumes.remove(0)
}

#[test]
fn bind_mounts_say_how_they_spread_and_are_labelled() {
    let bind = |propagation, recursive, selinux| MountSource::Bind {
        path: "/p/a".into(),
        create_host_path: true,
        propagation,
        recursive,
        selinux,
    };
    assert_eq!(mount("./a:/b").source, bind(None, Recursive::Enabled, None));
    let short = mount("'./a:/b:ro,z,rslave'");
    let labelled = bind(Some(Propagation::RSlave), Recursive::Enabled, Some(Relabel::Shared));
    assert_eq!((short.source, short.read_only), (labelled, true));
    let long = mount(
        "{type: bind, source: ./a, target: /b, bind: {propagation: shared, recursive: writable, selinux: Z}}",
    );
    let private = bind(Some(Propagation::Shared), Recursive::Writable, Some(Relabel::Private));
    assert_eq!(long.source, private);
}

#[test]
fn volumes_and_images_show_one_of_their_folders() {
    let stack = shown(
        "services:
  web:
    image: i
    volumes:
      - {type: volume, source: data, target: /a, volume: {nocopy: true, subpath: x/y}}
      - {type: volume, target: /b, volume: {labels: [k=v]}}
      - {type: image, source: 'tools:1', target: /c, image: {subpath: bin}}
volumes: {data: }
",
    );
    let sources: Vec<&MountSource> =
        stack.services["web"].volumes.iter().map(|mount| &mount.source).collect();
    let volume =
        MountSource::Volume { name: "data".into(), nocopy: true, subpath: Some("x/y".into()) };
    let labels = [("k".to_owned(), "v".to_owned())].into();
    let anonymous = MountSource::Anonymous { nocopy: false, labels };
    let image = MountSource::Image { reference: "tools:1".into(), subpath: Some("bin".into()) };
    assert_eq!(sources, [&volume, &anonymous, &image]);
}

#[test]
fn memory_is_mounted_in_both_forms() {
    let tmpfs = |target: &str, size, mode, options: &[&str]| Tmpfs {
        target: target.into(),
        size,
        mode,
        options: options.iter().map(|&option| option.into()).collect(),
    };
    let long = mount("{type: tmpfs, target: /t, read_only: true, tmpfs: {size: 1m, mode: 0o700}}");
    let wanted = tmpfs("/t", Some(1 << 20), Some(0o700), &["ro"]);
    assert_eq!(long.source, MountSource::Tmpfs(wanted));
    let short = service("tmpfs: ['/a:size=1m,mode=755,noexec,uid=5', '/b:size=50%', /c]").tmpfs;
    assert_eq!(short[0], tmpfs("/a", Some(1 << 20), Some(0o755), &["noexec", "uid=5"]));
    assert_eq!(short[1], tmpfs("/b", None, None, &["size=50%"]));
    assert_eq!(short[2], tmpfs("/c", None, None, &[]));
}

#[test]
fn volumes_of_others_are_named() {
    let from = |source, read_only| VolumesFrom { source, read_only };
    let volumes = service("volumes_from: [other, 'other:ro', 'container:c', 'container:c:ro']");
    let (other, c) =
        (|| VolumesSource::Service("other".into()), || VolumesSource::Container("c".into()));
    let wanted = [from(other(), false), from(other(), true), from(c(), false), from(c(), true)];
    assert_eq!(volumes.volumes_from, wanted);
}

#[test]
fn mounts_that_cannot_work_are_refused() {
    assert_snapshot!(refused(
        "tmpfs: ['/a:noexce', '/b:mode=9', '/c:size=x', '/d:uid=me', '/e:size=200%', '/f:colour=red']
volumes:
  - {type: bind, source: ./a, target: /g, bind: {propagation: rshred}}
  - {type: image, source: A, target: /h, image: {subpath: ../up}}
  - {type: image, target: /i}
"
    ), @"
    compose.yaml:4:13 berth::bad_value
      `services.web.tmpfs.0`: `/a:noexce` has the option `noexce`, which a tmpfs has not
      → did you mean `noexec`?
    compose.yaml:4:26 berth::bad_value
      `services.web.tmpfs.1`: `/b:mode=9` has a mode that is not octal
      → write it like `mode=1777`
    compose.yaml:4:39 berth::bad_value
      `services.web.tmpfs.2`: `/c:size=x` is not a size
      → write it like `512m`, `1g` or `1048576`; units are b k m g t p, times 1024 each
    compose.yaml:4:52 berth::bad_value
      `services.web.tmpfs.3`: `/d:uid=me` has a uid that is no number
      → write it like `uid=1000`
    compose.yaml:4:65 berth::bad_value
      `services.web.tmpfs.4`: `/e:size=200%` has a size that is not between 0 and 100 percent
    compose.yaml:4:81 berth::bad_value
      `services.web.tmpfs.5`: `/f:colour=red` has the option `colour=red`, which a tmpfs has not
      → there are gid, mode, mpol, nr_blocks, nr_inodes, size, uid and ro, rw, exec, noexec, …
    compose.yaml:6:67 berth::bad_value
      `services.web.volumes.0.bind.propagation`: `rshred` is not a propagation
      → did you mean `rshared`?
    compose.yaml:7:31 berth::bad_value
      `services.web.volumes.1.source`: `A` has upper case letters in its name
      → a reference is `[HOST[:PORT]/]name[:tag][@sha256:…]`, the name in lower case
    compose.yaml:7:63 berth::bad_value
      `services.web.volumes.1.image.subpath`: `../up` does not stay inside
      → write a path without `/` at its start
    compose.yaml:8:9 berth::bad_value
      `services.web.volumes.2`: the mount names no image
      → add `source:` with an image
    ");
    assert_snapshot!(refused_file(
        "services:
  web:
    image: i
    volumes_from: ['web2:rx']
    volumes: [{type: volume, source: data, target: /a, volume: {subpath: /abs, labels: {a: b}}}]
  web2: {image: i}
volumes: {data: }
"
    ), @"
    compose.yaml:4:20 berth::bad_value
      `services.web.volumes_from.0`: `web2:rx` ends in `rx`, which is neither `ro` nor `rw`
      → write `SERVICE[:ro]` or `container:NAME[:ro]`
    compose.yaml:5:74 berth::bad_value
      `services.web.volumes.0.volume.subpath`: `/abs` does not stay inside
      → write a path without `/` at its start
    compose.yaml:5:88 berth::bad_value
      `services.web.volumes.0`: labels of a named volume stand where the volume is described
      → write them below `volumes:` → `data:` → `labels:`
    ");
}
