//! `ScriptedVmHost`: VMs that are only names, and the failures that a test plans for them.

use std::collections::{BTreeMap, VecDeque};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded, never, unbounded};

use crate::ear::{Ear, Heard};
use crate::job::Image;
use crate::name::VmName;
use crate::section::{Mount, Secret};
use crate::vm::{
    FoundImage, GuestOutput, GuestRun, ImageSource, ReadyImage, RemoteImage, VmError, VmHost, VmListed,
    VmSize,
};

/// A planned hang ends by itself after this, so that a broken test ends.
const HANG_LIMIT: Duration = Duration::from_secs(60);

/// The verbs of [`VmHost`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs, reason = "each is the verb of its name")]
pub enum Verb {
    List,
    FindImage,
    PullImage,
    CloneImage,
    Start,
    Mount,
    Copy,
    Run,
    StopForce,
    Delete,
}

/// What happens at the next call of a verb instead of, or before, its usual work.
pub enum Plan {
    /// Nothing special: to fail only at a later call.
    Work,
    /// It fails and has done nothing.
    Fail(VmError),
    /// It fails, but what was asked for has happened.
    FailDone(VmError),
    /// It does nothing until the ear cuts it.
    Hang,
    /// It does its work, but does not come back until the ear cuts it.
    HangDone,
    /// This runs first, then the usual work.
    First(Box<dyn FnOnce() + Send>),
}

/// A call as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// The verb.
    pub verb: Verb,
    /// The VM concerned, if one.
    pub vm: Option<VmName>,
    /// The template, the path, or the name of what is run; else empty.
    pub what: String,
    /// The line that is run in the guest.
    pub line: Option<String>,
    /// Its standard input.
    pub input: Option<Secret>,
}

/// Answers for a guest: what the run of that name prints, or how it fails.
pub type Guest = Arc<dyn Fn(&Call) -> Result<GuestOutput, VmError> + Send + Sync>;

/// A VM host without VMs. Guests' commands print nothing unless [`ScriptedVmHost::on_run`] says otherwise.
#[derive(Default)]
pub struct ScriptedVmHost {
    inside: Mutex<Inside>,
}

#[derive(Default)]
struct Inside {
    /// The VMs, and whether each runs.
    vms: BTreeMap<VmName, bool>,
    others: Vec<VmListed>,
    plans: BTreeMap<Verb, VecDeque<Plan>>,
    guests: BTreeMap<&'static str, Guest>,
    calls: Vec<Call>,
    listeners: Vec<Sender<Call>>,
    n_pretended_deletions: usize,
}

impl ScriptedVmHost {
    /// Plans the next call of `verb`, after those planned before.
    pub fn plan(&self, verb: Verb, plan: Plan) {
        self.lock().plans.entry(verb).or_default().push_back(plan);
    }

    /// Answers every run of that name in any guest from now on.
    pub fn on_run(
        &self,
        name: &'static str,
        guest: impl Fn(&Call) -> Result<GuestOutput, VmError> + Send + Sync + 'static,
    ) {
        self.lock().guests.insert(name, Arc::new(guest));
    }

    /// All calls so far, oldest first.
    pub fn calls(&self) -> Vec<Call> {
        self.lock().calls.clone()
    }

    /// Every call from now on, at the moment it comes in.
    pub fn listen(&self) -> Receiver<Call> {
        let (sender, receiver) = unbounded();
        self.lock().listeners.push(sender);
        receiver
    }

    /// The VMs that are there, with whether they run.
    pub fn vms(&self) -> BTreeMap<VmName, bool> {
        self.lock().vms.clone()
    }

    /// Puts a VM there that no call made, or stops or starts one behind everybody's back.
    pub fn put_vm(&self, vm: &VmName, is_running: bool) {
        self.lock().vms.insert(vm.clone(), is_running);
    }

    /// Lets a VM vanish.
    pub fn lose_vm(&self, vm: &VmName) {
        self.lock().vms.remove(vm);
    }

    /// The next `n` deletions are answered well, and the VM stays.
    pub fn pretend_deletions(&self, n: usize) {
        self.lock().n_pretended_deletions = n;
    }

    /// Lists something else too: a template, or a VM that is not ours.
    pub fn put_other(&self, listed: VmListed) {
        self.lock().others.push(listed);
    }

