//! Takes what plugins report. Nobody watches yet, so a change of status is only told to the log, at DEBUG.

use anklet_plugin_api::job::Conclusion;
use anklet_plugin_api::name::PluginName;
use anklet_plugin_api::report::{Report, Status};
use log::debug;

/// A report that only the log sees.
pub(crate) struct Unwatched;

impl Report for Unwatched {
    fn status(&self, plugin: &PluginName, status: Status) {
        debug!(plugin:% = plugin, status:% = status; "plugin status");
    }

    fn vm_started(&self, plugin: &PluginName) {
        debug!(plugin:% = plugin; "plugin started a VM");
    }

    fn ended(&self, plugin: &PluginName, conclusion: &Conclusion, html_url: &str) {
        debug!(plugin:% = plugin, conclusion:% = conclusion, url = html_url; "job of plugin ended");
    }
}
