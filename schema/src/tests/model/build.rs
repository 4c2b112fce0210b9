//! `build`.

use std::path::PathBuf;

use insta::assert_snapshot;

use super::{refused, service};
use crate::stack::{
    Attestation, Build, BuildNetwork, BuildSecret, BuildSource, Cache, CacheKind, Dockerfile,
    Entitlement, GitSource, NamedContext, Ssh,
};

fn build(attributes: &str) -> Build {
    *service(attributes).build.expect("it is built")
}

#[test]
fn a_path_is_the_whole_build() {
    let short = build("build: ./app");
    assert_eq!(short.context, BuildSource::Path("/p/app".into()));
    assert_eq!(short.dockerfile, Dockerfile::File("Dockerfile".into()));
    assert_eq!(short, build("build: {context: app}"));
    assert_eq!(build("build: {}").context, BuildSource::Path("/p".into()));
}

#[test]
fn a_repository_is_taken_apart() {
    let git = |repository: &str, reference: Option<&str>, folder: Option<&str>| {
        BuildSource::Git(GitSource {
            repository: repository.into(),
            reference: reference.map(Into::into),
            folder: folder.map(Into::into),
        })
    };
    let context = |text: &str| build(&format!("build: '{text}'")).context;
    assert_eq!(
        context("https://example.org/a.git#main:docker"),
        git("https://example.org/a.git", Some("main"), Some("docker"))
    );
    assert_eq!(context("git@example.org:a/b#:sub"), git("git@example.org:a/b", None, Some("sub")));
    assert_eq!(context("github.com/a/b"), git("https://github.com/a/b", None, None));
    assert_eq!(
        context("https://example.org/a.tar.gz"),
        BuildSource::Web("https://example.org/a.tar.gz".into())
    );
}

#[test]
fn every_attribute_of_a_build_has_its_type() {
    let build = build(
        "build:
  dockerfile_inline: FROM scratch
  args: [A=1, HOME]
  additional_contexts:
    files: ./more
    base: docker-image://alpine:3
    layout: oci-layout:///var/oci
    sibling: service:other
    far: https://example.org/x.git
  target: stage
  tags: [a/b:1]
  labels: {l: '1'}
  cache_from: [a/b:cache, 'type=local,src=/cache']
  cache_to: ['type=registry,ref=a/b:cache,mode=max']
  no_cache: true
  no_cache_filter: stage
  pull: true
  network: none
  shm_size: 1g
  ulimits: {nofile: 10}
  extra_hosts: {a: 1.2.3.4}
  secrets: [s, {source: t, target: token, mode: 0400}]
  ssh: [default, 'key=./id,./other']
  platforms: [linux/amd64, linux/arm64/v8]
  entitlements: [network.host, security.insecure, device=vendor.com/c=d]
  privileged: true
  provenance: mode=max
  sbom: false
",
    );
    assert_eq!(build.dockerfile, Dockerfile::Inline("FROM scratch".into()));
    assert_eq!(build.args["HOME"], "/home/me");
    let more = BuildSource::Path("/p/more".into());
    assert_eq!(build.contexts["files"], NamedContext::Files(more));
    assert_eq!(build.contexts["base"], NamedContext::Image("alpine:3".into()));
    assert_eq!(build.contexts["layout"], NamedContext::OciLayout("/var/oci".into()));
    assert_eq!(build.contexts["sibling"], NamedContext::Service("other".into()));
    assert!(matches!(&build.contexts["far"], NamedContext::Files(BuildSource::Git(_))));
    let registry = |pairs: &[(&str, &str)]| Cache {
        kind: CacheKind::Registry,
        options: pairs.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect(),
    };
    assert_eq!(build.cache_from[0], registry(&[("ref", "a/b:cache")]));
    assert_eq!(build.cache_from[1].kind, CacheKind::Local);
    assert_eq!(build.cache_to, [registry(&[("ref", "a/b:cache"), ("mode", "max")])]);
    assert_eq!(build.network, BuildNetwork::None);
    assert_eq!(build.shm_size, Some(1 << 30));
    assert_eq!(build.ulimits["nofile"], (10, 10));
    assert_eq!(build.extra_hosts, [("a".to_owned(), "1.2.3.4".to_owned())]);
    let secret = |source: &str, id: &str, mode| BuildSecret {
        source: source.into(),
        id: id.into(),
        uid: None,
        gid: None,
        mode,
    };
    assert_eq!(build.secrets, [secret("s", "s", None), secret("t", "token", Some(0o400))]);
    let paths: Vec<PathBuf> = vec!["/p/id".into(), "/p/other".into()];
    assert_eq!(build.ssh[0], Ssh { id: "default".into(), paths: vec![] });
    assert_eq!(build.ssh[1], Ssh { id: "key".into(), paths });
    let platforms: Vec<String> = build.platforms.iter().map(ToString::to_string).collect();
    assert_eq!(platforms, ["linux/amd64", "linux/arm64"]);
    assert_eq!(build.entitlements[2], Entitlement::Device(Some("vendor.com/c=d".into())));
    let most = [("mode".to_owned(), "max".to_owned())].into();
    assert_eq!(build.provenance, Some(Attestation::On(most)));
    assert_eq!(build.sbom, Some(Attestation::Off));
    assert!(build.no_cache && build.pull && build.privileged);
    assert_eq!(build.no_cache_stages, ["stage"]);
}

