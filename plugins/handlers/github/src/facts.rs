//! Log lines about a job, all with the same facts.

/// Logs a constant message with the facts of a [`Claim`](anklet_plugin_api::store::Claim), and further ones.
macro_rules! job_log {
    ($level:ident, $claim:expr; $message:literal $(, $($fact:tt)+)?) => {{
        let claim = &$claim;
        log::$level!(
            workflowJobID = claim.job.id.0,
            workflowJobRunID = claim.job.run_id.0,
            workflowName = claim.job.workflow.as_str(),
            workflowJobName = claim.job.name.as_str(),
            workflowJobURL = claim.job.html_url.as_str(),
            repository:% = format_args!("{}/{}", claim.job.owner, claim.job.repo),
            attempts = claim.attempts,
            ankaTemplateUUID = claim.job.image.template.as_str(),
            ankaTemplateTag = claim.job.image.tag.as_deref().unwrap_or("(using latest)")
            $(, $($fact)+)?;
            $message
        )
    }};
}

pub(crate) use job_log;
