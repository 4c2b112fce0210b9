//! Modules of the kernel that confine by rules of the host: AppArmor and SELinux.

use std::collections::BTreeSet;

use berth_schema::stack::{self, SecurityOptions, SelinuxLabel, Service};

use super::Judge;

/// Which of them a host has.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Modules {
    /// AppArmor.
    pub apparmor: AppArmor,
}

/// AppArmor on a host.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum AppArmor {
    /// The kernel does not have it, or it is switched off.
    #[default]
    Off,
    /// It is on, and who asks may not see its profiles.
    Unseen,
    /// It is on, with these profiles.
    On(BTreeSet<String>),
}

/// Joins the profiles of a stack of them (apparmor_stack(7)).
const STACKED: &str = "//&";

/// The profile that these options ask for.
pub fn profile_of(options: &SecurityOptions) -> Option<&str> {
    match &options.apparmor.as_ref()?.value {
        stack::AppArmor::Unconfined => None,
        stack::AppArmor::Profile(name) => Some(name),
    }
}

impl Judge<'_> {
    /// Rules that this host does not have.
    pub(super) fn modules(&mut self, at: &str, service: &Service) {
        let options = &service.security;
        if let (Some(option), Some(profile)) = (&options.apparmor, profile_of(options))
            && let Some(why) = self.abilities.modules.apparmor.lacks(profile)
        {
            self.note(format!("{at}.security_opt.{}", option.index), true, why);
        }
        for option in &options.selinux {
            if option.value != SelinuxLabel::Disable {
                let why = "berth sets no labels of SELinux, on no host: take it away; seccomp, \
                           capabilities and the user namespace confine the container";
                self.note(format!("{at}.security_opt.{}", option.index), true, why);
            }
        }
    }
}

impl AppArmor {
    /// Why nothing can be under this profile.
    fn lacks(&self, profile: &str) -> Option<String> {
        let loaded = match self {
            AppArmor::Off => {
                return Some(format!(
                    "this host has no AppArmor, or has it switched off, so there is no profile \
                     `{profile}`: take it away; seccomp, capabilities and the user namespace \
                     confine the container"
                ));
            }
            // The start tells.
            AppArmor::Unseen => return None,
            AppArmor::On(loaded) => loaded,
        };
        let missing = profile.split(STACKED).find(|name| !loaded.contains(*name))?;
        Some(format!(
            "AppArmor has no profile `{missing}` on this host: load it with \
             `apparmor_parser --replace FILE`"
        ))
    }
}
