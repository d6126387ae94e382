//! The host's ledger: which VMs of ours this host must clean up, on disk, whatever happens to store and process.
//!
//! One JSON file, read and replaced as a whole under a lock, since there are a few VMs at most and people should be
//! able to read it. What a newer version wrote beside our own fields is kept.

use std::io;
use std::path::{Path, PathBuf};

use anklet_plugin_api::host::HostError;
use anklet_plugin_api::name::VmName;
use anklet_plugin_api::vm::VmRecord;
use log::{error, warn};
use serde_json::{Map, Value, json};

use crate::host::files::{self, Durability};
use crate::store::vm_document;

const VMS: &str = "vms";

/// The ledger file.
#[derive(Debug)]
pub(crate) struct Ledger(PathBuf);

impl Ledger {
    /// `ledger.json` of the folder.
    pub(crate) fn new(folder: &Path) -> Self {
        Self(folder.join("ledger.json"))
    }

    /// Writes a record in the place of the one with its name. Only under the lock.
    pub(crate) fn record(&self, record: &VmRecord) -> Result<(), HostError> {
        let mut ledger = self.load()?;
        let vms = vms_of(&mut ledger);
        let document = vm_document::in_place_of(vms.get(record.vm.as_str()), record);
        let document = document.map_err(|error| self.failed("write", error.into()))?;
        vms.insert(record.vm.as_str().to_string(), Value::Object(document));
        self.save(&ledger)
    }

    /// Removes a record. Only under the lock.
    pub(crate) fn forget(&self, vm: &VmName) -> Result<(), HostError> {
        let mut ledger = self.load()?;
        match vms_of(&mut ledger).remove(vm.as_str()) {
            Some(_) => self.save(&ledger),
            None => Ok(()),
        }
    }

    /// All records that can be read; the others stay where they are. A lock is needed only to see the work of others.
    pub(crate) fn records(&self) -> Result<Vec<VmRecord>, HostError> {
        let mut ledger = self.load()?;
        let mut records = Vec::new();
        for (name, value) in vms_of(&mut ledger) {
            match serde_json::from_value::<VmRecord>(std::mem::take(value)) {
                Ok(record) => records.push(record),
                Err(error) => {
                    warn!(vmName = name, error:% = error; "a record in the ledger file cannot be read; it stays there")
                }
            }
        }
        Ok(records)
    }

    fn load(&self) -> Result<Map<String, Value>, HostError> {
        let Some(content) = files::read(&self.0).map_err(|source| self.failed("read", source))? else {
            return Ok(Map::new());
        };
        match serde_json::from_slice(&content) {
            Ok(Value::Object(ledger)) if ledger.get(VMS).is_none_or(Value::is_object) => Ok(ledger),
            Ok(_) => self.start_anew("it is not a ledger"),
            Err(error) => self.start_anew(&error.to_string()),
        }
    }

    fn start_anew(&self, why: &str) -> Result<Map<String, Value>, HostError> {
        let aside = files::set_aside(&self.0, "broken").map_err(|source| self.failed("set aside", source))?;
        error!(path:% = aside.display(), error = why; "the ledger file was broken and has been set aside; VMs that only it knew have to be deleted by hand");
        Ok(Map::new())
    }

    fn save(&self, ledger: &Map<String, Value>) -> Result<(), HostError> {
        let written =
            serde_json::to_vec_pretty(ledger).map_err(|error| self.failed("write", error.into()))?;
        files::replace(&self.0, &written, Durability::OnDisk).map_err(|source| self.failed("write", source))
    }

    fn failed(&self, doing: &'static str, source: io::Error) -> HostError {
        HostError::Ledger { doing, path: self.0.display().to_string(), source }
    }
}

fn vms_of(ledger: &mut Map<String, Value>) -> &mut Map<String, Value> {
    ledger.entry("version").or_insert(json!(1));
    let vms = ledger.entry(VMS).or_insert_with(|| json!({}));
    if !vms.is_object() {
        *vms = json!({});
    }
    match vms {
        Value::Object(vms) => vms,
        _ => unreachable!("it was made an object above"),
    }
}

#[cfg(test)]
mod tests;
