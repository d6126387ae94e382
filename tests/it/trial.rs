//! The first question to GitHub: a wrong credential ends the start with one clear error; anything else that goes wrong does not.

use std::fs;

use fake_github::{LimitForm, RequestRecord, Rule, keys};

use crate::credentials::enterprise;
use crate::support::{Anklet, LIMIT, TOKEN, World};
use crate::worlds::in_worlds;

const DOWNLOADS: &str = "@/actions/runners/downloads";

fn with_app(world: &World, keys: &str) -> String {
    fs::write(world.home.path().join("app.pem"), keys::APP_KEY).unwrap();
    world
        .config(2)
        .replace(&format!("global_token: {TOKEN}\n"), "")
        .replace("plugin: github,", &format!("plugin: github, {keys},"))
}

/// The program ends with 1 and one error, which holds these words; nothing was claimed, and GitHub was asked so often.
#[track_caller]
fn check_refused(world: &World, config: &str, words: &[&str], n_calls: usize) {
    let job = world.github.create_job(world.job());
    let mut anklet: Anklet = world.spawn(config);
    let (status, lines) = anklet.wait_end_and_lines();
    assert_eq!(status.code(), Some(1));
    let errors: Vec<_> = lines.iter().filter(|line| line.0["level"] == "ERROR").collect();
    let [error] = errors[..] else { panic!("one error: {errors:?}") };
    let said = error.0["error"].as_str().unwrap();
    assert_eq!(error.message(), "error running plugin");
    assert!(words.iter().all(|word| said.contains(word)), "{words:?} in {said}");
    let shown: String = lines.iter().map(|line| line.0.to_string()).collect();
    assert!(!shown.contains("ghp_wrong") && !shown.contains("BEGIN"), "no secret is shown");
    let asked: Vec<_> = world.github.requests().into_iter().map(|it| it.path).collect();
    assert_eq!(asked.len(), n_calls, "{asked:?}");
    assert!(!world.github.job(job).is_completed() && world.vms_made_by_us().is_empty());
    assert!(!lines.iter().any(|line| line.message() == "queued job found"));
}

#[test]
fn a_wrong_token_ends_the_start() {
    let world = World::new();
    let wrong = world.config(2).replace(TOKEN, "ghp_wrong");
    check_refused(&world, &wrong, &["HANDLER1", "`global_token`", "Bad credentials", "make a new one"], 1);
    let own =
        world.config(2).replace("HANDLER2, plugin: github,", "HANDLER2, plugin: github, token: ghp_wrong,");
    check_refused(&world, &own, &["HANDLER2", "`token`", "Bad credentials"], 3);
}

#[test]
fn a_wrong_app_ends_the_start() {
    // The App has another key, it is not installed, and there is no such installation.
    let cases: Vec<(&str, bool, &[&str], usize)> = vec![
        ("app_id: Iv1.abc", true, &["HANDLER1", "`private_key`", "Iv1.abc", "could not be decoded"], 1),
        ("app_id: Iv1.abc", false, &["HANDLER1", "not installed for acme", "`app_id`"], 2),
        (
            "app_id: 4711, installation_id: 9",
            false,
            &["HANDLER1", "`installation_id`", "no installation 9"],
            1,
        ),
    ];
    in_worlds(cases, |world, (keys, is_other_key, words, n_calls)| {
        world.github.add_app(4711, "Iv1.abc", keys::APP_KEY, &["administration=write"]);
        if *is_other_key {
            let refused = Rule::on("GET", "/repos/*/*/installation").always();
            world.github.rule(refused.status(401, "A JSON web token could not be decoded"));
        }
        check_refused(world, &with_app(world, &format!("{keys}, private_key: ~/app.pem")), words, *n_calls);
    });
}

/// GitHub takes no token that was signed in its future, nor one that has ended: the error names the clock, which is what has to be mended.
#[test]
fn a_clock_that_is_off_is_named() {
    in_worlds(vec![(-300, "ahead of"), (900, "behind")], |world, (moved, direction)| {
        world.github.add_app(4711, "Iv1.abc", keys::APP_KEY, &["administration=write"]);
        world.github.add_installation(7, 4711, "acme").move_clock(*moved);
        let config = with_app(world, "app_id: Iv1.abc, private_key: ~/app.pem");
        let words = [
            "HANDLER1",
            "`private_key`",
            "this host's clock is",
            &format!("s {direction} GitHub's: set it right"),
        ];
        check_refused(world, &config, &words, 1);
    });
}

#[test]
fn an_enterprise_needs_both_of_its_credentials_accepted() {
    let world = World::new();
    let good = enterprise(&world);
    check_refused(&world, &good.replace(TOKEN, "ghp_wrong"), &["HANDLER1", "`global_token`"], 1);
    let refused = Rule::on("GET", "/app").always().status(401, "A JSON web token could not be decoded");
    let rule = world.github.rule(refused);
    // The list for the token, then the App itself.
    check_refused(&world, &good, &["HANDLER1", "`global_private_key`", "Iv1.abc", "could not be decoded"], 3);
    world.github.remove_rule(rule);
    let n_before = world.github.requests().len();
    let anklet = world.start(&good);
    let asked: Vec<_> = world.github.requests().split_off(n_before);
    let asked: Vec<_> = asked.iter().map(RequestRecord::path_only).collect();
    assert_eq!(asked, ["/enterprises/big/actions/runners/downloads", "/app"], "once for both handlers");
    anklet.stop();
    // A server that does not show Apps has said nothing against this one.
    world.github.rule(Rule::on("GET", "/app").always().status(404, "Not Found"));
    world.start(&good).stop();
}

