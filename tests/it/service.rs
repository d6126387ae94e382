//! The services that the installer makes: what is in them, where they are refused, and that the program stops by them as it should.
//!
//! `DESTDIR` keeps them away from this machine, and a stand-in for `uname` makes a Mac of it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::json;

use crate::install::{Bench, VERSION, have, text};
use crate::queue;
use crate::support::{World, bare};

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/install.sh");
const UNIT: &str = "etc/systemd/system/anklet.service";
const AGENT: &str = "Library/LaunchAgents/com.veertu.anklet.agent.plist";
const GO_DAEMON: &str = "Library/LaunchDaemons/com.veertu.anklet.plist";

/// A bench whose machine is a Mac, as far as `uname` goes.
fn mac() -> Bench {
    let mut bench = Bench::empty();
    bench.target = Some("aarch64-apple-darwin");
    bench.archive(&bench.program(&format!("echo {VERSION}")));
    let uname = bench.at("uname");
    fs::write(&uname, "#!/bin/sh\ncase $1 in -m) echo arm64 ;; *) echo Darwin ;; esac\n").unwrap();
    fs::set_permissions(&uname, fs::Permissions::from_mode(0o755)).unwrap();
    bench.path = format!("{}:{}", bench.home.path().display(), bench.path);
    bench.root = Some(bench.at("root"));
    bench
}

fn linux() -> Bench {
    let mut bench = Bench::new();
    bench.root = Some(bench.at("root"));
    bench
}

fn install(bench: &Bench) -> Output {
    bench.run(&["--version", VERSION, "--service"])
}

/// Where the agent lies: the home of the user, below `DESTDIR`.
fn agent(bench: &Bench) -> PathBuf {
    let home = bench.home.path().strip_prefix("/").unwrap();
    bench.at("root").join(home).join(AGENT)
}

/// The values of a unit's key, in order.
fn values<'a>(unit: &'a str, key: &str) -> Vec<&'a str> {
    unit.lines().filter_map(|line| line.strip_prefix(key)?.strip_prefix('=')).collect()
}

#[test]
fn a_mac_gets_an_agent_of_its_user() {
    let bench = mac();
    let output = install(&bench);
    assert!(output.status.success(), "{}", text(&output));
    let plist = fs::read_to_string(agent(&bench)).unwrap();
    assert!(!plist.contains('@'), "{plist}");
    for part in [
        "<string>com.veertu.anklet.agent</string>".to_owned(),
        format!("<string>{}</string>", bench.prefix("bin/anklet").display()),
        format!("<string>{}</string>", bench.home.config().display()),
        format!("<string>{}/Library/Logs/anklet.log</string>", bench.home.path().display()),
        "<key>ExitTimeOut</key>\n\t<integer>30</integer>".to_owned(),
        "<key>SuccessfulExit</key>\n\t\t<false/>".to_owned(),
        "<key>LimitLoadToSessionType</key>\n\t<string>Aqua</string>".to_owned(),
    ] {
        assert!(plist.contains(&part), "no {part} in {plist}");
    }
    assert!(text(&output).contains("launchctl bootstrap gui/"), "{}", text(&output));
    if have("python3") {
        let script = "import plistlib, sys; print(sorted(plistlib.load(open(sys.argv[1], 'rb'))))";
        let parsed = Command::new("python3").args(["-c", script]).arg(agent(&bench)).output().unwrap();
        let keys = "['EnvironmentVariables', 'ExitTimeOut', 'KeepAlive', 'Label', 'LimitLoadToSessionType', 'ProcessType', \
                    'ProgramArguments', 'RunAtLoad', 'SoftResourceLimits', 'StandardErrorPath', 'StandardOutPath', 'WorkingDirectory']\n";
        assert_eq!(text(&parsed), keys);
    }
    let output = bench.run(&["--uninstall"]);
    assert!(output.status.success(), "{}", text(&output));
    assert!(!agent(&bench).exists());
    assert!(bench.home.config().exists(), "configs stay");
}

/// Puts a program of that name on the path of the bench, which notes that it was called.
fn stand_in(bench: &Bench, name: &str, script: &str) {
    let program = bench.at(name);
    fs::write(&program, format!("#!/bin/sh\necho \"{name} $*\" >>\"$HOME/calls\"\n{script}\n")).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
}

/// What the stand-ins were called with since the last look.
fn calls(bench: &Bench) -> Vec<String> {
    let calls = fs::read_to_string(bench.at("calls")).unwrap_or_default();
    let _ = fs::remove_file(bench.at("calls"));
    calls.lines().map(str::to_owned).collect()
}

