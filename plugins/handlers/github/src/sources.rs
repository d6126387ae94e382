//! Which registries do not have the template of which group: their handlers leave such groups to others for a while.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use anklet_plugin_api::job::Group;
use anklet_plugin_api::limits::Limits;
use anklet_plugin_api::section::Section;

/// What registries answered lately, for all handlers of a process.
#[derive(Default)]
pub(crate) struct Sources(Mutex<BTreeMap<(Option<String>, Group), Instant>>);

impl Sources {
    /// The registry of `section` does not have the group's template.
    pub(crate) fn lacks(&self, section: &Section, group: &Group, limits: &Limits) {
        let mut without = self.lock();
        without.retain(|_, said_at| said_at.elapsed() < limits.verdict_life);
        without.insert((section.registry_url.clone(), group.clone()), Instant::now());
    }

    /// The groups that a handler leaves to others, since its registry does not have their template.
    pub(crate) fn without(&self, section: &Section, limits: &Limits) -> Vec<Group> {
        let without = self.lock();
        let fresh = without.iter().filter(|(_, said_at)| said_at.elapsed() < limits.verdict_life);
        fresh
            .filter(|((registry, _), _)| *registry == section.registry_url)
            .map(|((_, group), _)| group.clone())
            .collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<(Option<String>, Group), Instant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
