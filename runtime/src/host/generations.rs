//! The history of a project on the disk: a folder for each generation, which gets its name when all
//! of it is there.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use berth_planner::generation::{Generation, Kept, keep_images};

use super::observe::names_in;
use super::{Host, HostError, Lock};
use crate::paths::GENERATIONS;
use crate::record::{self, Durability};

const RECORD: &str = "record.json";
/// The model of a generation, which `berth -f` reads too.
const MODEL: &str = "compose.yaml";
/// Contents of files by their digests.
const FILES: &str = "files";

impl Host {
    /// The generations of a project, by number.
    ///
    /// # Errors
    /// When one cannot be read.
    pub fn generations(&self, project: &str) -> Result<Vec<Generation>, HostError> {
        let numbers = numbers(&self.roots.project(project).join(GENERATIONS))?;
        let read = |number: u64| self.read_generation(project, number).transpose();
        numbers.into_iter().filter_map(read).collect()
    }

    /// The numbers of the generations of a project, in order; they are there also when a record cannot be
    /// read.
    ///
    /// # Errors
    /// What the host answers.
    pub fn numbers_of_generations(&self, project: &str) -> Result<Vec<u64>, HostError> {
        numbers(&self.roots.project(project).join(GENERATIONS))
    }

    /// The newest generation of a project, if there is one.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn newest_generation(&self, project: &str) -> Result<Option<Generation>, HostError> {
        let numbers = numbers(&self.roots.project(project).join(GENERATIONS))?;
        match numbers.last() {
            Some(number) => self.read_generation(project, *number),
            None => Ok(None),
        }
    }

    fn read_generation(&self, project: &str, number: u64) -> Result<Option<Generation>, HostError> {
        let path = self.roots.generation(project, number).join(RECORD);
        let refused = |source| HostError::Generation {
            project: project.to_owned(),
            path: path.clone(),
            source,
        };
        record::read(&path).map_err(refused)
    }

    /// Where the model of a generation is.
    pub fn model_of(&self, generation: &Generation) -> PathBuf {
        self.roots.generation(&generation.project, generation.number).join(MODEL)
    }

    /// The contents of the files that a generation was made of.
    ///
    /// # Errors
    /// When one of them is gone.
    pub fn contents_of(
        &self,
        generation: &Generation,
    ) -> Result<BTreeMap<PathBuf, Vec<u8>>, HostError> {
        let dir = self.roots.generation(&generation.project, generation.number).join(FILES);
        let read = |(path, digest): (&PathBuf, &String)| {
            let kept = dir.join(file_name(digest));
            let bytes = fs::read(&kept).map_err(|e| HostError::io("read", kept, e))?;
            Ok((path.clone(), bytes))
        };
        generation.made_of.contents.iter().map(read).collect()
    }

    /// Writes a generation with its model and the contents of its files, whole or not at all. It is
    /// under the lock of its project, and its number is not taken.
    ///
    /// # Errors
    /// What the host answers; nothing of it is there then.
    pub fn add_generation(
        &self,
        _held: &Lock,
        generation: &Generation,
        model: &str,
        contents: &BTreeMap<PathBuf, Vec<u8>>,
    ) -> Result<(), HostError> {
        let all = self.roots.project(&generation.project).join(GENERATIONS);
        let own = self.roots.generation(&generation.project, generation.number);
        let refused = |e| HostError::io("write generation", &own, e);
        make_folder(&all).map_err(refused)?;
        sweep(&all).map_err(refused)?;
        let beside = all.join(format!(".{}.{}.new", generation.number, std::process::id()));
        let put = || {
            let written = fill(&beside, generation, model, contents)?;
            record::settle(&written).map_err(|(_, e)| e)?;
            fs::rename(&beside, &own)?;
            File::open(&all)?.sync_all()
        };
        put().inspect_err(|_| drop(fs::remove_dir_all(&beside))).map_err(refused)
    }

    /// Writes what became of a generation.
    ///
    /// # Errors
    /// What the host answers; it is then as before.
    pub fn mark_generation(&self, _held: &Lock, generation: &Generation) -> Result<(), HostError> {
        let path = self.roots.generation(&generation.project, generation.number).join(RECORD);
        record::write(&path, generation, Durability::Durable)
            .map_err(|e| HostError::io("write generation", path, e))
    }

    /// Forgets generations of a project.
    ///
    /// # Errors
    /// What the host answers; some may be gone then.
    pub fn forget_generations(
        &self,
        _held: &Lock,
        project: &str,
        forgotten: &[u64],
    ) -> Result<(), HostError> {
        let all = self.roots.project(project).join(GENERATIONS);
        for number in forgotten {
            let own = self.roots.generation(project, *number);
            let refused = |e| HostError::io("remove generation", &own, e);
            // Without its name first, so that a kill leaves no half of one.
            let aside = all.join(format!(".{number}.{}.old", std::process::id()));
            match fs::rename(&own, &aside) {
                Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
                renamed => renamed.map_err(refused)?,
            }
        }
        let refused = |e| HostError::io("remove generations", &all, e);
        sweep(&all).map_err(refused)?;
        match fs::remove_dir(&all) {
            Err(e)
                if !matches!(
                    e.kind(),
                    io::ErrorKind::NotFound | io::ErrorKind::DirectoryNotEmpty
                ) =>
            {
                Err(refused(e))
            }
            _ => Ok(()),
        }
    }

    /// The images that ways back need, of all projects.
    ///
    /// # Errors
    /// When a generation cannot be read.
    pub fn kept_images(&self) -> Result<Kept, HostError> {
        let mut kept = Kept::new();
        for project in names_in(&self.roots.state.join("projects"))? {
            keep_images(&mut kept, &self.generations(&project)?);
        }
        Ok(kept)
    }

    /// Projects with a history whose newest generation is of this directory.
    ///
    /// # Errors
    /// When a generation cannot be read.
    pub fn projects_of(&self, working_dir: &Path) -> Result<Vec<String>, HostError> {
        let mut found = Vec::new();
        for project in names_in(&self.roots.state.join("projects"))? {
            let newest = self.newest_generation(&project)?;
            if newest.is_some_and(|newest| newest.made_of.working_dir == working_dir) {
                found.push(project);
            }
        }
        Ok(found)
    }
}

