//! What the Go program's lists hold: jobs and VMs as JSON, in the shape of its version 2, and of its older ones with the whole webhook in them.
//!
//! Anybody who could write to that Redis may have written them, so nothing is believed that could do harm.

use anklet_github::wire::{Webhook, webhook};
use anklet_plugin_api::job::{JobId, News, RunId};
use anklet_plugin_api::name::VmName;
use anklet_plugin_api::time::Moment;
use serde_json::{Value, json};

/// All its VMs are called so; a template never is.
const VM_PREFIX: &str = "anklet-vm-";

/// An item of a list.
#[derive(Debug, PartialEq)]
pub(super) enum Document {
    /// A job.
    Job(Box<GoJob>),
    /// A VM, made for a job.
    Vm(GoVm),
    /// Nothing that moves a job.
    Nothing,
}

/// A job, and what the Go program knew of it.
#[derive(Debug, PartialEq)]
pub(super) struct GoJob {
    /// The job as news.
    pub(super) news: News,
    /// Counted tries.
    pub(super) attempts: u32,
    /// When it was created or, if it has started, when that was.
    pub(super) started_at: Option<Moment>,
}

/// A VM.
#[derive(Debug, PartialEq)]
pub(super) struct GoVm {
    pub(super) vm: VmName,
    pub(super) job: Option<JobId>,
    pub(super) run: Option<RunId>,
    pub(super) labels: Vec<String>,
}

/// Reads an item of a list whose jobs are in this state: `queued`, `in_progress` or `completed`.
pub(super) fn read(item: &[u8], state: &str) -> Result<Document, String> {
    let document: Value = serde_json::from_slice(item).map_err(|error| error.to_string())?;
    match document["type"].as_str() {
        Some("WorkflowJobPayload") => job(&document, state),
        Some("anka.VM") => vm(&document).map(Document::Vm),
        Some(other) => Err(format!("the type {other:?} is not known")),
        None => Err("the type is missing".to_owned()),
    }
}

fn job(document: &Value, state: &str) -> Result<Document, String> {
    // Before version 0.13 the webhook lay in `payload`.
    let written = if document["payload"].is_object() { &document["payload"] } else { document };
    let mut job = written["workflow_job"].clone();
    if job.is_object() {
        // GitHub is asked about each of these jobs before it starts, which tells its real age; this one only orders the queue.
        job["created_at"] = Value::Null;
    }
    let repository = &written["repository"];
    let owner = repository["owner"].as_str().or_else(|| repository["owner"]["login"].as_str());
    let body = json!({
        "action": state,
        "workflow_job": job,
        "repository": { "name": repository["name"], "owner": { "login": owner } },
        "enterprise": written["enterprise"],
    });
    let news = match webhook(body.to_string().as_bytes()) {
        Ok(Webhook::News(news)) => *news,
        Ok(Webhook::Ignored(_)) => return Ok(Document::Nothing),
        Err(error) => return Err(error.to_string()),
    };
    let attempts = document["attempts"].as_u64().unwrap_or(0);
    Ok(Document::Job(Box::new(GoJob {
        news,
        attempts: u32::try_from(attempts).unwrap_or(u32::MAX),
        started_at: job["started_at"].as_str().and_then(Moment::parse_rfc3339),
    })))
}

fn vm(document: &Value) -> Result<GoVm, String> {
    // Before version 0.13 the VM lay in `payload`.
    let written = if document["payload"].is_object() { &document["payload"] } else { &document["anka_vm"] };
    let name = written["name"].as_str().or_else(|| written["Name"].as_str()).unwrap_or_default();
    let is_name =
        |rest: &str| !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    if !name.strip_prefix(VM_PREFIX).is_some_and(is_name) {
        return Err(format!("{name:?} is no name of a VM that the Go program makes"));
    }
    let job = &document["workflow_job"];
    let number = |key: &str| job[key].as_u64().filter(|number| *number > 0);
    let labels = job["labels"].as_array().into_iter().flatten();
    Ok(GoVm {
        vm: VmName::new(name),
        job: number("id").map(JobId),
        run: number("run_id").map(RunId),
        labels: labels.filter_map(|label| label.as_str().map(ToOwned::to_owned)).collect(),
    })
}

#[cfg(test)]
mod tests {
    use anklet_plugin_api::job::{Conclusion, Phase};

    use super::*;

