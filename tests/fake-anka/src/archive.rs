//! The runner program as files: small scripts that lead back to this program, in the shape of the real archive.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Writes the unpacked runner of that version. `svc.sh` is not in it: as in reality, configuring makes it.
pub(crate) fn write_runner(dir: &Path, version: &str, exe: &Path) -> io::Result<()> {
    fs::create_dir_all(dir.join("bin"))?;
    fs::create_dir_all(dir.join("externals"))?;
    let exe = quoted(&exe.display().to_string());
    let here = r#"here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)""#;
    let script = |command: &str| {
        format!("#!/bin/bash\n# Stand-in.\n{here}\nexec {exe} {command} \"$here\" {version} \"$@\"\n")
    };
    write(&dir.join("config.sh"), &script("__config"), 0o755)?;
    write(&dir.join("run.sh"), &script("__listen"), 0o755)?;
    write(&dir.join("env.sh"), "#!/bin/bash\n", 0o755)?;
    write(&dir.join("bin/darwin.svc.sh.template"), &script("__service"), 0o644)?;
    let listener = format!("#!/bin/bash\ncase \"$1\" in --version) echo {version} ;; *) exit 2 ;; esac\n");
    write(&dir.join("bin/Runner.Listener"), &listener, 0o755)
}

/// Packs the runner as GitHub does; path and SHA-256 come back.
pub(crate) fn make_runner(dir: &Path, version: &str, exe: &Path) -> io::Result<(PathBuf, String)> {
    let name = format!("actions-runner-osx-arm64-{version}");
    let unpacked = dir.join(format!(".{name}"));
    write_runner(&unpacked, version, exe)?;
    let file = dir.join(format!("{name}.tar.gz"));
    let mut tar = Command::new("tar");
    tar.arg("-czf").arg(&file).arg("-C").arg(&unpacked).args([
        "bin",
        "externals",
        "config.sh",
        "run.sh",
        "env.sh",
    ]);
    if !tar.status()?.success() {
        return Err(io::Error::other("tar failed"));
    }
    fs::remove_dir_all(unpacked)?;
    Ok((file.clone(), sha256(&file)?))
}

/// By the host's own tool, whichever of the two names it has.
fn sha256(file: &Path) -> io::Result<String> {
    let linux = Command::new("sha256sum").arg(file).output();
    let output = linux.or_else(|_| Command::new("shasum").args(["-a", "256"]).arg(file).output())?;
    let text = String::from_utf8_lossy(&output.stdout);
    let sum = text.split_whitespace().next().filter(|sum| sum.len() == 64);
    sum.map(String::from).ok_or_else(|| io::Error::other("no checksum"))
}

pub(crate) fn write(file: &Path, text: &str, mode: u32) -> io::Result<()> {
    fs::write(file, text)?;
    fs::set_permissions(file, fs::Permissions::from_mode(mode))
}

/// For a shell.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}
