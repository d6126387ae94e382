//! Looks at a log of our own making, with a clock of our own: how many calls they cost in a month, and that they find all.

use std::collections::VecDeque;
use std::sync::Mutex;

use anklet_github::deliveries::DeliveryPage;
use anklet_github::error::CallName;
use anklet_github::wire::{JobState, webhook};
use anklet_plugin_api::fake::host::lessee;
use anklet_plugin_api::fake::memory::MemoryStore;
use anklet_plugin_api::job::Job;
use anklet_plugin_api::stop::{Stopper, stop};
use crossbeam_channel::{bounded, never};

use super::*;

const DAY: Duration = Duration::from_secs(24 * 3_600);
const LOOK_EVERY: Duration = Duration::from_secs(600);
const LOOKS_AN_HOUR: usize = 6;
/// 100,000 deliveries a day.
const N_DELIVERIES_A_LOOK: u64 = 694;
const CALL: CallName = CallName { method: "GET", path: "/hooks" };

/// The events of a job.
const ACTIONS: [&str; 3] = ["queued", "in_progress", "completed"];

/// What the receiver makes of the n-th event, at the n-th try from 0.
type Fate = fn(n_event: u64, n_try: usize) -> bool;

/// GitHub's log, and what its deliveries come to.
struct Book {
    now: Moment,
    n_events: u64,
    next_id: u64,
    deliveries: VecDeque<Delivery>,
    tries: BTreeMap<String, usize>,
    fate: Fate,
    store: Arc<dyn Store>,
    /// Deliveries whose word cannot be read.
    unreadable: BTreeSet<String>,
    /// Wishes that something on the way to GitHub answers, once each.
    garbled: BTreeSet<String>,
    n_pages: usize,
    n_calls: usize,
    sent_again: Vec<String>,
}

#[derive(Clone)]
struct BookLog(Arc<Mutex<Book>>);

/// Three events a job: `queued`, `in_progress`, `completed`.
fn body(n_event: u64) -> String {
    let (job, action) = (n_event / 3 + 1, ACTIONS[(n_event % 3) as usize]);
    format!(
        r#"{{"action":"{action}","workflow_job":{{"id":{job},"run_id":{job},"labels":["anka-template:U"],"runner_name":"vm-{job}"}},
        "repository":{{"name":"r","owner":{{"login":"o"}}}}}}"#
    )
}

impl Book {
    fn deliver(&mut self, guid: String, is_redelivery: bool) {
        let n_event = guid[1..].parse().unwrap();
        let n_try = self.tries.entry(guid.clone()).or_default();
        let is_ok = (self.fate)(n_event, *n_try);
        *n_try += 1;
        if is_ok {
            self.tries.remove(&guid);
        }
        if is_ok && is_redelivery {
            let Ok(Webhook::News(news)) = webhook(body(n_event).as_bytes()) else { panic!() };
            self.store.news(&news, Source::Webhook).unwrap();
        }
        self.next_id += 1;
        let (id, delivered_at) = (self.next_id, self.now);
        let action = ACTIONS[(n_event % 3) as usize].to_owned();
        let is_job = true;
        self.deliveries.push_back(Delivery { id, guid, delivered_at, is_ok, is_job, action, is_redelivery });
    }

    /// Time goes on, with so many events.
    fn go_on(&mut self, by: Duration, n_events: u64) {
        let began_at = self.now;
        for n in 1..=n_events {
            self.now = began_at.after(by.mul_f64(n as f64 / n_events as f64));
            let guid = format!("g{}", self.n_events);
            self.n_events += 1;
            self.deliver(guid, false);
        }
        self.now = began_at.after(by);
        // GitHub's own log ends too.
        while self.deliveries.front().is_some_and(|it| it.delivered_at < began_at.before(2 * DAY)) {
            self.deliveries.pop_front();
        }
    }
}

