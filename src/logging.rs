//! The log: one JSON object a line on standard output, through env_logger.
//!
//! It stands alone because everyone logs through the `log` facade and only `main` decides what becomes of it.

use std::io::Write;

use anklet_plugin_api::log_context;
use anklet_plugin_api::time::Moment;
use env_logger::{Builder, Target};
use log::LevelFilter;

use self::line::Style;
use crate::config::env::Environment;

mod files;
mod line;
mod mask;

pub(crate) use files::split;
pub(crate) use mask::hide;

/// All crates of ours have a name that begins so. Others are heard from `WARN` on: they know nothing of secrets and states.
const OWN_CRATES: &str = "anklet";

/// `LOG_LEVEL`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum LogLevel {
    /// Only what was lost.
    Error,
    /// Changes of state too.
    #[default]
    Info,
    /// Every command and call too.
    Debug,
    /// The same, a line for each fact.
    DebugPretty,
    /// As `DebugPretty`; what is left in a guest after a failure is kept besides.
    Dev,
}

impl LogLevel {
    /// The level of that name, in any case.
    fn parse(text: &str) -> Option<Self> {
        match text.trim().to_ascii_uppercase().as_str() {
            "ERROR" => Some(Self::Error),
            "INFO" => Some(Self::Info),
            "DEBUG" => Some(Self::Debug),
            "DEBUG-PRETTY" => Some(Self::DebugPretty),
            "DEV" => Some(Self::Dev),
            _ => None,
        }
    }

    fn filter(self) -> LevelFilter {
        match self {
            Self::Error => LevelFilter::Error,
            Self::Info => LevelFilter::Info,
            Self::Debug | Self::DebugPretty | Self::Dev => LevelFilter::Debug,
        }
    }

    fn style(self) -> Style {
        match self {
            Self::Error | Self::Info | Self::Debug => Style::OneLine,
            Self::DebugPretty | Self::Dev => Style::Indented,
        }
    }
}

/// Starts the log at the level that `LOG_LEVEL` asks for. To be called once, before anything is logged.
pub(crate) fn start(environment: &Environment) -> LogLevel {
    let asked = environment.get("LOG_LEVEL").map(|text| text.to_string_lossy().into_owned());
    let known = asked.as_deref().map(LogLevel::parse);
    let level = known.flatten().unwrap_or_default();
    if builder(level).try_init().is_err() {
        log::warn!("the log was started twice");
    }
    if let (Some(None), Some(asked)) = (known, asked) {
        log::warn!(LOG_LEVEL = asked; "unknown LOG_LEVEL; write ERROR, INFO, DEBUG, DEBUG-PRETTY or DEV");
    }
    level
}

fn builder(level: LogLevel) -> Builder {
    let style = level.style();
    let others = level.filter().min(LevelFilter::Warn);
    let mut builder = Builder::new();
    builder.filter(None, others).filter(Some(OWN_CRATES), level.filter()).target(Target::Stdout);
    builder.format(move |out, record| {
        let time = Moment::now().to_string();
        let context = log_context::inherit();
        let text = line::text(record, &time, context.attributes(), style);
        match context.attributes() {
            Some(plugin) if files::write(&plugin.name, &text) => Ok(()),
            _ => out.write_all(text.as_bytes()),
        }
    });
    builder
}

#[cfg(test)]
mod tests {
    use log::{Level, Log, Metadata};

    use super::*;

    #[test]
    fn other_crates_are_heard_only_when_they_warn() {
        let check = |level, target: &str, lowest| {
            let logger = builder(level).build();
            let enabled = |level| logger.enabled(&Metadata::builder().level(level).target(target).build());
            let heard: Vec<_> = Level::iter().filter(|level| enabled(*level)).collect();
            assert_eq!(heard.last(), Some(&lowest), "{level:?} {target}");
        };
        for (level, own, others) in [
            (LogLevel::Error, Level::Error, Level::Error),
            (LogLevel::Info, Level::Info, Level::Warn),
            (LogLevel::Debug, Level::Debug, Level::Warn),
            (LogLevel::Dev, Level::Debug, Level::Warn),
        ] {
            check(level, "anklet::daemon", own);
            check(level, "anklet_handler_github::turn", own);
            check(level, "rustls::client", others);
            check(level, "ureq", others);
        }
    }

    #[test]
    fn levels_are_known_in_any_case() {
        for (text, level) in [
            ("error", Some(LogLevel::Error)),
            ("Info", Some(LogLevel::Info)),
            ("debug", Some(LogLevel::Debug)),
            ("debug-pretty", Some(LogLevel::DebugPretty)),
            (" DEV ", Some(LogLevel::Dev)),
            ("loud", None),
        ] {
            assert_eq!(LogLevel::parse(text), level, "{text}");
        }
    }
}
