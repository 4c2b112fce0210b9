//! The table of decisions: what each level says to each case.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// How much a stack may have without a word.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// What people run today; the host itself is given away only by consent.
    #[default]
    Default,
    /// For files that others write.
    Guarded,
    /// Nothing but the program.
    Strict,
}

impl Level {
    /// All, the most lenient first.
    pub const ALL: [Level; 3] = [Level::Default, Level::Guarded, Level::Strict];
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Level::Default => "default",
            Level::Guarded => "guarded",
            Level::Strict => "strict",
        })
    }
}

impl FromStr for Level {
    type Err = String;

    fn from_str(text: &str) -> Result<Level, String> {
        let known = Level::ALL.into_iter().find(|level| level.to_string() == text);
        known.ok_or_else(|| format!("`{text}` is no policy: write default, guarded or strict"))
    }
}

/// What a level says to a case, the strictest last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Decision {
    /// Nobody is told.
    Allowed,
    /// It is shown.
    Shown,
    /// Somebody has to say yes once.
    Consent,
    /// Nobody can say yes.
    Refused,
}

/// How much a grant hands over, the weightiest last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// A nuisance.
    Low,
    /// Something of the host or the network.
    Medium,
    /// A defence, or data of others.
    High,
    /// The host.
    Critical,
}

impl Severity {
    /// As people read it.
    pub fn word(self) -> &'static str {
        match self {
            Severity::Low => "low",
            Severity::Medium => "medium",
            Severity::High => "high",
            Severity::Critical => "critical",
        }
    }
}

macro_rules! cases {
    ($($case:ident $id:literal [$default:ident $guarded:ident $strict:ident] $severity:ident $meaning:literal,)*) => {
        /// A cell of the table: an attribute, as far as it makes a difference for the decision.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Case {
            $(#[doc = $meaning] $case,)*
        }

        impl Case {
            /// All of them.
            pub const ALL: &[Case] = &[$(Case::$case,)*];

            /// Its row.
            pub fn id(self) -> &'static str {
                match self { $(Case::$case => $id,)* }
            }

            /// What `default`, `guarded` and `strict` say.
            pub fn decisions(self) -> [Decision; 3] {
                use Decision::{Allowed, Consent, Refused, Shown};
                match self { $(Case::$case => [$default, $guarded, $strict],)* }
            }

            /// How much it hands over.
            pub fn severity(self) -> Severity {
                match self { $(Case::$case => Severity::$severity,)* }
            }
        }
    };
}

cases! {
    Privileged "G-PRIV" [Consent Refused Refused] Critical "`privileged`.",
    Contained "G-PRIV" [Shown Consent Refused] High "`privileged` inside a user namespace.",
    CapHost "G-CAP-HOST" [Consent Refused Refused] Critical "A capability over the host, with the host's user ids.",
    CapHostMapped "G-CAP-HOST" [Shown Consent Refused] Medium "The same in a user namespace of its own.",
    CapNet "G-CAP-NET" [Shown Consent Refused] Medium "A capability over networks.",
    CapLow "G-CAP-LOW" [Shown Shown Refused] Low "Another capability beyond the default ones.",
    CapUsual "G-CAP-LOW" [Allowed Allowed Refused] Low "One of the default capabilities, asked for.",
    Defences "G-SEC" [Consent Refused Refused] High "A defence is off or of somebody's own making.",
    Namespace "G-NS" [Consent Refused Refused] Critical "A namespace of the host.",
    HostNetwork "G-NS" [Shown Consent Refused] High "The network of the host.",
    HostLink "G-LINK" [Shown Consent Refused] Medium "It stands on the network that a link of the host leads to.",
    NoUserns "G-USERNS" [Shown Shown Refused] Medium "This host gives no user namespace.",
    UsernsRequired "G-USERNS" [Refused Refused Refused] High "No user namespace where the host's policy requires one.",
    Peer "G-NS-PEER" [Consent Refused Refused] High "A namespace of another stack.",
    Socket "G-SOCK" [Consent Refused Refused] Critical "A socket that gives the host away.",
    OwnState "G-BIND-ROOT" [Refused Refused Refused] Critical "Our own state.",
    HostRoot "G-BIND-ROOT" [Consent Refused Refused] Critical "Files the host itself lives of.",
    Bind "G-BIND" [Shown Consent Consent] Medium "Another path outside the project.",
    PublicData "G-BIND" [Allowed Consent Consent] Low "Data of the host that everybody may read, read-only.",
    HiddenHostRoot "G-BIND-HIDDEN" [Consent Refused Refused] Critical "A volume that is a path the host lives of, or a socket.",
    HiddenBind "G-BIND-HIDDEN" [Shown Refused Refused] Medium "A volume that is another path outside the project.",
    HiddenOwn "G-BIND-HIDDEN" [Allowed Refused Refused] Low "A volume that is a path of the project, or public data.",
    Propagation "G-PROP" [Consent Refused Refused] High "Mounts in the container appear on the host.",
    HostDevice "G-DEV" [Consent Refused Refused] Critical "The memory or a disk of the host.",
    Device "G-DEV" [Consent Consent Refused] High "A device of the host.",
    Gpu "G-DEV" [Shown Consent Refused] Medium "A graphics processor.",
    DeviceHook "G-DEV" [Shown Consent Refused] Medium "A program of a device's maker that runs in the container.",
    DeviceProgram "G-DEV" [Consent Refused Refused] Critical "A program of a device's maker that runs on the host.",
    Provider "G-EXEC" [Consent Refused Refused] Critical "A program that runs on the host.",
    Hook "G-HOOK" [Shown Consent Refused] Medium "A hook with more rights than the service.",
    File "G-FILE" [Shown Refused Refused] Medium "A file of the host outside the project.",
    Variable "G-ENV" [Shown Refused Refused] Low "A variable of the host.",
    OpenVariable "G-ENV" [Shown Shown Refused] Low "A variable of the host that every stack may read.",
    Remote "G-REMOTE" [Consent Refused Refused] High "Code of others that may change.",
    RemotePinned "G-REMOTE" [Shown Consent Refused] Medium "Code of others at one state.",
    Public "G-PUBLIC" [Shown Consent Consent] Medium "A port that the network reaches.",
    LogAway "G-LOG" [Shown Consent Refused] Medium "Output that goes to another host.",
    Unpinned "G-IMG" [Allowed Shown Refused] Low "An image without a digest.",
    Insecure "G-IMG" [Consent Refused Refused] High "An image of a registry without TLS.",
    Root "G-ROOT" [Allowed Allowed Refused] Low "It runs as user 0 of the container.",
    Writable "G-RW" [Allowed Allowed Shown] Low "Its root file system is writable.",
    NoLimit "G-LIM" [Allowed Shown Refused] Low "Memory without a limit.",
    Starving "G-LIM" [Shown Shown Refused] Low "It may starve others.",
    Sysctl "G-SYSCTL" [Shown Consent Consent] Low "A setting of its own kernel namespaces.",
    Placement "G-CG" [Consent Refused Refused] High "It runs outside our tree, or by another program.",
    Foreign "G-XSTACK" [Shown Consent Consent] Medium "Something of another stack, said to be external.",
    Taken "G-XSTACK" [Refused Refused Refused] High "Something of another stack, taken by its name.",
    Unsigned "G-UNSIGNED" [Consent Consent Refused] High "Whoever can push to the repository.",
}

impl Case {
    /// What a level says.
    pub fn decision(self, level: Level) -> Decision {
        self.decisions()[level as usize]
    }
}
