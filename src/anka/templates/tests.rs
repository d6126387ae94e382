//! Which template and tag a label means, where it can be had, and the lock between pulls and clones.

use std::thread;
use std::time::Duration;

use anklet_plugin_api::stop;
use anklet_plugin_api::vm::VmHost;

use super::*;
use crate::anka::tests::{Bench, await_news, ok, vm};

const LIST: &str = r#"[
{"name":"14-arm","uuid":"AAAA-1111","version":"v1","status":"stopped"},
{"name":"plain","uuid":"BBBB-2222","status":"stopped"},
{"name":"anklet-vm-9","uuid":"CCCC-3333","status":"running"}]"#;

const REGISTRY: &str = r#"[
{"uuid":"AAAA-1111","name":"14-arm","latest":"v1"},
{"id":"EEEE-5555","name":"15-arm","latest":"v7"},
{"uuid":"FFFF-6666","name":"old"}]"#;

const NOT_FOUND: &str = r#"{"status":"ERROR","code":3,"body":{},"message":"x: not found"}"#;
const DOWN: &str = r#"{"status":"ERROR","code":1,"body":{},"message":"connection refused"}"#;

/// An `anka` with those templates and this registry; it notes the words of each command.
fn bench_with(registry: &str) -> Bench {
    let (list, tags, none) = (ok(&LIST.replace('\n', "")), ok(r#"[{"tag":"v0"},{"tag":"v1"}]"#), ok("{}"));
    let size = ok(r#"{"cpu_cores":4,"ram_size":1024}"#);
    let failed = r#"{"status":"ERROR","code":5,"body":{},"message":"no tags"}"#;
    Bench::new(&format!(
        "echo \"$*\" >> \"$HOME/words\"
case \"$*\" in
  '-j list') printf '%s' '{list}';;
  '-j show AAAA-1111 tag') printf '%s' '{tags}';;
  '-j show '*) printf '%s' '{failed}'; exit 5;;
  '-j registry list') printf '%s' '{registry}';;
  '-j registry show -t gone '*) printf '%s' '{NOT_FOUND}'; exit 3;;
  '-j registry show EEEE-5555' | '-j registry show -t v7 EEEE-5555' | '-j registry show AAAA-1111') printf '%s' '{size}';;
  '-j registry show '*) printf '%s' '{failed}'; exit 5;;
  *) printf '%s' '{none}';;
esac"
    ))
}

fn bench() -> Bench {
    bench_with(&ok(&REGISTRY.replace('\n', "")))
}

fn image(template: &str, tag: Option<&str>) -> Image {
    Image { template: template.to_string(), tag: tag.map(str::to_string) }
}

fn ready(template: &str, tag: Option<&str>) -> ReadyImage {
    ReadyImage { template: template.to_string(), tag: tag.map(str::to_string), is_current: true }
}

/// What was found, as a text: where, which template and tag, and what else is known.
fn found(bench: &Bench, image: &Image, source: &ImageSource) -> String {
    let anka = bench.anka();
    let listed = anka.list(&Ear::deaf()).unwrap();
    let tag = |tag: &Option<String>| tag.clone().unwrap_or_else(|| "-".to_owned());
    match anka.find_image(image, source, &listed, &Ear::deaf()) {
        Ok(FoundImage::OnDisk { image, maybe_old }) => {
            let other = if image.is_current { "" } else { " other" };
            let old = maybe_old.map(|why| format!(" old: {why}")).unwrap_or_default();
            format!("disk {} {}{other}{old}", image.template, tag(&image.tag))
        }
        Ok(FoundImage::Remote(remote)) => {
            let size = if remote.size.is_some() { " sized" } else { "" };
            format!("remote {} {}{size}", remote.template, tag(&remote.tag))
        }
        Err(error @ VmError::NoSuchImage { .. }) => format!("nowhere: {error}"),
        Err(error @ VmError::NotOnDisk { .. }) => format!("not now: {error}"),
        Err(error) => format!("{error:?}"),
    }
}

#[track_caller]
fn check(template: &str, tag: Option<&str>, expected: &str) {
    let found = found(&bench(), &image(template, tag), &ImageSource::default());
    assert!(found.starts_with(expected), "{template:?} {tag:?} is {found:?}");
}

#[test]
fn a_template_is_found_by_id_or_name_with_the_tag_that_was_asked_for() {
    check("AAAA-1111", Some("v1"), "disk AAAA-1111 v1");
    check("AAAA-1111", Some("V1"), "disk AAAA-1111 v1");
    check("AAAA-1111", Some("v0"), "disk AAAA-1111 v0 other");
    check("14-arm", Some("v1"), "disk AAAA-1111 v1");
    check("EEEE-5555", Some("v7"), "remote EEEE-5555 v7 sized");
    check("15-ARM", Some("V7"), "remote EEEE-5555 v7 sized");
    // The registry can tell its size only after it was pushed again.
    check("FFFF-6666", Some("v1"), "remote FFFF-6666 v1");
}

