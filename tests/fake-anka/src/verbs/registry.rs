//! Templates in a registry, and how they come to this host's disk.

use std::fs;
use std::io::Write;

use crate::archive;
use crate::args::{Args, Spec};
use crate::cli::Call;
use crate::reply::{Doc, Failure, Reply};
use crate::state::{Registry, RegistryTemplate, State, Tag};
use crate::vm::{Role, Status};
use crate::world::World;

const NONE: Spec = Spec { flags: &[], values: &[], command: false };
const SHOW: Spec = Spec { flags: &[], values: &[&["-t", "--tag"]], command: false };
const PULL: Spec = Spec {
    flags: &[&["-s", "--shrink"], &["-l", "--local"], &["-q"], &["--fetch-only"], &["--check-download-size"]],
    values: &[&["-t", "--tag"]],
    command: false,
};

/// `registry list`.
pub(crate) fn list(call: &Call) -> Result<Reply, Failure> {
    call.args(&NONE)?;
    let state = call.world.load()?;
    let row = |template: &RegistryTemplate| {
        let latest = template.tags.last().map_or("", |tag| tag.tag.as_str());
        Doc::Object(vec![
            ("uuid", template.uuid.as_str().into()),
            ("name", template.name.as_str().into()),
            ("latest", latest.into()),
        ])
    };
    Ok(Reply::body(Doc::List(reach(&state, call.remote.as_deref())?.templates.iter().map(row).collect())))
}

/// `registry show T [-t TAG]`.
pub(crate) fn show(call: &Call) -> Result<Reply, Failure> {
    let args = call.args(&SHOW)?;
    let state = call.world.load()?;
    let id = args.need(0, "TEMPLATE")?;
    let (template, tag) = find(reach(&state, call.remote.as_deref())?, id, args.value("-t"))?;
    if template.no_metadata {
        return Err(Failure::new(1, format!("{id}: no metadata available")));
    }
    Ok(Reply::body(Doc::Object(vec![
        ("uuid", template.uuid.as_str().into()),
        ("name", template.name.as_str().into()),
        ("version", tag.tag.as_str().into()),
        ("cpu_cores", tag.size.cpu_cores.into()),
        ("ram_size", tag.size.ram_size.into()),
        ("hard_drive", tag.size.hard_drive.into()),
        ("image_size", tag.size.image_size.into()),
    ])))
}

/// `registry pull [-t TAG] [-s] [-l] T`.
pub(crate) fn pull(call: &Call) -> Result<Reply, Failure> {
    let args = call.args(&PULL)?;
    pull_from(call, &args, call.remote.as_deref())
}

/// `pull T [--check-download-size] [-t TAG] [REMOTE]`.
pub(crate) fn top_level_pull(call: &Call) -> Result<Reply, Failure> {
    let args = call.args(&PULL)?;
    let id = args.need(0, "TEMPLATE")?;
    let remote = args.positional.get(1).map(String::as_str);
    if !args.has("--check-download-size") {
        return pull_from(call, &args, remote);
    }
    let state = call.world.load()?;
    let (_, tag) = find(reach(&state, remote)?, id, args.value("-t"))?;
    if has_locally(&state, id, &tag.tag) {
        let message = format!("{}: available locally", tag.tag);
        return Ok(Reply::Done { body: Doc::empty(), message: message.clone(), plain: message });
    }
    Ok(Reply::body(Doc::Object(vec![
        ("size", tag.size.image_size.into()),
        ("cached", tag.cached.into()),
        ("available", state.disk_free.into()),
    ])))
}

fn pull_from(call: &Call, args: &Args, remote: Option<&str>) -> Result<Reply, Failure> {
    let (id, wanted) = (args.need(0, "TEMPLATE")?, args.value("-t"));
    let state = call.world.load()?;
    let down = !state.registry(remote).is_some_and(|registry| registry.reachable);
    let failback = down && state.config.get("pull_failback").is_some_and(|value| value == "1");
    if args.has("-l") || failback && wanted.is_some_and(|tag| has_locally(&state, id, tag)) {
        return switch_locally(call, id, wanted);
    }
    let (template, tag) = find(reach(&state, remote)?, id, wanted)?;
    call.about(&template.uuid);
    let to_load = tag.size.image_size.saturating_sub(tag.cached);
    if !has_locally(&state, id, &tag.tag) && to_load > state.disk_free {
        return Err(Failure::new(1, "could not create disk image, status 74"));
    }
    let mut out = std::io::stdout();
    let _ = writeln!(out, "{}: pulling {} 50%", template.name, tag.tag);
    if call.action.half_then_fail {
        half(&call.world, remote, id, &tag.tag)?;
        return Err(Failure::new(1, "failed to checkout: Input/output error"));
    }
    let _ = writeln!(out, "{}: pulling {} 100%", template.name, tag.tag);
    call.world.update(|state| {
        state.install(&template.uuid, &template.name, tag, args.has("-s"));
        furnish(&call.world, &template.uuid, tag)
    })??;
    Ok(pulled(&template.uuid, &state.shape))
}

