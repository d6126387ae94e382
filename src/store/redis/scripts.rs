//! The Lua scripts, one a verb.

use std::sync::LazyLock;

use redis::Script;

const PRELUDE: &str = include_str!("lua/prelude.lua");

/// A verb as the server runs it.
pub(super) struct Verb {
    /// For messages: what it does, in words.
    pub(super) doing: &'static str,
    script: LazyLock<Compiled>,
}

/// The script whole, and the hash that the server knows it by.
pub(super) struct Compiled {
    pub(super) text: String,
    pub(super) hash: String,
}

impl Verb {
    pub(super) fn script(&self) -> &Compiled {
        &self.script
    }
}

macro_rules! verbs {
    ($($name:ident: $doing:literal, $source:expr;)*) => {
        $(pub(super) static $name: Verb = Verb {
            doing: $doing,
            script: LazyLock::new(|| compile($source)),
        };)*
    };
}

verbs! {
    NEWS: "take in news", include_str!("lua/news.lua");
    CLAIM: "claim a job", include_str!("lua/claim.lua");
    LOOK: "look at a claim", include_str!("lua/look.lua");
    RENEW: "renew claims", include_str!("lua/renew.lua");
    GIVE_BACK: "give a job back", include_str!("lua/give_back.lua");
    PAUSE: "pause or resume a job", include_str!("lua/pause.lua");
    LEAVE_RUNNING: "leave a job running", include_str!("lua/leave_running.lua");
    FINISH: "finish a job", include_str!("lua/finish.lua");
    PUT_VM: "write a VM record", include_str!("lua/put_vm.lua");
    REMOVE_VM: "remove a VM record", include_str!("lua/remove_vm.lua");
    VMS: "read VM records", include_str!("lua/vms.lua");
    FORSAKEN: "look for VM records of lost hosts", include_str!("lua/forsaken.lua");
    ADOPT: "adopt a VM", include_str!("lua/adopt.lua");
    ENTRY: "read a job", include_str!("lua/entry.lua");
    COUNTS: "count jobs", include_str!("lua/counts.lua");
    SURVEY: "survey the queue", include_str!("lua/survey.lua");
    LIST: "list jobs", include_str!("lua/list.lua");
    EXAMINE: "examine a job", include_str!("lua/examine.lua");
    BY_HAND: "change a job by hand", include_str!("lua/by_hand.lua");
    POST: "put up a notice", include_str!("lua/post.lua");
    NOTICES: "read notices", include_str!("lua/notices.lua");
    LEASE: "lease a name", include_str!("lua/lease.lua");
    RELEASE: "release a name", include_str!("lua/release.lua");
    SILENT: "look for silent jobs", include_str!("lua/silent.lua");
    NOTE: "read a note", include_str!("lua/note.lua");
    PUT_NOTE: "write a note", include_str!("lua/put_note.lua");
    INCARNATION: "ask which server it is", include_str!("lua/incarnation.lua");
    IMPORT: "adopt a job", include_str!("lua/import.lua");
    KEEP_BROKEN: "keep a broken document", include_str!("lua/keep_broken.lua");
    SET_ASIDE: "set a document aside", include_str!("lua/set_aside.lua");
}

#[cfg(test)]
verbs! {
    SETTLE: "settle", "redis.call('PUBLISH', ARGV[2], ARGV[4]) return { 'ok', '0', '' }";
}

fn compile(source: &str) -> Compiled {
    let text = format!("{PRELUDE}\n{source}");
    let hash = Script::new(&text).get_hash().to_owned();
    Compiled { text, hash }
}
