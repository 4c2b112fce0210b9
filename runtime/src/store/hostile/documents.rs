//! Archives of images: documents that lie about their parts.

use serde_json::{Value, json};

use super::super::Store;
use super::super::digest::Digest;
use super::super::test_images::{config_json, gzip, image_archive};
use super::*;

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// An OCI layout in the making, as a tar; every part may be changed after it was described.
#[derive(Default)]
struct Layout {
    blobs: BTreeMap<String, Vec<u8>>,
}

impl Layout {
    fn put(&mut self, media_type: &str, bytes: &[u8]) -> Value {
        let digest = Digest::of(bytes);
        self.blobs.insert(digest.hex().to_owned(), bytes.to_vec());
        json!({ "mediaType": media_type, "digest": digest, "size": bytes.len() })
    }

    /// The image of one layer; `change` may change its manifest.
    fn image(&mut self, change: impl FnOnce(&mut Value)) -> Value {
        let layer = Archive::default().file("file", "text").end();
        let config = config_json(std::slice::from_ref(&layer));
        let config = self.put("application/vnd.oci.image.config.v1+json", &config);
        let layer = self.put("application/vnd.oci.image.layer.v1.tar+gzip", &gzip(&layer));
        let mut manifest = json!({ "schemaVersion": 2, "config": config, "layers": [layer] });
        change(&mut manifest);
        self.put(MANIFEST, manifest.to_string().as_bytes())
    }

    fn tar(&self, children: &[Value]) -> Vec<u8> {
        let index = json!({ "schemaVersion": 2, "manifests": children }).to_string();
        let mut archive = Archive::default().file("index.json", &index);
        for (hex, bytes) in &self.blobs {
            archive = archive.member(&format!("blobs/sha256/{hex}"), b'0', "", 0o644, bytes);
        }
        archive.end()
    }
}

/// What a new store says to an archive; it is empty when the archive is refused.
#[track_caller]
fn load(archive: &[u8]) -> Result<(), String> {
    let scratch = Scratch::new("documents");
    let store = Store::open(scratch.path());
    let told = store.load_stream(archive).map(drop).map_err(|e| e.to_string());
    if let Err(message) = &told {
        assert_eq!(store.list().unwrap(), [], "{message}");
        for folder in ["layers", "images", "blobs/sha256", "making"] {
            let left = fs::read_dir(scratch.path().join(folder)).unwrap().count();
            assert_eq!(left, 0, "{folder} has something left after: {message}");
        }
        assert!(message.len() < 2000 && !message.contains(|l: char| l.is_control() && l != '\n'));
    }
    told
}

#[track_caller]
fn refused_with(archive: &[u8], reason: &str) {
    let message = load(archive).expect_err("the archive is refused");
    assert!(message.contains(reason), "{message}");
}

/// I18. A blob that is not what its name says is refused, whichever it is.
#[test]
fn a_flipped_bit_in_any_blob_is_found() {
    let mut layout = Layout::default();
    let child = layout.image(|_| {});
    load(&layout.tar(std::slice::from_ref(&child))).unwrap();
    let names: Vec<String> = layout.blobs.keys().cloned().collect();
    for name in names {
        let length = layout.blobs[&name].len();
        for at in [0, length / 2, length - 1] {
            layout.blobs.get_mut(&name).unwrap()[at] ^= 1;
            assert!(load(&layout.tar(std::slice::from_ref(&child))).is_err(), "{name} at {at}");
            layout.blobs.get_mut(&name).unwrap()[at] ^= 1;
        }
        let whole = layout.blobs.remove(&name).unwrap();
        refused_with(&layout.tar(std::slice::from_ref(&child)), &name);
        layout.blobs.insert(name, whole);
    }
}

/// I19. A size that is not the blob's is refused, before anything of that size is wanted.
#[test]
fn a_size_that_lies_is_refused() {
    let sizes =
        [json!(0), json!(1), json!(-1), json!(1_u64 << 63), json!(1.5), json!("5"), json!(null)];
    for size in sizes {
        let mut layout = Layout::default();
        let child = layout.image(|manifest| manifest["layers"][0]["size"] = size.clone());
        assert!(load(&layout.tar(&[child])).is_err(), "a layer of {size} bytes");
    }
}

