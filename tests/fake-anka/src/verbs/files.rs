//! Files between host and guest: `cp`, `mount`, and the copy that a clone starts with.

use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};
use std::process::Command;

use crate::args::Spec;
use crate::cli::Call;
use crate::reply::{Doc, Failure, Reply};
use crate::state::State;
use crate::vm::{Mount, Status, Vm};

const CP: Spec = Spec {
    flags: &[&["-a"], &["-p"], &["-P"], &["-R", "-r"], &["-L"], &["-H"], &["-f"]],
    values: &[],
    command: false,
};
const MOUNT: Spec = Spec { flags: &[], values: &[], command: false };

/// `cp [-a] SRC… DST`, where one side is `VM:PATH`.
pub(crate) fn cp(call: &Call) -> Result<Reply, Failure> {
    let args = call.args(&CP)?;
    args.need(1, "DST")?;
    let state = call.world.load()?;
    let (target, sources) = args.positional.split_last().ok_or_else(|| "missing argument SRC".to_string())?;
    let (target, into_guest) = place(call, &state, target)?;
    let mut command = Command::new("cp");
    command.arg(if args.has("-L") { "-pLR" } else { "-pPR" }).arg("--");
    for source in sources {
        let (path, in_guest) = place(call, &state, source)?;
        if in_guest == into_guest {
            return Err(Failure::Usage("exactly one side must be VM:PATH".into()));
        }
        if path.symlink_metadata().is_err() {
            return Err(Failure::new(2, format!("{source}: No such file or directory")));
        }
        command.arg(path);
    }
    let output = command.arg(target).output()?;
    if output.status.success() {
        return Ok(Reply::nothing());
    }
    Err(Failure::new(1, String::from_utf8_lossy(&output.stderr).trim().to_string()))
}

/// A path on the host, and whether it lies in a guest.
fn place(call: &Call, state: &State, text: &str) -> Result<(PathBuf, bool), Failure> {
    let Some((id, path)) = text.split_once(':').filter(|(id, _)| !id.contains('/')) else {
        return Ok((PathBuf::from(text), false));
    };
    let vm = state.vm(id).ok_or_else(|| Failure::not_found(id))?;
    call.about(&vm.uuid);
    if vm.status != Status::Running {
        return Err(Failure::new(1, format!("{id}: not running")));
    }
    let home = call.world.vm_dir(&vm.uuid).join("home");
    let inside = Path::new(path).strip_prefix("/Users/anka").or_else(|_| Path::new(path).strip_prefix(&home));
    let inside = inside.unwrap_or(Path::new(path));
    if inside.is_absolute() || inside.components().any(|part| part == Component::ParentDir) {
        return Err(Failure::new(1, format!("{path}: this stand-in copies to the guest's home only")));
    }
    // `join` would drop a closing `/.`, which says "the contents".
    let joined = format!("{}/{}", home.display(), inside.display());
    let closing = if path.ends_with("/.") { "/." } else { "" };
    Ok((PathBuf::from(joined.trim_end_matches('/').to_string() + closing), true))
}

/// `mount VM [HOST[:NAME]]`.
pub(crate) fn mount(call: &Call) -> Result<Reply, Failure> {
    let args = call.args(&MOUNT)?;
    let id = args.need(0, "VM")?;
    let state = call.world.load()?;
    let vm = state.vm(id).ok_or_else(|| Failure::not_found(id))?;
    call.about(&vm.uuid);
    if state.intel {
        return Err(Failure::new(1, "mount: not supported on this host"));
    }
    if vm.status != Status::Running {
        return Err(Failure::new(1, format!("{id}: not running")));
    }
    let Some(what) = args.positional.get(1) else { return Ok(Reply::body(mounts(vm))) };
    let (host, name) = match what.rsplit_once(':') {
        Some((host, name)) if !name.contains('/') => (Path::new(host), Some(name.to_string())),
        _ => (Path::new(what), None),
    };
    let basename = host.file_name().map(|name| name.to_string_lossy().into_owned());
    let name = name.or(basename).ok_or_else(|| Failure::Usage(format!("bad host folder '{what}'")))?;
    if !host.symlink_metadata().is_ok_and(|about| about.is_dir()) {
        return Err(Failure::new(2, format!("{}: No such directory", host.display())));
    }
    add_mount(call, &vm.uuid, host, &name)?;
    let plain = guest_path(&name);
    Ok(Reply::Done { body: Doc::empty(), message: String::new(), plain })
}

fn add_mount(call: &Call, uuid: &str, host: &Path, name: &str) -> Result<(), Failure> {
    call.world.update(|state| {
        let vm = state.vm_mut(uuid).ok_or_else(|| Failure::not_found(uuid))?;
        if vm.mounts.iter().any(|mount| mount.name == name) {
            return Err(Failure::new(17, format!("{name}: File exists")));
        }
        let fsid = vm.mounts.len() as u32 + 1;
        vm.mounts.push(Mount { fsid, host_path: host.display().to_string(), name: name.into() });
        Ok(())
    })??;
    let shared = call.world.vm_dir(uuid).join("shared");
    fs::create_dir_all(&shared)?;
    let link = shared.join(name);
    let _ = fs::remove_file(&link);
    Ok(std::os::unix::fs::symlink(host, link)?)
}

/// The rows of `mount VM` and `show VM mount`.
pub(crate) fn mounts(vm: &Vm) -> Doc {
    let row = |mount: &Mount| {
        Doc::Object(vec![
            ("fsid", mount.fsid.into()),
            ("host_path", mount.host_path.as_str().into()),
            ("guest_folder_name", mount.name.as_str().into()),
            ("guest_path", guest_path(&mount.name).into()),
        ])
    };
    Doc::List(vm.mounts.iter().map(row).collect())
}

fn guest_path(name: &str) -> String {
    format!("/Volumes/My Shared Files/{name}")
}

/// Copies a folder with links and permissions as they are; a missing one counts as empty.
pub(crate) fn copy_tree(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    let entries = match fs::read_dir(from) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        let (kind, target) = (entry.file_type()?, to.join(entry.file_name()));
        if kind.is_dir() {
            copy_tree(&entry.path(), &target)?;
        } else if kind.is_symlink() {
            std::os::unix::fs::symlink(fs::read_link(entry.path())?, target)?;
        } else {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}
