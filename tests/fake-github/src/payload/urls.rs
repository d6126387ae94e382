//! The many URL fields of GitHub's bodies, as tables. They stand alone because they are long and say nothing.

use serde_json::{Value, json};

/// Key without `_url`, and what follows the thing's own URL.
type Urls = &'static [(&'static str, &'static str)];

pub(super) const ACCOUNT: Urls = &[
    ("followers", "/followers"),
    ("following", "/following{/other_user}"),
    ("gists", "/gists{/gist_id}"),
    ("starred", "/starred{/owner}{/repo}"),
    ("subscriptions", "/subscriptions"),
    ("organizations", "/orgs"),
    ("repos", "/repos"),
    ("events", "/events{/privacy}"),
    ("received_events", "/received_events"),
];

pub(super) const ORGANIZATION: Urls = &[
    ("repos", "/repos"),
    ("events", "/events"),
    ("hooks", "/hooks"),
    ("issues", "/issues"),
    ("members", "/members{/member}"),
    ("public_members", "/public_members{/member}"),
];

pub(super) const RUN: Urls = &[
    ("jobs", "/jobs"),
    ("logs", "/logs"),
    ("artifacts", "/artifacts"),
    ("cancel", "/cancel"),
    ("rerun", "/rerun"),
];

pub(super) const REPOSITORY: Urls = &[
    ("forks", "/forks"),
    ("keys", "/keys{/key_id}"),
    ("collaborators", "/collaborators{/collaborator}"),
    ("teams", "/teams"),
    ("hooks", "/hooks"),
    ("issue_events", "/issues/events{/number}"),
    ("events", "/events"),
    ("assignees", "/assignees{/user}"),
    ("branches", "/branches{/branch}"),
    ("tags", "/tags"),
    ("blobs", "/git/blobs{/sha}"),
    ("git_tags", "/git/tags{/sha}"),
    ("git_refs", "/git/refs{/sha}"),
    ("trees", "/git/trees{/sha}"),
    ("statuses", "/statuses/{sha}"),
    ("languages", "/languages"),
    ("stargazers", "/stargazers"),
    ("contributors", "/contributors"),
    ("subscribers", "/subscribers"),
    ("subscription", "/subscription"),
    ("commits", "/commits{/sha}"),
    ("git_commits", "/git/commits{/sha}"),
    ("comments", "/comments{/number}"),
    ("issue_comment", "/issues/comments{/number}"),
    ("contents", "/contents/{+path}"),
    ("compare", "/compare/{base}...{head}"),
    ("merges", "/merges"),
    ("archive", "/{archive_format}{/ref}"),
    ("downloads", "/downloads"),
    ("issues", "/issues{/number}"),
    ("pulls", "/pulls{/number}"),
    ("milestones", "/milestones{/number}"),
    ("notifications", "/notifications{?since,all,participating}"),
    ("labels", "/labels{/name}"),
    ("releases", "/releases{/id}"),
    ("deployments", "/deployments"),
];

/// Adds `key_url` for each row.
pub(super) fn add(body: &mut Value, base: &str, urls: Urls) {
    for (key, rest) in urls {
        body[format!("{key}_url")] = json!(format!("{base}{rest}"));
    }
}
