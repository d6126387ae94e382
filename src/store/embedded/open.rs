//! Opening the queue file: who may, where it lies, how SQLite is set, and which versions of it are understood.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use anklet_plugin_api::time::Moment;
use rusqlite::{Connection, ErrorCode, OpenFlags};
use thiserror::Error;

use super::Options;
use super::clock::Clock;
use super::fail::{Fail, SqlFailure};
use super::file::QueueFile;
use super::lock::{DaemonLock, LockError, path_of};

/// The layout of the tables. A file with a higher number is a newer anklet's.
pub(super) const SCHEMA_VERSION: i64 = 1;

/// The tables that came later.
const LATER: &str = include_str!("later.sql");

/// Marks the file as ours for `file` and the like: "ANKL".
const APPLICATION_ID: i64 = 0x414e_4b4c;

/// Why the queue file cannot be used. Each text says what to do about it.
#[derive(Debug, Error)]
pub(crate) enum OpenError {
    /// Another daemon has it.
    #[error("the queue file {path} is in use by another anklet{}; stop that one, or give this one a file of its own (global_database_path)", pid_text(*.pid))]
    InUse {
        /// The queue file.
        path: PathBuf,
        /// The other's process.
        pid: Option<u32>,
    },
    /// A command-line tool looked for a file that no daemon has made yet.
    #[error("there is no queue file {path}; anklet makes it when it starts for the first time")]
    Missing {
        /// Where it should be.
        path: PathBuf,
    },
    /// Folder, file or lock cannot be made or opened.
    #[error("cannot {doing} {path}: {source}")]
    Io {
        /// What was tried.
        doing: &'static str,
        /// With what.
        path: PathBuf,
        /// Why it failed.
        source: std::io::Error,
    },
    /// A later version of anklet has written it.
    #[error(
        "the queue file {path} was written by a newer anklet: its layout is version {found}, this one knows version {ours}; start the newer anklet, or move the file away to begin with an empty queue"
    )]
    Newer {
        /// The queue file.
        path: PathBuf,
        /// The version of its layout.
        found: i64,
        /// The newest that this program knows.
        ours: i64,
    },
    /// It is not a queue file, or not whole.
    #[error(
        "the queue file {path} cannot be read: {why}; move it and {path}-wal away and start again, which begins with an empty queue (nothing was deleted)"
    )]
    Damaged {
        /// The queue file.
        path: PathBuf,
        /// What SQLite says.
        why: String,
    },
    /// SQLite refuses for another reason.
    #[error("cannot open the queue file {path}: {source}")]
    Sqlite {
        /// The queue file.
        path: PathBuf,
        /// Why.
        source: SqlFailure,
    },
}

fn pid_text(pid: Option<u32>) -> String {
    pid.map_or_else(String::new, |pid| format!(" (process {pid})"))
}

/// Opens the file as the one daemon that may, and makes it if need be.
pub(super) fn as_daemon(path: &Path, options: &Options) -> Result<QueueFile, OpenError> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    if let Some(folder) = folder {
        let made = DirBuilder::new().recursive(true).mode(0o700).create(folder);
        made.map_err(|source| OpenError::Io { doing: "make the folder", path: folder.to_owned(), source })?;
    }
    let lock_path = path_of(path);
    let lock = DaemonLock::take(&lock_path).map_err(|error| match error {
        LockError::Taken { pid } => OpenError::InUse { path: path.to_owned(), pid },
        LockError::Unusable(source) => OpenError::Io { doing: "use the lock file", path: lock_path, source },
    })?;
    make_file(path, folder.unwrap_or(Path::new(".")))?;
    let connection = connect(path, options)?;
    let version = check_version(&connection, path)?;
    let made = if version == 0 { make_tables(&connection) } else { connection.execute_batch(LATER) };
    made.map_err(|error| of_sqlite(path, error))?;
    finish(connection, path, options, Some(lock))
}

/// Opens a file beside the daemon that may have it open.
pub(super) fn beside(path: &Path, options: &Options) -> Result<QueueFile, OpenError> {
    let missing = || OpenError::Missing { path: path.to_owned() };
    if !path.exists() {
        return Err(missing());
    }
    let connection = connect(path, options)?;
    if check_version(&connection, path)? == 0 {
        return Err(missing());
    }
    connection.execute_batch(LATER).map_err(|error| of_sqlite(path, error))?;
    finish(connection, path, options, None)
}