    fn document() -> Value {
        json!({
            "type": "WorkflowJobPayload",
            "workflow_job": {
                "id": 9_007_199_254_740_993_u64, "name": "build", "run_id": 7, "status": "queued", "conclusion": null,
                "started_at": "2026-01-02T03:04:05Z", "completed_at": null, "labels": ["self-hosted", "anka-template:t1"],
                "html_url": "https://github.com/acme/app/actions/runs/7/job/1", "workflow_name": "ci"
            },
            "anka_vm": { "name": "", "cpu_cores": 0, "ram_size": 0 },
            "repository": { "name": "app", "owner": "Acme", "visibility": "private", "private": true },
            "action": "queued", "paused_on": "", "attempts": 3
        })
    }

    fn read_job(document: &Value, state: &str) -> GoJob {
        match read(document.to_string().as_bytes(), state) {
            Ok(Document::Job(job)) => *job,
            other => panic!("{document}: {other:?}"),
        }
    }

    #[track_caller]
    fn check_broken(document: &str, word: &str) {
        let why = read(document.as_bytes(), "queued").unwrap_err();
        assert!(why.contains(word), "{document}: {why}");
    }

    #[test]
    fn jobs_keep_what_the_go_program_knew() {
        let job = read_job(&document(), "queued");
        assert_eq!((job.attempts, job.started_at), (3, Moment::parse_rfc3339("2026-01-02T03:04:05Z")));
        assert_eq!(job.news.job.id, JobId(9_007_199_254_740_993));
        assert_eq!((job.news.job.owner.as_str(), job.news.job.repo.as_str()), ("Acme", "app"));
        assert_eq!(job.news.job.image.template, "t1");
        assert_eq!((job.news.phase, job.news.for_us), (Phase::Queued, true));
        assert_eq!(job.news.job.created_at, None, "so that GitHub is asked about it");
    }

    #[test]
    fn the_list_says_how_far_a_job_is() {
        let mut document = document();
        document["workflow_job"]["conclusion"] = json!("failure");
        let ended = read_job(&document, "completed").news.phase;
        assert_eq!(ended, Phase::Completed { conclusion: Conclusion::Failure, runner: None });
        assert_eq!(read_job(&document, "in_progress").news.phase, Phase::InProgress { runner: None });
        document["workflow_job"]["conclusion"] = json!("cancelled");
        assert_eq!(read(document.to_string().as_bytes(), "in_progress"), Ok(Document::Nothing));
    }

    #[test]
    fn owners_come_in_two_shapes_and_webhooks_whole() {
        let mut document = document();
        document["repository"]["owner"] = json!({ "login": "Acme" });
        assert_eq!(read_job(&document, "queued").news.job.owner, "Acme");
        let old = json!({ "type": "WorkflowJobPayload", "payload": document });
        assert_eq!(read_job(&old, "queued").news.job.repo, "app");
    }

    #[test]
    fn only_what_the_go_program_made_is_taken_for_its_vm() {
        let vm = |name: &str| {
            json!({ "type": "anka.VM", "anka_vm": { "name": name }, "workflow_job": document()["workflow_job"] })
                .to_string()
        };
        let Ok(Document::Vm(read)) = read(vm("anklet-vm-1").as_bytes(), "queued") else { panic!("a VM") };
        assert_eq!((read.vm.as_str(), read.run), ("anklet-vm-1", Some(RunId(7))));
        assert_eq!(read.labels, ["self-hosted", "anka-template:t1"]);
        for name in ["", "sonoma", "anklet-vm-", "anklet-vm-1 --yes", "--yes", "anklet-vm-../x"] {
            check_broken(&vm(name), "no name of a VM");
        }
    }

    #[test]
    fn what_cannot_be_read_says_why() {
        check_broken("", "EOF");
        check_broken("{", "EOF");
        check_broken("[]", "type is missing");
        check_broken(r#"{"type":"JobPayload"}"#, "JobPayload");
        check_broken(r#"{"type":"WorkflowJobPayload"}"#, "missing");
        check_broken(
            r#"{"type":"WorkflowJobPayload","workflow_job":7,"repository":{"name":"a","owner":"b"}}"#,
            "JSON",
        );
        let mut document = document();
        document["workflow_job"]["labels"] = Value::Null;
        check_broken(&document.to_string(), "workflow_job.labels");
        document["workflow_job"]["labels"] = json!([]);
        document["repository"]["owner"] = Value::Null;
        check_broken(&document.to_string(), "owner");
    }
}
