//! A store whose verbs are timed for the metrics.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anklet_plugin_api::job::{Conclusion, Job, JobId, News};
use anklet_plugin_api::name::{HostId, PluginName, VmName};
use anklet_plugin_api::store::{
    ByHand, Claim, ClaimAnswer, ClaimKey, ClaimView, Counts, Dossier, Entry, GiveBack, JobSignal, Lease,
    Leased, Noted, Notice, Silence, Source, Spot, Store, StoreError, Survey, Want,
};
use anklet_plugin_api::vm::VmRecord;
use crossbeam_channel::Receiver;

use crate::metrics::SharedMetrics;

/// Passes everything on.
pub(crate) struct Metered {
    store: Arc<dyn Store>,
    metrics: SharedMetrics,
}

impl Metered {
    /// The store, timed.
    pub(crate) fn wrap(store: Arc<dyn Store>, metrics: &SharedMetrics) -> Arc<dyn Store> {
        Arc::new(Self { store, metrics: Arc::clone(metrics) })
    }

    fn timed<T>(
        &self,
        verb: &'static str,
        ask: impl FnOnce(&dyn Store) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let began_at = Instant::now();
        let answer = ask(&*self.store);
        let is_failed = matches!(answer, Err(StoreError::Away { .. } | StoreError::Broken { .. }));
        self.metrics.store_verb(verb, began_at.elapsed(), is_failed);
        answer
    }
}

macro_rules! passed_on {
    ($($verb:ident($($name:ident: $kind:ty),*) -> $answer:ty;)*) => {
        impl Store for Metered {
            $(fn $verb(&self, $($name: $kind),*) -> Result<$answer, StoreError> {
                self.timed(stringify!($verb), |store| store.$verb($($name),*))
            })*

            fn subscribe(&self, handler: &PluginName) -> Receiver<JobSignal> {
                self.store.subscribe(handler)
            }

            fn is_shared(&self) -> bool {
                self.store.is_shared()
            }

            fn interruptions(&self) -> Receiver<()> {
                self.store.interruptions()
            }
        }
    };
}

passed_on! {
    news(news: &News, source: Source) -> Noted;
    claim(want: &Want) -> ClaimAnswer;
    look(key: &ClaimKey) -> ClaimView;
    renew(keys: &[ClaimKey]) -> Vec<ClaimKey>;
    give_back(key: &ClaimKey, how: &GiveBack) -> ();
    pause(key: &ClaimKey) -> ();
    resume(key: &ClaimKey) -> ();
    leave_running(key: &ClaimKey) -> ();
    finish(key: &ClaimKey, conclusion: &Conclusion) -> ();
    put_vm(key: Option<&ClaimKey>, record: &VmRecord) -> ();
    remove_vm(vm: &VmName) -> ();
    vms(host: &HostId) -> Vec<VmRecord>;
    forsaken(silence: Duration, told: &[VmName]) -> Vec<VmRecord>;
    adopt(handler: &PluginName, vm: &VmName) -> Option<Claim>;
    entry(job: JobId) -> Option<Entry>;
    counts() -> Counts;
    survey() -> Survey;
    list(spot: Spot, limit: usize) -> Vec<Entry>;
    examine(job: JobId) -> Dossier;
    by_hand(job: JobId, what: &ByHand) -> bool;
    post(key: &str, text: &str, life: Duration) -> ();
    notices(prefix: &str) -> Vec<Notice>;
    lease(lease: &Lease) -> Leased;
    renew_leases(leases: &[Lease]) -> Vec<Leased>;
    release(lease: &Lease) -> ();
    silent(silence: &Silence) -> Vec<Job>;
    note(key: &str) -> Option<String>;
    put_note(key: &str, text: &str) -> ();
    incarnation() -> Option<String>;
}