impl Log for BookLog {
    fn page(&self, at: Option<&str>, _: &Ear) -> Result<DeliveryPage, ClientError> {
        let mut book = self.0.lock().unwrap();
        (book.n_pages, book.n_calls) = (book.n_pages + 1, book.n_calls + 1);
        let before = at.map_or(u64::MAX, |at| at.parse().unwrap());
        let end = book.deliveries.partition_point(|it| it.id < before);
        let begin = end.saturating_sub(100);
        let deliveries: Vec<_> = book.deliveries.range(begin..end).rev().cloned().collect();
        let next = (begin > 0).then(|| deliveries.last().unwrap().id.to_string());
        Ok(DeliveryPage { deliveries, next })
    }

    fn said(&self, id: u64, _: &Ear) -> Result<Option<Webhook>, ClientError> {
        let mut book = self.0.lock().unwrap();
        book.n_calls += 1;
        let i = book.deliveries.partition_point(|it| it.id < id);
        let Some(delivery) = book.deliveries.get(i) else { return Ok(None) };
        if book.unreadable.contains(&delivery.guid) {
            return Err(ClientError::Nonsense { call: CALL, what: "too large".to_owned() });
        }
        Ok(webhook(body(delivery.guid[1..].parse().unwrap()).as_bytes()).ok())
    }

    fn send_again(&self, id: u64, _: &Ear) -> Result<bool, ClientError> {
        let mut book = self.0.lock().unwrap();
        book.n_calls += 1;
        let i = book.deliveries.partition_point(|it| it.id < id);
        let guid = book.deliveries[i].guid.clone();
        if book.garbled.remove(&guid) {
            return Err(ClientError::Nonsense { call: CALL, what: "a login page".to_owned() });
        }
        book.sent_again.push(guid.clone());
        book.deliver(guid, true);
        Ok(true)
    }

    fn job_state(&self, _: &Job, _: &Ear) -> Result<JobState, ClientError> {
        self.0.lock().unwrap().n_calls += 1;
        Err(ClientError::Cut { call: CALL })
    }

    fn what_to_mend(&self, _: &ClientError) -> Option<String> {
        None
    }

    fn hourly_limit(&self) -> Option<u64> {
        Some(5_000)
    }
}

/// A redeliverer in front of a book, and what it remembers.
struct Bench {
    book: Arc<Mutex<Book>>,
    redeliverer: Redeliverer,
    known: Known,
    _stopper: Stopper,
}

/// What one look cost.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Cost {
    n_pages: usize,
    n_calls: usize,
    n_sent: usize,
}

impl Bench {
    fn new(fate: Fate) -> Self {
        let begin = Moment(1_800_000_000_000);
        let clock = Arc::new(Mutex::new(begin));
        let at = Arc::clone(&clock);
        let store: Arc<dyn Store> = Arc::new(MemoryStore::with_clock(Arc::new(move || *at.lock().unwrap())));
        let book = Arc::new(Mutex::new(Book {
            now: begin,
            n_events: 0,
            next_id: 0,
            deliveries: VecDeque::new(),
            tries: BTreeMap::new(),
            fate,
            store: Arc::clone(&store),
            unreadable: BTreeSet::new(),
            garbled: BTreeSet::new(),
            n_pages: 0,
            n_calls: 0,
            sent_again: Vec::new(),
        }));
        let (stopper, stop) = stop();
        let redeliverer = Redeliverer {
            log: Meter::new(Box::new(BookLog(Arc::clone(&book)))),
            hook: "1".to_owned(),
            store,
            heartbeats: Heartbeats::default(),
            lease: lessee().lease("hook/1".to_owned(), DAY),
            limits: Limits { redeliver_pace: Duration::ZERO, ..Limits::default() },
            window: DAY,
            stop,
            wrong: bounded(1).0,
            refusals: never(),
            interruptions: never(),
        };
        Self { book, redeliverer, known: Known::default(), _stopper: stopper }
    }

    fn go_on(&self, n_events: u64) {
        self.book.lock().unwrap().go_on(LOOK_EVERY, n_events);
    }

