//! What `anklet init` writes: the config, and the next steps.

use std::fmt::Write;
use std::path::Path;

use anklet_plugin_api::scope::Scope;

use crate::init::{Answers, DEFAULT_HANDLERS};

/// The config, with a word to each part.
pub(super) fn config(answers: &Answers) -> String {
    let mut text = String::from(
        "# Written by `anklet init`. Every key: `man anklet.yml`. Try what you change with `anklet check`.\n\n\
         # How Anklet signs in at GitHub. A GitHub App works as well: global_private_key, and app_id in each plugin.\n",
    );
    let mut line = |line: &str| {
        text.push_str(line);
        text.push('\n');
    };
    line(&format!("global_token: {}", quoted(answers.token.reveal())));
    if answers.role.receives() {
        line("# What GitHub signs its webhooks with; the webhook's settings must have the same.");
        line(&format!("global_receiver_secret: {}", quoted(answers.receiver_secret.reveal())));
    }
    if let Some(redis) = &answers.redis {
        line("\n# The queue that the machines share. With TLS: global_database_tls_enabled: true");
        line(&format!("global_database_url: {}", quoted(&redis.host)));
        line(&format!("global_database_port: {}", redis.port));
        if let Some(password) = &redis.password {
            line(&format!("global_database_password: {}", quoted(password.reveal())));
        }
    }
    line("\nplugins:");
    let scope = match &answers.scope {
        Scope::Repository { owner, repo } => {
            format!("    owner: {}\n    repo: {}", quoted(owner), quoted(repo))
        }
        Scope::Organization { owner } => format!("    owner: {}", quoted(owner)),
        Scope::Enterprise { slug } => format!("    enterprise: {}", quoted(slug)),
    };
    if answers.role.receives() {
        line("  # Takes the webhooks.");
        line(&format!(
            "  - name: {}\n    plugin: github_receiver\n{scope}\n    port: {}",
            receiver_name(answers),
            answers.port
        ));
        line(
            "    # The number at the end of the webhook's address at GitHub: then missed webhooks are asked for again.",
        );
        line("    #hook_id: 12345678");
    }
    if answers.role.handles() {
        line("  # A VM slot each; Apple allows two macOS VMs on a Mac.");
        for number in 1..=DEFAULT_HANDLERS {
            line(&format!("  - name: {}\n    plugin: github\n{scope}", handler_name(answers, number)));
        }
    }
    text
}

/// Names are unique in a queue: where machines share one, those of this machine bear its mark.
fn handler_name(answers: &Answers, number: u8) -> String {
    match &answers.redis {
        Some(_) => format!("MAC_{}_{number}", answers.mark),
        None => format!("HANDLER{number}"),
    }
}

fn receiver_name(answers: &Answers) -> String {
    match &answers.redis {
        Some(_) => format!("RECEIVER_{}", answers.mark),
        None => "RECEIVER".to_owned(),
    }
}

/// A YAML text that means exactly this.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// What a shell takes as this one word.
fn as_word(text: &str) -> String {
    let is_plain = |letter: char| letter.is_alphanumeric() || "/._+-".contains(letter);
    if text.chars().all(is_plain) { text.to_owned() } else { format!("'{}'", text.replace('\'', "'\\''")) }
}

/// What is left to do. `is_usual`: the file is where the program looks for it anyway.
pub(super) fn next_steps(file: &Path, is_usual: bool, answers: &Answers) -> String {
    let flag = if is_usual { String::new() } else { format!(" -c {}", as_word(&file.display().to_string())) };
    let mut text = format!("Wrote {}, which holds your token: keep it from others.\n", file.display());
    let mut number = 1;
    let mut step = |title: &str, lines: &str| {
        // Writing to a text does not fail.
        let _ = writeln!(text, "\n{number}. {title}\n{lines}");
        number += 1;
    };
    step("See whether all is well:", &format!("     anklet check{flag}"));
    let start = match answers.role.handles() {
        true => "Start it, as the user whose VMs `anka list` shows:",
        false => "Start it:",
    };
    step(start, &format!("     anklet{flag}"));
    if answers.role.receives() {
        let page = match &answers.scope {
            Scope::Repository { owner, repo } => {
                format!("https://github.com/{owner}/{repo}/settings/hooks/new")
            }
            Scope::Organization { owner } => {
                format!("https://github.com/organizations/{owner}/settings/hooks/new")
            }
            Scope::Enterprise { slug } => format!("https://github.com/enterprises/{slug}/settings/hooks/new"),
        };
        step(
            &format!("Add a webhook at {page}"),
            &format!(
                "     Payload URL   https://YOUR-HOST/jobs/v1/receiver  (through a TLS proxy or tunnel to port {})\n     \
                 Content type  application/json\n     Secret        what global_receiver_secret in that file says\n     Events        only \"Workflow jobs\"",
                answers.port
            ),
        );
    }
    step(
        "Try it with a workflow (`anka list` shows UUIDs and tags of templates):",
        "     on: workflow_dispatch\n     jobs:\n       try:\n         runs-on:\n           - self-hosted\n           \
         - \"anka-template:UUID-OF-YOUR-TEMPLATE\"\n           - \"${{ github.run_id }}-try\"\n         steps:\n           - run: sw_vers",
    );
    text
}
