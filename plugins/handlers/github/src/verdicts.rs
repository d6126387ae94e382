//! What the handlers of a process know of VM sizes, and of groups whose VM did not fit.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anklet_plugin_api::host::Host;
use anklet_plugin_api::job::Group;
use anklet_plugin_api::limits::Limits;
use anklet_plugin_api::name::PluginName;
use anklet_plugin_api::sorted::map_of;
use anklet_plugin_api::store::Notice;
use anklet_plugin_api::vm::VmSize;

use crate::admit::NEEDS;

/// What the handlers of a process know of groups and sizes.
#[derive(Default)]
pub(crate) struct Verdicts(Mutex<Inside>);

#[derive(Default)]
struct Inside {
    /// Sizes by VM or template, and when they were asked for.
    sizes: BTreeMap<String, (Instant, Option<VmSize>)>,
    /// Groups that did not fit.
    groups: BTreeMap<Group, Verdict>,
    /// What other processes of the queue found out of groups, and when they were heard.
    heard: BTreeMap<Group, VmSize>,
    heard_at: Option<Instant>,
}

#[derive(Clone, Copy)]
struct Verdict {
    need: VmSize,
    first_seen_at: Instant,
    seen_at: Instant,
}

impl Verdicts {
    /// The groups that a claim passes by now.
    pub(crate) fn passed(&self, host: &dyn Host, own: &PluginName, limits: &Limits) -> Vec<Group> {
        let mut inside = self.lock();
        // A template may be pushed again, a host may get memory.
        inside.groups.retain(|_, verdict| verdict.seen_at.elapsed() < limits.verdict_life);
        // One handler of the host may hold a job ready.
        let is_free = inside.groups.is_empty() || host.waits_besides(own).is_none();
        let total = host.totals();
        let is_passed = |verdict: &Verdict| {
            let is_starving = is_free && verdict.first_seen_at.elapsed() >= limits.passed_over;
            !verdict.need.fits(total) || (!is_starving && !host.has_room(verdict.need))
        };
        let own = inside.groups.iter().filter(|(_, verdict)| is_passed(verdict)).map(|(group, _)| group);
        let heard = inside.heard.iter().filter(|(_, need)| !need.fits(total)).map(|(group, _)| group);
        own.chain(heard).cloned().collect()
    }

    /// Whether it is time to hear again what others found out. While the queue is quiet there is nothing that could be new, only old.
    pub(crate) fn is_hearing_due(&self, every: Duration, is_quiet: bool) -> bool {
        let inside = self.lock();
        let is_of_use = !is_quiet || !inside.heard.is_empty();
        inside.heard_at.is_none_or(|heard_at| is_of_use && heard_at.elapsed() >= every)
    }

    /// What the processes of the queue found out: the sizes of groups.
    pub(crate) fn hear(&self, notices: &[Notice]) {
        let read = |notice: &Notice| {
            let group = notice.key.strip_prefix(NEEDS)?;
            Some((serde_json::from_str(group).ok()?, serde_json::from_str(&notice.text).ok()?))
        };
        let mut inside = self.lock();
        (inside.heard, inside.heard_at) = (map_of(notices.iter().filter_map(read)), Some(Instant::now()));
    }

    /// When a group that is passed by now has waited long enough.
    pub(crate) fn next_starving(&self, limits: &Limits) -> Option<Instant> {
        let inside = self.lock();
        let moments = inside.groups.values().map(|verdict| verdict.first_seen_at + limits.passed_over);
        moments.filter(|moment| *moment > Instant::now()).min()
    }

    /// A VM of this size did not fit.
    pub(crate) fn did_not_fit(&self, group: Group, need: VmSize) {
        let now = Instant::now();
        let verdict = Verdict { need, first_seen_at: now, seen_at: now };
        self.lock()
            .groups
            .entry(group)
            .and_modify(|known| (known.need, known.seen_at) = (need, now))
            .or_insert(verdict);
    }

    /// The group has room now.
    pub(crate) fn fits(&self, group: &Group) {
        self.lock().groups.remove(group);
    }

    /// Whether the group has been passed by for so long that its job is to be held ready.
    pub(crate) fn is_starving(&self, group: &Group, limits: &Limits) -> bool {
        let inside = self.lock();
        inside.groups.get(group).is_some_and(|known| known.first_seen_at.elapsed() >= limits.passed_over)
    }

    /// The size of a VM or template, if it was asked for lately.
    pub(crate) fn known_size(&self, name: &str, limits: &Limits) -> Option<Option<VmSize>> {
        let inside = self.lock();
        let (asked_at, size) = inside.sizes.get(name)?;
        (asked_at.elapsed() < limits.verdict_life).then_some(*size)
    }

    /// Remembers a size.
    pub(crate) fn keep_size(&self, name: &str, size: Option<VmSize>, limits: &Limits) {
        let mut inside = self.lock();
        inside.sizes.retain(|_, (asked_at, _)| asked_at.elapsed() < limits.verdict_life);
        inside.sizes.insert(name.to_owned(), (Instant::now(), size));
    }

    fn lock(&self) -> MutexGuard<'_, Inside> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use anklet_plugin_api::time::Moment;

    use super::*;

    /// What another process found out ends with it: a group must not be passed by for ever because nothing happens.
    #[test]
    fn a_quiet_queue_is_asked_only_whether_what_was_heard_still_holds() {
        let verdicts = Verdicts::default();
        let is_due = |is_quiet| verdicts.is_hearing_due(Duration::ZERO, is_quiet);
        assert!(is_due(true), "nothing was ever heard");
        verdicts.hear(&[]);
        assert_eq!((is_due(true), is_due(false)), (false, true));
        let group =
            Group { owner: "acme".to_owned(), repo: "app".to_owned(), template: "T".to_owned(), tag: None };
        let need = VmSize { cpu_cores: 4, memory_bytes: 1 << 30 };
        let key = format!("{NEEDS}{}", serde_json::to_string(&group).unwrap());
        let text = serde_json::to_string(&need).unwrap();
        verdicts.hear(&[Notice { key, text, since: Moment(0), until: Moment(1) }]);
        assert!(is_due(true));
        verdicts.hear(&[]);
        assert!(!is_due(true));
    }
}
