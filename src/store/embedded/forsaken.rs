//! VM records of hosts of which nothing is heard any more: in a file that was copied to another machine, for one.

use std::time::Duration;

use anklet_plugin_api::name::{HostId, VmName};
use anklet_plugin_api::vm::VmRecord;
use rusqlite::params;

use super::fail::Fail;
use super::tables::Tx;

/// Records that one question is answered with at most.
const N_RECORDS: i64 = 100;

/// The rows of `vms` whose host was last seen at `?2` or before.
const OF_SILENT: &str = "FROM vms JOIN hosts USING (queue, host) WHERE queue = ?1 AND seen_at <= ?2";

impl Tx<'_> {
    /// The host lives.
    pub(super) fn see_host(&self, host: &HostId) -> Result<(), Fail> {
        self.execute(
            "INSERT OR REPLACE INTO hosts (queue, host, seen_at) VALUES (?1, ?2, ?3)",
            params![self.queue, host.as_str(), self.now.0],
        )
    }

    pub(super) fn forsaken(&mut self, silence: Duration, told: &[VmName]) -> Result<Vec<VmRecord>, Fail> {
        let before = self.now.before(silence).0;
        // A host that never had a lease is silent from now on.
        self.execute(
            "INSERT OR IGNORE INTO hosts (queue, host, seen_at) SELECT queue, host, ?2 FROM vms WHERE queue = ?1",
            params![self.queue, self.now.0],
        )?;
        for vm in told {
            let of_silent = format!("SELECT count(*) {OF_SILENT} AND vm = ?3");
            let mut statement = self.connection.prepare_cached(&of_silent)?;
            let n_rows: i64 =
                statement.query_row(params![self.queue, before, vm.as_str()], |row| row.get(0))?;
            if n_rows > 0 {
                self.remove_vm(vm)?;
            }
        }
        self.execute(
            "DELETE FROM hosts WHERE queue = ?1 AND seen_at <= ?2
             AND NOT EXISTS (SELECT 1 FROM vms WHERE vms.queue = hosts.queue AND vms.host = hosts.host)",
            params![self.queue, before],
        )?;
        let mut statement =
            self.connection.prepare_cached(&format!("SELECT id, doc {OF_SILENT} ORDER BY vm LIMIT ?3"))?;
        self.readable(statement.query(params![self.queue, before, N_RECORDS])?)
    }
}
