//! Who on this host has reserved room for a VM, across processes.
//!
//! The reservations of other processes stand in a file of their own, not in the ledger: they end with their process, so
//! they need not wait for the disk, and a job's way is shorter by two flushes.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use anklet_plugin_api::host::WaitsForRoom;
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
    /// The handler that holds a job ready until there is room.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    waits: Option<Value>,
}

/// Who waits for room.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Waits {
    process: String,
    #[serde(flatten)]
    what: WaitsForRoom,
}

impl Slots {
    /// `reservations.json` of the folder.
    pub(crate) fn new(folder: &Path) -> Self {
        Self(folder.join("reservations.json"))
    }

    /// Reservations of other processes that live, and who of them waits for room. What cannot be read reserves nothing.
    pub(crate) fn of_others(&self, process: &str) -> io::Result<Others> {
        let Some(content) = files::read(&self.0)? else { return Ok(Others::default()) };
        let document: Document = serde_json::from_slice(&content).unwrap_or_else(|error| {
            warn!(path:% = self.0.display(), error:% = error; "the file of reservations cannot be read; it is written anew");
            Document::default()
        });
        let is_there = |other: &str| other != process && !process_is_gone(other);
        let reserved =
            document.reservations.into_iter().filter_map(|value| serde_json::from_value(value).ok());
        let waits: Option<Waits> = document.waits.and_then(|value| serde_json::from_value(value).ok());
        Ok(Others {
            reserved: reserved.filter(|reserved: &Reserved| is_there(&reserved.process)).collect(),
            waits: waits.filter(|waits| is_there(&waits.process)),
        })
    }

    /// Writes down our reservations, and who of us waits, beside those of others. Only under the lock.
    pub(crate) fn write(
        &self,
        process: &str,
        ours: &[(VmName, Option<VmSize>)],
        waits: Option<&WaitsForRoom>,
        others: Others,
    ) -> io::Result<()> {
        let ours = ours.iter().map(|(vm, size)| Reserved {
            vm: vm.clone(),
            process: process.to_string(),
            size: *size,
            more: BTreeMap::new(),
        });
        let reservations: Result<Vec<Value>, _> =
            others.reserved.into_iter().chain(ours).map(serde_json::to_value).collect();
        let ours = waits.map(|what| Waits { process: process.to_owned(), what: what.clone() });
        let waits = others.waits.or(ours).map(serde_json::to_value).transpose()?;
        let document = Document { version: 1, reservations: reservations?, waits };
        files::replace(&self.0, &serde_json::to_vec_pretty(&document)?, Durability::UntilReboot)
    }
}

/// What the other processes of the host have in the file.
#[derive(Debug, Default)]
pub(crate) struct Others {
    /// What they have reserved.
    pub(crate) reserved: Vec<Reserved>,
    waits: Option<Waits>,
}

impl Others {
    /// Who of them waits for room.
    pub(crate) fn waits(&self) -> Option<&WaitsForRoom> {
        self.waits.as_ref().map(|waits| &waits.what)
    }
}
