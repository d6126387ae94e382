//! The installer: what it places from a good archive, and that it places nothing from any other.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{Builder, JoinHandle};

use crate::support::Home;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");
pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");
const PAGES: [&str; 3] =
    ["share/man/man1/anklet.1", "share/man/man5/anklet.yml.5", "share/man/man7/anklet-plugins.7"];
/// Program, pages, completions, what a service is made from, and the receipt.
const N_FILES: usize = 11;
const TOOLS: &str =
    "awk cat chmod cp cut dirname grep gzip head ln ls mkdir mktemp mv rm rmdir sed sh tar uname";

/// A folder with a home, a place for archives, and a place to install to.
pub(crate) struct Bench {
    pub(crate) home: Home,
    base_url: String,
    pub(crate) path: String,
    /// `DESTDIR`, for what lies outside of the prefix.
    pub(crate) root: Option<PathBuf>,
    /// What `.ci/archive` is told to make archives for.
    pub(crate) target: Option<&'static str>,
}

impl Bench {
    /// With an archive of a program that does nothing but tell the version.
    pub(crate) fn new() -> Self {
        let bench = Self::empty();
        bench.archive(&bench.program(&format!("echo {VERSION}")));
        bench
    }

    pub(crate) fn empty() -> Self {
        let home = Home::new();
        for folder in ["archives", "tmp"] {
            fs::create_dir(home.path().join(folder)).unwrap();
        }
        let base_url = format!("file://{}/archives", home.path().display());
        Self { home, base_url, path: "/usr/bin:/bin".to_owned(), root: None, target: None }
    }