/// Without `DESTDIR`, as on a real Mac: the agent is started once there is a config, and again after an upgrade, when the old one has ended.
#[test]
fn launchd_is_told() {
    let mut bench = mac();
    bench.root = None;
    stand_in(&bench, "launchctl", "[ \"$1\" != print ] || { [ -e \"$HOME/stops\" ] && rm \"$HOME/stops\"; }");
    stand_in(&bench, "sleep", "");
    let id = bench.at("id");
    fs::write(&id, "#!/bin/sh\ncase $1 in -u) echo 501 ;; *) echo ci ;; esac\n").unwrap();
    fs::set_permissions(&id, fs::Permissions::from_mode(0o755)).unwrap();
    let agent = bench.at(AGENT);

    let output = install(&bench);
    assert!(output.status.success() && agent.exists(), "{}", text(&output));
    assert!(
        text(&output).contains(&format!("launchctl bootstrap gui/501 {}", agent.display())),
        "{}",
        text(&output)
    );
    let of_agent = "gui/501/com.veertu.anklet.agent";
    let (bootout, print) = (format!("launchctl bootout {of_agent}"), format!("launchctl print {of_agent}"));
    assert_eq!(calls(&bench), [bootout.as_str(), &print], "no start before there are values in the config");

    fs::write(bench.at("stops"), "").unwrap();
    let output = install(&bench);
    assert!(output.status.success(), "{}", text(&output));
    let bootstrap = format!("launchctl bootstrap gui/501 {}", agent.display());
    assert_eq!(calls(&bench), [bootout.as_str(), &print, "sleep 1", &print, &bootstrap]);

    let output = bench.install();
    assert!(text(&output).contains("The service goes on with the old program"), "{}", text(&output));
    assert_eq!(calls(&bench), Vec::<String>::new());

    let output = bench.run(&["--uninstall"]);
    assert!(output.status.success() && !agent.exists(), "{}", text(&output));
    assert_eq!(calls(&bench), [bootout]);
}

