//! The groups of queued jobs: each row knows its oldest job, so that a claim finds that without a look at the others.

use anklet_plugin_api::job::{Group, Job};
use rusqlite::{OptionalExtension, Row, params};

use super::fail::{Broken, Fail, Kind};
use super::tables::Tx;

impl Tx<'_> {
    /// The number of the job's group, which is made if need be.
    pub(super) fn group(&self, job: &Job) -> Result<i64, Fail> {
        let group = job.group();
        let tag = group.tag.map_or_else(String::new, |tag| format!(":{tag}"));
        let enterprise = job.enterprise.as_ref().map_or_else(String::new, |slug| slug.to_ascii_lowercase());
        let key = params![self.queue, group.owner, group.repo, group.template, tag, enterprise];
        let mut statement = self.connection.prepare_cached(
            "SELECT id FROM groups WHERE queue = ?1 AND owner = ?2 AND repo = ?3 AND template = ?4 AND tag = ?5 AND enterprise = ?6",
        )?;
        if let Some(id) = statement.query_row(key, |row| row.get(0)).optional()? {
            return Ok(id);
        }
        self.execute(
            "INSERT INTO groups (queue, owner, repo, template, tag, enterprise, head_age, head_seq) VALUES (?1, ?2, ?3, ?4, ?5, ?6, 0, 0)",
            key,
        )?;
        self.point("group made");
        Ok(self.connection.last_insert_rowid())
    }

    /// Writes which job is the group's oldest, after one came or left; a group without jobs goes.
    pub(super) fn keep_head(&self, group: Option<i64>) -> Result<(), Fail> {
        let Some(group) = group else { return Ok(()) };
        let mut statement = self
            .connection
            .prepare_cached("SELECT age, seq FROM jobs WHERE grp = ?1 ORDER BY age, seq LIMIT 1")?;
        let head: Option<(i64, i64)> =
            statement.query_row([group], |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
        match head {
            Some((age, seq)) => self.execute(
                "UPDATE groups SET head_age = ?2, head_seq = ?3 WHERE id = ?1 AND (head_age, head_seq) <> (?2, ?3)",
                params![group, age, seq],
            ),
            None => self.execute("DELETE FROM groups WHERE id = ?1", [group]),
        }
    }

    /// Moves a document that cannot be read out of the way.
    pub(super) fn set_aside(&self, broken: &Broken) -> Result<(), Fail> {
        let (kind, table, name, group) = match broken.kind {
            Kind::Job => ("job", "jobs", "seq", "grp"),
            Kind::Vm => ("VM record", "vms", "id", "NULL"),
        };
        let shown = if broken.kind == Kind::Job { "job" } else { "vm" };
        let group: Option<Option<i64>> = self
            .connection
            .query_row(&format!("SELECT {group} FROM {table} WHERE {name} = ?1"), [broken.row], |row| {
                row.get(0)
            })
            .optional()?;
        self.connection.execute(
            &format!(
                "INSERT INTO broken (queue, kind, name, doc, why, at) SELECT queue, ?2, {shown}, doc, ?3, ?4 FROM {table} WHERE {name} = ?1"
            ),
            params![broken.row, kind, broken.why, self.now.0],
        )?;
        self.point("document set aside");
        self.connection.execute(&format!("DELETE FROM {table} WHERE {name} = ?1"), [broken.row])?;
        self.keep_head(group.flatten())
    }
}

/// Reads the columns of a group.
pub(super) fn group_of(row: &Row<'_>) -> rusqlite::Result<Group> {
    let tag: String = row.get("tag")?;
    Ok(Group {
        owner: row.get("owner")?,
        repo: row.get("repo")?,
        template: row.get("template")?,
        tag: tag.strip_prefix(':').map(str::to_owned),
    })
}
