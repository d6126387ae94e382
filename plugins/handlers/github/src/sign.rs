//! The sign at the handler's door: what it does and why it takes nothing, put up in the queue where the command-line tools read it.
//!
//! Nothing waits for it: the heartbeat writes it down a moment later, and only what has changed.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anklet_plugin_api::job::{Conclusion, Group};
use anklet_plugin_api::name::PluginName;
use anklet_plugin_api::plugin::Services;
use anklet_plugin_api::presence::{Because, HANDLER_PREFIX, Pause, PauseReason, Presence, Verdict};
use anklet_plugin_api::report::{Fact, Report, Status};
use anklet_plugin_api::section::Section;
use anklet_plugin_api::time::Moment;

/// Verdicts kept; the oldest goes first.
const N_VERDICTS: usize = 16;

/// A verdict's words are cut to so many characters.
const N_WORDS: usize = 300;

/// What a handler says of itself.
pub(crate) struct Sign {
    presence: Mutex<Presence>,
    put_up: Box<dyn Fn(String) + Send + Sync>,
}

impl Sign {
    /// A sign that says that the handler is idle; put up at the first change.
    pub(crate) fn new(section: &Section, services: &Services) -> Self {
        let presence = Presence {
            plugin: section.name.clone(),
            host: services.host.id().clone(),
            host_name: services.host.name(),
            process: services.lessee.process.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            scope: section.scope.clone(),
            total: services.host.totals(),
            n_slots: services.host.n_slots(),
            said_at: Moment::now(),
            status: String::new(),
            pause: None,
            verdicts: Vec::new(),
        };
        let (heartbeats, store) = (services.heartbeats.clone(), Arc::clone(&services.store));
        let (key, life) = (format!("{HANDLER_PREFIX}{}", section.name), section.claim_life);
        let put_up = Box::new(move |text| heartbeats.say(&store, &key, text, life));
        Self { presence: Mutex::new(presence), put_up }
    }

    /// The handler takes nothing, or takes jobs again. An end that moves by less than a second is the same.
    pub(crate) fn pause(&self, pause: Option<(PauseReason, Option<Instant>)>) {
        let moment = |until: Instant| Moment::now().after(until.saturating_duration_since(Instant::now()));
        let pause = pause.map(|(why, until)| Pause { why, until: until.map(moment) });
        self.change(|presence| {
            let is_same = match (&presence.pause, &pause) {
                (Some(known), Some(new)) => {
                    let ends = [known.until, new.until].map(|until| until.map_or(0, |until| until.0));
                    known.why == new.why && ends[0].abs_diff(ends[1]) < 1_000
                }
                (known, new) => known == new,
            };
            if !is_same {
                presence.pause = pause;
            }
        });
    }

    /// A job of the group could not be run here.
    pub(crate) fn hinders(&self, group: &Group, because: Because, what: &str) {
        let what = what.chars().take(N_WORDS).collect();
        self.change(|presence| {
            presence.verdicts.retain(|verdict| verdict.group != *group);
            presence.verdicts.push(Verdict { group: group.clone(), because, what, at: Moment::now() });
            let n_over = presence.verdicts.len().saturating_sub(N_VERDICTS);
            presence.verdicts.drain(..n_over);
        });
    }

    /// A job of the group runs here; and what was found longer than `life` ago may have changed.
    pub(crate) fn runs(&self, group: &Group, life: Duration) {
        let oldest = Moment::now().before(life);
        self.change(|presence| {
            presence.verdicts.retain(|verdict| verdict.group != *group && verdict.at > oldest);
        });
    }

    fn status(&self, status: Status) {
        self.change(|presence| {
            presence.status = status.to_string();
            if !matches!(status, Status::Idle | Status::Draining | Status::LimitPaused) {
                presence.pause = None;
            }
        });
    }

    fn change(&self, change: impl FnOnce(&mut Presence)) {
        let mut presence = self.presence.lock().unwrap_or_else(PoisonError::into_inner);
        let before = presence.clone();
        change(&mut presence);
        if *presence != before {
            presence.said_at = Moment::now();
            // Our own type has text keys and no way to fail.
            (self.put_up)(serde_json::to_string(&*presence).unwrap_or_default());
        }
    }
}

/// Tells the metrics, and changes the sign.
pub(crate) struct SignedReport {
    pub(crate) report: Arc<dyn Report>,
    pub(crate) sign: Arc<Sign>,
}

impl Report for SignedReport {
    fn status(&self, plugin: &PluginName, status: Status) {
        self.report.status(plugin, status);
        self.sign.status(status);
    }

    fn vm_started(&self, plugin: &PluginName) {
        self.report.vm_started(plugin);
    }

    fn ended(&self, plugin: &PluginName, conclusion: &Conclusion, html_url: &str) {
        self.report.ended(plugin, conclusion, html_url);
    }

    fn count(&self, plugin: &PluginName, fact: &Fact<'_>) {
        self.report.count(plugin, fact);
    }
}
