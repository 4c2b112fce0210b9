//! The hostile archives of the security research, one test for each row: nothing outside the root
//! changes, and what is inside is what Docker makes of it, or a clear error.
//!
//! Every test unpacks through [`Site`], which compares everything beside the root before and after:
//! modes, owners, times (of the inode's change, too), links, attributes, content.
//!
//! | row | what | tests |
//! | --- | --- | --- |
//! | I01 | traversal by names | `paths::names_that_lead_upwards…` |
//! | I02 | a link, then something through it | `paths::nothing_goes_through_a_link…` |
//! | I03 | hard links | `paths::a_hard_link_is_of_a_file_of_the_same_layer…` |
//! | I04 | modes and owners through links | `paths::a_folder_or_mode_never_reaches…` |
//! | I05 | one name, many kinds | `paths::the_last_of_many_kinds…` |
//! | I06 | whiteouts | `paths::deletions_through_links…`, `unpack::tests::deletions_hide…`, `unpack::tests::a_layer_is_a_lower_layer…` |
//! | I07 | metadata of overlayfs | `paths::a_layer_cannot_speak_to_overlayfs` |
//! | I08 | attributes | `values::only_attributes_of_the_list…` |
//! | I09 | devices | `paths::devices_are_counted_and_never_made` |
//! | I10 | names | `paths::names_are_bytes…` |
//! | I11 | owners and times | `values::owners_are_as_written_or_refused…` |
//! | I12 | another process in the staging folder | `paths::a_neighbour_that_swaps_folders…` |
//! | I13 | sizes in PAX | `values::a_size_is_read_one_way`, `readers::…` |
//! | I14 | sparse files | `values::holes_count_and_maps_are_checked` |
//! | I15 | truncation | `values::a_cut_archive_gets_no_name` |
//! | I16 | compression | `values::a_compressed_stream_is_whole…`, `values::a_bomb_is_stopped…` |
//! | I17 | many entries, many bytes | `values::too_much_of_anything_is_stopped…` |
//! | I18 | digests that lie | `documents::a_flipped_bit…`; from a registry `registry::tests` |
//! | I19 | sizes that lie | `documents::a_size_that_lies…`; from a registry `registry::tests` |
//! | I20 | an unpacked digest that lies | `documents::a_layer_that_is_not_the_one…` |
//! | I21 | a tag that moves | `registry::tests` |
//! | I22 | digests that are paths | `documents::a_digest_is_never_a_path`, `digest::tests` |
//! | I31, I32 | documents and indexes | `documents::a_document_is_read_one_way_or_refused` |
//! | I33 | foreign addresses | `documents::addresses_and_data_of_a_descriptor…`; requests: `registry::tests` |
//! | I34, I35, I36 | credentials | `registry::tests` |
//! | I37 | data in a descriptor | `documents::addresses_and_data_of_a_descriptor…` |
//! | I39 | large documents | `documents::large_and_deep_documents…` |
//! | I41, I42 | labels and variables are data | end to end, `tests/tests/hostile.rs` |
//! | I43 | a damaged store | `doctor --check-store` |
//! | I44 to I48 | networks, TLS, many pulls at once | `registry::tests`, end to end `registries.rs` |
//! | I49 | names of images | `reference::tests` |
//! | I50 | the collector | `garbage_tests`, end to end `tidying.rs` |

mod documents;
mod paths;
mod readers;
mod values;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use super::test_images::{Archive, Scratch};
use super::unpack::{Limits, Unpacked, unpack};

/// A root to unpack into, and beside it a tree that no layer may change.
struct Site {
    scratch: Scratch,
    beside: BTreeMap<PathBuf, String>,
}

