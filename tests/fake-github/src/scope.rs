//! What runners, hooks and tokens belong to. It stands alone because REST paths, runner URLs and tests all
//! write it in their own way.

use std::fmt;

/// A repository, organization (or user) or enterprise, in lower case: GitHub compares them without case.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// `acme/app`
    Repository {
        /// The organization or user.
        owner: String,
        /// The name without its owner.
        repo: String,
    },
    /// `acme`
    Organization {
        /// The organization's login.
        org: String,
    },
    /// `enterprises/acme`
    Enterprise {
        /// The enterprise's short name.
        slug: String,
    },
}

impl Scope {
    /// Reads `acme/app`, `acme` or `enterprises/acme`, also with slashes around, as in the path of a runner's URL.
    pub fn parse(text: &str) -> Option<Scope> {
        let text = text.trim_matches('/').to_ascii_lowercase();
        match text.split('/').collect::<Vec<_>>()[..] {
            ["enterprises", slug] if !slug.is_empty() => Some(Scope::Enterprise { slug: slug.to_owned() }),
            [owner, repo] if !owner.is_empty() && !repo.is_empty() => {
                Some(Scope::Repository { owner: owner.to_owned(), repo: repo.to_owned() })
            }
            [org] if !org.is_empty() => Some(Scope::Organization { org: org.to_owned() }),
            _ => None,
        }
    }

    /// The prefix of this scope's REST paths.
    pub(crate) fn rest_path(&self) -> String {
        match self {
            Scope::Repository { owner, repo } => format!("/repos/{owner}/{repo}"),
            Scope::Organization { org } => format!("/orgs/{org}"),
            Scope::Enterprise { slug } => format!("/enterprises/{slug}"),
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Scope::Repository { owner, repo } => write!(out, "{owner}/{repo}"),
            Scope::Organization { org } => write!(out, "{org}"),
            Scope::Enterprise { slug } => write!(out, "enterprises/{slug}"),
        }
    }
}

/// For tests that write `"acme/app"`. Panics on anything [`Scope::parse`] refuses.
impl From<&str> for Scope {
    fn from(text: &str) -> Scope {
        Scope::parse(text).unwrap_or_else(|| panic!("`{text}` is no repository, organization or enterprise"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes() {
        for (text, shown) in [
            ("Acme/App", Some("acme/app")),
            ("/ACME/", Some("acme")),
            ("/enterprises/Big", Some("enterprises/big")),
            ("", None),
            ("a/b/c", None),
            ("a//", Some("a")),
        ] {
            assert_eq!(Scope::parse(text).map(|scope| scope.to_string()).as_deref(), shown, "{text}");
        }
    }
}
