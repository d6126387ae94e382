//! The janitor: sees to VM records that no handler has in hand, until VM and runner are gone.
//!
//! Those are failed deletions, runners that GitHub's list did not show yet, VMs whose runner works on a job nobody named, and what plugins left behind
//! that are no longer in the config. Once a minute it sweeps; else it sleeps while there is nothing to see to.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{at, never, select};
use log::{debug, error, info, warn};

use anklet_plugin_api::host::Host;
use anklet_plugin_api::limits::Limits;
use anklet_plugin_api::name::{PluginName, VmName};
use anklet_plugin_api::scope::Scope;
use anklet_plugin_api::sorted::set_of;
use anklet_plugin_api::stop::Stop;
use anklet_plugin_api::time::Moment;
use anklet_plugin_api::vm::{Stage, VmRecord};

use anklet_github::runners::Fence;

use crate::desk::Desk;
use crate::sweep::Sweep;
use crate::worker::Worker;

/// Whether a plugin of that name lives in another process.
pub type IsLeased = Box<dyn Fn(&PluginName) -> bool + Send>;

/// Cleans up for all handlers of a process.
pub struct Janitor {
    pub(crate) host: Arc<dyn Host>,
    pub(crate) limits: Limits,
    pub(crate) sites: Vec<Worker>,
    pub(crate) sweeps: Vec<Sweep>,
    pub(crate) desk: Desk,
    pub(crate) is_leased: IsLeased,
    pub(crate) complaints: BTreeMap<VmName, Instant>,
    /// VMs of hosts that were gone at the last look, by queue.
    pub(crate) forsaken: BTreeMap<String, BTreeSet<VmName>>,
}

impl Janitor {
    /// Works until `stop` closes.
    pub fn run(mut self, stop: &Stop) {
        let (retry, sweep_look) = (self.limits.delete_retry, self.limits.sweep_look);
        let mut forsaken_at = Instant::now() + self.limits.forsaken_look;
        let mut sweep_at = Instant::now() + sweep_look;
        let mut round_at = Some(Instant::now());
        let tell_every = self.sites.iter().map(|site| site.section.claim_life / 3).min().unwrap_or(retry);
        let mut tell_at = self.sites.iter().any(|site| site.store.is_shared()).then(Instant::now);
        loop {
            if tell_at.is_some_and(|tell_at| tell_at <= Instant::now()) {
                self.tell_sources();
                tell_at = Some(Instant::now() + tell_every);
            }
            if round_at.is_some_and(|round_at| round_at <= Instant::now()) {
                round_at = self.round(stop).then(|| Instant::now() + retry);
            }
            select! {
                recv(stop.closed()) -> _ => return self.take_back_sources(),
                recv(tell_at.map_or_else(never, at)) -> _ => {}
                recv(self.desk.leavings()) -> _ => round_at = Some(Instant::now()),
                recv(round_at.map_or_else(never, at)) -> _ => {}
                recv(at(forsaken_at)) -> _ => {
                    self.drop_forsaken();
                    forsaken_at = Instant::now() + self.limits.forsaken_look;
                }
                recv(at(sweep_at)) -> _ => {
                    for sweep in &mut self.sweeps {
                        sweep.look(&self.sites[sweep.i_site]);
                    }
                    sweep_at = Instant::now() + sweep_look;
                }
            }
        }
    }

    /// Tells each shared queue what this process has on disk and which registries it asks, for as long as claims live.
    fn tell_sources(&self) {
        for site in self.queues().filter(|site| site.store.is_shared()) {
            if self.desk.sources.is_list_older_than(site.limits().verdict_life) {
                match site.vms.list(&site.until_stop()) {
                    Ok(listed) => self.desk.sources.listed(&listed),
                    Err(error) => warn!(error:% = error; "cannot look at the templates on disk"),
                }
            }
            let (queue, life) = (&site.section.queue, site.section.claim_life);
            let told = self.desk.sources.tell(&*site.store, queue, &site.process_key(), life);
            if let Err(error) = told {
                debug!(queue = queue.as_str(), error:% = error; "others are not told which templates are here");
            }
        }
    }

    /// What ends with this process need not run out.
    fn take_back_sources(&self) {
        for site in self.queues().filter(|site| site.store.is_shared()) {
            let _ = self.desk.sources.take_back(&*site.store, &site.process_key());
        }
    }

    /// One site for each queue.
    fn queues(&self) -> impl Iterator<Item = &Worker> {
        let is_first = |(n, site): &(usize, &Worker)| {
            !self.sites[..*n].iter().any(|other| other.section.queue == site.section.queue)
        };
        self.sites.iter().enumerate().filter(is_first).map(|(_, site)| site)
    }

    /// Drops the records of hosts that are gone. Two looks have to find them: after a long outage of the store every host seems to be gone, until it
    /// comes back.
    fn drop_forsaken(&mut self) {
        let mut found = BTreeMap::new();
        for site in self.queues() {
            let ask = |told: &[VmName]| {
                site.patiently(&site.until_stop(), |store| store.forsaken(self.limits.host_gone, told))
            };
            let Ok(Ok(mut records)) = ask(&[]) else { continue };
            records.retain(|record| record.host != *self.host.id());
            let names = set_of(records.iter().map(|record| record.vm.clone()));
            if let Some(before) = self.forsaken.get(&site.section.queue) {
                records.retain(|record| before.contains(&record.vm));
                records.iter().for_each(tell_forsaken);
                let told: Vec<_> = records.into_iter().map(|record| record.vm).collect();
                if !told.is_empty() {
                    let _ = ask(&told);
                }
            }
            found.insert(site.section.queue.clone(), names);
        }
        self.forsaken = found;
    }

