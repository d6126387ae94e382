//! The aggregator's pages: the plugins of all documents in Redis, those of the Go program and ours, line for line and field for field as
//! the Go program shows them. Documents that nobody renews are marked, which it did not.
//!
//! Redis is read when somebody looks, and no oftener than the config says.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use anklet_http::{Request, Response};
use log::warn;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::document::LIFE;
use super::old::{HOST_FIELDS, NEVER};
use crate::store::redis::{Keys, LinkError};

/// Documents are written every 10 s.
const STALE: Duration = Duration::from_secs(60);
const PATTERN: &str = "anklet/metrics/*";

/// The fleet's documents.
pub(crate) struct Fleet {
    keys: Keys,
    every: Duration,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    read_at: Option<Instant>,
    documents: Vec<Document>,
    /// Keys whose documents cannot be read, each complained about once.
    unreadable: BTreeSet<String>,
}

/// The document of one process. What is missing is as the Go program writes nothing.
#[derive(Clone, Debug, Deserialize)]
struct Document {
    #[serde(default)]
    last_update: String,
    #[serde(default)]
    plugins: Vec<Plugin>,
    #[serde(flatten)]
    others: Map<String, Value>,
    #[serde(skip)]
    is_stale: bool,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct Plugin {
    name: String,
    plugin_name: String,
    repo_name: String,
    owner_name: String,
    status: String,
    #[serde(flatten)]
    others: Map<String, Value>,
}

impl Fleet {
    /// Reads at most once in `every`.
    pub(crate) fn new(keys: Keys, every: Duration) -> Self {
        Self { keys, every, state: Mutex::default() }
    }

    /// The page that is asked for.
    pub(crate) fn answer(&self, request: &Request) -> Response {
        if !matches!(request.method(), "GET" | "HEAD") {
            return Response::text(405, "only GET\n").header("Allow", "GET, HEAD");
        }
        let page = match (request.path(), request.query_value("format")) {
            ("/healthcheck", _) => return Response::text(200, "ok"),
            ("/metrics/v1" | "/metrics/v2", Some("prometheus")) => text,
            ("/metrics/v1", Some("json")) => by_name,
            ("/metrics/v2", Some("json")) => in_a_list,
            ("/metrics/v1" | "/metrics/v2", _) => {
                let said = "unsupported format, please use '?format=json' or '?format=prometheus'\n";
                return Response::text(400, said);
            }
            ("/metrics", _) => return Response::text(501, "please use /metrics/v1\n"),
            _ => {
                let said = "the pages are /metrics/v1 and /metrics/v2, each with ?format=prometheus|json\n";
                return Response::text(404, said);
            }
        };
        let is_json = request.query_value("format") == Some("json");
        match self.documents() {
            Ok(documents) if is_json => Response::new(200).body("application/json", page(&documents)),
            Ok(documents) => Response::text(200, page(&documents)),
            Err(error) => Response::text(503, format!("the database does not answer: {error}\n")),
        }
    }

    fn documents(&self) -> Result<Vec<Document>, LinkError> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.read_at.is_none_or(|read_at| read_at.elapsed() >= self.every) {
            state.documents = self.read(&mut state.unreadable)?;
            state.read_at = Some(Instant::now());
        }
        Ok(state.documents.clone())
    }

    fn read(&self, unreadable: &mut BTreeSet<String>) -> Result<Vec<Document>, LinkError> {
        let mut documents = Vec::new();
        for key in self.keys.find(PATTERN)? {
            let (Some(text), left) = (self.keys.get(&key)?, self.keys.time_left(&key)?) else { continue };
            match serde_json::from_str::<Document>(&text) {
                Ok(mut document) => {
                    // By the server's clock: those of the hosts may differ.
                    document.is_stale = left.is_some_and(|left| left + STALE < LIFE);
                    documents.push(document);
                }
                Err(error) if unreadable.insert(key.clone()) => {
                    warn!(key, error:% = error; "a metrics document cannot be read and is left out");
                }
                Err(_) => {}
            }
        }
        Ok(documents)
    }
}

impl Plugin {
    fn is_handler(&self) -> bool {
        self.plugin_name == "github"
    }

    fn field(&self, name: &str) -> Value {
        let none = || match name.strip_prefix("Total") {
            Some(_) => json!(0),
            None if name.ends_with("JobUrl") => json!(""),
            None => json!(NEVER),
        };
        self.others.get(name).cloned().unwrap_or_else(none)
    }
}

