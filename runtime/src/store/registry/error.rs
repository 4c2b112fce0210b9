//! Why a registry did not give what it was asked for, and whether asking again may help.

use std::time::Duration;

use reqwest::StatusCode;

use super::super::StoreError;
use super::auth::AuthorityError;

/// Why a registry did not give what it was asked for.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum RegistryError {
    #[error(
        "cannot reach registry `{registry}` for `{reference}`: {why}; check its name and this machine's network"
    )]
    Unreachable { registry: String, reference: String, why: String },
    #[error("registry `{registry}` answered {status} for `{reference}`{message}; {next}")]
    Status { registry: String, reference: String, status: u16, message: String, next: String },
    #[error(
        "registry `{registry}` broke off while sending `{reference}`: {why}; run this again to go on from there"
    )]
    Broken { registry: String, reference: String, why: String },
    #[error(
        "registry `{registry}` sends the request for `{reference}` on {why}; it is not followed"
    )]
    Astray { registry: String, reference: String, why: String },
    #[error("registry `{registry}` sent for `{reference}` what berth does not take: {why}")]
    Unfit { registry: String, reference: String, why: String },
    #[error("registry `{registry}` did not take `{reference}`: {why}")]
    NotTaken { registry: String, reference: String, why: String },
    #[error(
        "registry `{registry}` wants to be asked for `{reference}` in a way berth does not know: {why}"
    )]
    Challenge { registry: String, reference: String, why: String },
    #[error("credentials for registry `{registry}` in `{path}`: {why}")]
    Credentials { registry: String, path: String, why: String },
    #[error(
        "cannot set up TLS: {0}; are the host's CA certificates installed (`ca-certificates`)?"
    )]
    Tls(String),
    #[error("cannot log in to registry `{registry}`: {why}")]
    Login { registry: String, why: String },
    #[error("settings for registries in `{path}`: {why}")]
    Settings { path: String, why: String },
    #[error("`{0}` is not the name of a registry")]
    Name(String),
}

impl RegistryError {
    /// The reason in a few words: `429 Too Many Requests`.
    pub(super) fn brief(&self) -> String {
        match self {
            RegistryError::Status { status, .. } => match StatusCode::from_u16(*status) {
                Ok(known) => known.to_string(),
                Err(_) => status.to_string(),
            },
            RegistryError::Unreachable { why, .. }
            | RegistryError::Broken { why, .. }
            | RegistryError::Astray { why, .. }
            | RegistryError::Unfit { why, .. }
            | RegistryError::NotTaken { why, .. }
            | RegistryError::Challenge { why, .. }
            | RegistryError::Credentials { why, .. }
            | RegistryError::Login { why, .. }
            | RegistryError::Settings { why, .. }
            | RegistryError::Tls(why)
            | RegistryError::Name(why) => why.clone(),
        }
    }
}

/// An answer that is not what was asked for.
pub(super) enum Failure {
    /// Waiting and asking again may help.
    Passing(RegistryError, Option<Duration>),
    Final(StoreError),
}

impl From<RegistryError> for Failure {
    fn from(error: RegistryError) -> Failure {
        Failure::Final(error.into())
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Failure {
        Failure::Final(error)
    }
}

impl Failure {
    pub(super) fn from_authority(
        error: AuthorityError,
        registry: String,
        reference: String,
    ) -> Failure {
        match error {
            AuthorityError::Unreachable(why) => {
                Failure::Passing(RegistryError::Unreachable { registry, reference, why }, None)
            }
            AuthorityError::Refused(status, message) => {
                let next = "check the credentials in Docker's `config.json`".to_owned();
                let message = message.map(|text| format!(": {text}")).unwrap_or_default();
                let error = RegistryError::Status { registry, reference, status, message, next };
                if status >= 500 || status == 429 {
                    Failure::Passing(error, None)
                } else {
                    Failure::Final(error.into())
                }
            }
            AuthorityError::Challenge(why) => {
                Failure::Final(RegistryError::Challenge { registry, reference, why }.into())
            }
            AuthorityError::Credentials { path, why } => {
                Failure::Final(RegistryError::Credentials { registry, path, why }.into())
            }
        }
    }
}
