//! `list` and `show`: what is on this host.

use crate::args::{Args, Spec};
use crate::cli::Call;
use crate::reply::{Doc, Failure, Reply};
use crate::state::State;
use crate::vm::{Status, Vm};

use super::files;
use super::tags;

const LIST: Spec = Spec {
    flags: &[&["-r", "--running"], &["-s", "--stopped"], &["-a", "--all"]],
    values: &[&["-f", "--field"]],
    command: false,
};
const SHOW: Spec = Spec { flags: &[&["--current"]], values: &[&["-t", "--tag"]], command: false };
const DEFAULT_FIELDS: [&str; 5] = ["name", "uuid", "creation_date", "version", "status"];

/// `list [VM…] [-r|-s|-a] [-f FIELD[=VALUE],…]`.
pub(crate) fn list(call: &Call) -> Result<Reply, Failure> {
    let args = call.args(&LIST)?;
    let state = call.world.load()?;
    let mut vms: Vec<&Vm> = if args.positional.is_empty() {
        state.vms.iter().collect()
    } else {
        let named = args.positional.iter();
        named.map(|id| state.vm(id).ok_or_else(|| Failure::not_found(id))).collect::<Result<_, _>>()?
    };
    vms.retain(|vm| !args.has("-r") || vm.status == Status::Running);
    vms.retain(|vm| !args.has("-s") || matches!(vm.status, Status::Stopped | Status::Suspended));
    vms.sort_by(|one, other| one.name.cmp(&other.name));
    let wanted: Vec<&str> = args.all("-f").flat_map(|value| value.split(',')).collect();
    let rows = vms.into_iter().map(|vm| full(&state, vm)).filter(|row| {
        let mut filters = wanted.iter().filter_map(|field| field.split_once('='));
        filters.all(|(key, value)| row.get(key).is_some_and(|have| have.plain() == value))
    });
    Ok(Reply::body(Doc::List(rows.map(|row| pick(row, &wanted)).collect())))
}

/// Only the default fields, or those asked for; what a stopped VM lacks is empty or zero then.
fn pick(row: Doc, wanted: &[&str]) -> Doc {
    let Doc::Object(fields) = row else { return row };
    if wanted.is_empty() {
        let default = DEFAULT_FIELDS.iter();
        let kept = default.filter_map(|key| fields.iter().find(|(name, _)| name == key).cloned());
        return Doc::Object(kept.collect());
    }
    let wanted: Vec<&str> =
        wanted.iter().map(|field| field.split_once('=').map_or(*field, |(key, _)| key)).collect();
    let mut kept: Vec<_> = fields.into_iter().filter(|(name, _)| wanted.contains(name)).collect();
    for (key, absent) in [("ip", Doc::from("")), ("vnc_port", Doc::from(0)), ("version", Doc::from(""))] {
        if wanted.contains(&key) && !kept.iter().any(|(name, _)| *name == key) {
            kept.push((key, absent));
        }
    }
    Doc::Object(kept)
}

/// `show VM [-t TAG] [tag|disk|network|mount|uuid|ip]`.
pub(crate) fn show(call: &Call) -> Result<Reply, Failure> {
    let args = call.args(&SHOW)?;
    let state = call.world.load()?;
    let id = args.need(0, "VM")?;
    let vm = state.vm(id).ok_or_else(|| Failure::not_found(id))?;
    call.about(&vm.uuid);
    match args.positional.get(1).map(String::as_str) {
        None => Ok(Reply::body(full(&state, &of_tag(vm, &args)?))),
        Some("tag") => Ok(Reply::body(tags::rows(vm, args.has("--current")))),
        Some("disk") => {
            let size = vm.size;
            Ok(Reply::body(Doc::Object(vec![
                ("hard_drive", size.hard_drive.into()),
                ("data_size", size.image_size.into()),
            ])))
        }
        Some("network") => Ok(Reply::body(Doc::Object(vec![("mode", "shared".into())]))),
        Some("mount") => Ok(Reply::body(files::mounts(vm))),
        Some("uuid") => Ok(Reply::body(vm.uuid.as_str().into())),
        Some("ip") => Ok(Reply::body(vm.ip(&state).unwrap_or_default().into())),
        Some(other) => Err(Failure::Usage(format!("unknown command '{other}'"))),
    }
}

/// The VM as it is in the tag asked for.
fn of_tag(vm: &Vm, args: &Args) -> Result<Vm, Failure> {
    let mut vm = vm.clone();
    if let Some(text) = args.value("-t") {
        let tag = vm.tags.iter().find(|tag| tag.tag == text).ok_or_else(|| Failure::not_found(text))?.clone();
        vm.switch_to(&tag);
    }
    Ok(vm)
}

/// Everything `show` tells of a VM, in the dialect of the state.
pub(crate) fn full(state: &State, vm: &Vm) -> Doc {
    let running = vm.status == Status::Running;
    let old = state.shape == "3.0";
    let ram = if old { vm.size.ram_size.to_string() } else { format!("{}G", vm.size.ram_size >> 30) };
    let mut fields: Vec<(&'static str, Doc)> =
        vec![("uuid", vm.uuid.as_str().into()), ("name", vm.name.as_str().into())];
    fields.extend(vm.tag.as_deref().map(|tag| ("version", tag.into())));
    fields.extend([
        ("creation_date", vm.creation_date.as_str().into()),
        ("cpu_cores", vm.size.cpu_cores.into()),
        ("cpu_frequency", 0.into()),
        ("cpu_htt", false.into()),
        ("arch", if state.intel { 1 } else { 2 }.into()),
        ("ram", ram.into()),
        ("ram_size", vm.size.ram_size.into()),
        ("frame_buffers", 1.into()),
        ("hard_drive", vm.size.hard_drive.into()),
        ("encrypted", false.into()),
        ("image_size", vm.size.image_size.into()),
        ("addons_version", format!("{}.135.13568747", state.version).into()),
        ("status", vm.status.word().into()),
    ]);
    if running {
        fields.extend([("pid", (40_000 + vm.byte(3, 9_000)).into()), ("hostif", "vmenet0".into())]);
        fields.extend(vm.ip(state).map(|ip| ("ip", ip.into())));
        fields.extend([
            ("mac", format!("36:ab:1d:ff:fd:{:02x}", vm.byte(5, 250)).into()),
            ("port_forwarding", Doc::List(Vec::new())),
            ("vnc_port", 5900.into()),
            ("displays", Doc::List(Vec::new())),
            ("start_date", vm.start_date().into()),
        ]);
    } else {
        fields.extend(vm.stop_date.as_deref().map(|date| ("stop_date", date.into())));
    }
    if !old {
        fields.push(("access_date", vm.access_date.as_str().into()));
    }
    Doc::Object(fields)
}
