//! Who on this host has reserved room for a VM, across processes.
//!
//! The reservations of other processes stand in a file of their own, not in the ledger: they end with their process, so
//! they need not wait for the disk, and a job's way is shorter by two flushes.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use anklet_plugin_api::name::VmName;
use anklet_plugin_api::vm::VmSize;
use log::warn;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::host::files::{self, Durability};
use crate::host::process::process_is_gone;

/// One reservation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Reserved {
    /// The VM it is for.
    pub(crate) vm: VmName,
    /// The process that holds it.
    pub(crate) process: String,
    /// What it takes of the host; none where only a slot counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) size: Option<VmSize>,
    /// What else it holds, by newer versions.
    #[serde(flatten)]
    pub(crate) more: BTreeMap<String, Value>,
}

/// The file of all reservations.
#[derive(Debug)]
pub(crate) struct Slots(PathBuf);

#[derive(Default, Serialize, Deserialize)]
struct Document {
    version: u32,
    reservations: Vec<Value>,
}

impl Slots {
    /// `reservations.json` of the folder.
    pub(crate) fn new(folder: &Path) -> Self {
        Self(folder.join("reservations.json"))
    }

    /// Reservations of other processes that live. What cannot be read reserves nothing.
    pub(crate) fn of_others(&self, process: &str) -> io::Result<Vec<Reserved>> {
        let Some(content) = files::read(&self.0)? else { return Ok(Vec::new()) };
        let document: Document = serde_json::from_slice(&content).unwrap_or_else(|error| {
            warn!(path:% = self.0.display(), error:% = error; "the file of reservations cannot be read; it is written anew");
            Document::default()
        });
        let reserved =
            document.reservations.into_iter().filter_map(|value| serde_json::from_value(value).ok());
        Ok(reserved
            .filter(|reserved: &Reserved| reserved.process != process && !process_is_gone(&reserved.process))
            .collect())
    }

    /// Writes down our reservations beside those of others. Only under the lock.
    pub(crate) fn write(
        &self,
        process: &str,
        ours: &[(VmName, Option<VmSize>)],
        others: Vec<Reserved>,
    ) -> io::Result<()> {
        let ours = ours.iter().map(|(vm, size)| Reserved {
            vm: vm.clone(),
            process: process.to_string(),
            size: *size,
            more: BTreeMap::new(),
        });
        let reservations: Result<Vec<Value>, _> =
            others.into_iter().chain(ours).map(serde_json::to_value).collect();
        let document = Document { version: 1, reservations: reservations? };
        files::replace(&self.0, &serde_json::to_vec_pretty(&document)?, Durability::UntilReboot)
    }
}
