//! The test's handle on one fake host.

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::archive;
use crate::plan;
use crate::state::{RegistryTemplate, State};
use crate::template::Template;
use crate::trace::{self, TraceLine};
use crate::verbs::{registry, stop_vm};
use crate::vm::{Role, Size, Status, Vm};
use crate::world::World;

const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// One fake host. Its methods panic when its files cannot be read or written, which ends a test with the reason.
#[derive(Clone, Debug)]
pub struct FakeAnka {
    world: World,
}

impl FakeAnka {
    /// The host of the user whose home this is; what is there already stays. The program is found by
    /// [`FakeAnka::built_exe`].
    pub fn new(home: &Path) -> Self {
        Self::with_exe(home, &Self::built_exe())
    }

    /// As [`FakeAnka::new`], with the `fake-anka` program named.
    pub fn with_exe(home: &Path, exe: &Path) -> Self {
        Self::at(home.join(".fake-anka"), exe)
    }

    /// The host in that very folder, what `ANKA_FAKE_DIR` names.
    pub fn at(root: PathBuf, exe: &Path) -> Self {
        let world = World::open(root, exe.into()).expect("the fake host's folder");
        let fake = Self { world };
        if !fake.world.root.join("state.json").exists() {
            fake.update(|_| ());
        }
        fake
    }

    /// The `fake-anka` program of this build: `FAKE_ANKA_EXE`, else the one in the target folder of the program that
    /// asks. It may not be built yet; `cargo build -p fake-anka` does that.
    pub fn built_exe() -> PathBuf {
        if let Some(exe) = env::var_os("FAKE_ANKA_EXE") {
            return exe.into();
        }
        let own = env::current_exe().expect("this program's own path");
        let found =
            own.ancestors().skip(1).take(3).map(|dir| dir.join("fake-anka")).find(|exe| exe.is_file());
        found.unwrap_or_else(|| own.with_file_name("fake-anka"))
    }

    /// The folder with state, plan, trace and VMs.
    pub fn root(&self) -> &Path {
        &self.world.root
    }

    /// Where `curl` in a guest finds files by their name, whatever the address.
    pub fn downloads(&self) -> PathBuf {
        self.world.root.join("downloads")
    }

    /// The home folder inside a VM or template.
    pub fn guest_home(&self, id: &str) -> Option<PathBuf> {
        self.state().vm(id).map(|vm| self.world.vm_dir(&vm.uuid).join("home"))
    }

    /// Puts `anka` into `bin_dir`, for a `PATH`; its path comes back.
    pub fn install_wrapper(&self, bin_dir: &Path) -> PathBuf {
        let link = bin_dir.join("anka");
        fs::create_dir_all(bin_dir).expect("the folder for anka");
        let _ = fs::remove_file(&link);
        symlink(&self.world.exe, &link).expect("the link named anka");
        link
    }

    /// Packs a runner of that version into the downloads; path and SHA-256 come back.
    pub fn make_runner(&self, version: &str) -> (PathBuf, String) {
        archive::make_runner(&self.downloads(), version, &self.world.exe).expect("the runner archive")
    }

    /// The state as it is now.
    pub fn state(&self) -> State {
        self.world.load().expect("the fake host's state")
    }

    /// Changes the state; nobody else does meanwhile.
    pub fn update<R>(&self, change: impl FnOnce(&mut State) -> R) -> R {
        self.world.update(change).expect("the fake host's state")
    }

    /// Every VM that is not a template.
    pub fn vms(&self) -> Vec<Vm> {
        self.state().vms.into_iter().filter(|vm| vm.role != Role::Template).collect()
    }

    /// The running ones.
    pub fn running_vms(&self) -> Vec<Vm> {
        self.state().vms.into_iter().filter(|vm| vm.status == Status::Running).collect()
    }

    /// Puts a template where it says.
    pub fn add(&self, template: &Template) {
        let Template { uuid, name, tag, .. } = template;
        self.update(|state| {
            if let Some(registry) = &template.registry {
                let templates = &mut state.registry_mut(registry).templates;
                if !templates.iter().any(|one| one.uuid == *uuid) {
                    let (uuid, name) = (uuid.clone(), name.clone());
                    templates.push(RegistryTemplate { uuid, name, tags: vec![], no_metadata: false });
                }
                let known = templates.iter_mut().filter(|one| one.uuid == *uuid);
                known.for_each(|one| {
                    one.no_metadata = template.no_metadata;
                    one.tags.retain(|other| other.tag != tag.tag);
                    one.tags.push(tag.clone());
                });
            }
            if template.on_disk {
                state.install(uuid, name, tag, false);
                registry::furnish(&self.world, uuid, tag).expect("the template's home");
            }
        });
    }

    /// Whether the default registry answers.
    pub fn set_registry_reachable(&self, reachable: bool) {
        self.update(|state| state.registry_mut("default").reachable = reachable);
    }

    /// How long a verb takes, such as `clone` or `registry pull`.
    pub fn set_delay(&self, verb: &str, delay: Duration) {
        self.update(|state| state.delays.insert(verb.into(), delay.as_millis() as u64));
    }

