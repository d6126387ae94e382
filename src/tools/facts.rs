//! What the commands know of a queue's handlers: the notices that they keep up, and the jobs that they hold.

use std::time::Duration;

use anklet_plugin_api::job::Job;
use anklet_plugin_api::name::{HostId, PluginName};
use anklet_plugin_api::presence::{HANDLER_PREFIX, PauseReason, Presence, RECEIVER_PREFIX, Verdict};
use anklet_plugin_api::sorted::sort_by;
use anklet_plugin_api::store::{Entry, Notice, Place, Spot, Survey};
use anklet_plugin_api::time::Moment;

use super::ToolError;
use super::queues::Queue;
use crate::host::process::process_is_gone;

/// Jobs in hand that are looked at: a queue has not so many handlers.
const N_CLAIMED: usize = 1_000;

/// A verdict is worth something for as long as handlers themselves believe theirs.
const VERDICT_LIFE: Duration = Duration::from_secs(600);

/// A plugin as it showed itself last.
pub(super) struct Seen {
    pub(super) presence: Presence,
    /// Since when it says so, by the store's clock.
    pub(super) since: Moment,
    /// Its process has ended, which only its own host can tell.
    pub(super) is_gone: bool,
}

/// A queue's handlers and what they hold.
pub(super) struct Facts {
    /// The store's now.
    pub(super) at: Moment,
    pub(super) survey: Survey,
    pub(super) handlers: Vec<Seen>,
    pub(super) receivers: Vec<Seen>,
    /// Every job in hand.
    pub(super) claimed: Vec<Entry>,
}

impl Facts {
    pub(super) fn gather(queue: &Queue) -> Result<Self, ToolError> {
        let failed = |error| ToolError::store(&error, &queue.name);
        let survey = queue.store.survey().map_err(failed)?;
        let claimed = queue.store.list(Spot::Claimed, N_CLAIMED).map_err(failed)?;
        let notices = |prefix| queue.store.notices(prefix).map_err(failed);
        Ok(Self {
            at: survey.at,
            survey,
            handlers: seen(notices(HANDLER_PREFIX)?, queue.own_host.as_ref()),
            receivers: seen(notices(RECEIVER_PREFIX)?, queue.own_host.as_ref()),
            claimed,
        })
    }

    /// The job that a handler holds.
    pub(super) fn held_by(&self, plugin: &PluginName) -> Option<&Entry> {
        self.claimed
            .iter()
            .find(|entry| matches!(&entry.place, Place::Claimed { handler, .. } if handler == plugin))
    }

    /// The jobs in hand on a host.
    pub(super) fn on_host<'a>(&'a self, id: &'a HostId) -> impl Iterator<Item = &'a Entry> {
        self.claimed
            .iter()
            .filter(move |entry| matches!(&entry.place, Place::Claimed { host, .. } if host == id))
    }

    /// The handlers that take such jobs.
    pub(super) fn eligible<'a>(&'a self, job: &'a Job) -> impl Iterator<Item = &'a Seen> {
        self.handlers.iter().filter(|seen| seen.presence.scope.covers(job))
    }

    /// A host's name, as far as one of its handlers has said it.
    pub(super) fn host_name(&self, id: &HostId) -> String {
        let all = self.handlers.iter().chain(&self.receivers);
        let known = all.map(|seen| &seen.presence).find(|presence| presence.host == *id);
        known.map_or_else(|| id.to_string(), |presence| presence.host_name.clone())
    }

    /// What a host's handlers found of the job's group last, if it is not too long ago; and when that was, by the store's clock.
    pub(super) fn verdict(&self, host: &HostId, job: &Job) -> Option<(&Verdict, Moment)> {
        let group = job.group();
        let on_host = self.handlers.iter().filter(|seen| seen.presence.host == *host);
        let of_group = on_host.flat_map(|seen| {
            let found = seen.presence.verdicts.iter().filter(|verdict| verdict.group == group);
            found.map(|verdict| (verdict, seen.set_right(verdict.at)))
        });
        of_group.filter(|(_, at)| self.at.since(*at) < VERDICT_LIFE).max_by_key(|(_, at)| *at)
    }
}

impl Seen {
    /// A moment of the plugin's host by the store's clock.
    pub(super) fn set_right(&self, moment: Moment) -> Moment {
        Moment(moment.0.saturating_sub(self.presence.said_at.0).saturating_add(self.since.0))
    }

    /// Why it takes nothing, and until when.
    pub(super) fn pause(&self) -> Option<(PauseReason, Option<Moment>)> {
        let pause = self.presence.pause.as_ref();
        pause.map(|pause| (pause.why, pause.until.map(|until| self.set_right(until))))
    }
}

/// What cannot be read was written by a newer anklet, and is left out.
fn seen(notices: Vec<Notice>, own_host: Option<&HostId>) -> Vec<Seen> {
    let read = |notice: Notice| {
        let presence: Presence = serde_json::from_str(&notice.text).ok()?;
        let is_gone = own_host == Some(&presence.host) && process_is_gone(&presence.process);
        Some(Seen { presence, since: notice.since, is_gone })
    };
    let mut seen: Vec<_> = notices.into_iter().filter_map(read).collect();
    sort_by(&mut seen, |one, other| {
        let key = |seen: &Seen| (seen.presence.host_name.clone(), seen.presence.plugin.clone());
        key(one).cmp(&key(other))
    });
    seen
}
