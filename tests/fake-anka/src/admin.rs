//! `fake-anka admin …`, `make-runner`: a fake host arranged from a shell, for the demo and for a person.

use std::env;
use std::io;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use crate::archive;
use crate::args::{Args, Spec};
use crate::fake::{FakeAnka, admin_vm_dies};
use crate::template::Template;
use crate::vm::Size;
use crate::world::World;

const USAGE: &str = "usage: fake-anka make-runner DIR VERSION
       fake-anka admin init [--shape 3.9] [--version 3.9.1]
       fake-anka admin template UUID --name N --tag T [--cpu N] [--ram-gib N] [--image-bytes N]
                                [--registry | --registry-name R] [--disk] [--runner VERSION] [--no-metadata]
       fake-anka admin vm-dies VM [--gone] | foreign-vm NAME | reboot | leak N
       fake-anka admin delay VERB MS | disk-free BYTES | registry up|down
       fake-anka admin plan JSON | arm JSON | state | trace
       fake-anka admin install DIR";

const ADMIN: Spec = Spec {
    flags: &[&["--registry"], &["--disk"], &["--gone"], &["--no-metadata"]],
    values: &[
        &["--shape"],
        &["--version"],
        &["--name"],
        &["--tag"],
        &["--cpu"],
        &["--ram-gib"],
        &["--image-bytes"],
        &["--registry-name"],
        &["--runner"],
    ],
    command: false,
};

/// Everything that is neither `anka` nor a guest's program.
pub(crate) fn main(part: &str, argv: &[String]) -> u8 {
    let result = match (part, argv) {
        ("make-runner", [dir, version]) => make_runner(Path::new(dir), version),
        ("__vm-dies", [id, ms, rest @ ..]) => vm_dies_later(id, ms, !rest.is_empty()),
        ("admin", _) => Args::parse(&ADMIN, argv).and_then(|args| admin(&args)),
        _ => Err(USAGE.into()),
    };
    match result {
        Ok(text) => {
            if !text.is_empty() {
                println!("{text}");
            }
            0
        }
        Err(text) => {
            eprintln!("{text}");
            64
        }
    }
}

fn text_error(error: io::Error) -> String {
    error.to_string()
}

fn make_runner(dir: &Path, version: &str) -> Result<String, String> {
    let exe = env::current_exe().map_err(text_error)?;
    let (file, sha256) = archive::make_runner(dir, version, &exe).map_err(text_error)?;
    Ok(format!("{} {sha256}", file.display()))
}

fn vm_dies_later(id: &str, ms: &str, gone: bool) -> Result<String, String> {
    let _ = rustix::process::setsid();
    thread::sleep(Duration::from_millis(number(ms)?));
    let world = World::of_environment().map_err(text_error)?;
    admin_vm_dies(&world, id, gone).map_err(text_error)?;
    Ok(String::new())
}

fn number<T: std::str::FromStr>(text: &str) -> Result<T, String> {
    text.parse().map_err(|_| format!("not a number: {text}"))
}

fn host() -> Result<FakeAnka, String> {
    let exe = env::current_exe().map_err(text_error)?;
    match (env::var_os("ANKA_FAKE_DIR"), env::var_os("HOME")) {
        (Some(dir), _) => Ok(FakeAnka::at(PathBuf::from(dir), &exe)),
        (None, Some(home)) => Ok(FakeAnka::with_exe(Path::new(&home), &exe)),
        (None, None) => Err("neither ANKA_FAKE_DIR nor HOME is set".into()),
    }
}

fn admin(args: &Args) -> Result<String, String> {
    let host = host()?;
    let words: Vec<&str> = args.positional.iter().map(String::as_str).collect();
    let json = |text: &str| serde_json::from_str(text).map_err(|error| format!("not JSON: {error}"));
    match words.as_slice() {
        ["init"] => host.update(|state| {
            state.shape = args.value("--shape").unwrap_or(&state.shape).into();
            let by_shape = format!("{}.1", state.shape);
            state.version = args.value("--version").unwrap_or(&by_shape).into();
        }),
        ["template", uuid] => host.add(&template(args, uuid)?),
        ["vm-dies", id] if host.vm_dies(id, args.has("--gone")) => {}
        ["vm-dies", id] => return Err(format!("{id}: not found")),
        ["foreign-vm", name] => return Ok(host.foreign_vm(name, size(args)?)),
        ["reboot"] => host.reboot(),
        ["leak", n_slots] => host.leak(number(n_slots)?),
        ["delay", verb @ .., ms] if !verb.is_empty() => {
            host.set_delay(&verb.join(" "), Duration::from_millis(number(ms)?));
        }
        ["disk-free", bytes] => {
            let bytes = number(bytes)?;
            host.update(|state| state.disk_free = bytes);
        }
        ["registry", "up"] => host.set_registry_reachable(true),
        ["registry", "down"] => host.set_registry_reachable(false),
        ["plan", text] => host.plan(&json(text)?),
        ["arm", text] => host.arm(&json(text)?),
        ["install", dir] => return Ok(host.install_wrapper(Path::new(dir)).display().to_string()),
        ["state"] => return serde_json::to_string_pretty(&host.state()).map_err(|error| error.to_string()),
        ["trace"] => {
            let lines = host.trace();
            let texts: Result<Vec<String>, _> = lines.iter().map(serde_json::to_string).collect();
            return texts.map(|texts| texts.join("\n")).map_err(|error| error.to_string());
        }
        _ => return Err(USAGE.into()),
    }
    Ok(String::new())
}

fn size(args: &Args) -> Result<Size, String> {
    let mut size = Size::default();
    if let Some(text) = args.value("--cpu") {
        size.cpu_cores = number(text)?;
    }
    if let Some(text) = args.value("--ram-gib") {
        size.ram_size = number::<u64>(text)? << 30;
    }
    if let Some(text) = args.value("--image-bytes") {
        size.image_size = number(text)?;
    }
    Ok(size)
}

fn template(args: &Args, uuid: &str) -> Result<Template, String> {
    let (name, tag) = (args.value("--name").unwrap_or(uuid), args.value("--tag").unwrap_or("v1"));
    let mut template = Template::new(uuid, name, tag).size(size(args)?);
    if args.has("--disk") {
        template = template.on_disk();
    }
    if args.has("--registry") {
        template = template.in_registry();
    }
    if let Some(registry) = args.value("--registry-name") {
        template = template.in_registry_named(registry);
    }
    if let Some(version) = args.value("--runner") {
        template = template.runner(version);
    }
    if args.has("--no-metadata") {
        template = template.without_metadata();
    }
    Ok(template)
}
