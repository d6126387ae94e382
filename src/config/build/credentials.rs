//! How a plugin proves to GitHub who it is.

use std::path::Path;

use anklet_plugin_api::scope::Scope;
use anklet_plugin_api::section::{AppCredentials, Secret};

use crate::config::finding::Findings;
use crate::config::paths;
use crate::config::raw::Raw;

/// A key file is a few kilobytes.
const MOST_KEY_BYTES: usize = 64 << 10;

/// A plugin's credentials; either may be missing.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Credentials {
    pub(super) token: Option<Secret>,
    /// Where it was found, if it was.
    pub(super) token_key: &'static str,
    pub(super) app: Option<AppCredentials>,
}

/// The credentials of a plugin: its own, with gaps filled from the global ones.
///
/// Outside an enterprise, which needs both kinds, an App of the plugin's own is not joined by the global token: it is clear
/// which of the two is meant.
pub(super) fn of_plugin(
    top: &Raw,
    plugin: &Raw,
    scope: Option<&Scope>,
    home: Option<&Path>,
    findings: &mut Findings,
) -> Credentials {
    let app = app(top, plugin, home, findings);
    let needs_both = matches!(scope, Some(Scope::Enterprise { .. }));
    let has_own_app = app.is_some() && plugin.text("private_key").is_some();
    let (token, token_key) = match token(plugin, "token", findings) {
        Some(token) => (Some(token), "token"),
        None if has_own_app && !needs_both => (None, "token"),
        None => (token(top, "global_token", findings), "global_token"),
    };
    Credentials { token, token_key, app }
}

fn token(raw: &Raw, key: &str, findings: &mut Findings) -> Option<Secret> {
    let token = raw.text(key)?.trim();
    if token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Some(Secret::new(token));
    }
    findings.problem(raw.at(key), "must be a token in one piece, without spaces: copy it again");
    None
}

fn app(top: &Raw, plugin: &Raw, home: Option<&Path>, findings: &mut Findings) -> Option<AppCredentials> {
    let id = plugin.text("app_id").map(str::trim).filter(|id| *id != "0");
    let (raw, key) = if plugin.text("private_key").is_some() {
        (plugin, "private_key")
    } else {
        (top, "global_private_key")
    };
    match (id, raw.text(key)) {
        (Some(id), Some(text)) => {
            let private_key = match private_key(text, home) {
                Ok(private_key) => private_key,
                Err(what) => {
                    findings.problem(raw.at(key), what);
                    return None;
                }
            };
            let installation_id = plugin.whole("installation_id").filter(|id| *id > 0);
            let installation_id = installation_id.and_then(|id| u64::try_from(id).ok());
            Some(AppCredentials { id: id.to_owned(), installation_id, private_key, private_key_key: key })
        }
        (Some(_), None) => {
            let what =
                "needs `private_key` (or `global_private_key`) beside it: set the key of the GitHub App";
            findings.problem(plugin.at("app_id"), what);
            None
        }
        (None, Some(_)) if key == "private_key" => {
            findings.problem(
                plugin.at("app_id"),
                "is missing: set the number of the GitHub App of `private_key`",
            );
            None
        }
        // A global key is for those plugins that name an App.
        (None, Some(_) | None) => None,
    }
}

/// The PEM text that a key is, or that lies in the file it names.
fn private_key(text: &str, home: Option<&Path>) -> Result<Secret, String> {
    if text.contains("-----BEGIN") {
        return pem(text);
    }
    let text = text.trim();
    // What does not look like a path may be a key without its first line; it is not repeated in a message.
    let shown = if ["/", "~/", "./", "../"].iter().any(|start| text.starts_with(start)) {
        format!("`{text}`")
    } else {
        "the path given".to_owned()
    };
    let path = paths::expand(text, home)?;
    let bytes = std::fs::read(path).map_err(|error| {
        format!("{shown} cannot be read ({error}): write the path of the key file, or its whole text from `-----BEGIN` on")
    })?;
    match String::from_utf8(bytes) {
        Ok(text) if text.len() <= MOST_KEY_BYTES && text.contains("-----BEGIN") => pem(&text),
        Ok(_) | Err(_) => {
            Err(format!("{shown} holds no private key in PEM form (`-----BEGIN RSA PRIVATE KEY-----`)"))
        }
    }
}

/// The key in lines, as PEM wants it. YAML and environments often make one line of it, with spaces or `\n` in words.
fn pem(text: &str) -> Result<Secret, String> {
    let cut = "is a PEM text that is cut off: copy all from `-----BEGIN` to the end of `-----END …-----`";
    let text = text.replace("\\n", "\n");
    let (_, rest) = text.split_once("-----BEGIN ").ok_or(cut)?;
    let (label, rest) = rest.split_once("-----").ok_or(cut)?;
    let (body, _) = rest.split_once(&format!("-----END {label}-----")).ok_or(cut)?;
    if !label.ends_with("PRIVATE KEY") {
        return Err(format!(
            "holds a {}, but must hold a private key",
            crate::config::finding::readable(label, 40)
        ));
    }
    if label.contains("ENCRYPTED") || body.contains("ENCRYPTED") {
        return Err("is protected by a password: take the key as GitHub gave it".to_owned());
    }
    let body: String = body.split_whitespace().collect();
    let mut lines = vec![format!("-----BEGIN {label}-----")];
    lines.extend(body.as_bytes().chunks(64).map(|line| String::from_utf8_lossy(line).into_owned()));
    lines.push(format!("-----END {label}-----\n"));
    Ok(Secret::new(lines.join("\n")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::testing::Folder;

    const KEY: &str = "-----BEGIN RSA PRIVATE KEY-----\nTUlJ\n-----END RSA PRIVATE KEY-----\n";

    #[test]
    fn keys_are_found_in_text_and_files() {
        let folder = Folder::new();
        std::fs::write(folder.path().join("key.pem"), KEY).unwrap();
        std::fs::write(folder.path().join("other"), "hello").unwrap();
        let check = |text: &str, expected: Result<&str, &str>| {
            let key = private_key(text, Some(folder.path()));
            match (key, expected) {
                (Ok(key), Ok(expected)) => assert_eq!(key.reveal(), expected, "{text}"),
                (Err(error), Err(part)) => assert!(error.contains(part), "{text}: {error}"),
                (key, expected) => panic!("{text}: {key:?} is not {expected:?}"),
            }
        };
        check("~/key.pem", Ok(KEY));
        check(&folder.path().join("key.pem").to_string_lossy(), Ok(KEY));
        check(KEY, Ok(KEY));
        check(&KEY.replace('\n', "\\n"), Ok(KEY));
        check(&KEY.replace('\n', " "), Ok(KEY));
        check(&KEY.replace('\n', "\r\n"), Ok(KEY));
        check("~/none.pem", Err("`~/none.pem` cannot be read"));
        check("~/other", Err("no private key"));
        check("MIIEowIBAAKCAQEA", Err("the path given cannot be read"));
        check("-----BEGIN RSA PRIVATE KEY-----\nTUlJ", Err("cut off"));
        check(&KEY.replace("RSA PRIVATE KEY", "CERTIFICATE"), Err("holds a CERTIFICATE"));
        check(&KEY.replace("RSA", "ENCRYPTED"), Err("password"));
        check("/", Err("cannot be read"));
    }
}
