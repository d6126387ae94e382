//! What only the embedded file has to prove, beside the conformance suite: durability, opening, damage, sharing a flush.

mod batches;
mod crash;
mod documents;
mod full;
mod opening;
mod rules;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use anklet_plugin_api::fake::made::{claim_for, want};
use anklet_plugin_api::store::{Claim, Store};
use anklet_plugin_api::time::Moment;

use super::{ClockSource, EmbeddedStore, OpenError, Options};

/// A folder of a test's own, gone with it.
pub(super) struct Folder(PathBuf);

impl Folder {
    pub(super) fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let name = format!("anklet-store-{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir(&path).unwrap();
        Self(path)
    }

    pub(super) fn file(&self) -> PathBuf {
        self.0.join("sub/anklet.db")
    }

    pub(super) fn open(&self) -> Arc<EmbeddedStore> {
        self.open_with(&Options::default())
    }

    /// Opens the file again after the store before was dropped.
    pub(super) fn open_with(&self, options: &Options) -> Arc<EmbeddedStore> {
        open_once_free(&self.file(), options).unwrap()
    }
}

/// What opening a file that no store has open leads to. A child that another test starts just now may still hold the lock of the store
/// before, from its birth to its `exec`.
pub(super) fn open_once_free(path: &Path, options: &Options) -> Result<Arc<EmbeddedStore>, OpenError> {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        match EmbeddedStore::open(path, options) {
            Err(OpenError::InUse { .. }) if Instant::now() < deadline => std::thread::yield_now(),
            opened => return opened,
        }
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A clock that stands until it is told to go on.
pub(super) struct HandClock(Arc<AtomicI64>);

impl HandClock {
    pub(super) fn new() -> Self {
        Self(Arc::new(AtomicI64::new(1_700_000_000_000)))
    }

    pub(super) fn source(&self) -> ClockSource {
        let now = Arc::clone(&self.0);
        Arc::new(move || Moment(now.load(Ordering::SeqCst)))
    }

    pub(super) fn go_on(&self, duration: Duration) {
        self.0.fetch_add(i64::try_from(duration.as_millis()).unwrap(), Ordering::SeqCst);
    }
}

pub(super) fn claim(store: &dyn Store, handler: &str) -> Option<Claim> {
    claim_for(store, &want(handler)).unwrap()
}

/// Another look at the file than the store's own.
pub(super) fn connect(file: &Path) -> rusqlite::Connection {
    rusqlite::Connection::open(file).unwrap()
}