/// SQLite would make the file too, but readable for others.
fn make_file(path: &Path, folder: &Path) -> Result<(), OpenError> {
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        // The new name must outlive a power cut as the first job does.
        Ok(_) => File::open(folder).and_then(|folder| folder.sync_all()).map_err(|source| OpenError::Io {
            doing: "write the folder",
            path: folder.to_owned(),
            source,
        }),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        Err(source) => Err(OpenError::Io { doing: "make the queue file", path: path.to_owned(), source }),
    }
}

fn connect(path: &Path, options: &Options) -> Result<Connection, OpenError> {
    let set_up = || {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags)?;
        connection.busy_timeout(options.busy_limit)?;
        let mode: String =
            connection.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0))?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        // macOS: only this flushes the disk's own cache. Other systems know no difference.
        connection.pragma_update(None, "fullfsync", true)?;
        connection.pragma_update(None, "checkpoint_fullfsync", true)?;
        connection.pragma_update(None, "cache_size", -512)?;
        connection.pragma_update(None, "journal_size_limit", 8 * 1024 * 1024)?;
        if let Some(n_pages) = options.max_pages {
            connection.pragma_update_and_check(None, "max_page_count", n_pages, |_| Ok(()))?;
        }
        connection.set_prepared_statement_cache_capacity(64);
        Ok((connection, mode))
    };
    let (connection, mode) = set_up().map_err(|error| of_sqlite(path, error))?;
    if !mode.eq_ignore_ascii_case("wal") {
        let source =
            SqlFailure { code: None, text: format!("its file system allows only journal mode {mode}") };
        return Err(OpenError::Sqlite { path: path.to_owned(), source });
    }
    Ok(connection)
}

/// The version of the file's layout; 0 if it is empty.
fn check_version(connection: &Connection, path: &Path) -> Result<i64, OpenError> {
    let read = || -> rusqlite::Result<(i64, i64)> {
        let version = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
        let n_tables = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
        Ok((version, n_tables))
    };
    match read().map_err(|error| of_sqlite(path, error))? {
        (0, 0) => Ok(0),
        (0, _) => Err(OpenError::Damaged {
            path: path.to_owned(),
            why: "it is another program's database".to_owned(),
        }),
        (found, _) if found > SCHEMA_VERSION => {
            Err(OpenError::Newer { path: path.to_owned(), found, ours: SCHEMA_VERSION })
        }
        (found, _) => Ok(found),
    }
}

fn make_tables(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute_batch(&format!(
        "BEGIN IMMEDIATE; {} {} PRAGMA user_version = {SCHEMA_VERSION}; PRAGMA application_id = {APPLICATION_ID}; COMMIT;",
        include_str!("schema.sql"),
        LATER
    ))
}

fn finish(
    connection: Connection,
    path: &Path,
    options: &Options,
    lock: Option<DaemonLock>,
) -> Result<QueueFile, OpenError> {
    let stored = connection
        .query_row("SELECT at FROM clock", [], |row| row.get(0))
        .map_err(|error| of_sqlite(path, error))?;
    let clock = Clock::new(options.clock.clone(), Moment(stored));
    Ok(QueueFile::new(connection, clock, options.failpoint.clone(), options.tombstone_life, lock))
}

fn of_sqlite(path: &Path, error: rusqlite::Error) -> OpenError {
    let path = path.to_owned();
    match error.sqlite_error_code() {
        Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => {
            OpenError::Damaged { path, why: error.to_string() }
        }
        _ => OpenError::Sqlite { path, source: error.into() },
    }
}

/// For a file that was opened and then refused its first verb.
pub(super) fn failed(path: &Path, fail: Fail) -> OpenError {
    let source = match fail {
        Fail::Sql(failure) => failure,
        other => SqlFailure { code: None, text: format!("{other:?}") },
    };
    let path = path.to_owned();
    match source.code {
        Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => {
            OpenError::Damaged { path, why: source.text }
        }
        _ => OpenError::Sqlite { path, source },
    }
}
