//! What `anka` answered, read into types: the envelope, lists, and how a guest's command ended.
//!
//! Pure functions over the exit code and the two outputs, so that every shape of every version can be put before them.
//! They are tolerant of what has been seen (lines before the envelope, missing keys, another order, no newline at the
//! end) and refuse everything else as nonsense: "a VM is gone" is concluded from these answers.

use anklet_plugin_api::section::Secret;
use anklet_plugin_api::vm::{GuestOutput, VmError, VmListed, VmSize};
use serde_json::Value;

use crate::anka::command::Ended;
use crate::anka::text::{end_of, mask, start_of};

/// How much of a message or an output an error shows.
const SHOWN_CHARS: usize = 400;
/// The code of "not found" in every version.
const NOT_FOUND: i64 = 3;
/// `anka run`'s own exit code when the guest cannot be reached; a guest's command can end with it too.
const UNREACHABLE: i32 = 124;
/// `anka run`'s own exit code when the guest went away; a guest's command can end with it too.
const LINK_LOST: i32 = 125;

/// The last line of an answer.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Envelope {
    /// Whether `status` is `OK`.
    pub(crate) is_ok: bool,
    /// `code`, where it was given.
    pub(crate) code: Option<i64>,
    /// `message`, else empty.
    pub(crate) message: String,
    /// `body`, else null.
    pub(crate) body: Value,
}

/// Finds the envelope: the last line that is not empty, if it is one.
pub(crate) fn envelope(output: &[u8]) -> Option<Envelope> {
    // A carriage return, too, ends a line of progress; JSON has none.
    let mut lines = output.rsplit(|byte| matches!(byte, b'\n' | b'\r')).map(<[u8]>::trim_ascii);
    let line = lines.find(|line| !line.is_empty())?;
    let Value::Object(mut answer) = serde_json::from_str(&String::from_utf8_lossy(line)).ok()? else {
        return None;
    };
    let status = answer.get("status")?.as_str()?;
    let is_ok = status.eq_ignore_ascii_case("ok");
    let code = answer.get("code").and_then(number);
    let message = match answer.remove("message") {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text,
        Some(other) => other.to_string(),
    };
    Some(Envelope { is_ok, code, message, body: answer.remove("body").unwrap_or_default() })
}

/// The body of a verb's answer; an error for everything but a success.
pub(crate) fn body(verb: &'static str, ended: &Ended, secrets: &[Secret]) -> Result<Value, VmError> {
    let output = ended.output.bytes();
    match envelope(&output) {
        Some(envelope) if envelope.is_ok && ended.exit == Some(0) => Ok(envelope.body),
        Some(envelope) => Err(refusal(verb, ended.exit, &envelope, secrets)),
        None if ended.exit == Some(0) => Err(VmError::Nonsense {
            verb,
            answer: start_of(&mask(&String::from_utf8_lossy(&output), secrets), SHOWN_CHARS),
        }),
        None => Err(failure(verb, ended, secrets)),
    }
}

/// The VMs and templates of a `list`.
pub(crate) fn vms(verb: &'static str, body: &Value) -> Result<Vec<VmListed>, VmError> {
    match body {
        Value::Array(rows) => {
            let vms: Option<Vec<VmListed>> = rows.iter().map(vm).collect();
            vms.ok_or_else(|| nonsense(verb, body))
        }
        // The way in which newer versions say "nothing".
        Value::Object(fields) if fields.is_empty() => Ok(Vec::new()),
        _ => Err(nonsense(verb, body)),
    }
}

fn vm(row: &Value) -> Option<VmListed> {
    let text = |key: &str| row.get(key).and_then(Value::as_str);
    let uuid = text("uuid").filter(|uuid| !uuid.is_empty())?;
    Some(VmListed {
        name: text("name")?.to_string(),
        uuid: uuid.to_string(),
        tag: text("version").filter(|tag| !tag.is_empty()).map(str::to_string),
        // A status we do not know may well be that of a VM that takes a slot.
        running: !matches!(text("status")?, "stopped" | "suspended" | "failed"),
    })
}

/// A row of a `registry list`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct RegistryTemplate {
    /// Its id, the same on every host.
    pub(crate) uuid: String,
    /// Its name.
    pub(crate) name: String,
    /// Its latest tag, where the registry says so.
    pub(crate) latest: Option<String>,
}

