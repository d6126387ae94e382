//! The life of a VM: clone, start, stop, suspend, delete.

use std::env;
use std::fs;
use std::io::{self, BufRead};

use crate::args::Spec;
use crate::cli::Call;
use crate::clock::{now_ms, uuid};
use crate::guests;
use crate::reply::{Doc, Failure, Reply};
use crate::vm::{Role, Status, Vm};
use crate::world::World;

use super::files::copy_tree;
use super::look::full;

const CLONE: Spec = Spec { flags: &[&["-c", "--copy"]], values: &[&["-t", "--tag"]], command: false };
const START: Spec = Spec { flags: &[&["-u"], &["-v"]], values: &[&["--mount"]], command: false };
const STOP: Spec = Spec { flags: &[&["-f", "--force"]], values: &[], command: false };
const DELETE: Spec = Spec { flags: &[&["--yes", "-y"]], values: &[&["-t", "--tag"]], command: false };

/// `clone [-c] [-t TAG] SRC [NAME…]`.
pub(crate) fn clone(call: &Call) -> Result<Reply, Failure> {
    let args = call.args(&CLONE)?;
    let source_id = args.need(0, "SRC")?;
    let mut names = args.positional[1..].to_vec();
    if names.is_empty() {
        names.push(format!("{source_id}-{}", &uuid()?[..8]));
    }
    let mut made = Vec::new();
    for name in &names {
        made.push(clone_one(call, source_id, args.value("-t"), name)?);
    }
    let first = made.first().cloned().unwrap_or_default();
    let body = match call.world.load()?.shape.as_str() {
        "3.0" => Doc::empty(),
        _ => Doc::Object(vec![("uuid", first.into())]),
    };
    Ok(Reply::Done { body, message: String::new(), plain: made.join("\n") })
}

fn clone_one(call: &Call, source_id: &str, tag: Option<&str>, name: &str) -> Result<String, Failure> {
    let world = &call.world;
    let uuid = uuid()?;
    world.update(|state| {
        if state.vm(name).is_some() {
            return Err(Failure::new(18, format!("{name}: already exists")));
        }
        let source = state.vm_mut(source_id).ok_or_else(|| Failure::not_found(source_id))?;
        let mut size = source.size;
        if let Some(text) = tag {
            let tag = source.tags.iter_mut().find(|tag| tag.tag == text);
            size = tag.ok_or_else(|| Failure::not_found(text))?.size;
        }
        source.n_clones += 1;
        source.touch();
        let home = world.vm_dir(&uuid).join("home");
        fs::create_dir_all(world.vm_dir(&uuid).join("tmp"))?;
        copy_tree(&world.vm_dir(&source.uuid).join("home"), &home)?;
        let vm = Vm { source: Some(source.uuid.clone()), ..Vm::new(&uuid, name, Role::Clone, size) };
        world.trace_vm(&vm, "created");
        state.vms.push(vm);
        Ok(())
    })??;
    call.about(&uuid);
    Ok(uuid)
}

/// `start VM`.
pub(crate) fn start(call: &Call) -> Result<Reply, Failure> {
    let args = call.args(&START)?;
    let id = args.need(0, "VM")?;
    let uuid = start_vm(call, id)?;
    let state = call.world.load()?;
    let vm = state.vm(&uuid).ok_or_else(|| Failure::not_found(id))?;
    Ok(Reply::body(full(&state, vm)))
}

/// Makes a VM run, if licence, its state and the limit allow; its UUID comes back.
pub(crate) fn start_vm(call: &Call, id: &str) -> Result<String, Failure> {
    let world = &call.world;
    world.update(|state| {
        let valid = state.license.status == "valid";
        let no_slot = state.n_slots_taken() >= state.max_running;
        let vm = state.vm_mut(id).ok_or_else(|| Failure::not_found(id))?;
        call.about(&vm.uuid);
        if !valid {
            return Err(Failure::new(35, "Prohibited by license or license invalid"));
        }
        if vm.status == Status::Running {
            return Ok(vm.uuid.clone());
        }
        if call.action.vm_fails {
            world.set_status(vm, Status::Failed);
        }
        if vm.status == Status::Failed {
            return Err(Failure::new(1, format!("{}: failed to start: No child processes", vm.uuid)));
        }
        if no_slot {
            return Err(Failure::new(
                1,
                format!("{}: maximum number of running instances exceeded", vm.uuid),
            ));
        }
        vm.started_ms = now_ms();
        world.set_status(vm, Status::Running);
        Ok(vm.uuid.clone())
    })?
}

