//! A VM or template as this stand-in keeps it. Apart from the rest of the state, since most of what verbs do is done to one.

use serde::{Deserialize, Serialize};

use crate::clock::{now_ms, now_text, rfc3339};
use crate::state::{State, Tag};

/// What a VM needs, in cores and bytes.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Size {
    /// Cores.
    pub cpu_cores: u32,
    /// Memory.
    pub ram_size: u64,
    /// Logical size of the disk.
    pub hard_drive: u64,
    /// What it takes on the host's disk.
    pub image_size: u64,
}

impl Default for Size {
    fn default() -> Self {
        Self { cpu_cores: 4, ram_size: 8 << 30, hard_drive: 128 << 30, image_size: 20 << 30 }
    }
}

/// Whose VM it is; the real tool does not tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// A template on disk.
    Template,
    /// Made by `anka clone`.
    Clone,
    /// Made by somebody else.
    Foreign,
}

/// As `anka` names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// It runs.
    Running,
    /// It does not.
    Stopped,
    /// Says it sleeps; on Apple silicon it is stopped all the same.
    Suspended,
    /// Its start failed; only `stop --force` helps.
    Failed,
}

impl Status {
    /// The word in answers.
    pub fn word(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Stopped => "stopped",
            Self::Suspended => "suspended",
            Self::Failed => "failed",
        }
    }
}

/// A folder of the host seen in a guest.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Mount {
    /// Number of the mount in its VM.
    pub fsid: u32,
    /// On the host.
    pub host_path: String,
    /// Its name under the guest's shared folder.
    pub name: String,
}

/// A template, clone or foreign VM.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Vm {
    /// Its identifier.
    pub uuid: String,
    /// Its name.
    pub name: String,
    /// Whose it is.
    pub role: Role,
    /// The current tag; clones have none.
    pub tag: Option<String>,
    /// Local tags of a template.
    pub tags: Vec<Tag>,
    /// Template that a clone was made of.
    pub source: Option<String>,
    /// What it does.
    pub status: Status,
    /// What it needs.
    pub size: Size,
    /// RFC 3339.
    pub creation_date: String,
    /// RFC 3339; every use counts, that as a clone's source too.
    pub access_date: String,
    /// RFC 3339, of the last stop.
    pub stop_date: Option<String>,
    /// Milliseconds since 1970, of the last start.
    pub started_ms: f64,
    /// How many clones were made of it.
    pub n_clones: u32,
    /// Folders mounted since the start.
    pub mounts: Vec<Mount>,
    /// Whether a command ever ran in it, so that processes may be left.
    pub guests: bool,
}

impl Vm {
    /// A stopped VM without a past.
    pub fn new(uuid: &str, name: &str, role: Role, size: Size) -> Self {
        let now = now_text();
        Self {
            uuid: uuid.into(),
            name: name.into(),
            role,
            tag: None,
            tags: Vec::new(),
            source: None,
            status: Status::Stopped,
            size,
            creation_date: now.clone(),
            access_date: now,
            stop_date: None,
            started_ms: 0.0,
            n_clones: 0,
            mounts: Vec::new(),
            guests: false,
        }
    }

    /// Its address, once it has one; the last byte comes from the identifier.
    pub(crate) fn ip(&self, state: &State) -> Option<String> {
        let has_one =
            self.status == Status::Running && now_ms() - self.started_ms >= state.ip_delay_ms as f64;
        has_one.then(|| format!("192.168.64.{}", self.byte(2, 250)))
    }

    /// A number in `1..=limit` that belongs to this VM.
    pub(crate) fn byte(&self, salt: usize, limit: usize) -> usize {
        1 + self.uuid.bytes().map(usize::from).sum::<usize>() * salt % limit
    }

    /// When it was started; RFC 3339.
    pub(crate) fn start_date(&self) -> String {
        rfc3339((self.started_ms / 1000.0) as u64)
    }

    /// Notes a use.
    pub(crate) fn touch(&mut self) {
        self.access_date = now_text();
    }

    /// Makes `tag` the current one, with its sizes.
    pub(crate) fn switch_to(&mut self, tag: &Tag) {
        self.tag = Some(tag.tag.clone());
        self.size = tag.size;
    }
}
