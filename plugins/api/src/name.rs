//! Names that pass between hosts, the store and GitHub, each its own type so that none can stand in for another.

use std::fmt;

use serde::{Deserialize, Serialize};

macro_rules! text_name {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            /// Takes the text as it stands.
            pub fn new(text: impl Into<String>) -> Self {
                Self(text.into())
            }

            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

text_name! {
    /// A plugin's `name` in the config; one live process of a queue holds it at a time.
    PluginName
}
text_name! {
    /// This machine, for good: a UUID kept in a file, since a host name moves with DHCP.
    HostId
}
text_name! {
    /// A VM made for one job, `anklet-vm-UUID`; the runner in it bears the same name at GitHub.
    VmName
}