/// I20. A layer with the right digest that is not the one of the config.
#[test]
fn a_layer_that_is_not_the_one_the_config_names_is_refused() {
    let layer = Archive::default().file("evil", "x").end();
    let other = Archive::default().file("good", "x").end();
    let config = config_json(&[other]);
    let told = load(&image_archive(&["a:1"], &config, std::slice::from_ref(&layer)));
    assert!(told.unwrap_err().contains("digest"));
    let told = load(&image_archive(&["a:1"], &config, &[gzip(&layer)]));
    assert!(told.unwrap_err().contains("digest"));
    refused_with(
        &image_archive(&["a:1"], &config, &[layer.clone(), layer]),
        "2 layers, the config 1",
    );
}

/// I22. What is no digest is never made a path of.
#[test]
fn a_digest_is_never_a_path() {
    let hex = "a".repeat(64);
    for digest in [
        "sha256:../../../../etc/passwd".to_owned(),
        format!("sha256:{}", hex.to_uppercase()),
        format!("sha256:{}", &hex[1..]),
        format!("sha512:{hex}{hex}"),
        format!("md5:{hex}"),
        format!("sha256:{hex}/"),
        hex.clone(),
        String::new(),
    ] {
        for part in ["config", "layer"] {
            let mut layout = Layout::default();
            let child = layout.image(|manifest| match part {
                "config" => manifest["config"]["digest"] = json!(digest),
                _ => manifest["layers"][0]["digest"] = json!(digest),
            });
            assert!(load(&layout.tar(&[child])).is_err(), "{part} {digest}");
        }
        let child = json!({ "mediaType": MANIFEST, "digest": digest, "size": 5 });
        assert!(load(&Layout::default().tar(&[child])).is_err(), "{digest}");
    }
    // The paths in Docker's list are looked up in the archive and nowhere else.
    for path in ["../../etc/passwd", "/etc/passwd", "a/../../b", "./c.json"] {
        let list = json!([{ "Config": path, "RepoTags": ["a:1"], "Layers": [path] }]).to_string();
        let archive = Archive::default().symlink("etc", "/etc").symlink("c.json", "/etc/hostname");
        refused_with(&archive.file("manifest.json", &list).end(), "it has no");
    }
    let names =
        ["../../x:1", "a b:1", "A:1", "a:\u{1b}[2J", "-a:1", &format!("a:{}", "t".repeat(200))];
    for name in names {
        let layer = Archive::default().file("file", "text").end();
        let config = config_json(std::slice::from_ref(&layer));
        assert!(load(&image_archive(&[name], &config, &[layer])).is_err(), "{name}");
    }
}

/// I31, I32. Manifest and index at once, indexes in indexes, indexes of themselves, of too many,
/// of none for this machine.
#[test]
fn a_document_is_read_one_way_or_refused() {
    let mut both = Layout::default();
    let child = both.image(|manifest| manifest["manifests"] = json!([]));
    refused_with(&both.tar(&[child]), "can be read two ways");
    let mut old = Layout::default();
    let child = old.image(|manifest| manifest["schemaVersion"] = json!(1));
    refused_with(&old.tar(&[child]), "schema 1");
    let mut artifact = Layout::default();
    let child =
        artifact.image(|m| m["config"]["mediaType"] = json!("application/vnd.oci.empty.v1+json"));
    refused_with(&artifact.tar(&[child]), "not a container image");
    let mut nested = Layout::default();
    let mut child = nested.image(|_| {});
    for depth in 0..5 {
        let told = load(&nested.tar(std::slice::from_ref(&child)));
        assert_eq!(told.is_ok(), depth < 2, "{depth}: {told:?}");
        let index = json!({ "schemaVersion": 2, "manifests": [child] }).to_string();
        child = nested.put(INDEX, index.as_bytes());
    }
    // No document can hold its own digest; one that claims to is not what it says.
    let mut itself = Layout::default();
    let claimed = json!({ "mediaType": INDEX, "digest": Digest::of(b"x"), "size": 1 });
    let index = json!({ "schemaVersion": 2, "manifests": [claimed] }).to_string();
    itself.blobs.insert(Digest::of(b"x").hex().to_owned(), index.into_bytes());
    assert!(load(&itself.tar(&[claimed])).is_err());
    let other = json!({ "os": "plan9", "architecture": "amd64" });
    let mut strange = Layout::default();
    let mut child = strange.image(|_| {});
    child["platform"] = other;
    refused_with(&strange.tar(&[child.clone()]), "plan9/amd64");
    refused_with(&strange.tar(&vec![child; 10_000]), "more than 4096");
    refused_with(&strange.tar(&[]), "no image in it");
}

