//! Whether `anka` can be used at all: asked once at start, so that a wrong host says so before it takes a job.

use anklet_plugin_api::ear::Ear;
use anklet_plugin_api::vm::VmError;
use thiserror::Error;

use crate::anka::call::Call;
use crate::anka::text::printable;
use crate::anka::{Anka, reply};

/// What `anka` says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AnkaFacts {
    /// Its version, `3.9.1`.
    pub(crate) version: String,
    /// The type of its license, `com.veertu.anka.entplus`.
    pub(crate) license: String,
}

/// Why `anka` cannot be used on this host.
#[derive(Debug, Error)]
pub(crate) enum AnkaSetupError {
    /// There is none, or it does not run.
    #[error(
        "unable to create anka cli: {0}; install Anka, and see that its folder (/usr/local/bin) is in PATH"
    )]
    Missing(#[source] VmError),
    /// It does not tell its version.
    #[error("unable to create anka cli: {0}")]
    NoVersion(#[source] VmError),
    /// It does not tell its license.
    #[error("cannot read the Anka license: {0}; `anka license show` tells more")]
    NoLicense(#[source] VmError),
    /// The license is not valid.
    #[error("the Anka license is not valid (status {status}); activate one with `anka license activate`")]
    LicenseNotValid {
        /// What it is instead.
        status: String,
    },
    /// The license is valid, but not for running clones of templates unattended.
    #[error("the Anka license {license} cannot be used for CI; an Anka Build license is needed")]
    LicenseUnfit {
        /// Its type.
        license: String,
    },
}

/// The ends of the license types that cannot do what we need.
const UNFIT_LICENSES: &[&str] = &[".develop", ".run"];

impl Anka {
    /// Asks for version and license; the first thing that is wrong.
    pub(crate) fn check(&self, ear: &Ear<'_>) -> Result<AnkaFacts, AnkaSetupError> {
        let version = self.version(ear).map_err(|error| match error {
            VmError::NotStarted { .. } => AnkaSetupError::Missing(error),
            _ => AnkaSetupError::NoVersion(error),
        })?;
        let verb = "license show";
        let call = Call::new(verb, self.timeouts.version);
        let body = self.ask(call, ear).map_err(AnkaSetupError::NoLicense)?;
        let text = |key: &str| reply::text(verb, &body, key).map_err(AnkaSetupError::NoLicense);
        let (status, license) = (text("status")?, text("license_type")?);
        if !status.eq_ignore_ascii_case("valid") {
            return Err(AnkaSetupError::LicenseNotValid { status: printable(&status) });
        }
        if UNFIT_LICENSES.iter().any(|end| license.ends_with(end)) {
            return Err(AnkaSetupError::LicenseUnfit { license: printable(&license) });
        }
        Ok(AnkaFacts { version, license })
    }

    fn version(&self, ear: &Ear<'_>) -> Result<String, VmError> {
        let verb = "version";
        let body = self.ask(Call::new(verb, self.timeouts.version), ear)?;
        reply::text(verb, &body, "version")
    }
}

#[cfg(test)]
mod tests;