    /// Looks at every record once; true if something is left to see to.
    fn round(&mut self, stop: &Stop) -> bool {
        let mut is_left = false;
        let mut seen = Vec::new();
        for i_site in 0..self.sites.len() {
            let site = &self.sites[i_site];
            let Ok(records) = site.records_of_host(&site.until_stop()) else { return true };
            for record in records {
                if stop.is_closed() {
                    return true;
                }
                if self.desk.is_in_hand(&record.vm) || seen.contains(&record.vm) {
                    continue;
                }
                seen.push(record.vm.clone());
                is_left |= !self.see_to(record);
            }
        }
        // Nobody here serves the queues of the others, so that it can only be told what an earlier config left.
        for record in self.host.records().unwrap_or_default() {
            let is_served = self.sites.iter().any(|site| site.section.queue == record.queue);
            if !is_served && !seen.contains(&record.vm) && !self.desk.is_in_hand(&record.vm) {
                seen.push(record.vm.clone());
                is_left = true;
                if !self.is_elsewhere(&record) {
                    // It may be that another process is just undoing it.
                    self.complain(&record, self.limits.delete_retry * 10);
                }
            }
        }
        self.complaints.retain(|vm, _| seen.contains(vm));
        is_left
    }

    /// Sees to one record; true if nothing is left of it.
    fn see_to(&mut self, mut record: VmRecord) -> bool {
        let is_known = self.sites.iter().any(|site| site.section.name == record.plugin);
        if !is_known && self.is_elsewhere(&record) {
            return false;
        }
        let Some(site) = self.sites.iter().find(|site| site.section.scope == record.scope) else {
            self.complain(&record, Duration::ZERO);
            return false;
        };
        if record.stage < Stage::Deleting && record.registering_at.is_some() {
            match site.hub.fence(&record, &site.until_stop()) {
                Ok(Fence::Removed) => {}
                Ok(Fence::NotListed) if site.list_lag_left(&record).is_zero() => {}
                // GitHub's list may lag, but the end of the runner's one job proves the same.
                Ok(Fence::NotListed) if site.hub.is_spent(&record, &site.until_stop()).unwrap_or(false) => {}
                Ok(Fence::NotListed | Fence::Busy) => return false,
                // For an hour perhaps: the records that need no call must not wait behind this one.
                Err(error) if error.is_limit() => return false,
                Err(error) => {
                    warn!(vmName:% = record.vm, error:% = error; "GitHub does not answer whether the runner is removed; its VM is kept");
                    return false;
                }
            }
        }
        if record.stage < Stage::Deleting && !site.are_spares_gone(&record, &site.until_stop()) {
            return false;
        }
        record.stage = Stage::Deleting;
        let saved = site.patiently(&site.until_stop(), |store| store.put_vm(None, &record));
        if saved.is_err() || !site.delete_vm(&record) || site.forget(&record).is_err() {
            return false;
        }
        info!(vmName:% = record.vm, plugin:% = record.plugin; "cleaned up what was left of a VM");
        true
    }

    /// Whether another process sees to it for as long as that lives; or the store does not say.
    fn is_elsewhere(&self, record: &VmRecord) -> bool {
        self.host.is_reserved(record.vm.as_str()) || (self.is_leased)(&record.plugin)
    }

    /// Says that nobody sees to it, after it was met for so long.
    fn complain(&mut self, record: &VmRecord, patience: Duration) {
        let now = Instant::now();
        let due_at = self.complaints.entry(record.vm.clone()).or_insert(now + patience);
        if now < *due_at {
            return;
        }
        *due_at = now + self.limits.complaint;
        let [remove_runner, delete_vm] = commands(record);
        let since = Moment::now().since(record.created_at).as_secs();
        error!(
            vmName:% = record.vm, runnerName:% = record.vm, scope:% = record.scope, plugin:% = record.plugin, age_seconds = since,
            removeRunner = remove_runner.as_str(), deleteVM = delete_vm.as_str();
            "no handler of this host has the scope of this VM's runner: run `removeRunner`, then `deleteVM`, or put a handler of that scope back"
        );
    }
}

/// Says that nobody will see to it any more.
fn tell_forsaken(record: &VmRecord) {
    let [remove_runner, delete_vm] = commands(record);
    error!(
        vmName:% = record.vm, runnerName:% = record.vm, host:% = record.host, scope:% = record.scope, plugin:% = record.plugin,
        repository = record.repository.as_str(), removeRunner = remove_runner.as_str(), deleteVM = delete_vm.as_str();
        "nothing was heard of a host for days: the queue forgets its VM; run `removeRunner` anywhere and, if the host still exists, `deleteVM` there"
    );
}

/// What an operator runs to remove the runner, and then the VM: while the runner works GitHub refuses the first.
fn commands(record: &VmRecord) -> [String; 2] {
    let path = match &record.scope {
        Scope::Repository { owner, repo } => format!("repos/{owner}/{repo}"),
        Scope::Organization { owner } => format!("orgs/{owner}"),
        Scope::Enterprise { slug } => format!("enterprises/{slug}"),
    };
    let (runners, vm) = (format!("{path}/actions/runners"), &record.vm);
    let id = format!("gh api --paginate {runners} --jq '.runners[] | select(.name == \"{vm}\") | .id'");
    [
        format!("{id} | xargs -n 1 -I ID gh api --method DELETE {runners}/ID"),
        format!("anka delete --yes {vm}"),
    ]
}