    fn look(&mut self) -> Cost {
        let cost = |book: &Book| (book.n_pages, book.n_calls, book.sent_again.len(), book.now);
        let (n_pages, n_calls, n_sent, now) = cost(&self.book.lock().unwrap());
        self.redeliverer.look(&mut self.known, now).unwrap();
        let after = cost(&self.book.lock().unwrap());
        Cost { n_pages: after.0 - n_pages, n_calls: after.1 - n_calls, n_sent: after.2 - n_sent }
    }

    /// How many events have not arrived.
    fn n_missing(&self) -> usize {
        self.book.lock().unwrap().tries.len()
    }

    fn n_sent_again(&self, guid: &str) -> usize {
        self.book.lock().unwrap().sent_again.iter().filter(|it| *it == guid).count()
    }
}

fn most_an_hour(costs: &[Cost]) -> usize {
    let hours = costs.windows(LOOKS_AN_HOUR).map(|hour| hour.iter().map(|cost| cost.n_calls).sum());
    hours.max().unwrap()
}

/// One in 500 fails, and one in ten of those four times in a row. One event in 100,000 is never taken.
fn usual(n_event: u64, n_try: usize) -> bool {
    match n_event {
        _ if n_event % 100_000 == 77_500 => false,
        _ if n_event.is_multiple_of(5_000) => n_try > 3,
        _ if n_event.is_multiple_of(500) => n_try > 0,
        _ => true,
    }
}

#[test]
fn days_of_a_busy_organization_cost_little() {
    check_days(2);
}

#[test]
#[ignore = "long: see tests/long"]
fn a_month_of_a_busy_organization_costs_little() {
    check_days(30);
}

fn check_days(n_days: usize) {
    let mut bench = Bench::new(usual);
    let mut costs = Vec::new();
    for _ in 0..n_days * 24 * LOOKS_AN_HOUR {
        bench.go_on(N_DELIVERIES_A_LOOK);
        costs.push(bench.look());
    }
    let n_events = bench.book.lock().unwrap().n_events;
    let (most, n_sent) = (most_an_hour(&costs), costs.iter().map(|cost| cost.n_sent).sum::<usize>());
    println!("{n_events} deliveries: {n_sent} redeliveries, at most {most} calls an hour");
    assert!(most < 90, "{most} calls in an hour");
    // All have arrived but the one a day that never does; that is asked for once a look for a day.
    let n_stubborn = usize::try_from(n_events / 100_000).unwrap();
    assert!(bench.n_missing() <= n_stubborn + 2, "{} are missing", bench.n_missing());
    let n_asked = bench.n_sent_again("g77500");
    assert!((140..=145).contains(&n_asked), "{n_asked}");
    assert_eq!(
        (bench.n_sent_again("g500"), bench.n_sent_again("g5000"), bench.n_sent_again("g501")),
        (1, 4, 0)
    );
}

/// While the receiver was away, an hour's deliveries failed: all are asked for, each once and the oldest first, within the window
/// of a day, and no hour costs more than a tenth of what GitHub allows.
#[test]
fn an_hours_outage_is_made_up_for() {
    let mut bench = Bench::new(|n_event, n_try| n_try > 0 || n_event >= 6 * N_DELIVERIES_A_LOOK);
    (0..LOOKS_AN_HOUR).for_each(|_| bench.go_on(N_DELIVERIES_A_LOOK));
    assert_eq!(bench.n_missing(), 4_164);
    let mut costs = Vec::new();
    while bench.n_missing() > 0 {
        costs.push(bench.look());
        bench.go_on(N_DELIVERIES_A_LOOK);
        assert!(costs.len() < 22 * LOOKS_AN_HOUR, "{} are missing after 22 hours", bench.n_missing());
    }
    println!("{} looks, at most {} calls an hour", costs.len(), most_an_hour(&costs));
    assert!(costs.iter().all(|cost| cost.n_sent <= MOST_REDELIVERIES && cost.n_pages <= MOST_PAGES));
    assert!((450..=500).contains(&most_an_hour(&costs)), "{} calls in an hour", most_an_hour(&costs));
    let sent = std::mem::take(&mut bench.book.lock().unwrap().sent_again);
    assert!(sent.is_sorted_by_key(|guid| guid[1..].parse::<u64>().unwrap()));
    let once: BTreeSet<_> = sent.iter().collect();
    assert_eq!((sent.len(), once.len()), (4_164, 4_164));
}

