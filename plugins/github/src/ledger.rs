//! The ledger of a credential: what GitHub says it has left, and the pause while it has nothing.
//!
//! There is one for each credential in the process, whichever clients use it, since GitHub counts the calls of all of them together.
//! While a ledger is paused no call is made with its credential: callers wait here, under their own ears, and then go on where they were.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anklet_plugin_api::ear::Ear;
use anklet_plugin_api::limits::Limits;
use log::{info, warn};
use ureq::http::HeaderMap;

use crate::budget::{Standing, standing};
use crate::error::RateLimit;
use crate::observer::CallObserver;

/// Calls that are left alone, so that whatever else uses the credential, a person above all, is not locked out by us.
const RESERVE: u64 = 10;
/// No pause is shorter: GitHub's moments are whole seconds.
const LEAST_PAUSE: Duration = Duration::from_secs(1);

/// What one credential has left.
#[derive(Debug, Default)]
pub(crate) struct Ledger(Mutex<Inside>);

#[derive(Debug, Default)]
struct Inside {
    standings: BTreeMap<String, Standing>,
    pause: Option<Pause>,
    /// Limits in a row, no call that was well between them.
    n_limits: u32,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Pause {
    pub(crate) until: Instant,
    said_at: Instant,
}

/// The wait was cut short by the caller's ear.
pub(crate) struct Cut;

impl Ledger {
    /// The ledger of that name in this process; `identity` is never shown.
    pub(crate) fn of(identity: &str) -> Arc<Self> {
        static LEDGERS: Mutex<BTreeMap<String, Arc<Ledger>>> = Mutex::new(BTreeMap::new());
        let mut ledgers = LEDGERS.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(ledgers.entry(identity.to_owned()).or_default())
    }

    /// What the last answer about `resource` said.
    pub(crate) fn standing(&self, resource: &str) -> Option<Standing> {
        self.lock().standings.get(resource).copied()
    }

    /// Takes in what an answer says of the calls that are left; pauses when few are. Answers it, if it says anything.
    pub(crate) fn note(&self, headers: &HeaderMap) -> Option<(String, Standing)> {
        let (resource, standing, until_reset) = standing(headers)?;
        let mut inside = self.lock();
        // A server whose limit is not much more than our reserve is asked until it says no.
        if standing.remaining <= RESERVE && standing.limit > 2 * RESERVE && !until_reset.is_zero() {
            inside.pause(RateLimit::Primary, until_reset + LEAST_PAUSE);
        }
        inside.standings.insert(resource.clone(), standing);
        Some((resource, standing))
    }

    /// GitHub has refused a call for a limit; `wait` is what it said of its end.
    pub(crate) fn limited(&self, limit: RateLimit, wait: Option<Duration>, limits: &Limits) {
        let mut inside = self.lock();
        // Calls that were under way when the pause began hear of the same limit.
        if inside.n_limits == 0 || !inside.is_paused() {
            inside.n_limits += 1;
        }
        let factor = 2u32.saturating_pow(inside.n_limits - 1);
        let grown = |first: Duration| first.saturating_mul(factor).min(limits.secondary_limit_most);
        // What was told may be over before the limit is: whoever presses on is locked out.
        let wait =
            wait.map_or_else(|| grown(limits.secondary_limit_first), |told| told.max(grown(LEAST_PAUSE)));
        inside.pause(limit, wait);
    }

    /// A call was not refused: limits no longer follow each other. One that was under way when a pause began says nothing of that.
    pub(crate) fn well(&self) {
        let mut inside = self.lock();
        if !inside.is_paused() {
            inside.n_limits = 0;
        }
    }

    /// Until when no call is made, if so.
    pub(crate) fn paused_until(&self) -> Option<Instant> {
        self.lock().pause.map(|pause| pause.until).filter(|until| *until > Instant::now())
    }

    /// Waits until calls may be made; answers how long that took.
    pub(crate) fn hold(
        &self,
        ear: &Ear<'_>,
        limits: &Limits,
        observer: Option<&dyn CallObserver>,
    ) -> Result<Duration, Cut> {
        let began_at = Instant::now();
        let mut known_until = None;
        let answer = loop {
            let Some(pause) = self.look(limits.limit_report) else { break Ok(began_at.elapsed()) };
            if known_until.is_none_or(|known| known < pause.until) {
                let by = pause.until.saturating_duration_since(known_until.unwrap_or_else(Instant::now));
                known_until = Some(pause.until);
                if let Some(observer) = observer {
                    observer.paused(by);
                }
            }
            if ear.rest_until(pause.until.min(pause.said_at + limits.limit_report)) {
                break Err(Cut);
            }
        };
        if let (Some(_), Some(observer)) = (known_until, observer) {
            observer.resumed();
        }
        answer
    }

    /// The pause, if it lasts. Whoever comes first when something is to be said says it for all.
    pub(crate) fn look(&self, report_every: Duration) -> Option<Pause> {
        let mut inside = self.lock();
        let pause = inside.pause.as_mut()?;
        let now = Instant::now();
        if pause.until <= now {
            inside.pause = None;
            info!("GitHub API rate limit is over, going on");
            return None;
        }
        if now >= pause.said_at + report_every {
            pause.said_at = now;
            let left = pause.until.duration_since(now).as_secs();
            warn!(seconds_left = left; "still paused for GitHub API rate limit");
        }
        Some(*pause)
    }

    fn lock(&self) -> MutexGuard<'_, Inside> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inside {
    fn is_paused(&self) -> bool {
        self.pause.is_some_and(|pause| pause.until > Instant::now())
    }