/// Makes the guest home of a template that was just put on disk.
pub(crate) fn furnish(world: &World, uuid: &str, tag: &Tag) -> std::io::Result<()> {
    let home = world.vm_dir(uuid).join("home");
    fs::create_dir_all(&home)?;
    let runner = home.join("actions-runner");
    if runner.exists() {
        fs::remove_dir_all(&runner)?;
    }
    match &tag.runner {
        Some(version) => archive::write_runner(&runner, version, &world.exe),
        None => Ok(()),
    }
}

/// A pull that dies half-way keeps what it has loaded: the room is gone, the template is not there.
fn half(world: &World, remote: Option<&str>, id: &str, text: &str) -> Result<(), Failure> {
    world.update(|state| {
        let name =
            remote.filter(|name| state.registries.contains_key(*name)).unwrap_or("default").to_string();
        let templates = state.registry_mut(&name).templates.iter_mut();
        let mut tags = templates.filter(|template| template.uuid == id || template.name == id);
        let tag = tags.next().and_then(|template| template.tags.iter_mut().find(|tag| tag.tag == text));
        let Some(tag) = tag else { return };
        let more = (tag.size.image_size.saturating_sub(tag.cached)) / 2;
        tag.cached += more;
        state.disk_free = state.disk_free.saturating_sub(more);
    })?;
    Ok(())
}

fn switch_locally(call: &Call, id: &str, wanted: Option<&str>) -> Result<Reply, Failure> {
    let uuid = call.world.update(|state| {
        let vm = state.vm_mut(id).ok_or_else(|| Failure::not_found(id))?;
        if let Some(text) = wanted {
            let tag = vm.tags.iter().find(|tag| tag.tag == text).cloned();
            vm.switch_to(&tag.ok_or_else(|| Failure::not_found(text))?);
        }
        if vm.status == Status::Failed {
            vm.status = Status::Stopped;
        }
        Ok::<_, Failure>(vm.uuid.clone())
    })??;
    call.about(&uuid);
    Ok(pulled(&uuid, &call.world.load()?.shape))
}

fn pulled(uuid: &str, shape: &str) -> Reply {
    let body = if shape == "3.0" { Doc::empty() } else { Doc::Object(vec![("uuid", uuid.into())]) };
    Reply::Done { body, message: String::new(), plain: uuid.into() }
}

fn has_locally(state: &State, id: &str, text: &str) -> bool {
    let vm = state.vm(id).filter(|vm| vm.role == Role::Template);
    vm.is_some_and(|vm| vm.tags.iter().any(|tag| tag.tag == text))
}

fn reach<'a>(state: &'a State, remote: Option<&str>) -> Result<&'a Registry, Failure> {
    let registry = state.registry(remote).ok_or_else(|| Failure::new(30, "No registry configured"))?;
    if registry.reachable {
        return Ok(registry);
    }
    let name = remote.unwrap_or("default");
    Err(Failure::new(1, format!("failed to connect to registry {name}: Connection refused")))
}

/// The template and its tag, the latest if none is asked for; both kinds of absence are code 3.
fn find<'a>(
    registry: &'a Registry,
    id: &str,
    tag: Option<&str>,
) -> Result<(&'a RegistryTemplate, &'a Tag), Failure> {
    let mut templates = registry.templates.iter();
    let template =
        templates.find(|one| one.uuid == id || one.name == id).ok_or_else(|| Failure::not_found(id))?;
    let found = match tag {
        Some(text) => template.tags.iter().find(|one| one.tag == text),
        None => template.tags.last(),
    };
    found.map(|found| (template, found)).ok_or_else(|| Failure::not_found(tag.unwrap_or(id)))
}
