//! What a key can take, and the step from text to a value of that type.
//!
//! Values come as text from the file and from the environment alike, so both are read by the same rules.

use std::time::Duration;

use crate::similar::nearest;

/// The type of a key.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Kind {
    /// Any text in one line.
    Text,
    /// Text that is never shown.
    Secret,
    /// A name as GitHub allows it for users, organizations, repositories and enterprises.
    GithubName,
    /// A host name or an address, without scheme and port.
    HostName,
    /// An IP address.
    Address,
    /// `http://` or `https://`.
    Url,
    /// A path that need not exist.
    Path,
    /// A folder that must exist.
    Folder,
    /// A folder that must exist, whose lack has a message of its own.
    LogFolder,
    /// A file that must exist.
    File,
    /// A whole number in a range.
    Whole { least: i64, most: i64 },
    /// A number in a range.
    Decimal { least: f64, most: f64 },
    /// A duration, written in seconds.
    Seconds { least: f64, most: f64 },
    /// A duration, written in milliseconds.
    Milliseconds { least: i64, most: i64 },
    /// Yes or no.
    Flag,
    /// A list of texts.
    List,
    /// One of some words.
    Choice(&'static [&'static str]),
    /// Anything; it has no effect.
    Ignored,
    /// The list of plugins, which is read by itself.
    Plugins,
}

/// A value that fits its key's kind.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Setting {
    Text(String),
    Whole(i64),
    Decimal(f64),
    Span(Duration),
    Flag(bool),
    List(Vec<String>),
}

impl Kind {
    pub(super) const fn whole(least: i64, most: i64) -> Self {
        Self::Whole { least, most }
    }

    pub(super) const fn decimal(least: f64, most: f64) -> Self {
        Self::Decimal { least, most }
    }

    pub(super) const fn seconds(least: f64, most: f64) -> Self {
        Self::Seconds { least, most }
    }

    pub(super) const fn milliseconds(least: i64, most: i64) -> Self {
        Self::Milliseconds { least, most }
    }

    /// What to write, as the end of "must be …".
    pub(crate) fn expected(self) -> String {
        match self {
            Self::Text => "text in one line".to_owned(),
            Self::Secret => "text, which is never shown".to_owned(),
            Self::GithubName => "a name alone: letters, digits, `-`, `_` and `.`, no address and no `/`".to_owned(),
            Self::HostName => {
                "a host name or an address alone, without `redis://` and without port (`port` has a key of its own)"
                    .to_owned()
            }
            Self::Address => "an IP address, such as 127.0.0.1".to_owned(),
            Self::Url => "an address that begins with https:// or http://".to_owned(),
            Self::Path => "a path".to_owned(),
            Self::Folder | Self::LogFolder => "the path of a folder".to_owned(),
            Self::File => "the path of a file".to_owned(),
            Self::Whole { least, most: i64::MAX } => format!("a whole number from {least}"),
            Self::Whole { least, most } => format!("a whole number from {least} to {most}"),
            Self::Decimal { least, most } => format!("a number from {least} to {most}"),
            Self::Seconds { least, most } => format!("a number of seconds from {least} to {most}"),
            Self::Milliseconds { least, most } => {
                format!("a whole number of milliseconds from {least} to {most}")
            }
            Self::Flag => "true or false".to_owned(),
            Self::List => "a list, each item on a line of its own: `- item`".to_owned(),
            Self::Choice(words) => format!("one of {}", words.join(", ")),
            Self::Ignored => "anything".to_owned(),
            Self::Plugins => "a list of plugins, each beginning with `- name: NAME`".to_owned(),
        }
    }