const ALL_THE_SAME: &str =
    "GitHub cannot be asked now whether it accepts the credentials; starting all the same";

/// What goes wrong at the first question, and then no more.
#[derive(Clone, Copy, Debug)]
enum Trouble {
    Server,
    Closed,
    Nonsense,
    Limit,
}

impl Trouble {
    /// The rule that makes it, and the line that tells of it.
    fn made(self) -> (Rule, &'static str) {
        let on = Rule::on("GET", "/repos/acme/app/actions/runners/downloads");
        match self {
            Self::Server => (on.status(502, "Bad Gateway"), ALL_THE_SAME),
            // A connection that is closed is made anew at once.
            Self::Closed => (on.times(2).close(), ALL_THE_SAME),
            Self::Nonsense => (on.nonsense(b"<html>"), ALL_THE_SAME),
            Self::Limit => {
                let limit = LimitForm::Primary { status: 403, reset_in: 1 };
                (on.limit(limit), "GitHub API rate limit exceeded, pausing until reset")
            }
        }
    }
}

#[test]
fn a_trouble_at_the_first_question_keeps_nobody_from_starting() {
    let troubles = vec![Trouble::Server, Trouble::Closed, Trouble::Nonsense, Trouble::Limit];
    in_worlds(troubles, |world, trouble| {
        let (rule, line) = trouble.made();
        world.github.rule(rule);
        let anklet = world.start(&world.config(2));
        anklet.wait_message(line);
        let job = world.github.create_job(world.job());
        assert_eq!(world.github.wait_completed(job, LIMIT).conclusion.as_deref(), Some("success"));
        anklet.wait_message("job completed");
        world.assert_clean(&anklet);
        anklet.stop();
    });
}

/// GitHub is a port at which nobody is.
#[test]
fn a_github_that_is_away_keeps_nobody_from_starting() {
    let world = World::new();
    let nobody = format!("github_api_url: http://127.0.0.1:{}", crate::support::free_port());
    let config = world.config(2).replace(&format!("github_api_url: {}", world.github.api_url()), &nobody);
    let anklet = world.start(&config);
    anklet.wait_message(ALL_THE_SAME);
    let n_tried = anklet.lines().iter().filter(|line| line.0["msg"] == "github call").count();
    assert_eq!(n_tried, 1, "once for both handlers");
    anklet.stop();
}

#[test]
fn a_missing_permission_is_told_and_keeps_nobody_from_starting() {
    let world = World::new();
    world.github.add_fine_grained_pat(TOKEN, &["actions=write", "metadata=read"]);
    let anklet = world.start(&world.config(2));
    anklet.wait_lines("an error with the permission", |lines| {
        lines.iter().any(|line| {
            line.0["level"] == "ERROR"
                && line.0["scope"] == "acme/app"
                && line.0["error"].to_string().contains("administration=read")
        })
    });
    // It can be given while the handlers run.
    world.github.add_pat(TOKEN, &["repo"]);
    let job = world.github.create_job(world.job());
    assert_eq!(world.github.wait_completed(job, LIMIT).conclusion.as_deref(), Some("success"));
    anklet.stop();
}

/// A server that does not have the list of runner programs, as small ones may not.
#[test]
fn a_server_without_the_list_of_programs_is_good_enough() {
    let world = World::new();
    let path = "/repos/acme/app/actions/runners/downloads";
    world.github.rule(Rule::on("GET", path).always().status(404, "Not Found"));
    let anklet = world.start(&world.config(2));
    for n_job in 1..=2 {
        let job = world.github.create_job(world.job());
        assert_eq!(world.github.wait_completed(job, LIMIT).conclusion.as_deref(), Some("success"));
        anklet.wait_messages("job completed", n_job);
    }
    assert_eq!(world.github.requests_to("GET", DOWNLOADS).len(), 1, "nor is it asked for again");
    assert!(!anklet.lines().iter().any(|line| line.0["level"] == "ERROR"));
    world.assert_clean(&anklet);
    anklet.stop();
}

/// A receiver that asks for missed webhooks finds out by its first look.
#[test]
fn a_receiver_tries_its_credentials_too() {
    let world = World::new();
    let hook = format!("plugin: github_receiver, hook_id: {},", world.hook);
    let config = world.config(0).replace("plugin: github_receiver,", &hook);
    let wrong = config.replace(TOKEN, "ghp_wrong");
    check_refused(&world, &wrong, &["RECEIVER", "`global_token`", "Bad credentials"], 1);
    // Nothing needs the token then.
    let off = wrong.replace("hook_id:", "skip_redeliver: true, hook_id:");
    world.start(&off).stop();
    assert_eq!(world.github.requests().len(), 1);

    world.github.add_fine_grained_pat(TOKEN, &["metadata=read"]);
    let anklet = world.start(&config);
    anklet.wait_lines("an error with the permission", |lines| {
        lines.iter().any(|line| {
            line.0["level"] == "ERROR" && line.0["error"].to_string().contains("repository_hooks=read")
        })
    });
    anklet.stop();
}
