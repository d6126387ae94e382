//! What the processes of a queue tell each other of images: who has which on disk, which registries they ask, and what those do not have.
//!
//! A run is cancelled for a missing template only if no live host of its queue could have it. Each process tells its own part through
//! the store, for a while: what a process that is gone has told ends by itself.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use anklet_plugin_api::job::{Group, Image};
use anklet_plugin_api::store::{Notice, Store, StoreError};
use anklet_plugin_api::vm::VmListed;

/// The keys of notices that tell what a process has begin with this.
const PROCESSES: &str = "images/";
/// The keys of notices that tell what is not to be had where begin with this.
const LACKS: &str = "lack/";
/// Names of VMs that were made for jobs begin with this; those are no templates.
const OUR_VMS: &str = "anklet-vm-";

/// A registry; none is the default one of `anka`, which the hosts of a queue are taken to share.
pub(crate) type Registry = Option<String>;

/// The images of a process, and what it told of them.
#[derive(Default)]
pub(crate) struct Sources(Mutex<Inside>);

#[derive(Default)]
struct Inside {
    /// The registries that the handlers of each queue ask.
    registries: BTreeMap<String, BTreeSet<Registry>>,
    on_disk: Vec<Template>,
    listed_at: Option<Instant>,
    /// Which registry answered lately that it does not have the group's template.
    lacks: BTreeMap<(Registry, Group), Instant>,
}

/// A handler whose registry was asked.
#[derive(Clone, Copy)]
pub(crate) struct Asker<'a> {
    /// Its process, unlike any other of the queue.
    pub(crate) process: &'a str,
    pub(crate) queue: &'a str,
    pub(crate) registry: &'a Registry,
    /// How long what it says is believed.
    pub(crate) life: Duration,
}

/// What a process tells of itself.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Process {
    registries: BTreeSet<Registry>,
    on_disk: Vec<Template>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Template {
    uuid: String,
    name: String,
    /// The current one; more may be on disk.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    tag: Option<String>,
}

/// A process's word that it cannot have a group's template: neither on disk nor in this registry.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Lack {
    process: String,
    registry: Registry,
    group: Group,
}

impl Sources {
    /// A handler works on its queue from now on; none means that it pulls nothing.
    pub(crate) fn add(&self, queue: &str, registry: Option<Registry>) {
        self.lock().registries.entry(queue.to_owned()).or_default().extend(registry);
    }

    /// What is on disk, by a list that was just made.
    pub(crate) fn listed(&self, listed: &[VmListed]) {
        let templates = listed.iter().filter(|row| !row.name.starts_with(OUR_VMS));
        let on_disk = templates.map(|row| Template {
            uuid: row.uuid.clone(),
            name: row.name.clone(),
            tag: row.tag.clone(),
        });
        let on_disk = on_disk.collect();
        let mut inside = self.lock();
        (inside.on_disk, inside.listed_at) = (on_disk, Some(Instant::now()));
    }

    /// Whether what is known to be on disk is older than that.
    pub(crate) fn is_list_older_than(&self, age: Duration) -> bool {
        self.lock().listed_at.is_none_or(|listed_at| listed_at.elapsed() >= age)
    }

    /// Tells the queue what this process has, for `life`; nothing if no list was made yet.
    pub(crate) fn tell(
        &self,
        store: &dyn Store,
        queue: &str,
        process: &str,
        life: Duration,
    ) -> Result<(), StoreError> {
        let text = {
            let inside = self.lock();
            if inside.listed_at.is_none() {
                return Ok(());
            }
            let registries = inside.registries.get(queue).cloned().unwrap_or_default();
            to_text(&Process { registries, on_disk: inside.on_disk.clone() })
        };
        store.post(&format!("{PROCESSES}{process}"), &text, life)
    }

    /// This process has nothing any more.
    pub(crate) fn take_back(&self, store: &dyn Store, process: &str) -> Result<(), StoreError> {
        store.post(&format!("{PROCESSES}{process}"), "", Duration::ZERO)
    }

    /// The registry of `asker` does not have the image of this group, and nor has this host's disk. Whether that is so for every
    /// process of the queue; the others are told.
    pub(crate) fn is_nowhere(
        &self,
        asker: Asker<'_>,
        image: &Image,
        group: &Group,
        store: &dyn Store,
    ) -> Result<bool, StoreError> {
        let lack = Lack {
            process: asker.process.to_owned(),
            registry: asker.registry.clone(),
            group: group.clone(),
        };
        let life = asker.life;
        let mut inside = self.lock();
        inside.lacks.retain(|_, said_at| said_at.elapsed() < life);
        inside.lacks.insert((lack.registry.clone(), group.clone()), Instant::now());
        let own = inside.registries.get(asker.queue).cloned().unwrap_or_default();
        drop(inside);

        let text = to_text(&lack);
        store.post(&format!("{LACKS}{text}"), &text, life)?;
        // What another version tells in another way is not understood: then somebody else may have it.
        let read = |notice: Notice| Some((notice.key, serde_json::from_str::<Lack>(&notice.text).ok()?));
        let mut lacks: Vec<_> = store.notices(LACKS)?.into_iter().filter_map(read).collect();
        lacks.retain(|(_, lack)| lack.group == *group);
        let is_asked = |registry: &Registry| lacks.iter().any(|(_, lack)| lack.registry == *registry);
        let has_said = |process: &str| lacks.iter().any(|(_, lack)| lack.process == process);
        let is_without = |notice: &Notice| {
            let name = notice.key.strip_prefix(PROCESSES).unwrap_or_default();
            name == asker.process
                || serde_json::from_str::<Process>(&notice.text).is_ok_and(|other| {
                    other.registries.iter().all(is_asked)
                        && (has_said(name) || !other.on_disk.iter().any(|known| known.may_be(image)))
                })
        };
        let is_nowhere = own.iter().all(is_asked) && store.notices(PROCESSES)?.iter().all(is_without);
        if is_nowhere {
            // The next such job is looked at anew: somebody may push the template.
            self.lock().lacks.retain(|(_, known), _| known != group);
            for (key, _) in lacks {
                store.post(&key, "", Duration::ZERO)?;
            }
        }
        Ok(is_nowhere)
    }

