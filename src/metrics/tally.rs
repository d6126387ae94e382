//! What is counted beside plugins' states: stages, give-backs, calls, store verbs. Every map is bounded, whatever jobs are called.

use std::collections::BTreeMap;
use std::time::Duration;

use anklet_plugin_api::name::PluginName;
use anklet_plugin_api::presence::Because;
use anklet_plugin_api::report::Fact;

/// Templates that have a label value of their own; those that come later share one.
pub(super) const N_TEMPLATES: usize = 50;
/// The label value of all others.
pub(super) const OTHER: &str = "other";
/// A template's name is a stranger's text until a VM is made of it.
const N_LETTERS: usize = 100;

/// Upper bounds of stages' buckets, in seconds.
pub(super) const STAGE_BUCKETS: [f64; 12] =
    [0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 900.0, 1_800.0, 3_600.0];
/// Upper bounds of store verbs' buckets, in seconds.
pub(super) const STORE_BUCKETS: [f64; 8] = [0.001, 0.0025, 0.005, 0.01, 0.05, 0.1, 0.5, 2.5];

/// Everything.
#[derive(Clone, Debug, Default)]
pub(super) struct Tally {
    templates: Vec<String>,
    /// By plugin, template and stage.
    pub(super) stages: BTreeMap<(String, String, &'static str), Histogram<12>>,
    /// By plugin and reason.
    pub(super) given_back: BTreeMap<(String, &'static str), u64>,
    /// By plugin and reason.
    pub(super) cancelled: BTreeMap<(String, &'static str), u64>,
    /// By plugin and resource: the limit and what remains.
    pub(super) budgets: BTreeMap<(String, String), (u64, u64)>,
    /// By plugin and kind of answer.
    pub(super) calls: BTreeMap<(String, &'static str), u64>,
    /// By verb.
    pub(super) verbs: BTreeMap<&'static str, (Histogram<8>, u64)>,
}

/// Values in buckets.
#[derive(Clone, Copy, Debug)]
pub(super) struct Histogram<const N: usize> {
    pub(super) counts: [u64; N],
    pub(super) n: u64,
    pub(super) sum: f64,
}

impl<const N: usize> Default for Histogram<N> {
    fn default() -> Self {
        Self { counts: [0; N], n: 0, sum: 0.0 }
    }
}

impl<const N: usize> Histogram<N> {
    fn add(&mut self, value: Duration, buckets: &[f64; N]) {
        let seconds = value.as_secs_f64();
        self.n += 1;
        self.sum += seconds;
        if let Some(at) = buckets.iter().position(|bound| seconds <= *bound) {
            self.counts[at] += 1;
        }
    }
}

impl Tally {
    pub(super) fn count(&mut self, plugin: &PluginName, fact: &Fact<'_>) {
        let plugin = plugin.to_string();
        match *fact {
            Fact::Stage { template, stage, took } => {
                let template = self.template(template);
                self.stages.entry((plugin, template, stage)).or_default().add(took, &STAGE_BUCKETS);
            }
            Fact::GivenBack(because) => *self.given_back.entry((plugin, reason(because))).or_default() += 1,
            Fact::Cancelled(reason) => *self.cancelled.entry((plugin, reason)).or_default() += 1,
            Fact::Budget { resource, limit, remaining } => {
                self.budgets.insert((plugin, short(resource)), (limit, remaining));
            }
            Fact::GithubCall(status) => *self.calls.entry((plugin, answer(status))).or_default() += 1,
        }
    }

    pub(super) fn verb(&mut self, verb: &'static str, took: Duration, is_failed: bool) {
        let (histogram, n_failed) = self.verbs.entry(verb).or_default();
        histogram.add(took, &STORE_BUCKETS);
        *n_failed += u64::from(is_failed);
    }

    fn template(&mut self, name: &str) -> String {
        let name = short(name);
        if self.templates.contains(&name) {
            return name;
        }
        if self.templates.len() >= N_TEMPLATES {
            return OTHER.to_owned();
        }
        self.templates.push(name.clone());
        name
    }
}

pub(super) fn short(text: &str) -> String {
    text.chars().take(N_LETTERS).collect()
}

fn reason(because: Because) -> &'static str {
    match because {
        Because::Template => "template",
        Because::TooLarge => "too_large",
        Because::NoRoom => "no_room",
        Because::Pull => "pull",
        Because::NoSlot => "no_slot",
        Because::Other => "other",
    }
}

fn answer(status: Option<u16>) -> &'static str {
    match status {
        Some(200..300) => "2xx",
        Some(300..400) => "3xx",
        Some(400..500) => "4xx",
        Some(_) => "5xx",
        None => "none",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_are_bounded_whatever_they_are_called() {
        let (mut tally, plugin) = (Tally::default(), PluginName::new("H"));
        for n in 0..1_000 {
            let template = format!("{n}{}", "x".repeat(300));
            tally
                .count(&plugin, &Fact::Stage { template: &template, stage: "cloning", took: Duration::ZERO });
        }
        assert_eq!(tally.stages.len(), N_TEMPLATES + 1);
        assert!(tally.stages.keys().all(|(_, template, _)| template.len() <= N_LETTERS));
    }
}
