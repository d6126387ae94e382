//! Answers of every shape that versions 1.4 to 3.9 are known to give, and some that none should.

use anklet_plugin_api::vm::VmListed;
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::anka::output::Captured;

fn captured(text: &[u8]) -> Captured {
    let mut captured = Captured::default();
    captured.push(text);
    captured
}

fn ended(exit: i32, output: &str, errors: &str) -> Ended {
    Ended { exit: Some(exit), output: captured(output.as_bytes()), errors: captured(errors.as_bytes()) }
}

fn full(is_ok: bool, code: Option<i64>, message: &str, body: Value) -> Option<Envelope> {
    Some(Envelope { is_ok, code, message: message.to_string(), body })
}

#[track_caller]
fn check_envelope(output: &str, expected: Option<Envelope>) {
    assert_eq!(envelope(output.as_bytes()), expected, "{output:?}");
}

#[test]
fn envelopes_of_all_versions_are_found() {
    let empty = json!({});
    check_envelope(
        r#"{"status":"OK","code":0,"body":{"size":5},"message":"fine"}"#,
        full(true, Some(0), "fine", json!({"size": 5})),
    );
    check_envelope(r#"{"status":"OK","body":[]}"#, full(true, None, "", json!([])));
    check_envelope(r#"{"status":"OK"}"#, full(true, None, "", Value::Null));
    check_envelope(
        r#"{"status": "ERROR", "body": {}, "message": "vm-7: not found", "code": 3, "exception_type": "X"}"#,
        full(false, Some(3), "vm-7: not found", empty.clone()),
    );
    check_envelope(
        r#"{"status": "ERROR", "body": {}, "message": "old failed to pause"}"#,
        full(false, None, "old failed to pause", empty.clone()),
    );
    check_envelope(r#"{"status":"ERROR","code":18}"#, full(false, Some(18), "", Value::Null));
    check_envelope(r#"{"status":"FAIL","code":"35","message":null}"#, full(false, Some(35), "", Value::Null));
    check_envelope(
        r#"{"status":"ok","code":null,"message":["a"]}"#,
        full(true, None, r#"["a"]"#, Value::Null),
    );
}

#[test]
fn only_the_last_line_counts() {
    let empty = json!({});
    let last = r#"{"status":"OK","code":0,"body":{},"message":""}"#;
    for before in ["", "12%\n34%\n", "12%\r34%\r", r#"{"status":"ERROR"}"#.to_string().as_str(), "\n\n"] {
        for after in ["", "\n", "\r\n", " \n \n\n"] {
            let output = format!("{before}\n{last}{after}");
            check_envelope(&output, full(true, Some(0), "", empty.clone()));
        }
    }
    check_envelope(&format!("{last}\nsome noise"), None);
    check_envelope(&format!("{last}noise"), None);
    check_envelope("", None);
    check_envelope(" \n\t\n", None);
    check_envelope("[]", None);
    check_envelope("\"OK\"", None);
    check_envelope(r#"{"code":0}"#, None);
    check_envelope(r#"{"status":7}"#, None);
    check_envelope(r#"{"status":"OK","body":[{"na"#, None);
}

#[test]
fn bytes_that_are_no_text_do_not_hide_the_envelope() {
    let mut output = b"\xff\xfe\n{\"status\":\"OK\",\"message\":\"\xc3(\"}".to_vec();
    assert!(envelope(&output).is_some_and(|envelope| envelope.is_ok));
    output.push(0xff);
    assert_eq!(envelope(&output), None);
}

/// The body, or the kind of the error and its text.
#[track_caller]
fn check_body(ended: &Ended, expected: Result<Value, (&str, &str)>) {
    let secret = [Secret::new("hunter22")];
    match (body("start", ended, &secret), expected) {
        (Ok(body), Ok(expected)) => assert_eq!(body, expected),
        (Err(error), Err((kind, text))) => {
            assert!(format!("{error:?}").starts_with(kind), "{error:?} is no {kind}");
            assert!(error.to_string().contains(text), "{error} does not contain {text:?}");
        }
        (result, expected) => panic!("{result:?} instead of {expected:?}"),
    }
}

#[test]
fn what_a_verb_answers_is_read_with_its_exit_code() {
    let ok = r#"{"status":"OK","code":0,"body":{"a":1},"message":""}"#;
    check_body(&ended(0, ok, "debug noise\n{\"status\":\"ERROR\"}"), Ok(json!({"a": 1})));
    check_body(&ended(1, ok, ""), Err(("Failed", "with code 1")));
    let error = |message: &str| format!(r#"{{"status":"ERROR","message":"{message}"}}"#);
    check_body(&ended(1, &error("u-1: not found"), ""), Err(("NotFound", "u-1: not found")));
    check_body(
        &ended(3, r#"{"status":"ERROR","code":3}"#, ""),
        Err(("NotFound", "`anka start` does not find it")),
    );
    check_body(
        &ended(1, &error("u-1: maximum number of running instances exceeded (see `anka log`)"), ""),
        Err(("AtLimit", "maximum number")),
    );
    check_body(
        &ended(9, &error("u-1: failed to start: No such file or directory"), ""),
        Err(("Failed", "`anka start` failed with code 9: u-1: failed to start: No such")),
    );
    check_body(
        &ended(35, r#"{"status": "ERROR", "message": "hunter22\nis\u001b[1m no password", "code": 35}"#, ""),
        Err(("Failed", r"code 35: ***\nis\u{1b}[1m no password")),
    );
    check_body(&ended(0, &error("odd"), ""), Err(("Failed", "odd")));
    check_body(&ended(0, "", "noise"), Err(("Nonsense", "cannot be read: ")));
    check_body(&ended(0, "u-1\nhunter22 text", ""), Err(("Nonsense", r"u-1\n*** text")));
    check_body(&ended(0, r#"{"status":"OK","body":"#, ""), Err(("Nonsense", "status")));
    check_body(&ended(1, "", "anka: u-1: not found"), Err(("Failed", "code 1: anka: u-1: not found")));
    check_body(&ended(1, "", "maximum number of running instances exceeded"), Err(("AtLimit", "")));
    check_body(&ended(30, "No registry", ""), Err(("Failed", "code 30: No registry")));
    check_body(&ended(2, "", ""), Err(("Failed", "it said nothing")));
    let killed = Ended { exit: None, output: captured(b""), errors: captured(b"") };
    check_body(&killed, Err(("Failed", "ended by a signal")));
}

#[test]
fn long_words_are_cut() {
    let long = "x".repeat(100_000);
    for ended in [
        ended(1, &format!(r#"{{"status":"ERROR","message":"{long}"}}"#), ""),
        ended(1, "", &long),
        ended(0, &long, ""),
    ] {
        assert!(body("list", &ended, &[]).unwrap_err().to_string().len() < 1_000);
    }
}

fn listed(name: &str, uuid: &str, tag: Option<&str>, running: bool) -> VmListed {
    VmListed { name: name.to_string(), uuid: uuid.to_string(), tag: tag.map(str::to_string), running }
}

#[track_caller]
fn check_vms(body: Value, expected: Option<&[VmListed]>) {
    match (vms("list", &body), expected) {
        (Ok(vms), Some(expected)) => assert_eq!(vms, expected, "{body}"),
        (Err(VmError::Nonsense { .. }), None) => {}
        (result, _) => panic!("{body} gives {result:?}"),
    }
}

#[test]
fn a_list_is_read_whole_or_not_at_all() {
    check_vms(json!([]), Some(&[]));
    check_vms(json!({}), Some(&[]));
    check_vms(
        json!([
            {"name": "14-arm", "uuid": "t-1", "creation_date": "2024-05-01T00:00:00Z", "version": "v1:x+y", "status": "stopped"},
            {"name": "anklet-vm-1", "uuid": "c-1", "status": "running", "ip": "192.168.64.3", "vnc_port": 5900},
            {"name": "broken", "uuid": "c-2", "status": "failed", "version": ""},
            {"name": "s", "uuid": "c-3", "status": "suspended", "version": null},
            {"name": "odd", "uuid": "c-4", "status": "starting"},
        ]),
        Some(&[
            listed("14-arm", "t-1", Some("v1:x+y"), false),
            listed("anklet-vm-1", "c-1", None, true),
            listed("broken", "c-2", None, false),
            listed("s", "c-3", None, false),
            listed("odd", "c-4", None, true),
        ]),
    );
    // "It is gone" is concluded from a list, so a row that cannot be read spoils it.
    check_vms(json!([{"uuid": "c-1", "status": "running"}]), None);
    check_vms(json!([{"name": "x", "status": "running"}]), None);
    check_vms(json!([{"name": "x", "uuid": "", "status": "running"}]), None);
    check_vms(json!([{"name": "x", "uuid": "u"}]), None);
    check_vms(json!([[]]), None);
    check_vms(json!([null]), None);
    check_vms(Value::Null, None);
    check_vms(json!("x"), None);
    check_vms(json!({"name": "x", "uuid": "u", "status": "stopped"}), None);
}

#[test]
fn tags_are_those_that_can_be_read() {
    assert_eq!(tags(&json!([{"tag": "a", "last_access": 1}, {"tag": 7}, {}, "x", {"tag": "b"}])), ["a", "b"]);
    for none in [json!([]), json!({}), Value::Null, json!("a")] {
        assert_eq!(tags(&none), [""; 0]);
    }
}

#[test]
fn texts_may_be_numbers() {
    let body = json!({"version": "3.6.0", "build": 197, "x": []});
    assert_eq!(text("version", &body, "version").unwrap(), "3.6.0");
    assert_eq!(text("version", &body, "build").unwrap(), "197");
    assert!(text("version", &body, "x").is_err() && text("version", &Value::Null, "x").is_err());
}

/// What the guest printed, or the kind of the error and its text.
#[track_caller]
fn check_guest(ended: &Ended, expected: Result<&str, (&str, &str)>) {
    match (guest("install", ended, 64 << 10, &[Secret::new("hunter22")]), expected) {
        (Ok(GuestOutput(output)), Ok(expected)) => assert_eq!(output, expected),
        (Err(error), Err((kind, text))) => {
            assert!(format!("{error:?}").starts_with(kind), "{error:?} is no {kind}");
            assert!(error.to_string().contains(text), "{error} does not contain {text:?}");
        }
        (result, expected) => panic!("{result:?} instead of {expected:?}"),
    }
}

#[test]
fn a_guests_end_is_told_from_ankas_own() {
    let failed = r#"{"status":"ERROR","code":1,"body":{},"message":"communication timeout"}"#;
    check_guest(&ended(0, "out", "err"), Ok("out\nerr"));
    check_guest(&ended(0, "", ""), Ok(""));
    check_guest(&ended(0, failed, ""), Ok(failed));
    check_guest(&ended(0, "hunter22\n", "hunter22"), Ok("***\n***"));
    check_guest(
        &ended(3, "no such command\n", ""),
        Err(("Guest", "install ended with exit code 3 in the guest: no such")),
    );
    check_guest(&ended(1, "{\"status\":\"OK\"}", ""), Err(("Guest", "exit code 1")));
    check_guest(&ended(1, failed, ""), Err(("Failed", "communication timeout")));
    check_guest(&ended(124, failed, ""), Err(("Failed", "communication timeout")));
    check_guest(
        &ended(3, "text\n{\"status\": \"ERROR\", \"message\": \"vm: not found\", \"code\": 3}\n", ""),
        Err(("NotFound", "vm: not found")),
    );
    check_guest(
        &ended(1, r#"{"status":"ERROR","message":"maximum number of running instances exceeded"}"#, ""),
        Err(("AtLimit", "")),
    );
    check_guest(
        &ended(124, "", "anka: communication timeout"),
        Err(("Failed", "code 124: anka: communication timeout")),
    );
    check_guest(&ended(124, "waited too long", ""), Err(("Guest", "exit code 124")));
    check_guest(&ended(124, "", ""), Err(("Guest", "exit code 124")));
    check_guest(&ended(125, "", ""), Err(("Failed", "code 125: the guest rebooted")));
    check_guest(&ended(125, "", "anka: connection lost"), Err(("Failed", "code 125")));
    check_guest(&ended(125, "some output", ""), Err(("Guest", "exit code 125")));
    let killed = Ended { exit: None, output: captured(b"x"), errors: captured(b"") };
    check_guest(&killed, Err(("Failed", "ended by a signal: x")));
}

#[test]
fn a_guests_output_is_bounded_and_the_end_of_it() {
    let long = format!("{}äend", "ä".repeat(1_000_000));
    let GuestOutput(output) = guest("x", &ended(0, &long, ""), 64 << 10, &[]).unwrap();
    assert!(output.len() <= (64 << 10) && output.ends_with("äend"));
    let error = guest("x", &ended(1, &long, ""), 64 << 10, &[]).unwrap_err().to_string();
    assert!(error.len() < 2_000 && error.ends_with("äend"));
}

proptest! {
    #[test]
    fn no_answer_makes_it_panic(exit in prop::option::of(any::<i32>()), output in any::<Vec<u8>>(), errors in any::<Vec<u8>>()) {
        let ended = Ended { exit, output: captured(&output), errors: captured(&errors) };
        let _ = body("list", &ended, &[]);
        let _ = guest("x", &ended, 64 << 10, &[Secret::new("a")]);
    }

    #[test]
    fn nor_does_anything_that_is_nearly_an_envelope(
        status in "(OK|ERROR|x)?",
        code in prop::option::of(any::<i64>()),
        body_text in "(\\{\\}|\\[\\]|null|\\[\\{\"name\":\"[a-z]?\",\"uuid\":\"u\",\"status\":\"(running|stopped|7)\"\\}\\]|[a-z\\[\\{]{0,4})",
        message in any::<String>(),
        exit in 0..200i32,
        cut in any::<prop::sample::Index>(),
    ) {
        let code = code.map(|code| format!(r#""code":{code},"#)).unwrap_or_default();
        let line = format!(r#"{{"status":"{status}",{code}"body":{body_text},"message":{}}}"#, json!(message));
        for text in [line.as_bytes(), line.as_bytes().get(..cut.index(line.len())).unwrap_or_default()] {
            let ended = Ended { exit: Some(exit), output: captured(text), errors: captured(b"") };
            if let Ok(body) = body("list", &ended, &[]) {
                prop_assert_eq!(exit, 0);
                let _ = vms("list", &body);
                let _ = tags(&body);
                let _ = super::text("list", &body, "uuid");
            }
        }
    }
}

#[test]
fn sizes_are_read_in_the_shapes_of_all_versions() {
    let gib = |n: u64| n << 30;
    let check = |body: Value, expected: Option<(u32, u64)>| {
        let found = size(&body).map(|size| (size.cpu_cores, size.memory_bytes));
        assert_eq!(found, expected, "{body}");
    };
    check(json!({"cpu_cores": 4, "ram": "8G", "ram_size": gib(8)}), Some((4, gib(8))));
    check(json!({"cpu_cores": "4", "ram": "4294967296"}), Some((4, gib(4))));
    check(json!({"cpu_cores": 2, "ram": "4G"}), Some((2, gib(4))));
    check(json!({"cpu_cores": 2, "ram": "512M"}), Some((2, 512 << 20)));
    check(json!({"cpu_cores": 0, "ram_size": gib(8)}), None);
    check(json!({"cpu_cores": 4}), None);
    check(json!({"cpu_cores": 4, "ram": "many"}), None);
    check(json!({"cpu_cores": 4, "ram": "99999999999999999999G"}), None);
    check(json!({"name": "pushed by an old version"}), None);
    check(json!([]), None);
}
