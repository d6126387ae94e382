//! What wakes the handlers of this process: one subscription for all its queues, in a thread of its own.
//!
//! Messages are lost while the subscription is. So everybody looks once when it stands again, and a handler never waits for it alone.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use anklet_plugin_api::job::Conclusion;
use anklet_plugin_api::name::{PluginName, VmName};
use anklet_plugin_api::store::JobSignal;
use crossbeam_channel::{Receiver, Sender, bounded};
use log::{debug, warn};
use redis::{Connection, RedisError, Value, cmd};
use serde::Deserialize;

use super::link::{Link, LinkError};
use super::reply;
use crate::store::signals::{Listeners, Signal};

/// What the server is asked with. After a silence the client drops the next reply, since it takes it for a late one: so two are asked for, and
/// if the first is heard, news was dropped in its place.
const DROPPED: &str = "dropped";
const HEARD: &str = "heard";

/// The thread, and what it shares with those who wait for its news.
pub(super) struct News {
    shared: Arc<Shared>,
    stopper: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    link: Arc<Link>,
    /// Channel → queue.
    queues: HashMap<String, String>,
    listeners: Listeners<String>,
    stopping: AtomicBool,
    stands: Mutex<bool>,
    /// It does not stand for the first time.
    was_cut: AtomicBool,
    changed: Condvar,
    /// Tells this process's own messages to its thread.
    token: String,
    silence_limit: Duration,
}

/// A message as the scripts write it.
#[derive(Deserialize)]
struct Message {
    is: String,
    to: Option<String>,
    job: Option<String>,
    concl: Option<String>,
    vm: Option<String>,
}

/// Why the thread stops listening to a connection.
enum Ended {
    Stopped,
    Away(LinkError),
}

impl News {
    /// Starts the thread. `queues` maps channels to queues.
    pub(super) fn start(
        link: Arc<Link>,
        queues: HashMap<String, String>,
        token: String,
        silence_limit: Duration,
    ) -> std::io::Result<Self> {
        let shared = Arc::new(Shared {
            link,
            queues,
            listeners: Listeners::default(),
            stopping: AtomicBool::new(false),
            stands: Mutex::new(false),
            was_cut: AtomicBool::new(false),
            changed: Condvar::new(),
            token,
            silence_limit,
        });
        let (stopper, stop) = bounded(0);
        let for_thread = Arc::clone(&shared);
        let thread = Builder::new().name("store news".to_owned()).spawn(move || for_thread.run(&stop))?;
        Ok(Self { shared, stopper: Some(stopper), thread: Some(thread) })
    }

    pub(super) fn subscribe(&self, queue: &str, handler: &PluginName) -> Receiver<JobSignal> {
        self.shared.listeners.add(queue.to_owned(), handler)
    }

    /// Waits until the subscription stands; false if it does not in time.
    pub(super) fn wait(&self, limit: Duration) -> bool {
        let stands = self.shared.stands.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.shared.changed.wait_timeout_while(stands, limit, |stands| !*stands);
        *waited.unwrap_or_else(PoisonError::into_inner).0
    }
}

