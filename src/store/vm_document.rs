//! A VM record as the JSON document that the ledger file and the embedded queue keep.
//!
//! One place for both, since both must not drop what a newer version wrote beside the fields of this one.

use anklet_plugin_api::vm::VmRecord;
use serde_json::{Map, Value};

/// The record as a document, with what the document that stood in its place had beside it.
pub(crate) fn in_place_of(
    stored: Option<&Value>,
    record: &VmRecord,
) -> Result<Map<String, Value>, serde_json::Error> {
    let mut document = stored.map(unknown_fields).unwrap_or_default();
    if let Value::Object(fields) = serde_json::to_value(record)? {
        document.extend(fields);
    }
    Ok(document)
}

/// The fields of a stored record that this version does not know, and so must not drop. What it knows is what it would
/// write for that record.
fn unknown_fields(stored: &Value) -> Map<String, Value> {
    let Value::Object(fields) = stored else { return Map::new() };
    let known = serde_json::from_value::<VmRecord>(stored.clone()).and_then(serde_json::to_value);
    let known = known.unwrap_or_default();
    let mut unknown = fields.clone();
    unknown.retain(|key, _| known.get(key).is_none());
    unknown
}
