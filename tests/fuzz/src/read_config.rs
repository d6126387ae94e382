//! The config file: whatever lies there, the answer is a config or a list of what is wrong with it.

use std::fs;
use std::path::PathBuf;
use std::sync::LazyLock;

use crate::config;
use crate::config::env::Environment;

static FILE: LazyLock<PathBuf> = LazyLock::new(|| {
    let folder = crate::read_stored::memory_folder("config");
    folder.join("config.yml")
});

/// Reads the bytes as a config file.
pub fn config_file(bytes: &[u8]) {
    fs::write(&*FILE, bytes).expect("the file can be written");
    match config::load(Some(&FILE), &Environment::default()) {
        Ok(config) => {
            for plugin in &config.plugins {
                assert!(!plugin.section.name.as_str().is_empty());
                assert!(!plugin.section.name.as_str().contains(' '));
            }
        }
        Err(error) => {
            assert!(!error.problems.is_empty());
            assert!(!error.to_string().is_empty());
        }
    }
}
