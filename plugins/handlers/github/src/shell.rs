//! Strangers' text in a line for the guest's bash.

/// The text as one word that the shell takes as it stands.
pub(crate) fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn bash_gives_back_what_was_quoted() {
        for text in [
            "",
            "a",
            "a b'c",
            "$(touch pwned)",
            "`id`",
            "--yes",
            "a\"b\\c",
            "line\nline",
            "'",
            "''",
            "*",
            "~",
            "!x",
            "Ünïcode 🍏",
            "-n",
        ] {
            let line = format!("printf %s {}", quoted(text));
            let output = Command::new("bash").arg("-c").arg(line).output().unwrap();
            assert_eq!(String::from_utf8(output.stdout).unwrap(), text);
        }
    }
}