    fn call<T>(
        &self,
        call: Call,
        verb: &'static str,
        ear: &Ear<'_>,
        work: impl FnOnce(&Call) -> Result<T, VmError>,
    ) -> Result<T, VmError> {
        let plan = {
            let mut inside = self.lock();
            inside.calls.push(call.clone());
            inside.listeners.retain(|listener| listener.send(call.clone()).is_ok());
            inside.plans.get_mut(&call.verb).and_then(VecDeque::pop_front)
        };
        match plan {
            None | Some(Plan::Work) => work(&call),
            Some(Plan::Fail(error)) => Err(error),
            Some(Plan::FailDone(error)) => work(&call).and(Err(error)),
            Some(Plan::Hang) => Err(hang(verb, ear)),
            Some(Plan::HangDone) => work(&call).and_then(|_| Err(hang(verb, ear))),
            Some(Plan::First(first)) => {
                first();
                work(&call)
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn hang(verb: &'static str, ear: &Ear<'_>) -> VmError {
    match ear.wait::<()>(&never(), Instant::now() + HANG_LIMIT) {
        Heard::Cut => VmError::Cut { verb },
        Heard::Done(()) | Heard::Gone | Heard::TooSlow => VmError::TooSlow { verb, limit: HANG_LIMIT },
    }
}

fn call_of(verb: Verb, vm: Option<&VmName>, what: impl Into<String>) -> Call {
    Call { verb, vm: vm.cloned(), what: what.into(), line: None, input: None }
}

fn not_found(verb: &'static str, vm: &VmName) -> VmError {
    VmError::NotFound { verb, message: format!("{vm}: not found") }
}

impl VmHost for ScriptedVmHost {
    fn list(&self, ear: &Ear<'_>) -> Result<Vec<VmListed>, VmError> {
        self.call(call_of(Verb::List, None, ""), "list", ear, |_| {
            let inside = self.lock();
            let ours = inside.vms.iter().map(|(vm, running)| VmListed {
                name: vm.to_string(),
                uuid: format!("uuid-of-{vm}"),
                tag: None,
                running: *running,
            });
            Ok(ours.chain(inside.others.iter().cloned()).collect())
        })
    }

    fn find_image(
        &self,
        image: &Image,
        _source: &ImageSource,
        _listed: &[VmListed],
        ear: &Ear<'_>,
    ) -> Result<FoundImage, VmError> {
        self.call(call_of(Verb::FindImage, None, &image.template), "registry list", ear, |_| {
            let (template, tag) = (image.template.clone(), image.tag.clone());
            Ok(FoundImage::OnDisk { image: ReadyImage { template, tag, is_current: true }, maybe_old: None })
        })
    }

    fn pull_image(
        &self,
        image: &RemoteImage,
        _source: &ImageSource,
        ear: &Ear<'_>,
    ) -> Result<ReadyImage, VmError> {
        self.call(call_of(Verb::PullImage, None, &image.template), "registry pull", ear, |_| {
            Ok(ReadyImage { template: image.template.clone(), tag: image.tag.clone(), is_current: true })
        })
    }

    fn pull_ended(&self) -> Result<Receiver<()>, VmError> {
        let (sender, receiver) = bounded(1);
        let _ = sender.send(());
        Ok(receiver)
    }

    fn size(&self, _name: &str, _tag: Option<&str>, _ear: &Ear<'_>) -> Result<Option<VmSize>, VmError> {
        Ok(Some(VmSize { cpu_cores: 4, memory_bytes: 8 << 30 }))
    }

    fn clone_image(&self, image: &ReadyImage, vm: &VmName, ear: &Ear<'_>) -> Result<(), VmError> {
        self.call(call_of(Verb::CloneImage, Some(vm), &image.template), "clone", ear, |_| {
            let mut inside = self.lock();
            if inside.vms.contains_key(vm) {
                let message = format!("{vm}: already exists");
                return Err(VmError::Failed { verb: "clone", code: 18, message });
            }
            inside.vms.insert(vm.clone(), false);
            Ok(())
        })
    }

    fn start(&self, vm: &VmName, ear: &Ear<'_>) -> Result<(), VmError> {
        self.call(call_of(Verb::Start, Some(vm), ""), "start", ear, |_| {
            let mut inside = self.lock();
            let is_running = inside.vms.get_mut(vm).ok_or_else(|| not_found("start", vm))?;
            *is_running = true;
            Ok(())
        })
    }

    fn mount(&self, vm: &VmName, mount: &Mount, ear: &Ear<'_>) -> Result<(), VmError> {
        self.call(call_of(Verb::Mount, Some(vm), mount.host.to_string_lossy()), "mount", ear, |_| {
            self.running("mount", vm)
        })
    }

    fn copy(&self, vm: &VmName, from: &Path, ear: &Ear<'_>) -> Result<(), VmError> {
        self.call(call_of(Verb::Copy, Some(vm), from.to_string_lossy()), "cp", ear, |_| {
            self.running("cp", vm)
        })
    }

    fn run(&self, vm: &VmName, run: &GuestRun<'_>, ear: &Ear<'_>) -> Result<GuestOutput, VmError> {
        let mut call = call_of(Verb::Run, Some(vm), run.name);
        call.line = Some(run.line.to_owned());
        call.input = run.input.cloned();
        self.call(call, "run", ear, |call| {
            self.running("run", vm)?;
            let guest = self.lock().guests.get(run.name).cloned();
            guest.map_or_else(|| Ok(GuestOutput::default()), |guest| guest(call))
        })
    }

    fn stop_force(&self, vm: &VmName, ear: &Ear<'_>) -> Result<(), VmError> {
        self.call(call_of(Verb::StopForce, Some(vm), ""), "stop", ear, |_| {
            let mut inside = self.lock();
            let is_running = inside.vms.get_mut(vm).ok_or_else(|| not_found("stop", vm))?;
            *is_running = false;
            Ok(())
        })
    }

    fn delete(&self, vm: &VmName, ear: &Ear<'_>) -> Result<(), VmError> {
        self.call(call_of(Verb::Delete, Some(vm), ""), "delete", ear, |_| {
            let mut inside = self.lock();
            match inside.n_pretended_deletions.checked_sub(1) {
                Some(n_left) => inside.n_pretended_deletions = n_left,
                None => drop(inside.vms.remove(vm)),
            }
            Ok(())
        })
    }
}

impl ScriptedVmHost {
    fn running(&self, verb: &'static str, vm: &VmName) -> Result<(), VmError> {
        match self.lock().vms.get(vm) {
            Some(true) => Ok(()),
            Some(false) => Err(VmError::Failed { verb, code: 1, message: format!("{vm}: not running") }),
            None => Err(not_found(verb, vm)),
        }
    }
}

#[cfg(test)]
mod tests;
