//! Each rule of precedence and each error, by its message.

use anklet_plugin_api::scope::Scope;

use super::*;

/// The sound config with these lines at the handler.
fn with_handler(lines: &str) -> String {
    format!("{SOUND}{}", lines.lines().map(|line| format!("    {line}\n")).collect::<String>())
}

/// The sound config with these lines at the top.
fn with_top(lines: &str) -> String {
    format!("{lines}\n{SOUND}")
}

fn handler(config: &Config) -> &Section {
    &config.plugins[1].section
}

#[test]
fn defaults() {
    let config = sound(SOUND, &[]);
    let handler = handler(&config);
    assert_eq!(handler.scope, Scope::Organization { owner: "acme".into() });
    assert_eq!((handler.queue.as_str(), handler.job_retry_attempts), ("acme", 5));
    assert_eq!(handler.registration_timeout, Duration::from_secs(80));
    assert_eq!(
        (handler.sleep_interval, handler.claim_life),
        (Duration::from_secs(10), Duration::from_secs(90))
    );
    assert_eq!((handler.template_disk_buffer, handler.redeliver_hours), (10.0, 24));
    assert_eq!(handler.github.api_url, "https://api.github.com");
    assert_eq!(handler.github.token.as_ref().unwrap().reveal(), "ghp_aaaa");
    assert_eq!(config.plugins[0].section.secret.as_ref().unwrap().reveal(), "0012345");
    assert_eq!(config.plugins[0].section.port, None);
    let embedded = DatabaseChoice::Embedded("/nonexistent/.config/anklet/anklet.db".into());
    assert_eq!(config.plugins[1].database, embedded);
    assert_eq!((config.metrics.port, config.metrics.aggregator), (None, false));
    assert_eq!(config.limits, Limits::default());
    assert!(handler.work_dir.is_absolute());
    assert_eq!(config.secrets.iter().filter(|secret| secret.reveal() == "0012345").count(), 2);
}

#[test]
fn waits_are_set() {
    let config = sound(&with_top("limits: {undo: 0.25}\nanka_timeouts: {pull: 60}\nclaim_seconds: 2"), &[]);
    assert_eq!(handler(&config).limits.undo, Duration::from_millis(250));
    assert_eq!(config.anka_timeouts.pull, Duration::from_secs(60));
    assert_eq!(handler(&config).claim_life, Duration::from_secs(2));
}

#[test]
fn the_global_database_wins_and_the_plugins_fills_gaps() {
    let lines = "database:\n  url: own\n  port: 1\n  user: u\n  tls_enabled: true";
    let of = |text: &str, variables: &[(&str, &str)]| match sound(text, variables).plugins[1].database.clone()
    {
        DatabaseChoice::Redis(redis) => Some(redis),
        DatabaseChoice::Embedded(_) => None,
    };
    let redis = of(&with_handler(lines), &[]).unwrap();
    assert_eq!((redis.host.as_str(), redis.port, redis.tls_enabled), ("own", 1, true));
    assert_eq!((redis.max_retries, redis.retry_delay), (5, Duration::from_secs(1)));
    let redis = of(&with_handler(lines), &[("ANKLET_GLOBAL_DATABASE_URL", "glob")]).unwrap();
    assert_eq!((redis.host.as_str(), redis.port, redis.user.as_deref()), ("glob", 1, Some("u")));
    let redis =
        of(&with_handler(lines), &[("MAC_DATABASE_PORT", "2"), ("MAC_DATABASE_MAX_RETRIES", "-1")]).unwrap();
    assert_eq!((redis.port, redis.max_retries), (2, 0));
    assert_eq!(of(&with_handler("database: {enabled: no, url: own}"), &[]), None);
    assert!(
        of(&with_handler("database: {enabled: yes, url: '[::1]'}"), &[])
            .is_some_and(|redis| redis.host == "::1")
    );
}

