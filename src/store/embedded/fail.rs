//! What can go wrong inside a verb, before it is told to the caller.

use anklet_plugin_api::store::StoreError;
use rusqlite::ErrorCode;
use thiserror::Error;

/// Why a verb did not happen.
#[derive(Debug)]
pub(super) enum Fail {
    /// The claim is not the caller's any more.
    Lost,
    /// SQLite refused.
    Sql(SqlFailure),
    /// A document cannot be read and has to be set aside before the verb is tried again.
    Broken(Broken),
    /// A document of a newer version that makes no sense to us, and stays where it is.
    Newer { what: String, version: u32 },
}

/// A row with a document that cannot be read.
#[derive(Debug)]
pub(super) struct Broken {
    pub(super) kind: Kind,
    pub(super) row: i64,
    pub(super) why: String,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Kind {
    Job,
    Vm,
}

/// What SQLite said; kept so that all verbs of a failed flush can tell their callers.
#[derive(Clone, Debug, Error)]
#[error("{text}{}", advice(*.code))]
pub(crate) struct SqlFailure {
    pub(super) code: Option<ErrorCode>,
    pub(super) text: String,
}

fn advice(code: Option<ErrorCode>) -> &'static str {
    match code {
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
            "; the queue file is damaged: stop anklet, move the file and those beside it away, and start again"
        }
        Some(ErrorCode::DiskFull) => "; the queue goes on by itself when there is room",
        _ => "",
    }
}

impl From<rusqlite::Error> for SqlFailure {
    fn from(error: rusqlite::Error) -> Self {
        Self { code: error.sqlite_error_code(), text: error.to_string() }
    }
}

impl From<rusqlite::Error> for Fail {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sql(error.into())
    }
}

impl From<SqlFailure> for Fail {
    fn from(failure: SqlFailure) -> Self {
        Self::Sql(failure)
    }
}

impl Fail {
    /// As the caller of the verb sees it.
    pub(super) fn into_store_error(self, doing: &'static str) -> StoreError {
        match self {
            Self::Lost => StoreError::Lost,
            Self::Sql(failure) => StoreError::Away { doing, source: Box::new(failure) },
            Self::Broken(broken) => StoreError::Broken {
                what: match broken.kind {
                    Kind::Job => format!("job in row {}", broken.row),
                    Kind::Vm => format!("VM record in row {}", broken.row),
                },
                why: broken.why,
            },
            Self::Newer { what, version } => StoreError::Broken {
                what,
                why: format!("a newer anklet has written it (version {version} of its document)"),
            },
        }
    }
}