/// Numbers of the generations in a folder, in order.
fn numbers(all: &Path) -> Result<Vec<u64>, HostError> {
    let mut numbers: Vec<u64> =
        names_in(all)?.iter().filter_map(|name| name.parse().ok()).collect();
    numbers.sort_unstable();
    Ok(numbers)
}

/// The name of the file with the content of a digest.
fn file_name(digest: &str) -> &str {
    digest.strip_prefix("sha256:").unwrap_or(digest)
}

fn make_folder(dir: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(dir)
}

/// Removes what a kill left half made or half removed.
fn sweep(all: &Path) -> io::Result<()> {
    let entries = match fs::read_dir(all) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        match entry.file_name().to_string_lossy().starts_with('.') {
            true => fs::remove_dir_all(entry.path())?,
            false if entry.file_type()?.is_dir() => sweep_records(&entry.path())?,
            false => {}
        }
    }
    Ok(())
}

/// Removes what a kill left beside the record of a generation while it was written anew.
fn sweep_records(generation: &Path) -> io::Result<()> {
    for entry in fs::read_dir(generation)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with(&format!(".{RECORD}.")) {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// Everything of a generation below `dir`; gives the files, which are not on the disk yet.
fn fill(
    dir: &Path,
    generation: &Generation,
    model: &str,
    contents: &BTreeMap<PathBuf, Vec<u8>>,
) -> io::Result<Vec<PathBuf>> {
    make_folder(dir)?;
    let mut written = vec![dir.join(MODEL)];
    record::write_bytes(&written[0], model.as_bytes(), 0o600, Durability::Volatile)?;
    if !contents.is_empty() {
        make_folder(&dir.join(FILES))?;
    }
    for (path, bytes) in contents {
        let Some(digest) = generation.made_of.contents.get(path) else { continue };
        let kept = dir.join(FILES).join(file_name(digest));
        if !written.contains(&kept) {
            record::write_bytes(&kept, bytes, 0o600, Durability::Volatile)?;
            written.push(kept);
        }
    }
    let record = dir.join(RECORD);
    record::write(&record, generation, Durability::Volatile)?;
    written.push(record);
    Ok(written)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;
    use std::time::Duration;

    use super::*;
    use crate::paths::Roots;

    fn generation(number: u64) -> Generation {
        let mut generation = Generation { project: "shop".into(), number, ..Generation::default() };
        let digest = format!("sha256:{}", "0".repeat(64));
        generation.made_of.contents.insert("/srv/shop/app.conf".into(), digest);
        generation
    }

    #[tokio::test]
    async fn a_generation_is_there_whole_or_not_at_all_and_only_root_reads_it() {
        let dir = std::env::temp_dir().join(format!("berth-generations-{}", std::process::id()));
        let host = Host::at(Roots::below(&dir));
        let lock = host.lock("shop", Duration::from_secs(1)).await.unwrap();
        let contents = BTreeMap::from([("/srv/shop/app.conf".into(), b"port = 1".to_vec())]);
        for number in [1, 2, 10] {
            host.add_generation(&lock, &generation(number), "services: {}\n", &contents).unwrap();
        }
        host.add_generation(&lock, &generation(2), "other\n", &contents).unwrap_err();
        let all = host.generations("shop").unwrap();
        assert_eq!(all.iter().map(|one| one.number).collect::<Vec<_>>(), [1, 2, 10]);
        assert_eq!(host.newest_generation("shop").unwrap(), Some(generation(10)));
        assert_eq!(host.contents_of(&all[1]).unwrap(), contents);
        let model = host.model_of(&all[1]);
        assert_eq!(fs::read_to_string(&model).unwrap(), "services: {}\n");
        let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o777;
        assert_eq!([mode(&model), mode(model.parent().unwrap())], [0o600, 0o700]);

        // What a kill left is no generation, and goes with the next one.
        let half = host.roots().project("shop").join("generations/.11.7.new");
        fs::create_dir(&half).unwrap();
        assert_eq!(host.generations("shop").unwrap().len(), 3);
        host.add_generation(&lock, &generation(11), "", &BTreeMap::new()).unwrap();
        assert!(!half.exists());
        let half = host.roots().generation("shop", 10).join(".record.json.7.new");
        fs::write(&half, "{").unwrap();
        host.forget_generations(&lock, "shop", &[]).unwrap();
        assert!(!half.exists());

        host.forget_generations(&lock, "shop", &[1, 2, 3]).unwrap();
        assert_eq!(host.generations("shop").unwrap().len(), 2);
        host.forget_generations(&lock, "shop", &[10, 11]).unwrap();
        assert!(!host.roots().project("shop").join("generations").exists());
        assert_eq!(host.newest_generation("shop").unwrap(), None);
        fs::remove_dir_all(&dir).unwrap();
    }
}
