//! A logger that keeps what each plugin says apart, so that tests can run side by side.

use std::collections::BTreeMap;
use std::sync::{Condvar, Mutex, MutexGuard, Once, PoisonError};
use std::time::Instant;

use anklet_plugin_api::log_context;
use log::kv::{self, Key, Value, VisitSource};
use log::{Level, LevelFilter, Metadata, Record};

use crate::support::PATIENCE;

/// One line of the log.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    pub(crate) level: Level,
    pub(crate) message: String,
    pub(crate) facts: BTreeMap<String, String>,
}

impl Line {
    #[track_caller]
    pub(crate) fn fact(&self, key: &str) -> &str {
        self.facts.get(key).unwrap_or_else(|| panic!("no {key}: {self:?}"))
    }

    #[track_caller]
    pub(crate) fn number(&self, key: &str) -> u64 {
        self.fact(key).parse().unwrap_or_else(|_| panic!("{key} is no number: {self:?}"))
    }
}

/// The lines of one plugin.
pub(crate) struct Log {
    name: String,
    logger: &'static Logger,
}

pub(crate) fn log(name: &str) -> Log {
    static LOGGER: Logger = Logger { lines: Mutex::new(BTreeMap::new()), changed: Condvar::new() };
    static SET: Once = Once::new();
    SET.call_once(|| {
        log::set_logger(&LOGGER).expect("the only logger");
        log::set_max_level(LevelFilter::Debug);
    });
    Log { name: name.to_owned(), logger: &LOGGER }
}

impl Log {
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn lines(&self) -> Vec<Line> {
        self.logger.lock().get(&self.name).cloned().unwrap_or_default()
    }

    /// The first line of this message, as soon as it is there.
    #[track_caller]
    pub(crate) fn wait_for(&self, message: &str) -> Line {
        let end_at = Instant::now() + PATIENCE;
        let mut all = self.logger.lock();
        loop {
            let lines = all.get(&self.name).map(Vec::as_slice).unwrap_or_default();
            if let Some(line) = lines.iter().find(|line| line.message == message) {
                return line.clone();
            }
            let limit = end_at.saturating_duration_since(Instant::now());
            assert!(!limit.is_zero(), "{message:?} was not logged: {lines:#?}");
            all = self.logger.changed.wait_timeout(all, limit).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

/// Keeps lines by the plugin's name.
struct Logger {
    lines: Mutex<BTreeMap<String, Vec<Line>>>,
    changed: Condvar,
}

impl Logger {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Vec<Line>>> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl log::Log for Logger {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("anklet")
    }

    fn log(&self, record: &Record<'_>) {
        let context = log_context::inherit();
        let name = context.attributes().map(|attributes| attributes.name.clone()).unwrap_or_default();
        let mut facts = Facts(BTreeMap::new());
        record.key_values().visit(&mut facts).expect("facts");
        let message = record.args().to_string();
        let line = Line { level: record.level(), message, facts: facts.0 };
        self.lock().entry(name).or_default().push(line);
        self.changed.notify_all();
    }

    fn flush(&self) {}
}

struct Facts(BTreeMap<String, String>);

impl<'kvs> VisitSource<'kvs> for Facts {
    fn visit_pair(&mut self, key: Key<'kvs>, value: Value<'kvs>) -> Result<(), kv::Error> {
        assert!(self.0.insert(key.to_string(), value.to_string()).is_none(), "{key} is there twice");
        Ok(())
    }
}
