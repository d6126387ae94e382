//! Apps: JWTs, installations, their tokens and permissions.

use std::time::{SystemTime, UNIX_EPOCH};

use fake_github::{FakeGitHub, JobSpec, keys};
use ring::rand::SystemRandom;
use ring::signature::{RSA_PKCS1_SHA256, RsaKeyPair};
use serde_json::{Value, json};

use crate::support::{GOOD, call_as, github, request, send};

fn encode(bytes: &[u8]) -> String {
    const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let bits: String = bytes.iter().map(|byte| format!("{byte:08b}")).collect();
    let sextet = |chunk: &[u8]| {
        let text = format!("{:0<6}", std::str::from_utf8(chunk).unwrap());
        char::from(LETTERS[usize::from_str_radix(&text, 2).unwrap()])
    };
    bits.as_bytes().chunks(6).map(sextet).collect()
}

fn pair(pem: &str) -> RsaKeyPair {
    let body: String = pem.lines().filter(|line| !line.starts_with("--")).collect();
    let value = |byte: u8| {
        b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
            .iter()
            .position(|known| *known == byte)
    };
    let bits: String = body.bytes().filter_map(value).map(|value| format!("{value:06b}")).collect();
    let whole = |chunk: &[u8]| u8::from_str_radix(std::str::from_utf8(chunk).unwrap(), 2).unwrap();
    let der: Vec<u8> = bits.as_bytes().chunks_exact(8).map(whole).collect();
    RsaKeyPair::from_der(&der).unwrap()
}

fn jwt(pem: &str, issuer: Value, issued_in: i64, expires_in: i64) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() as i64;
    let claims = json!({ "iss": issuer, "iat": now + issued_in, "exp": now + expires_in });
    let head = json!({ "alg": "RS256", "typ": "JWT" });
    let signed = format!("{}.{}", encode(head.to_string().as_bytes()), encode(claims.to_string().as_bytes()));
    let pair = pair(pem);
    let mut signature = vec![0; pair.public().modulus_len()];
    pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), signed.as_bytes(), &mut signature).unwrap();
    format!("{signed}.{}", encode(&signature))
}

fn with_app() -> FakeGitHub {
    let github = github();
    github
        .add_repo("acme/other")
        .add_app(
            77,
            "Iv23client",
            keys::APP_KEY_PKCS8,
            &["administration=write", "actions=read", "checks=write"],
        )
        .add_installation(501, 77, "acme");
    github
}

fn good_jwt() -> String {
    jwt(keys::APP_KEY, json!("Iv23client"), -60, 540)
}

fn check_jwt(jwt: &str, status: u16, message: &str) {
    let github = with_app();
    let reply = call_as(&github, jwt, "GET", "/app", None);
    assert_eq!(reply.status, status, "{reply:?}");
    assert!(reply.message().contains(message), "{reply:?}");
}

#[test]
fn jwts_are_proved() {
    check_jwt(&good_jwt(), 200, "");
    check_jwt(&jwt(keys::APP_KEY, json!("77"), -60, 540), 200, "");
    check_jwt(&jwt(keys::APP_KEY, json!(77), -60, 600), 200, "");
    check_jwt(&jwt(keys::APP_KEY, json!("78"), -60, 540), 404, "Integration not found");
    check_jwt(&jwt(keys::OTHER_KEY, json!(77), -60, 540), 401, "could not be decoded");
    check_jwt(&jwt(keys::APP_KEY, json!(77), 30, 540), 401, "'iat'");
    check_jwt(&jwt(keys::APP_KEY, json!(77), -600, -1), 401, "'exp'");
    check_jwt(&jwt(keys::APP_KEY, json!(77), -60, 700), 401, "too far in the future");
    check_jwt("eyJ.eyJ.x", 401, "could not be decoded");
    check_jwt("ghp_good", 401, "could not be decoded");
}

#[test]
fn a_jwt_needs_bearer_and_a_true_clock() {
    let github = with_app();
    let token = format!("token {}", good_jwt());
    let headers = [("Authorization", token.as_str()), GOOD[1], GOOD[2], GOOD[3]];
    let reply = send(&github, &request("GET", "/app", &headers, None)).unwrap();
    assert_eq!((reply.status, reply.message()), (401, "A JSON web token could not be decoded"));
    github.move_clock(-300);
    let reply = call_as(&github, &good_jwt(), "GET", "/app", None);
    assert!(reply.message().contains("'iat'"), "{reply:?}");
    github.move_clock(300);
    assert_eq!(call_as(&github, &good_jwt(), "GET", "/repos/acme/app", None).status, 403);
}

#[test]
fn installations_are_found() {
    let github = with_app();
    github.add_user("jane").add_repo("jane/tool").add_enterprise("big", &["acme"]);
    github.add_selected_installation(502, 77, "jane", &["jane/tool"]).add_installation(
        503,
        77,
        "enterprises/big",
    );
    for (path, id) in [
        ("/orgs/acme/installation", Some(501)),
        ("/repos/acme/app/installation", Some(501)),
        ("/users/jane/installation", Some(502)),
        ("/repos/jane/tool/installation", Some(502)),
        ("/enterprises/big/installation", Some(503)),
        ("/orgs/nobody/installation", None),
        ("/app/installations/501", Some(501)),
        ("/app/installations/999", None),
    ] {
        let reply = call_as(&github, &good_jwt(), "GET", path, None);
        assert_eq!(reply.body["id"].as_u64(), id, "{path}");
        assert_eq!(reply.status, if id.is_some() { 200 } else { 404 }, "{path}");
    }
    let all = call_as(&github, &good_jwt(), "GET", "/app/installations?per_page=2", None);
    assert_eq!(all.body.as_array().unwrap().len(), 2);
    assert!(all.link(&github, "next").is_some());
    assert_eq!(github.violations(), Vec::<String>::new());
}

