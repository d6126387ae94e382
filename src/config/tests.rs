//! The config as a whole: from text and variables to what the program works with, or to findings.

use std::time::{Duration, Instant};

use super::testing::Folder;
use super::*;

mod every_key;
mod hostile;
mod man;
mod rules;

/// A config that holds a receiver and a handler; `more` follows at the handler.
pub(super) const SOUND: &str = "\
global_token: ghp_aaaa
global_receiver_secret: 0012345
plugins:
  - name: HOOKS
    plugin: github_receiver
    owner: acme
    skip_redeliver: true
  - name: MAC
    plugin: github
    owner: acme
";

/// What comes of `text` with these variables. The home folder is `folder`, or one that does not exist.
pub(super) fn load_text(
    text: &str,
    folder: Option<&Folder>,
    variables: &[(&str, &str)],
) -> Result<Config, ConfigError> {
    let home =
        folder.map_or("/nonexistent".to_owned(), |folder| folder.path().to_string_lossy().into_owned());
    let mut all = vec![("HOME", home.as_str())];
    all.extend(variables);
    let file = Path::new("/etc/c.yml");
    from_text(file, text, &Environment::of(&all), Findings::new(file))
}

/// The config of a sound text.
pub(super) fn sound(text: &str, variables: &[(&str, &str)]) -> Config {
    match load_text(text, None, variables) {
        Ok(config) => config,
        Err(error) => panic!("{error}\n{text}"),
    }
}

/// The problems of a text, one a line.
pub(super) fn problems(text: &str, variables: &[(&str, &str)]) -> String {
    match load_text(text, None, variables) {
        Ok(_) => panic!("there is nothing wrong with\n{text}"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn a_config_is_read_from_its_file() {
    let folder = Folder::new();
    let home = folder.path().to_string_lossy().into_owned();
    let environment = Environment::of(&[("HOME", &home)]);
    let missing = load(None, &environment).unwrap_err();
    assert!(missing.problems[0].message.starts_with("unable to load config.yml"), "{missing}");
    assert!(missing.to_string().contains(".config/anklet/config.yml: "), "{missing}");
    std::fs::create_dir_all(folder.path().join(".config/anklet")).unwrap();
    let file = folder.path().join(".config/anklet/config.yml");
    std::fs::write(&file, format!("\u{feff}---\r\n{}", SOUND.replace('\n', "\r\n"))).unwrap();
    let config = load(None, &environment).unwrap();
    assert_eq!((&config.file, config.plugins.len()), (&file, 2));
    assert_eq!(config.plugins[1].section.plugins_path, folder.path().join(".config/anklet/plugins"));
    assert!(config.warnings.is_empty(), "{:?}", config.warnings);
}

#[test]
fn a_large_config_is_read_in_time() {
    let mut text = SOUND.to_owned();
    for number in 0..1_000 {
        text += &format!("  - name: MAC{number}\n    plugin: github\n    owner: acme\n    skip_pull: yes\n");
    }
    let begin = Instant::now();
    assert_eq!(sound(&text, &[]).plugins.len(), 1_002);
    assert!(begin.elapsed() < Duration::from_secs(60), "{:?}", begin.elapsed());
}
