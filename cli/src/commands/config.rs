//! `berth config`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::{fs, io};

use berth_schema::config::{self, Switches};
use berth_schema::stack::Stack;
use berth_schema::variables::{self, Variable};
use clap::{Args, ValueEnum};
use sha2::{Digest, Sha256};

use crate::failure::{Exit, Failure};
use crate::project::{invalid, unknown_service};
use crate::session::Session;
use crate::source::Disk;
use crate::ui::Table;

/// Arguments of `config`.
#[derive(Debug, Args)]
pub(crate) struct ConfigArgs {
    /// Only these services and what they depend on
    services: Vec<String>,
    /// How to print the model
    #[arg(long, value_enum, default_value_t)]
    format: ModelFormat,
    /// Check only, print nothing
    #[arg(short, long)]
    quiet: bool,
    /// Write to this file
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Leave variables as they are written
    #[arg(long)]
    no_interpolate: bool,
    /// Do not fill in names, networks and dependencies that go without saying
    #[arg(long)]
    no_normalize: bool,
    /// Do not look at references and conflicts
    #[arg(long)]
    no_consistency: bool,
    /// Leave paths relative
    #[arg(long)]
    no_path_resolution: bool,
    /// Do not read the environment files of services
    #[arg(long)]
    no_env_resolution: bool,
    /// What to print in place of the model.
    #[command(flatten)]
    list: List,
}

/// What is printed in place of the model.
#[derive(Debug, Args)]
#[group(multiple = false)]
struct List {
    /// Print names of services
    #[arg(long = "services")]
    names: bool,
    /// Print names of images
    #[arg(long)]
    images: bool,
    /// Print names of volumes
    #[arg(long)]
    volumes: bool,
    /// Print names of networks
    #[arg(long)]
    networks: bool,
    /// Print names of profiles
    #[arg(long)]
    profiles: bool,
    /// Print the variables that the files ask for
    #[arg(long)]
    variables: bool,
    /// Print the environment that variables are taken from
    #[arg(long)]
    environment: bool,
    /// Print a digest of what each of these services says, `*` for all
    #[arg(long, value_name = "SERVICES", value_delimiter = ',')]
    hash: Vec<String>,
}

/// How a model is printed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
enum ModelFormat {
    /// As a Compose file
    #[default]
    Yaml,
    /// As JSON
    Json,
}

/// Checks the file, and prints what it comes to.
pub(crate) fn run(session: &Session, args: &ConfigArgs) -> Result<Exit, Failure> {
    let text = text(session, args)?;
    match &args.output {
        _ if args.quiet => {}
        None => session.ui.raw(&text)?,
        Some(path) => fs::write(path, text)
            .map_err(|e| Failure::refused(format!("write `{}`: {e}", path.display())))?,
    }
    Ok(Exit::Done)
}

fn text(session: &Session, args: &ConfigArgs) -> Result<String, Failure> {
    let mut options = session.options(&args.services);
    let lines = |lines: Vec<String>| lines.into_iter().map(|line| line + "\n").collect();
    if args.list.variables {
        let asked = variables::variables(&options, &Disk::default()).map_err(invalid)?;
        return match args.format {
            ModelFormat::Yaml => Ok(lines(table(&asked).lines())),
            ModelFormat::Json => {
                Ok(serde_json::to_string_pretty(&asked).map_err(io::Error::from)? + "\n")
            }
        };
    }
    if args.list.environment {
        let set = variables::environment(&options, &Disk::default()).map_err(invalid)?;
        return Ok(lines(set.iter().map(|(name, value)| format!("{name}={value}")).collect()));
    }
    if args.list.profiles {
        options.profiles = vec!["*".into()];
    }
    let stack = session.load_for_show(&options, switches(session, args))?;
    Ok(match names(&stack, &args.list)? {
        Some(names) => lines(names.into_iter().collect()),
        None => match args.format {
            ModelFormat::Yaml => config::to_yaml(&stack),
            ModelFormat::Json => config::to_json(&stack),
        },
    })
}

fn switches(session: &Session, args: &ConfigArgs) -> Switches {
    Switches {
        no_interpolate: args.no_interpolate,
        no_normalize: args.no_normalize,
        no_consistency: args.no_consistency,
        no_path_resolution: args.no_path_resolution,
        no_env_resolution: args.no_env_resolution,
        all_resources: session.global.all_resources,
        lax: true,
    }
}

fn table(asked: &BTreeMap<String, Variable>) -> Table {
    let mut table = Table::new(["NAME", "REQUIRED", "DEFAULT VALUE", "ALTERNATE VALUE"]);
    for variable in asked.values().cloned() {
        let Variable { name, default_value, presence_value, required } = variable;
        table.row([name, required.to_string(), default_value, presence_value]);
    }
    table
}

/// The names that were asked for instead of the model.
fn names(stack: &Stack, list: &List) -> Result<Option<BTreeSet<String>>, Failure> {
    let services = &stack.services;
    Ok(Some(if list.names {
        services.keys().cloned().collect()
    } else if list.images {
        let built = |name: &String| format!("{}-{name}", stack.name);
        services.iter().map(|(k, s)| s.image.clone().unwrap_or_else(|| built(k))).collect()
    } else if list.volumes {
        stack.volumes.keys().cloned().collect()
    } else if list.networks {
        stack.networks.keys().cloned().collect()
    } else if list.profiles {
        services.values().flat_map(|service| service.profiles.clone()).collect()
    } else if !list.hash.is_empty() {
        hashes(stack, &list.hash)?
    } else {
        return Ok(None);
    }))
}

/// `SERVICE DIGEST` of each.
fn hashes(stack: &Stack, wanted: &[String]) -> Result<BTreeSet<String>, Failure> {
    let all = wanted.iter().any(|name| name == "*");
    let names: Vec<&String> =
        if all { stack.services.keys().collect() } else { wanted.iter().collect() };
    let hash = |name: &&String| match config::identity(stack, name) {
        Some(text) => Ok(format!("{name} {}", hex(&Sha256::digest(text)))),
        None => Err(unknown_service(name, stack.services.keys().map(String::as_str))),
    };
    names.iter().map(hash).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
