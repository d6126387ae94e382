//! The store away, slow, or hanging: 503 in time, never 2xx for what is not stored, and everything well again afterwards.

use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::scope;
use std::time::{Duration, Instant};

use anklet_plugin_api::fake::memory::{MemoryStore, Verb};
use anklet_plugin_api::section::Section;
use anklet_plugin_api::store::Store;
use anklet_plugin_api::time::Moment;
use log::Level;

use crate::capture::log;
use crate::shapes::{JOB, job, today};
use crate::support::{Answer, Bench, GUID, PATIENCE, SECRET, connect, read_answer, sign, wait_until};

/// While it is shut, every verb of its store hangs.
#[derive(Default)]
struct Gate {
    is_shut: Mutex<bool>,
    changed: Condvar,
}

impl Gate {
    fn set(&self, is_shut: bool) {
        *self.is_shut.lock().unwrap_or_else(PoisonError::into_inner) = is_shut;
        self.changed.notify_all();
    }

    fn pass(&self) {
        let is_shut = self.is_shut.lock().unwrap_or_else(PoisonError::into_inner);
        drop(self.changed.wait_timeout_while(is_shut, PATIENCE, |is_shut| *is_shut));
    }
}

/// A store that asks the gate for the time.
fn gated() -> (Arc<Gate>, Arc<MemoryStore>) {
    let gate = Arc::new(Gate::default());
    let clock = {
        let gate = Arc::clone(&gate);
        move || {
            gate.pass();
            Moment::now()
        }
    };
    (gate, Arc::new(MemoryStore::with_clock(Arc::new(clock))))
}

fn quick(section: &mut Section) {
    section.limits.store_answer = Duration::from_millis(400);
}

#[track_caller]
fn is_503(answer: &Answer) {
    answer.is(503, "deliver again");
    assert_eq!(answer.header("Retry-After"), Some("10"));
}

#[test]
fn a_store_that_is_away_is_a_503() {
    let bench = Bench::start();
    bench.store.fail_next(Verb::News, 1);
    is_503(&bench.deliver_job(&today("queued")));
    let line = bench.log.wait_for("unable to access database");
    assert_eq!((line.level, line.fact("deliveryID")), (Level::Error, GUID));
    assert_eq!(line.number("workflowJobID"), JOB);
    assert!(line.fact("error").contains("as the test planned"));
    assert!(bench.entry(JOB).is_none());
    bench.deliver_job(&today("queued")).is(200, "queued");
}

#[test]
fn a_lost_answer_is_a_503_and_the_redelivery_finds_the_job() {
    let bench = Bench::start();
    bench.store.lose_answers(Verb::News, 1);
    is_503(&bench.deliver_job(&today("queued")));
    bench.deliver_job(&today("queued")).is(200, "already known");
    assert_eq!(bench.counts().queued, 1);
}

#[test]
fn a_store_that_hangs_is_a_503_within_five_seconds() {
    let (gate, store) = gated();
    let bench = Bench::with(store, |_| ());
    gate.set(true);
    let asked_at = Instant::now();
    is_503(&bench.deliver_job(&today("queued")));
    let elapsed = asked_at.elapsed();
    assert!(elapsed > Duration::from_secs(4) && elapsed < Duration::from_secs(9), "{elapsed:?}");
    let line = bench.log.wait_for("unable to access database");
    assert!(line.fact("error").contains("limit"), "{line:?}");
    // It has not been called back: what is stored late is told, and the redelivery finds it.
    gate.set(false);
    bench.log.wait_for("job pushed to queued queue");
    bench.deliver_job(&today("queued")).is(200, "already known");
}

