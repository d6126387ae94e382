//! The table of operations: method, path, query keys, body keys, who may. It stands alone so that it can be read
//! beside GitHub's own description.

use crate::http::Answer;
use crate::rest::strict::Body;
use crate::rest::{Access, Call, actions, apps, hooks, runners, segments};
use crate::scope::Scope;

/// One operation. A path may begin with `@` and the letters of the scopes it exists for (`r`epository,
/// `o`rganization, `e`nterprise); `:` is any one segment.
pub(super) struct Route {
    method: &'static str,
    path: &'static str,
    pub(super) query: &'static [&'static str],
    pub(super) body: Body,
    pub(super) access: Access,
    pub(super) resource: &'static str,
    pub(super) is_counted: bool,
    pub(super) run: fn(&mut Call<'_>) -> Answer,
}

const PAGE: &[&str] = &["per_page", "page"];
const CURSOR: &[&str] = &["per_page", "cursor", "status"];
const RUNS: &[&str] = &[
    "actor",
    "branch",
    "event",
    "status",
    "per_page",
    "page",
    "created",
    "exclude_pull_requests",
    "check_suite_id",
    "head_sha",
];

const fn get(
    path: &'static str,
    access: Access,
    query: &'static [&'static str],
    run: fn(&mut Call<'_>) -> Answer,
) -> Route {
    Route { method: "GET", path, query, body: Body::None, access, resource: "core", is_counted: true, run }
}

const fn post(path: &'static str, access: Access, body: Body, run: fn(&mut Call<'_>) -> Answer) -> Route {
    Route { method: "POST", path, query: &[], body, access, resource: "core", is_counted: true, run }
}

const JIT: Body = Body::Json { required: &["name", "runner_group_id", "labels"], optional: &["work_folder"] };
const TOKEN: Body =
    Body::Json { required: &[], optional: &["repositories", "repository_ids", "permissions"] };
const CHECK: Body = Body::Json {
    required: &["name", "head_sha"],
    optional: &[
        "details_url",
        "external_id",
        "status",
        "started_at",
        "conclusion",
        "completed_at",
        "output",
        "actions",
    ],
};

pub(super) const ROUTES: &[Route] = &[
    post(
        "@roe/actions/runners/registration-token",
        Access::Runners,
        Body::Empty,
        runners::registration_token,
    ),
    post("@roe/actions/runners/remove-token", Access::Runners, Body::Empty, runners::remove_token),
    Route {
        resource: "actions_runner_registration",
        ..post("@roe/actions/runners/generate-jitconfig", Access::Runners, JIT, runners::jit_config)
    },
    get("@roe/actions/runners", Access::Runners, &["name", "per_page", "page"], runners::list),
    get("@roe/actions/runners/downloads", Access::Runners, &[], runners::downloads),
    get("@roe/actions/runners/deprecations/:", Access::Runners, &[], runners::deprecation),
    get("@roe/actions/runners/:", Access::Runners, &[], runners::one),
    Route { method: "DELETE", ..get("@roe/actions/runners/:", Access::Runners, &[], runners::delete) },
    get(
        "@o/actions/runner-groups",
        Access::Groups,
        &["per_page", "page", "visible_to_repository"],
        runners::groups,
    ),
    get(
        "@e/actions/runner-groups",
        Access::Groups,
        &["per_page", "page", "visible_to_organization"],
        runners::groups,
    ),
    get("@oe/actions/runner-groups/:", Access::Groups, &[], runners::group),
    get("@oe/actions/runner-groups/:/runners", Access::Groups, PAGE, runners::of_group),
    get("@r/actions/jobs/:", Access::Actions, &[], actions::job),
    get("@r/actions/runs", Access::Actions, RUNS, actions::runs),
    get("@r/actions/runs/:", Access::Actions, &["exclude_pull_requests"], actions::run),
    get("@r/actions/runs/:/jobs", Access::Actions, &["filter", "per_page", "page"], actions::jobs_of_run),
    get("@r/actions/runs/:/attempts/:/jobs", Access::Actions, PAGE, actions::jobs_of_attempt),
    post("@r/actions/runs/:/cancel", Access::Actions, Body::Empty, actions::cancel),
    post("@r/actions/runs/:/force-cancel", Access::Actions, Body::Empty, actions::force_cancel),
    post("@r/check-runs", Access::Checks, CHECK, actions::create_check_run),
    get("@ro/hooks", Access::Hooks, PAGE, hooks::list),
    get("@ro/hooks/:", Access::Hooks, &[], hooks::one),
    get("@ro/hooks/:/deliveries", Access::Hooks, CURSOR, hooks::deliveries),
    get("@ro/hooks/:/deliveries/:", Access::Hooks, &[], hooks::delivery),
    post("@ro/hooks/:/deliveries/:/attempts", Access::Hooks, Body::Empty, hooks::redeliver),
    get("/app", Access::App, &[], apps::app),
    get("/app/hook/deliveries", Access::App, CURSOR, hooks::deliveries),
    get("/app/hook/deliveries/:", Access::App, &[], hooks::delivery),
    post("/app/hook/deliveries/:/attempts", Access::App, Body::Empty, hooks::redeliver),
    get("/app/installations", Access::App, &["per_page", "page", "since", "outdated"], apps::installations),
    get("/app/installations/:", Access::App, &[], apps::installation),
    post("/app/installations/:/access_tokens", Access::App, TOKEN, apps::access_token),
    get("@roe/installation", Access::App, &[], apps::installation_of_scope),
    get("/users/:/installation", Access::App, &[], apps::installation_of_user),
    Route { is_counted: false, ..get("/rate_limit", Access::Open, &[], apps::rate_limit) },
    get("/user", Access::User, &[], apps::user),
    get("/users/:", Access::Open, &[], apps::account),
    get("/orgs/:", Access::Open, &[], apps::account),
    get("@r", Access::Metadata, &[], apps::repository),
    get("/versions", Access::Open, &[], apps::versions),
];

impl Route {
    /// The scope and the `:` segments of a path that is this operation's.
    pub(super) fn matches(&self, method: &str, path: &str) -> Option<(Option<Scope>, Vec<String>)> {
        if method != self.method {
            return None;
        }
        let given = segments(path);
        let Some(scoped) = self.path.strip_prefix('@') else {
            return Some((None, captures(self.path, &given)?));
        };
        let (letters, rest) = scoped.find('/').map_or((scoped, ""), |slash| scoped.split_at(slash));
        let texts: Vec<&str> = given.iter().map(String::as_str).collect();
        let (letter, scope, given) = match texts[..] {
            ["repos", owner, repo, ..] => ('r', format!("{owner}/{repo}"), &given[3..]),
            ["orgs", org, ..] => ('o', org.to_owned(), &given[2..]),
            ["enterprises", slug, ..] => ('e', format!("enterprises/{slug}"), &given[2..]),
            _ => return None,
        };
        if !letters.contains(letter) {
            return None;
        }
        Some((Some(Scope::parse(&scope)?), captures(rest, given)?))
    }
}

fn captures(pattern: &str, given: &[String]) -> Option<Vec<String>> {
    let wanted: Vec<&str> = pattern.split('/').skip(1).collect();
    if wanted.len() != given.len() {
        return None;
    }
    let mut captured = Vec::new();
    for (wanted, given) in wanted.into_iter().zip(given) {
        match wanted {
            ":" => captured.push(given.clone()),
            _ if wanted == given => {}
            _ => return None,
        }
    }
    Some(captured)
}
