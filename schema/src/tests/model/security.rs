//! What confines a container.

use insta::assert_snapshot;

use super::{refused, service};
use crate::stack::{AppArmor, Listed, Seccomp, SecurityOptions, SelinuxLabel};

#[test]
fn security_options_are_read_with_either_sign() {
    let security = service(
        "security_opt:
  - no-new-privileges
  - seccomp:./profile.json
  - apparmor=unconfined
  - label=type:web_t
  - label:disable
  - systempaths=unconfined
",
    )
    .security;
    let wanted = SecurityOptions {
        no_new_privileges: true,
        seccomp: Seccomp::Profile("/p/profile.json".into()),
        apparmor: Some(Listed { index: 2, value: AppArmor::Unconfined }),
        selinux: vec![
            Listed { index: 3, value: SelinuxLabel::Type("web_t".into()) },
            Listed { index: 4, value: SelinuxLabel::Disable },
        ],
        unconfined_paths: true,
    };
    assert_eq!(security, wanted);
    assert_eq!(service("security_opt: ['no-new-privileges:false']").security, Default::default());
    let open = service("security_opt: ['seccomp=unconfined']").security;
    assert_eq!(open.seccomp, Seccomp::Unconfined);
}

#[test]
fn security_options_that_nobody_has_are_refused() {
    assert_snapshot!(refused(
        "security_opt: [no-new-priviliges, 'no-new-privileges:maybe', 'seccomp=', 'label=colour:red', 'systempaths=all', magic]"
    ), @"
    compose.yaml:4:20 berth::bad_value
      `services.web.security_opt.0`: `no-new-priviliges` is not a security option
      → did you mean `no-new-privileges`?
    compose.yaml:4:39 berth::bad_value
      `services.web.security_opt.1`: `no-new-privileges:maybe` is neither on nor off
      → write `no-new-privileges:true`
    compose.yaml:4:66 berth::bad_value
      `services.web.security_opt.2`: `seccomp=` names no profile
      → write `unconfined` or a profile after the `=`
    compose.yaml:4:78 berth::bad_value
      `services.web.security_opt.3`: `label=colour:red` is not a label of SELinux
      → write `label=disable`, or one of user, role, type and level: `label=type:NAME`
    compose.yaml:4:98 berth::bad_value
      `services.web.security_opt.4`: `systempaths=all` is not known here
      → write `systempaths=unconfined`
    compose.yaml:4:117 berth::bad_value
      `services.web.security_opt.5`: `magic` is not a security option
      → there are apparmor, label, no-new-privileges, seccomp, systempaths
    ");
}
