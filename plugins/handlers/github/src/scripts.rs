//! The three guest scripts: ours are built in, an operator's own in the plugins folder win.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use anklet_plugin_api::section::RegistrationMode;
use log::{info, warn};

/// A script's name in the guest and the text that is built in.
struct Script {
    name: &'static str,
    text: &'static str,
}

const SCRIPTS: [Script; 3] = [
    Script { name: "install-runner.bash", text: include_str!("../install-runner.bash") },
    Script { name: "register-runner.bash", text: include_str!("../register-runner.bash") },
    Script { name: "start-runner.bash", text: include_str!("../start-runner.bash") },
];

const REGISTER: &str = SCRIPTS[1].name;

/// Where the scripts lie on the host, in the order in which they are copied.
pub(crate) struct Scripts {
    found: Vec<(&'static Script, PathBuf)>,
    own_folder: PathBuf,
}

impl Scripts {
    /// Looks for scripts of the operator's own in `plugins_path`, and puts ours into a folder below `work_dir` for the rest. A runner that comes with
    /// its configuration is not registered in the guest.
    pub(crate) fn find(plugins_path: &Path, work_dir: &Path, mode: RegistrationMode) -> io::Result<Self> {
        let own_folder = work_dir.join("anklet-guest-scripts");
        let mut found = Vec::new();
        for script in &SCRIPTS {
            let theirs = plugins_path.join("handlers/github").join(script.name);
            if mode == RegistrationMode::Jit && script.name == REGISTER {
                let is_own =
                    |bytes: &[u8]| bytes != script.text.as_bytes() && !is_known_copy(script.name, bytes);
                if fs::read(&theirs).is_ok_and(|bytes| is_own(&bytes)) {
                    warn!(file:% = theirs.display(); "this guest script is not used with `registration_mode: jit`");
                }
                continue;
            }
            match fs::read(&theirs) {
                Ok(bytes) if is_known_copy(script.name, &bytes) => {
                    warn!(file:% = theirs.display(); "this guest script is a copy from the Go program and is ignored; the built-in one is used");
                    found.push((script, own_folder.join(script.name)));
                }
                Ok(bytes) => {
                    if bytes != script.text.as_bytes() {
                        info!(file:% = theirs.display(); "using a guest script of your own");
                    }
                    // The VM host copies links as links, names a file in the guest after itself, and keeps its mode: every job would fail
                    // over a script that nobody may execute.
                    let real = fs::canonicalize(&theirs)?;
                    let is_executable = fs::metadata(&real)?.permissions().mode() & 0o111 == 0o111;
                    if real.file_name().is_some_and(|name| name == script.name) && is_executable {
                        found.push((script, real));
                    } else {
                        let copy = own_folder.join("linked").join(script.name);
                        write_executable(&copy, &bytes)?;
                        found.push((script, copy));
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    found.push((script, own_folder.join(script.name)))
                }
                Err(error) => {
                    return Err(io::Error::new(error.kind(), format!("{}: {error}", theirs.display())));
                }
            }
        }
        let scripts = Self { found, own_folder };
        scripts.ready()?;
        Ok(scripts)
    }

    /// The files to copy. Written anew if something swept them away since.
    pub(crate) fn ready(&self) -> io::Result<Vec<&Path>> {
        for (script, path) in &self.found {
            let is_built_in = path.parent() == Some(&*self.own_folder);
            if is_built_in && fs::read(path).ok().as_deref() != Some(script.text.as_bytes()) {
                write_executable(path, script.text.as_bytes())?;
            }
        }
        Ok(self.found.iter().map(|(_, path)| path.as_path()).collect())
    }
}

/// Writes by rename, since another handler may be copying the file at this moment, or writing it too.
fn write_executable(path: &Path, text: &[u8]) -> io::Result<()> {
    static N_WRITTEN: AtomicUsize = AtomicUsize::new(0);
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let n_earlier = N_WRITTEN.fetch_add(1, Ordering::Relaxed);
    let fresh = path.with_extension(format!("{}-{n_earlier}.new", std::process::id()));
    fs::write(&fresh, text)?;
    fs::set_permissions(&fresh, fs::Permissions::from_mode(0o755))?;
    fs::rename(&fresh, path)
}

/// Whether the bytes are those of a script that the Go program shipped. They put the token through `set -x` into the log, and some
/// install runners that GitHub refuses, so a mere copy must not win over ours.
fn is_known_copy(name: &str, bytes: &[u8]) -> bool {
    // FNV-1a sums of the published versions: a fingerprint, not a defence, since nobody gains by forging one.
    const KNOWN: [(&str, u64); 5] = [
        ("install-runner.bash", 0xfec2_8267_9953_a464),
        ("install-runner.bash", 0x65c4_54d7_f204_e396),
        ("register-runner.bash", 0x6eac_95bb_61c3_c36b),
        ("register-runner.bash", 0xd55a_9f15_601b_46d0),
        ("start-runner.bash", 0xe1a6_8ecd_9bcf_429f),
    ];
    // A checkout may have added or dropped the newline at the end.
    let bytes = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    let sum = fingerprint(bytes);
    KNOWN.contains(&(name, sum))
}

fn fingerprint(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |sum, byte| (sum ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder that goes when the test ends.
    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("anklet-scripts-{}-{name}", std::process::id()));
            fs::create_dir_all(path.join("plugins/handlers/github")).unwrap();
            Self(path)
        }

