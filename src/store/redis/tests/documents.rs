//! Documents that are broken, and those of a newer version.

use std::sync::Arc;

use anklet_plugin_api::fake::made::{news, record};
use anklet_plugin_api::job::{JobId, Phase};
use anklet_plugin_api::name::HostId;
use anklet_plugin_api::store::{Source, Store, StoreError};
use redis::{Client, Connection, cmd};

use super::server::TestServer;
use super::{claim, queue_on, settings};
use crate::store::redis::RedisStore;

struct World {
    store: Arc<RedisStore>,
    raw: Connection,
}

/// A queue with the jobs 1 and 2.
fn world() -> World {
    let port = TestServer::shared().port;
    let store = queue_on(&settings(port), None, None);
    for n in [1, 2] {
        store.news(&news(n, Phase::Queued), Source::Webhook).unwrap();
    }
    let raw = Client::open(format!("redis://127.0.0.1:{port}")).unwrap().get_connection().unwrap();
    World { store, raw }
}

impl World {
    fn key(&self, key: &str) -> String {
        format!("{}{key}", self.store.prefix)
    }

    fn set(&mut self, key: &str, field: &str, value: &str) {
        let key = self.key(key);
        cmd("HSET").arg(key).arg(field).arg(value).exec(&mut self.raw).unwrap();
    }

    fn exists(&mut self, key: &str) -> bool {
        let key = self.key(key);
        cmd("EXISTS").arg(key).query(&mut self.raw).unwrap()
    }
}

/// Whatever is broken of job 1, the queue goes on with job 2, and job 1 is out of the way.
#[track_caller]
fn is_set_aside(damage: impl Fn(&mut World)) {
    let mut world = world();
    damage(&mut world);
    let claimed = claim(&*world.store, "h").map(|claim| claim.job.id.0);
    assert_eq!(claimed, Some(2));
    assert!(world.exists("broken:job:1") && !world.exists("job:1"));
    let counts = world.store.counts().unwrap();
    assert_eq!((counts.queued, counts.claimed, counts.groups.len()), (0, 1, 0));
    assert!(world.store.entry(JobId(1)).unwrap().is_none());
}

#[test]
fn a_broken_job_is_set_aside() {
    is_set_aside(|world| world.set("job:1", "job", "{"));
    is_set_aside(|world| world.set("job:1", "job", "{\"id\":\"1\"}"));
    is_set_aside(|world| world.set("job:1", "tries", "many"));
    is_set_aside(|world| {
        let key = world.key("job:1");
        cmd("HDEL").arg(key).arg("run").exec(&mut world.raw).unwrap();
    });
}

/// A key that holds something else altogether is not even a document.
#[test]
fn a_key_of_another_kind_is_set_aside() {
    let mut world = world();
    let key = world.key("job:1");
    cmd("DEL").arg(&key).exec(&mut world.raw).unwrap();
    cmd("SET").arg(&key).arg("what?").exec(&mut world.raw).unwrap();
    assert_eq!(claim(&*world.store, "h").map(|claim| claim.job.id.0), Some(2));
    assert!(world.exists("broken:job:1"));
}

/// The handler that holds it gets another.
#[test]
fn a_claimed_job_that_breaks_is_set_aside() {
    let mut world = world();
    let held = claim(&*world.store, "h").unwrap();
    world.set("job:1", "job", "[]");
    assert!(matches!(world.store.give_back(&held.key, &super::back()), Ok(())), "its JSON is not needed");
    assert_eq!(claim(&*world.store, "h").map(|claim| claim.job.id.0), Some(2));
}

#[test]
fn a_newer_job_is_left_alone() {
    let mut world = world();
    world.set("job:1", "v", "2");
    world.set("job:1", "job", "a form of the future");
    assert_eq!(claim(&*world.store, "h").map(|claim| claim.job.id.0), Some(2));
    assert!(claim(&*world.store, "i").is_none());
    let answer = world.store.entry(JobId(1)).map(|_| ());
    assert!(matches!(&answer, Err(StoreError::Away { .. })), "{answer:?}");
    assert!(answer.unwrap_err().to_string().contains("newer anklet"));
    assert!(world.exists("job:1"));
}

#[test]
fn unknown_fields_stay() {
    let mut world = world();
    world.set("job:1", "colour", "red");
    let held = claim(&*world.store, "h").unwrap();
    world.store.put_vm(Some(&held.key), &record("vm", 1)).unwrap();
    world.set("vm:vm", "shade", "\"dark\"");
    world.store.put_vm(Some(&held.key), &record("vm", 1)).unwrap();
    assert_eq!(world.store.vms(&HostId::new("host-1")).unwrap(), [record("vm", 1)]);
    world.store.give_back(&held.key, &super::back()).unwrap();
    for (key, field) in [("job:1", "colour"), ("vm:vm", "shade")] {
        let key = world.key(key);
        assert!(cmd("HEXISTS").arg(key).arg(field).query::<bool>(&mut world.raw).unwrap());
    }
}

#[test]
fn a_broken_record_is_set_aside_and_a_newer_one_is_not() {
    let mut world = world();
    let host = HostId::new("host-1");
    for vm in ["one", "two", "three"] {
        world.store.put_vm(None, &record(vm, 1)).unwrap();
    }
    world.set("vm:one", "labels", "[");
    world.set("vm:two", "v", "2");
    world.set("vm:two", "stage", "\"flying\"");
    let names = |records: Vec<anklet_plugin_api::vm::VmRecord>| {
        records.into_iter().map(|record| record.vm.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(names(world.store.vms(&host).unwrap()), ["three"]);
    assert!(world.exists("broken:vm:one") && world.exists("vm:two"));
    assert_eq!(world.store.counts().unwrap().vms, 2);
}
