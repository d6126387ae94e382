//! Follows `<<` and lets the last of equal keys win, with a note.

use std::collections::HashMap;

use super::{Entry, Node, Note, Value};

/// The tree with each key once in each map.
pub(super) fn resolve(node: Node, notes: &mut Vec<Note>) -> Result<Node, Note> {
    let value = match node.value {
        Value::Null | Value::Text(_) => node.value,
        Value::List(items) => {
            Value::List(items.into_iter().map(|item| resolve(item, notes)).collect::<Result<_, _>>()?)
        }
        Value::Map(entries) => Value::Map(resolve_map(entries, notes)?),
    };
    Ok(Node { line: node.line, value })
}

fn resolve_map(entries: Vec<Entry>, notes: &mut Vec<Note>) -> Result<Vec<Entry>, Note> {
    let mut own = Keys::default();
    let mut merges = Vec::new();
    for entry in entries {
        let node = resolve(entry.node, notes)?;
        let entry = Entry { node, ..entry };
        if entry.key == "<<" {
            merges.push(entry);
        } else if let Some(earlier) = own.put(entry) {
            notes.push(twice(&earlier, &own));
        }
    }
    for merge in merges {
        for map in merged_maps(merge)? {
            map.into_iter().for_each(|entry| own.add(entry));
        }
    }
    Ok(own.entries)
}

fn twice(earlier: &Entry, keys: &Keys) -> Note {
    let last = keys.index.get(&earlier.key).and_then(|at| keys.entries[*at].line);
    let first = earlier.line.map_or(String::new(), |line| format!(" (first on line {line})"));
    Note {
        line: last,
        key: earlier.key.clone(),
        what: format!("is given twice{first}; the last one counts: remove the other"),
    }
}

/// The maps that a `<<` names, those first that win.
fn merged_maps(merge: Entry) -> Result<Vec<Vec<Entry>>, Note> {
    let line = merge.line;
    let wrong = || Note {
        line,
        key: "<<".to_owned(),
        what: "must name a map, or a list of maps: `<<: *anchor`".to_owned(),
    };
    match merge.node.value {
        Value::Null => Ok(Vec::new()),
        Value::Map(entries) => Ok(vec![entries]),
        Value::List(items) => items
            .into_iter()
            .map(|item| if let Value::Map(entries) = item.value { Ok(entries) } else { Err(wrong()) })
            .collect(),
        Value::Text(_) => Err(wrong()),
    }
}

#[derive(Default)]
struct Keys {
    entries: Vec<Entry>,
    index: HashMap<String, usize>,
}

impl Keys {
    /// Puts a key; one of that name goes, and is returned.
    fn put(&mut self, entry: Entry) -> Option<Entry> {
        match self.index.get(&entry.key) {
            Some(at) => Some(std::mem::replace(&mut self.entries[*at], entry)),
            None => {
                self.add(entry);
                None
            }
        }
    }

    /// Adds a key if there is none of that name.
    fn add(&mut self, entry: Entry) {
        if !self.index.contains_key(&entry.key) {
            self.index.insert(entry.key.clone(), self.entries.len());
            self.entries.push(entry);
        }
    }
}