    pub(crate) fn at(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    pub(crate) fn prefix(&self, name: &str) -> PathBuf {
        self.at("prefix").join(name)
    }

    pub(crate) fn program(&self, script: &str) -> PathBuf {
        let program = self.at("program");
        fs::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        program
    }

    /// Makes the archive of that program as a release does; its path comes back.
    pub(crate) fn archive(&self, program: &Path) -> PathBuf {
        let mut command = Command::new(format!("{ROOT}/.ci/archive"));
        command.arg("--binary").arg(program).arg("--out").arg(self.at("archives"));
        if let Some(target) = self.target {
            command.args(["--target", target]);
        }
        let output = command.env("SOURCE_DATE_EPOCH", "1700000000").output().unwrap();
        assert!(output.status.success(), "{}", text(&output));
        PathBuf::from(String::from_utf8(output.stdout).unwrap().trim())
    }

    fn sums(&self) -> PathBuf {
        self.at("archives").join(format!("v{VERSION}/SHA256SUMS"))
    }

    pub(crate) fn command(&self, script: &Path, arguments: &[&str]) -> Command {
        let mut command = Command::new("/bin/sh");
        command.arg(script).args(arguments).stdin(Stdio::null());
        self.surround(&mut command);
        command
    }

    /// The folder and the environment that the script is run in.
    pub(crate) fn surround(&self, command: &mut Command) {
        command.env_clear().current_dir(self.home.path());
        command.env("PATH", &self.path).env("HOME", self.home.path()).env("TMPDIR", self.at("tmp"));
        command.env("ANKLET_BASE_URL", &self.base_url);
        if let Some(root) = &self.root {
            command.env("DESTDIR", root);
        }
    }

    /// Runs lines of shell where file systems can be mounted that are gone with it; they end with 77 where that cannot be. None, and a word why, if
    /// so.
    pub(crate) fn among_own_mounts(&self, script: &str) -> Option<Output> {
        let mut command = Command::new("unshare");
        command.args(["-m", "sh", "-c", script]);
        self.surround(&mut command);
        let Ok(output) = command.output() else {
            println!("SKIPPED: there is no unshare");
            return None;
        };
        let said = text(&output);
        if output.status.code() == Some(77) || said.contains("unshare failed") {
            println!("SKIPPED: a file system cannot be mounted here: {said}");
            return None;
        }
        Some(output)
    }

    /// Leaves of the machine's programs what the script needs in any case, and these.
    pub(crate) fn only(&mut self, more: &[&str]) {
        let tools = self.at("tools");
        fs::create_dir(&tools).unwrap();
        let link = |name: &str| {
            let folders = ["/usr/bin", "/bin", "/sbin", "/usr/sbin"];
            let found = folders.iter().map(|folder| Path::new(folder).join(name)).find(|path| path.exists());
            found.is_some_and(|path| symlink(path, tools.join(name)).is_ok())
        };
        TOOLS.split(' ').chain(more.iter().copied()).for_each(|name| assert!(link(name), "no {name}"));
        self.path = tools.display().to_string();
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        let prefix = self.prefix("");
        let mut all = vec!["--prefix", prefix.to_str().unwrap()];
        all.extend(arguments);
        self.command(Path::new(&format!("{ROOT}/install.sh")), &all).output().unwrap()
    }

    pub(crate) fn install(&self) -> Output {
        self.run(&["--version", VERSION])
    }

    #[track_caller]
    pub(crate) fn assert_installed(&self, output: &Output) {
        assert!(output.status.success(), "{}", text(output));
        let says = Command::new(self.prefix("bin/anklet")).arg("--version").output().unwrap();
        assert_eq!(String::from_utf8(says.stdout).unwrap().lines().next(), Some(VERSION));
        for page in PAGES {
            let name = Path::new(page).file_name().unwrap();
            let ours = fs::read(Path::new(ROOT).join("man").join(name)).unwrap();
            assert_eq!(fs::read(self.prefix(page)).unwrap(), ours);
        }
        assert_eq!(files(&self.prefix("")).len(), N_FILES, "{:?}", files(&self.prefix("")));
        self.assert_no_work_left();
    }

    /// It failed, said why, and left nothing.
    #[track_caller]
    pub(crate) fn assert_nothing_placed(&self, output: &Output, why: &str) {
        let said = text(output);
        assert!(!output.status.success() && said.contains(why), "not `{why}`, but: {said}");
        assert_eq!(files(&self.prefix("")), Vec::<PathBuf>::new());
        self.assert_no_work_left();
    }

    #[track_caller]
    fn assert_no_work_left(&self) {
        assert_eq!(fs::read_dir(self.at("tmp")).unwrap().count(), 0);
    }
}

pub(crate) fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// Whether the program is on the PATH of the tests.
pub(crate) fn have(program: &str) -> bool {
    Command::new("sh").args(["-c", &format!("command -v {program}")]).output().unwrap().status.success()
}

/// All files under a folder, if there is one.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found
}

#[test]
fn the_real_program_is_installed_twice_and_removed() {
    let bench = Bench::empty();
    bench.archive(Path::new(env!("CARGO_BIN_EXE_anklet")));
    fs::write(bench.home.config(), "mine: yes\n").unwrap();
    for _ in 0..2 {
        let output = bench.install();
        bench.assert_installed(&output);
        assert!(text(&output).contains("Your config"), "{}", text(&output));
    }
    let output = bench.run(&["--uninstall"]);
    assert!(output.status.success(), "{}", text(&output));
    assert_eq!(files(&bench.prefix("")), Vec::<PathBuf>::new());
    assert_eq!(fs::read_to_string(bench.home.config()).unwrap(), "mine: yes\n");
    let again = bench.run(&["--uninstall"]);
    assert!(!again.status.success() && text(&again).contains("installed nothing"), "{}", text(&again));
}

/// A first one, readable for its owner alone; later ones are the operator's.
#[test]
fn a_first_config_is_written_once() {
    let bench = Bench::new();
    let output = bench.install();
    assert!(text(&output).contains("Wrote a first"), "{}", text(&output));
    let first = fs::read_to_string(bench.home.config()).unwrap();
    assert!(first.contains("\nplugins:\n") && first.contains("#global_token"), "{first}");
    assert_eq!(fs::metadata(bench.home.config()).unwrap().permissions().mode() & 0o777, 0o600);
    fs::write(bench.home.config(), "mine: yes\n").unwrap();
    bench.assert_installed(&bench.install());
    assert_eq!(fs::read_to_string(bench.home.config()).unwrap(), "mine: yes\n");
}