/// The fields of a plugin after its names, by the names of the page and of the document.
const PLUGIN_FIELDS: [(&str, &str); 11] = [
    ("plugin_last_successful_run", "LastSuccessfulRun"),
    ("plugin_last_failed_run", "LastFailedRun"),
    ("plugin_last_canceled_run", "LastCanceledRun"),
    ("plugin_status_since", "StatusSince"),
    ("plugin_total_ran_vms", "TotalRanVMs"),
    ("plugin_total_successful_runs_since_start", "TotalSuccessfulRunsSinceStart"),
    ("plugin_total_failed_runs_since_start", "TotalFailedRunsSinceStart"),
    ("plugin_total_canceled_runs_since_start", "TotalCanceledRunsSinceStart"),
    ("plugin_last_successful_run_job_url", "LastSuccessfulRunJobUrl"),
    ("plugin_last_failed_run_job_url", "LastFailedRunJobUrl"),
    ("plugin_last_canceled_run_job_url", "LastCanceledRunJobUrl"),
];

fn item(document: &Document, plugin: &Plugin) -> Value {
    let mut item = json!({
        "repo_name": plugin.repo_name,
        "plugin_name": plugin.plugin_name,
        "custom_name": plugin.name,
        "owner_name": plugin.owner_name,
        "last_update": document.last_update,
        "stale": document.is_stale,
        "plugin_status": plugin.status,
    });
    for (name, field) in PLUGIN_FIELDS {
        item[name] = plugin.field(field);
    }
    for name in HOST_FIELDS {
        item[name] = document.others.get(name).cloned().unwrap_or(json!(0));
    }
    item
}

fn items(documents: &[Document]) -> impl Iterator<Item = (&str, Value)> {
    documents.iter().flat_map(|document| {
        document.plugins.iter().map(move |plugin| (plugin.name.as_str(), item(document, plugin)))
    })
}

/// `/metrics/v1?format=json`.
fn by_name(documents: &[Document]) -> String {
    let mut by_name = Map::new();
    by_name.extend(items(documents).map(|(name, item)| (name.to_owned(), item)));
    Value::Object(by_name).to_string()
}

/// `/metrics/v2?format=json`.
fn in_a_list(documents: &[Document]) -> String {
    Value::Array(items(documents).map(|(_, item)| item).collect()).to_string()
}

fn text(documents: &[Document]) -> String {
    let mut lines = Vec::new();
    for document in documents {
        for plugin in &document.plugins {
            lines_of(document, plugin, &mut lines);
        }
    }
    lines.join("\n") + "\n"
}

