//! How values are written that are more than a text or a number, and which numbers make sense.
//!
//! A pattern may let pass what the reader refuses, but never the other way round; a test holds
//! them against each other.

use crate::amounts;
use crate::shape::{Grammar, Number, Range};

/// Any number.
pub(super) const ANY_INT: Range =
    Range { least: i64::MIN, most: i64::MAX, or: &[], unit: "", firm: true };
/// 0 or more.
pub(super) const NOT_NEGATIVE: Range = Range { least: 0, ..ANY_INT };
/// A number of containers of one service; more than anybody runs on one host.
pub(super) const REPLICAS: Range = Range { least: 0, most: 10_000, ..ANY_INT };
/// A share of something, in hundredths.
pub(super) const PERCENT: Range = Range { least: 0, most: 100, unit: "percent", ..ANY_INT };
/// A share of all, as a fraction.
pub(super) const FAILURES: Range = Range { least: 0, most: 1, firm: false, ..ANY_INT };
/// How ready the kernel is to end a process when memory is short.
pub(super) const OOM_SCORE: Range = Range { least: -1000, most: 1000, ..ANY_INT };
/// A number of processes; −1 for no limit.
pub(super) const PIDS: Range = Range { least: -1, unit: "processes", ..ANY_INT };
/// A share of block device time; 0 leaves it to the kernel.
pub(super) const WEIGHT: Range = Range { least: 10, most: 1000, or: &[0], firm: false, ..ANY_INT };
/// A share of the processors; 0 is the usual one.
pub(super) const SHARES: Range =
    Range { least: 2, most: 262_144, or: &[0], unit: "shares", firm: false };
/// A limit of the kernel; −1 for none.
pub(super) const LIMIT: Range = Range { least: -1, firm: false, ..ANY_INT };
/// A number of tokens.
pub(super) const TOKENS: Range = Range { least: 0, unit: "tokens", firm: false, ..ANY_INT };

const SWAPPINESS: Range = Range { least: 0, most: 100, or: &[-1], unit: "percent", firm: false };
const PERIOD: Range =
    Range { least: 1000, most: 1_000_000, or: &[0], unit: "microseconds", firm: false };
const QUOTA: Range =
    Range { least: 1000, most: i64::MAX, or: &[-1, 0], unit: "microseconds", firm: false };
const MICROSECONDS: Range = Range { least: 0, unit: "microseconds", firm: false, ..ANY_INT };
const PORTS: Range = Range { least: 1, most: 65535, ..ANY_INT };
const PORTS_OR_ANY: Range = Range { least: 0, ..PORTS };
/// A status of HTTP.
pub(super) const HTTP_STATUS: Range = Range { least: 100, most: 599, ..ANY_INT };
/// How many generations of a project are kept.
pub(super) const GENERATIONS: Range = Range { least: 1, most: 500, ..ANY_INT };
const MODES: Range = Range { least: 0, most: 0o7777, ..ANY_INT };

/// A number in a text.
pub const NUMBER: &str = "^[-+]?[.0-9][0-9A-Fa-fxob_.+-]*$";
const SIZE: &str = "^\\s*[0-9.]+\\s*([KkMmGgTtPp]?[Ii]?[Bb]?)\\s*$";
const SIZE_OR_NONE: &str = "^-1$|^\\s*[0-9.]+\\s*([KkMmGgTtPp]?[Ii]?[Bb]?)\\s*$";

/// A time span.
pub(super) const DURATION: Grammar = Grammar {
    name: "a duration",
    read: amounts::duration,
    number: Number::No,
    range: None,
    pattern: Some("^0$|^([0-9.]+(ns|us|µs|ms|s|m|h|d|w))+$"),
    firm: true,
    examples: &["10s", "1m30s", "500ms"],
};
/// Bytes.
pub(super) const MEMORY: Grammar = Grammar {
    name: "a size in bytes",
    read: amounts::memory,
    number: Number::Whole,
    range: Some(&NOT_NEGATIVE),
    pattern: Some(SIZE),
    firm: true,
    examples: &["512m", "1g"],
};
/// Bytes of a tmpfs.
pub(super) const TMPFS_SIZE: Grammar = Grammar { read: amounts::tmpfs_size, ..MEMORY };
/// Bytes, or −1.
pub(super) const MEMORY_OR_NONE: Grammar = Grammar {
    name: "a size in bytes, or -1",
    read: amounts::memory_or_unlimited,
    range: Some(&LIMIT),
    pattern: Some(SIZE_OR_NONE),
    examples: &["1g", "-1"],
    ..MEMORY
};
/// A share of memory.
pub(super) const SWAP_SHARE: Grammar = Grammar {
    name: "a whole number",
    range: Some(&SWAPPINESS),
    examples: &["0", "60"],
    ..MEMORY_OR_NONE
};
/// Bytes or operations in a second.
pub(super) const RATE: Grammar =
    Grammar { name: "a rate", read: amounts::rate, examples: &["10mb", "1000"], ..MEMORY };