#[test]
fn a_newer_version_takes_the_place_of_an_older() {
    let bench = Bench::new();
    bench.assert_installed(&bench.install());
    bench.archive(&bench.program(&format!("# newer\necho {VERSION}")));
    bench.assert_installed(&bench.install());
    assert!(fs::read_to_string(bench.prefix("bin/anklet")).unwrap().contains("newer"));
}

/// Without a version, the place for the latest says which that is.
#[test]
fn the_latest_version_is_found() {
    let bench = Bench::new();
    symlink(format!("v{VERSION}"), bench.at("archives/latest")).unwrap();
    bench.assert_installed(&bench.run(&[]));
}

#[test]
fn a_dry_run_places_and_fetches_nothing() {
    let bench = Bench::empty();
    let output = bench.run(&["--dry-run", "--version", VERSION]);
    assert!(output.status.success() && text(&output).contains("bin/anklet"), "{}", text(&output));
    assert_eq!(files(&bench.prefix("")), Vec::<PathBuf>::new());
    bench.assert_no_work_left();
}

#[test]
fn nothing_is_placed_from_a_bad_archive() {
    let check = |why: &str, spoil: &dyn Fn(&Bench, &Path)| {
        let bench = Bench::empty();
        let archive = bench.archive(&bench.program(&format!("echo {VERSION}")));
        spoil(&bench, &archive);
        bench.assert_nothing_placed(&bench.install(), why);
    };
    let signed = |bench: &Bench, archive: &Path| {
        let digest = ring::digest::digest(&ring::digest::SHA256, &fs::read(archive).unwrap());
        let hex: String = digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        let name = archive.file_name().unwrap().to_str().unwrap();
        fs::write(bench.sums(), format!("{hex}  {name}\n")).unwrap();
    };
    check("damaged or forged", &|_, archive| {
        let bytes = fs::read(archive).unwrap();
        fs::write(archive, &bytes[..bytes.len() / 2]).unwrap();
    });
    check("damaged or forged", &|_, archive| {
        let mut bytes = fs::read(archive).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(archive, bytes).unwrap();
    });
    check("cannot fetch", &|_, archive| fs::remove_file(archive).unwrap());
    check("cannot fetch", &|bench, _| fs::remove_file(bench.sums()).unwrap());
    check("no checksum", &|bench, _| fs::write(bench.sums(), "").unwrap());
    check("no checksum", &|bench, _| {
        let sums = fs::read_to_string(bench.sums()).unwrap();
        fs::write(bench.sums(), &sums[10..]).unwrap();
    });
    check("cannot be unpacked", &|bench, archive| {
        fs::write(archive, "no archive").unwrap();
        signed(bench, archive);
    });
    check("lacks share/man/man1/anklet.1", &|bench, archive| {
        let folder = archive.file_name().unwrap().to_str().unwrap().trim_end_matches(".tar.gz").to_owned();
        fs::create_dir(bench.at(&folder)).unwrap();
        let tar = Command::new("tar")
            .arg("-czf")
            .arg(archive)
            .arg("-C")
            .arg(bench.home.path())
            .arg(folder)
            .status();
        assert!(tar.unwrap().success());
        signed(bench, archive);
    });
    for script in ["exit 3", "echo 9.9.9", "exec /no/such/program"] {
        check("does not run here", &|bench, _| drop(bench.archive(&bench.program(script))));
    }
}

/// Whatever part of the script arrives, a part of it does nothing.
#[test]
fn a_cut_script_does_nothing() {
    let bench = Bench::new();
    let script = fs::read(format!("{ROOT}/install.sh")).unwrap();
    let cut = bench.at("cut.sh");
    let whole = script.len() - "\n".len();
    let ends = (0..whole).filter(|end| script[*end] == b'\n' || *end > whole - 80 || end % 211 == 0);
    for end in ends {
        fs::write(&cut, &script[..end]).unwrap();
        let prefix = bench.prefix("");
        let output =
            bench.command(&cut, &["--prefix", prefix.to_str().unwrap(), "--version", VERSION]).output();
        drop(output.unwrap());
        assert_eq!(files(&prefix), Vec::<PathBuf>::new(), "after {end} bytes");
    }
}