/// The templates of a `registry list`. A row that makes no sense makes the whole answer nonsense: "not there" is concluded from it.
pub(crate) fn registry_templates(verb: &'static str, body: &Value) -> Result<Vec<RegistryTemplate>, VmError> {
    let Value::Array(rows) = body else { return Err(nonsense(verb, body)) };
    let row = |row: &Value| {
        let text = |key: &str| row.get(key).and_then(Value::as_str).filter(|text| !text.is_empty());
        Some(RegistryTemplate {
            // `id` before 3.2.0.
            uuid: text("uuid").or_else(|| text("id"))?.to_owned(),
            name: text("name").unwrap_or_default().to_owned(),
            latest: text("latest").map(str::to_owned),
        })
    };
    let templates: Option<Vec<_>> = rows.iter().map(row).collect();
    templates.ok_or_else(|| nonsense(verb, body))
}

/// What a pull would take, in bytes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct PullSize {
    /// What has to be loaded.
    pub(crate) needed: u64,
    /// What is free on the disk.
    pub(crate) free: u64,
}

/// The answer to `pull --check-download-size`; none if all of it is on disk.
pub(crate) fn pull_size(verb: &'static str, body: &Value) -> Result<Option<PullSize>, VmError> {
    match body {
        Value::Null => return Ok(None),
        Value::Object(fields) if fields.is_empty() => return Ok(None),
        _ => {}
    }
    let bytes = |key: &str| body.get(key).and_then(number).and_then(|number| u64::try_from(number).ok());
    match (bytes("size"), bytes("available")) {
        (Some(size), Some(free)) => {
            Ok(Some(PullSize { needed: size.saturating_sub(bytes("cached").unwrap_or(0)), free }))
        }
        _ => Err(nonsense(verb, body)),
    }
}

/// What a `show` tells of the disk that a template takes and of its last use. A date that is missing counts as long ago.
pub(crate) fn disk_use(body: &Value) -> (u64, String) {
    let bytes = body.get("image_size").and_then(number).and_then(|number| u64::try_from(number).ok());
    let access = body.get("access_date").and_then(Value::as_str).unwrap_or_default();
    (bytes.unwrap_or(0), access.to_owned())
}

/// Whether a `show` is that of a VM for Intel processors; none if it does not tell.
pub(crate) fn is_intel(body: &Value) -> Option<bool> {
    match body.get("arch")? {
        Value::Number(number) => match number.as_i64()? {
            1 => Some(true),
            2 => Some(false),
            _ => None,
        },
        Value::String(text) => Some(matches!(text.as_str(), "x86_64" | "amd64" | "intel")),
        _ => None,
    }
}

/// The tags of a `show VM tag`. Templates without tags answer in more than one way; they have none.
pub(crate) fn tags(body: &Value) -> Vec<String> {
    let rows = body.as_array().map(Vec::as_slice).unwrap_or_default();
    rows.iter().filter_map(|row| row.get("tag")?.as_str()).map(str::to_string).collect()
}

/// The size in a `show`; none where the answer does not tell it, as `registry show` of a template that Anka 2 pushed.
pub(crate) fn size(body: &Value) -> Option<VmSize> {
    let number = |key: &str| body.get(key).and_then(number).and_then(|number| u64::try_from(number).ok());
    let cpu_cores =
        number("cpu_cores").and_then(|cores| u32::try_from(cores).ok()).filter(|cores| *cores > 0)?;
    let memory_bytes = number("ram_size").filter(|bytes| *bytes > 0).or_else(|| bytes(body.get("ram")?))?;
    Some(VmSize { cpu_cores, memory_bytes })
}

/// `ram` as older versions have it: `4G`, or bytes as text.
fn bytes(value: &Value) -> Option<u64> {
    let text = value.as_str()?.trim();
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let factor: u64 = match &text[digits.len()..] {
        "" | "B" => 1,
        "K" => 1 << 10,
        "M" => 1 << 20,
        "G" => 1 << 30,
        "T" => 1 << 40,
        _ => return None,
    };
    digits.parse::<u64>().ok()?.checked_mul(factor).filter(|bytes| *bytes > 0)
}

