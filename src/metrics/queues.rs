//! The queues as `/metrics` shows them. The store is asked when somebody scrapes, and not more often than every few seconds; what it answers
//! costs it one look at each group.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use anklet_plugin_api::job::Group;
use anklet_plugin_api::presence::{Because, HANDLER_PREFIX, PauseReason, Presence};
use anklet_plugin_api::scope::{Scope, same};
use anklet_plugin_api::sorted::sort_by_key;
use anklet_plugin_api::store::{Store, StoreError, Survey};

use super::tally::{N_TEMPLATES, OTHER, short};

/// Two Prometheus servers scrape for the price of one.
const FRESH: Duration = Duration::from_secs(3);

/// The queues that this process works on, each once.
#[derive(Default)]
pub(super) struct Queues(Mutex<Vec<Known>>);

struct Known {
    name: String,
    /// It times its verbs for the metrics, so that holding it here would keep both for ever.
    store: Weak<dyn Store>,
    last: Option<(Instant, Option<QueueView>)>,
}

/// One queue.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct QueueView {
    pub(super) waiting: u64,
    pub(super) held: u64,
    pub(super) claimed: u64,
    pub(super) running: u64,
    pub(super) vms: u64,
    /// By template.
    pub(super) templates: BTreeMap<String, TemplateView>,
}

/// The waiting jobs of a template.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct TemplateView {
    pub(super) n_jobs: u64,
    pub(super) oldest: Duration,
    /// Handlers of the fleet that take such jobs: free; busy, or without room or a slot beside what their hosts do; and unable, which other
    /// jobs' ends do not change.
    pub(super) n_free: u64,
    pub(super) n_busy: u64,
    pub(super) n_unable: u64,
}

impl Queues {
    /// Shows this queue too, unless it is shown already.
    pub(super) fn add(&self, name: &str, store: &Arc<dyn Store>) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !known.iter().any(|known| known.name == name) {
            known.push(Known { name: name.to_owned(), store: Arc::downgrade(store), last: None });
        }
    }

    /// Each queue by name; none where the store does not answer.
    pub(super) fn views(&self) -> Vec<(String, Option<QueueView>)> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let view = |known: &mut Known| {
            if known.last.as_ref().is_none_or(|(at, _)| at.elapsed() >= FRESH) {
                let view = known.store.upgrade().and_then(|store| look(&*store).ok());
                known.last = Some((Instant::now(), view));
            }
            (known.name.clone(), known.last.as_ref().and_then(|(_, view)| view.clone()))
        };
        known.iter_mut().map(view).collect()
    }
}

fn look(store: &dyn Store) -> Result<QueueView, StoreError> {
    let survey = store.survey()?;
    let notices = if survey.groups.is_empty() { Vec::new() } else { store.notices(HANDLER_PREFIX)? };
    // What a newer anklet says and we cannot read is left out.
    let handlers: Vec<Presence> =
        notices.iter().filter_map(|notice| serde_json::from_str(&notice.text).ok()).collect();
    Ok(view(&survey, &handlers))
}

fn view(survey: &Survey, handlers: &[Presence]) -> QueueView {
    let mut view = QueueView {
        held: survey.held,
        claimed: survey.claimed,
        running: survey.running,
        vms: survey.vms,
        ..QueueView::default()
    };
    for (group, waiting) in &survey.groups {
        view.waiting += waiting.n_jobs;
        let of_group = TemplateView {
            n_jobs: waiting.n_jobs,
            oldest: survey.at.since(waiting.oldest_at),
            ..handlers_of(group, handlers)
        };
        let template = view.templates.entry(short(&group.template)).or_default();
        // Of several repositories the handlers of the one whose job is the oldest: age and handlers belong together.
        template.n_jobs += of_group.n_jobs;
        if of_group.oldest >= template.oldest {
            *template = TemplateView { n_jobs: template.n_jobs, ..of_group };
        }
    }
    bound(&mut view.templates);
    view
}

/// Templates come from strangers' labels: only those with the most jobs are named.
fn bound(templates: &mut BTreeMap<String, TemplateView>) {
    let mut by_jobs: Vec<_> = std::mem::take(templates).into_iter().collect();
    sort_by_key(&mut by_jobs, |(_, view)| std::cmp::Reverse(view.n_jobs));
    for (n, (name, view)) in by_jobs.into_iter().enumerate() {
        if n < N_TEMPLATES {
            templates.insert(name, view);
            continue;
        }
        let other = templates.entry(OTHER.to_owned()).or_default();
        other.n_jobs += view.n_jobs;
        other.oldest = other.oldest.max(view.oldest);
    }
}