#[test]
fn a_program_of_others_is_left_alone_unless_told() {
    let bench = Bench::new();
    fs::create_dir_all(bench.prefix("bin")).unwrap();
    fs::write(bench.prefix("bin/anklet"), "theirs").unwrap();
    let output = bench.install();
    assert!(!output.status.success() && text(&output).contains("--replace"), "{}", text(&output));
    assert_eq!(files(&bench.prefix("")), [bench.prefix("bin/anklet")]);
    assert_eq!(fs::read_to_string(bench.prefix("bin/anklet")).unwrap(), "theirs");

    let output = bench.run(&["--version", VERSION, "--replace"]);
    assert!(output.status.success(), "{}", text(&output));
    assert_eq!(fs::read_to_string(bench.prefix("bin/anklet.old")).unwrap(), "theirs");
    assert!(bench.run(&["--uninstall"]).status.success());
    assert_eq!(files(&bench.prefix("")), [bench.prefix("bin/anklet.old")]);
}

#[test]
fn another_program_on_the_path_is_named() {
    let mut bench = Bench::new();
    fs::create_dir(bench.at("go")).unwrap();
    fs::copy(bench.program("echo 2.0.0"), bench.at("go/anklet")).unwrap();
    bench.path = format!("{}:{}", bench.at("go").display(), bench.path);
    let output = bench.install();
    bench.assert_installed(&output);
    let named = format!("means {}", bench.at("go/anklet").display());
    assert!(text(&output).contains(&named), "{}", text(&output));

    // The same file by another path is no other.
    symlink(bench.at("prefix/bin"), bench.at("link")).unwrap();
    bench.path = format!("{}/:/usr/bin:/bin", bench.at("link").display());
    let output = bench.install();
    bench.assert_installed(&output);
    assert!(!text(&output).contains("means"), "{}", text(&output));
}

