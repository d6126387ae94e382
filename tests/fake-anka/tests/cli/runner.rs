//! A runner's life in a VM: fetched, configured, started, at work, and gone.

use serde_json::{Value, json};

use crate::github::{GitHub, Reply, Request};
use crate::support::{Host, lives};

const CONFIG: &str = "cd actions-runner && ./config.sh --unattended --token TOKEN --name anklet-vm-1 --labels 'a,b c' \
                      --no-default-labels --ephemeral --disableupdate";
const LISTEN: &str = "/_fake/runners/7/listen";

fn with_runner() -> Host {
    let host = Host::new();
    let (file, sum) = host.fake.make_runner("2.330.0");
    host.started("vm");
    let name = file.file_name().unwrap().to_str().unwrap().to_string();
    let script = format!(
        "mkdir actions-runner && cd actions-runner && curl -fsSL -o r.tgz https://github.com/x/{name} && \
         echo '{sum}  r.tgz' | shasum -a 256 -c && tar xzf r.tgz && bin/Runner.Listener --version"
    );
    let answer = host.guest("vm", &script);
    assert_eq!((answer.exit, answer.out.as_str()), (0, "r.tgz: OK\n2.330.0\n"), "{}", answer.err);
    host
}

/// Registers as 7, gives one job of no length, takes everything else.
fn friendly(request: &Request) -> Reply {
    let lines = || {
        let job = json!({"event": "job", "job_id": 42, "steps_ms": 1, "conclusion": "success"});
        vec![json!({"event": "online"}), job]
    };
    match (request.method.as_str(), request.path.as_str()) {
        ("POST", "/_fake/runners") => Reply::Json(201, json!({"id": 7})),
        ("POST", LISTEN) => Reply::Events { lines: lines(), chunked: true },
        _ => Reply::Json(200, json!({})),
    }
}

/// Registers, and never has a job.
fn idle(request: &Request) -> Reply {
    match request.path.as_str() {
        LISTEN => Reply::Events { lines: vec![json!({"event": "online"})], chunked: false },
        _ => friendly(request),
    }
}

fn configured(host: &Host, github: &GitHub) -> Value {
    let answer = host.guest("vm", &format!("{CONFIG} --runnergroup G --url {}/o/r", github.origin));
    assert_eq!(answer.exit, 0, "{} {}", answer.out, answer.err);
    github.expect("POST", "/_fake/runners")
}

#[test]
fn a_runner_registers_works_and_forgets_itself() {
    let host = with_runner();
    let github = GitHub::start(friendly);
    let wish = configured(&host, &github);
    assert_eq!((&wish["name"], &wish["labels"]), (&json!("anklet-vm-1"), &json!(["a", "b c"])));
    assert_eq!(
        (&wish["token"], &wish["group"], &wish["ephemeral"]),
        (&json!("TOKEN"), &json!("G"), &json!(true))
    );
    assert_eq!(
        (&wish["version"], &wish["url"]),
        (&json!("2.330.0"), &json!(format!("{}/o/r", github.origin)))
    );
    let dir = host.fake.guest_home("vm").unwrap().join("actions-runner");
    assert!(std::fs::read_to_string(dir.join(".runner")).unwrap().contains("anklet-vm-1"));
    let answer = host.guest("vm", "actions-runner/run.sh");
    assert_eq!(answer.exit, 0, "{} {}", answer.out, answer.err);
    assert_eq!(github.expect("POST", LISTEN), json!({"name": "anklet-vm-1", "version": "2.330.0"}));
    let done = github.expect("POST", "/_fake/jobs/42/done");
    assert_eq!((&done["runner"], &done["conclusion"]), (&json!("anklet-vm-1"), &json!("success")));
    github.expect("CLOSED", LISTEN);
    assert!(answer.out.contains("Running job: 42") && !dir.join(".runner").exists());
    let trace = host.fake.trace();
    assert!(
        trace.iter().any(|line| line.verb == "guest config.sh" && line.argv.contains(&"***".to_string()))
    );
    assert!(!trace.iter().any(|line| line.event == "guest" && line.argv.contains(&"TOKEN".to_string())));
}

