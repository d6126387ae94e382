//! Hosts on which `anka` is missing, silent, unlicensed or well.

use anklet_plugin_api::vm::VmHost;

use super::*;
use crate::anka::tests::{Bench, ok};

const VERSION: &str = r#"{"product":"Anka Build Enterpriseplus","version":"3.9.1","build":"201"}"#;

#[track_caller]
fn check(version: &str, license: &str, expected: Result<&str, &str>) {
    let bench = Bench::new(&format!("case \"$2\" in version) {version};; license) {license};; esac"));
    match (bench.anka().check(&Ear::deaf()), expected) {
        (Ok(facts), Ok(version)) => assert_eq!(facts.version, version),
        (Err(error), Err(text)) => assert!(error.to_string().starts_with(text), "{error}"),
        (result, expected) => panic!("{result:?} instead of {expected:?}"),
    }
}

fn print(answer: &str) -> String {
    format!("printf '%s' '{answer}'")
}

fn license(kind: &str, status: &str) -> String {
    print(&ok(&format!(r#"{{"product":"p","license_type":"{kind}","status":"{status}"}}"#)))
}

#[test]
fn each_host_gets_its_own_error() {
    let version = print(&ok(VERSION));
    check(&version, &license("com.veertu.anka.entplus", "valid"), Ok("3.9.1"));
    check(&version, &license("com.veertu.anka.entplus.host", "Valid"), Ok("3.9.1"));
    check(
        &version,
        &license("com.veertu.anka.develop", "valid"),
        Err("the Anka license com.veertu.anka.develop cannot"),
    );
    check(
        &version,
        &license("com.veertu.anka.run", "valid"),
        Err("the Anka license com.veertu.anka.run cannot"),
    );
    check(
        &version,
        &license("com.veertu.anka.entplus", "expired"),
        Err("the Anka license is not valid (status expired)"),
    );
    check(&version, "echo 'anka: no license' >&2; exit 1", Err("cannot read the Anka license"));
    check(&version, &print(&ok("{}")), Err("cannot read the Anka license"));
    check("exit 1", ":", Err("unable to create anka cli: `anka version` failed"));
    check(&print(&ok("[]")), ":", Err("unable to create anka cli"));
    check("echo Anka 3.9.1", ":", Err("unable to create anka cli: `anka version` answered"));
}

#[test]
fn a_missing_anka_says_where_it_is_looked_for() {
    let bench = Bench::new("");
    std::fs::remove_file(bench.path("bin/anka")).unwrap();
    let anka = bench.anka();
    let error = anka.check(&Ear::deaf()).unwrap_err();
    assert!(matches!(error, AnkaSetupError::Missing(_)));
    assert!(error.to_string().contains("PATH"), "{error}");
    assert!(anka.list(&Ear::deaf()).is_err());
}

#[track_caller]
fn check_mounts(version: &str, list: &str, arch: &str, expected: Result<(), &str>) {
    let shown = ok(&format!(r#"{{"uuid":"u"{arch}}}"#));
    let bench =
        Bench::new(&format!("case \"$2\" in list) {};; show) {};; esac", print(&ok(list)), print(&shown)));
    let facts = AnkaFacts { version: version.to_owned(), license: String::new() };
    match (bench.anka().check_mounts(&facts, &Ear::deaf()), expected) {
        (Ok(()), Ok(())) => {}
        (Err(error), Err(text)) => assert!(error.to_string().contains(text), "{error}"),
        (result, expected) => panic!("{result:?} instead of {expected:?}"),
    }
}

#[test]
fn folders_are_mounted_by_new_versions_on_apple_silicon() {
    let one = r#"[{"name":"n","uuid":"u","status":"stopped"}]"#;
    check_mounts("3.9.0", "[]", "", Ok(()));
    check_mounts("3.9.1", one, r#","arch":2"#, Ok(()));
    check_mounts("3.10", one, "", Ok(()));
    check_mounts("4.0.0 (build 7)", one, r#","arch":"arm64""#, Ok(()));
    check_mounts("3.9.1", one, r#","arch":1"#, Err("Intel processor"));
    check_mounts("3.8.9", one, r#","arch":2"#, Err("needs Anka 3.9.0 or later, and this host has 3.8.9"));
    check_mounts("", "[]", "", Err("needs Anka 3.9.0"));
    check_mounts("3.9.1", "{\"x\":1}", "", Err("cannot find out"));
}
