//! A template as a test describes it: where it lies, and what it needs.

use crate::state::Tag;
use crate::vm::Size;

/// Built by chaining; then handed to [`crate::FakeAnka::add`].
#[derive(Clone, Debug)]
pub struct Template {
    pub(crate) uuid: String,
    pub(crate) name: String,
    pub(crate) tag: Tag,
    pub(crate) on_disk: bool,
    pub(crate) registry: Option<String>,
    pub(crate) no_metadata: bool,
}

impl Template {
    /// Four cores and 8 GiB, in no place yet.
    pub fn new(uuid: &str, name: &str, tag: &str) -> Self {
        let tag = Tag { tag: tag.into(), ..Tag::default() };
        let (uuid, name) = (uuid.into(), name.into());
        Self { uuid, name, tag, on_disk: false, registry: None, no_metadata: false }
    }

    /// It is on this host's disk, and its tag the current one.
    pub fn on_disk(mut self) -> Self {
        self.on_disk = true;
        self
    }

    /// The default registry has it, and its tag is the latest there.
    pub fn in_registry(self) -> Self {
        self.in_registry_named("default")
    }

    /// The registry of that name or address has it.
    pub fn in_registry_named(mut self, name: &str) -> Self {
        self.registry = Some(name.into());
        self
    }

    /// The registry knows it and cannot tell its size.
    pub fn without_metadata(mut self) -> Self {
        self.no_metadata = true;
        self
    }

    /// What a VM of it needs.
    pub fn size(mut self, size: Size) -> Self {
        self.tag.size = size;
        self
    }

    /// Cores.
    pub fn cpu(mut self, cpu_cores: u32) -> Self {
        self.tag.size.cpu_cores = cpu_cores;
        self
    }

    /// Memory.
    pub fn ram_gib(mut self, gib: u64) -> Self {
        self.tag.size.ram_size = gib << 30;
        self
    }

    /// Bytes on the host's disk.
    pub fn image_bytes(mut self, bytes: u64) -> Self {
        self.tag.size.image_size = bytes;
        self
    }

    /// Version of the runner that its image carries.
    pub fn runner(mut self, version: &str) -> Self {
        self.tag.runner = Some(version.into());
        self
    }
}
