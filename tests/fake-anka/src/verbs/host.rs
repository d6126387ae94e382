//! Verbs about the tool itself: help, version, licence, settings.

use crate::args::Spec;
use crate::cli::Call;
use crate::reply::{Doc, Failure, Reply};

const PRODUCT: &str = "Anka Build Enterpriseplus";
const BUILD: &str = "207";

/// What bare `anka` prints.
pub(crate) fn help() -> Reply {
    let plain = "usage: anka [options] command\n\noptions:\n  -j,--machine-readable  JSON output\n  --version\n\n\
                 commands:\n  clone config cp delete license list mount pull registry run show start stop";
    Reply::Done { body: Doc::empty(), message: String::new(), plain: plain.into() }
}

/// `version`.
pub(crate) fn version(call: &Call) -> Result<Reply, Failure> {
    let version = call.world.load()?.version;
    let plain = format!("{PRODUCT} version {version} (build {BUILD})");
    let body =
        Doc::Object(vec![("product", PRODUCT.into()), ("version", version.into()), ("build", BUILD.into())]);
    Ok(Reply::Done { body, message: String::new(), plain })
}

/// `license show`.
pub(crate) fn license(call: &Call) -> Result<Reply, Failure> {
    let license = call.world.load()?.license;
    if license.license_type.is_empty() {
        return Err(Failure::new(35, "Prohibited by license or license invalid"));
    }
    Ok(Reply::body(Doc::Object(vec![
        ("product", PRODUCT.into()),
        ("license_type", license.license_type.into()),
        ("status", license.status.into()),
        ("expires", "30-mar-2031".into()),
    ])))
}

/// `config [KEY [VALUE]]`.
pub(crate) fn config(call: &Call) -> Result<Reply, Failure> {
    let args = call.args(&Spec { flags: &[&["-l", "--list"]], values: &[], command: false })?;
    match (args.positional.first(), args.positional.get(1)) {
        (None, _) => {
            let config = call.world.load()?.config;
            Ok(Reply::body(serde_json::to_value(config).unwrap_or_default().into()))
        }
        (Some(key), None) => match call.world.load()?.config.get(key) {
            Some(value) => Ok(Reply::body(value.as_str().into())),
            None => Err(Failure::not_found(key)),
        },
        (Some(key), Some(value)) => {
            call.world.update(|state| state.config.insert(key.clone(), value.clone()))?;
            Ok(Reply::nothing())
        }
    }
}