#[test]
fn a_service_outlives_its_command_and_goes_with_the_vm() {
    let host = with_runner();
    let github = GitHub::start(idle);
    assert_eq!(host.guest("vm", "actions-runner/svc.sh install").exit, 127);
    configured(&host, &github);
    assert_eq!(host.guest("vm", "cd actions-runner && ./svc.sh start").exit, 1);
    let answer =
        host.guest("vm", "cd actions-runner && ./svc.sh install && ./svc.sh start && ./svc.sh status");
    assert_eq!(answer.exit, 0, "{}", answer.err);
    let pid = answer.out.lines().last().unwrap();
    github.expect("POST", LISTEN);
    assert!(lives(pid));
    host.body(&["delete", "--yes", "vm"]);
    github.expect("CLOSED", LISTEN);
    assert!(!lives(pid));
}

#[test]
fn a_service_stops_on_demand() {
    let host = with_runner();
    let github = GitHub::start(idle);
    configured(&host, &github);
    host.guest("vm", "cd actions-runner && ./svc.sh install && ./svc.sh start");
    github.expect("POST", LISTEN);
    let answer =
        host.guest("vm", "cd actions-runner && ./svc.sh stop && ./svc.sh uninstall && ./svc.sh status");
    assert_eq!((answer.exit, answer.out.as_str()), (0, "Stopped\n"));
    github.expect("CLOSED", LISTEN);
    assert_eq!(host.guest("vm", "sudo actions-runner/svc.sh status").exit, 1);
}

#[test]
fn an_end_from_github_and_a_lost_connection_both_end_well() {
    let stopped = |request: &Request| match request.path.as_str() {
        LISTEN => Reply::Events { lines: vec![json!({"event": "stop"})], chunked: true },
        _ => friendly(request),
    };
    let lost = |request: &Request| match request.path.as_str() {
        LISTEN => Reply::Json(503, json!({})),
        _ => friendly(request),
    };
    for (github, n_listens) in [(GitHub::start(stopped), 1), (GitHub::start(lost), 5)] {
        let host = with_runner();
        configured(&host, &github);
        assert_eq!(host.guest("vm", "actions-runner/run.sh").exit, 0);
        for _ in 0..n_listens {
            github.expect("POST", LISTEN);
        }
    }
}

#[test]
fn a_single_use_configuration_needs_no_config_sh() {
    let host = with_runner();
    let github = GitHub::start(friendly);
    // base64 of base64, made by the guest's own tool to keep this test short.
    let about =
        json!({"agentId": 7, "agentName": "anklet-vm-2", "gitHubUrl": format!("{}/o/r", github.origin)});
    let script = format!(
        "inner=$(printf '%s' '{about}' | base64 -w0); outer=$(printf '{{\".runner\":\"%s\"}}' \"$inner\" | base64 -w0); \
         actions-runner/run.sh --jitconfig \"$outer\""
    );
    let answer = host.guest("vm", &script);
    assert_eq!(answer.exit, 0, "{} {}", answer.out, answer.err);
    assert_eq!(github.expect("POST", LISTEN)["name"], "anklet-vm-2");
    github.expect("POST", "/_fake/jobs/42/done");
    assert_eq!(host.guest("vm", "actions-runner/run.sh --jitconfig '!'").exit, 1);
    assert_eq!(host.guest("vm", "actions-runner/run.sh").exit, 1);
    assert_eq!(host.guest("vm", "actions-runner/run.sh --bogus").exit, 1);
}