#[test]
fn what_wins() {
    let check = |top: &str, own: &str, variables: &[(&str, &str)], expected: (&str, bool, f64, u32)| {
        let config = sound(&format!("{top}\n{}", with_handler(own)), variables);
        let handler = handler(&config);
        let seen = (
            handler.github.token.as_ref().unwrap().reveal(),
            handler.skip_cpu_and_memory_resource_checks,
            handler.template_disk_buffer,
            handler.job_retry_attempts,
        );
        assert_eq!(seen, expected, "{top} {own} {variables:?}");
    };
    let global = "global_skip_cpu_and_memory_resource_checks: true\nglobal_template_disk_buffer: 3";
    check("", "", &[], ("ghp_aaaa", false, 10.0, 5));
    check(global, "", &[], ("ghp_aaaa", true, 3.0, 5));
    let own = "token: ghp_own\nskip_cpu_and_memory_resource_checks: false\ntemplate_disk_buffer: 7\njob_retry_attempts: 1";
    check(global, own, &[], ("ghp_own", true, 7.0, 1));
    check("", own, &[("ANKLET_JOB_RETRY_ATTEMPTS", "2")], ("ghp_own", false, 7.0, 2));
    let both =
        [("ANKLET_JOB_RETRY_ATTEMPTS", "2"), ("MAC_JOB_RETRY_ATTEMPTS", "3"), ("MAC_TOKEN", "ghp_env")];
    check("", own, &both, ("ghp_env", false, 7.0, 3));
    check("", "", &[("ANKLET_GLOBAL_TOKEN", "ghp_env"), ("MAC_TOKEN", "")], ("ghp_env", false, 10.0, 5));
    let config = sound(&SOUND.replace("skip_redeliver: true", "secret: own"), &[]);
    assert_eq!(config.plugins[0].section.secret.as_ref().unwrap().reveal(), "0012345");
}

#[test]
fn github_addresses() {
    let check = |top: &str, own: &str, web: &str, api: &str| {
        let config = sound(&format!("{top}\n{}", with_handler(own)), &[]);
        let github = &handler(&config).github;
        assert_eq!((github.web_url.as_str(), github.api_url.as_str()), (web, api), "{top} {own}");
    };
    check("github_url: https://g.x/", "", "https://g.x", "https://g.x/api/v3");
    check("github_url: https://a.ghe.com", "", "https://a.ghe.com", "https://api.a.ghe.com");
    check("github_api_url: http://l:1/", "", "https://github.com", "http://l:1");
    check("github_api_url: http://l:1", "github_url: https://g.x", "https://g.x", "https://g.x/api/v3");
}

#[test]
fn mounts_come_global_first_and_once() {
    let top = "global_host_to_guest_folder_mounts: [/tmp, /usr:u]";
    let own = "host_to_guest_folder_mounts:\n  - /usr:u\n  - /usr";
    let config = sound(&format!("{top}\n{}", with_handler(own)), &[]);
    let shown: Vec<_> = handler(&config)
        .mounts
        .iter()
        .map(|mount| (mount.host.to_str().unwrap(), mount.name.as_deref()))
        .collect();
    let tmp = Path::new("/tmp").canonicalize().unwrap();
    assert_eq!(shown, [(tmp.to_str().unwrap(), None), ("/usr", Some("u")), ("/usr", None)]);
    assert!(config.plugins[0].section.mounts.is_empty());
}

#[test]
fn queues_of_one_owner_are_one() {
    let config = sound(&SOUND.replacen("owner: acme", "owner: Acme", 1), &[]);
    assert_eq!((config.plugins[0].section.queue.as_str(), handler(&config).queue.as_str()), ("Acme", "Acme"));
}

#[test]
fn a_config_without_plugins_is_none_too_bad() {
    for text in ["plugins:\n", "---\nplugins: []\n", "---\n", "work_dir: /tmp\n"] {
        assert!(sound(text, &[]).plugins.is_empty(), "{text}");
    }
}

#[test]
fn an_aggregator_has_no_plugins() {
    let config = sound(&with_top("metrics: {aggregator: true, port: 8081, database: {url: r}}"), &[]);
    assert!(config.plugins.is_empty() && config.metrics.aggregator);
    assert_eq!(config.metrics.database.as_ref().map(|redis| redis.host.as_str()), Some("r"));
    assert!(config.warnings[0].to_string().contains("is ignored"), "{}", config.warnings[0]);
    let config = sound("metrics: {aggregator: true}\nglobal_database_url: g\nglobal_database_port: 7\n", &[]);
    assert_eq!(config.metrics.database.map(|redis| redis.port), Some(7));
}

