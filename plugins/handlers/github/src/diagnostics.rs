//! What a failed try left in its guest, kept for people before the VM is deleted: the runner's own log, and what our scripts printed.
//!
//! It lies in `work_dir/diagnostics/JOB-ATTEMPT/`. Nothing waits for it that matters: it comes after the fence, under a limit of its own,
//! not after a stop, and its failure is no failure.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use log::{Level, debug, info, log_enabled};

use anklet_plugin_api::section::Secret;
use anklet_plugin_api::sorted::sort_by;
use anklet_plugin_api::store::Claim;
use anklet_plugin_api::vm::{GuestRun, Stage, VmVerb};

use crate::worker::{InHand, Worker};

/// How many tries are kept.
const N_KEPT: usize = 50;
/// How much is read from a guest in all.
const GUEST_BYTES: usize = 1 << 20;
/// Begins the line before each file that the guest prints.
const MARK: &str = "anklet-diagnostics-file:";
/// Prints the end of each log of the runner.
const LINE: &str = r#"cd "${RUNNER_HOME:-$HOME/actions-runner}" 2>/dev/null || exit 0
for file in _diag/*.log runner.log "$HOME"/Library/Logs/actions.runner.*/std*.log; do
  [ -f "$file" ] || continue
  printf '\n%s%s\n' anklet-diagnostics-file: "$file"
  tail -c 131072 "$file"
done"#;

/// What is remembered of a try, in case it fails.
#[derive(Default)]
pub(crate) struct Traces {
    /// Why it failed, if it did.
    pub(crate) failure: Option<String>,
    /// What each script printed.
    pub(crate) scripts: Vec<(&'static str, String)>,
    /// What must not be seen in any of it, besides the secrets of the config.
    pub(crate) secret: Option<Secret>,
}

impl Worker {
    /// Keeps what there is to see of a try that failed on our side, or of any at the level DEBUG. `stage` is how far it came.
    pub(crate) fn keep_diagnostics(&self, claim: &Claim, hand: &InHand, stage: Stage) {
        let is_wanted = hand.traces.failure.is_some() || log_enabled!(Level::Debug);
        if !is_wanted || stage < Stage::Copying || self.interrupt.is_closed() {
            return;
        }
        self.keep(claim, self.limits().diagnostics + self.vms.limit(VmVerb::List));
        let mut files = self.guest_files(hand);
        for (name, output) in &hand.traces.scripts {
            files.push((PathBuf::from(format!("{name}.log")), output.clone()));
        }
        if let Some(failure) = &hand.traces.failure {
            files.push((PathBuf::from("failure.txt"), format!("{failure}\n")));
        }
        if files.is_empty() {
            return;
        }
        let parent = self.section.work_dir.join("diagnostics");
        let folder = parent.join(format!("{}-{}", claim.job.id, claim.attempts));
        let masked = files.into_iter().map(|(name, text)| (name, masked(text, hand.traces.secret.as_ref())));
        let written = write(&folder, masked).and_then(|()| keep_newest(&parent, N_KEPT));
        match written {
            Ok(()) => {
                info!(workflowJobID = claim.job.id.0, vmName:% = hand.record.vm, folder:% = folder.display(); "kept what the try left in its VM");
            }
            Err(error) => {
                debug!(folder:% = folder.display(), error:% = error; "what the try left in its VM cannot be kept")
            }
        }
    }

    /// The runner's logs, from a guest that runs: asking a stopped one would start it.
    fn guest_files(&self, hand: &InHand) -> Vec<(PathBuf, String)> {
        let ear = self.until_stop();
        let runs = self
            .vms
            .list(&ear)
            .is_ok_and(|listed| listed.iter().any(|vm| vm.running && vm.name == hand.record.vm.as_str()));
        if !runs {
            return Vec::new();
        }
        let limit = self.limits().diagnostics;
        let run = GuestRun { name: "diagnostics", line: LINE, input: None, limit, n_kept_bytes: GUEST_BYTES };
        match self.vms.run(&hand.record.vm, &run, &ear) {
            Ok(output) => taken_apart(&output.0),
            Err(error) => {
                debug!(vmName:% = hand.record.vm, error:% = error; "the guest's logs cannot be read");
                Vec::new()
            }
        }
    }
}

/// The files that the guest printed. Their names are a stranger's text: nothing of them leaves the folder.
fn taken_apart(output: &str) -> Vec<(PathBuf, String)> {
    let mut files: Vec<(PathBuf, String)> = Vec::new();
    for line in output.split_inclusive('\n') {
        match (line.strip_prefix(MARK), files.last_mut()) {
            (Some(name), _) => files.push((file_name(name), String::new())),
            (None, Some((_, text))) => text.push_str(line),
            // The beginning was cut off, or is empty.
            (None, None) => {}
        }
    }
    files
}

fn file_name(name: &str) -> PathBuf {
    let name = name.trim();
    let folder = if name.starts_with("_diag/") { "_diag" } else { "" };
    let last = name.rsplit('/').next().unwrap_or_default();
    let plain = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '-' | '_') { c } else { '_' };
    let stem: String = last.trim_end_matches(".log").chars().take(100).map(plain).collect();
    Path::new(folder).join(format!("{stem}.log"))
}

