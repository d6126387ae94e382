//! What can go wrong with a call of GitHub: one variant for each thing a caller can do about it.

use std::fmt;
use std::time::Duration;

use thiserror::Error;

/// Why a call gave no result. Texts name the call, never a credential or the body that was sent.
#[derive(Clone, Debug, Error, PartialEq)]
pub enum ClientError {
    /// The caller's ear cut the call. What GitHub did is unknown.
    #[error("{call} was cut short")]
    Cut {
        /// Which call.
        call: CallName,
    },
    /// No answer, also after the retries. What GitHub did is unknown.
    #[error("{call} got no answer from GitHub: {why}")]
    NoAnswer {
        /// Which call.
        call: CallName,
        /// What it met.
        silence: Silence,
        /// The details.
        why: String,
    },
    /// The credentials are not accepted.
    #[error("{call}: GitHub does not accept the credentials: {message}")]
    Unauthorized {
        /// Which call.
        call: CallName,
        /// GitHub's words, and a word about the clock if it is off.
        message: String,
    },
    /// The credentials do not allow it.
    #[error("{call}: GitHub does not allow it: {message}{}", Needed(.permission))]
    Forbidden {
        /// Which call.
        call: CallName,
        /// GitHub's words.
        message: String,
        /// The permission that GitHub says is needed (`X-Accepted-GitHub-Permissions`).
        permission: Option<String>,
    },
    /// It does not exist, or the credentials may not see it: GitHub does not tell these apart.
    #[error("{call}: GitHub does not find it, or the credentials may not see it: {message}{}", Needed(.permission))]
    NotFound {
        /// Which call.
        call: CallName,
        /// GitHub's words.
        message: String,
        /// The permission that GitHub says is needed.
        permission: Option<String>,
    },
    /// The credentials have used up their calls. Calls wait for the end of that by themselves, so that only who does not want that sees it.
    #[error("{call}: GitHub's {limit} rate limit is reached")]
    Limited {
        /// Which call.
        call: CallName,
        /// Which limit.
        limit: RateLimit,
        /// How long to make no call, if GitHub says it.
        wait: Option<Duration>,
    },
    /// It does not fit the state of things.
    #[error("{call}: conflict: {message}")]
    Conflict {
        /// Which call.
        call: CallName,
        /// GitHub's words.
        message: String,
    },
    /// GitHub understood, and will not.
    #[error("{call}: GitHub refuses it: {message}")]
    Unprocessable {
        /// Which call.
        call: CallName,
        /// GitHub's words.
        message: String,
    },
    /// GitHub is in trouble, also after the retries.
    #[error("{call}: GitHub is in trouble (status {status}): {message}")]
    Server {
        /// Which call.
        call: CallName,
        /// 408, or 500 and above.
        status: u16,
        /// GitHub's words.
        message: String,
    },
    /// An answer that we cannot use.
    #[error("{call}: the answer makes no sense: {what}")]
    Nonsense {
        /// Which call.
        call: CallName,
        /// What is wrong with it.
        what: String,
    },
    /// Something an operator must mend: an address, a certificate, a key.
    #[error("{what}")]
    Setup {
        /// What it is and what to do.
        what: String,
    },
}

impl ClientError {
    /// Whether GitHub may have done what was asked all the same.
    pub fn is_unknown_outcome(&self) -> bool {
        matches!(self, Self::Cut { .. } | Self::NoAnswer { .. } | Self::Server { .. } | Self::Nonsense { .. })
    }
}

/// How an answer stayed out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Silence {
    /// The connection was closed before the answer was whole. A connection kept for reuse ends so when GitHub has closed it meanwhile.
    Dropped,
    /// The limit of the call passed.
    TooSlow,
    /// No connection was made.
    Unreachable,
}

/// GitHub's two kinds of rate limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RateLimit {
    /// Calls an hour.
    Primary,
    /// Too many at once, or too fast. Going on risks a ban.
    Secondary,
}

impl fmt::Display for RateLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Primary => "primary",
            Self::Secondary => "secondary",
        })
    }
}

/// Names a call in errors, logs and measurements: method and path without the names of strangers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CallName {
    /// `GET`, `POST`, `DELETE`.
    pub method: &'static str,
    /// Such as `/repos/{owner}/{repo}/actions/jobs/{id}`; `{scope}` stands for a repository, organization or enterprise.
    pub path: &'static str,
}

impl fmt::Display for CallName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.method, self.path)
    }
}

struct Needed<'a>(&'a Option<String>);

impl fmt::Display for Needed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(permission) => write!(f, " (it needs the permission {permission})"),
            None => Ok(()),
        }
    }
}