    /// The groups that a handler leaves to others, since its registry does not have their template.
    pub(crate) fn passed(&self, registry: &Registry, life: Duration) -> Vec<Group> {
        let inside = self.lock();
        let fresh = inside.lacks.iter().filter(|(_, said_at)| said_at.elapsed() < life);
        fresh.filter(|((of, _), _)| of == registry).map(|((_, group), _)| group.clone()).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Inside> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Template {
    /// Whether a job that asks for `image` could get this template, perhaps with another tag that is on disk too.
    fn may_be(&self, image: &Image) -> bool {
        self.uuid.eq_ignore_ascii_case(&image.template) || self.name.eq_ignore_ascii_case(&image.template)
    }
}

fn to_text(value: &impl Serialize) -> String {
    // Our own types have text keys and no way to fail.
    serde_json::to_string(value).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use anklet_plugin_api::fake::memory::MemoryStore;

    use super::*;

    const LIFE: Duration = Duration::from_secs(90);

    /// A process with one handler, and what it has on disk.
    struct Host {
        name: &'static str,
        registry: Registry,
        sources: Sources,
    }

    impl Host {
        fn new(name: &'static str, registry: Option<&str>, on_disk: &[(&str, &str)]) -> Self {
            let sources = Sources::default();
            let skips = registry == Some("none");
            let registry = registry.filter(|_| !skips).map(str::to_owned);
            sources.add("acme", Some(registry.clone()).filter(|_| !skips));
            let row = |(uuid, tag): &(&str, &str)| VmListed {
                name: format!("name of {uuid}"),
                uuid: (*uuid).to_owned(),
                tag: Some((*tag).to_owned()),
                running: false,
            };
            sources.listed(&on_disk.iter().map(row).collect::<Vec<_>>());
            Self { name, registry, sources }
        }

        fn tell(&self, store: &MemoryStore) {
            self.sources.tell(store, "acme", self.name, LIFE).unwrap();
        }

        fn is_nowhere(&self, store: &MemoryStore, template: &str) -> bool {
            let image = Image { template: template.to_owned(), tag: Some("v1".to_owned()) };
            let group = Group {
                owner: "acme".to_owned(),
                repo: "app".to_owned(),
                template: template.to_lowercase(),
                tag: image.tag.clone(),
            };
            let asker = Asker { process: self.name, queue: "acme", registry: &self.registry, life: LIFE };
            self.sources.is_nowhere(asker, &image, &group, store).unwrap()
        }
    }

    #[test]
    fn a_template_is_nowhere_only_if_no_process_may_have_it() {
        let store = MemoryStore::default();
        let one = Host::new("one", None, &[]);
        assert!(one.is_nowhere(&store, "T"), "it is alone");
        let same = Host::new("same", None, &[("other", "v1")]);
        let skips = Host::new("skips", Some("none"), &[]);
        for host in [&one, &same, &skips] {
            host.tell(&store);
        }
        assert!(one.is_nowhere(&store, "T"), "all ask the same registry");
        assert!(!one.is_nowhere(&store, "OTHER"), "it is on another's disk");
        assert!(!one.is_nowhere(&store, "name of other"));
        assert!(same.is_nowhere(&store, "other"), "its own look, and no other's disk");
        let elsewhere = Host::new("elsewhere", Some("http://second"), &[("u", "v2")]);
        elsewhere.tell(&store);
        assert!(!one.is_nowhere(&store, "T"), "another registry may have it");
        assert!(elsewhere.is_nowhere(&store, "T"), "both registries have answered");
        assert!(!one.is_nowhere(&store, "T"), "the next job is looked at anew");
        assert!(
            !one.is_nowhere(&store, "U") && elsewhere.is_nowhere(&store, "u"),
            "the tag that it has is another"
        );
    }

    #[test]
    fn a_handler_leaves_to_others_what_its_registry_lacks() {
        let store = MemoryStore::default();
        let [one, two] = [Host::new("one", None, &[]), Host::new("two", Some("http://second"), &[])];
        two.tell(&store);
        assert!(!one.is_nowhere(&store, "T"));
        assert_eq!(one.sources.passed(&one.registry, LIFE).len(), 1);
        assert!(one.sources.passed(&two.registry, LIFE).is_empty());
    }
}
