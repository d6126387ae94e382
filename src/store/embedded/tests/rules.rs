//! The rules that every store must pass, on the embedded file.

use std::sync::Arc;

use anklet_plugin_api::conformance::ConformanceClock;
use anklet_plugin_api::store::Store;

use super::Folder;
use crate::store::embedded::{EmbeddedStore, Options};

fn make(clock: &ConformanceClock) -> Arc<dyn Store> {
    let folder = Folder::new();
    let options = Options { clock: Some(clock.source()), ..Options::default() };
    // The folder goes here: the open file lives on without a name, and ends with the store.
    EmbeddedStore::open(&folder.file(), &options).unwrap()
}

anklet_plugin_api::store_conformance!(make);

#[test]
#[ignore = "takes minutes: as many random lives as one likes"]
fn a_store_agrees_with_the_model_for_long() {
    anklet_plugin_api::conformance::model::a_store_agrees_in(&|clock| make(clock), 3_000);
}