/// Processors, a fraction allowed.
pub(super) const CPUS: Grammar = Grammar {
    name: "a number of processors",
    read: amounts::cpus,
    number: Number::Any,
    range: Some(&NOT_NEGATIVE),
    pattern: Some(NUMBER),
    firm: true,
    examples: &["0.5", "2"],
};
/// Microseconds.
pub(super) const CPU_TIME: Grammar = Grammar {
    name: "a number of microseconds",
    read: amounts::cpu_time,
    number: Number::Whole,
    range: Some(&MICROSECONDS),
    pattern: Some(NUMBER),
    firm: true,
    examples: &["100000"],
};
/// Microseconds of a scheduling period.
pub(super) const CPU_PERIOD: Grammar = Grammar { range: Some(&PERIOD), ..CPU_TIME };
/// Microseconds of processor time in a period.
pub(super) const CPU_QUOTA: Grammar =
    Grammar { range: Some(&QUOTA), examples: &["50000", "-1"], ..CPU_TIME };
/// How many devices.
pub(super) const DEVICE_COUNT: Grammar = Grammar {
    name: "a number of devices, or `all`",
    read: amounts::device_count,
    number: Number::Whole,
    range: Some(&LIMIT),
    pattern: Some("^all$|^[-+]?[.0-9][0-9A-Fa-fxob_.+-]*$"),
    firm: true,
    examples: &["1", "all"],
};
/// A port a service listens on.
pub(super) const EXPOSED: Grammar = Grammar {
    name: "a port or range of ports",
    read: amounts::expose,
    number: Number::Whole,
    range: Some(&PORTS),
    pattern: Some("^[0-9]+(-[0-9]+)?(/[A-Za-z]+)?$"),
    firm: false,
    examples: &["80", "53/udp", "8000-8010"],
};
/// What happens when a config or secret has another content.
pub(super) const ON_CHANGE: Grammar = Grammar {
    name: "`none`, `signal:NAME`, `restart` or `replace`",
    read: amounts::on_change,
    number: Number::No,
    range: None,
    pattern: Some("^(none|signal:[A-Za-z0-9+-]+|restart|replace)$"),
    firm: true,
    examples: &["none", "signal:HUP", "restart", "replace"],
};
/// When an image is pulled.
pub(super) const PULL_POLICY: Grammar = Grammar {
    name: "a pull policy",
    read: amounts::pull_policy,
    number: Number::No,
    range: None,
    pattern: Some(
        "^(always|never|build|if_not_present|missing|refresh|daily|weekly|every_([0-9.]+(ns|us|µs|ms|s|m|h|d|w))+)?$",
    ),
    firm: true,
    examples: &["missing", "daily", "every_12h"],
};
/// The host side of a port.
pub(super) const PUBLISHED: Grammar = Grammar {
    name: "a port or range of ports",
    read: amounts::published,
    number: Number::Whole,
    range: Some(&PORTS_OR_ANY),
    pattern: Some("^$|^[0-9]+(-[0-9]+)?$"),
    firm: true,
    examples: &["8080", "8080-8090"],
};
/// The container side of a port.
pub(super) const TARGET_PORT: Grammar = Grammar {
    name: "a port",
    read: amounts::port_target,
    number: Number::Whole,
    range: Some(&PORTS),
    pattern: Some(NUMBER),
    firm: true,
    examples: &["80"],
};
/// A published port in short.
pub(super) const SHORT_PORT: Grammar = Grammar {
    name: "`[[IP:]HOST:]CONTAINER[/PROTOCOL]`",
    read: crate::short::port_text,
    number: Number::Whole,
    range: Some(&PORTS),
    pattern: Some(
        "^((\\[[0-9A-Fa-f:.]+\\]|[0-9.]*):)?(([0-9]+(-[0-9]+)?)?:)?[0-9]+(-[0-9]+)?(/[A-Za-z]+)?$",
    ),
    firm: true,
    examples: &["8080:80", "127.0.0.1:5432:5432", "53:53/udp", "9000-9010:9000-9010"],
};
/// An address of this host.
pub(super) const HOST_IP: Grammar = Grammar {
    name: "an address",
    read: amounts::host_ip,
    number: Number::No,
    range: None,
    pattern: Some("^[0-9A-Fa-f:.]*$"),
    firm: true,
    examples: &["127.0.0.1", "::1"],
};
/// The name of a container.
pub(super) const CONTAINER_NAME: Grammar = Grammar {
    name: "a container name",
    read: amounts::container_name,
    number: Number::No,
    range: None,
    pattern: Some("[a-zA-Z0-9][a-zA-Z0-9_.-]+"),
    firm: true,
    examples: &["web-1"],
};
/// A page of a container, in short.
pub(super) const PAGE: Grammar = Grammar {
    name: "a page",
    pattern: Some("^(http://)?(localhost|127\\.0\\.0\\.1|\\[::1\\])?:?[0-9]*(/[^ ]*)?$"),
    examples: &["8080", "8080/health"],
    ..TARGET_PORT
};
/// A regular expression.
pub(super) const PATTERN: Grammar = Grammar {
    name: "a regular expression",
    read: amounts::pattern,
    number: Number::No,
    range: None,
    pattern: Some("."),
    firm: true,
    examples: &["listening on port [0-9]+"],
};
/// The mode of a file.
pub(super) const FILE_MODE: Grammar = Grammar {
    name: "a file mode in octal",
    read: amounts::file_mode,
    number: Number::Whole,
    range: Some(&MODES),
    pattern: Some("^\\+?(0o\\+?)?[0-7]+$"),
    firm: true,
    examples: &["0440"],
};
/// The mode of a tmpfs.
pub(super) const TMPFS_MODE: Grammar = Grammar {
    name: "a file mode in octal",
    read: amounts::mount_mode,
    number: Number::Whole,
    range: Some(&MODES),
    pattern: None,
    firm: true,
    examples: &["01777"],
};
