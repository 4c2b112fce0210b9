//! Where in the text the values of a stack were written.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::checked::Remark;
use crate::places::Written;
use crate::problem::Problem;

/// Where in the text a value was written.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Place {
    /// File as the user named it or as it was found.
    pub file: PathBuf,
    /// Line, from 1.
    pub line: u32,
    /// Column in characters, from 1.
    pub column: u32,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file.display(), self.line, self.column)
    }
}

/// Places by dotted path of the value in the model. They are looked up in the texts when they
/// are asked for, because most of them never are.
///
/// The paths of what the files read besides themselves are `$NAME` of a variable and the absolute
/// path of a file.
#[derive(Clone, Default, PartialEq)]
pub struct Places {
    written: Option<Arc<Written>>,
    /// Places that were given one by one.
    given: BTreeMap<String, Place>,
}

impl Places {
    pub(crate) fn new(written: Written) -> Places {
        Places { written: Some(Arc::new(written)), given: BTreeMap::new() }
    }

    /// The place of `path`, if a file says something there.
    pub fn get(&self, path: &str) -> Option<Place> {
        let given = self.given.get(path).cloned();
        given.or_else(|| self.written.as_ref()?.place(path))
    }

    /// Variables that the files ask for, set or not: in expressions, as bare names, and as the
    /// values of configs and secrets; also in files of variables. Services that are switched off
    /// do not count.
    pub fn variables(&self) -> BTreeSet<String> {
        let written = self.written.iter();
        written.flat_map(|written| written.reads.variables()).cloned().collect()
    }

    /// Files that were read, the Compose files and files of variables among them.
    pub fn files_read(&self) -> BTreeSet<PathBuf> {
        let written = self.written.iter();
        written.flat_map(|written| written.reads.files()).cloned().collect()
    }

    /// Whether a file says something at `path`.
    pub fn has(&self, path: &str) -> bool {
        self.get(path).is_some()
    }

    /// The place of `path`, or of the nearest value around it.
    pub fn find(&self, path: &str) -> Option<Place> {
        let mut path = path;
        loop {
            if let Some(place) = self.get(path) {
                return Some(place);
            }
            path = &path[..path.rfind('.')?];
        }
    }

    /// Problems that others found in the values, with the text around each.
    pub fn problems(&self, remarks: Vec<Remark>) -> Vec<Problem> {
        match &self.written {
            Some(written) => written.problems(remarks),
            None => Vec::new(),
        }
    }

    /// Adds a place.
    pub fn insert(&mut self, path: impl Into<String>, place: Place) {
        self.given.insert(path.into(), place);
    }
}

impl FromIterator<(String, Place)> for Places {
    fn from_iter<I: IntoIterator<Item = (String, Place)>>(places: I) -> Places {
        Places { written: None, given: places.into_iter().collect() }
    }
}

impl fmt::Debug for Places {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Places")
    }
}
