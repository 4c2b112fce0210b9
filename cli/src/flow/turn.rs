//! The turn of a run among those of its project: their lock, and how long another may hold it.

use std::time::Duration;

use berth_runtime::host::{Holder, Host, HostError, Lock};

use crate::failure::{Failure, locked};
use crate::session::Session;
use crate::signals::Signals;
use crate::ui::safe;

/// How long another run may hold the lock before we give up, if nothing else was said.
pub(crate) const LOCK_WAIT: Duration = Duration::from_secs(10);
/// Most runs are over sooner; of one that takes longer it is told that it is waited for.
const UNTOLD: Duration = Duration::from_secs(1);

/// Takes the lock of a project for as long as the value lives; waits as `--lock-timeout` says, and no
/// longer when the user says so.
pub(crate) async fn lock(session: &Session, host: &Host, project: &str) -> Result<Lock, Failure> {
    let mut signals = Signals::listen_on()?;
    let told = async {
        match &mut signals {
            Some(signals) => drop(signals.next().await),
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        biased;
        () = told => Err(given_up(host, project).await),
        lock = wait(session, host, project) => lock,
    }
}

/// Says who has the lock. The one that had it may have ended with the same signal.
async fn given_up(host: &Host, project: &str) -> Failure {
    match host.lock(project, Duration::ZERO).await {
        Ok(_) => {
            HostError::Locked { project: project.to_owned(), holder: Holder::default() }.into()
        }
        Err(error) => error.into(),
    }
}

async fn wait(session: &Session, host: &Host, project: &str) -> Result<Lock, Failure> {
    let wait = session.global.lock_timeout.unwrap_or(LOCK_WAIT);
    let Some(rest) = wait.checked_sub(UNTOLD).filter(|rest| !rest.is_zero()) else {
        return Ok(host.lock(project, wait).await?);
    };
    match host.lock(project, UNTOLD).await {
        Err(HostError::Locked { project: held, holder }) => {
            let what = locked(&held);
            session.ui.note(&safe(&format!("{what} is locked by {holder}: waiting for it")));
            Ok(host.lock(project, rest).await?)
        }
        other => Ok(other?),
    }
}