impl Site {
    fn new() -> Site {
        let scratch = Scratch::new("hostile");
        let out = scratch.path().join("out");
        fs::create_dir_all(out.join("folder")).unwrap();
        fs::create_dir(scratch.path().join("root")).unwrap();
        fs::write(out.join("canary"), "alive").unwrap();
        fs::write(out.join("folder/below"), "below").unwrap();
        fs::set_permissions(out.join("canary"), fs::Permissions::from_mode(0o640)).unwrap();
        fs::hard_link(out.join("canary"), out.join("again")).unwrap();
        symlink("canary", out.join("link")).unwrap();
        let flags = rustix::fs::XattrFlags::empty();
        rustix::fs::setxattr(out.join("canary"), "user.mark", b"mine", flags).unwrap();
        let mut site = Site { scratch, beside: BTreeMap::new() };
        site.beside = site.look_beside();
        site
    }

    fn root(&self) -> PathBuf {
        self.scratch.path().join("root")
    }

    fn out(&self) -> String {
        self.scratch.path().join("out").to_str().unwrap().to_owned()
    }

    fn in_root(&self, path: &str) -> PathBuf {
        self.root().join(path)
    }

    fn stat(&self, path: &str) -> fs::Metadata {
        self.in_root(path).symlink_metadata().unwrap()
    }

    /// All that can be told of everything beside the root.
    fn look_beside(&self) -> BTreeMap<PathBuf, String> {
        let mut seen = BTreeMap::new();
        let mut paths = vec![self.scratch.path().join("out")];
        while let Some(path) = paths.pop() {
            let there = path.symlink_metadata().unwrap();
            let content = match () {
                () if there.is_dir() => String::new(),
                () if there.is_symlink() => format!("{:?}", fs::read_link(&path).unwrap()),
                () => format!("{:?}", fs::read(&path).unwrap()),
            };
            if there.is_dir() {
                paths.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
            }
            let text = format!(
                "{:o} {}:{} {} {}.{} {}.{} {} {:?} {content}",
                there.mode(),
                there.uid(),
                there.gid(),
                there.nlink(),
                there.mtime(),
                there.mtime_nsec(),
                there.ctime(),
                there.ctime_nsec(),
                there.size(),
                attributes(&path),
            );
            seen.insert(path, text);
        }
        let top = fs::read_dir(self.scratch.path()).unwrap();
        let names: Vec<_> = top.map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names.len(), 2, "beside the root stands {names:?}");
        seen
    }

    #[track_caller]
    fn unpack_limited(&self, layer: &[u8], limits: Limits) -> Result<Unpacked, String> {
        let root = fs::File::open(self.root()).unwrap().into();
        let result = unpack(layer, root, limits).map_err(|e| e.to_string());
        assert_eq!(self.look_beside(), self.beside, "something beside the root has changed");
        if let Err(message) = &result {
            assert!(!message.contains(|l: char| l.is_control()), "raw bytes in {message:?}");
            assert!(message.len() < 2000, "an endless message");
        }
        result
    }

    #[track_caller]
    fn unpack(&self, layer: Archive) -> Result<Unpacked, String> {
        self.unpack_limited(&layer.end(), Limits::default())
    }
}

/// Unpacks into a new root; gives the site where it works, and the message where it does not.
#[track_caller]
fn unpacked(layer: Archive) -> Result<Site, String> {
    let site = Site::new();
    site.unpack(layer)?;
    Ok(site)
}

#[track_caller]
fn refused(layer: Archive, reason: &str) {
    let message = unpacked(layer).err().expect("the layer is refused");
    assert!(message.contains(reason), "{message}");
}

/// Names and values of a file's extended attributes.
fn attributes(path: &Path) -> Vec<(String, Vec<u8>)> {
    let mut names = vec![0; 4096];
    let n = rustix::fs::llistxattr(path, &mut names).unwrap_or(0);
    let names = names[..n].split(|&b| b == 0).filter(|name| !name.is_empty());
    let value = |name: &[u8]| {
        let mut value = vec![0; 1 << 16];
        let n = rustix::fs::lgetxattr(path, name, &mut value).unwrap_or(0);
        value.truncate(n);
        (String::from_utf8_lossy(name).into_owned(), value)
    };
    let mut found: Vec<_> = names.map(value).collect();
    found.sort();
    found
}