/// A receiver that was off for a day reads its whole window, eighty pages a look, and then only what is new.
#[test]
fn the_whole_window_is_read_in_turns() {
    // It failed 200 minutes after the window began: that moves on while its log is read.
    let mut bench = Bench::new(|n_event, n_try| n_try > 0 || n_event != 13_885);
    (0..24 * LOOKS_AN_HOUR - 1).for_each(|_| bench.go_on(N_DELIVERIES_A_LOOK));
    let mut costs = Vec::new();
    while bench.n_missing() > 0 {
        costs.push(bench.look());
        bench.go_on(0);
        assert!(costs.len() < 20);
    }
    assert_eq!(costs.len(), 11, "854 pages");
    assert!(most_an_hour(&costs) <= 500);
    costs.push(bench.look());
    assert!(costs.iter().all(|cost| cost.n_pages <= MOST_PAGES));
    bench.go_on(N_DELIVERIES_A_LOOK);
    let next = bench.look();
    assert!(next.n_pages <= 9 && next.n_sent == 0, "{next:?}");
}

/// Many that are never taken keep nothing else waiting, and what cannot be read is no end of the look.
#[test]
fn nothing_keeps_others_waiting() {
    let mut bench = Bench::new(|n_event, n_try| n_event >= 200 || n_event == 150 && n_try > 0);
    bench.book.lock().unwrap().unreadable.insert("g0".to_owned());
    bench.go_on(200);
    let costs: Vec<_> = (0..3).map(|_| bench.look()).collect();
    assert!(costs.iter().all(|cost| cost.n_sent <= MOST_REDELIVERIES));
    assert_eq!((bench.n_sent_again("g150"), bench.n_sent_again("g0")), (1, 0));
    assert!(bench.n_missing() == 199 && bench.n_sent_again("g199") == 1);
    bench.book.lock().unwrap().unreadable.clear();
    for _ in 0..12 {
        bench.go_on(0);
        bench.look();
    }
    assert!(bench.n_sent_again("g0") > 0);
}

/// What is no answer of GitHub's ends neither the look nor the hope for a redelivery.
#[test]
fn a_garbled_answer_is_no_refusal() {
    let mut bench = Bench::new(|n_event, n_try| n_event > 1 || n_try > 0);
    bench.book.lock().unwrap().garbled.insert("g0".to_owned());
    bench.go_on(10);
    bench.look();
    assert_eq!((bench.n_sent_again("g0"), bench.n_sent_again("g1")), (0, 1));
    bench.go_on(10);
    bench.look();
    assert_eq!((bench.n_sent_again("g0"), bench.n_missing()), (1, 0));
}

/// A look holds little, however many deliveries it reads: of those that arrived it keeps only what was sent again.
#[test]
fn a_look_keeps_nothing_of_what_arrived_at_once() {
    let delivery = |id: u64, guid: &str, is_ok, is_redelivery| Delivery {
        id,
        guid: guid.to_owned(),
        delivered_at: Moment(1_000_000),
        is_ok,
        is_job: true,
        action: "queued".to_owned(),
        is_redelivery,
    };
    let (mut seen, mut progress) = (Seen::default(), Progress::read(None, Moment(0)));
    for id in 10..8_000 {
        seen.take_in(delivery(id, &format!("g{id}"), true, false), &mut progress);
    }
    assert_eq!((seen.delivered.len(), seen.last_tries.len()), (0, 0));
    // Newest first, as the log is: the second try of one event arrived, that of another did not.
    for (id, guid, is_ok, is_redelivery) in
        [(5, "a", true, true), (4, "b", false, true), (3, "b", false, false), (2, "a", false, false)]
    {
        seen.take_in(delivery(id, guid, is_ok, is_redelivery), &mut progress);
    }
    let failed: Vec<_> = progress.failed.iter().map(|(guid, failed)| (guid.as_str(), failed.id)).collect();
    assert_eq!(failed, [("b", 4)]);
}
