//! Where queues and metrics live.

use std::path::Path;
use std::time::Duration;

use anklet_plugin_api::section::Secret;

use crate::config::finding::Findings;
use crate::config::raw::Raw;
use crate::config::{DatabaseChoice, RedisSettings};

/// Prefix of the keys that hold for all plugins.
const GLOBAL: &str = "global_database_";

/// A set of database keys: those in `raw` below `prefix`.
type Source<'a> = (&'a Raw, &'a str);

/// A plugin's queue: the global settings win, the plugin's fill the gaps; without a server it is the built-in one.
pub(super) fn of_plugin(
    top: &Raw,
    plugin: &Raw,
    embedded: &Path,
    secrets: &mut Vec<Secret>,
    findings: &mut Findings,
) -> DatabaseChoice {
    if plugin.flag("database.enabled") == Some(false) {
        return DatabaseChoice::Embedded(embedded.to_owned());
    }
    match redis([(top, GLOBAL), (plugin, "database.")], secrets) {
        Some(settings) => DatabaseChoice::Redis(settings),
        None => {
            for path in ["database.port", "database.user", "database.password"] {
                if plugin.has(path) {
                    findings.warn(
                        plugin.at(path),
                        "has no effect without `database.url`: set that too, or remove it",
                    );
                }
            }
            DatabaseChoice::Embedded(embedded.to_owned())
        }
    }
}

/// The database of the metrics: its own settings win, the global ones fill the gaps.
pub(super) fn of_metrics(top: &Raw, secrets: &mut Vec<Secret>) -> Option<RedisSettings> {
    redis([(top, "metrics.database."), (top, GLOBAL)], secrets)
}

/// The settings, if any source names a server; for each key the first source that has it counts.
fn redis(sources: [Source<'_>; 2], secrets: &mut Vec<Secret>) -> Option<RedisSettings> {
    let text = |key| first(sources, |raw, path| raw.text(path).map(str::to_owned), key);
    let whole = |key| first(sources, Raw::whole, key);
    let flag = |key| first(sources, Raw::flag, key).unwrap_or(false);
    let host = text("url")?.trim_matches(['[', ']']).to_owned();
    let password = text("password").map(Secret::new);
    secrets.extend(password.clone());
    Some(RedisSettings {
        host,
        port: whole("port").and_then(|port| u16::try_from(port).ok()).unwrap_or(6379),
        user: text("user"),
        password,
        database: whole("database").and_then(|number| u32::try_from(number).ok()).unwrap_or(0),
        // Below zero means never, as in the Go program.
        max_retries: whole("max_retries").map_or(5, |number| u32::try_from(number).unwrap_or(0)),
        retry_delay: first(sources, Raw::span, "retry_delay").unwrap_or(Duration::from_secs(1)),
        retry_backoff_factor: first(sources, Raw::decimal, "retry_backoff_factor").unwrap_or(2.0),
        cluster_mode: flag("cluster_mode"),
        tls_enabled: flag("tls_enabled"),
        tls_insecure: flag("tls_insecure"),
    })
}

fn first<'a, T>(sources: [Source<'a>; 2], get: impl Fn(&'a Raw, &str) -> Option<T>, key: &str) -> Option<T> {
    sources.into_iter().find_map(|(raw, prefix)| get(raw, &format!("{prefix}{key}")))
}