fn installation_token(github: &FakeGitHub, body: Option<&Value>) -> Value {
    call_as(github, &good_jwt(), "POST", "/app/installations/501/access_tokens", body).body
}

#[test]
fn installation_tokens_have_permissions_and_an_end() {
    let github = with_app();
    let made = installation_token(&github, None);
    let token = made["token"].as_str().unwrap();
    assert!(token.starts_with("ghs_"));
    assert_eq!(
        (&made["repository_selection"], &made["permissions"]["actions"]),
        (&json!("all"), &json!("read"))
    );
    let path = "/repos/acme/app/actions/runners/registration-token";
    assert_eq!(call_as(&github, token, "POST", path, None).status, 201);
    let run = github.job(github.create_job(JobSpec::new("acme/app", &["a"]))).run_id;
    let refused =
        call_as(&github, token, "POST", &format!("/repos/acme/app/actions/runs/{run}/cancel"), None);
    assert_eq!((refused.status, refused.message()), (403, "Resource not accessible by integration"));
    assert_eq!(refused.header("x-accepted-github-permissions"), Some("actions=write"));
    let refused = call_as(&github, token, "POST", "/orgs/acme/actions/runners/registration-token", None);
    assert_eq!(
        refused.header("x-accepted-github-permissions"),
        Some("organization_self_hosted_runners=write")
    );
    github.move_clock(3601);
    let refused = call_as(&github, token, "POST", path, None);
    assert_eq!((refused.status, refused.message()), (401, "Bad credentials"));
}

#[test]
fn installation_tokens_can_be_narrowed() {
    let github = with_app();
    let body = json!({ "repositories": ["app"], "permissions": { "actions": "read" } });
    let made = installation_token(&github, Some(&body));
    let token = made["token"].as_str().unwrap();
    assert_eq!(made["repository_selection"], "selected");
    let status = |path: &str| call_as(&github, token, "GET", path, None).status;
    assert_eq!(status("/repos/acme/app/actions/runs"), 200);
    assert_eq!(status("/repos/acme/other/actions/runs"), 404);
    assert_eq!(status("/repos/acme/app/actions/runners"), 403);
    assert_eq!(
        installation_token(&github, Some(&json!({ "permissions": { "actions": "write" } })))["status"],
        "422"
    );
    assert_eq!(installation_token(&github, Some(&json!({ "repositories": ["none"] })))["status"], "422");
}

#[test]
fn check_runs_are_for_apps() {
    let github = with_app();
    let made = installation_token(&github, None);
    let token = made["token"].as_str().unwrap();
    let body = json!({
        "name": "anklet", "head_sha": "0".repeat(40), "status": "completed", "conclusion": "failure",
        "output": { "title": "Cancelled", "summary": "No such template." },
    });
    let path = "/repos/acme/app/check-runs";
    assert_eq!(call_as(&github, token, "POST", path, Some(&body)).status, 201);
    assert_eq!(call_as(&github, "ghp_good", "POST", path, Some(&body)).status, 403);
    let mut bad = body.clone();
    bad["output"] = json!({ "title": "x" });
    assert_eq!(call_as(&github, token, "POST", path, Some(&bad)).status, 422);
    github.look(|state| assert_eq!(state.check_runs[0]["output"]["summary"], "No such template."));
}

#[test]
fn personal_tokens_need_their_scopes() {
    let github = with_app();
    github.add_private_repo("acme/secret").add_enterprise("big", &["acme"]).add_pat("ghp_none", &[]);
    github.add_fine_grained_pat("github_pat_x", &["administration=read"]);
    let check = |token: &str, method: &str, path: &str, status: u16, message: &str| {
        let reply = call_as(&github, token, method, path, None);
        assert_eq!(reply.status, status, "{path}: {reply:?}");
        assert!(reply.message().contains(message), "{reply:?}");
        reply
    };
    check("ghp_none", "GET", "/repos/acme/app", 200, "");
    check("ghp_none", "GET", "/repos/acme/secret", 404, "Not Found");
    check("ghp_none", "GET", "/repos/acme/app/actions/runners", 403, "admin rights");
    let reply = check("ghp_none", "GET", "/orgs/acme/actions/runners", 403, "");
    assert_eq!(reply.header("x-accepted-oauth-scopes"), Some("admin:org"));
    check("ghp_none", "GET", "/enterprises/big/actions/runners", 404, "");
    check("ghp_good", "GET", "/enterprises/big/actions/runners", 200, "");
    check("github_pat_x", "GET", "/repos/acme/app/actions/runners", 200, "");
    let token = "/repos/acme/app/actions/runners/registration-token";
    let reply = check("github_pat_x", "POST", token, 403, "Resource not accessible by personal access token");
    assert_eq!(reply.header("x-accepted-github-permissions"), Some("administration=write"));
    check("github_pat_x", "GET", "/enterprises/big/actions/runners", 403, "not accessible");
    github.revoke("ghp_good");
    check("ghp_good", "GET", "/repos/acme/app", 401, "Bad credentials");
}
