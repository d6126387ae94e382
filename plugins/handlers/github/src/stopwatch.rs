//! How long each stage of a job takes at a handler, for the metrics.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anklet_plugin_api::vm::Stage;

/// One handler's; it has one job at a time.
#[derive(Default)]
pub(crate) struct Stopwatch(Mutex<Option<Lap>>);

struct Lap {
    template: String,
    stage: &'static str,
    began_at: Instant,
}

/// A stage that has ended.
#[derive(Debug, PartialEq)]
pub(crate) struct Took {
    pub(crate) template: String,
    pub(crate) stage: &'static str,
    pub(crate) took: Duration,
}

impl Stopwatch {
    /// A job with this template is claimed: until its VM is made the image is looked for, pulled, and room is waited for.
    pub(crate) fn claimed(&self, template: &str) {
        let template = template.to_ascii_lowercase();
        *self.lock() = Some(Lap { template, stage: "image", began_at: Instant::now() });
    }

    /// The next stage begins, or nothing follows; answers the one that this ends.
    pub(crate) fn next(&self, stage: Option<Stage>) -> Option<Took> {
        let mut lap = self.lock();
        let known = lap.as_ref()?;
        let next = stage.map(name);
        if next == Some(known.stage) {
            return None;
        }
        let (template, began_at) = (known.template.clone(), Instant::now());
        let took = Took {
            template: template.clone(),
            stage: known.stage,
            took: began_at.duration_since(known.began_at),
        };
        *lap = next.map(|stage| Lap { template, stage, began_at });
        Some(took)
    }

    fn lock(&self) -> MutexGuard<'_, Option<Lap>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn name(stage: Stage) -> &'static str {
    match stage {
        Stage::Cloning => "cloning",
        Stage::Starting => "starting",
        Stage::Copying => "copying",
        Stage::Installing => "installing",
        Stage::Registering => "registering",
        Stage::StartingRunner => "starting_runner",
        Stage::Waiting => "waiting",
        Stage::Running => "running",
        Stage::Undoing => "undoing",
        Stage::Deleting => "deleting",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stages_follow_each_other() {
        let watch = Stopwatch::default();
        let next = |stage| watch.next(stage).map(|took| (took.template, took.stage));
        assert_eq!(next(Some(Stage::Deleting)), None, "what an earlier start left is not timed");
        watch.claimed("T1");
        assert_eq!(next(Some(Stage::Cloning)), Some(("t1".to_owned(), "image")));
        assert_eq!(next(Some(Stage::Cloning)), None);
        assert_eq!(next(Some(Stage::Starting)), Some(("t1".to_owned(), "cloning")));
        assert_eq!(next(None), Some(("t1".to_owned(), "starting")));
        assert_eq!(next(None), None);
    }
}