fn lines_of(document: &Document, plugin: &Plugin, lines: &mut Vec<String>) {
    let mut line = |name: &str, labels: &str, value: &Value| {
        let value = match value {
            Value::String(text) => text.clone(),
            Value::Number(number) if name.ends_with("_percentage") => {
                format!("{:.6}", number.as_f64().unwrap_or_default())
            }
            other => other.to_string(),
        };
        lines.push(format!("{name}{{{labels}}} {value}"));
    };
    let owner = format!("name={},owner={}", plugin.name, plugin.owner_name);
    let repo =
        if plugin.repo_name.is_empty() { String::new() } else { format!(",repo={}", plugin.repo_name) };
    line("plugin_status", &format!("{owner}{repo}"), &json!(plugin.status));
    if plugin.is_handler() {
        for how in ["Successful", "Failed", "Canceled"] {
            let url = plugin.field(&format!("Last{how}RunJobUrl"));
            let labels = format!("{owner}{repo},job_url={}", url.as_str().unwrap_or_default());
            let name = format!("plugin_last_{}_run", how.to_lowercase());
            line(&name, &labels, &plugin.field(&format!("Last{how}Run")));
        }
    }
    let since = format!("{owner}{repo},status={}", plugin.status);
    line("plugin_status_since", &since, &plugin.field("StatusSince"));
    if plugin.is_handler() {
        let labels =
            format!("name={},plugin={},owner={}", plugin.name, plugin.plugin_name, plugin.owner_name);
        line("plugin_total_ran_vms", &labels, &plugin.field("TotalRanVMs"));
        for how in ["Successful", "Failed", "Canceled"] {
            let name = format!("plugin_total_{}_runs_since_start", how.to_lowercase());
            line(&name, &labels, &plugin.field(&format!("Total{how}RunsSinceStart")));
        }
    }
    for name in HOST_FIELDS {
        line(name, &owner, document.others.get(name).unwrap_or(&json!(0)));
    }
    line("last_update", &owner, &json!(document.last_update));
    line("last_update_stale", &owner, &json!(document.is_stale));
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As the Go program writes it, the fields of the host left out but one.
    const OF_GO: &str = r#"{"host_cpu_usage_percentage": 12.5, "last_update": "2026-01-02T03:04:05.678901234Z", "plugins": [
        {"Name": "RUNNER1", "PluginName": "github", "RepoName": "app", "OwnerName": "acme", "Status": "idle",
         "StatusSince": "2026-01-02T03:04:05Z", "LastSuccessfulRun": "2026-01-02T03:00:00Z", "LastFailedRun": "0001-01-01T00:00:00Z",
         "LastCanceledRun": "0001-01-01T00:00:00Z", "LastSuccessfulRunJobUrl": "https://github.com/x/1", "LastFailedRunJobUrl": "",
         "LastCanceledRunJobUrl": "", "TotalRanVMs": 3, "TotalSuccessfulRunsSinceStart": 2, "TotalFailedRunsSinceStart": 1,
         "TotalCanceledRunsSinceStart": 0},
        {"Name": "HOOKS", "PluginName": "github_receiver", "RepoName": "", "OwnerName": "acme", "Status": "idle", "StatusSince": "2026-01-02T03:04:05Z"}],
        "total_running_vms": 0, "what": "a later version writes"}"#;

    fn documents() -> Vec<Document> {
        let mut document: Document = serde_json::from_str(OF_GO).unwrap();
        document.is_stale = true;
        vec![document]
    }

    #[test]
    fn the_text_is_that_of_the_go_program() {
        let text = text(&documents());
        let expected = "\
plugin_status{name=RUNNER1,owner=acme,repo=app} idle
plugin_last_successful_run{name=RUNNER1,owner=acme,repo=app,job_url=https://github.com/x/1} 2026-01-02T03:00:00Z
plugin_last_failed_run{name=RUNNER1,owner=acme,repo=app,job_url=} 0001-01-01T00:00:00Z
plugin_last_canceled_run{name=RUNNER1,owner=acme,repo=app,job_url=} 0001-01-01T00:00:00Z
plugin_status_since{name=RUNNER1,owner=acme,repo=app,status=idle} 2026-01-02T03:04:05Z
plugin_total_ran_vms{name=RUNNER1,plugin=github,owner=acme} 3
plugin_total_successful_runs_since_start{name=RUNNER1,plugin=github,owner=acme} 2
plugin_total_failed_runs_since_start{name=RUNNER1,plugin=github,owner=acme} 1
plugin_total_canceled_runs_since_start{name=RUNNER1,plugin=github,owner=acme} 0
host_cpu_count{name=RUNNER1,owner=acme} 0
host_cpu_used_count{name=RUNNER1,owner=acme} 0
host_cpu_usage_percentage{name=RUNNER1,owner=acme} 12.500000
";
        assert!(text.starts_with(expected), "{text}");
        let end = "\
plugin_status{name=HOOKS,owner=acme} idle
plugin_status_since{name=HOOKS,owner=acme,status=idle} 2026-01-02T03:04:05Z
host_cpu_count{name=HOOKS,owner=acme} 0
";
        assert!(text.contains(end), "{text}");
        assert!(
            text.ends_with(
                "last_update{name=HOOKS,owner=acme} 2026-01-02T03:04:05.678901234Z\n\
                 last_update_stale{name=HOOKS,owner=acme} true\n"
            ),
            "{text}"
        );
        assert!(!text.contains("total_running_vms"), "no process totals: {text}");
    }

    #[test]
    fn the_objects_have_every_field() {
        let list: Value = serde_json::from_str(&in_a_list(&documents())).unwrap();
        let named: Value = serde_json::from_str(&by_name(&documents())).unwrap();
        assert_eq!((list.as_array().map(Vec::len), &list[0]), (Some(2), &named["RUNNER1"]));
        let item = list[0].as_object().unwrap();
        let names = ["repo_name", "plugin_name", "custom_name", "owner_name", "last_update", "plugin_status"];
        let fields = PLUGIN_FIELDS.map(|(name, _)| name);
        for name in names.iter().chain(&fields).chain(&HOST_FIELDS) {
            assert!(item.contains_key(*name), "{name}");
        }
        assert_eq!(item.len(), names.len() + fields.len() + HOST_FIELDS.len() + 1);
        assert_eq!((&item["custom_name"], &item["stale"]), (&json!("RUNNER1"), &json!(true)));
        assert_eq!(named["HOOKS"]["plugin_total_ran_vms"], 0);
        assert_eq!(named["HOOKS"]["plugin_last_failed_run"], NEVER);
    }
}