#[test]
fn without_a_tag_the_registrys_latest_is_meant() {
    check("aaaa-1111", None, "disk AAAA-1111 v1");
    check("14-ARM", None, "disk AAAA-1111 v1");
    check("15-arm", None, "remote EEEE-5555 v7 sized");
    check("old", None, "remote FFFF-6666 -");
    check("BBBB-2222", None, "disk BBBB-2222 - old: the registry does not have");
}

#[test]
fn what_is_nowhere_is_said_with_what_is_near() {
    check(
        "EEEE-5556",
        None,
        "nowhere: template EEEE-5556 is not in the registry; the closest there: 15-arm (EEEE-5555)",
    );
    check(
        "13-arm",
        Some("v1"),
        "nowhere: template 13-arm is not in the registry; the closest there: 14-arm (AAAA-1111)",
    );
    check(
        "AAAA-1111",
        Some("gone"),
        "nowhere: tag gone of template AAAA-1111 is not in the registry; the closest there: v1, v0",
    );
    check("EEEE-5555", Some("gone"), "nowhere: tag gone of template EEEE-5555");
    // A registry that cannot show the template at all is not believed that the tag is missing.
    check("FFFF-6666", Some("gone"), "remote FFFF-6666 gone");
}

#[test]
fn a_registry_that_does_not_answer_well_has_said_nothing() {
    let row = ok(r#"[{"name":"no id"}]"#);
    for answer in [DOWN, "", "{\"status\":\"OK\",\"bo", &ok("{}"), &row] {
        let bench = bench_with(answer);
        let check = |template: &str, tag: Option<&str>, expected: &str| {
            let found = found(&bench, &image(template, tag), &ImageSource::default());
            assert!(found.starts_with(expected), "{template:?} {tag:?} is {found:?}");
        };
        check("DDDD-4444", None, "not now: template DDDD-4444 is not on disk and cannot be pulled");
        check("DDDD-4444", Some("v9"), "not now: template DDDD-4444 is not on disk and cannot be pulled");
        check("AAAA-1111", Some("v0"), "disk AAAA-1111 v0 other");
    }
}

#[test]
fn a_registry_out_of_reach_has_said_nothing_of_what_is_on_disk_either() {
    let bench = bench_with(DOWN);
    let check = |tag: Option<&str>, expected: &str| {
        let found = found(&bench, &image("AAAA-1111", tag), &ImageSource::default());
        assert!(found.starts_with(expected), "{tag:?} is {found:?}");
    };
    check(
        Some("v9"),
        "not now: template AAAA-1111 is not on disk and cannot be pulled: tag v9 is not on disk, and the registry",
    );
    check(None, "disk AAAA-1111 v1 old: `anka registry list`");
}

#[test]
fn a_list_that_is_short_or_strange_is_no_proof_against_what_the_registry_shows() {
    for (answer, lacks) in
        [("[]", "nowhere"), (r#"{"templates":[]}"#, "not now"), (r#"["15-arm"]"#, "not now")]
    {
        let bench = bench_with(&ok(answer));
        let check = |template: &str, tag: Option<&str>, expected: &str| {
            let found = found(&bench, &image(template, tag), &ImageSource::default());
            assert!(found.starts_with(expected), "{answer} {template:?} {tag:?} is {found:?}");
        };
        check("EEEE-5555", Some("v7"), "remote EEEE-5555 v7 sized");
        check("EEEE-5555", None, "remote EEEE-5555 - sized");
        check("AAAA-1111", Some("gone"), "nowhere: tag gone of template AAAA-1111");
        check("DDDD-4444", None, lacks);
    }
}

#[test]
fn with_skip_pull_and_with_the_tag_on_disk_nobody_asks_the_registry() {
    let bench = bench();
    let skip = ImageSource { skip_pull: true, ..ImageSource::default() };
    let check = |template: &str, tag: Option<&str>, source: &ImageSource, expected: &str| {
        let found = found(&bench, &image(template, tag), source);
        assert!(found.starts_with(expected), "{template:?} {tag:?} is {found:?}");
    };
    check("AAAA-1111", None, &skip, "disk AAAA-1111 v1 old: skip_pull");
    check("EEEE-5555", None, &skip, "not now: template EEEE-5555 is not on disk");
    check(
        "AAAA-1111",
        Some("v2"),
        &skip,
        "not now: template AAAA-1111 is not on disk and cannot be pulled: tag v2",
    );
    check("AAAA-1111", Some("v1"), &ImageSource::default(), "disk");
    assert!(!bench.read("words").contains("registry"), "{}", bench.read("words"));
    let theirs = ImageSource { registry_url: Some("http://r:8089".to_owned()), ..ImageSource::default() };
    found(&bench, &image("AAAA-1111", None), &theirs);
    assert!(bench.read("words").contains("-j registry --remote http://r:8089 list"));
}

#[test]
fn another_jobs_vm_is_no_template() {
    check("anklet-vm-9", None, "nowhere");
    check("cccc-3333", None, "nowhere");
}

#[test]
fn strangers_text_that_cannot_be_an_argument_is_not_asked_for() {
    for (template, tag) in
        [("--yes", None), ("", None), ("a\u{1b}b", None), ("AAAA-1111", Some("-x")), ("x", Some(""))]
    {
        let bench = bench();
        let source = ImageSource::default();
        let error = bench.anka().find_image(&image(template, tag), &source, &[], &Ear::deaf()).unwrap_err();
        assert!(matches!(error, VmError::NotOnDisk { .. }), "{error:?}");
        assert!(!error.to_string().contains('\u{1b}'));
        assert!(!bench.path("words").exists(), "nothing was run");
    }
}

#[test]
fn a_clone_names_the_tag_only_if_one_is_asked_for() {
    let bench = bench();
    let anka = bench.anka();
    for tag in [None, Some("v0")] {
        anka.clone_image(&ready("AAAA-1111", tag), &vm(), &Ear::deaf()).unwrap();
    }
    assert_eq!(bench.read("words"), "-j clone AAAA-1111 anklet-vm-1\n-j clone -t v0 AAAA-1111 anklet-vm-1\n");
    assert!(matches!(
        anka.clone_image(&ready("--yes", None), &vm(), &Ear::deaf()),
        Err(VmError::NotStarted { .. })
    ));
}

#[test]
fn while_a_pull_runs_nothing_is_pulled_or_cloned_and_its_end_is_heard() {
    let bench = bench();
    let anka = bench.anka();
    let pull = anka.pull_lock.alone().unwrap().unwrap();
    let ready = ready("AAAA-1111", None);
    let remote = RemoteImage { template: "EEEE-5555".to_owned(), tag: None, size: None };
    assert!(matches!(anka.clone_image(&ready, &vm(), &Ear::deaf()), Err(VmError::Busy)));
    assert!(matches!(anka.pull_image(&remote, &ImageSource::default(), &Ear::deaf()), Err(VmError::Busy)));
    let ends = [anka.pull_ended().unwrap(), anka.pull_ended().unwrap()];
    anka.delete(&vm(), &Ear::deaf()).unwrap();
    assert!(ends.iter().all(|end| end.try_recv().is_err()));
    drop(pull);
    for end in ends {
        end.recv_timeout(Duration::from_secs(20)).unwrap();
    }
    anka.clone_image(&ready, &vm(), &Ear::deaf()).unwrap();
    anka.pull_ended().unwrap().recv_timeout(Duration::from_secs(20)).unwrap();
}

#[test]
fn a_clone_holds_the_lock_to_its_end_and_shares_it() {
    let none = ok("{}");
    let bench = Bench::new(&format!(
        "case \"$4\" in anklet-vm-1) echo > \"$HOME/started\"; read line < \"$HOME/go\";; esac; printf '%s' '{none}'"
    ));
    let started = bench.pipe("started");
    assert!(std::process::Command::new("mkfifo").arg(bench.path("go")).status().unwrap().success());
    let anka = bench.anka();
    let ready = ready("AAAA-1111", None);
    thread::scope(|scope| {
        let cloning = scope.spawn(|| anka.clone_image(&ready, &vm(), &Ear::deaf()));
        await_news(&started);
        assert!(anka.pull_lock.alone().unwrap().is_none(), "no pull during a clone");
        anka.clone_image(&ready, &VmName::new("anklet-vm-2"), &Ear::deaf()).unwrap();
        anka.delete(&VmName::new("anklet-vm-2"), &Ear::deaf()).unwrap();
        std::fs::write(bench.path("go"), "go\n").unwrap();
        cloning.join().unwrap().unwrap();
    });
    assert!(anka.pull_lock.alone().unwrap().is_some());
}

#[test]
fn a_vm_of_an_earlier_life_is_deleted_only_when_no_clone_is_under_way() {
    let bench = bench();
    let anka = bench.anka();
    let orphan = anka.pull_lock.shared().unwrap().unwrap();
    thread::scope(|scope| {
        let (stopper, stop) = stop::stop();
        let cut = scope.spawn({
            let anka = &anka;
            move || anka.delete(&vm(), &Ear::to_stop(&stop))
        });
        drop(stopper);
        assert!(matches!(cut.join().unwrap(), Err(VmError::Cut { verb: "delete" })));
        let soon = Instant::now() + Duration::from_millis(50);
        assert!(matches!(anka.pull_lock.wait_for_clones("delete", &Ear::deaf(), soon), Err(VmError::Busy)));
        assert!(!bench.path("words").exists(), "nothing was deleted");
        let deleting = scope.spawn(|| anka.delete(&vm(), &Ear::deaf()));
        drop(orphan);
        deleting.join().unwrap().unwrap();
    });
    assert_eq!(bench.read("words"), "-j delete --yes anklet-vm-1\n");
}