/// Each text, and a part of what is said about it.
#[test]
fn every_error_is_told() {
    let check = |text: &str, part: &str| {
        let told = problems(text, &[]);
        assert!(told.contains(part), "{told}\nis not {part}");
    };
    check("", "/etc/c.yml: the file is empty");
    check("# words\n", "the file is empty");
    check("words\n", "/etc/c.yml:1: the file must hold keys");
    check("plugins: {a: b}\n", "c.yml:1: `plugins` must be a list");
    check("plugins: [a]\n", "`plugins` has an item without keys");
    check("plugins:\n  - plugin: github\n", "c.yml:2: name is required for plugins: `name` is missing");
    check("plugins:\n  - name: ''\n", "name is required for plugins");
    check(
        "plugins:\n  - name: a b\n",
        "plugin name cannot contain spaces: plugin a b: `name` has a space in it: write for example `a_b`",
    );
    check("plugins:\n  - name: a/b\n", "write for example `a_b`");
    check(
        &SOUND.replace("name: HOOKS", "name: MAC"),
        "c.yml:8: plugin MAC: `name` is the name of an earlier plugin",
    );
    check(
        &SOUND.replace("plugin: github\n", "plugin: gitlab\n"),
        "`plugin` is `gitlab`, but must be one of github, github_receiver: plugin not supported; did you mean `github`?",
    );
    check(&SOUND.replace("    plugin: github\n", ""), "`plugin` is missing");
    check(
        &with_top("log: {file_dir: /nonexistent/x}"),
        "c.yml:1: log directory does not exist: `log.file_dir`",
    );
    check(&with_top("work_dir: /nonexistent/x"), "`work_dir` `/nonexistent/x` is no folder");
    check(&with_top("log: /tmp"), "`log` must hold keys of its own");
    check(&with_top("work_dir: [a]"), "`work_dir` is a list, but must be the path of a folder");
    check(&with_top("ca_file: /etc/passwd"), "`ca_file` holds no certificate");
    check(&with_top("metrics: {aggregator: on}"), "`metrics.aggregator` needs Redis");
    check(&with_handler("enterprise: e"), "`enterprise` excludes `owner`");
    check(
        &with_handler("port: 70000\nskip_pull: maybe"),
        "plugin MAC: `port` is `70000`, but must be a whole number from 0 to 65535",
    );
    check(&SOUND.replace("    owner: acme\n", "    repo: x\n"), "`repo` needs `owner`");
    check(&SOUND.replace("    owner: acme\n", ""), "`owner` is missing");
    check(&SOUND.replace("global_token: ghp_aaaa\n", ""), "plugin MAC: `token` is missing");
    check(
        &SOUND.replace("global_receiver_secret: 0012345\n", ""),
        "c.yml:3: plugin HOOKS: `secret` is missing",
    );
    check(
        &SOUND.replace("global_token: ghp_aaaa\n", "").replace("skip_redeliver: true", "hook_id: 5"),
        "plugin HOOKS: `token` is missing",
    );
    check(&with_handler("app_id: 5"), "`app_id` needs `private_key`");
    check(&with_handler("private_key: /nonexistent"), "`app_id` is missing");
    check(&with_handler("app_id: 5\nprivate_key: ~/none"), "`private_key` `~/none` cannot be read");
    check(&with_handler("host_to_guest_folder_mounts: [/nonexistent]"), "the folder cannot be found");
    check(
        &with_handler("queue_name: other"),
        "plugin MAC: `database.url` is missing, and no receiver in this file fills the queue `other`",
    );
    check(
        &with_top("metrics: {port: 5}").replace("skip_redeliver", "port: 5\n    skip_redeliver"),
        "`port` 5 is used by metrics.port too",
    );
    let enterprise = SOUND.replace("owner: acme", "enterprise: e");
    check(&enterprise, "plugin MAC: `app_id` is missing: an enterprise needs a GitHub App too");
    check(&enterprise.replace("ghp_aaaa", "github_pat_aaaa"), "is a fine-grained token");
}

