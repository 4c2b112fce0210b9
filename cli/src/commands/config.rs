//! `berth config`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::{fs, io};

use berth_runtime::store::{PullOptions, Store};
use berth_schema::config::{self, Switches};
use berth_schema::images;
use berth_schema::stack::{Document, Stack};
use berth_schema::variables::{self, Variable};
use clap::{Args, ValueEnum};
use sha2::{Digest, Sha256};

use crate::asking::ask_all;
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
    /// Print images with the digests they have now
    #[arg(long)]
    resolve_image_digests: bool,
    /// Print an override file that pins every image to its digest
    #[arg(long, conflicts_with = "resolve_image_digests")]
    lock_image_digests: bool,
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
    /// Print what models are made from
    #[arg(long)]
    models: bool,
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

impl List {
    /// Whether the list is of the whole stack, whatever services are named.
    fn of_all(&self) -> bool {
        let Self { names, images: _, volumes, networks, profiles, models, variables, .. } = self;
        [names, volumes, networks, profiles, models, variables].into_iter().any(|on| *on)
            || !self.hash.is_empty()
    }
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

impl List {
    /// Whether names are printed in place of the model.
    fn is_asked_for(&self) -> bool {
        let List { names, images, volumes, models, networks, profiles, .. } = *self;
        names || images || volumes || models || networks || profiles || !self.hash.is_empty()
    }
}

impl ConfigArgs {
    /// Whether registries are asked.
    pub(crate) fn pins(&self) -> bool {
        self.resolve_image_digests || self.lock_image_digests
    }
}

/// Checks the file, and prints what it comes to.
pub(crate) fn run(session: &Session, args: &ConfigArgs) -> Result<Exit, Failure> {
    print(session, args, &text(session, args)?)
}

/// As [`run`], with every image pinned to its digest.
pub(crate) async fn run_pinned(session: &Session, args: &ConfigArgs) -> Result<Exit, Failure> {
    let options = session.options(&args.services);
    let stack = session.load_for_show(&options, switches(session, args))?;
    let pins = pins(session, &stack).await?;
    let stack = match args.lock_image_digests {
        true => images::lock(&pins),
        false => images::pinned(&stack, &pins),
    };
    let text = match args.list.is_asked_for() {
        true => names(&stack, &args.list)?.into_iter().map(|name| name + "\n").collect(),
        false => print_as(&stack.document, args.format),
    };
    print(session, args, &text)
}

/// The image of each service with its digest.
async fn pins(session: &Session, stack: &Stack) -> Result<BTreeMap<String, String>, Failure> {
    let named = images::images(stack);
    let asked = named.values().cloned().collect::<BTreeSet<_>>();
    let answers = ask_all(asked, |image| {
        let store = Store::open(session.roots().images());
        async move { store.pinned(&image, &PullOptions::default()).await }
    })
    .await;
    let (mut pins, mut causes) = (BTreeMap::new(), Vec::new());
    for (service, image) in named {
        match answers.get(&image) {
            Some(Ok(pinned)) => drop(pins.insert(service, pinned.clone())),
            Some(Err(why)) => causes.push(format!("image of service `{service}`: {why}")),
            None => causes.push(format!("image of service `{service}`: nobody answered")),
        }
    }
    if causes.is_empty() { Ok(pins) } else { Err(Failure::Forbidden(causes)) }
}

fn print_as(document: &Document, format: ModelFormat) -> String {
    match format {
        ModelFormat::Yaml => document.to_yaml(),
        ModelFormat::Json => document.to_json(),
    }
}

fn print(session: &Session, args: &ConfigArgs, text: &str) -> Result<Exit, Failure> {
    match &args.output {
        _ if args.quiet => {}
        None => session.ui.document(text)?,
        Some(path) => fs::write(path, text)
            .map_err(|e| Failure::refused(format!("write `{}`: {e}", path.display())))?,
    }
    Ok(Exit::Done)
}

fn text(session: &Session, args: &ConfigArgs) -> Result<String, Failure> {
    let mut options = session.options(if args.list.of_all() { &[] } else { &args.services });
    let lines = |lines: Vec<String>| lines.into_iter().map(|line| line + "\n").collect();
    if args.list.variables {
        let asked = variables::variables(&options, &Disk::new(&options)).map_err(invalid)?;
        return match args.format {
            ModelFormat::Yaml => Ok(lines(table(&asked).lines())),
            ModelFormat::Json => {
                Ok(serde_json::to_string_pretty(&asked).map_err(io::Error::from)? + "\n")
            }
        };
    }
    if args.list.environment {
        let set = variables::environment(&options, &Disk::new(&options)).map_err(invalid)?;
        return Ok(lines(set.iter().map(|(name, value)| format!("{name}={value}")).collect()));
    }
    if args.list.profiles {
        options.profiles = vec!["*".into()];
    }
    if !args.list.is_asked_for() {
        let document = session.document(&options, switches(session, args))?;
        let text = print_as(&document, args.format);
        // The process ends next, which frees a large tree faster than piece by piece.
        std::mem::forget(document);
        return Ok(text);
    }
    let stack = session.load_for_show(&options, switches(session, args))?;
    Ok(lines(names(&stack, &args.list)?.into_iter().collect()))
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
fn names(stack: &Stack, list: &List) -> Result<BTreeSet<String>, Failure> {
    let services = &stack.services;
    Ok(if list.names {
        services.keys().cloned().collect()
    } else if list.images {
        let built = |name: &String| format!("{}-{name}", stack.name);
        services.iter().map(|(k, s)| s.image.clone().unwrap_or_else(|| built(k))).collect()
    } else if list.volumes {
        stack.volumes.keys().cloned().collect()
    } else if list.models {
        images::models(stack)
    } else if list.networks {
        stack.networks.keys().cloned().collect()
    } else if list.profiles {
        services.values().flat_map(|service| service.profiles.clone()).collect()
    } else {
        hashes(stack, &list.hash)?
    })
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
