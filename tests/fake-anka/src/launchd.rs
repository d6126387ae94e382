//! A guest's `launchctl bootstrap gui/UID PLIST`: starts the program of a launch agent in a session of its own, as launchd does for a
//! user who is logged in. Nothing of the caller's environment gets there.

use std::env;
use std::fs::{self, File};
use std::io;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::guests::{CALLER, MARKER};

/// The environment that launchd itself gives.
const PATH: &str = "/usr/bin:/bin:/usr/sbin:/sbin";

/// Runs the double; 5 is launchd's word for a bad property list, 64 for bad usage.
pub(crate) fn main(argv: &[String]) -> u8 {
    let words: Vec<&str> = argv.iter().map(String::as_str).collect();
    let ["bootstrap", domain, file] = words[..] else {
        eprintln!("Usage: launchctl bootstrap <domain-target> [service-path, service-path2, ...]");
        return 64;
    };
    if !domain.strip_prefix("gui/").is_some_and(|user| user.bytes().all(|byte| byte.is_ascii_digit())) {
        eprintln!("Bootstrap failed: 125: Domain does not support specified action");
        return 125;
    }
    match start(Path::new(file)) {
        Ok(()) => 0,
        Err(error) => {
            eprintln!("Bootstrap failed: 5: Input/output error: {error}");
            5
        }
    }
}

fn start(file: &Path) -> io::Result<()> {
    let text = fs::read_to_string(file)?;
    let need = |key: &str| {
        value(&text, key).ok_or_else(|| io::Error::other(format!("{} has no {key}", file.display())))
    };
    need("Label")?;
    if !text.contains("<key>RunAtLoad</key><true/>") {
        return Err(io::Error::other("nothing would start it"));
    }
    let (out, err) = (need("StandardOutPath")?, need("StandardErrorPath")?);
    let open = |path: String| File::options().create(true).append(true).open(path);
    let mut command = Command::new(env::current_exe()?);
    command.env_clear().env("PATH", PATH);
    command.envs(env::vars_os().filter(|(name, _)| {
        [MARKER, CALLER, "HOME", "USER", "LOGNAME", "SHELL", "TMPDIR"].iter().any(|kept| name == kept)
    }));
    command.arg("__session").arg(need("ProgramArguments")?).current_dir(need("WorkingDirectory")?);
    // Out of the caller's reach at once, not only when it leads its session.
    command.stdin(Stdio::null()).stdout(open(out)?).stderr(open(err)?).process_group(0);
    command.spawn().map(drop)
}

/// The first text behind a key.
fn value(text: &str, key: &str) -> Option<String> {
    let (_, rest) = text.split_once(&format!("<key>{key}</key>"))?;
    let (_, rest) = rest.split_once("<string>")?;
    let (value, _) = rest.split_once("</string>")?;
    Some(value.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read() {
        let text = "<key>Label</key><string>a &amp;lt; b</string>\n<key>ProgramArguments</key><array><string>/x</string></array>";
        assert_eq!(value(text, "Label").as_deref(), Some("a &lt; b"));
        assert_eq!(value(text, "ProgramArguments").as_deref(), Some("/x"));
        assert_eq!(value(text, "Nothing"), None);
    }
}
