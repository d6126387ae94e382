//! The queue in an SQLite file of this host: its home when no database is configured.
//!
//! The verbs are here, each a few lines over the parts: `news`, `ends` and `changes` hold the rules and know no SQL; `tables`, `records`
//! and `claiming` the SQL; `file` the transaction that verbs share; `open` how the file is opened.

mod changes;
mod claiming;
mod clock;
mod document;
mod ends;
mod fail;
mod file;
mod forsaken;
mod groups;
mod lock;
mod news;
mod open;
mod questions;
mod records;
mod silence;
mod tables;
#[cfg(test)]
mod tests;
mod transaction;
mod verbs;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anklet_plugin_api::job::{Conclusion, Job, JobId, News};
use anklet_plugin_api::name::{HostId, PluginName, VmName};
use anklet_plugin_api::store::{
    ByHand, Claim, ClaimAnswer, ClaimKey, ClaimView, Counts, Dossier, Entry, GiveBack, JobSignal, Lease,
    Leased, Noted, Notice, Silence, Source, Spot, Store, StoreError, Survey, Want,
};
use anklet_plugin_api::vm::VmRecord;
use crossbeam_channel::Receiver;

pub(crate) use self::clock::Source as ClockSource;
use self::fail::Fail;
use self::file::QueueFile;
pub(crate) use self::open::OpenError;
use self::tables::Tx;

/// Called by name between writes, so that a test can end the process there.
pub(crate) type Failpoint = Arc<dyn Fn(&'static str) + Send + Sync>;

/// How the file is opened.
#[derive(Clone)]
pub(crate) struct Options {
    /// Which queue of the file; others are to be had with [`EmbeddedStore::queue`].
    pub(crate) queue: String,
    /// The time; none means the wall clock.
    pub(crate) clock: Option<ClockSource>,
    /// Only for tests.
    pub(crate) failpoint: Option<Failpoint>,
    /// How long an ended job is remembered.
    pub(crate) tombstone_life: Duration,
    /// The life of a claim by [`Store::adopt`] of a handler that has never asked for one.
    pub(crate) claim_life: Duration,
    /// How long a verb waits for a tool that writes beside.
    pub(crate) busy_limit: Duration,
    /// The size of the file, so that a test can fill it.
    pub(crate) max_pages: Option<u32>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            queue: String::new(),
            clock: None,
            failpoint: None,
            tombstone_life: Duration::from_secs(48 * 3_600),
            claim_life: Duration::from_secs(90),
            busy_limit: Duration::from_secs(3),
            max_pages: None,
        }
    }
}

/// One queue of an embedded file.
pub(crate) struct EmbeddedStore {
    file: Arc<QueueFile>,
    queue: i64,
    claim_life: Duration,
}

impl EmbeddedStore {
    /// Opens the file as its one daemon; makes folder and file if they are not there.
    pub(crate) fn open(path: &Path, options: &Options) -> Result<Arc<Self>, OpenError> {
        Self::of_file(path, Arc::new(open::as_daemon(path, options)?), options)
    }

    /// Opens the file for a command-line tool, beside the daemon that may run. What the tool does wakes nobody in the daemon, whose
    /// handlers find it at their next look.
    pub(crate) fn open_beside(path: &Path, options: &Options) -> Result<Arc<Self>, OpenError> {
        Self::of_file(path, Arc::new(open::beside(path, options)?), options)
    }

    /// Another queue of the same file.
    pub(crate) fn queue(&self, name: &str) -> Result<Arc<Self>, StoreError> {
        let queue = number_of(&self.file, name).map_err(|fail| fail.into_store_error("open a queue"))?;
        Ok(Arc::new(Self { file: Arc::clone(&self.file), queue, claim_life: self.claim_life }))
    }

    fn of_file(path: &Path, file: Arc<QueueFile>, options: &Options) -> Result<Arc<Self>, OpenError> {
        let queue = number_of(&file, &options.queue).map_err(|fail| open::failed(path, fail))?;
        Ok(Arc::new(Self { file, queue, claim_life: options.claim_life }))
    }

