//! The runner program that GitHub wants to see: asked once a day for each scope and credential, and shared by all handlers of the process.
//!
//! It is also the first question that a handler asks, since who may see the list may see the runners: a wrong credential shows at the start and
//! costs no call more.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use log::warn;

use anklet_plugin_api::ear::Ear;

use anklet_github::client::Client;
use anklet_github::error::ClientError;
use anklet_github::runners::{LIST_DOWNLOADS, RunnerDownload};

use crate::hub::{Hub, HubError};

/// GitHub names a new version of the runner every few weeks.
const ARCHIVE_LIFE: Duration = Duration::from_secs(24 * 3_600);
/// A GitHub that did not say it is left in peace for this long: the jobs meanwhile need not wait for what most likely is no answer again.
const ARCHIVE_RETRY: Duration = Duration::from_secs(300);

/// The runner program that GitHub wants to see now, for each processor: the guest knows which it has.
#[derive(Clone, Debug)]
pub(crate) struct Archives {
    pub(crate) version: String,
    pub(crate) macos: Vec<RunnerDownload>,
}

/// What GitHub has said, by credential and scope.
#[derive(Clone, Default)]
pub(crate) struct KnownArchives(Arc<Mutex<Inside>>);

#[derive(Default)]
struct Inside {
    /// When to ask again. None where GitHub did not say it, has no such list, or nothing for a Mac in it.
    said: BTreeMap<String, (Instant, Option<Archives>)>,
    /// Whom the first question was asked for, whatever came of it.
    tried: BTreeSet<String>,
}

impl KnownArchives {
    fn lock(&self) -> MutexGuard<'_, Inside> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn put(&self, key: String, archives: Option<Archives>, life: Duration) {
        self.lock().said.insert(key, (Instant::now() + life, archives));
    }
}

impl Hub {
    /// The runner program that GitHub wants to see, asked once a day; none if GitHub does not say. An error only if `ear` cut it.
    pub(crate) fn archives(&self, ear: &Ear<'_>) -> Result<Option<Archives>, HubError> {
        let key = self.archives_key();
        let last = match self.archives.lock().said.get(&key).cloned() {
            Some((ask_at, archives)) if Instant::now() < ask_at => return Ok(archives),
            Some((_, archives)) => archives,
            None => None,
        };
        let (archives, life) = match self.client.downloads(&self.scope, ear) {
            Ok(downloads) => (for_macos(downloads), ARCHIVE_LIFE),
            Err(error @ ClientError::Cut { .. }) => return Err(error.into()),
            Err(error) => {
                warn!(error:% = error; "GitHub does not say which runner version it wants; the template's or the newest is used");
                (None, ARCHIVE_RETRY)
            }
        };
        let archives = archives.or(last);
        self.archives.put(key, archives.clone(), life);
        Ok(archives)
    }

    /// Whether no handler of this process has asked the first question with these credentials for this scope; from now on one has.
    pub(crate) fn is_first_trial(&self) -> bool {
        self.archives.lock().tried.insert(self.archives_key())
    }

    /// The same question by a client that does not repeat it. Well also if a server without that list shows the runners.
    pub(crate) fn ask_first(&self, once: &Client, ear: &Ear<'_>) -> Result<(), ClientError> {
        let asked = match once.downloads(&self.scope, ear) {
            Ok(downloads) => Ok(for_macos(downloads)),
            Err(ClientError::NotFound { call, .. }) if call == LIST_DOWNLOADS => {
                once.runner(&self.scope, "anklet-start", ear).map(|_| None)
            }
            Err(error) => Err(error),
        };
        let life = if asked.is_ok() { ARCHIVE_LIFE } else { ARCHIVE_RETRY };
        self.archives.put(self.archives_key(), asked.clone().unwrap_or_default(), life);
        asked.map(drop)
    }

    fn archives_key(&self) -> String {
        format!("{} {}", self.client.fingerprint(), self.scope)
    }
}

fn for_macos(downloads: Vec<RunnerDownload>) -> Option<Archives> {
    let macos: Vec<_> = downloads.into_iter().filter(|download| download.os == "osx").collect();
    let version = macos.first()?.version.clone();
    Some(Archives { version, macos })
}
