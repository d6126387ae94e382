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
    /// A VM made for one job, `anklet-vm-UUID`; the runner in it bears the same name at GitHub, or [one like it](VmName::runner_name).
    VmName
}

const VM_PREFIX: &str = "anklet-vm-";
const UUID_LENGTH: usize = 36;

impl VmName {
    /// The `n`th name for the runner in this VM: the VM's own, then `anklet-vm-UUID-2`, `-3`, …
    pub fn runner_name(&self, n: u32) -> String {
        match n {
            0 | 1 => self.0.clone(),
            n => format!("{}-{n}", self.0),
        }
    }

    /// The name of the VM in which a runner of that name is; the name as it stands if it is none of ours.
    pub fn of_runner(name: &str) -> &str {
        let vm_length = VM_PREFIX.len() + UUID_LENGTH;
        let is_ours = name.starts_with(VM_PREFIX);
        let Some((vm, number)) = name.split_at_checked(vm_length).filter(|_| is_ours) else { return name };
        let digits = number.strip_prefix('-').unwrap_or_default();
        let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
        if is_number { vm } else { name }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VM: &str = "anklet-vm-c0847bc9-5d2d-4dbc-ba6a-240f7ff08032";

    #[test]
    fn each_name_of_a_runner_leads_to_its_vm() {
        let vm = VmName::new(VM);
        assert_eq!(vm.runner_name(1), VM);
        assert_eq!(vm.runner_name(3), format!("{VM}-3"));
        for n in [1, 2, 3, 17] {
            assert_eq!(VmName::of_runner(&vm.runner_name(n)), VM);
        }
        for other in
            ["", "somebody-2", "anklet-vm-1-2", &format!("{VM}-"), &format!("{VM}-x"), &format!("{VM}2")]
        {
            assert_eq!(VmName::of_runner(other), other);
        }
        let wide = format!("anklet-vm-{}", "ä".repeat(40));
        assert_eq!(VmName::of_runner(&wide), wide);
    }
}
