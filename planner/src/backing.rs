//! What keeps the data of a volume, by its `driver_opts`.

use std::collections::BTreeMap;
use std::path::PathBuf;

/// What keeps the data of a volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Backing {
    /// A folder of berth.
    Own,
    /// A folder of the host.
    Bind {
        /// Absolute.
        device: PathBuf,
        /// With the mounts below it.
        recursive: bool,
        /// Nobody writes to it.
        read_only: bool,
    },
    /// Memory of the one container that has it.
    Memory {
        /// Options of tmpfs(5).
        options: Vec<String>,
    },
}

impl Backing {
    /// What `type`, `o` and `device` say, as mount(8) takes them.
    ///
    /// # Errors
    /// What of them berth does not do, with the next move.
    pub fn of(driver_opts: &BTreeMap<String, String>) -> Result<Backing, String> {
        if let Some(other) =
            driver_opts.keys().find(|key| !["type", "o", "device"].contains(&key.as_str()))
        {
            return Err(format!("`{other}` is none of `type`, `o` and `device`"));
        }
        let said = |key: &str| driver_opts.get(key).map_or("", String::as_str);
        let options = said("o").split(',').map(str::trim).filter(|option| !option.is_empty());
        let options: Vec<&str> = options.collect();
        if options.iter().any(|option| ["bind", "rbind"].contains(option)) {
            return bind(said("device"), &options);
        }
        match said("type") {
            "" | "none" if driver_opts.is_empty() => Ok(Backing::Own),
            "tmpfs" => {
                Ok(Backing::Memory { options: options.into_iter().map(str::to_owned).collect() })
            }
            "" | "none" => Err("they say neither `o: bind` nor a `type`".to_owned()),
            kind => Err(format!(
                "berth mounts no `{kind}` itself: mount `{}` on this host and name that folder as \
                 `device`, with `o: bind`",
                said("device")
            )),
        }
    }
}

fn bind(device: &str, options: &[&str]) -> Result<Backing, String> {
    if !device.starts_with('/') {
        return Err("`o: bind` needs a folder of this host as `device`".to_owned());
    }
    if let Some(other) = options.iter().find(|o| !["bind", "rbind", "ro", "rw"].contains(o)) {
        return Err(format!("`{other}` is no option of a bind: there are `ro` and `rw`"));
    }
    Ok(Backing::Bind {
        device: device.into(),
        recursive: options.contains(&"rbind"),
        read_only: options.contains(&"ro"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(opts: &[(&str, &str)]) -> Result<Backing, String> {
        Backing::of(&opts.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect())
    }

    #[test]
    fn what_is_done_is_told_from_what_is_not() {
        assert_eq!(of(&[]), Ok(Backing::Own));
        let bind = of(&[("type", "none"), ("o", "bind, ro"), ("device", "/srv")]);
        let folder = Backing::Bind { device: "/srv".into(), recursive: false, read_only: true };
        assert_eq!(bind, Ok(folder));
        let memory = Backing::Memory { options: vec!["size=1m".to_owned(), "uid=7".to_owned()] };
        assert_eq!(
            of(&[("type", "tmpfs"), ("device", "tmpfs"), ("o", "size=1m,uid=7")]),
            Ok(memory)
        );
        insta::assert_snapshot!(of(&[("type", "nfs"), ("device", ":/x")]).unwrap_err(), @"berth mounts no `nfs` itself: mount `:/x` on this host and name that folder as `device`, with `o: bind`");
        insta::assert_snapshot!(of(&[("o", "bind"), ("device", "srv")]).unwrap_err(), @"`o: bind` needs a folder of this host as `device`");
        insta::assert_snapshot!(of(&[("o", "bind,noexec"), ("device", "/a")]).unwrap_err(), @"`noexec` is no option of a bind: there are `ro` and `rw`");
        insta::assert_snapshot!(of(&[("size", "1")]).unwrap_err(), @"`size` is none of `type`, `o` and `device`");
        insta::assert_snapshot!(of(&[("o", "ro")]).unwrap_err(), @"they say neither `o: bind` nor a `type`");
    }
}