impl Drop for News {
    fn drop(&mut self) {
        self.shared.stopping.store(true, Ordering::SeqCst);
        self.stopper = None;
        let Some(thread) = self.thread.take() else { return };
        // The thread hears this where it waits for the server; where that is away, it ends after the next silence, with or without us.
        if self.shared.wake().is_ok() || thread.is_finished() {
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn run(&self, stop: &Receiver<()>) {
        let mut n_in_vain = 0;
        loop {
            let connected = self.link.connect_any();
            // A subscription that was cut, or is not allowed, says nothing of the server: whether it answers is for others to find out.
            if let Err(LinkError::Failed { source, .. }) = &connected {
                self.link.failed(source);
            }
            let ended = match connected {
                Ok(mut connection) => self.listen(&mut connection, n_in_vain == 0),
                Err(error) => Ended::Away(error),
            };
            n_in_vain = if self.stand(false) { 0 } else { n_in_vain + 1 };
            self.was_cut.store(true, Ordering::SeqCst);
            let Ended::Away(error) = ended else { return };
            debug!(error:% = error; "no news from the database");
            let breaker = self.link.breaker();
            let pause = breaker.pause().unwrap_or_default().max(breaker.pause_after(n_in_vain));
            // Only ever closed: true or not, the time is over or there is a stop.
            let _ = stop.recv_deadline(Instant::now() + pause);
            if self.stopping.load(Ordering::SeqCst) {
                return;
            }
        }
    }

    fn listen(&self, connection: &mut Connection, is_first: bool) -> Ended {
        match self.hear(connection) {
            Ok(()) => Ended::Stopped,
            Err(source) => {
                let node = self.link.server().seed();
                if is_first && !source.is_timeout() && !source.is_io_error() {
                    warn!(error:% = source; "no wake-ups from the database: may the user subscribe to `anklet:*`?");
                }
                Ended::Away(LinkError::Failed { node, source })
            }
        }
    }

    /// Hears messages until the connection breaks or the process stops.
    fn hear(&self, connection: &mut Connection) -> Result<(), RedisError> {
        let mut subscribe = cmd("SUBSCRIBE");
        for channel in self.queues.keys() {
            subscribe.arg(channel);
        }
        connection.send_packed_command(&subscribe.get_packed_command())?;
        connection.set_read_timeout(Some(self.silence_limit))?;
        let (mut n_subscribed, mut is_asked) = (0, false);
        loop {
            if self.stopping.load(Ordering::SeqCst) {
                return Ok(());
            }
            let value = match connection.recv_response().and_then(Value::extract_error) {
                Ok(value) => value,
                Err(error) if error.is_timeout() && !is_asked && n_subscribed == self.queues.len() => {
                    for word in [DROPPED, HEARD] {
                        connection.send_packed_command(&cmd("PING").arg(word).get_packed_command())?;
                    }
                    is_asked = true;
                    continue;
                }
                Err(error) => return Err(error),
            };
            is_asked = false;
            let Value::Array(parts) = value else { continue };
            let texts: Vec<_> = parts.iter().map(|part| reply::text(part).unwrap_or_default()).collect();
            match &texts[..] {
                [kind, channel, message] if kind == "message" => self.pass_on(channel, message),
                [kind, word] if kind == "pong" && word == DROPPED => self.listeners.tell_all(),
                [kind, ..] if kind == "subscribe" => {
                    n_subscribed += 1;
                    if n_subscribed == self.queues.len() {
                        self.link.answered();
                        self.stand(true);
                        self.listeners.tell_all();
                        if self.was_cut.swap(false, Ordering::SeqCst) {
                            self.link.interrupted();
                        }
                    }
                }
                _ => {}
            }
        }
    }

    /// Says whether the subscription stands; answers whether it did.
    fn stand(&self, stands: bool) -> bool {
        let mut known = self.stands.lock().unwrap_or_else(PoisonError::into_inner);
        self.changed.notify_all();
        std::mem::replace(&mut known, stands)
    }

    fn pass_on(&self, channel: &str, message: &str) {
        let Some(queue) = self.queues.get(channel) else { return };
        match serde_json::from_str::<Message>(message).ok().and_then(signal_of) {
            Some(signal) => self.listeners.tell(queue, &signal),
            // A kind of the future, or a word to a thread that stops.
            None => debug!(message; "news that means nothing here"),
        }
    }

    /// Sends a word of no meaning to the thread, so that it looks whether it is to stop.
    fn wake(&self) -> Result<(), LinkError> {
        let Some(channel) = self.queues.keys().next() else { return Ok(()) };
        if let Some(left) = self.link.breaker().pause() {
            return Err(LinkError::Paused { node: self.link.server().seed(), left });
        }
        let mut connection = self.link.connect_any()?;
        let word = serde_json::json!({ "is": "wake", "to": self.token }).to_string();
        cmd("PUBLISH")
            .arg(channel)
            .arg(word)
            .exec(&mut connection)
            .map_err(|source| LinkError::Failed { node: self.link.server().seed(), source })
    }
}

fn signal_of(message: Message) -> Option<Signal> {
    let job = || message.job.as_deref().and_then(reply::job_id);
    let signal = match message.is.as_str() {
        "look" => return Some(Signal::look()),
        "started" => JobSignal::Started(job()?),
        "finish" => JobSignal::Finish(job()?, Conclusion::from(message.concl.clone()?)),
        "retry" => JobSignal::Retry,
        "vm" => JobSignal::Vm(VmName::new(message.vm.clone()?)),
        _ => return None,
    };
    Some(Signal::to(&PluginName::new(message.to?), signal))
}

#[cfg(test)]
mod tests {
    use super::*;
    use anklet_plugin_api::job::JobId;

    #[track_caller]
    fn check(message: &str, expected: Option<JobSignal>) {
        let signal = serde_json::from_str::<Message>(message).ok().and_then(signal_of);
        let expected = expected.map(|signal| match signal {
            JobSignal::Look => Signal::look(),
            other => Signal::to(&PluginName::new("h"), other),
        });
        assert_eq!(signal, expected, "{message}");
    }

    #[test]
    fn messages_are_read_and_those_of_the_future_left_alone() {
        check(r#"{"is":"look"}"#, Some(JobSignal::Look));
        check(r#"{"is":"retry","to":"h"}"#, Some(JobSignal::Retry));
        check(
            r#"{"is":"started","to":"h","job":"18446744073709551615"}"#,
            Some(JobSignal::Started(JobId(u64::MAX))),
        );
        let over = JobSignal::Finish(JobId(1), Conclusion::Other("odd".to_owned()));
        check(r#"{"is":"finish","to":"h","job":"1","concl":"odd","more":1}"#, Some(over));
        check(r#"{"is":"vm","to":"h","vm":"v"}"#, Some(JobSignal::Vm(VmName::new("v"))));
        for nothing in [
            "",
            "7",
            r#"{"is":"retry"}"#,
            r#"{"is":"started","to":"h","job":"x"}"#,
            r#"{"is":"wake","to":"t"}"#,
        ] {
            check(nothing, None);
        }
    }
}