fn handlers_of(group: &Group, handlers: &[Presence]) -> TemplateView {
    let mut view = TemplateView::default();
    for handler in handlers.iter().filter(|handler| takes(&handler.scope, group)) {
        let on_host = handlers.iter().filter(|other| other.host == handler.host);
        let mut verdicts =
            on_host.flat_map(|other| &other.verdicts).filter(|verdict| verdict.group == *group);
        let is_unable =
            verdicts.clone().any(|verdict| matches!(verdict.because, Because::TooLarge | Because::Template));
        let has_no_room = verdicts
            .any(|verdict| matches!(verdict.because, Because::NoRoom | Because::Pull | Because::NoSlot));
        match (handler.status.as_str(), handler.pause.as_ref().map(|pause| pause.why)) {
            ("draining" | "limit_paused" | "stopped", _) => view.n_unable += 1,
            _ if is_unable => view.n_unable += 1,
            ("idle", None) if !has_no_room => view.n_free += 1,
            ("idle", None | Some(PauseReason::NoSlot | PauseReason::OtherGoesFirst)) => view.n_busy += 1,
            ("idle", Some(_)) => view.n_unable += 1,
            _ => view.n_busy += 1,
        }
    }
    view
}

fn takes(scope: &Scope, group: &Group) -> bool {
    match scope {
        Scope::Repository { owner, repo } => same(owner, &group.owner) && same(repo, &group.repo),
        Scope::Organization { owner } => same(owner, &group.owner),
        // The group does not tell its enterprise; a queue has one.
        Scope::Enterprise { .. } => true,
    }
}

#[cfg(test)]
mod tests {
    use anklet_plugin_api::fake::memory::MemoryStore;
    use anklet_plugin_api::job::{Image, Job, JobId, News, Phase, RunId};
    use anklet_plugin_api::name::{HostId, PluginName};
    use anklet_plugin_api::presence::{Pause, Verdict};
    use anklet_plugin_api::store::Source;
    use anklet_plugin_api::time::Moment;
    use anklet_plugin_api::vm::VmSize;

    use super::*;

    fn news(n: u64, template: &str) -> News {
        let job = Job {
            id: JobId(n),
            run_id: RunId(n),
            run_attempt: 1,
            owner: "acme".to_owned(),
            repo: "app".to_owned(),
            enterprise: None,
            labels: Vec::new(),
            image: Image { template: template.to_owned(), tag: None },
            name: String::new(),
            workflow: String::new(),
            html_url: String::new(),
            created_at: None,
        };
        News { job, phase: Phase::Queued, for_us: true }
    }

    /// An idle handler with this pause, whose host found this of the template `t`.
    fn handler(status: &str, pause: Option<PauseReason>, because: Option<Because>) -> Presence {
        let group = news(1, "t").job.group();
        let verdict = |because| Verdict { group: group.clone(), because, what: String::new(), at: Moment(0) };
        Presence {
            plugin: PluginName::new("HANDLER1"),
            host: HostId::new("host"),
            host_name: String::new(),
            process: String::new(),
            version: String::new(),
            scope: Scope::Organization { owner: "Acme".to_owned() },
            total: VmSize { cpu_cores: 8, memory_bytes: 0 },
            n_slots: 2,
            said_at: Moment(0),
            status: status.to_owned(),
            pause: pause.map(|why| Pause { why, until: None }),
            verdicts: because.map(verdict).into_iter().collect(),
        }
    }

    /// Whoever only waits for the end of other jobs is busy, else a fleet at its limit would look as if nobody could run the template.
    #[test]
    fn handlers_are_free_busy_or_unable() {
        for (status, pause, because, counts) in [
            ("idle", None, None, (1, 0, 0)),
            ("idle", None, Some(Because::Other), (1, 0, 0)),
            ("in_progress", None, None, (0, 1, 0)),
            ("idle", None, Some(Because::NoRoom), (0, 1, 0)),
            ("in_progress", None, Some(Because::NoRoom), (0, 1, 0)),
            ("idle", None, Some(Because::Pull), (0, 1, 0)),
            ("idle", Some(PauseReason::NoSlot), None, (0, 1, 0)),
            ("idle", Some(PauseReason::OtherGoesFirst), None, (0, 1, 0)),
            ("idle", Some(PauseReason::Rests), None, (0, 0, 1)),
            ("in_progress", None, Some(Because::TooLarge), (0, 0, 1)),
            ("idle", None, Some(Because::Template), (0, 0, 1)),
            ("draining", Some(PauseReason::Drained), None, (0, 0, 1)),
            ("limit_paused", None, None, (0, 0, 1)),
        ] {
            let view = handlers_of(&news(1, "t").job.group(), &[handler(status, pause, because)]);
            assert_eq!((view.n_free, view.n_busy, view.n_unable), counts, "{status}, {pause:?}, {because:?}");
        }
    }

    #[test]
    fn templates_are_bounded_and_the_longest_queues_are_named() {
        let store = MemoryStore::default();
        for n in 0..200 {
            store.news(&news(n, &format!("t{n}")), Source::Webhook).unwrap();
        }
        for n in 200..210 {
            store.news(&news(n, "t199"), Source::Webhook).unwrap();
        }
        let view = look(&store).unwrap();
        assert_eq!((view.waiting, view.templates.len()), (210, N_TEMPLATES + 1));
        assert_eq!((view.templates["t199"].n_jobs, view.templates[OTHER].n_jobs), (11, 150));
    }
}