    /// Replaces the plan by this list of rules. Panics on a rule that nobody understands.
    pub fn plan(&self, rules: &Value) {
        plan::set(&self.world, rules).expect("a plan of rules");
    }

    /// Adds one rule to the plan. Panics as [`FakeAnka::plan`] does.
    pub fn arm(&self, rule: &Value) {
        plan::arm(&self.world, rule).expect("a rule");
    }

    /// Ends a VM's run from outside: stopped, or with `gone` not there any more. False when there is none.
    pub fn vm_dies(&self, id: &str, gone: bool) -> bool {
        admin_vm_dies(&self.world, id, gone).expect("the VM's files")
    }

    /// Starts a VM of somebody else, within the limit or not; its UUID comes back.
    pub fn foreign_vm(&self, name: &str, size: Size) -> String {
        let uuid = crate::clock::uuid().expect("random bytes");
        let mut vm = Vm::new(&uuid, name, Role::Foreign, size);
        vm.started_ms = crate::clock::now_ms();
        self.update(|state| {
            self.world.set_status(&mut vm, Status::Running);
            state.vms.push(vm);
        });
        uuid
    }

    /// Takes slots that nothing listed holds.
    pub fn leak(&self, n_slots: u32) {
        self.update(|state| state.leaked_slots = n_slots);
    }

    /// The host restarts: every VM is stopped, every guest process ended, no slot leaks any more.
    pub fn reboot(&self) {
        for vm in self.running_vms() {
            stop_vm(&self.world, &vm.uuid, Status::Stopped).expect("the VM's files");
        }
        self.leak(0);
    }

    /// Everything that happened so far.
    pub fn trace(&self) -> Vec<TraceLine> {
        trace::read(&self.world.trace_file())
    }

    /// Waits until the trace is as it should be; false when `limit` passed first.
    pub fn wait_for(&self, limit: Duration, holds: impl Fn(&[TraceLine]) -> bool) -> bool {
        let ends_at = Instant::now() + limit;
        loop {
            if holds(&self.trace()) {
                return true;
            }
            if Instant::now() >= ends_at {
                return false;
            }
            // Appending to a file wakes nobody, so this one looks again.
            thread::park_timeout(LOOK_AGAIN);
        }
    }

    /// The `start` lines of a verb.
    pub fn calls(&self, verb: &str) -> Vec<TraceLine> {
        self.trace().into_iter().filter(|line| line.event == "start" && line.verb == verb).collect()
    }

    /// Pulls that met another pull or a clone; a real host's data would be broken.
    pub fn corruptions(&self) -> Vec<TraceLine> {
        self.trace().into_iter().filter(|line| line.event == "corruption").collect()
    }

    /// Jobs that ran in two VMs at once, by the trace. A job is over when its runner lets go of it or its VM goes.
    pub fn jobs_in_two_vms(&self) -> Vec<u64> {
        let mut running: BTreeMap<u64, Vec<String>> = BTreeMap::new();
        let mut doubled = Vec::new();
        for line in self.trace() {
            let job = line.more.get("job_id").and_then(Value::as_u64);
            match (line.event.as_str(), job) {
                ("job", Some(job)) => {
                    let vms = running.entry(job).or_default();
                    if vms.iter().any(|vm| *vm != line.vm) {
                        doubled.push(job);
                    }
                    vms.push(line.vm);
                }
                ("job end", Some(job)) => running.entry(job).or_default().retain(|vm| *vm != line.vm),
                ("vm", _) if line.text("to") != "running" => {
                    running.values_mut().for_each(|vms| vms.retain(|vm| *vm != line.vm));
                }
                _ => {}
            }
        }
        doubled
    }

    /// The most VMs, cores and bytes of memory that ever ran at once, by the trace.
    pub fn peak(&self) -> (usize, u64, u64) {
        let mut running: Vec<TraceLine> = Vec::new();
        let mut peak = (0, 0, 0);
        for line in self.trace().into_iter().filter(|line| line.event == "vm") {
            running.retain(|other| other.vm != line.vm);
            if line.text("to") == "running" {
                running.push(line);
            }
            let sum = |key: &str| running.iter().filter_map(|line| line.more.get(key)?.as_u64()).sum::<u64>();
            peak = (peak.0.max(running.len()), peak.1.max(sum("cpu_cores")), peak.2.max(sum("ram_size")));
        }
        peak
    }

    /// Forgets the trace.
    pub fn clear_trace(&self) {
        let _ = fs::remove_file(self.world.trace_file());
    }
}

/// See [`FakeAnka::vm_dies`].
pub(crate) fn admin_vm_dies(world: &World, id: &str, gone: bool) -> io::Result<bool> {
    let Some(uuid) = world.load()?.vm(id).map(|vm| vm.uuid.clone()) else { return Ok(false) };
    stop_vm(world, &uuid, Status::Stopped)?;
    // Already gone is as good.
    Ok(!gone || crate::verbs::delete_vm(world, &uuid).is_ok())
}
