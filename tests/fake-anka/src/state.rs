//! What this stand-in knows: VMs and templates on disk, the registry, the licence, the limits. Plain data, kept as
//! one JSON document, so that a test can read and change all of it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::clock::now_text;
use crate::vm::{Role, Size, Status, Vm};

/// The whole state.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default)]
pub struct State {
    /// The dialect of the answers: `3.0`, `3.7` or `3.9`.
    pub shape: String,
    /// What `anka version` says, such as `3.9.1`.
    pub version: String,
    /// The licence of this host.
    pub license: License,
    /// Registries by name or address; any unknown one is answered from `default`.
    pub registries: BTreeMap<String, Registry>,
    /// Templates, their clones and VMs of others, as `anka list` has them.
    pub vms: Vec<Vm>,
    /// How many VMs may run at once.
    pub max_running: u32,
    /// Slots that nothing listed holds and that still count.
    pub leaked_slots: u32,
    /// Milliseconds that a verb takes, by verb.
    pub delays: BTreeMap<String, u64>,
    /// Milliseconds from start until a VM has its address.
    pub ip_delay_ms: u64,
    /// Bytes free on this host's disk.
    pub disk_free: u64,
    /// Whether errors recommend `anka log`, as 3.9 may do.
    pub log_hint: bool,
    /// Whether this plays an Intel Mac.
    pub intel: bool,
    /// The values of `anka config`.
    pub config: BTreeMap<String, String>,
}

impl Default for State {
    fn default() -> Self {
        Self {
            shape: "3.9".into(),
            version: "3.9.1".into(),
            license: License::default(),
            registries: BTreeMap::from([("default".into(), Registry::default())]),
            vms: Vec::new(),
            max_running: 2,
            leaked_slots: 0,
            delays: BTreeMap::new(),
            ip_delay_ms: 0,
            disk_free: 500 << 30,
            log_hint: false,
            intel: false,
            config: BTreeMap::from([("pull_failback".into(), "0".into())]),
        }
    }
}

/// What `anka license show` says.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct License {
    /// Such as `com.veertu.anka.entplus`; empty for a host without any.
    pub license_type: String,
    /// `valid` or not.
    pub status: String,
}

impl Default for License {
    fn default() -> Self {
        Self { license_type: "com.veertu.anka.entplus".into(), status: "valid".into() }
    }
}

/// One registry and what lies in it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default)]
pub struct Registry {
    /// Whether it answers at all.
    pub reachable: bool,
    /// What it holds.
    pub templates: Vec<RegistryTemplate>,
}

impl Default for Registry {
    fn default() -> Self {
        Self { reachable: true, templates: Vec::new() }
    }
}

/// A template in a registry; the last tag is the latest.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RegistryTemplate {
    /// Its identifier, the same on every host.
    pub uuid: String,
    /// Its name.
    pub name: String,
    /// Its tags, oldest first.
    pub tags: Vec<Tag>,
    /// Pushed by anka 2: `registry show` has nothing to tell.
    #[serde(default)]
    pub no_metadata: bool,
}

/// One tag of a template: an image with its sizes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Tag {
    /// The tag's text.
    pub tag: String,
    /// What a VM of it needs.
    pub size: Size,
    /// Version of the GitHub runner that the image carries.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runner: Option<String>,
    /// Bytes of the image that this host has already, before it is pulled.
    #[serde(default)]
    pub cached: u64,
    /// When it was last used here; RFC 3339.
    #[serde(default)]
    pub last_access: String,
}

impl State {
    /// The VM that `id`, a name or UUID, means.
    pub fn vm(&self, id: &str) -> Option<&Vm> {
        self.vms.iter().find(|vm| vm.uuid == id).or_else(|| self.vms.iter().find(|vm| vm.name == id))
    }

    /// As [`State::vm`], to change it.
    pub fn vm_mut(&mut self, id: &str) -> Option<&mut Vm> {
        let uuid = self.vm(id)?.uuid.clone();
        self.vms.iter_mut().find(|vm| vm.uuid == uuid)
    }

    /// How many slots are taken, leaked ones included.
    pub fn n_slots_taken(&self) -> u32 {
        let n_running = self.vms.iter().filter(|vm| vm.status == Status::Running).count();
        n_running as u32 + self.leaked_slots
    }

    /// The registry of that name or address.
    pub fn registry(&self, remote: Option<&str>) -> Option<&Registry> {
        remote.and_then(|name| self.registries.get(name)).or_else(|| self.registries.get("default"))
    }

    /// The registry of exactly that name, made when missing.
    pub fn registry_mut(&mut self, name: &str) -> &mut Registry {
        self.registries.entry(name.into()).or_default()
    }

    /// Puts a template's tag on disk as its current one and takes the room; with `shrink` the other tags go.
    pub(crate) fn install(&mut self, uuid: &str, name: &str, tag: &Tag, shrink: bool) {
        if self.vm(uuid).is_none() {
            self.vms.push(Vm::new(uuid, name, Role::Template, tag.size));
        }
        let Some(vm) = self.vms.iter_mut().find(|vm| vm.uuid == uuid) else { return };
        let mut freed = 0;
        if shrink {
            freed =
                vm.tags.iter().filter(|other| other.tag != tag.tag).map(|other| other.size.image_size).sum();
            vm.tags.retain(|other| other.tag == tag.tag);
        }
        let mut taken = 0;
        if !vm.tags.iter().any(|other| other.tag == tag.tag) {
            taken = tag.size.image_size.saturating_sub(tag.cached);
            vm.tags.push(Tag { last_access: now_text(), ..tag.clone() });
        }
        vm.switch_to(tag);
        vm.touch();
        self.disk_free = (self.disk_free + freed).saturating_sub(taken);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tag(text: &str, image_gib: u64) -> Tag {
        let size = Size { image_size: image_gib << 30, ..Size::default() };
        Tag { tag: text.into(), size, ..Tag::default() }
    }

    #[test]
    fn a_second_tag_becomes_current_and_shrinking_frees_the_first() {
        let mut state = State { disk_free: 100 << 30, ..State::default() };
        state.install("u", "n", &tag("one", 10), false);
        state.install("u", "n", &tag("two", 20), false);
        assert_eq!((state.vms.len(), state.disk_free), (1, 70 << 30));
        assert_eq!(state.vm("n").unwrap().tag.as_deref(), Some("two"));
        state.install("u", "n", &tag("three", 5), true);
        let vm = state.vm("u").unwrap();
        assert_eq!((vm.tags.len(), state.disk_free), (1, 95 << 30));
    }

    #[test]
    fn an_unknown_remote_is_answered_from_the_default_one() {
        let mut state = State::default();
        state.registry_mut("other").reachable = false;
        assert!(state.registry(Some("http://any")).unwrap().reachable);
        assert!(!state.registry(Some("other")).unwrap().reachable);
    }
}
