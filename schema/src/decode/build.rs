//! How the image of a service is built.

use std::path::PathBuf;

use super::files::octal;
use super::grammar::{choice, platform, settings};
use super::read::{Reader, is_on, number, text, text_map, texts};
use crate::stack::{
    Attestation, Build, BuildNetwork, BuildSecret, BuildSource, Cache, CacheKind, Dockerfile,
    Entitlement, GitSource, NamedContext, Ssh,
};
use crate::tree::Node;
use crate::value::{self, Bad, bad};

impl Reader<'_> {
    pub(super) fn build(&mut self, node: &Node) -> Build {
        let directory = self.directory;
        let context = self.read(node, "context", source);
        Build {
            context: context.unwrap_or_else(|| BuildSource::Path(directory.to_owned())),
            dockerfile: dockerfile(node),
            contexts: self
                .entries(node, "additional_contexts", |r, _, node| r.value(node, named_context)),
            args: text_map(node, "args"),
            target: text(node, "target"),
            tags: self
                .each(node, "tags", |tag| value::image_reference(tag).map(|()| tag.to_owned())),
            labels: text_map(node, "labels"),
            cache_from: self.each(node, "cache_from", |text| cache(text, true)),
            cache_to: self.each(node, "cache_to", |text| cache(text, false)),
            no_cache: is_on(node, "no_cache"),
            no_cache_stages: texts(node, "no_cache_filter"),
            pull: is_on(node, "pull"),
            network: text(node, "network").map(network).unwrap_or_default(),
            shm_size: number(node, "shm_size").filter(|size| *size > 0),
            ulimits: self.ulimits(node),
            extra_hosts: self.list(node, "extra_hosts", Self::extra_host),
            secrets: self.list(node, "secrets", Self::build_secret),
            ssh: self.each(node, "ssh", |text| Ok(ssh(text, directory))),
            platforms: self.each(node, "platforms", platform),
            entitlements: self.each(node, "entitlements", entitlement),
            privileged: is_on(node, "privileged"),
            provenance: self.read(node, "provenance", attestation),
            sbom: self.read(node, "sbom", attestation),
        }
    }

    fn build_secret(&mut self, node: &Node) -> Option<BuildSecret> {
        let source = text(node, "source")?;
        Some(BuildSecret {
            id: text(node, "target").unwrap_or_else(|| source.clone()),
            source,
            uid: self.parse(node, "uid", "a number"),
            gid: self.parse(node, "gid", "a number"),
            mode: self.read(node, "mode", octal),
        })
    }
}

fn dockerfile(node: &Node) -> Dockerfile {
    match (node.get_text("dockerfile_inline"), node.get_text("dockerfile")) {
        (Some(lines), _) => Dockerfile::Inline(lines.to_owned()),
        (None, Some(path)) => Dockerfile::File(path.into()),
        (None, None) => Dockerfile::File("Dockerfile".into()),
    }
}

/// A path, or an address; paths are absolute by now.
fn source(text: &str) -> Result<BuildSource, Bad> {
    let (address, fragment) = match text.split_once('#') {
        Some((address, fragment)) => (address, Some(fragment)),
        None => (text, None),
    };
    let web = address.starts_with("http://") || address.starts_with("https://");
    let path = address.split('?').next().unwrap_or(address);
    let git = ["git://", "ssh://", "git@", "github.com/"];
    if git.iter().any(|start| address.starts_with(start)) || (web && path.ends_with(".git")) {
        return Ok(BuildSource::Git(git_source(address, fragment)));
    }
    if web {
        return Ok(BuildSource::Web(text.to_owned()));
    }
    match text.split_once("://") {
        Some((scheme, _)) => bad(
            format!("starts with `{scheme}://`, which no context does"),
            "write a path, or an address with https:// or git://",
        ),
        None => Ok(BuildSource::Path(PathBuf::from(text))),
    }
}

