//! The folder of one fake host: where its files lie, and how processes change them without treading on each other.
//!
//! Every change happens under an exclusive lock on `lock` and ends with a rename, so that readers need no lock and a
//! killed process never leaves half a document.

use std::env;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use serde_json::json;

use crate::state::State;
use crate::trace::{self, TraceLine};
use crate::vm::{Status, Vm};

/// One fake host.
#[derive(Clone, Debug)]
pub(crate) struct World {
    /// The folder that holds everything.
    pub(crate) root: PathBuf,
    /// The program, for the processes and scripts it starts.
    pub(crate) exe: PathBuf,
}

impl World {
    /// The host that the environment names: `ANKA_FAKE_DIR`, else `$HOME/.fake-anka`.
    pub(crate) fn of_environment() -> io::Result<Self> {
        let root = match env::var_os("ANKA_FAKE_DIR") {
            Some(dir) => PathBuf::from(dir),
            None => {
                let home = env::var_os("HOME").ok_or_else(|| io::Error::other("HOME is not set"))?;
                Path::new(&home).join(".fake-anka")
            }
        };
        Self::open(root, env::current_exe()?)
    }

    /// The host in `root`, its folders made when missing.
    pub(crate) fn open(root: PathBuf, exe: PathBuf) -> io::Result<Self> {
        if !root.join("vms").is_dir() {
            fs::create_dir_all(root.join("vms"))?;
            fs::create_dir_all(root.join("downloads"))?;
        }
        let exe = exe.canonicalize().unwrap_or(exe);
        Ok(Self { root, exe })
    }

    /// A VM's own folder: `home`, `tmp`, `shared`.
    pub(crate) fn vm_dir(&self, uuid: &str) -> PathBuf {
        self.root.join("vms").join(uuid)
    }

    /// The state as it is now.
    pub(crate) fn load(&self) -> io::Result<State> {
        match fs::read(self.root.join("state.json")) {
            Ok(text) => Ok(serde_json::from_slice(&text)?),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(State::default()),
            Err(error) => Err(error),
        }
    }

    /// Changes the state; nobody else does meanwhile.
    pub(crate) fn update<R>(&self, change: impl FnOnce(&mut State) -> R) -> io::Result<R> {
        let _lock = self.lock()?;
        let mut state = self.load()?;
        let result = change(&mut state);
        self.write("state.json", &serde_json::to_vec_pretty(&state)?)?;
        Ok(result)
    }

    /// Waits for the lock of all changes; it ends with the value.
    pub(crate) fn lock(&self) -> io::Result<File> {
        let file = self.open_lock("lock")?;
        flock(&file, FlockOperation::LockExclusive)?;
        Ok(file)
    }

    /// Replaces a file of this folder as a whole. Only under the lock.
    pub(crate) fn write(&self, name: &str, text: &[u8]) -> io::Result<()> {
        let next = self.root.join(format!("{name}.next"));
        fs::write(&next, text)?;
        fs::rename(next, self.root.join(name))
    }

    /// Holds the template library as a pull (alone) or a clone (shared) does. Where the real tool would corrupt
    /// data because of another holder, this writes a `corruption` line and goes on.
    pub(crate) fn hold_library(&self, verb: &str, alone: bool) -> io::Result<File> {
        let file = self.open_lock("library.lock")?;
        let wanted = if alone {
            FlockOperation::NonBlockingLockExclusive
        } else {
            FlockOperation::NonBlockingLockShared
        };
        if flock(&file, wanted).is_err() {
            self.trace(&TraceLine::new("corruption", verb));
        }
        Ok(file)
    }

    fn open_lock(&self, name: &str) -> io::Result<File> {
        OpenOptions::new().create(true).append(true).open(self.root.join(name))
    }

    /// Appends to the trace. A trace that cannot be written must not change what the tool does.
    pub(crate) fn trace(&self, line: &TraceLine) {
        let _ = trace::append(&self.trace_file(), line);
    }

    /// Where the trace lies.
    pub(crate) fn trace_file(&self) -> PathBuf {
        self.root.join("trace.jsonl")
    }

    /// Notes what a VM became (`created`, a status, `deleted`); call it under the lock, so that order is true.
    pub(crate) fn trace_vm(&self, vm: &Vm, to: &str) {
        let line = TraceLine::new("vm", "")
            .with("name", vm.name.as_str())
            .with("to", to)
            .with("role", json!(vm.role))
            .with("cpu_cores", vm.size.cpu_cores)
            .with("ram_size", vm.size.ram_size);
        self.trace(&TraceLine { vm: vm.uuid.clone(), ..line });
    }

    /// Sets a VM's status, with the date and the trace line that go with it. Only under the lock.
    pub(crate) fn set_status(&self, vm: &mut Vm, status: Status) {
        if vm.status == Status::Running && status != Status::Running {
            vm.stop_date = Some(crate::clock::now_text());
            vm.mounts.clear();
        }
        vm.status = status;
        vm.touch();
        self.trace_vm(vm, status.word());
    }
}
