//! The small tables: VM records, tombstones, leases, fencing numbers, and what is remembered of handlers.

use std::time::Duration;

use anklet_plugin_api::job::{Job, JobId};
use anklet_plugin_api::name::{HostId, PluginName, VmName};
use anklet_plugin_api::store::{ClaimKey, Lease, Leased};
use anklet_plugin_api::time::Moment;
use anklet_plugin_api::vm::VmRecord;
use rusqlite::{OptionalExtension, Row, Rows, params};
use serde_json::Value;

use super::document::VERSION;
use super::fail::{Broken, Fail, Kind};
use super::tables::{Tx, to_json, unsigned, unwritable};
use crate::store::vm_document;

/// Tombstones removed at most with each one that is written.
const N_PRUNED: i64 = 8;

struct StoredVm {
    version: u32,
    record: VmRecord,
    /// Both, and what a later version wrote beside them.
    document: Value,
}

impl Tx<'_> {
    pub(super) fn vm(&self, vm: &VmName) -> Result<Option<VmRecord>, Fail> {
        Ok(self.stored_vm(vm)?.map(|stored| stored.record))
    }

    fn stored_vm(&self, vm: &VmName) -> Result<Option<StoredVm>, Fail> {
        let mut statement =
            self.connection.prepare_cached("SELECT id, doc FROM vms WHERE queue = ?1 AND vm = ?2")?;
        let mut rows = statement.query(params![self.queue, vm.as_str()])?;
        rows.next()?.map(read_vm).transpose()
    }

    pub(super) fn vms_of(&self, host: &HostId) -> Result<Vec<VmRecord>, Fail> {
        let mut statement = self
            .connection
            .prepare_cached("SELECT id, doc FROM vms WHERE queue = ?1 AND host = ?2 ORDER BY vm")?;
        self.readable(statement.query(params![self.queue, host.as_str()])?)
    }

    /// The records in rows of `id, doc`, without those that are for a newer anklet to clean up.
    pub(super) fn readable(&self, mut rows: Rows<'_>) -> Result<Vec<VmRecord>, Fail> {
        let mut records = Vec::new();
        while let Some(row) = rows.next()? {
            match read_vm(row) {
                Err(Fail::Newer { version, .. }) => self.warn_of_newer(version),
                stored => records.push(stored?.record),
            }
        }
        Ok(records)
    }

    /// Writes a record in the place of the one with its name, whose unknown fields stay.
    pub(super) fn write_vm(&self, record: &VmRecord) -> Result<(), Fail> {
        let known = self.stored_vm(&record.vm)?;
        let version = known.as_ref().map_or(VERSION, |known| known.version.max(VERSION));
        let document = vm_document::in_place_of(known.as_ref().map(|known| &known.document), record);
        let mut document = document.map_err(unwritable)?;
        document.insert("version".to_owned(), version.into());
        let doc = to_json(&document)?;
        self.execute(
            "INSERT INTO vms (queue, vm, host, doc) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT (queue, vm) DO UPDATE SET host = excluded.host, doc = excluded.doc",
            params![self.queue, record.vm.as_str(), record.host.as_str(), doc],
        )
    }

    pub(super) fn forget_vm(&self, vm: &VmName) -> Result<(), Fail> {
        self.execute("DELETE FROM vms WHERE queue = ?1 AND vm = ?2", params![self.queue, vm.as_str()])
    }

    /// The highest `run_attempt` of the job that has ended.
    pub(super) fn ended_attempt(&self, job: JobId) -> Result<Option<u32>, Fail> {
        let mut statement = self
            .connection
            .prepare_cached("SELECT run_attempt FROM tombstones WHERE queue = ?1 AND job = ?2")?;
        Ok(statement.query_row(params![self.queue, job.0.cast_signed()], |row| row.get(0)).optional()?)
    }

    /// Leaves a tombstone.
    pub(super) fn bury(&self, job: &Job) -> Result<(), Fail> {
        self.execute(
            "INSERT INTO tombstones (queue, job, run_attempt, ended_at) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT (queue, job) DO UPDATE SET run_attempt = max(run_attempt, excluded.run_attempt), ended_at = excluded.ended_at",
            params![self.queue, job.id.0.cast_signed(), job.run_attempt, self.now.0],
        )?;
        let ended_before = self.now.0.saturating_sub(millis(self.tombstone_life));
        self.execute(
            "DELETE FROM tombstones WHERE rowid IN (SELECT rowid FROM tombstones WHERE ended_at < ?1 ORDER BY ended_at LIMIT ?2)",
            params![ended_before, N_PRUNED],
        )
    }

    /// The next fencing number: 1, 2, 3, …
    pub(super) fn next_fence(&self) -> Result<u64, Fail> {
        self.execute("UPDATE queues SET fence = fence + 1 WHERE id = ?1", [self.queue])?;
        let mut statement = self.connection.prepare_cached("SELECT fence FROM queues WHERE id = ?1")?;
        Ok(statement.query_row([self.queue], |row| unsigned(row, 0))?)
    }

    /// Whether the handler itself has ended this claim, as its last: then the call is a repetition.
    pub(super) fn has_ended(&self, key: &ClaimKey) -> Result<bool, Fail> {
        let mut statement = self
            .connection
            .prepare_cached("SELECT ended_fence FROM handlers WHERE queue = ?1 AND name = ?2")?;
        let ended: Option<Option<i64>> =
            statement.query_row(params![self.queue, key.handler.as_str()], |row| row.get(0)).optional()?;
        Ok(ended.flatten() == Some(key.fence.cast_signed()))
    }

    pub(super) fn remember_end(&self, key: &ClaimKey) -> Result<(), Fail> {
        self.execute(
            "INSERT INTO handlers (queue, name, ended_fence) VALUES (?1, ?2, ?3)
             ON CONFLICT (queue, name) DO UPDATE SET ended_fence = excluded.ended_fence",
            params![self.queue, key.handler.as_str(), key.fence.cast_signed()],
        )
    }

    /// The life that the handler's claims have, if it ever asked for one.
    pub(super) fn life_of(&self, handler: &PluginName) -> Result<Option<Duration>, Fail> {
        let mut statement =
            self.connection.prepare_cached("SELECT life_ms FROM handlers WHERE queue = ?1 AND name = ?2")?;
        let life_ms: Option<Option<i64>> =
            statement.query_row(params![self.queue, handler.as_str()], |row| row.get(0)).optional()?;
        Ok(life_ms.flatten().map(|millis| Duration::from_millis(millis.unsigned_abs())))
    }

    /// Writes only what is new, so that an idle handler writes nothing.
    pub(super) fn remember_life(&self, handler: &PluginName, life: Duration) -> Result<(), Fail> {
        if self.life_of(handler)?.map(millis) == Some(millis(life)) {
            return Ok(());
        }
        self.execute(
            "INSERT INTO handlers (queue, name, life_ms) VALUES (?1, ?2, ?3)
             ON CONFLICT (queue, name) DO UPDATE SET life_ms = excluded.life_ms",
            params![self.queue, handler.as_str(), millis(life)],
        )
    }

    pub(super) fn take_lease(&self, lease: &Lease) -> Result<Leased, Fail> {
        let mut statement = self
            .connection
            .prepare_cached("SELECT host, process, until FROM leases WHERE queue = ?1 AND name = ?2")?;
        let held: Option<(String, String, i64)> = statement
            .query_row(params![self.queue, lease.name], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
            .optional()?;
        if let Some((host, process, until)) = held {
            let until = Moment(until);
            let is_of_this_host = host == lease.host.as_str();
            let is_free = until <= self.now
                || (is_of_this_host && (process == lease.process || (lease.predecessor_is_gone)(&process)));
            if !is_free {
                return Ok(Leased::Theirs { host: HostId::new(host), process, left: until.since(self.now) });
            }
        }
        self.execute(
            "INSERT OR REPLACE INTO leases (queue, name, host, process, until) VALUES (?1, ?2, ?3, ?4, ?5)",
            params![self.queue, lease.name, lease.host.as_str(), lease.process, self.now.after(lease.life).0],
        )?;
        self.mark_late()?;
        self.see_host(&lease.host)?;
        Ok(Leased::Ours)
    }

    pub(super) fn release_lease(&self, lease: &Lease) -> Result<(), Fail> {
        self.execute(
            "DELETE FROM leases WHERE queue = ?1 AND name = ?2 AND host = ?3 AND process = ?4",
            params![self.queue, lease.name, lease.host.as_str(), lease.process],
        )
    }
}

/// Reads the columns `id, doc`.
fn read_vm(row: &Row<'_>) -> Result<StoredVm, Fail> {
    let id: i64 = row.get(0)?;
    let broken = |why: String| Fail::Broken(Broken { kind: Kind::Vm, row: id, why });
    let text = row.get_ref(1)?.as_str().map_err(|error| broken(error.to_string()))?;
    let document: Value = serde_json::from_str(text).map_err(|error| broken(error.to_string()))?;
    let version =
        document.get("version").and_then(Value::as_u64).and_then(|number| u32::try_from(number).ok());
    let version = version.ok_or_else(|| broken("it tells no version".to_owned()))?;
    match serde_json::from_value(document.clone()) {
        Ok(record) => Ok(StoredVm { version, record, document }),
        Err(_) if version > VERSION => {
            Err(Fail::Newer { what: format!("the VM record in row {id}"), version })
        }
        Err(error) => Err(broken(error.to_string())),
    }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