    fn run<T>(
        &self,
        doing: &'static str,
        verb: impl FnMut(&mut Tx<'_>) -> Result<T, Fail>,
    ) -> Result<T, StoreError> {
        self.file.run(self.queue, verb).map_err(|fail| fail.into_store_error(doing))
    }

    fn ask<T>(
        &self,
        doing: &'static str,
        verb: impl FnMut(&mut Tx<'_>) -> Result<T, Fail>,
    ) -> Result<T, StoreError> {
        self.file.ask(self.queue, verb).map_err(|fail| fail.into_store_error(doing))
    }
}

fn number_of(file: &QueueFile, queue: &str) -> Result<i64, Fail> {
    if let Some(number) = file.ask(0, |tx| tx.known_queue(queue))? {
        return Ok(number);
    }
    file.run(0, |tx| tx.queue_number(queue))
}

impl Store for EmbeddedStore {
    fn news(&self, news: &News, source: Source) -> Result<Noted, StoreError> {
        self.run("take in news", |tx| tx.news(news, source))
    }

    fn claim(&self, want: &Want) -> Result<ClaimAnswer, StoreError> {
        self.run("claim a job", |tx| tx.claim(want))
    }

    fn look(&self, key: &ClaimKey) -> Result<ClaimView, StoreError> {
        self.run("look at a claim", |tx| tx.look(key))
    }

    fn renew(&self, keys: &[ClaimKey]) -> Result<Vec<ClaimKey>, StoreError> {
        self.run("renew claims", |tx| tx.renew(keys))
    }

    fn give_back(&self, key: &ClaimKey, how: &GiveBack) -> Result<(), StoreError> {
        self.run("give a job back", |tx| tx.end(key, |job, now| ends::give_back(job, how, now)))
    }

    fn pause(&self, key: &ClaimKey) -> Result<(), StoreError> {
        self.run("pause a job", |tx| tx.set_paused(key, true))
    }

    fn resume(&self, key: &ClaimKey) -> Result<(), StoreError> {
        self.run("resume a job", |tx| tx.set_paused(key, false))
    }

    fn leave_running(&self, key: &ClaimKey) -> Result<(), StoreError> {
        self.run("leave a job running", |tx| tx.end(key, ends::leave_running))
    }

    fn finish(&self, key: &ClaimKey, conclusion: &Conclusion) -> Result<(), StoreError> {
        self.run("finish a job", |tx| tx.end(key, |job, now| ends::finish(job, conclusion, now)))
    }

    fn put_vm(&self, key: Option<&ClaimKey>, record: &VmRecord) -> Result<(), StoreError> {
        self.run("write a VM record", |tx| tx.put_vm(key, record))
    }

    fn remove_vm(&self, vm: &VmName) -> Result<(), StoreError> {
        self.run("remove a VM record", |tx| tx.remove_vm(vm))
    }

    fn vms(&self, host: &HostId) -> Result<Vec<VmRecord>, StoreError> {
        self.run("read VM records", |tx| tx.vms_of(host))
    }

    fn forsaken(&self, silence: Duration, told: &[VmName]) -> Result<Vec<VmRecord>, StoreError> {
        self.run("look for VM records of lost hosts", |tx| tx.forsaken(silence, told))
    }

    fn adopt(&self, handler: &PluginName, vm: &VmName) -> Result<Option<Claim>, StoreError> {
        self.run("adopt a VM", |tx| tx.adopt(handler, vm, self.claim_life))
    }

    fn entry(&self, job: JobId) -> Result<Option<Entry>, StoreError> {
        self.ask("read a job", |tx| Ok(tx.job(job)?.map(|stored| stored.into_entry(tx.now))))
    }

    fn counts(&self) -> Result<Counts, StoreError> {
        self.ask("count jobs", |tx| tx.counts())
    }

    fn survey(&self) -> Result<Survey, StoreError> {
        self.ask("survey the queue", |tx| tx.survey())
    }

    fn list(&self, spot: Spot, limit: usize) -> Result<Vec<Entry>, StoreError> {
        self.ask("list jobs", |tx| tx.list(spot, limit))
    }

    fn examine(&self, job: JobId) -> Result<Dossier, StoreError> {
        self.ask("examine a job", |tx| tx.examine(job))
    }

    fn by_hand(&self, job: JobId, what: &ByHand) -> Result<bool, StoreError> {
        self.run("change a job by hand", |tx| tx.by_hand(job, what))
    }

    fn post(&self, key: &str, text: &str, life: Duration) -> Result<(), StoreError> {
        self.run("put up a notice", |tx| tx.post(key, text, life))
    }

    fn notices(&self, prefix: &str) -> Result<Vec<Notice>, StoreError> {
        self.ask("read notices", |tx| tx.notices(prefix))
    }

    fn lease(&self, lease: &Lease) -> Result<Leased, StoreError> {
        self.run("lease a name", |tx| tx.take_lease(lease))
    }

    fn release(&self, lease: &Lease) -> Result<(), StoreError> {
        self.run("release a name", |tx| tx.release_lease(lease))
    }

    fn silent(&self, silence: &Silence) -> Result<Vec<Job>, StoreError> {
        self.run("look for silent jobs", |tx| tx.silent(silence))
    }

    fn note(&self, key: &str) -> Result<Option<String>, StoreError> {
        self.run("read a note", |tx| tx.note(key))
    }

    fn put_note(&self, key: &str, text: &str) -> Result<(), StoreError> {
        self.run("write a note", |tx| tx.put_note(key, text))
    }

    fn incarnation(&self) -> Result<Option<String>, StoreError> {
        Ok(None)
    }

    fn interruptions(&self) -> Receiver<()> {
        crossbeam_channel::never()
    }

    fn is_shared(&self) -> bool {
        false
    }

    fn subscribe(&self, handler: &PluginName) -> Receiver<JobSignal> {
        self.file.listeners.add(self.queue, handler)
    }
}
