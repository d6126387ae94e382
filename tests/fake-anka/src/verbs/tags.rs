//! The rows of `show VM tag`. Apart from `show`, since their order is a trap of its own.

use crate::reply::Doc;
use crate::state::Tag;
use crate::vm::Vm;

/// Local tags by their text, which is not the order in which they came; with `current` only the one in use.
pub(crate) fn rows(vm: &Vm, current: bool) -> Doc {
    let mut tags: Vec<&Tag> = vm.tags.iter().collect();
    tags.retain(|tag| !current || vm.tag.as_deref() == Some(tag.tag.as_str()));
    tags.sort_by(|one, other| one.tag.cmp(&other.tag));
    let row = |tag: &Tag| {
        Doc::Object(vec![
            ("tag", tag.tag.as_str().into()),
            ("creation_date", vm.creation_date.as_str().into()),
            ("last_access", tag.last_access.as_str().into()),
        ])
    };
    Doc::List(tags.into_iter().map(row).collect())
}
