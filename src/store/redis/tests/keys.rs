//! Keys beside the queues, on one server and in a cluster, where they lie on different nodes; and jobs that another program had.

use std::time::Duration;

use anklet_plugin_api::fake::made::news;
use anklet_plugin_api::job::{JobId, Phase};
use anklet_plugin_api::store::{Noted, Place, Source, Store};
use anklet_plugin_api::time::Moment;
use redis::cmd;

use super::nodes::{CA, Cluster};
use super::server::TestServer;
use super::{claim, options, queue_on, settings};
use crate::config::RedisSettings;
use crate::store::redis::Keys;

#[track_caller]
fn check(settings: &RedisSettings, ca: Option<&[u8]>) {
    let keys = Keys::open(&options(settings, ca, None));
    let (life, name) = (Duration::from_secs(60), |n: u32| format!("anklet/keys/{n}"));
    for n in 0..40 {
        keys.set(&name(n), "a text", life).unwrap();
    }
    assert_eq!(keys.find("anklet/keys/*").unwrap().len(), 40);
    assert_eq!(keys.get(&name(7)).unwrap().as_deref(), Some("a text"));
    assert!(keys.time_left(&name(7)).unwrap().is_some_and(|left| left <= life));
    for n in 0..40 {
        keys.remove(&name(n)).unwrap();
    }
    assert_eq!(keys.get(&name(7)).unwrap(), None);
    assert_eq!(keys.time_left(&name(7)).unwrap(), None);

    let list = "anklet/keys/list";
    for item in ["one", "two", "one"] {
        keys.send(list, cmd("RPUSH").arg(list).arg(item)).unwrap();
    }
    assert_eq!(keys.items(list, 1).unwrap(), [b"two".to_vec(), b"one".to_vec()]);
    keys.take_out(list, b"one").unwrap();
    keys.take_out(list, b"never there").unwrap();
    assert_eq!(keys.items(list, 0).unwrap(), [b"two".to_vec(), b"one".to_vec()]);
    keys.remove(list).unwrap();
    assert!(keys.items(list, 0).unwrap().is_empty());
    keys.set(list, "no list", life).unwrap();
    assert!(keys.items(list, 0).unwrap_err().is_refusal());
    keys.remove(list).unwrap();
}

#[test]
fn keys_of_a_server() {
    check(&settings(TestServer::shared().port), None);
}

#[test]
fn keys_of_a_cluster_lie_on_all_its_nodes() {
    check(&Cluster::shared().settings(), Some(CA));
}

#[test]
fn jobs_of_another_program_keep_their_tries_and_their_age() {
    let store = queue_on(&settings(TestServer::shared().port), None, None);
    let job = |n| {
        let mut news = news(n, Phase::Queued);
        news.job.created_at = None;
        news
    };
    store.import(&job(1), 0, Some(Moment(2_000))).unwrap();
    store.import(&job(2), 3, Some(Moment(1_000))).unwrap();
    let running = Phase::InProgress { runner: None };
    store.import(&anklet_plugin_api::job::News { phase: running, ..job(3) }, 1, None).unwrap();
    assert_eq!(store.entry(JobId(3)).unwrap().unwrap().place, Place::Running);
    let first = claim(&*store, "h").unwrap();
    assert_eq!((first.job.id, first.attempts), (JobId(2), 3));
    // Once more changes nothing, whatever has become of it.
    store.import(&job(2), 0, None).unwrap();
    assert_eq!(claim(&*store, "h").unwrap().attempts, 3);
    store.finish(&first.key, &anklet_plugin_api::job::Conclusion::Success).unwrap();
    store.import(&job(2), 0, None).unwrap();
    assert!(store.entry(JobId(2)).unwrap().is_none());
    assert_eq!(store.news(&job(2), Source::Webhook).unwrap(), Noted::Ended);
}
