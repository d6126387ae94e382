//! Registered runners: how they come, connect and go. It stands alone because a runner is made by `config.sh`, by
//! a JIT call or by a test, and ends in as many ways.

use crate::clock::At;
use crate::model::{JobId, RegisteredBy, Registration, RegistrationEnd, Runner};
use crate::scope::Scope;
use crate::state::{State, Timed};

/// A runner to register.
#[derive(Clone, Debug)]
pub(crate) struct NewRunner {
    pub(crate) scope: Scope,
    pub(crate) name: String,
    pub(crate) labels: Vec<String>,
    pub(crate) group_id: u64,
    pub(crate) ephemeral: bool,
    pub(crate) version: Option<String>,
    pub(crate) by: RegisteredBy,
}

/// Why `DELETE` of a runner fails.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum DeleteRefusal {
    Unknown,
    Busy { name: String },
}

/// Whether a runner with `offered` may run a job that wants `wanted`. A job without labels finds no runner.
pub(crate) fn labels_include(offered: &[String], wanted: &[String]) -> bool {
    let has = |label: &String| offered.iter().any(|known| known.eq_ignore_ascii_case(label));
    !wanted.is_empty() && wanted.iter().all(has)
}

impl State {
    /// Registers a runner and returns its id; `None` if its scope has one of that name.
    pub(crate) fn register(&mut self, new: NewRunner) -> Option<u64> {
        let is_taken =
            |runner: &Runner| runner.scope == new.scope && runner.name.eq_ignore_ascii_case(&new.name);
        if self.runners.values().any(is_taken) {
            return None;
        }
        let id = 1000 + self.next();
        let at = self.now();
        let is_jit = new.by == RegisteredBy::Jit;
        self.registrations.push(Registration {
            runner_id: id,
            runner_name: new.name.clone(),
            scope: new.scope.clone(),
            labels: new.labels.clone(),
            group: self.group_name(new.group_id),
            by: new.by,
            at,
            jobs: Vec::new(),
            ended: None,
        });
        let runner = Runner {
            id,
            name: new.name,
            scope: new.scope,
            labels: new.labels,
            os: if is_jit { "unknown" } else { "macOS" }.to_owned(),
            group_id: new.group_id,
            ephemeral: new.ephemeral,
            version: new.version,
            online: false,
            job: None,
            registered_at: at,
            session: None,
            connect_by: is_jit.then(|| at.plus(self.knobs.jit_life)),
        };
        self.runners.insert(id, runner);
        Some(id)
    }

    /// Connects a runner's session, after which it may get a job.
    pub(crate) fn runner_online(&mut self, runner_id: u64, session: u64, version: Option<String>) {
        let Some(runner) = self.runners.get_mut(&runner_id) else { return };
        runner.online = true;
        runner.session = Some(session);
        runner.connect_by = None;
        runner.version = version.or(runner.version.take());
        "macOS".clone_into(&mut runner.os);
        self.assign();
    }

    /// The connection of `session` broke. The runner is offline; a job on it fails after the grace.
    pub(crate) fn runner_lost(&mut self, runner_id: u64, session: u64) {
        let Some(runner) = self.runners.get_mut(&runner_id) else { return };
        if runner.session != Some(session) {
            return;
        }
        runner.session = None;
        runner.online = false;
        if runner.job.is_some() {
            self.schedule(self.knobs.lost_runner_grace, Timed::LoseRunner { runner_id });
        }
    }

    pub(crate) fn fail_job_of_lost_runner(&mut self, runner_id: u64) {
        let lost = self.runners.get(&runner_id).filter(|runner| !runner.online).and_then(|runner| runner.job);
        if let Some(job_id) = lost {
            self.complete_job(job_id, "failure");
        }
    }

    /// The runner's job is over: an ephemeral one goes, another is idle again.
    pub(crate) fn free_runner(&mut self, runner_id: Option<u64>, job_id: JobId) {
        let Some(runner) = runner_id.and_then(|id| self.runners.get_mut(&id)) else { return };
        if runner.job != Some(job_id) {
            return;
        }
        runner.job = None;
        if runner.ephemeral {
            let id = runner.id;
            self.remove_runner(id, RegistrationEnd::JobDone);
        }
    }

    /// `DELETE …/actions/runners/{id}`.
    pub(crate) fn delete_runner(&mut self, scope: &Scope, runner_id: u64) -> Result<(), DeleteRefusal> {
        let runner = self.runners.get(&runner_id).filter(|runner| runner.scope == *scope);
        match runner {
            None => Err(DeleteRefusal::Unknown),
            Some(runner) if runner.job.is_some() => Err(DeleteRefusal::Busy { name: runner.name.clone() }),
            Some(_) => {
                self.remove_runner(runner_id, RegistrationEnd::Deleted);
                Ok(())
            }
        }
    }

    pub(crate) fn remove_runner(&mut self, runner_id: u64, end: RegistrationEnd) {
        let now = self.now();
        if self.runners.remove(&runner_id).is_some()
            && let Some(registration) = self.registration_mut(runner_id)
        {
            registration.ended = Some((now, end));
        }
    }

    pub(crate) fn registration_mut(&mut self, runner_id: u64) -> Option<&mut Registration> {
        self.registrations.iter_mut().rev().find(|registration| registration.runner_id == runner_id)
    }

    /// The runners of a scope as its list shows them: those registered at least `list_lag` ago.
    pub(crate) fn listed_runners<'a>(&'a self, scope: &'a Scope) -> impl Iterator<Item = &'a Runner> {
        let now: At = self.now();
        let lag = self.knobs.list_lag;
        self.runners.values().filter(move |runner| {
            runner.scope == *scope && now.instant.duration_since(runner.registered_at.instant) >= lag
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels() {
        for (offered, wanted, fits) in [
            ("a b", "a", true),
            ("a b", "B A", true),
            ("a b", "a c", false),
            ("a b", "", false),
            ("", "a", false),
        ] {
            let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
            assert_eq!(labels_include(&words(offered), &words(wanted)), fits, "{offered} / {wanted}");
        }
    }
}