#[test]
fn many_webhooks_at_a_hanging_store_are_all_answered_in_time() {
    const N_WEBHOOKS: u64 = 96;
    let (gate, store) = gated();
    let bench = Bench::with(store, |section| section.limits.store_answer = Duration::from_millis(800));
    gate.set(true);
    let body_of = |id: u64| {
        let mut body = today("queued");
        job(&mut body)["id"] = id.into();
        body
    };
    let asked_at = Instant::now();
    scope(|scope| {
        // Six for each thread: the last ones have waited for a thread for all of the limit.
        for id in 1..=N_WEBHOOKS {
            let (bench, body) = (&bench, body_of(id));
            scope.spawn(move || is_503(&bench.deliver_job(&body)));
        }
    });
    // Generous, for a busy machine; one after another would be nearly five seconds.
    assert!(asked_at.elapsed() < Duration::from_secs(3), "{:?}", asked_at.elapsed());
    bench.ask("GET /healthcheck", &[], b"").is(200, "ok");
    gate.set(false);
    // Those that had a thread at the store are stored late; the others were not even begun.
    bench.log.wait_for("job pushed to queued queue");
    let mut n_tries = 0;
    wait_until("a thread is free again", || {
        n_tries += 1;
        bench.deliver_job(&body_of(1)).status == 200
    });
    let n_begun = bench.store.n_calls(Verb::News) - n_tries;
    assert!((1..=16).contains(&n_begun), "{n_begun}");
    for id in 1..=N_WEBHOOKS {
        bench.deliver_job(&body_of(id)).is(200, "");
    }
    assert_eq!(bench.counts().queued, N_WEBHOOKS);
}

#[test]
fn a_panic_in_the_store_costs_one_answer() {
    let is_ill = Arc::new(AtomicBool::new(true));
    let clock = {
        let is_ill = Arc::clone(&is_ill);
        move || {
            assert!(!is_ill.load(Ordering::SeqCst), "as planned");
            Moment::now()
        }
    };
    let bench = Bench::with(Arc::new(MemoryStore::with_clock(Arc::new(clock))), |_| ());
    // More than there are threads.
    for _ in 0..20 {
        is_503(&bench.deliver_job(&today("queued")));
    }
    assert!(bench.log.wait_for("webhook not stored").fact("error").contains("panic"));
    is_ill.store(false, Ordering::SeqCst);
    bench.deliver_job(&today("queued")).is(200, "queued");
}

#[test]
fn a_stop_does_not_wait_for_a_hanging_store() {
    let (gate, store) = gated();
    let bench = Bench::with(store, quick);
    gate.set(true);
    is_503(&bench.deliver_job(&today("queued")));
    let (log, stopped_at) = (log(bench.log.name()), Instant::now());
    assert!(bench.stop().is_ok());
    assert!(stopped_at.elapsed() < Duration::from_secs(5), "{:?}", stopped_at.elapsed());
    let line = log.wait_for("the store does not answer; what it was told last may or may not be stored");
    assert_eq!(line.level, Level::Error);
    gate.set(false);
}

#[test]
fn a_stop_lets_a_webhook_in_work_finish() {
    let (gate, store) = gated();
    let bench = Bench::with(Arc::clone(&store), |_| ());
    gate.set(true);
    let body = today("queued").to_string();
    let head = format!(
        "POST /jobs/v1/receiver HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\nX-GitHub-Event: workflow_job\r\n\
         X-Hub-Signature-256: {}\r\nContent-Length: {}\r\n\r\n",
        sign(SECRET, body.as_bytes()),
        body.len()
    );
    let mut stream = connect(bench.address);
    stream.write_all((head + &body).as_bytes()).expect("a request is taken");
    bench.log.wait_for("received workflow job to consider");
    scope(|scope| {
        let stopping = scope.spawn(|| bench.stop());
        assert!(stream.set_read_timeout(Some(Duration::from_millis(100))).is_ok());
        assert!(stream.peek(&mut [0; 1]).is_err(), "nothing is answered before it is stored");
        assert!(stream.set_read_timeout(Some(PATIENCE)).is_ok());
        gate.set(false);
        read_answer(&mut stream).is(200, "queued");
        assert!(stopping.join().expect("no panic").is_ok());
    });
    assert_eq!(store.counts().unwrap().queued, 1);
}
