//! What a command works with: the words before it, the environment, and where state is kept.

use std::collections::BTreeMap;
use std::env;
use std::path::PathBuf;
use std::time::Instant;

use berth_runtime::paths::Roots;

use crate::args::Global;
use crate::failure::Failure;
use crate::ui::Ui;

/// One run of the program.
#[derive(Debug)]
pub(crate) struct Session {
    /// Where we print.
    pub(crate) ui: Ui,
    /// Options of every command.
    pub(crate) global: Global,
    /// Variables of our own environment. What is not text cannot be interpolated and is left out.
    pub(crate) environment: BTreeMap<String, String>,
    /// Where we were started.
    pub(crate) working_dir: PathBuf,
    /// When we were started.
    pub(crate) began: Instant,
}

impl Session {
    /// Looks at our surroundings once.
    pub(crate) fn new(global: Global) -> Result<Session, Failure> {
        let working_dir = env::current_dir()
            .map_err(|e| Failure::refused(format!("find the current directory: {e}")))?;
        let environment = env::vars_os()
            .filter_map(|(key, value)| Some((key.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        let ui = Ui::new(global.ansi, global.progress);
        Ok(Session { ui, global, environment, working_dir, began: Instant::now() })
    }

    /// Where state is kept.
    pub(crate) fn roots(&self) -> Roots {
        match &self.global.root {
            Some(root) => Roots::below(&self.working_dir.join(root)),
            None => Roots::default(),
        }
    }
}