/// I33, I37. Nothing is fetched from an address in a descriptor, and its data is not its blob.
#[test]
fn addresses_and_data_of_a_descriptor_are_not_its_content() {
    let server = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    server.set_nonblocking(true).unwrap();
    let address = format!("http://{}/layer", server.local_addr().unwrap());
    let mut layout = Layout::default();
    let child = layout.image(|manifest| {
        for part in ["/layers/0", "/config"] {
            let descriptor = manifest.pointer_mut(part).unwrap();
            descriptor["urls"] = json!([address]);
            descriptor["data"] = json!("ZXZpbA==");
        }
    });
    load(&layout.tar(std::slice::from_ref(&child))).unwrap();
    let name = layout.blobs.iter().find(|(_, bytes)| bytes.starts_with(&[0x1f, 0x8b]));
    let name = name.unwrap().0.clone();
    layout.blobs.remove(&name);
    refused_with(&layout.tar(&[child]), &name);
    assert!(server.accept().is_err(), "someone came to the address");
}

/// I39. A document has a size, a depth and a number of parts above which it is refused.
#[test]
fn large_and_deep_documents_are_refused_or_cheap() {
    let large = Archive::default().file("index.json", &" ".repeat(9 << 20)).end();
    refused_with(&large, "larger than");
    let list = Archive::default().file("manifest.json", &" ".repeat(9 << 20)).end();
    refused_with(&list, "larger than");
    for deep in ["[".repeat(100_000), "{\"a\":".repeat(100_000)] {
        assert!(load(&Archive::default().file("index.json", &deep).end()).is_err());
        assert!(load(&Archive::default().file("manifest.json", &deep).end()).is_err());
    }
    let layer = Archive::default().file("file", "text").end();
    let mut config: Value =
        serde_json::from_slice(&config_json(std::slice::from_ref(&layer))).unwrap();
    config["config"]["Env"] = (0..100_000).map(|n| format!("A{n}=b")).collect();
    let archive =
        image_archive(&["a:1"], config.to_string().as_bytes(), std::slice::from_ref(&layer));
    load(&archive).unwrap();
    config["config"]["Env"] = (0..1_000_000).map(|n| format!("A{n}=b")).collect();
    let archive =
        image_archive(&["a:1"], config.to_string().as_bytes(), std::slice::from_ref(&layer));
    refused_with(&archive, "larger than");
    let mut layout = Layout::default();
    let child = layout.image(|manifest| {
        let layer = manifest["layers"][0].clone();
        manifest["layers"] = vec![layer; 501].into();
    });
    refused_with(&layout.tar(&[child]), "more than 500");
    let name = "n".repeat(5000);
    let long = Archive::default().pax(&[("path", name.as_bytes())]).file("x", "x");
    refused_with(&long.end(), "name of more than 4096 bytes");
    let many = (0..100_001).fold(Archive::default(), |archive, _| archive.file("same", ""));
    refused_with(&many.end(), "more than 100000 members");
    let round = Archive::default().symlink("index.json", "b").symlink("b", "index.json").end();
    refused_with(&round, "neither");
}
