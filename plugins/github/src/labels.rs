//! What a job's labels ask for. Labels are strangers' text: they are judged here once, so that nobody else has to.

use anklet_plugin_api::job::Image;

const TEMPLATE: &str = "anka-template:";
const TAG: &str = "anka-template-tag:";
/// A label that begins so was meant for us, even where it is misspelt.
const MEANT_FOR_US: &str = "anka-template";

/// What labels ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// One of our VMs, made from this image.
    ForUs {
        /// Template and tag, as they were written.
        image: Image,
    },
    /// One of our VMs, but no host can ever make it: the run is to be cancelled.
    Hopeless {
        /// A sentence for the people who wrote the workflow.
        why: String,
    },
    /// Nothing of ours.
    NotOurs,
}

impl Wanted {
    /// Whether the labels ask for one of our VMs, possible or not.
    pub fn is_for_us(&self) -> bool {
        !matches!(self, Self::NotOurs)
    }

    /// The image; empty where the labels name none that can be made.
    pub fn image(self) -> Image {
        match self {
            Self::ForUs { image } => image,
            Self::Hopeless { .. } | Self::NotOurs => Image::default(),
        }
    }
}

/// Judges the labels of a job.
///
/// The words before the colon compare without case, what follows counts as it was written. Of several labels of a kind the first
/// one counts, as GitHub keeps their order. An empty tag means the latest, as does none.
pub fn wanted(labels: &[String]) -> Wanted {
    if !labels.iter().any(|label| after(label, MEANT_FOR_US).is_some()) {
        return Wanted::NotOurs;
    }
    let value_of = |prefix: &str| labels.iter().find_map(|label| after(label, prefix));
    let template = value_of(TEMPLATE).unwrap_or_default();
    let tag = value_of(TAG).filter(|tag| !tag.is_empty());
    let why = why_no_template(template, labels)
        .or_else(|| why_unusable("template", template))
        .or_else(|| tag.and_then(|tag| why_unusable("tag", tag)))
        .or_else(|| why_unmatchable(labels));
    match why {
        Some(why) => Wanted::Hopeless { why },
        None => {
            Wanted::ForUs { image: Image { template: template.to_owned(), tag: tag.map(ToOwned::to_owned) } }
        }
    }
}

fn why_no_template(template: &str, labels: &[String]) -> Option<String> {
    if !template.is_empty() {
        return None;
    }
    let meant = labels.iter().find(|label| after(label, MEANT_FOR_US).is_some())?;
    Some(format!(
        "the label {meant:?} asks for an Anka VM but no label names its template: add `anka-template:UUID` to `runs-on`"
    ))
}

fn why_unusable(what: &str, value: &str) -> Option<String> {
    if value.starts_with('-') {
        return Some(format!("the {what} {value:?} in the labels begins with a dash, which no {what} can"));
    }
    if value.chars().any(char::is_control) {
        return Some(format!(
            "the {what} {value:?} in the labels holds control characters, which no {what} can"
        ));
    }
    None
}

/// The runner's program splits its labels at commas, so a runner with such a label cannot exist and GitHub would wait for ever.
fn why_unmatchable(labels: &[String]) -> Option<String> {
    let label = labels.iter().find(|label| label.contains(','))?;
    Some(format!("the label {label:?} holds a comma, and no runner can bear such a label: write it without"))
}

fn after<'a>(label: &'a str, prefix: &str) -> Option<&'a str> {
    let (start, rest) = label.split_at_checked(prefix.len())?;
    start.eq_ignore_ascii_case(prefix).then_some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(labels: &[&str]) -> Wanted {
        wanted(&labels.iter().map(|label| (*label).to_owned()).collect::<Vec<_>>())
    }

    #[track_caller]
    fn check(labels: &[&str], template: &str, tag: Option<&str>) {
        let image = Image { template: template.to_owned(), tag: tag.map(ToOwned::to_owned) };
        assert_eq!(of(labels), Wanted::ForUs { image }, "{labels:?}");
    }

    #[track_caller]
    fn check_hopeless(labels: &[&str], word: &str) {
        let wanted = of(labels);
        let Wanted::Hopeless { why } = &wanted else { panic!("{labels:?} gave {wanted:?}") };
        assert!(why.contains(word), "{labels:?}: {why}");
        assert!(!why.chars().any(char::is_control), "{why}");
        assert!(wanted.is_for_us());
        assert_eq!(wanted.image(), Image::default());
    }

    #[test]
    fn labels_name_template_and_tag() {
        check(&["anka-template:U"], "U", None);
        check(&["self-hosted", "anka-template-tag:v1", "anka-template:U"], "U", Some("v1"));
        check(&["ANKA-Template:aB", "Anka-Template-TAG:vX"], "aB", Some("vX"));
        check(&["anka-template: U ", "anka-template-tag:a:b"], " U ", Some("a:b"));
        check(&["anka-template:U", "anka-template-tag:"], "U", None);
        check(&["anka-template:$(rm -rf ~)"], "$(rm -rf ~)", None);
        check(&["anka-template:ü", "1-0"], "ü", None);
    }

    #[test]
    fn the_first_of_several_counts() {
        check(
            &["anka-template:A", "anka-template:B", "anka-template-tag:1", "anka-template-tag:2"],
            "A",
            Some("1"),
        );
    }

    #[test]
    fn what_cannot_be_made_is_hopeless() {
        check_hopeless(&["anka-template-tag:v1"], "anka-template:UUID");
        check_hopeless(&["anka-template:"], "anka-template:UUID");
        check_hopeless(&["Anka-Templates:U\n"], "anka-template:UUID");
        check_hopeless(&["anka-template:--yes"], "dash");
        check_hopeless(&["anka-template:U", "anka-template-tag:-f"], "dash");
        check_hopeless(&["anka-template:U\nV"], "control");
        check_hopeless(&["anka-template:U", "anka-template-tag:\u{7f}"], "control");
        check_hopeless(&["anka-template:U", "a,b"], "comma");
    }

    #[test]
    fn others_are_not_ours() {
        for labels in [
            &[][..],
            &["ubuntu-latest"],
            &["anka"],
            &["xanka-template:U"],
            &["ubuntu, -"],
            &["änka-template"],
        ] {
            assert_eq!(of(labels), Wanted::NotOurs, "{labels:?}");
        }
    }
}
