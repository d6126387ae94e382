//! `QuietReport`: for tests that look at the store and not at the metrics.

use crate::job::Conclusion;
use crate::name::PluginName;
use crate::report::{Report, Status};

/// Hears reports and forgets them.
#[derive(Clone, Copy, Debug, Default)]
pub struct QuietReport;

impl Report for QuietReport {
    fn status(&self, _plugin: &PluginName, _status: Status) {}

    fn vm_started(&self, _plugin: &PluginName) {}

    fn ended(&self, _plugin: &PluginName, _conclusion: &Conclusion, _html_url: &str) {}
}