#[test]
fn all_problems_come_at_once_and_none_tells_a_secret() {
    let text = "\
global_token: {ghp_hidden1: x}
global_database_url: redis://:ghp_hidden2@host
github_url: user:ghp_hidden3@host
plugins:
  - name: A
    plugin: nothing
    token: [ghp_hidden4]
    private_key: ghp_hidden5
    app_id: 1
  - name: B
    plugin: github
    owner: o
    token: ghp_hidden6 and more
    registry_url: ftp://u:ghp_hidden7@x
";
    let told = problems(text, &[("B_SECRET", "ghp_hidden8"), ("B_HOOK_ID", "x")]);
    assert!(told.lines().count() >= 9, "{told}");
    assert!(!told.contains("ghp_hidden"), "{told}");
    for part in [":1: ", ":2: ", ":3: ", ":6: ", ":7: ", ":8: ", ":13: ", ":14: ", "B_HOOK_ID"] {
        assert!(told.contains(part), "{part} is not in\n{told}");
    }
}

#[test]
fn warnings() {
    let check = |text: &str, parts: &[&str]| {
        let warnings = sound(text, &[]).warnings;
        assert_eq!(warnings.len(), parts.len(), "{warnings:?}");
        for (warning, part) in warnings.iter().zip(parts) {
            assert!(warning.to_string().contains(part), "{warning} is not {part}");
        }
    };
    check(
        &with_top("work_dri: /tmp"),
        &["c.yml:1: `work_dri` is not a key that Anklet knows, and is ignored: did you mean `work_dir`?"],
    );
    check(&with_handler("skip_pul: true"), &["c.yml:11: plugin MAC: `skip_pul` is not"]);
    check(&with_top("log: {dir: /}"), &["`log.dir` is not a key"]);
    check(&with_handler("owner: acme"), &["c.yml:11: `owner` is given twice (first on line 10)"]);
    check(&format!("{SOUND}---\nother: 1\n"), &["a second document"]);
    check(&SOUND.replace("    skip_redeliver: true\n", ""), &["plugin HOOKS: `hook_id` is missing"]);
    let alone = SOUND.split("  - name: MAC").next().unwrap();
    check(alone, &["no handler in this file empties the queue `acme`"]);
    check(&with_handler("database: {password: x}"), &["`database.password` has no effect without"]);
    let old = "pid_file_dir: /tmp\nlog_file_dir: 5\nmetrics: {metrics_urls: [a]}";
    check(
        &format!("{old}\n{}", with_handler("registration: repo\nworkflows: {include: [a], exclude: {}}")),
        &[],
    );
}

#[test]
fn an_enterprise_has_both_credentials() {
    let folder = Folder::new();
    let key = "-----BEGIN PRIVATE KEY-----\nTUlJ\n-----END PRIVATE KEY-----\n";
    std::fs::write(folder.path().join("key.pem"), key).unwrap();
    let text = SOUND.replace("owner: acme", "enterprise: e\n    app_id: Iv1.x");
    let text = format!("global_private_key: ~/key.pem\n{text}");
    let config = load_text(&text, Some(&folder), &[]).unwrap();
    let github = &handler(&config).github;
    assert!(github.token.is_some());
    let app = github.app.as_ref().unwrap();
    assert_eq!((app.id.as_str(), app.installation_id, app.private_key.reveal()), ("Iv1.x", None, key));
    assert!(config.secrets.iter().any(|secret| secret.reveal() == key));
    let own_app = with_handler("app_id: 7\ninstallation_id: 8\nprivate_key: ~/key.pem");
    let config = load_text(&own_app, Some(&folder), &[]).unwrap();
    let github = &handler(&config).github;
    assert!(github.token.is_none(), "the App of its own is meant");
    assert_eq!(github.app.as_ref().unwrap().installation_id, Some(8));
}
