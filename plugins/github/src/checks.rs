//! Check runs: what a developer sees at a commit. Only a GitHub App may write them.

use anklet_plugin_api::ear::Ear;
use anklet_plugin_api::job::JobId;
use serde::Deserialize;
use serde_json::json;

use crate::address::Repository;
use crate::client::Client;
use crate::error::{CallName, ClientError};
use crate::jobs::repository_call;

const GET_JOB: CallName = CallName { method: "GET", path: "/repos/{owner}/{repo}/actions/jobs/{id}" };
const CREATE_CHECK_RUN: CallName = CallName { method: "POST", path: "/repos/{owner}/{repo}/check-runs" };

/// GitHub allows longer texts, but nobody reads them.
const MOST_SUMMARY_CHARS: usize = 10_000;

/// A check that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailedCheck {
    /// What it is called in the list of checks.
    pub name: &'static str,
    /// A few words.
    pub title: String,
    /// Why it failed and what to do, in Markdown.
    pub summary: String,
    /// Where more is to be seen.
    pub details_url: String,
}

impl Client {
    /// Puts a failed check onto the commit that a job is for, in two calls. After a lost answer it may stand there twice.
    pub fn fail_check(
        &self,
        repository: Repository,
        job: JobId,
        check: &FailedCheck,
        ear: &Ear,
    ) -> Result<(), ClientError> {
        let get = repository_call(GET_JOB, repository, &format!("/actions/jobs/{job}"));
        let answer = self.call(&get, ear)?;
        let written: WrittenCommit = answer.json()?;
        if written.head_sha.is_empty() {
            return Err(answer.nonsense("it names no commit"));
        }
        let summary: String = check.summary.chars().take(MOST_SUMMARY_CHARS).collect();
        let mut body = json!({
            "name": check.name,
            "head_sha": written.head_sha,
            "status": "completed",
            "conclusion": "failure",
            "output": { "title": check.title, "summary": summary },
        });
        // GitHub takes nothing but an address there.
        if check.details_url.starts_with("http") {
            body["details_url"] = json!(check.details_url);
        }
        let post = repository_call(CREATE_CHECK_RUN, repository, "/check-runs").with_body(&body);
        self.call(&post, ear).map(drop)
    }
}

#[derive(Deserialize)]
struct WrittenCommit {
    #[serde(default)]
    head_sha: String,
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::testing::{Server, answer};

    const REPOSITORY: Repository<'_> = Repository { owner: "o", repo: "r" };

    fn check(details_url: &str, summary: &str) -> FailedCheck {
        let (title, summary) = ("a title".to_owned(), summary.to_owned());
        FailedCheck { name: "anklet", title, summary, details_url: details_url.to_owned() }
    }

    #[test]
    fn a_failed_check_stands_on_the_commit_of_the_job() {
        let server = Server::new([answer(200, json!({ "id": 7, "head_sha": "abc" })), answer(201, "{}")]);
        let wish = check("https://x.example/job", &"ü".repeat(20_000));
        server.client().fail_check(REPOSITORY, JobId(7), &wish, &Ear::deaf()).unwrap();
        assert_eq!(server.asked().line, "GET /repos/o/r/actions/jobs/7 HTTP/1.1");
        let asked = server.asked();
        assert_eq!(asked.line, "POST /repos/o/r/check-runs HTTP/1.1");
        let body: Value = serde_json::from_str(&asked.body).unwrap();
        let output = json!({ "title": "a title", "summary": "ü".repeat(10_000) });
        let expected = json!({
            "name": "anklet", "head_sha": "abc", "status": "completed", "conclusion": "failure", "output": output,
            "details_url": "https://x.example/job",
        });
        assert_eq!(body, expected);
    }

    #[test]
    fn without_a_commit_or_a_permission_there_is_none() {
        let server = Server::new([answer(200, r#"{"head_sha":""}"#)]);
        let error =
            server.client().fail_check(REPOSITORY, JobId(7), &check("", ""), &Ear::deaf()).unwrap_err();
        assert!(matches!(error, ClientError::Nonsense { .. }), "{error}");
        let server = Server::new([answer(200, r#"{"head_sha":"a"}"#), answer(403, "{}")]);
        let error =
            server.client().fail_check(REPOSITORY, JobId(7), &check("", ""), &Ear::deaf()).unwrap_err();
        assert!(matches!(error, ClientError::Forbidden { .. }), "{error}");
        let _ = server.asked();
        assert!(!server.asked().body.contains("details_url"));
    }
}
