//! `berth config`.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use berth_schema::config;
use berth_schema::stack::Stack;
use clap::{Args, ValueEnum};

use crate::failure::{Exit, Failure};
use crate::session::Session;

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
    /// Print names of services
    #[arg(long = "services", group = "list")]
    list_services: bool,
    /// Print names of images
    #[arg(long, group = "list")]
    images: bool,
    /// Print names of volumes
    #[arg(long, group = "list")]
    volumes: bool,
    /// Print names of networks
    #[arg(long, group = "list")]
    networks: bool,
    /// Print names of profiles
    #[arg(long = "profiles", group = "list")]
    list_profiles: bool,
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
    let stack = session.load_for_show(&args.services)?;
    if args.quiet {
        return Ok(Exit::Done);
    }
    let text = match names(&stack, args) {
        Some(names) => names.into_iter().map(|name| format!("{name}\n")).collect(),
        None => match args.format {
            ModelFormat::Yaml => config::to_yaml(&stack),
            ModelFormat::Json => config::to_json(&stack),
        },
    };
    match &args.output {
        None => session.ui.raw(&text)?,
        Some(path) => fs::write(path, text)
            .map_err(|e| Failure::refused(format!("write `{}`: {e}", path.display())))?,
    }
    Ok(Exit::Done)
}

/// The names that were asked for instead of the model.
fn names(stack: &Stack, args: &ConfigArgs) -> Option<BTreeSet<String>> {
    let services = stack.services.values();
    if args.list_services {
        Some(stack.services.keys().cloned().collect())
    } else if args.images {
        Some(services.filter_map(|service| service.image.clone()).collect())
    } else if args.volumes {
        Some(stack.volumes.keys().cloned().collect())
    } else if args.networks {
        Some(stack.networks.keys().cloned().collect())
    } else if args.list_profiles {
        Some(services.flat_map(|service| service.profiles.clone()).collect())
    } else {
        None
    }
}
