//! The folders and files that the top of the config names.

use std::path::{Path, PathBuf};

use crate::config::env::Environment;
use crate::config::finding::Findings;
use crate::config::paths;
use crate::config::raw::Raw;

/// A path, or its default.
pub(super) fn with_default(
    top: &Raw,
    key: &str,
    default: &str,
    home: Option<&Path>,
    findings: &mut Findings,
) -> Option<PathBuf> {
    match paths::expand_fully(top.text(key).unwrap_or(default), home) {
        Ok(path) => Some(path),
        Err(what) => {
            findings.problem(top.at(key), what);
            None
        }
    }
}

/// `work_dir`: a folder in which files can be made.
pub(super) fn work_dir(top: &Raw, environment: &Environment, findings: &mut Findings) -> Option<PathBuf> {
    let Some(text) = top.text("work_dir") else {
        let here = paths::expand_fully("./", None).ok();
        return here
            .filter(|here| paths::is_writable_folder(here))
            .or_else(|| environment.config_folder())
            .or_else(|| {
                findings
                    .problem(top.at("work_dir"), "is needed, since this folder cannot be written: set it");
                None
            });
    };
    let path = with_default(top, "work_dir", text, environment.home(), findings)?;
    if !paths::is_writable_folder(&path) {
        let what = format!(
            "`{}` is no folder that can be written: make it (`mkdir -p`), or name another",
            path.display()
        );
        findings.problem(top.at("work_dir"), what);
    }
    Some(path)
}

/// `log.file_dir`, which must exist.
pub(super) fn log_dir(top: &Raw, home: Option<&Path>, findings: &mut Findings) -> Option<PathBuf> {
    let text = top.text("log.file_dir")?;
    let path = with_default(top, "log.file_dir", text, home, findings)?;
    if !path.is_dir() {
        let what = format!("`{}` is not there: make it (`mkdir -p`), or name another", path.display());
        findings.problem_named("log directory does not exist", top.at("log.file_dir"), what);
    }
    Some(path)
}