    fn pause(&mut self, limit: RateLimit, wait: Duration) {
        let now = Instant::now();
        let until = now + wait;
        match &mut self.pause {
            Some(pause) if pause.until > now => pause.until = pause.until.max(until),
            pause => {
                *pause = Some(Pause { until, said_at: now });
                warn!(limit:% = limit, seconds = wait.as_secs(); "GitHub API rate limit exceeded, pausing until reset");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use anklet_plugin_api::stop::stop;
    use crossbeam_channel::{Sender, unbounded};
    use ureq::http::{HeaderName, HeaderValue};

    use super::*;
    use crate::testing::PATIENCE;

    fn headers(limit: &'static str, remaining: &'static str, reset: &'static str) -> HeaderMap {
        [
            ("date", "Thu, 01 Jan 1970 00:16:40 GMT"),
            ("x-ratelimit-limit", limit),
            ("x-ratelimit-remaining", remaining),
            ("x-ratelimit-reset", reset),
        ]
        .into_iter()
        .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
        .collect()
    }

    #[track_caller]
    fn check_left(ledger: &Ledger, seconds: Option<u64>) {
        let left = ledger.paused_until().map(|until| until.duration_since(Instant::now()));
        let is_so = match (left, seconds) {
            (None, None) => true,
            (Some(left), Some(seconds)) => {
                left <= Duration::from_secs(seconds) && left.as_secs() + 5 >= seconds
            }
            _ => false,
        };
        assert!(is_so, "{left:?} is not {seconds:?}");
    }

    #[test]
    fn the_last_calls_are_kept() {
        let ledger = Ledger::default();
        ledger.note(&headers("5000", "11", "1600"));
        check_left(&ledger, None);
        ledger.note(&headers("15", "5", "1600"));
        check_left(&ledger, None);
        ledger.note(&headers("5000", "10", "990"));
        check_left(&ledger, None);
        ledger.note(&headers("5000", "10", "1600"));
        check_left(&ledger, Some(601));
        assert_eq!(ledger.standing("core").map(|standing| standing.remaining), Some(10));
    }

    #[test]
    fn untold_limits_grow_until_a_call_is_well() {
        let limits = Limits::default();
        let wait = |ledger: &Ledger| {
            ledger.0.lock().unwrap().pause = None;
            // Whoever asks at the same time is refused too.
            (0..4).for_each(|_| ledger.limited(RateLimit::Secondary, None, &limits));
            ledger.paused_until().unwrap().duration_since(Instant::now()).as_secs() + 1
        };
        let ledger = Ledger::default();
        assert_eq!([(); 6].map(|()| wait(&ledger)), [60, 120, 240, 480, 900, 900]);
        // This one was asked before the pause.
        ledger.well();
        assert_eq!(wait(&ledger), 900);
        ledger.0.lock().unwrap().pause = None;
        ledger.well();
        assert_eq!(wait(&ledger), 60);
        ledger.limited(RateLimit::Secondary, Some(Duration::from_secs(7)), &limits);
        check_left(&ledger, Some(60));
    }

    #[test]
    fn a_limit_that_outlasts_what_was_told_is_not_pressed() {
        let limits = Limits::default();
        let ledger = Ledger::default();
        let wait = |told: u64| {
            ledger.0.lock().unwrap().pause = None;
            ledger.limited(RateLimit::Primary, Some(Duration::from_secs(told)), &limits);
            ledger.paused_until().unwrap().duration_since(Instant::now()).as_secs() + 1
        };
        assert_eq!([0, 1, 1, 30, 0].map(wait), [1, 2, 4, 30, 16]);
        assert_eq!((0..20).map(|_| wait(0)).max(), Some(900));
    }

    #[test]
    fn one_ledger_for_each_identity() {
        assert!(Arc::ptr_eq(&Ledger::of("one of the test"), &Ledger::of("one of the test")));
        assert!(!Arc::ptr_eq(&Ledger::of("one of the test"), &Ledger::of("another of the test")));
    }

    struct Observer(Sender<Duration>, AtomicUsize);

    impl CallObserver for Observer {
        fn called(&self, _: crate::error::CallName, _: Option<u16>, _: Duration) {}

        fn paused(&self, by: Duration) {
            self.0.send(by).unwrap();
        }

        fn resumed(&self) {
            self.1.fetch_add(1, Ordering::SeqCst);
        }
    }

    #[test]
    fn a_wait_ends_with_the_pause_or_the_ear() {
        let (sender, paused) = unbounded();
        let observer = Observer(sender, AtomicUsize::new(0));
        let limits = Limits { limit_report: Duration::from_millis(300), ..Limits::default() };
        let ledger = Ledger::default();
        assert!(ledger.hold(&Ear::deaf(), &limits, Some(&observer)).is_ok_and(|took| took < PATIENCE));
        assert!(paused.is_empty() && observer.1.load(Ordering::SeqCst) == 0);
        ledger.limited(RateLimit::Primary, Some(Duration::from_secs(1)), &limits);
        let took = ledger.hold(&Ear::deaf(), &limits, Some(&observer)).ok().unwrap();
        assert!(took >= Duration::from_millis(900) && paused.recv().unwrap() <= Duration::from_secs(1));
        assert_eq!(observer.1.load(Ordering::SeqCst), 1);

        ledger.limited(RateLimit::Primary, Some(PATIENCE * 100), &limits);
        let (stopper, stop) = stop();
        let began_at = Instant::now();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                paused.recv_timeout(PATIENCE).unwrap();
                drop(stopper);
            });
            assert!(ledger.hold(&Ear::to_stop(&stop), &limits, Some(&observer)).is_err());
        });
        assert!(began_at.elapsed() < PATIENCE && observer.1.load(Ordering::SeqCst) == 2);
    }
}
