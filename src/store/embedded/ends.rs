//! How a claim ends, and what that leaves of the job. No SQL here.

use anklet_plugin_api::job::{Conclusion, Phase};
use anklet_plugin_api::store::{Counted, GiveBack};
use anklet_plugin_api::time::Moment;

use super::changes::Changes;
use super::document::{Spot, StoredJob};

/// The job goes back to its group, now or when it is due; unless GitHub has started or ended it meanwhile.
pub(super) fn give_back(mut job: StoredJob, how: &GiveBack, now: Moment) -> Changes {
    let mut changes = Changes::default();
    job.note_of_hold(now, format!("given back: {}", how.reason));
    let Some(hold) = job.take_hold() else { return changes };
    if job.phase != Phase::Queued {
        changes.let_go(job);
        return changes;
    }
    job.add_reason(&how.reason);
    let host = job.hosts.entry(hold.host).or_default();
    match how.host_avoids {
        Some(avoids) => {
            host.failures = host.failures.saturating_add(1);
            host.avoid_until = now.after(avoids);
        }
        None => {
            host.failures = 0;
            host.avoid_until = Moment::default();
        }
    }
    let counts = match how.counted {
        Counted::Yes => true,
        Counted::No => false,
        Counted::OncePerHost => !std::mem::replace(&mut host.counted_once, true),
    };
    job.hosts.retain(|_, host| *host != Default::default());
    if !counts {
        job.uncount();
    }
    let until = now.after(how.hold);
    if until > now {
        job.spot = Spot::Held { until };
    } else {
        job.spot = Spot::Queued;
    }
    // Told also of a held job, so that whoever waits learns when it is due.
    changes.tell_all();
    changes.put(job);
    changes
}

/// Nobody holds the job any more; where it goes is for its phase to say.
pub(super) fn leave_running(mut job: StoredJob, now: Moment) -> Changes {
    let mut changes = Changes::default();
    job.note_of_hold(now, "left running");
    if job.take_hold().is_some() {
        changes.let_go(job);
    }
    changes
}

/// The job is over: the entry goes, a tombstone stays.
pub(super) fn finish(mut job: StoredJob, conclusion: &Conclusion, now: Moment) -> Changes {
    if !matches!(job.phase, Phase::Completed { .. }) {
        let runner = job.phase.runner().map(str::to_owned);
        job.phase = Phase::Completed { conclusion: conclusion.clone(), runner };
        job.note(now, "completed", None);
    }
    Changes { tombstone: Some(job.job.clone()), removed: vec![job], ..Changes::default() }
}
