//! Whether `anka` can be used at all: asked once at start, so that a wrong host says so before it takes a job.

use anklet_plugin_api::ear::Ear;
use anklet_plugin_api::vm::VmError;
use sysinfo::System;
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
    /// Folders are to be mounted, and this version cannot do that.
    #[error(
        "host_to_guest_folder_mounts needs Anka {MOUNTS_SINCE} or later, and this host has {version}; upgrade Anka, or remove the mounts"
    )]
    MountsTooOld {
        /// The version it has.
        version: String,
    },
    /// Folders are to be mounted, and Intel Macs cannot do that.
    #[error(
        "host_to_guest_folder_mounts needs a Mac with Apple silicon, and this one has an Intel processor; remove the mounts"
    )]
    MountsOnIntel,
    /// Folders are to be mounted, and `anka` does not tell whether that is possible.
    #[error("cannot find out whether this host can mount folders into VMs: {0}")]
    MountsUnknown(#[source] VmError),
}

/// The first version that can mount folders of the host.
const MOUNTS_SINCE: &str = "3.9.0";

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

    /// Whether folders of the host can be mounted into VMs here; the first thing that is wrong.
    pub(crate) fn check_mounts(&self, facts: &AnkaFacts, ear: &Ear<'_>) -> Result<(), AnkaSetupError> {
        if !is_at_least(&facts.version, MOUNTS_SINCE) {
            return Err(AnkaSetupError::MountsTooOld { version: printable(&facts.version) });
        }
        let is_intel = is_intel_mac() || self.has_intel_vms(ear).map_err(AnkaSetupError::MountsUnknown)?;
        if is_intel { Err(AnkaSetupError::MountsOnIntel) } else { Ok(()) }
    }

    /// A Mac holds only VMs for its own kind of processor, and `anka` tells that kind with each VM.
    fn has_intel_vms(&self, ear: &Ear<'_>) -> Result<bool, VmError> {
        let Some(one) = self.listed(ear)?.into_iter().next() else { return Ok(false) };
        let call = Call::new("show", self.timeouts.show).value(&one.uuid)?;
        match self.ask(call, ear) {
            Ok(body) => Ok(reply::is_intel(&body).unwrap_or(false)),
            // It may have gone since the list.
            Err(VmError::NotFound { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn version(&self, ear: &Ear<'_>) -> Result<String, VmError> {
        let verb = "version";
        let body = self.ask(Call::new(verb, self.timeouts.version), ear)?;
        reply::text(verb, &body, "version")
    }
}

/// What the system says of itself, whatever it was built for.
fn is_intel_mac() -> bool {
    System::name().as_deref() == Some("Darwin") && System::cpu_arch() == "x86_64"
}

/// Compares versions number by number; what is no number is 0.
fn is_at_least(version: &str, least: &str) -> bool {
    let numbers = |text: &str| -> Vec<u64> {
        let parts = text.trim().split(['.', '-', ' ']).take(3);
        parts.map(|part| part.parse().unwrap_or(0)).collect()
    };
    numbers(version) >= numbers(least)
}

#[cfg(test)]
mod tests;