/// What is in the way may be a file, a folder, or the lack of a permission; that last does not stop root.
#[test]
fn nothing_is_half_placed_where_writing_fails() {
    let bench = Bench::new();
    fs::create_dir_all(bench.prefix("share/man")).unwrap();
    fs::write(bench.prefix("share/man/man5"), "a file").unwrap();
    let output = bench.install();
    assert!(!output.status.success() && text(&output).contains("cannot write"), "{}", text(&output));
    assert_eq!(files(&bench.prefix("")), [bench.prefix("share/man/man5")]);

    fs::remove_file(bench.prefix("share/man/man5")).unwrap();
    fs::create_dir_all(bench.prefix("bin/anklet/folder")).unwrap();
    let output = bench.run(&["--version", VERSION, "--replace"]);
    bench.assert_nothing_placed(&output, "cannot write");

    fs::remove_dir_all(bench.prefix("")).unwrap();
    fs::create_dir(bench.prefix("")).unwrap();
    fs::set_permissions(bench.prefix(""), fs::Permissions::from_mode(0o555)).unwrap();
    let is_root = fs::write(bench.prefix("probe"), "").is_ok();
    if is_root {
        fs::remove_file(bench.prefix("probe")).unwrap();
        bench.assert_installed(&bench.install());
    } else {
        bench.assert_nothing_placed(&bench.install(), "cannot write");
    }
    fs::set_permissions(bench.prefix(""), fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn any_program_for_checksums_will_do_but_one_there_must_be() {
    let mut bench = Bench::new();
    let tools = bench.at("tools");
    fs::create_dir(&tools).unwrap();
    let link = |name: &str| {
        let found =
            ["/usr/bin", "/bin"].iter().map(|folder| Path::new(folder).join(name)).find(|path| path.exists());
        found.is_some_and(|path| symlink(path, tools.join(name)).is_ok())
    };
    TOOLS.split(' ').for_each(|name| assert!(link(name), "no {name}"));
    bench.path = tools.display().to_string();
    bench.assert_nothing_placed(&bench.install(), "no program for SHA-256");
    let names = ["sha256sum", "shasum", "openssl"];
    let known: Vec<_> = names.into_iter().filter(|name| link(name)).collect();
    known.iter().for_each(|name| fs::remove_file(tools.join(name)).unwrap());
    assert!(!known.is_empty());
    for name in known {
        assert!(link(name));
        bench.assert_installed(&bench.install());
        assert!(bench.run(&["--uninstall"]).status.success());
        fs::remove_file(tools.join(name)).unwrap();
    }
}

#[test]
fn wrong_words_are_refused() {
    let bench = Bench::new();
    for words in
        [&["--prefix"][..], &["--version", "../x"], &["--version", "$(touch x)"], &["--verbose"], &["x"]]
    {
        let output = bench.run(words);
        assert!(!output.status.success(), "{words:?}");
        assert_eq!(files(&bench.prefix("")), Vec::<PathBuf>::new());
    }
    let mut bench = bench;
    for url in ["http://example.com/archives", "http://127.0.0.1:80@example.com/archives", "ftp://127.0.0.1"]
    {
        bench.base_url = url.to_owned();
        bench.assert_nothing_placed(&bench.install(), "https://");
    }
}

#[test]
fn the_same_files_make_the_same_archive() {
    let (one, two) = (Bench::new(), Bench::new());
    let bytes = |bench: &Bench| fs::read(bench.archive(&bench.at("program"))).unwrap();
    assert!(bytes(&one) == bytes(&two), "the archives differ");
}

#[test]
fn it_installs_over_http_and_nothing_from_a_line_that_breaks() {
    let mut bench = Bench::new();
    let server = Server::start(bench.at("archives"));
    bench.base_url = format!("http://127.0.0.1:{}", server.port);
    bench.assert_installed(&bench.install());
    assert!(bench.run(&["--uninstall"]).status.success());
    server.is_breaking.store(true, Ordering::Relaxed);
    bench.assert_nothing_placed(&bench.install(), "cannot fetch");
    server.is_breaking.store(false, Ordering::Relaxed);
    bench.assert_nothing_placed(&bench.run(&["--version", "9.9.9"]), "cannot fetch");
    if have("wget") && have("sha256sum") {
        bench.only(&["wget", "sha256sum"]);
        bench.assert_nothing_placed(&bench.run(&["--version", "9.9.9"]), "cannot fetch");
        bench.assert_installed(&bench.install());
    } else {
        println!("SKIPPED: without wget it was not tried in the place of curl");
    }
}

/// Serves the files of a folder; while it is breaking, half of each archive.
struct Server {
    port: u16,
    is_breaking: Arc<AtomicBool>,
    is_ending: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    fn start(folder: PathBuf) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let (is_breaking, is_ending) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let flags = (Arc::clone(&is_breaking), Arc::clone(&is_ending));
        let thread = Builder::new().name("archives".to_owned()).spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if flags.1.load(Ordering::Relaxed) {
                    break;
                }
                // A client that goes away early is the client's affair.
                let _ = serve(stream, &folder, flags.0.load(Ordering::Relaxed));
            }
        });
        Self { port, is_breaking, is_ending, thread: Some(thread.unwrap()) }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.is_ending.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect(("127.0.0.1", self.port));
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn serve(mut stream: TcpStream, folder: &Path, is_breaking: bool) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    let request = lines.next().transpose()?.unwrap_or_default();
    while lines.next().transpose()?.is_some_and(|line| !line.is_empty()) {}
    let path = request.split(' ').nth(1).unwrap_or_default().trim_start_matches('/');
    let Ok(bytes) = fs::read(folder.join(path)) else {
        return stream.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    };
    let sent = if is_breaking && path.ends_with(".gz") { bytes.len() / 2 } else { bytes.len() };
    write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", bytes.len())?;
    stream.write_all(&bytes[..sent])
}
