//! What happens, gathered from three witnesses: the program's log, GitHub, and the trace of anka.
//!
//! Each is read on from where it was read to before; the times are those that the witness gives.

use std::collections::HashMap;

use anklet_plugin_api::time::Moment;
use fake_anka::TraceLine;
use fake_github::{JobId, JobStatus};

use crate::support::Line;
use crate::theatre::Theatre;

/// What can happen to a job in this show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Received,
    Stored,
    Waits,
    Claimed,
    Cloned,
    Started,
    Fails,
    Registered,
    InProgress,
    Cancelled,
    Completed,
    Cleaned,
    GivenBack,
    Over,
}

/// One step of one job.
#[derive(Clone, Debug)]
pub(crate) struct Event {
    pub(crate) at: Moment,
    /// Which of the show's jobs.
    pub(crate) job: usize,
    pub(crate) step: Step,
    /// In plain words.
    pub(crate) text: String,
}

/// The three witnesses.
#[derive(Default)]
pub(crate) struct Witnesses {
    n_lines: usize,
    n_trace: usize,
    n_registrations: usize,
    n_transitions: HashMap<JobId, usize>,
    received: Vec<usize>,
    made_for: HashMap<String, usize>,
    /// Trace lines of VMs whose job the log has not named yet.
    unclear: Vec<TraceLine>,
}

impl Witnesses {
    /// What is new since the last look.
    pub(crate) fn look(&mut self, theatre: &Theatre, jobs: &[JobId]) -> Vec<Event> {
        let mut events = Vec::new();
        self.ask_github(theatre, jobs, &mut events);
        let lines = theatre.lines();
        for line in &lines[self.n_lines..] {
            events.extend(self.log_line(line, jobs));
        }
        self.n_lines = lines.len();
        let trace = theatre.world.anka.trace();
        self.unclear.extend_from_slice(&trace[self.n_trace..]);
        self.n_trace = trace.len();
        for line in std::mem::take(&mut self.unclear) {
            events.extend(self.trace_line(line));
        }
        events
    }

    fn ask_github(&mut self, theatre: &Theatre, jobs: &[JobId], events: &mut Vec<Event>) {
        for (job, id) in jobs.iter().enumerate() {
            let history = theatre.world.github.job(*id);
            let known = self.n_transitions.entry(*id).or_default();
            for transition in &history.history[*known..] {
                let at = Moment(transition.at.unix_ms);
                match transition.status {
                    JobStatus::InProgress => {
                        events.push(event(
                            at,
                            job,
                            Step::InProgress,
                            "GitHub gives the job to that runner; its steps run.",
                        ));
                    }
                    JobStatus::Completed => {
                        let how = history.conclusion.as_deref().unwrap_or_default();
                        events.push(event(
                            at,
                            job,
                            Step::Completed,
                            &format!("GitHub says by webhook that the job is over: {how}."),
                        ));
                    }
                    _ => {}
                }
            }
            *known = history.history.len();
        }
        let registrations = theatre.world.github.registrations();
        for registration in &registrations[self.n_registrations..] {
            if let Some(job) = self.made_for.get(&registration.runner_name) {
                let text = "A runner with the VM's name signs in at GitHub, for one job only.";
                events.push(event(Moment(registration.at.unix_ms), *job, Step::Registered, text));
            }
        }
        self.n_registrations = registrations.len();
    }

    fn log_line(&mut self, line: &Line, jobs: &[JobId]) -> Option<Event> {
        let fact = |key: &str| line.0[key].as_str().unwrap_or_default();
        let number = |key: &str| line.0[key].as_u64().or_else(|| fact(key).parse().ok());
        let id = number("workflowJobID");
        let job = jobs.iter().position(|job| Some(*job) == id)?;
        let (step, text) = match line.message() {
            "received workflow job to consider" if !self.received.contains(&job) => {
                self.received.push(job);
                (Step::Received, "GitHub's webhook comes in: a job waits for a Mac.".to_owned())
            }
            "job pushed to queued queue" => {
                (Step::Stored, "It is in the queue on disk. Only now GitHub gets its answer.".to_owned())
            }
            "queued job found" => {
                let n_try = number("attempts").unwrap_or_default() + 1;
                (Step::Claimed, format!("The handler takes it; nobody else can. Try {n_try}."))
            }
            "successfully cloned template to new vm" => {
                self.made_for.insert(fact("vmName").to_owned(), job);
                return None;
            }
            "job given back" => {
                (Step::GivenBack, "It is in the queue again, and the failed try is counted.".to_owned())
            }
            "job completed" => {
                (Step::Over, "Nothing is left; the handler is free for the next job.".to_owned())
            }
            "job pushed to completed queue" if !self.made_for.values().any(|other| *other == job) => {
                (Step::Over, "It leaves the queue. No VM was ever made for it.".to_owned())
            }
            _ => return None,
        };
        Some(event(Moment::parse_rfc3339(fact("time"))?, job, step, &text))
    }

    /// A line about a VM; it is kept for the next look while the VM's job is not known.
    fn trace_line(&mut self, line: TraceLine) -> Option<Event> {
        let at = Moment(line.at_ms as i64);
        let is_refused_start = line.event == "rule" && line.verb == "start";
        if is_refused_start {
            // The plan has one fault, and it is for the last job.
            let text = "The VM does not start: the demo makes this one `anka start` fail.";
            return Some(event(at, crate::scene::RETRIED, Step::Fails, text));
        }
        let vm = line.text("name");
        if line.event != "vm" || !vm.starts_with("anklet-vm-") {
            return None;
        }
        let Some(job) = self.made_for.get(vm).copied() else {
            self.unclear.push(line);
            return None;
        };
        let short = &vm[..vm.len().min("anklet-vm-".len() + 8)];
        match line.text("to") {
            "created" => Some(event(
                at,
                job,
                Step::Cloned,
                &format!("anka clones the template into a fresh VM, {short}…"),
            )),
            "running" => {
                Some(event(at, job, Step::Started, "The VM runs; the GitHub runner is installed in it."))
            }
            "deleted" => Some(event(at, job, Step::Cleaned, &format!("The VM {short}… is deleted."))),
            _ => None,
        }
    }
}

fn event(at: Moment, job: usize, step: Step, text: &str) -> Event {
    Event { at, job, step, text: text.to_owned() }
}
