//! How often each template was cloned on this host, and which VMs are clones of it now: what decides which one goes first
//! when the disk is too full for a pull.
//!
//! `anka` keeps a template's last use but not how many there were, and does not tell of what a VM was cloned. The file is
//! shared by the processes of a host. Losing it costs an order, so a crash of the machine may take it.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anklet_plugin_api::name::VmName;
use log::warn;
use serde::{Deserialize, Serialize};

use crate::host::files::{self, Durability};
use crate::host::lock::FileLock;
use crate::host::process::{process_id_text, process_is_gone};

/// The lock is held for milliseconds; a holder that takes longer has been stopped.
const LOCK_LIMIT: Duration = Duration::from_secs(10);

/// The file of all uses.
pub(crate) struct Uses {
    path: PathBuf,
    lock: PathBuf,
    process: String,
}

/// What is known of one template.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct TemplateUse {
    /// How many clones were made, or begun.
    #[serde(default)]
    pub(crate) n_clones: u64,
    /// Clones that may exist, and the processes that made them.
    #[serde(default)]
    pub(crate) vms: BTreeMap<VmName, String>,
}

#[derive(Default, Serialize, Deserialize)]
struct Document {
    #[serde(default)]
    version: u32,
    #[serde(default)]
    templates: BTreeMap<String, TemplateUse>,
}

impl Uses {
    /// `templates.json` of the folder.
    pub(crate) fn new(folder: &Path) -> Self {
        let process = process_id_text();
        Self { path: folder.join("templates.json"), lock: folder.join("templates.lock"), process }
    }

    /// A clone of the template is about to be made. Counted once for each VM.
    pub(crate) fn begin(&self, template: &str, vm: &VmName) {
        self.change(|document| {
            let known = document.templates.entry(key(template)).or_default();
            if known.vms.insert(vm.clone(), self.process.clone()).is_none() {
                known.n_clones += 1;
            }
        });
    }

    /// The VM is gone.
    pub(crate) fn end(&self, vm: &VmName) {
        self.change(|document| {
            for known in document.templates.values_mut() {
                known.vms.remove(vm);
            }
        });
    }

    /// What is known of a template, with only those clones that are listed or whose process may still make them.
    pub(crate) fn of(&self, template: &str, is_listed: impl Fn(&VmName) -> bool) -> TemplateUse {
        let mut known = self.read().templates.remove(&key(template)).unwrap_or_default();
        known.vms.retain(|vm, process| is_listed(vm) || !process_is_gone(process));
        known
    }

    /// Forgets a template that was deleted.
    pub(crate) fn forget(&self, template: &str) {
        self.change(|document| {
            document.templates.remove(&key(template));
        });
    }

    /// A job must not fail because its use cannot be written down.
    fn change(&self, change: impl FnOnce(&mut Document)) {
        let changed = FileLock::take_alone(&self.lock, LOCK_LIMIT).and_then(|_lock| {
            let mut document = self.read();
            document.version = 1;
            change(&mut document);
            let text = serde_json::to_vec_pretty(&document).map_err(io::Error::other)?;
            files::replace(&self.path, &text, Durability::UntilReboot)
        });
        if let Err(error) = changed {
            warn!(path:% = self.path.display(), error:% = error; "the use of a template cannot be written down");
        }
    }

    fn read(&self) -> Document {
        let document = files::read(&self.path).map(|content| {
            content.map_or_else(|| Ok(Document::default()), |content| serde_json::from_slice(&content))
        });
        match document {
            Ok(Ok(document)) => document,
            Ok(Err(error)) => {
                warn!(path:% = self.path.display(), error:% = error; "the file of template uses cannot be read; it is written anew");
                Document::default()
            }
            Err(error) => {
                warn!(path:% = self.path.display(), error:% = error; "the file of template uses cannot be read");
                Document::default()
            }
        }
    }
}

/// Ids compare without case.
fn key(template: &str) -> String {
    template.to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::tests::Folder;

    #[test]
    fn uses_are_counted_and_clones_end() {
        let folder = Folder::new();
        let uses = Uses::new(folder.path());
        let [one, two] = [VmName::new("anklet-vm-1"), VmName::new("anklet-vm-2")];
        uses.begin("AAAA", &one);
        uses.begin("aaaa", &one);
        uses.begin("aaaa", &two);
        uses.end(&one);
        let known = uses.of("AAAA", |_| false);
        assert_eq!((known.n_clones, known.vms.into_keys().collect::<Vec<_>>()), (2, vec![two.clone()]));
        assert_eq!(uses.of("bbbb", |_| true), TemplateUse::default());
        uses.forget("aaaa");
        assert_eq!(uses.of("aaaa", |_| true), TemplateUse::default());
    }

    #[test]
    fn clones_of_a_process_that_is_gone_count_only_while_they_are_listed() {
        let folder = Folder::new();
        let mut uses = Uses::new(folder.path());
        uses.process = "999999999@0".to_owned();
        let vm = VmName::new("anklet-vm-1");
        uses.begin("aaaa", &vm);
        assert_eq!(uses.of("aaaa", |_| false).vms.len(), usize::from(!process_is_gone(&uses.process)));
        assert_eq!(uses.of("aaaa", |listed| *listed == vm).vms.len(), 1);
    }

    #[test]
    fn a_broken_file_is_written_anew() {
        let folder = Folder::new();
        let uses = Uses::new(folder.path());
        std::fs::write(folder.path().join("templates.json"), "{half").unwrap();
        uses.begin("aaaa", &VmName::new("anklet-vm-1"));
        assert_eq!(uses.of("aaaa", |_| true).n_clones, 1);
    }
}