fn masked(text: String, secret: Option<&Secret>) -> String {
    match secret.map(|secret| secret.reveal().trim()).filter(|secret| !secret.is_empty()) {
        Some(secret) => text.replace(secret, "***"),
        None => text,
    }
}

fn write(folder: &Path, files: impl Iterator<Item = (PathBuf, String)>) -> io::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    for (name, text) in files {
        let path = folder.join(name);
        path.parent().map_or(Ok(()), fs::create_dir_all)?;
        fs::write(path, text)?;
    }
    Ok(())
}

/// Removes the oldest tries beyond so many. What has another name than ours is not ours.
fn keep_newest(parent: &Path, n_kept: usize) -> io::Result<()> {
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let is_ours =
        |name: &str| name.split_once('-').is_some_and(|(job, attempt)| is_number(job) && is_number(attempt));
    let mut tries = Vec::new();
    for entry in fs::read_dir(parent)? {
        let entry = entry?;
        if entry.file_name().to_str().is_some_and(is_ours) {
            // Another handler may be removing it at this moment.
            let Ok(modified_at) = entry.metadata().and_then(|about| about.modified()) else { continue };
            tries.push((modified_at, entry.path()));
        }
    }
    sort_by(&mut tries, Ord::cmp);
    for (_, path) in tries.iter().rev().skip(n_kept) {
        let _ = fs::remove_dir_all(path);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_taken_apart_and_stay_in_the_folder() {
        let output = format!(
            "cut\n\n{MARK}_diag/Runner_1.log\none\ntwo\n{MARK}/Users/x/../../etc/pass wd.log\nthree\n{MARK}..\n\n{MARK}_diag/../x"
        );
        let files: Vec<_> =
            taken_apart(&output).into_iter().map(|(name, text)| (name.display().to_string(), text)).collect();
        let expected = [
            ("_diag/Runner_1.log", "one\ntwo\n"),
            ("pass_wd.log", "three\n"),
            ("__.log", "\n"),
            ("_diag/x.log", ""),
        ];
        assert_eq!(files, expected.map(|(name, text)| (name.to_owned(), text.to_owned())));
    }

    #[test]
    fn the_newest_tries_stay() {
        let parent = std::env::temp_dir().join(format!("anklet-diagnostics-{}", std::process::id()));
        for n in 0..5 {
            let files = [(PathBuf::from("_diag/a.log"), "x".to_owned())];
            write(&parent.join(format!("{n}-0")), files.clone().into_iter()).unwrap();
            write(&parent.join(format!("{n}-0")), files.into_iter()).unwrap();
            let times =
                fs::FileTimes::new().set_modified(std::time::UNIX_EPOCH + std::time::Duration::from_secs(n));
            fs::File::open(parent.join(format!("{n}-0"))).unwrap().set_times(times).unwrap();
        }
        fs::create_dir_all(parent.join("mine-1")).unwrap();
        keep_newest(&parent, 2).unwrap();
        let mut left: Vec<_> = fs::read_dir(&parent)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        left.sort();
        assert_eq!(left, ["3-0", "4-0", "mine-1"]);
        fs::remove_dir_all(parent).unwrap();
    }

    #[test]
    fn the_token_is_masked() {
        let token = Secret::new("AABB\n");
        assert_eq!(masked("x AABB y".to_owned(), Some(&token)), "x *** y");
        assert_eq!(masked("x".to_owned(), Some(&Secret::new(""))), "x");
    }
}
