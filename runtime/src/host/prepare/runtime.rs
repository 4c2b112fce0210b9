//! Which program makes a container.

use super::{Preparation, Purpose};
use crate::bundle::OciRuntime;
use crate::host::{StepError, program};

impl Preparation<'_> {
    /// The program that the description names, as it is on this host now.
    pub(super) fn runtime(&self) -> Result<Option<OciRuntime>, StepError> {
        let Some(name) = self.spec().runtime.as_ref().filter(|_| self.purpose == Purpose::Start)
        else {
            return Ok(None);
        };
        match program(name) {
            Some(program) => Ok(Some(OciRuntime { name: name.clone(), program })),
            None => {
                let why = format!("its runtime `{name}` is not on this host");
                Err(StepError::failed("prepare container", &self.record().name, why))
            }
        }
    }
}
