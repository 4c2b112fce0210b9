//! The words that a plan was made from, so that it can be made again.

use std::collections::BTreeMap;
use std::path::PathBuf;

use berth_schema::stack::Stack;
use serde::{Deserialize, Serialize};

use crate::args::Global;
use crate::commands::up::Shape;
use crate::failure::Failure;
use crate::session::Session;
use crate::source;
use crate::ui::Ui;

/// Variables that choose the files and what of them counts, and the one that only says where somebody
/// is. All others are looked at again: what they change of the model is told.
const CHOOSING: [&str; 7] = [
    "COMPOSE_DISABLE_ENV_FILE",
    "COMPOSE_ENV_FILES",
    "COMPOSE_FILE",
    "COMPOSE_PATH_SEPARATOR",
    "COMPOSE_PROFILES",
    "COMPOSE_PROJECT_NAME",
    "PWD",
];

/// The words of `plan -o`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Inputs {
    /// Where it was made.
    working_dir: PathBuf,
    files: Vec<PathBuf>,
    project_name: Option<String>,
    project_directory: Option<PathBuf>,
    env_files: Vec<PathBuf>,
    profiles: Vec<String>,
    environment: BTreeMap<String, String>,
    pub(crate) services: Vec<String>,
    pub(crate) shape: Shape,
}

impl Inputs {
    /// Those of this run.
    pub(super) fn of(session: &Session, services: &[String], shape: &Shape) -> Inputs {
        let global = &session.global;
        let chosen = |name: &&str| session.environment.get_key_value(*name);
        let environment: BTreeMap<String, String> = CHOOSING
            .iter()
            .filter_map(chosen)
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect();
        Inputs {
            working_dir: session.working_dir.clone(),
            files: global.files.clone(),
            project_name: global.project_name.clone(),
            project_directory: global.project_directory.clone(),
            env_files: global.env_file.clone(),
            profiles: global.profile.clone(),
            environment,
            services: services.to_vec(),
            shape: shape.clone(),
        }
    }

    /// Whether all that `stack` was read from can be read a second time.
    ///
    /// # Errors
    /// Standard input cannot, however it was named.
    pub(super) fn check(&self, stack: &Stack) -> Result<(), Failure> {
        let read = stack.places.files_read();
        let mut all = read.iter().chain(&stack.files).chain(&self.env_files);
        match all.any(|path| source::is_input(path)) {
            false => Ok(()),
            true => Err(Failure::usage("a plan of standard input cannot be made a second time")
                .with_help("write the stack to a file and name it with `-f`")),
        }
    }

    /// A session as the one that they are from, wherever we were started.
    pub(crate) fn session(&self, ours: &Session) -> Session {
        let mut environment = ours.environment.clone();
        environment.retain(|name, _| !CHOOSING.contains(&name.as_str()));
        environment.extend(self.environment.clone());
        let global = Global {
            files: self.files.clone(),
            project_name: self.project_name.clone(),
            project_directory: self.project_directory.clone(),
            env_file: self.env_files.clone(),
            profile: self.profiles.clone(),
            root: ours.global.root.as_ref().map(|root| ours.working_dir.join(root)),
            ..ours.global.clone()
        };
        let ui = Ui::new(global.ansi, global.progress);
        let working_dir = self.working_dir.clone();
        Session { ui, global, environment, working_dir, began: ours.began }
    }
}