/// `ADDRESS[#REFERENCE[:FOLDER]]`.
fn git_source(address: &str, fragment: Option<&str>) -> GitSource {
    let (reference, folder) = match fragment {
        Some(fragment) => fragment.split_once(':').unwrap_or((fragment, "")),
        None => ("", ""),
    };
    let given = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    let repository = match address.starts_with("github.com/") {
        true => format!("https://{address}"),
        false => address.to_owned(),
    };
    GitSource { repository, reference: given(reference), folder: given(folder) }
}

fn named_context(text: &str) -> Result<NamedContext, Bad> {
    if let Some(service) = text.strip_prefix("service:") {
        return Ok(NamedContext::Service(service.to_owned()));
    }
    if let Some(image) = text.strip_prefix("docker-image://") {
        return value::image_reference(image).map(|()| NamedContext::Image(image.to_owned()));
    }
    if let Some(path) = text.strip_prefix("oci-layout://") {
        return Ok(NamedContext::OciLayout(path.into()));
    }
    source(text).map(NamedContext::Files)
}

fn network(name: String) -> BuildNetwork {
    match name.as_str() {
        "default" => BuildNetwork::Default,
        "none" => BuildNetwork::None,
        "host" => BuildNetwork::Host,
        _ => BuildNetwork::Named(name),
    }
}

/// `type=KIND,KEY=VALUE,…`, or the name of an image.
fn cache(text: &str, from: bool) -> Result<Cache, Bad> {
    if !text.contains('=') {
        let options = [("ref".to_owned(), text.to_owned())].into();
        return value::image_reference(text).map(|()| Cache { kind: CacheKind::Registry, options });
    }
    let mut options = settings(text)?;
    let words = [
        ("registry", CacheKind::Registry),
        ("local", CacheKind::Local),
        ("inline", CacheKind::Inline),
        ("gha", CacheKind::Gha),
        ("s3", CacheKind::S3),
        ("azblob", CacheKind::Azblob),
    ];
    let Some(kind) = options.remove("type") else {
        return bad("does not say its type", "start it with `type=registry,` or another type");
    };
    let kind = choice(&kind, "", &words).map_err(|reason| Bad {
        why: format!("has the type `{kind}`, which no cache has"),
        ..reason
    })?;
    let needs = match (kind, from) {
        (CacheKind::Registry, _) => Some("ref"),
        (CacheKind::Local, true) => Some("src"),
        (CacheKind::Local, false) => Some("dest"),
        _ => None,
    };
    match needs.filter(|name| !options.contains_key(*name)) {
        Some(name) => bad(format!("does not say its `{name}`"), &format!("add `{name}=…`")),
        None => Ok(Cache { kind, options }),
    }
}

/// `ID[=PATH[,PATH]]`.
fn ssh(text: &str, directory: &std::path::Path) -> Ssh {
    let (id, paths) = text.split_once('=').unwrap_or((text, ""));
    let paths = paths.split(',').filter(|path| !path.is_empty());
    let below = |path: &str| value::clean_path(&directory.join(path).to_string_lossy()).into();
    Ssh { id: id.to_owned(), paths: paths.map(below).collect() }
}

fn entitlement(text: &str) -> Result<Entitlement, Bad> {
    match text.split_once('=') {
        None if text == "network.host" => Ok(Entitlement::NetworkHost),
        None if text == "security.insecure" => Ok(Entitlement::SecurityInsecure),
        None if text == "device" => Ok(Entitlement::Device(None)),
        Some(("device", name)) if !name.is_empty() => {
            Ok(Entitlement::Device(Some(name.to_owned())))
        }
        _ => {
            let words = ["network.host", "security.insecure", "device"];
            let help = match value::nearest(text, words) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("there are {}", words.join(", ")),
            };
            Err(Bad { why: "is not an entitlement".into(), help: Some(help) })
        }
    }
}

/// `true`, `false` or `KEY=VALUE,…`.
fn attestation(text: &str) -> Result<Attestation, Bad> {
    match text {
        "true" | "1" => Ok(Attestation::On(Default::default())),
        "false" | "0" => Ok(Attestation::Off),
        _ => settings(text).map(Attestation::On),
    }
}