    /// The word that was probably meant, where there are only some.
    pub(super) fn nearest(self, text: &str) -> Option<&'static str> {
        let Self::Choice(words) = self else { return None };
        nearest(words.iter().copied(), &text.to_ascii_lowercase())
    }

    /// Whether a wrong value may be repeated in a message. An address may carry a password.
    pub(super) fn may_be_shown(self) -> bool {
        !matches!(self, Self::Secret | Self::Url | Self::HostName)
    }

    /// The value of this kind that `text` stands for.
    pub(super) fn parse(self, text: &str) -> Option<Setting> {
        let own = || Setting::Text(text.to_owned());
        match self {
            Self::Secret | Self::Ignored => Some(own()),
            Self::Text | Self::Path | Self::Folder | Self::LogFolder | Self::File => {
                (!text.contains(char::is_control)).then(own)
            }
            // The dots would be steps in a URL's path.
            Self::GithubName => (text.bytes().all(is_github_letter) && !matches!(text, "." | "..")).then(own),
            Self::HostName => is_host_name(text).then(own),
            Self::Address => text.parse::<std::net::IpAddr>().ok().map(|_| own()),
            Self::Url => is_url(text).then(|| Setting::Text(text.trim_end_matches('/').to_owned())),
            Self::Whole { least, most } => {
                whole(text).filter(|number| (least..=most).contains(number)).map(Setting::Whole)
            }
            Self::Decimal { least, most } => {
                decimal(text).filter(|number| (least..=most).contains(number)).map(Setting::Decimal)
            }
            Self::Seconds { least, most } => {
                let seconds = decimal(text).filter(|number| (least..=most).contains(number))?;
                Some(Setting::Span(Duration::from_secs_f64(seconds)))
            }
            Self::Milliseconds { least, most } => {
                let number = whole(text).filter(|number| (least..=most).contains(number))?;
                Some(Setting::Span(Duration::from_millis(u64::try_from(number).ok()?)))
            }
            Self::Flag => flag(text).map(Setting::Flag),
            Self::List => Some(Setting::List(split_list(text))),
            Self::Choice(words) => words.contains(&text).then(own),
            Self::Plugins => None,
        }
    }
}

fn is_github_letter(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.')
}

fn is_host_name(text: &str) -> bool {
    let is_ipv6 = text.trim_matches(['[', ']']).parse::<std::net::Ipv6Addr>().is_ok();
    is_ipv6 || (!text.starts_with('-') && text.bytes().all(is_github_letter))
}

fn is_url(text: &str) -> bool {
    let lower = text.to_ascii_lowercase();
    let rest = lower.strip_prefix("https://").or_else(|| lower.strip_prefix("http://"));
    rest.is_some_and(|rest| !rest.is_empty() && !rest.starts_with('/'))
        && !text.contains(|c: char| c.is_control() || c.is_whitespace() || c == '?' || c == '#')
}

fn split_list(text: &str) -> Vec<String> {
    text.split(',').map(str::trim).filter(|item| !item.is_empty()).map(str::to_owned).collect()
}

fn flag(text: &str) -> Option<bool> {
    match text.trim().to_ascii_lowercase().as_str() {
        "true" | "yes" | "on" | "y" => Some(true),
        "false" | "no" | "off" | "n" => Some(false),
        _ => None,
    }
}

/// A whole number as YAML 1.1 writes them: `80`, `0x50`, `0120`, `0b1010000`, `1_000`, and `80.0` too.
fn whole(text: &str) -> Option<i64> {
    let text = text.trim().replace('_', "");
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => ("-", digits),
        None => ("", text.strip_prefix('+').unwrap_or(&text)),
    };
    let (radix, digits) = match digits.as_bytes() {
        [b'0', b'x' | b'X', ..] => (16, &digits[2..]),
        [b'0', b'o' | b'O', ..] => (8, &digits[2..]),
        [b'0', b'b' | b'B', ..] => (2, &digits[2..]),
        [b'0', rest @ ..] if !rest.is_empty() && rest.iter().all(|byte| (b'0'..=b'7').contains(byte)) => {
            (8, &digits[1..])
        }
        _ => (10, digits),
    };
    // A second sign would be taken by the standard library.
    if digits.starts_with(['+', '-']) {
        return None;
    }
    i64::from_str_radix(&format!("{sign}{digits}"), radix).ok().or_else(|| whole_with_point(&text))
}

