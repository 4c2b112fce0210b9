//! What forbids a plan. All problems come at once, before anything is touched.

use std::fmt;
use std::path::PathBuf;

use berth_schema::stack::Way;
use ipnet::IpNet;
use thiserror::Error;

/// Why there is no plan.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Error)]
#[allow(missing_docs, reason = "the messages say what the fields are")]
pub enum PlanProblem {
    #[error("no such service: `{service}`")]
    UnknownService { service: String },
    #[error("service `{service}` has no container: `berth up` makes one")]
    NoContainer { service: String },
    #[error(
        "network `{network}` of container `{container}` does not exist any more: `berth up` makes \
         both anew"
    )]
    NetworkGone { network: String, container: String },
    #[error(
        "network `{network}` of container `{container}` does not exist any more, and the file does \
         not describe it: leave `--no-recreate` out, so that the container is made anew as its \
         service says"
    )]
    NetworkNotDescribed { network: String, container: String },
    #[error(
        "network `{network}` has lost its {lost} while container `{container}` runs on it: \
         `berth up` puts both right"
    )]
    LinkGone { network: String, lost: &'static str, container: String },
    #[error(
        "network `{network}` has lost its {lost}, and container `{container}`, which this does not \
         touch, would have no link to a new one: {next}"
    )]
    Stranded { network: String, lost: &'static str, container: String, next: String },
    #[error("container `{container}` is half made: `berth up` makes it anew")]
    HalfMade { container: String },
    #[error("service `{service}` has the fixed name `{name}`, so there can be only one container")]
    FixedName { service: String, name: String },
    #[error(
        "service `{service}` cannot be replaced `start-first`: {why}; write `order: stop-first`"
    )]
    NoStartFirst { service: String, why: String },
    #[error("the name `{name}` is taken by a container of {owner}")]
    NameTaken { name: String, owner: String },
    #[error("network `{network}` is external and does not exist: {}", of_others(network, similar))]
    ExternalNetwork { network: String, similar: Option<String> },
    #[error("no such volume: `{volume}`")]
    NoVolume { volume: String },
    #[error("volume `{volume}` is in use: container `{container}` has it")]
    VolumeInUse { volume: String, container: String },
    #[error("image `{image}` is in use: the {state} container `{container}` was made from it")]
    ImageInUse { image: String, state: &'static str, container: String },
    #[error("image `{image}` is needed to go back to generation {generation} of `{project}`")]
    ImageKept { image: String, project: String, generation: u64 },
    #[error(
        "image `{image}` has several tags (`{tags}`), so its id alone does not say which is to go"
    )]
    ManyTags { image: String, tags: String },
    #[error("volume `{volume}` is external and does not exist: make it first")]
    ExternalVolume { volume: String },
    #[error(
        "volume `{volume}` was made from another description ({fields}), and making it anew would \
         lose its data: remove it first if that is what you want (`berth volume rm {volume}`)"
    )]
    VolumeChanged { volume: String, fields: String },
    #[error(
        "network `{network}` has changed and has to be made anew, but container `{container}` \
         ({owner}) is on it: remove that container first"
    )]
    NetworkInUse { network: String, container: String, owner: String },
    #[error(
        "network `{network}` gives its bridge the name `{link}`, which {owner} has: choose another \
         `com.docker.network.bridge.name`"
    )]
    LinkTaken { network: String, link: String, owner: String },
    #[error(
        "this host has no link `{link}`, which network `{network}` is to stand beside: `parent` is to \
         be one that `ip link` lists, or `LINK.NUMBER` for a VLAN on one"
    )]
    NoLink { network: String, link: String },
    #[error(
        "network `{network}` would stand beside link `{link}` as {way}, and network `{other}` stands \
         there as {theirs}, which a link cannot have both: {}name another `parent`",
        if way == theirs { "" } else { "make both the same, or " }
    )]
    LinkShared { network: String, link: String, way: Way, other: String, theirs: Way },
    #[error(
        "network `{network}` leaves its link to one container (`passthru`), and `{other}` has it: \
         leave `{container}` out, or choose another `macvlan_mode`"
    )]
    LinkAlone { network: String, container: String, other: String },
    #[error(
        "network `{network}` is of project `{owner}`, which does not share it: write `x-berth: {{ \
         shared: true }}` there too, or give this one another name"
    )]
    NotShared { network: String, owner: String },
    #[error(
        "network `{network}` is shared with project `{owner}`{}, which describes it otherwise \
         ({fields}): make both the same, or take the other down first",
        files.as_ref().map(|files| format!(" ({files})")).unwrap_or_default()
    )]
    SharedDiffers { network: String, owner: String, files: Option<String>, fields: String },
    #[error("subnet {subnet} of network `{network}` overlaps {other}: choose another `subnet`")]
    SubnetOverlap { network: String, subnet: IpNet, other: String },
    #[error(
        "network `{network}` would give addresses of {range}, and so does network `{other}` beside \
         the same link: choose another `ip_range`"
    )]
    RangeOverlap { network: String, range: IpNet, other: String },
    #[error("gateway {gateway} of network `{network}` is not in its subnet {subnet}")]
    GatewayOutside { network: String, gateway: String, subnet: IpNet },
    #[error(
        "no address pool is left for network `{network}`: {takers} have all of 172.18.0.0/16 to \
         172.31.0.0/16 and 192.168.0.0/16; write `ipam: {{ config: [{{ subnet: … }}] }}` with a \
         subnet of your own, or take a network down that nobody needs"
    )]
    PoolsExhausted { network: String, takers: String },
    #[error("network `{network}` has no free {family} address for container `{container}`")]
    AddressesExhausted { network: String, family: &'static str, container: String },
    #[error("address {address} of `{container}` on network `{network}` is {reason}")]
    Address { network: String, container: String, address: String, reason: String },
    #[error("no range of user ids is left for container `{container}`")]
    IdsExhausted { container: String },
    #[error("no quota project is left to limit the writable layer of `{container}`")]
    ProjectsExhausted { container: String },
    #[error(
        "image `{image}` of service `{service}` is not here and is not to be pulled (`never`): \
         `berth image pull {image}` gets it all the same"
    )]
    ImageMissing { service: String, image: String },
    #[error(
        "container `{container}` shares a namespace of `{parent}`, which does not exist: {next}"
    )]
    NoParent { container: String, parent: String, next: &'static str },
    #[error(
        "container `{container}` would share a namespace of itself, as what it names by `container:` \
         leads back to it: {next}"
    )]
    SharesItself { container: String, next: &'static str },
    #[error(
        "container `{container}` has the {what} of `{owner}`{}, and this takes `{owner}` away: {next}",
        place.as_ref().map(|place| format!(" ({place})")).unwrap_or_default()
    )]
    OwnerGoes {
        container: String,
        what: &'static str,
        owner: String,
        place: Option<String>,
        next: String,
    },
    #[error(
        "container `{container}` has the volumes of `{other}`, which does not exist: bring that one up first"
    )]
    NoVolumesOf { container: String, other: String },
    #[error(
        "container `{container}` uses the shared memory of `{parent}`, which keeps it to itself: \
         that needs `ipc: shareable`"
    )]
    NotShareable { container: String, parent: String },
    #[error(
        "container `{container}` shares the processes of one container and the memory of another, \
         `{first}` and `{second}`, and these have different user namespaces: it can be in one of \
         them only"
    )]
    TwoUserNamespaces { container: String, first: String, second: String },
    #[error(
        "`{}`, which container `{container}` mounts, leads to `{}` now, and nobody has judged \
         that: `berth up` does, and makes the container anew", path.display(), now.display()
    )]
    PathMoved { container: String, path: PathBuf, now: PathBuf },
    #[error("the `pre_start` of container `{container}` has not run: `berth up` does that")]
    Unprepared { container: String },
    #[error(
        "volume `{volume}` is memory, which several containers cannot share, and service `{service}` \
         would have {replicas}"
    )]
    SharedMemory { volume: String, service: String, replicas: u32 },
    #[error(
        "container `{container}` has the volumes of `{other}`, and `{volume}` of them is memory, \
         which several containers cannot share"
    )]
    OthersMemory { container: String, other: String, volume: String },
    #[error("port {port} of `{container}` is already published by `{other}`: publish {}", instead(.free))]
    PortTaken { port: String, container: String, other: String, free: Option<u16> },
    #[error("port {port} of `{container}` is {owner}: end that, or publish {}", instead(.free))]
    PortInUse { port: String, container: String, owner: String, free: Option<u16> },
    #[error("no port of {ports} is free for `{container}`: {owners}")]
    PortsTaken { ports: String, container: String, owners: String },
    #[error(
        "the steps of this plan wait for each other ({steps}), so nothing was touched: a container \
         that the file names by `container:` may need the one it is named for; if none does, please \
         report this line and the file"
    )]
    Circle { steps: String },
}

/// What a port that is taken could be.
fn instead(free: &Option<u16>) -> String {
    free.map_or("another port".to_owned(), |free| format!("{free}, which is free"))
}

/// Who could have or make a network that is external.
fn of_others(network: &str, similar: &Option<String>) -> String {
    match similar {
        Some(other) => format!("did you mean `{other}`? write `name: {other}` beside `external`"),
        None => format!(
            "`berth up` of the stack that describes it makes it, with `name: {network}` there"
        ),
    }
}

/// All problems of a plan, sorted.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PlanProblems(pub Vec<PlanProblem>);

impl PlanProblems {
    /// `Ok` when there is none.
    pub(crate) fn none(mut self) -> Result<(), PlanProblems> {
        self.0.sort();
        self.0.dedup();
        if self.0.is_empty() { Ok(()) } else { Err(self) }
    }

    pub(crate) fn add(&mut self, problem: PlanProblem) {
        self.0.push(problem);
    }
}

impl fmt::Display for PlanProblems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for PlanProblems {}
