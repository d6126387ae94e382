//! What `anka` prints: an answer, an error, or nonsense that is named so.

use anklet_plugin_api::section::Secret;
use anklet_plugin_api::vm::VmError;

use crate::anka::command::Ended;
use crate::anka::output::Captured;
use crate::anka::reply;

const SECRET: &str = "AAAABBBBCCCC";

/// The first byte is the exit code; what follows a zero byte is standard error.
pub fn anka_reply(bytes: &[u8]) {
    let Some((&exit, text)) = bytes.split_first() else { return };
    let (output, errors) = match text.iter().position(|byte| *byte == 0) {
        Some(at) => (&text[..at], &text[at + 1..]),
        None => (text, &[][..]),
    };
    let exit = match exit {
        255 => None,
        exit => Some(i32::from(exit)),
    };
    let ended = Ended { exit, output: captured(output), errors: captured(errors) };
    let secrets = [Secret::new(SECRET)];
    match reply::body("list", &ended, &secrets) {
        Ok(body) => {
            assert_eq!(exit, Some(0), "a failed command has no answer");
            if let Ok(vms) = reply::vms("list", &body) {
                assert!(vms.iter().all(|vm| !vm.uuid.is_empty()));
            }
            let _ = (reply::tags(&body), reply::size(&body), reply::text("version", &body, "version"));
        }
        Err(error) => check(&error),
    }
    match reply::guest("install-runner", &ended, 64 << 10, &secrets) {
        Ok(output) => assert!(!output.0.contains(SECRET)),
        Err(error) => check(&error),
    }
}

/// An error is one printable line without the secret.
fn check(error: &VmError) {
    let text = error.to_string();
    assert!(!text.contains(SECRET) && !text.chars().any(char::is_control), "{text:?}");
}

fn captured(bytes: &[u8]) -> Captured {
    let mut captured = Captured::default();
    captured.push(bytes);
    captured
}