/// `80.0`, as far as such a number is exact.
fn whole_with_point(text: &str) -> Option<i64> {
    let number: f64 = text.parse().ok()?;
    let is_exact = number.fract() == 0.0 && number.abs() <= 9_007_199_254_740_992.0;
    is_exact.then_some(number as i64)
}

fn decimal(text: &str) -> Option<f64> {
    match whole(text) {
        Some(number) => Some(number as f64),
        None => text.trim().replace('_', "").parse::<f64>().ok().filter(|number| number.is_finite()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(kind: Kind, good: &[(&str, Setting)], bad: &[&str]) {
        for (text, setting) in good {
            assert_eq!(kind.parse(text).as_ref(), Some(setting), "{text}");
        }
        for text in bad {
            assert_eq!(kind.parse(text), None, "{text}");
        }
    }

    #[test]
    fn numbers_as_yaml_writes_them() {
        let whole = |text, number| (text, Setting::Whole(number));
        check(
            Kind::whole(-1, 65_535),
            &[
                whole("8080", 8080),
                whole(" 8080 ", 8080),
                whole("5.0", 5),
                whole("0x50", 80),
                whole("010", 8),
                whole("0o10", 8),
                whole("0b101", 5),
                whole("08", 8),
                whole("0", 0),
                whole("-1", -1),
                whole("+7", 7),
                whole("1_000", 1000),
                whole("1e3", 1000),
            ],
            &[
                "",
                "x",
                "5.5",
                "65536",
                "-2",
                "--1",
                "0x",
                "0x-5",
                "++5",
                "1e300",
                "inf",
                "nan",
                "99999999999999999999",
            ],
        );
        check(
            Kind::decimal(0.0, 99.0),
            &[("10", Setting::Decimal(10.0)), ("2.5", Setting::Decimal(2.5)), ("010", Setting::Decimal(8.0))],
            &["ten", "inf", ".nan", "99.1", "-0.1", "10%"],
        );
        check(
            Kind::seconds(0.0, 100.0),
            &[
                ("0.5", Setting::Span(Duration::from_millis(500))),
                ("90", Setting::Span(Duration::from_secs(90))),
            ],
            &["90s", "-1", "101"],
        );
        check(
            Kind::milliseconds(1, 1000),
            &[("250", Setting::Span(Duration::from_millis(250)))],
            &["0", "1001", "0.5"],
        );
    }

    #[test]
    fn flags_and_words() {
        let flag = |text, yes| (text, Setting::Flag(yes));
        check(
            Kind::Flag,
            &[flag("true", true), flag("YES", true), flag("on", true), flag("No", false), flag("off", false)],
            &["1", "0", "ja", "truee"],
        );
        let text = |text: &'static str| (text, Setting::Text(text.to_owned()));
        check(Kind::Choice(&["token", "jit"]), &[text("jit")], &["JIT", "x"]);
        check(Kind::Text, &[text("0012345"), text("Mac mini ü")], &["a\nb", "a\u{1b}[31m"]);
        check(
            Kind::GithubName,
            &[text("veertu-inc_x.y")],
            &["a/b", "https://github.com/a", "a b", "ü", ".."],
        );
        check(
            Kind::HostName,
            &[text("redis.local"), text("10.0.0.1"), text("::1"), text("[::1]")],
            &["redis://x", "x:6379", "-x", "a b"],
        );
        check(Kind::Address, &[text("127.0.0.1"), text("::")], &["localhost", "127.0.0.1:80"]);
    }

    #[test]
    fn addresses_and_lists() {
        let text = |text: &str| Setting::Text(text.to_owned());
        check(
            Kind::Url,
            &[("https://github.com/", text("https://github.com")), ("http://a:8089", text("http://a:8089"))],
            &["github.com", "ftp://x", "https://", "https:///x", "https://a b", "https://a?token=1"],
        );
        let list = Setting::List(vec!["/a".to_owned(), "/b:c".to_owned()]);
        check(Kind::List, &[("/a, /b:c,", list)], &[]);
    }
}
