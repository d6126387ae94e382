//! Keeps `man/anklet.yml.5` in step with the table of keys: each key's item stands there as it follows from the table.

use super::load_text;
use crate::config::keys::{self, Key};
use crate::config::kind::Kind;
use crate::config::testing::Folder;

const PAGE: &str = include_str!("../../../man/anklet.yml.5");

/// mandoc wants no longer lines.
const MOST_COLUMNS: usize = 78;

/// The item of a key, as the page must have it.
fn item(key: &Key) -> String {
    let mut lines = vec![format!(".It Ic {}", key.path)];
    for sentence in sentences(key.meaning) {
        lines.extend(wrapped(&sentence));
    }
    if key.kind != Kind::Ignored {
        lines.push(".Pp".to_owned());
        lines.extend(wrapped(&format!("Takes {}.", key.kind.expected())));
        lines.extend(wrapped(&format!("Default: {}.", key.default)));
    }
    if let Some(variable) = key.environment() {
        lines.push("Environment:".to_owned());
        lines.push(format!(".Ev {variable} ."));
    }
    lines.join("\n") + "\n"
}

/// Each sentence begins a line of its own.
fn sentences(text: &str) -> Vec<String> {
    text.split_inclusive(". ").map(|sentence| sentence.trim().to_owned()).collect()
}

fn wrapped(text: &str) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split(' ') {
        match lines.last_mut() {
            Some(line) if line.len() + 1 + word.len() <= MOST_COLUMNS => {
                line.push(' ');
                line.push_str(word);
            }
            // A dot at the start of a line would be a request.
            Some(_) | None if word.starts_with('.') => lines.push(format!("\\&{word}")),
            Some(_) | None => lines.push(word.to_owned()),
        }
    }
    lines
}

#[test]
fn the_page_has_every_key_and_no_other() {
    for key in keys::all() {
        let item = item(key);
        assert!(PAGE.contains(&item), "man/anklet.yml.5 lacks this item:\n{item}");
    }
    let known: Vec<_> = keys::all().iter().map(|key| format!(".It Ic {}", key.path)).collect();
    for line in PAGE.lines().filter(|line| line.starts_with(".It Ic ")) {
        assert!(known.iter().any(|item| item == line), "the page explains a key that there is not: {line}");
    }
}

#[test]
fn the_examples_are_good() {
    let folder = Folder::new();
    std::fs::create_dir_all(folder.path().join(".config/anklet")).unwrap();
    let key = "-----BEGIN RSA PRIVATE KEY-----\nTUlJ\n-----END RSA PRIVATE KEY-----\n";
    std::fs::write(folder.path().join(".config/anklet/app.pem"), key).unwrap();
    let examples = PAGE.split(".Sh EXAMPLES").nth(1).unwrap();
    let examples =
        examples.split(".Bd -literal -offset indent\n").skip(1).map(|rest| rest.split(".Ed").next().unwrap());
    let mut n_examples = 0;
    for example in examples.filter(|example| example.contains("plugins:")) {
        let example = example.replace("/Users/ci/cache", &folder.path().to_string_lossy());
        match load_text(&example, Some(&folder), &[]) {
            Ok(config) => {
                assert!(config.warnings.is_empty() && config.plugins.len() >= 2, "{:?}", config.warnings)
            }
            Err(error) => panic!("{error}"),
        }
        n_examples += 1;
    }
    assert_eq!(n_examples, 2);
}
