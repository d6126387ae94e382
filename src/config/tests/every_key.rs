//! Each key of the table: taken from the file, from its variable, and refused when its type is wrong.

use super::*;
use crate::config::keys::Key;
use crate::config::kind::Kind;

/// A good value, how it is shown back, and a wrong one, where there is such a thing.
fn samples(kind: Kind) -> (&'static str, &'static str, Option<&'static str>) {
    match kind {
        Kind::Text | Kind::Path => ("0012345", "Text(\"0012345\")", Some("\"a\\u0007b\"")),
        Kind::Folder | Kind::LogFolder | Kind::File => ("/tmp", "Text(\"/tmp\")", Some("[a, b]")),
        Kind::Secret => ("0012345", "Text(\"0012345\")", Some("{a: b}")),
        Kind::GithubName => ("acme", "Text(\"acme\")", Some("a/b")),
        Kind::HostName => ("redis.local", "Text(\"redis.local\")", Some("redis://x")),
        Kind::Address => ("127.0.0.1", "Text(\"127.0.0.1\")", Some("localhost")),
        Kind::Url => ("https://a.example/", "Text(\"https://a.example\")", Some("a.example")),
        Kind::Whole { .. } => ("\"0x10\"", "Whole(16)", Some("many")),
        Kind::Decimal { .. } => ("2.5", "Decimal(2.5)", Some("100000")),
        Kind::Seconds { .. } => ("2.5", "Span(2.5s)", Some("soon")),
        Kind::Milliseconds { .. } => ("250", "Span(250ms)", Some("0.5")),
        Kind::Flag => ("yes", "Flag(true)", Some("perhaps")),
        Kind::List => ("[/a, 007]", "List([\"/a\", \"007\"])", Some("[[a]]")),
        Kind::Choice(words) => {
            (words[0], if words[0] == "token" { "Text(\"token\")" } else { "Text(\"github\")" }, Some("x"))
        }
        Kind::Ignored => ("[anything]", "", None),
        Kind::Plugins => ("", "", None),
    }
}

/// `path: value` with the maps around it.
fn yaml(path: &str, value: &str) -> String {
    let names: Vec<_> = path.split('.').collect();
    let opening: String = names[..names.len() - 1].iter().map(|name| format!("{{{name}: ")).collect();
    let inner = format!("{{{}: {value}}}", names[names.len() - 1]);
    format!("{opening}{inner}{}", "}".repeat(names.len() - 1))
}

fn read(key: &Key, value: &str, variables: &[(&str, &str)]) -> (Raw, Findings) {
    let mut findings = Findings::new(Path::new("c.yml"));
    let tree = yaml::parse(&yaml(&key.path, value), &mut Vec::new()).unwrap().unwrap();
    let Value::Map(entries) = tree.value else { panic!("no map") };
    let mut raw = Raw::new(key.root, None, None);
    raw.read(&entries, &mut findings);
    let prefix = if key.root == Root::Top { "ANKLET" } else { "MAC-1" };
    raw.read_environment(&Environment::of(variables), prefix, &mut findings);
    (raw, findings)
}

#[test]
fn each_is_taken_from_the_file_and_from_its_variable() {
    for key in keys::all() {
        let (good, shown, wrong) = samples(key.kind);
        let (raw, findings) = read(key, good, &[]);
        assert!(
            findings.problems.is_empty() && findings.warnings.is_empty(),
            "{}: {:?}",
            key.path,
            findings.problems
        );
        assert_eq!(raw.shown(&key.path), shown, "{}", key.path);
        let Some(wrong) = wrong else { continue };
        let (_, findings) = read(key, wrong, &[]);
        assert_eq!(findings.problems.len(), 1, "{}: {wrong}", key.path);
        let problem = &findings.problems[0];
        assert_eq!((&problem.key, &problem.origin), (&key.path, &Origin::Line(1)), "{problem}");
        let has_advice = ["must be ", "write each as"].iter().any(|part| problem.what.contains(part));
        assert!(has_advice, "{problem}");
        check_variable(key, good, shown, wrong);
    }
}

fn check_variable(key: &Key, good: &str, shown: &str, wrong: &str) {
    let Some(variable) = key.environment() else { return };
    let variable = variable.replace("NAME_", "MAC_1_");
    let good = if key.kind == Kind::List { "/a, 007" } else { good.trim_matches('"') };
    let (raw, findings) = read(key, "~", &[(&variable, good)]);
    assert!(findings.problems.is_empty(), "{variable}: {:?}", findings.problems);
    assert_eq!(raw.shown(&key.path), shown, "{variable}");
    let (raw, _) = read(key, samples(key.kind).0, &[(&variable, ""), ("MAC_1_X", "y")]);
    assert_eq!(raw.shown(&key.path), shown, "an empty {variable} changes nothing");
    if matches!(key.kind, Kind::Whole { .. } | Kind::Flag | Kind::Url | Kind::Seconds { .. }) {
        let (_, findings) = read(key, "~", &[(&variable, wrong)]);
        assert!(findings.problems[0].to_string().contains(&variable), "{}", findings.problems[0]);
    }
}
