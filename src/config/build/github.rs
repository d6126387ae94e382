//! Where GitHub is and what runners are registered to.

use std::path::{Path, PathBuf};

use anklet_plugin_api::scope::Scope;

use super::folders;
use crate::config::finding::Findings;
use crate::config::raw::Raw;

/// The web and the API address of a plugin's GitHub.
///
/// A plugin that names one of the two means another GitHub than the global one, so the other is not taken from there.
pub(super) fn urls(top: &Raw, plugin: &Raw) -> (String, String) {
    let of = |raw: &Raw| {
        (raw.text("github_url").map(str::to_owned), raw.text("github_api_url").map(str::to_owned))
    };
    let (web, api) = match of(plugin) {
        (None, None) => of(top),
        own => own,
    };
    let web = web.unwrap_or_else(|| "https://github.com".to_owned());
    let api = api.unwrap_or_else(|| api_url(&web));
    (web, api)
}

/// Where the API of a GitHub is: github.com and its data-residency siblings have a host of their own for it.
fn api_url(web: &str) -> String {
    let (scheme, rest) = web.split_once("://").unwrap_or(("https", web));
    let (host, _) = rest.split_once('/').unwrap_or((rest, ""));
    let host = host.to_ascii_lowercase();
    if host == "github.com" || host == "www.github.com" {
        "https://api.github.com".to_owned()
    } else if host.ends_with(".ghe.com") {
        format!("{scheme}://api.{host}")
    } else {
        format!("{web}/api/v3")
    }
}

/// `ca_file`, which must hold certificates.
pub(super) fn ca_file(top: &Raw, home: Option<&Path>, findings: &mut Findings) -> Option<PathBuf> {
    let path = folders::with_default(top, "ca_file", top.text("ca_file")?, home, findings)?;
    let problem = match std::fs::read(&path) {
        Ok(bytes) if contains(&bytes, b"-----BEGIN CERTIFICATE-----") => return Some(path),
        Ok(_) => "holds no certificate in PEM form (`-----BEGIN CERTIFICATE-----`)".to_owned(),
        Err(error) => format!("`{}` cannot be read: {error}", path.display()),
    };
    findings.problem(top.at("ca_file"), problem);
    None
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

/// What the plugin's runners are registered to.
pub(super) fn scope(raw: &Raw, findings: &mut Findings) -> Option<Scope> {
    let text = |key| raw.text(key).map(str::to_owned);
    match (text("enterprise"), text("owner"), text("repo")) {
        (Some(slug), None, None) => Some(Scope::Enterprise { slug }),
        (Some(_), _, _) => {
            findings.problem(raw.at("enterprise"), "excludes `owner` and `repo`: remove it, or those");
            None
        }
        (None, Some(owner), Some(repo)) => Some(Scope::Repository { owner, repo }),
        (None, Some(owner), None) => Some(Scope::Organization { owner }),
        // An owner that is wrong is not missing.
        (None, None, _)
            if ["owner", "enterprise"].iter().any(|key| findings.has_problem(raw.plugin.as_deref(), key)) =>
        {
            None
        }
        (None, None, Some(_)) => {
            findings.problem(raw.at("repo"), "needs `owner` beside it: set the owner of the repository");
            None
        }
        (None, None, None) => {
            findings.problem(raw.at("owner"), "is missing: set `owner`, `owner` and `repo`, or `enterprise`");
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_api_is_where_github_has_it() {
        for (web, api) in [
            ("https://github.com", "https://api.github.com"),
            ("https://GitHub.com", "https://api.github.com"),
            ("https://git.example.com", "https://git.example.com/api/v3"),
            ("https://acme.ghe.com", "https://api.acme.ghe.com"),
            ("http://127.0.0.1:9000", "http://127.0.0.1:9000/api/v3"),
            ("https://notghe.com", "https://notghe.com/api/v3"),
        ] {
            assert_eq!(api_url(web), api);
        }
    }
}
