//! Where runners are registered, and so which jobs they can run.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::job::Job;

/// What runners are registered to. Holding one is proof that the config's keys fit together.
///
/// Owners, repositories and enterprises compare without case.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// One repository.
    Repository {
        /// User or organization.
        owner: String,
        /// The repository's name without its owner.
        repo: String,
    },
    /// Every repository of an organization.
    Organization {
        /// The organization.
        owner: String,
    },
    /// Every organization of an enterprise.
    Enterprise {
        /// The enterprise's short name in URLs.
        slug: String,
    },
}

impl Scope {
    /// Whether a runner of this scope can be given `job`.
    ///
    /// An enterprise's webhooks need not name it, so a job without an enterprise belongs to whichever queue it is in.
    pub fn covers(&self, job: &Job) -> bool {
        match self {
            Self::Repository { owner, repo } => same(owner, &job.owner) && same(repo, &job.repo),
            Self::Organization { owner } => same(owner, &job.owner),
            Self::Enterprise { slug } => job.enterprise.as_ref().is_none_or(|of| same(slug, of)),
        }
    }

    /// The path below GitHub's web address, as the runner's `--url` wants it.
    pub fn url_path(&self) -> String {
        match self {
            Self::Repository { owner, repo } => format!("{owner}/{repo}"),
            Self::Organization { owner } => owner.clone(),
            Self::Enterprise { slug } => format!("enterprises/{slug}"),
        }
    }
}

impl PartialEq for Scope {
    fn eq(&self, other: &Self) -> bool {
        self.url_path().eq_ignore_ascii_case(&other.url_path())
            && std::mem::discriminant(self) == std::mem::discriminant(other)
    }
}

impl Eq for Scope {}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.url_path())
    }
}

/// Whether two names of GitHub's are the same name.
pub fn same(one: &str, other: &str) -> bool {
    one.eq_ignore_ascii_case(other)
}