/// A text of a body that is an object.
pub(crate) fn text(verb: &'static str, body: &Value, key: &str) -> Result<String, VmError> {
    match body.get(key) {
        Some(Value::String(text)) => Ok(text.clone()),
        Some(Value::Number(number)) => Ok(number.to_string()),
        _ => Err(nonsense(verb, body)),
    }
}

/// How the guest's command ended, where it was `anka run` that answered.
///
/// A success is the guest's raw output. A failure is `anka`'s own if the last line is its envelope, or if the exit code
/// is one of the two that `anka run` has for itself and what was printed fits; else it is the guest's.
pub(crate) fn guest(
    name: &'static str,
    ended: &Ended,
    n_kept_bytes: usize,
    secrets: &[Secret],
) -> Result<GuestOutput, VmError> {
    let verb = "run";
    let output = guest_output(ended, n_kept_bytes, secrets);
    let Some(exit) = ended.exit else { return Err(failure(verb, ended, secrets)) };
    if exit == 0 {
        return Ok(GuestOutput(output));
    }
    if let Some(envelope) = envelope(&ended.output.bytes())
        && !envelope.is_ok
    {
        return Err(refusal(verb, ended.exit, &envelope, secrets));
    }
    if exit == UNREACHABLE && output.contains("communication timeout") {
        return Err(failure(verb, ended, secrets));
    }
    if exit == LINK_LOST && ended.output.is_empty() {
        let message = "the guest rebooted or the link to it was lost".to_string();
        return Err(VmError::Failed { verb, code: exit.into(), message });
    }
    Err(VmError::Guest { name, exit, output })
}

/// Both outputs, masked, and the end of them where they are long.
fn guest_output(ended: &Ended, n_kept_bytes: usize, secrets: &[Secret]) -> String {
    let mut bytes = ended.output.bytes();
    let errors = ended.errors.bytes();
    if !bytes.is_empty() && !errors.is_empty() && !bytes.ends_with(b"\n") {
        bytes.push(b'\n');
    }
    bytes.extend_from_slice(&errors);
    // Masked before it is cut, so that the cut leaves no half of a secret.
    let text = mask(&String::from_utf8_lossy(&bytes), secrets);
    let mut from = text.len().saturating_sub(n_kept_bytes);
    while !text.is_char_boundary(from) {
        from += 1;
    }
    text.get(from..).unwrap_or_default().to_string()
}

/// `anka` said what is wrong.
fn refusal(verb: &'static str, exit: Option<i32>, envelope: &Envelope, secrets: &[Secret]) -> VmError {
    let message = match end_of(&mask(&envelope.message, secrets), SHOWN_CHARS) {
        message if message.is_empty() => "it does not say why".to_string(),
        message => message,
    };
    let code = envelope.code.filter(|code| *code != 0).or(exit.map(i64::from)).unwrap_or(-1);
    if is_at_limit(&message) {
        VmError::AtLimit { verb, message }
    } else if envelope.code == Some(NOT_FOUND) || message.contains("not found") {
        VmError::NotFound { verb, message }
    } else {
        VmError::Failed { verb, code, message }
    }
}

/// `anka` failed without an envelope. Its words are shown, but "not found" is not concluded from them.
fn failure(verb: &'static str, ended: &Ended, secrets: &[Secret]) -> VmError {
    let errors = ended.errors.bytes();
    let words = if errors.trim_ascii().is_empty() { ended.output.bytes() } else { errors };
    let message = end_of(&mask(&String::from_utf8_lossy(&words), secrets), SHOWN_CHARS);
    if is_at_limit(&message) {
        return VmError::AtLimit { verb, message };
    }
    let message = match (ended.exit, message.is_empty()) {
        (None, true) => "it was ended by a signal".to_string(),
        (None, false) => format!("it was ended by a signal: {message}"),
        (Some(_), true) => "it said nothing".to_string(),
        (Some(_), false) => message,
    };
    VmError::Failed { verb, code: ended.exit.map_or(-1, i64::from), message }
}

fn is_at_limit(message: &str) -> bool {
    message.to_ascii_lowercase().contains("maximum number of running instances")
}

fn nonsense(verb: &'static str, body: &Value) -> VmError {
    VmError::Nonsense { verb, answer: start_of(&body.to_string(), SHOWN_CHARS) }
}

fn number(value: &Value) -> Option<i64> {
    match value {
        Value::Number(number) => number.as_i64(),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
