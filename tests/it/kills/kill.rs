//! Where a process can be killed. The tables name every command and call that there is: one that none of them names has no row.

use fake_github::{RequestRecord, Rule};
use serde_json::json;

use crate::support::World;

/// The anka commands, with how often each comes, and the GitHub calls of a piece of a job's life.
#[derive(Debug)]
pub(crate) struct Steps {
    pub(crate) commands: &'static [(&'static str, usize)],
    pub(crate) calls: &'static [(&'static str, &'static str)],
}

/// One life of one job without any trouble.
pub(crate) const LIFE: Steps = Steps {
    commands: &[
        ("version", 1),
        ("license show", 1),
        ("list", 3),
        ("show", 1),
        ("clone", 1),
        ("start", 1),
        ("cp", 3),
        ("run", 4),
        ("delete", 1),
    ],
    calls: &[
        ("GET", "/repos/acme/app/actions/runners/downloads"),
        ("POST", "/repos/acme/app/actions/runners/registration-token"),
    ],
};

/// Where a process is killed.
#[derive(Clone, Debug)]
pub(crate) enum Kill {
    Command { verb: &'static str, nth: usize, when: &'static str },
    Call { method: &'static str, path: &'static str, is_before: bool },
}

impl Steps {
    /// Before, during and after each command; before and after each call.
    pub(crate) fn kills(&self) -> Vec<Kill> {
        let commands = self.commands.iter().flat_map(|(verb, n)| (1..=*n).map(move |nth| (*verb, nth)));
        let commands = commands.flat_map(|(verb, nth)| {
            ["before", "during", "after"].map(|when| Kill::Command { verb, nth, when })
        });
        let calls = self
            .calls
            .iter()
            .flat_map(|(method, path)| [true, false].map(|is_before| Kill::Call { method, path, is_before }));
        commands.chain(calls).collect()
    }
}

impl Kill {
    /// Arms the stand-ins from now on. A call's rule needs the process that it kills.
    pub(crate) fn arm(&self, world: &World, pid: u32) {
        self.arm_command(world);
        self.arm_call(world, pid);
    }

    /// For processes that are there already, or have just begun.
    pub(crate) fn arm_call(&self, world: &World, pid: u32) {
        if let Self::Call { method, path, is_before } = self {
            let rule = Rule::on(method, path);
            world.github.rule(if *is_before { rule.kill_before(pid) } else { rule.kill_after(pid) });
        }
    }

    /// For commands that come before the process is known.
    pub(crate) fn arm_command(&self, world: &World) {
        if let Self::Command { verb, nth, when } = self {
            let rule = json!({"match": {"verb": verb, "nth": nth}, "do": {"kill_caller": when, "ms": 60}});
            world.anka.arm(&rule);
        }
    }

    /// Whether the process dies before it listens.
    pub(crate) fn is_at_the_start(&self) -> bool {
        matches!(self, Self::Command { verb: "version" | "license show", .. })
    }

    /// Whether it is at this command.
    pub(crate) fn is_at(&self, wanted: &str) -> bool {
        matches!(self, Self::Command { verb, .. } if *verb == wanted)
    }
}

/// The verbs of all commands from the trace's line `from` on, in order.
pub(crate) fn commands_since(world: &World, from: usize) -> Vec<String> {
    let lines = world.anka.trace().into_iter().skip(from);
    lines
        .filter(|line| line.event == "start" && !line.verb.starts_with("guest "))
        .map(|line| line.verb)
        .collect()
}

/// Method and path of a call, with a star for each number.
pub(crate) fn shape(call: &RequestRecord) -> (String, String) {
    let path = call.path_only().trim_start_matches("/api/v3");
    let is_number = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    let parts: Vec<_> = path.split('/').map(|part| if is_number(part) { "*" } else { part }).collect();
    (call.method.clone(), parts.join("/"))
}
