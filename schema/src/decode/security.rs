//! What confines a container beyond its capabilities.

use std::path::{Path, PathBuf};

use super::read::Reader;
use crate::stack::{AppArmor, Listed, Seccomp, SecurityOptions, SelinuxLabel};
use crate::tree::Node;
use crate::value::{self, Bad, bad};
use crate::words::capability;

const OPTIONS: [&str; 5] = ["apparmor", "label", "no-new-privileges", "seccomp", "systempaths"];

impl Reader<'_> {
    /// Everything of `security_opt`; the last of two options of one kind counts.
    pub(super) fn security(&mut self, node: &Node) -> SecurityOptions {
        let mut options = SecurityOptions::default();
        let directory = self.directory;
        let lines = self.each(node, "security_opt", |text| option(text, directory));
        for (index, line) in lines.into_iter().enumerate() {
            match line {
                Line::NoNewPrivileges(on) => options.no_new_privileges = on,
                Line::Seccomp(seccomp) => options.seccomp = seccomp,
                Line::AppArmor(value) => options.apparmor = Some(Listed { index, value }),
                Line::Selinux(value) => options.selinux.push(Listed { index, value }),
                Line::UnconfinedPaths => options.unconfined_paths = true,
            }
        }
        options
    }

    /// A capability without `CAP_`.
    pub(super) fn capability(&mut self, node: &Node) -> Option<String> {
        self.value(node, capability)
    }
}

/// One line of `security_opt`.
enum Line {
    NoNewPrivileges(bool),
    Seccomp(Seccomp),
    AppArmor(AppArmor),
    Selinux(SelinuxLabel),
    UnconfinedPaths,
}

/// `NAME=VALUE`, or with a colon, the older form.
fn option(text: &str, directory: &Path) -> Result<Line, Bad> {
    let (name, value) = match text.split_once(['=', ':']) {
        Some((name, value)) => (name, value),
        None => (text, ""),
    };
    match (name, value) {
        ("no-new-privileges", "" | "true") => Ok(Line::NoNewPrivileges(true)),
        ("no-new-privileges", "false") => Ok(Line::NoNewPrivileges(false)),
        ("no-new-privileges", _) => bad("is neither on nor off", "write `no-new-privileges:true`"),
        ("seccomp", "unconfined") => Ok(Line::Seccomp(Seccomp::Unconfined)),
        ("seccomp", "builtin") => Ok(Line::Seccomp(Seccomp::Builtin)),
        ("seccomp", path) if !path.is_empty() => {
            Ok(Line::Seccomp(Seccomp::Profile(below(directory, path))))
        }
        ("apparmor", "unconfined") => Ok(Line::AppArmor(AppArmor::Unconfined)),
        ("apparmor", profile) if !profile.is_empty() => {
            Ok(Line::AppArmor(AppArmor::Profile(profile.to_owned())))
        }
        ("label", label) => selinux(label).map(Line::Selinux),
        ("systempaths", "unconfined") => Ok(Line::UnconfinedPaths),
        ("systempaths", _) => bad("is not known here", "write `systempaths=unconfined`"),
        ("seccomp" | "apparmor", _) => {
            bad("names no profile", "write `unconfined` or a profile after the `=`")
        }
        _ => unknown(name),
    }
}

fn unknown(name: &str) -> Result<Line, Bad> {
    let help = match value::nearest(name, OPTIONS) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("there are {}", OPTIONS.join(", ")),
    };
    Err(Bad { why: "is not a security option".into(), help: Some(help) })
}

fn selinux(label: &str) -> Result<SelinuxLabel, Bad> {
    let owned = |value: &str| value.to_owned();
    match label.split_once([':', '=']) {
        None if label == "disable" => Ok(SelinuxLabel::Disable),
        Some(("user", user)) if !user.is_empty() => Ok(SelinuxLabel::User(owned(user))),
        Some(("role", role)) if !role.is_empty() => Ok(SelinuxLabel::Role(owned(role))),
        Some(("type", kind)) if !kind.is_empty() => Ok(SelinuxLabel::Type(owned(kind))),
        Some(("level", level)) if !level.is_empty() => Ok(SelinuxLabel::Level(owned(level))),
        _ => bad(
            "is not a label of SELinux",
            "write `label=disable`, or one of user, role, type and level: `label=type:NAME`",
        ),
    }
}

fn below(directory: &Path, path: &str) -> PathBuf {
    value::clean_path(&directory.join(path).to_string_lossy()).into()
}
