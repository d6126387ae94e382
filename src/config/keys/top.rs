//! The keys of the file itself, without `limits` and `anka_timeouts`.

use super::{Key, Root, database_keys};
use crate::config::kind::Kind;

pub(super) fn keys() -> Vec<Key> {
    let mut keys = folders();
    keys.extend(github());
    keys.extend(globals());
    keys.extend(database_keys(Root::Top, "global_database_"));
    keys.extend(metrics());
    keys.extend(database_keys(Root::Top, "metrics.database."));
    keys.extend(host_and_old());
    keys
}

fn key(path: &str, kind: Kind, default: &str, meaning: &'static str) -> Key {
    Key::new(Root::Top, path, kind, default, meaning)
}

fn folders() -> Vec<Key> {
    vec![
        key("plugins", Kind::Plugins, "none", "The plugins to run, in the order in which they start."),
        key(
            "work_dir",
            Kind::Folder,
            "./, or ~/.config/anklet if that cannot be written",
            "Folder for files that are needed for a while.",
        ),
        key(
            "plugins_path",
            Kind::Path,
            "~/.config/anklet/plugins",
            "Folder that may hold guest scripts of your own, in handlers/github/.",
        ),
        key(
            "log.file_dir",
            Kind::LogFolder,
            "work_dir",
            "Folder for the log files of single plugins; it must exist.",
        ),
        key(
            "log.split_by_plugin",
            Kind::Flag,
            "false",
            "Write each plugin's lines to a file of its own, anklet-NAME.log in log.file_dir, instead of standard output.",
        ),
        key(
            "claim_seconds",
            Kind::seconds(0.1, 86_400.0),
            "90",
            "How long a job stays claimed by a host that gives no sign of life; the same on all hosts.",
        ),
    ]
}

fn github() -> Vec<Key> {
    vec![
        key("github_url", Kind::Url, "https://github.com", "GitHub, for plugins that name no other."),
        key(
            "github_api_url",
            Kind::Url,
            "made from github_url",
            "GitHub's API, for plugins that name neither of the two.",
        ),
        key(
            "ca_file",
            Kind::File,
            "the system's certificates",
            "PEM file of the certificates to trust for GitHub and Redis instead of the system's.",
        ),
    ]
}

fn globals() -> Vec<Key> {
    vec![
        key("global_token", Kind::Secret, "none", "Personal access token for plugins without a token."),
        key(
            "global_private_key",
            Kind::Secret,
            "none",
            "Private key of the GitHub App for plugins without one: a path or the PEM text itself.",
        ),
        key(
            "global_receiver_secret",
            Kind::Secret,
            "none",
            "Secret of the webhook for all receivers; wins over theirs.",
        ),
        key(
            "global_template_disk_buffer",
            Kind::decimal(0.0, 99.0),
            "10.0",
            "template_disk_buffer for plugins that set none.",
        ),
        key(
            "global_skip_cpu_and_memory_resource_checks",
            Kind::Flag,
            "false",
            "If true, every handler starts VMs without looking at free CPU and memory.",
        ),
        key(
            "global_host_to_guest_folder_mounts",
            Kind::List,
            "none",
            "Folders shared with every VM, as PATH or PATH:NAME; those of the plugin follow.",
        ),
        key(
            "global_database_path",
            Kind::Path,
            "~/.config/anklet/anklet.db",
            "File of the built-in queue, used by plugins without a database.",
        ),
    ]
}

fn metrics() -> Vec<Key> {
    vec![
        key(
            "metrics.aggregator",
            Kind::Flag,
            "false",
            "Show the metrics of all hosts from the database, and run no plugins.",
        ),
        key(
            "metrics.port",
            Kind::whole(0, 65_535),
            "8080, or the next free one",
            "Port of the metrics page; a configured port must be free.",
        ),
        key(
            "metrics.bind",
            Kind::Address,
            "all interfaces",
            "IP address on which the metrics page is offered.",
        ),
        key(
            "metrics.sleep_interval",
            Kind::seconds(0.0, 86_400.0),
            "10",
            "Seconds between two looks of the aggregator at the database.",
        ),
    ]
}

fn host_and_old() -> Vec<Key> {
    vec![
        key(
            "host.cpu_count",
            Kind::whole(1, 100_000),
            "measured",
            "CPUs of this host that VMs may use; for tests and for hosts that do other work.",
        ),
        key(
            "host.memory_bytes",
            Kind::whole(1, i64::MAX),
            "measured",
            "Memory of this host that VMs may use, in bytes.",
        ),
        key("pid_file_dir", Kind::Ignored, "none", "Of older versions; read, without effect."),
        key(
            "log_file_dir",
            Kind::Ignored,
            "none",
            "Of older versions; read, without effect. See log.file_dir.",
        ),
        key("metrics.metrics_urls", Kind::Ignored, "none", "Of older versions; read, without effect."),
    ]
}
