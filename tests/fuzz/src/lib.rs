//! What the fuzz targets feed: the readers of everything that strangers, `anka` or an older version wrote.
//!
//! The daemon is a program, not a library, so its modules are taken in here by path, under the names they have there.
#![allow(dead_code, unused_imports, reason = "takes in whole modules for a few of their functions")]

#[path = "../../../src"]
mod daemon {
    pub(crate) mod anka;
    pub(crate) mod config;
    pub(crate) mod host;
    pub(crate) mod similar;
    pub(crate) mod store;
}
#[path = "../../../plugins/http/src"]
mod server {
    pub(crate) mod body;
    pub(crate) mod head;
    pub(crate) mod intake;
    pub(crate) mod limits;
    pub(crate) mod refusal;
    pub(crate) mod request;
    pub(crate) mod response;
}
#[path = "../../../plugins/receivers/github/src"]
mod receiver {
    pub(crate) mod form;
}

/// In the place of the daemon's metrics, of which the stores need no more.
mod metrics {
    use std::sync::Arc;
    use std::time::Duration;

    pub(crate) type SharedMetrics = Arc<Untold>;

    pub(crate) struct Untold;

    impl Untold {
        pub(crate) fn store_verb(&self, _verb: &'static str, _took: Duration, _is_failed: bool) {}
    }
}

// The modules name each other from the root of their crate.
use daemon::{anka, config, host, similar, store};
use server::{body, head, intake, limits, refusal, request, response};

mod read_anka;
mod read_config;
mod read_http;
mod read_stored;
mod read_webhook;

pub use read_anka::anka_reply;
pub use read_config::config_file;
pub use read_http::http_stream;
pub use read_stored::stored_document;
pub use read_webhook::webhook_body;
