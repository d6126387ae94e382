//! Which template and tag a label means, and the lock between pulls and clones.

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

/// An `anka` with those templates; it notes the words of each command.
fn bench() -> Bench {
    let (list, tags, none) = (ok(&LIST.replace('\n', "")), ok(r#"[{"tag":"v0"},{"tag":"v1"}]"#), ok("{}"));
    let failed = r#"{"status":"ERROR","code":5,"body":{},"message":"no tags"}"#;
    Bench::new(&format!(
        "echo \"$*\" >> \"$HOME/words\"
case \"$2 $3\" in
  list*) printf '%s' '{list}';;
  'show AAAA-1111') printf '%s' '{tags}';;
  'show '*) printf '%s' '{failed}'; exit 5;;
  *) printf '%s' '{none}';;
esac"
    ))
}

fn image(template: &str, tag: Option<&str>) -> Image {
    Image { template: template.to_string(), tag: tag.map(str::to_string) }
}

/// As the handler does it: the list first.
fn find(anka: &Anka, image: &Image) -> Result<ReadyImage, VmError> {
    let listed = anka.list(&Ear::deaf())?;
    anka.ensure_image(image, &listed, &Ear::deaf())
}

#[track_caller]
fn check(template: &str, tag: Option<&str>, expected: Result<(&str, Option<&str>), &str>) {
    let bench = bench();
    match (find(&bench.anka(), &image(template, tag)), expected) {
        (Ok(ready), Ok((template, tag))) => {
            assert_eq!((ready.template.as_str(), ready.tag.as_deref()), (template, tag));
        }
        (Err(error @ VmError::NotOnDisk { .. }), Err(text)) => {
            assert!(error.to_string().contains(text), "{error} does not contain {text:?}");
        }
        (result, _) => panic!("{template:?} {tag:?} gives {result:?}"),
    }
}

#[test]
fn a_template_is_found_by_id_or_name_with_the_tag_that_was_asked_for() {
    check("aaaa-1111", None, Ok(("AAAA-1111", None)));
    check("AAAA-1111", Some("v1"), Ok(("AAAA-1111", Some("v1"))));
    check("AAAA-1111", Some("V1"), Ok(("AAAA-1111", Some("v1"))));
    check("AAAA-1111", Some("v0"), Ok(("AAAA-1111", Some("v0"))));
    check("AAAA-1111", Some("v2"), Err("tag v2 is not on disk"));
    check("14-arm", Some("v1"), Ok(("AAAA-1111", Some("v1"))));
    check("14-ARM", None, Ok(("AAAA-1111", None)));
    check("BBBB-2222", None, Ok(("BBBB-2222", None)));
    check("BBBB-2222", Some("v1"), Err("tag v1 is not on disk"));
    check("DDDD-4444", None, Err("template DDDD-4444 is not on disk"));
}

#[test]
fn another_jobs_vm_is_no_template() {
    check("anklet-vm-9", None, Err("not on disk"));
    check("cccc-3333", None, Err("not on disk"));
}

#[test]
fn strangers_text_that_cannot_be_an_argument_is_not_asked_for() {
    for (template, tag) in
        [("--yes", None), ("", None), ("a\u{1b}b", None), ("AAAA-1111", Some("-x")), ("x", Some(""))]
    {
        let bench = bench();
        let error = bench.anka().ensure_image(&image(template, tag), &[], &Ear::deaf()).unwrap_err();
        assert!(matches!(error, VmError::NotOnDisk { .. }), "{error:?}");
        assert!(!error.to_string().contains('\u{1b}'));
        assert!(!bench.path("words").exists(), "nothing was run");
    }
}

#[test]
fn a_clone_names_the_tag_only_if_one_is_asked_for() {
    let bench = bench();
    let anka = bench.anka();
    for tag in [None, Some("v0".to_string())] {
        let ready = ReadyImage { template: "AAAA-1111".to_string(), tag };
        anka.clone_image(&ready, &vm(), &Ear::deaf()).unwrap();
    }
    assert_eq!(bench.read("words"), "-j clone AAAA-1111 anklet-vm-1\n-j clone -t v0 AAAA-1111 anklet-vm-1\n");
    let ready = ReadyImage { template: "--yes".to_string(), tag: None };
    assert!(matches!(anka.clone_image(&ready, &vm(), &Ear::deaf()), Err(VmError::NotStarted { .. })));
}

#[test]
fn while_a_pull_runs_nothing_is_looked_at_or_cloned() {
    let bench = bench();
    let anka = bench.anka();
    let pull = anka.pull_lock.alone().unwrap().unwrap();
    let ready = ReadyImage { template: "AAAA-1111".to_string(), tag: None };
    assert!(matches!(anka.clone_image(&ready, &vm(), &Ear::deaf()), Err(VmError::Busy)));
    assert!(matches!(anka.ensure_image(&image("AAAA-1111", None), &[], &Ear::deaf()), Err(VmError::Busy)));
    assert!(anka.pull_lock.alone().unwrap().is_none(), "one pull at a time");
    anka.delete(&vm(), &Ear::deaf()).unwrap();
    drop(pull);
    anka.clone_image(&ready, &vm(), &Ear::deaf()).unwrap();
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
    let ready = ReadyImage { template: "AAAA-1111".to_string(), tag: None };
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
