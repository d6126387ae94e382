//! Options of one verb: taken before, between and after the positional arguments, as the real tool does.

/// What a verb accepts.
pub(crate) struct Spec {
    /// Switches, each with all its spellings; the first one is its key.
    pub(crate) flags: &'static [&'static [&'static str]],
    /// Options with a value, likewise.
    pub(crate) values: &'static [&'static [&'static str]],
    /// Whether everything from the second positional on is a command of the guest.
    pub(crate) command: bool,
}

/// A verb's arguments, read.
#[derive(Debug, Default)]
pub(crate) struct Args {
    flags: Vec<&'static str>,
    values: Vec<(&'static str, String)>,
    /// What is neither option nor value.
    pub(crate) positional: Vec<String>,
}

impl Args {
    /// Reads `raw`; the error is the usage text.
    pub(crate) fn parse(spec: &Spec, raw: &[String]) -> Result<Self, String> {
        let mut args = Self::default();
        let mut rest = raw.iter();
        while let Some(word) = rest.next() {
            if spec.command && !args.positional.is_empty() {
                args.positional.push(word.clone());
                args.positional.extend(rest.cloned());
                break;
            }
            if word == "--" {
                args.positional.extend(rest.cloned());
                break;
            }
            if !word.starts_with('-') || word == "-" {
                args.positional.push(word.clone());
                continue;
            }
            let (name, inline) = match word.split_once('=') {
                Some((name, value)) if word.starts_with("--") => (name, Some(value.to_string())),
                _ => (word.as_str(), None),
            };
            if let Some(key) = key_of(spec.values, name) {
                let value = inline.or_else(|| rest.next().cloned());
                args.values.push((key, value.ok_or_else(|| format!("option {name} requires an argument"))?));
            } else if inline.is_none() && key_of(spec.flags, name).is_some() {
                args.flags.extend(key_of(spec.flags, name));
            } else {
                args.flags.extend(joined(spec, word)?);
            }
        }
        Ok(args)
    }

    /// Whether the switch with that first spelling was given.
    pub(crate) fn has(&self, key: &str) -> bool {
        self.flags.contains(&key)
    }

    /// The last value of the option with that first spelling.
    pub(crate) fn value(&self, key: &'static str) -> Option<&str> {
        self.all(key).last()
    }

    /// Every value of that option.
    pub(crate) fn all(&self, key: &'static str) -> impl Iterator<Item = &str> {
        self.values.iter().filter(move |(name, _)| *name == key).map(|(_, value)| value.as_str())
    }

    /// The positional at `index`, else a usage error that names `what`.
    pub(crate) fn need(&self, index: usize, what: &str) -> Result<&str, String> {
        self.positional.get(index).map(String::as_str).ok_or_else(|| format!("missing argument {what}"))
    }
}

fn key_of(options: &'static [&'static [&'static str]], name: &str) -> Option<&'static str> {
    options.iter().find(|spellings| spellings.contains(&name)).map(|spellings| spellings[0])
}

/// Several short switches in one word, such as `-pPR`.
fn joined(spec: &Spec, word: &str) -> Result<Vec<&'static str>, String> {
    let unknown = || format!("unrecognized option '{word}'");
    if word.starts_with("--") {
        return Err(unknown());
    }
    let letters = word.trim_start_matches('-').chars();
    letters.map(|letter| key_of(spec.flags, &format!("-{letter}")).ok_or_else(unknown)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPEC: Spec = Spec { flags: &[&["-a"], &["--yes"]], values: &[&["-t", "--tag"]], command: false };
    const COMMAND: Spec = Spec { command: true, ..SPEC };

    fn check(spec: &Spec, raw: &[&str], expected: Result<(&[&str], Option<&str>), &str>) {
        let raw: Vec<String> = raw.iter().map(|word| word.to_string()).collect();
        match (Args::parse(spec, &raw), expected) {
            (Ok(args), Ok((positional, tag))) => {
                assert_eq!(args.positional, positional, "{raw:?}");
                assert_eq!(args.value("-t"), tag, "{raw:?}");
            }
            (Err(text), Err(expected)) => assert_eq!(text, expected),
            (got, expected) => panic!("{raw:?}: {got:?} instead of {expected:?}"),
        }
    }

    #[test]
    fn options_stand_anywhere() {
        check(&SPEC, &["vm", "--tag", "x", "--yes"], Ok((&["vm"], Some("x"))));
        check(&SPEC, &["--tag=x=y", "vm"], Ok((&["vm"], Some("x=y"))));
        check(&SPEC, &["--", "--tag"], Ok((&["--tag"], None)));
        check(&SPEC, &["-t"], Err("option -t requires an argument"));
        check(&SPEC, &["--no"], Err("unrecognized option '--no'"));
        check(&SPEC, &["-ab"], Err("unrecognized option '-ab'"));
        check(
            &COMMAND,
            &["-t", "x", "vm", "ls", "-t", "--yes"],
            Ok((&["vm", "ls", "-t", "--yes"], Some("x"))),
        );
    }
}
