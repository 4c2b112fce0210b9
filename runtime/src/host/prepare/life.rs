//! How a container is probed, started again and stopped.

use std::time::Duration;

use berth_planner::desired::{ContainerSpec, RestartPace};
use berth_planner::observed::ContainerRecord;
use berth_schema::stack::{self, Healthcheck, Hook, RestartPolicy};

use crate::bundle::{Hooks, Pace, Probe, Ready, Restart, Times};
use crate::container::ExecSpec;
use crate::host::StepError;
use crate::store::{ImageConfig, ImageHealthcheck};

pub(super) fn stop_signal(record: &ContainerRecord, image: &ImageConfig) -> Result<i32, StepError> {
    let asked = record.spec.stop_signal.as_deref();
    let name = asked.or(image.stop_signal.as_deref()).unwrap_or("SIGTERM");
    signal_number(name).ok_or_else(|| {
        let why = format!("there is no signal `{name}`");
        StepError::failed("prepare container", &record.name, why)
    })
}

pub(super) fn stop_grace(spec: &ContainerSpec) -> u64 {
    spec.stop_grace_period.map_or(10_000, milliseconds)
}

/// The probe of the file over that of the image, with Docker's defaults.
pub(super) fn probe(
    asked: Option<&Healthcheck>,
    image: Option<&ImageHealthcheck>,
) -> Option<Probe> {
    let (no_own, no_image) = (Healthcheck::default(), ImageHealthcheck::default());
    let (asked, image) = (asked.unwrap_or(&no_own), image.unwrap_or(&no_image));
    if asked.disable {
        return None;
    }
    let argv = match asked.test.as_ref().unwrap_or(&image.test).split_first()? {
        (kind, [line]) if kind == "CMD-SHELL" => {
            vec!["/bin/sh".to_owned(), "-c".to_owned(), line.clone()]
        }
        (kind, argv) if kind == "CMD" && !argv.is_empty() => argv.to_vec(),
        _ => return None,
    };
    let time = |own: Option<Duration>, of_image: Option<Duration>, ms| {
        let given = |time: &Duration| !time.is_zero();
        own.filter(given).or(of_image.filter(given)).map_or(ms, milliseconds)
    };
    let times = Times {
        interval_ms: time(asked.interval, image.interval, 30_000),
        timeout_ms: time(asked.timeout, image.timeout, 30_000),
        start_period_ms: time(asked.start_period, image.start_period, 0),
        start_interval_ms: time(asked.start_interval, image.start_interval, 5_000),
        retries: asked.retries.or(image.retries).filter(|retries| *retries > 0).unwrap_or(3),
    };
    Some(Probe { argv, times })
}

pub(in crate::host) fn restart(policy: RestartPolicy) -> Restart {
    match policy {
        RestartPolicy::No => Restart::No,
        RestartPolicy::Always | RestartPolicy::UnlessStopped => Restart::Always,
        RestartPolicy::OnFailure(times) => Restart::OnFailure(times),
    }
}

pub(super) fn pace(pace: RestartPace) -> Pace {
    Pace {
        most: pace.max_attempts,
        delay_ms: pace.delay.map(milliseconds),
        window_ms: pace.window.map(milliseconds),
    }
}

/// The sign of readiness with its defaults, which are those of somebody who waits: a look each
/// second, and unhealthy after half a minute.
pub(super) fn ready(asked: &stack::Ready) -> Ready {
    let time = |asked: Option<Duration>, ms| match asked.filter(|time| !time.is_zero()) {
        Some(time) => milliseconds(time),
        None => ms,
    };
    let interval_ms = time(asked.interval, 1_000);
    let times = Times {
        interval_ms,
        timeout_ms: time(asked.timeout, 5_000),
        start_period_ms: time(asked.start_period, 0),
        start_interval_ms: interval_ms,
        retries: asked.retries.unwrap_or(30).max(1),
    };
    Ready { sign: asked.sign.clone(), times }
}

pub(super) fn hooks(spec: &ContainerSpec) -> Hooks {
    Hooks {
        post_start: spec.post_start.iter().map(hook).collect(),
        pre_stop: spec.pre_stop.iter().map(hook).collect(),
    }
}

fn hook(asked: &Hook) -> ExecSpec {
    let variable = |(name, value): (&String, &Option<String>)| match value {
        Some(value) => format!("{name}={value}"),
        None => name.clone(),
    };
    ExecSpec {
        argv: asked.command.clone(),
        env: asked.environment.iter().map(variable).collect(),
        cwd: asked.working_dir.clone(),
        user: asked.user.clone(),
        tty: false,
        privileged: asked.privileged,
    }
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// The number of a signal by name (`SIGTERM`, `TERM`, `15`, `SIGRTMIN+3`); `None` without one.
pub(in crate::host) fn signal_number(name: &str) -> Option<i32> {
    let name = name.to_ascii_uppercase();
    let name = name.strip_prefix("SIG").unwrap_or(&name);
    if let Ok(number) = name.parse::<i32>() {
        return (1..=libc::SIGRTMAX()).contains(&number).then_some(number);
    }
    let real_time = |rest: &str| if rest.is_empty() { Some(0) } else { rest.parse().ok() };
    if let Some(rest) = name.strip_prefix("RTMIN") {
        return real_time(rest).map(|n: i32| libc::SIGRTMIN() + n);
    }
    if let Some(rest) = name.strip_prefix("RTMAX") {
        return real_time(rest).map(|n: i32| libc::SIGRTMAX() + n);
    }
    format!("SIG{name}").parse::<nix::sys::signal::Signal>().ok().map(|signal| signal as i32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_go_by_name_number_and_real_time_offset() {
        assert_eq!(signal_number("SIGTERM"), Some(15));
        assert_eq!(signal_number("kill"), Some(9));
        assert_eq!(signal_number("3"), Some(3));
        assert_eq!(signal_number("SIGRTMIN+3"), Some(libc::SIGRTMIN() + 3));
        assert_eq!(signal_number("SIGNONE"), None);
        assert_eq!(signal_number("0"), None);
    }
}