#[test]
fn builds_that_cannot_work_are_refused() {
    assert_snapshot!(refused(
        "build:
  context: ftp://a/b
  additional_contexts: {a: 'docker-image://A B'}
  cache_from: ['mode=max', 'type=disk', 'type=local']
  cache_to: ['type=local,src=/a']
  platforms: [lnux/amd64]
  tags: [A:b]
  entitlements: [network.hots]
  sbom: maybe
  ssh: [default]
"
    ), @"
    compose.yaml:5:16 berth::bad_value
      `services.web.build.context`: `ftp://a/b` starts with `ftp://`, which no context does
      → write a path, or an address with https:// or git://
    compose.yaml:6:32 berth::bad_value
      `services.web.build.additional_contexts.a`: `docker-image://A B` has upper case letters in its name
      → a reference is `[HOST[:PORT]/]name[:tag][@sha256:…]`, the name in lower case
    compose.yaml:7:20 berth::bad_value
      `services.web.build.cache_from.0`: `mode=max` does not say its type
      → start it with `type=registry,` or another type
    compose.yaml:7:32 berth::bad_value
      `services.web.build.cache_from.1`: `type=disk` has the type `disk`, which no cache has
      → write registry, local, inline, gha, s3 or azblob
    compose.yaml:7:45 berth::bad_value
      `services.web.build.cache_from.2`: `type=local` does not say its `src`
      → add `src=…`
    compose.yaml:8:18 berth::bad_value
      `services.web.build.cache_to.0`: `type=local,src=/a` does not say its `dest`
      → add `dest=…`
    compose.yaml:9:19 berth::bad_value
      `services.web.build.platforms.0`: `lnux/amd64` has the operating system `lnux`, which is none
      → write it like `linux/amd64` or `linux/arm64/v8`
    compose.yaml:10:14 berth::bad_value
      `services.web.build.tags.0`: `A:b` has upper case letters in its name
      → a reference is `[HOST[:PORT]/]name[:tag][@sha256:…]`, the name in lower case
    compose.yaml:11:22 berth::bad_value
      `services.web.build.entitlements.0`: `network.hots` is not an entitlement
      → did you mean `network.host`?
    compose.yaml:12:13 berth::bad_value
      `services.web.build.sbom`: `maybe` has the part `maybe`, which sets nothing
      → write `KEY=VALUE,KEY=VALUE`
    ");
}