/// `stop [-f] VM…`.
pub(crate) fn stop(call: &Call) -> Result<Reply, Failure> {
    let args = call.args(&STOP)?;
    args.need(0, "VM")?;
    let state = call.world.load()?;
    for id in &args.positional {
        let vm = state.vm(id).ok_or_else(|| Failure::not_found(id))?;
        call.about(&vm.uuid);
        if vm.status == Status::Failed && !args.has("-f") {
            return Err(Failure::new(1, format!("{id}: failed to stop: No child processes")));
        }
        stop_vm(&call.world, &vm.uuid, Status::Stopped)?;
    }
    Ok(Reply::nothing())
}

/// `suspend VM`: really stops it.
pub(crate) fn suspend(call: &Call) -> Result<Reply, Failure> {
    let args = call.args(&STOP)?;
    let id = args.need(0, "VM")?;
    let state = call.world.load()?;
    let vm = state.vm(id).ok_or_else(|| Failure::not_found(id))?;
    call.about(&vm.uuid);
    if vm.status != Status::Running {
        return Err(Failure::new(1, format!("{id} failed to pause")));
    }
    stop_vm(&call.world, &vm.uuid, Status::Suspended)?;
    Ok(Reply::nothing())
}

/// Ends a VM's run and every process in it. The state comes first, so that who sees a process end knows why.
pub(crate) fn stop_vm(world: &World, uuid: &str, status: Status) -> io::Result<()> {
    let guests = world.update(|state| {
        state.vm_mut(uuid).is_some_and(|vm| {
            if vm.status != status {
                world.set_status(vm, status);
            }
            std::mem::take(&mut vm.guests)
        })
    })?;
    if guests {
        guests::kill_all(&world.vm_dir(uuid));
    }
    Ok(())
}

/// `delete --yes VM… [-t TAG]`.
pub(crate) fn delete(call: &Call) -> Result<Reply, Failure> {
    let args = call.args(&DELETE)?;
    args.need(0, "VM")?;
    for id in &args.positional {
        if !args.has("--yes") && !confirmed(id) {
            return Err(Failure::new(1, "Aborted"));
        }
        match call.world.load()?.vm(id) {
            Some(vm) => call.about(&vm.uuid),
            None if env::var("ANKA_DELETE_IGNORE_ABSENT").as_deref() == Ok("1") => continue,
            None => return Err(Failure::not_found(id)),
        }
        match args.value("-t") {
            Some(tag) => delete_tag(&call.world, id, tag)?,
            None => delete_vm(&call.world, id)?,
        }
    }
    Ok(Reply::nothing())
}

fn confirmed(id: &str) -> bool {
    eprint!("are you sure you want to delete vm {id} [y/N]: ");
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line).is_ok() && line.trim().eq_ignore_ascii_case("y")
}

fn delete_tag(world: &World, id: &str, text: &str) -> Result<(), Failure> {
    world.update(|state| {
        let vm = state.vm_mut(id).ok_or_else(|| Failure::not_found(id))?;
        let index = vm.tags.iter().position(|tag| tag.tag == text).ok_or_else(|| Failure::not_found(text))?;
        let tag = vm.tags.remove(index);
        if vm.tag.as_deref() == Some(text) {
            match vm.tags.last().cloned() {
                Some(other) => vm.switch_to(&other),
                None => vm.tag = None,
            }
        }
        state.disk_free += tag.size.image_size;
        Ok(())
    })?
}

/// Takes a VM or template from the list, then ends what runs in it and removes its files.
pub(crate) fn delete_vm(world: &World, id: &str) -> Result<(), Failure> {
    let vm = world.update(|state| {
        let uuid = state.vm(id)?.uuid.clone();
        let index = state.vms.iter().position(|vm| vm.uuid == uuid)?;
        let vm = state.vms.remove(index);
        state.disk_free += vm.tags.iter().map(|tag| tag.size.image_size).sum::<u64>();
        world.trace_vm(&vm, "deleted");
        Some(vm)
    })?;
    let vm = vm.ok_or_else(|| Failure::not_found(id))?;
    let dir = world.vm_dir(&vm.uuid);
    if vm.guests {
        guests::kill_all(&dir);
    }
    match fs::remove_dir_all(&dir) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error.into()),
        _ => Ok(()),
    }
}
