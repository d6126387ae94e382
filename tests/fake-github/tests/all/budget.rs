//! Budgets, and what is free of them.

use serde_json::json;

use crate::support::{GOOD, call, call_as, github, request, send};

#[test]
fn budgets_run_out_and_come_back() {
    let github = github();
    github.set_budget("user", 2, 3600);
    let ask = || call(&github, "GET", "/repos/acme/app");
    assert_eq!(ask().header("x-ratelimit-remaining"), Some("1"));
    assert_eq!(call(&github, "GET", "/rate_limit").body["resources"]["core"]["remaining"], 1);
    assert_eq!(ask().header("x-ratelimit-remaining"), Some("0"));
    let refused = ask();
    assert_eq!((refused.status, refused.header("x-ratelimit-remaining")), (403, Some("0")));
    assert!(refused.message().starts_with("API rate limit exceeded"), "{refused:?}");
    github.tune(|knobs| knobs.limit_as_429 = true);
    assert_eq!(ask().status, 429);
    let jit = json!({ "name": "n", "runner_group_id": 1, "labels": ["a"] });
    let path = "/repos/acme/app/actions/runners/generate-jitconfig";
    let made = call_as(&github, "ghp_good", "POST", path, Some(&jit));
    assert_eq!(
        (made.status, made.header("x-ratelimit-resource")),
        (201, Some("actions_runner_registration"))
    );
    github.move_clock(3601);
    assert_eq!(ask().header("x-ratelimit-remaining"), Some("4999"));
    github.tune(|knobs| knobs.rate_limits = false);
    assert_eq!(ask().header("x-ratelimit-remaining"), None);
    assert_eq!(call(&github, "GET", "/rate_limit").status, 404);
}

#[test]
fn what_is_known_is_304_and_free() {
    let github = github();
    let first = call(&github, "GET", "/repos/acme/app");
    let tag = first.header("etag").unwrap().to_owned();
    let mut headers = GOOD.to_vec();
    headers.push(("If-None-Match", &tag));
    let again = send(&github, &request("GET", "/repos/acme/app", &headers, None)).unwrap();
    assert_eq!((again.status, again.body.as_str()), (304, Some("")));
    assert_eq!(again.header("x-ratelimit-remaining"), first.header("x-ratelimit-remaining"));
}