        fn find(&self, mode: RegistrationMode) -> Scripts {
            Scripts::find(&self.0.join("plugins"), &self.0, mode).unwrap()
        }

        fn theirs(&self, name: &str) -> PathBuf {
            self.0.join("plugins/handlers/github").join(name)
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn built_in_scripts_are_written_and_written_again() {
        let folder = Folder::new("built-in");
        let scripts = folder.find(RegistrationMode::Token);
        for (path, script) in scripts.ready().unwrap().iter().zip(&SCRIPTS) {
            assert_eq!(fs::read_to_string(path).unwrap(), script.text);
            assert_eq!(fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o755);
            fs::remove_file(path).unwrap();
        }
        assert!(scripts.ready().unwrap().iter().all(|path| path.exists()));
    }

    #[test]
    fn a_script_of_ones_own_wins_also_behind_a_link_of_another_name() {
        let folder = Folder::new("own");
        fs::write(folder.theirs("install-runner.bash"), "echo mine\n").unwrap();
        fs::write(folder.0.join("elsewhere.sh"), "echo linked\n").unwrap();
        std::os::unix::fs::symlink(folder.0.join("elsewhere.sh"), folder.theirs("start-runner.bash"))
            .unwrap();
        let scripts = folder.find(RegistrationMode::Token);
        let names: Vec<_> =
            scripts.ready().unwrap().iter().map(|path| path.file_name().unwrap().to_owned()).collect();
        assert_eq!(names, ["install-runner.bash", "register-runner.bash", "start-runner.bash"]);
        let text = |n: usize| fs::read_to_string(scripts.ready().unwrap()[n]).unwrap();
        assert_eq!((text(0).as_str(), text(2).as_str()), ("echo mine\n", "echo linked\n"));
    }

    #[test]
    fn a_script_of_ones_own_is_copied_as_a_program_whatever_its_mode() {
        let folder = Folder::new("mode");
        for (name, mode) in [("install-runner.bash", 0o644), ("start-runner.bash", 0o755)] {
            fs::write(folder.theirs(name), "echo mine\n").unwrap();
            fs::set_permissions(folder.theirs(name), fs::Permissions::from_mode(mode)).unwrap();
        }
        let scripts = folder.find(RegistrationMode::Token);
        let ready = scripts.ready().unwrap();
        for path in &ready {
            assert_eq!(fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o755, "{}", path.display());
        }
        assert_eq!(fs::read_to_string(ready[0]).unwrap(), "echo mine\n");
        assert_eq!(*ready[2], fs::canonicalize(folder.theirs("start-runner.bash")).unwrap());
    }

    #[test]
    fn a_runner_with_its_configuration_is_not_registered() {
        let folder = Folder::new("jit");
        fs::write(folder.theirs("register-runner.bash"), "echo mine\n").unwrap();
        fs::write(folder.theirs("start-runner.bash"), "echo mine too\n").unwrap();
        let scripts = folder.find(RegistrationMode::Jit);
        let ready = scripts.ready().unwrap();
        let names: Vec<_> = ready.iter().map(|path| path.file_name().unwrap().to_owned()).collect();
        assert_eq!(names, ["install-runner.bash", "start-runner.bash"]);
        assert_eq!(fs::read_to_string(ready[1]).unwrap(), "echo mine too\n");
    }

    #[test]
    fn only_copies_of_the_go_programs_scripts_are_known() {
        for script in &SCRIPTS {
            assert!(!is_known_copy(script.name, script.text.as_bytes()));
        }
        assert!(!is_known_copy("start-runner.bash", b""));
        assert_eq!(fingerprint(b"a"), 0xaf63_dc4c_8601_ec8c, "FNV-1a, as its authors publish it");
    }

    /// A handler and the janitor start at once.
    #[test]
    fn any_number_of_threads_may_write_them_at_once() {
        let folder = Folder::new("at-once");
        std::thread::scope(|scope| {
            let start = || {
                std::thread::Builder::new()
                    .spawn_scoped(scope, || folder.find(RegistrationMode::Token))
                    .unwrap()
            };
            let threads: Vec<_> = (0..16).map(|_| start()).collect();
            for thread in threads {
                assert_eq!(thread.join().unwrap().found.len(), 3);
            }
        });
        let left = fs::read_dir(folder.0.join("anklet-guest-scripts")).unwrap();
        assert_eq!(left.count(), SCRIPTS.len(), "no unfinished files stay");
    }
}
