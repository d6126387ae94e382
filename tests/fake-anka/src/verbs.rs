//! The verbs of `anka`, by name.

mod files;
mod host;
mod library;
mod look;
pub(crate) mod registry;
mod tags;

use crate::cli::Call;
use crate::reply::{Failure, Reply};
use crate::run;

pub(crate) use library::{delete_vm, start_vm, stop_vm};

/// Does what the call's verb says.
pub(crate) fn dispatch(call: &Call) -> Result<Reply, Failure> {
    match call.verb.as_str() {
        "help" => Ok(host::help()),
        "version" => host::version(call),
        "license show" => host::license(call),
        "config" => host::config(call),
        "list" => look::list(call),
        "show" => look::show(call),
        "registry list" => registry::list(call),
        "registry show" => registry::show(call),
        "registry pull" => registry::pull(call),
        "pull" => registry::top_level_pull(call),
        "clone" => library::clone(call),
        "start" => library::start(call),
        "stop" => library::stop(call),
        "suspend" => library::suspend(call),
        "delete" => library::delete(call),
        "run" => run::run(call),
        "cp" => files::cp(call),
        "mount" if call.world.load()?.shape == "3.9" => files::mount(call),
        other => Err(Failure::Usage(format!("unknown command '{other}'"))),
    }
}
