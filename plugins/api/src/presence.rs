//! What a handler says of itself in its queue, so that people on any host can see why a job waits; receivers say that they are there.
//!
//! It is a notice of the store (`handler/NAME`, `receiver/NAME`) that expires by itself and that the heartbeat keeps up. Moments in it are those of
//! the handler's host: `said_at` is the same moment as the notice's `since`, which lets a reader set them right.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::job::Group;
use crate::name::{HostId, PluginName};
use crate::scope::Scope;
use crate::time::Moment;
use crate::vm::VmSize;

/// What the keys of these notices begin with; the plugin's name follows.
pub const HANDLER_PREFIX: &str = "handler/";

/// What the keys of receivers' notices begin with.
pub const RECEIVER_PREFIX: &str = "receiver/";

/// A plugin as it sees itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Presence {
    /// The plugin.
    pub plugin: PluginName,
    /// Where it runs.
    pub host: HostId,
    /// That host's name, for people.
    pub host_name: String,
    /// Its process: see [`Lease::process`](crate::store::Lease::process).
    pub process: String,
    /// The version of its program.
    pub version: String,
    /// Whose jobs it takes.
    pub scope: Scope,
    /// What the host has for VMs in all.
    pub total: VmSize,
    /// How many VMs the host runs at most.
    pub n_slots: usize,
    /// When this was said, by the host's clock.
    pub said_at: Moment,
    /// A [`Status`](crate::report::Status) in words.
    pub status: String,
    /// Why it takes nothing now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pause: Option<Pause>,
    /// What it found of groups whose jobs it could not run.
    #[serde(default)]
    pub verdicts: Vec<Verdict>,
}

/// Why a handler takes nothing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Pause {
    /// Why.
    pub why: PauseReason,
    /// Until when, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Moment>,
}

/// Why a handler takes nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PauseReason {
    /// The drain file is there.
    Drained,
    /// Every VM slot of the host is taken.
    NoSlot,
    /// Another handler of the host holds a job ready and goes first.
    OtherGoesFirst,
    /// Jobs kept failing on the host.
    Rests,
    /// GitHub's rate limit is reached.
    Budget,
    /// What a later version knows.
    #[serde(other)]
    Other,
}

/// What a handler found of a group.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    /// The group.
    pub group: Group,
    /// The kind of hindrance.
    pub because: Because,
    /// In words.
    pub what: String,
    /// When.
    pub at: Moment,
}

/// What hinders a handler.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Because {
    /// The template is not on disk and cannot be pulled.
    Template,
    /// The VM is larger than the whole host.
    TooLarge,
    /// There is not enough room beside what runs.
    NoRoom,
    /// Another pull runs on the host.
    Pull,
    /// Every VM slot is taken.
    NoSlot,
    /// Anything else.
    #[serde(other)]
    Other,
}

impl fmt::Display for PauseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Drained => "drained",
            Self::NoSlot => "every VM slot of its host is taken",
            Self::OtherGoesFirst => "another handler of its host holds a job ready and goes first",
            Self::Rests => "it rests after failures in a row",
            Self::Budget => "GitHub's rate limit is reached",
            Self::Other => "it takes nothing for now",
        })
    }
}
