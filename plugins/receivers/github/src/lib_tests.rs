//! What sections are right, and what an operator reads where a receiver cannot start.

use std::io;
use std::path::PathBuf;

use anklet_plugin_api::limits::Limits;
use anklet_plugin_api::name::PluginName;
use anklet_plugin_api::section::{AppCredentials, GithubAccess, RegistrationMode, Secret};

use super::*;

fn section() -> Section {
    Section {
        name: PluginName::new("hooks"),
        kind: KIND.to_owned(),
        queue: "octo".to_owned(),
        scope: Scope::Organization { owner: "octo".to_owned() },
        github: GithubAccess {
            web_url: "https://github.com".to_owned(),
            api_url: "https://api.github.com".to_owned(),
            ca_file: None,
            token: None,
            app: None,
        },
        registry_url: None,
        skip_pull: false,
        runner_group: None,
        sleep_interval: Duration::from_secs(10),
        registration_timeout: Duration::from_secs(80),
        template_disk_buffer: 10.0,
        job_retry_attempts: 5,
        skip_cpu_and_memory_resource_checks: false,
        mounts: Vec::new(),
        registration_mode: RegistrationMode::Token,
        explain_cancellations: false,
        port: None,
        secret: Some(Secret::new("s3cret")),
        hook_id: None,
        skip_redeliver: false,
        redeliver_hours: 24,
        claim_life: Duration::from_secs(90),
        limits: Limits::default(),
        plugins_path: PathBuf::new(),
        work_dir: PathBuf::new(),
    }
}

#[track_caller]
fn check_section(change: impl Fn(&mut Section), expected: &[&str]) {
    let mut section = section();
    change(&mut section);
    let problems = check(&section);
    let keys: Vec<_> = problems.iter().map(|problem| problem.key).collect();
    assert_eq!(keys, expected, "{problems:?}");
    for problem in problems {
        assert_eq!(problem.plugin.as_str(), "hooks");
        assert!(!problem.what.contains("s3cret"), "{problem:?}");
    }
}

#[test]
fn a_secret_is_needed_and_a_port_is_not() {
    check_section(|_| (), &[]);
    check_section(|section| section.port = Some(8080), &[]);
    check_section(|section| section.secret = None, &["secret"]);
    check_section(|section| section.secret = Some(Secret::new("")), &["secret"]);
}

#[test]
fn redelivering_needs_credentials() {
    let hook = |section: &mut Section| section.hook_id = Some(7);
    check_section(hook, &["token"]);
    check_section(
        |section| {
            hook(section);
            section.secret = None;
        },
        &["secret", "token"],
    );
    let cures: [fn(&mut Section); 4] = [
        |section| section.github.token = Some(Secret::new("ghp_x")),
        |section| {
            let private_key = Secret::new("-----BEGIN");
            section.github.app =
                Some(AppCredentials { id: "1".to_owned(), installation_id: None, private_key });
        },
        |section| section.skip_redeliver = true,
        |section| section.scope = Scope::Enterprise { slug: "big".to_owned() },
    ];
    for cure in cures {
        check_section(
            |section| {
                hook(section);
                cure(section);
            },
            &[],
        );
    }
}

#[test]
fn errors_say_what_to_do() {
    let address = SocketAddr::from(([0, 0, 0, 0], 80));
    let in_use = told(&ServerError::AddressInUse { address });
    assert!(in_use.contains("0.0.0.0:80") && in_use.contains("another `port`"), "{in_use}");
    let source = io::Error::from(io::ErrorKind::PermissionDenied);
    let denied = told(&ServerError::Bind { address, source });
    assert!(denied.contains("permission denied") && denied.contains("another `port`"), "{denied}");
}
