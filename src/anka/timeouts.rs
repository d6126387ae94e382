//! How long each verb of `anka` may take before it is killed: `anka_timeouts.NAME` in the config, in seconds.
//!
//! They stand apart from the other waits because an operator sets them by the size of the templates and the speed of
//! the disks, not by how the daemon works.

use std::time::Duration;

macro_rules! timeouts {
    ($($(#[$doc:meta])* $name:ident = $seconds:literal;)*) => {
        /// The limits, a field for each verb. What runs in a guest brings its own.
        #[derive(Clone, Debug, PartialEq)]
        pub(crate) struct AnkaTimeouts {
            $($(#[$doc])* pub(crate) $name: Duration,)*
        }

        impl Default for AnkaTimeouts {
            fn default() -> Self {
                Self { $($name: Duration::from_secs($seconds),)* }
            }
        }

        impl AnkaTimeouts {
            /// The names, as the config spells them.
            pub(crate) const NAMES: &'static [&'static str] = &[$(stringify!($name),)*];

            /// The limit of that name, to be read or set.
            pub(crate) fn by_name(&mut self, name: &str) -> Option<&mut Duration> {
                match name {
                    $(stringify!($name) => Some(&mut self.$name),)*
                    _ => None,
                }
            }
        }
    };
}

// Defaults in seconds.
timeouts! {
    /// `version` and `license show`.
    version = 30;
    /// `list`.
    list = 60;
    /// `show`.
    show = 60;
    /// `clone`: seconds at most, unless the template's layers cannot be shared.
    clone = 300;
    /// `start`.
    start = 180;
    /// `cp`.
    cp = 600;
    /// `delete`.
    delete = 120;
    /// `stop --force`.
    stop = 120;
    /// `registry pull`: tens of GiB.
    pull = 21_600;
    /// `mount`.
    mount = 60;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_leads_to_its_limit() {
        let mut timeouts = AnkaTimeouts::default();
        assert_eq!(timeouts.by_name("clone"), Some(&mut Duration::from_secs(300)));
        for name in AnkaTimeouts::NAMES {
            *timeouts.by_name(name).unwrap() = Duration::from_secs(1);
        }
        assert_eq!((timeouts.pull, timeouts.cp), (Duration::from_secs(1), Duration::from_secs(1)));
        assert_eq!(timeouts.by_name("nonsense"), None);
    }
}
