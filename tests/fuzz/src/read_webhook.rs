//! Webhook bodies, as JSON and as a form: every body is news, ignored, or an error that names a field.

use anklet_github::wire::{self, Webhook};

use crate::receiver::form;

/// Reads the bytes as both kinds of body.
pub fn webhook_body(bytes: &[u8]) {
    read(bytes);
    if let Some(json) = form::payload(bytes) {
        assert!(json.len() <= bytes.len(), "decoding made it longer");
        read(&json);
    }
}

fn read(json: &[u8]) {
    match wire::webhook(json) {
        Ok(Webhook::News(news)) => {
            assert!(!news.job.owner.is_empty() && !news.job.repo.is_empty());
            // What is stored must be readable again, as the same.
            let written = serde_json::to_string(&news.job).expect("a job can be written");
            let again = serde_json::from_str(&written).expect("a written job can be read");
            assert_eq!(news.job, again);
        }
        Ok(Webhook::Ignored(why)) => assert!(!why.is_empty()),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}