#[test]
fn config_is_strict_and_repeats_what_github_says() {
    let host = with_runner();
    let github = GitHub::start(|request| match request.method.as_str() {
        "DELETE" => Reply::Json(200, json!({})),
        _ if request.body["name"] == "taken" => {
            Reply::Json(409, json!({"message": "A runner exists with the same name taken."}))
        }
        _ => friendly(request),
    });
    let url = format!("{}/o", github.origin);
    let check = |args: &str, exit: i32, text: &str| {
        let answer = host.guest("vm", &format!("cd actions-runner && ./config.sh {args}"));
        assert_eq!(answer.exit, exit, "{args}: {} {}", answer.out, answer.err);
        assert!(format!("{}{}", answer.out, answer.err).contains(text), "{args}: {}", answer.err);
    };
    let base = format!("--unattended --url {url} --token T");
    check(&format!("{base} --name n --bogus"), 1, "Unrecognized command-line input arguments: '--bogus'");
    check(&format!("{base} --name n --labels --yes"), 1, "Missing value for --labels");
    check(&format!("{base} --name n --no-default-labels"), 1, "labels");
    check(&base, 1, "name");
    check(&format!("--url {url} --token T --name n"), 1, "questions");
    check(&format!("{base} --name taken"), 1, "A runner exists with the same name taken.");
    github.expect("POST", "/_fake/runners");
    check(&format!("{base} --name n --labels x --work w"), 0, "successfully added");
    let labels = github.expect("POST", "/_fake/runners")["labels"].clone();
    assert_eq!(labels, json!(["self-hosted", "macOS", "ARM64", "x"]));
    check(&format!("{base} --name n"), 1, "already configured");
    check("remove --token T", 0, "removed");
    assert_eq!(github.expect("DELETE", "/_fake/runners")["name"], "n");
    check("remove --token T", 1, "Not configured");
    let input = format!("ACTIONS_RUNNER_INPUT_TOKEN=T2 ./config.sh --unattended --url {url} --name n");
    assert_eq!(host.guest("vm", &format!("cd actions-runner && {input}")).exit, 0);
    assert_eq!(github.expect("POST", "/_fake/runners")["token"], "T2");
}

#[test]
fn curl_fetches_saves_and_fails_as_curl_does() {
    let host = Host::new();
    host.started("vm");
    let github = GitHub::start(|request| match request.path.as_str() {
        "/moved" => Reply::Text(302, "Location: ORIGIN\r\n", ""),
        "/there" => Reply::Text(200, "", "there"),
        _ => Reply::Text(404, "", "missing"),
    });
    std::fs::write(host.fake.downloads().join("f.tgz"), "file").unwrap();
    let origin = &github.origin;
    let check = |script: &str, exit: i32, out: &str| {
        let answer = host.guest("vm", script);
        assert_eq!((answer.exit, answer.out.as_str()), (exit, out), "{script}: {}", answer.err);
    };
    check(&format!("curl -s {origin}/there"), 0, "there");
    check(&format!("curl -s {origin}/nix"), 0, "missing");
    check(&format!("curl -fsS {origin}/nix"), 22, "");
    check(&format!("curl -s {origin}/moved"), 0, "");
    check(&format!("curl -sL {origin}/moved"), 6, "");
    check("curl -fsSL https://example.com/nix.tgz", 6, "");
    let releases = "https://github.com/actions/runner/releases";
    check(&format!("curl -fsSLO {releases}/f.tgz && cat f.tgz"), 0, "file");
    check(&format!("curl -fsSo g {releases}/f.tgz && cat g"), 0, "");
    host.fake.make_runner("2.99.0");
    host.fake.make_runner("2.330.0");
    let tag = format!("{releases}/tag/v2.330.0");
    check(&format!("curl -fsSL -o /dev/null -w '%{{url_effective}}' {releases}/latest"), 0, &tag);
    let api = "curl -fsSL https://api.github.com/repos/actions/runner/releases/latest | grep -o v2.330.0";
    check(api, 0, "v2.330.0\n");
    check(&format!("curl -s -w ' %{{http_code}}\\n' {origin}/there"), 0, "there 200\n");
    check("curl -fsSL --retry 3 --output h https://example.com/f.tgz && cat h", 0, "file");
    check("curl --bogus x", 2, "");
    check("curl -s http://127.0.0.1:1/", 7, "");
    assert!(host.fake.trace().iter().any(|line| line.verb == "guest curl" && line.argv == ["--bogus", "x"]));
}
