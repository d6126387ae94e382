//! The embedded queue's file as it lies on disk: what a stop or a crash has really left there.

use std::path::PathBuf;

use rusqlite::{Connection, OpenFlags};
use serde_json::Value;

use crate::support::World;

/// Where the queue file lies.
pub(crate) fn path(world: &World) -> PathBuf {
    world.home.path().join(".config/anklet/anklet.db")
}

/// The file, opened for writing: for tests that break it.
pub(crate) fn open(world: &World) -> Connection {
    Connection::open_with_flags(path(world), OpenFlags::SQLITE_OPEN_READ_WRITE).unwrap()
}

/// The documents of all stored jobs.
pub(crate) fn jobs(world: &World) -> Vec<Value> {
    documents(world, "SELECT doc FROM jobs ORDER BY seq")
}

/// The documents of all VM records.
pub(crate) fn vms(world: &World) -> Vec<Value> {
    documents(world, "SELECT doc FROM vms ORDER BY id")
}

fn documents(world: &World, sql: &str) -> Vec<Value> {
    let file = open(world);
    let mut statement = file.prepare(sql).unwrap();
    let rows = statement.query_map([], |row| row.get::<_, String>(0)).unwrap();
    rows.map(|doc| serde_json::from_str(&doc.unwrap()).unwrap()).collect()
}

/// Where the job is, by its document: `queued`, `held`, `claimed`, `running`; none if it is not there.
pub(crate) fn spot(world: &World, job: u64) -> Option<String> {
    let job = serde_json::json!(job);
    let found = jobs(world).into_iter().find(|doc| is_id(&doc["job"]["id"], &job));
    found.map(|doc| doc["spot"]["is"].as_str().unwrap_or_default().to_owned())
}

/// Counted tries of the job.
pub(crate) fn attempts(world: &World, job: u64) -> u64 {
    let job = serde_json::json!(job);
    let found = jobs(world).into_iter().find(|doc| is_id(&doc["job"]["id"], &job));
    found.and_then(|doc| doc["attempts"].as_u64()).unwrap()
}

/// Ids are stored as text, since some readers round large numbers.
fn is_id(stored: &Value, id: &Value) -> bool {
    stored == id || stored.as_str() == Some(id.to_string().as_str())
}
