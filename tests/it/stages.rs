//! The places in a job's life where a test can hold the program, and how each is reached: stopping is tried at all of them.

use serde_json::{Value, json};

use crate::support::{Anklet, World};

/// One place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Nothing to do.
    Idle,
    /// Looking which VMs run, before there is one for the job.
    List,
    /// Asking for a registration token.
    Token,
    Clone,
    Start,
    Copy,
    Install,
    Register,
    StartRunner,
    /// The runner is up and GitHub has given it nothing.
    Waiting,
    /// The job runs.
    Running,
    /// The job is over, its VM is being deleted.
    Deleting,
}

/// All of them, in the order of a job's life.
pub(crate) const ALL: [Stage; 12] = [
    Stage::Idle,
    Stage::List,
    Stage::Clone,
    Stage::Start,
    Stage::Copy,
    Stage::Install,
    Stage::Token,
    Stage::Register,
    Stage::StartRunner,
    Stage::Waiting,
    Stage::Running,
    Stage::Deleting,
];

impl Stage {
    /// The command that is under way at this stage: its verb and a word of it.
    fn command(self) -> Option<(&'static str, &'static str)> {
        match self {
            Self::List => Some(("list", "list")),
            Self::Clone => Some(("clone", "clone")),
            Self::Start => Some(("start", "start")),
            Self::Copy => Some(("cp", "cp")),
            Self::Install => Some(("run", "install-runner")),
            Self::Register => Some(("run", "register-runner")),
            Self::StartRunner => Some(("run", "start-runner")),
            Self::Deleting => Some(("delete", "delete")),
            Self::Idle | Self::Token | Self::Waiting | Self::Running => None,
        }
    }

    /// Whether GitHub has not started the job, so that a stop gives it back.
    pub(crate) fn is_before_start(self) -> bool {
        !matches!(self, Self::Idle | Self::Running | Self::Deleting)
    }

    /// Whether a VM may exist.
    pub(crate) fn has_vm(self) -> bool {
        !matches!(self, Self::Idle | Self::List)
    }

    /// Starts the program and brings a job up to this stage; the command in hand does `how` (a rule's `do`). None for no job.
    #[track_caller]
    pub(crate) fn reach(self, world: &World, config: &str, how: &Value) -> (Anklet, Option<u64>) {
        if let Some((verb, word)) = self.command() {
            world.anka.arm(&json!({"match": {"verb": verb, "arg_contains": word}, "do": how}));
        }
        let job = match self {
            Self::Running => world.job().steps_ms(2_500),
            // A runner that is up may be given the job at any moment; until a test wants that, it is not.
            Self::StartRunner | Self::Waiting => {
                world.github.hold_assignment(true);
                world.job()
            }
            _ => world.job(),
        };
        let token = (self == Self::Token).then(|| {
            let pattern = "@/actions/runners/registration-token";
            world.github.rule(fake_github::Rule::on("POST", pattern).hang_for(hang_time(how)))
        });
        let anklet = world.start(config);
        if self == Self::Idle {
            return (anklet, None);
        }
        let id = world.github.create_job(job);
        match (self, self.command(), token) {
            (_, Some((verb, word)), _) => {
                anklet.wait_for("the command", || {
                    let calls = world.anka.calls(verb);
                    calls.iter().any(|call| call.argv.iter().any(|argument| argument.contains(word)))
                });
                if !how["hang"].is_null() {
                    // Past its effect, where it is to hang after it.
                    anklet.wait_for("the hanging", || {
                        world.anka.trace().iter().any(|line| line.event == "hang" && line.verb == verb)
                    });
                }
            }
            (_, _, Some(rule)) => anklet.wait_for("the call", || world.github.rule_hits(rule) > 0),
            (Self::Running, ..) => anklet.wait_message("job found registered runner and is now in progress"),
            _ => anklet.wait_message("job is waiting for registered runner"),
        }
        (anklet, Some(id))
    }
}

fn hang_time(how: &Value) -> std::time::Duration {
    std::time::Duration::from_millis(how["ms"].as_u64().unwrap_or(600_000))
}