/// As root, with an empty `/etc` of its own and stand-ins for what would change this machine.
#[test]
fn systemd_is_told() {
    let mut bench = Bench::new();
    bench.path = format!("{}:{}:/usr/sbin:/sbin", bench.home.path().display(), bench.path);
    for (name, script) in [("systemctl", ""), ("useradd", ""), ("chown", "")] {
        stand_in(&bench, name, script);
    }
    let id = bench.at("id");
    fs::write(&id, "#!/bin/sh\n[ \"$1\" = -u ] && echo 0 && exit\n[ -e \"$HOME/has-user\" ]\n").unwrap();
    fs::set_permissions(&id, fs::Permissions::from_mode(0o755)).unwrap();
    let prefix = bench.prefix("");
    let install = format!("sh {SCRIPT} --version {VERSION} --prefix {}", prefix.display());
    let script = format!(
        // Debian's awk is a link to a link there.
        "cp -a /etc/alternatives \"$HOME\" 2>/dev/null || :
         mount -t tmpfs -o size=1m none /etc 2>/dev/null || exit 77
         [ ! -d \"$HOME/alternatives\" ] || cp -a \"$HOME/alternatives\" /etc
         set -e
         {install} --service; stat -c '%a %n' /etc/anklet /etc/anklet/config.yml
         echo >>\"$HOME/calls\"; touch \"$HOME/has-user\"; {install} --service; {install}
         echo >>\"$HOME/calls\"; grep ExecStart= /etc/systemd/system/anklet.service
         sh {SCRIPT} --prefix {} --uninstall; ! ls /etc/systemd/system/anklet.service",
        prefix.display()
    );
    let Some(output) = bench.among_own_mounts(&script) else { return };
    let said = text(&output);
    assert!(output.status.success(), "{said}");
    for part in [
        "750 /etc/anklet\n640 /etc/anklet/config.yml",
        "anklet init -c /etc/anklet/config.yml",
        "systemctl start anklet",
        "Your config /etc/anklet/config.yml is as it was",
        "The service goes on with the old program",
        &format!("ExecStart={} -c /etc/anklet/config.yml", bench.at("prefix/bin/anklet").display()),
        "Left alone, since configs, queues and logs are yours: /etc/anklet",
    ] {
        assert!(said.contains(part), "no {part} in {said}");
    }
    assert_eq!(said.matches("Wrote a first").count(), 1, "{said}");
    let user = "useradd --system --home-dir /var/lib/anklet --shell /usr/sbin/nologin anklet";
    let (owner, reload) = ("chown -R root:anklet /etc/anklet", "systemctl daemon-reload");
    let enable = "systemctl enable --quiet anklet";
    let expected = [
        &[user, owner, reload, enable, ""][..],
        &[owner, reload, enable, "systemctl restart anklet", ""],
        &["systemctl disable --now --quiet anklet", reload],
    ];
    assert_eq!(calls(&bench), expected.concat());
}

/// What XML or a shell could take for something else stays a path.
#[test]
fn any_folder_can_be_the_home_of_a_service() {
    let bench = mac();
    let prefix = bench.at("a & b/<c> $(touch x)'\"");
    let output = bench.run(&["--version", VERSION, "--service", "--prefix", prefix.to_str().unwrap()]);
    assert!(output.status.success(), "{}", text(&output));
    let plist = fs::read_to_string(agent(&bench)).unwrap();
    assert!(plist.contains("/a &amp; b/&lt;c&gt; $(touch x)'\"/bin/anklet</string>"), "{plist}");
}

#[test]
fn the_go_programs_service_is_named_and_refused() {
    let bench = mac();
    let daemon = bench.at("root").join(GO_DAEMON);
    fs::create_dir_all(daemon.parent().unwrap()).unwrap();
    fs::write(&daemon, "theirs").unwrap();
    let output = install(&bench);
    let said = text(&output);
    assert!(
        !output.status.success() && said.contains(daemon.to_str().unwrap()) && said.contains("--replace"),
        "{said}"
    );
    assert!(!bench.prefix("bin/anklet").exists() && !agent(&bench).exists());
    assert_eq!(fs::read_to_string(&daemon).unwrap(), "theirs");

    let output = bench.run(&["--version", VERSION, "--service", "--replace"]);
    assert!(output.status.success(), "{}", text(&output));
    assert!(!daemon.exists() && agent(&bench).exists());
    assert_eq!(fs::read_to_string(daemon.with_extension("plist.old")).unwrap(), "theirs");
}

#[test]
fn linux_gets_a_unit_that_systemd_accepts() {
    let bench = linux();
    for _ in 0..2 {
        let output = install(&bench);
        assert!(output.status.success(), "{}", text(&output));
    }
    let file = bench.at("root").join(UNIT);
    let unit = fs::read_to_string(&file).unwrap();
    let command = format!("{} -c /etc/anklet/config.yml", bench.prefix("bin/anklet").display());
    assert_eq!(values(&unit, "ExecStart"), [command]);
    assert_eq!(values(&unit, "KillMode"), ["mixed"]);
    assert!(bench.at("root/etc/anklet/config.yml").exists() && !bench.home.config().exists());
    if have("systemd-analyze") {
        let output =
            Command::new("systemd-analyze").args(["verify", "--man=no"]).arg(&file).output().unwrap();
        let said = text(&output);
        let ours: Vec<_> = said.lines().filter(|line| line.contains("anklet.service")).collect();
        assert!(output.status.success() && ours.is_empty(), "{said}");
    } else {
        println!("SKIPPED: systemd-analyze is not installed, so the unit was not verified");
    }
    assert!(bench.run(&["--uninstall"]).status.success());
    assert!(!file.exists() && bench.at("root/etc/anklet/config.yml").exists());
}

#[test]
fn a_unit_cannot_name_every_folder() {
    let bench = linux();
    let prefix = bench.at("a b");
    let output = bench.run(&["--version", VERSION, "--service", "--prefix", prefix.to_str().unwrap()]);
    assert!(!output.status.success() && text(&output).contains("plain letters"), "{}", text(&output));
    assert!(!prefix.exists());
}

/// By the unit's command, limits and kill signal, with a job running: the VM stays, and the next start sees the job through.
#[test]
fn the_unit_stops_softly_while_a_job_runs() {
    let mut bench = Bench::empty();
    bench.archive(Path::new(env!("CARGO_BIN_EXE_anklet")));
    bench.root = Some(bench.at("root"));
    let output = install(&bench);
    assert!(output.status.success(), "{}", text(&output));
    let unit = fs::read_to_string(bench.at("root").join(UNIT)).unwrap();
    let (n_files, umask) = (values(&unit, "LimitNOFILE")[0], values(&unit, "UMask")[0]);
    let program = values(&unit, "ExecStart")[0].split(' ').next().unwrap();
    assert_eq!(values(&unit, "KillSignal"), ["SIGTERM"]);

    let world = World::new();
    let start = || {
        let mut command = bare("/bin/sh");
        command.args(["-c", &format!("ulimit -n {n_files} && umask {umask} && exec {program} \"$@\""), "sh"]);
        world.start_with(&world.config(1), command)
    };
    let mut first = start();
    let job = world.github.create_job(world.job().steps_ms(2_500));
    first.wait_message("job found registered runner and is now in progress");
    first.signal("TERM");
    let (status, _) = first.wait_end_and_lines();
    assert_eq!(status.code(), Some(0), "systemd and launchd start it again after any other");
    assert_eq!(world.vms_made_by_us().len(), 1);
    let second = start();
    world.github.wait_completed(job, crate::support::LIMIT);
    second.wait_for("an empty queue", || queue::jobs(&world).is_empty() && queue::vms(&world).is_empty());
    assert_eq!(json!(world.github.job(job).conclusion), json!("success"));
    world.assert_clean(&second);
    second.stop();
}
