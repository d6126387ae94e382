//! How far the looks at a hook's log have come, as it is noted in the store.

use std::fmt::Write;

use anklet_plugin_api::time::Moment;

/// What one look leaves to the next.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Progress {
    /// Up to here all is delivered.
    delivered_until: Moment,
    window_begins: Moment,
    /// The newest delivery seen since the log was last read from its beginning.
    newest: Option<Moment>,
    /// The oldest one that has not arrived.
    oldest_failed: Option<Moment>,
    /// Where to go on, if the last look could not come to the end.
    pub(crate) page: Option<String>,
}

impl Progress {
    /// Reads a note. What cannot be read counts as nothing: then the whole window is looked at.
    pub(crate) fn read(note: Option<&str>, window_begins: Moment) -> Self {
        let mut progress = Self {
            delivered_until: window_begins,
            window_begins,
            newest: None,
            oldest_failed: None,
            page: None,
        };
        let mut delivered_until = None;
        for line in note.unwrap_or_default().lines() {
            let Some((name, value)) = line.split_once(' ') else { continue };
            let moment = value.parse().ok().map(Moment);
            match name {
                "delivered_until" => delivered_until = moment,
                "newest" => progress.newest = moment,
                "oldest_failed" => progress.oldest_failed = moment,
                "page" => progress.page = Some(value.to_owned()),
                _ => {}
            }
        }
        progress.delivered_until = delivered_until.map_or(window_begins, |it| it.max(window_begins));
        if progress.page.is_none() {
            (progress.newest, progress.oldest_failed) = (None, None);
        }
        progress
    }

    /// Older deliveries are not looked at.
    pub(crate) fn floor(&self) -> Moment {
        self.delivered_until
    }

    /// A delivery was seen in the log.
    pub(crate) fn saw(&mut self, delivered_at: Moment) {
        self.newest = self.newest.max(Some(delivered_at));
    }

    /// A delivery has not arrived and is worth a try.
    pub(crate) fn still_failing(&mut self, delivered_at: Moment) {
        let oldest = self.oldest_failed.map_or(delivered_at, |oldest| oldest.min(delivered_at));
        self.oldest_failed = Some(oldest);
    }

    /// The note for the next look.
    pub(crate) fn written(&self) -> String {
        let mut text = String::new();
        // Writing to a String cannot fail.
        let mut line = |name: &str, value: &dyn std::fmt::Display| {
            let _ = writeln!(text, "{name} {value}");
        };
        if let Some(page) = &self.page {
            line("delivered_until", &self.delivered_until.0);
            self.newest.iter().for_each(|moment| line("newest", &moment.0));
            self.oldest_failed.iter().for_each(|moment| line("oldest_failed", &moment.0));
            line("page", page);
        } else {
            let until = self.oldest_failed.or(self.newest).unwrap_or(self.delivered_until);
            line("delivered_until", &until.max(self.window_begins).0);
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEGIN: Moment = Moment(1_000);

    fn next(progress: &Progress) -> Progress {
        Progress::read(Some(&progress.written()), BEGIN)
    }

    #[test]
    fn the_next_look_begins_where_all_is_delivered() {
        let mut progress = Progress::read(None, BEGIN);
        assert_eq!(progress.floor(), BEGIN);
        assert_eq!(next(&progress).floor(), BEGIN);
        progress.saw(Moment(5_000));
        progress.saw(Moment(3_000));
        assert_eq!(next(&progress).floor(), Moment(5_000));
        progress.still_failing(Moment(4_000));
        progress.still_failing(Moment(4_500));
        let progress = next(&progress);
        assert_eq!(progress.floor(), Moment(4_000));
        assert_eq!(next(&progress).floor(), Moment(4_000), "nothing new changes nothing");
        assert_eq!(Progress::read(Some(&progress.written()), Moment(9_000)).floor(), Moment(9_000));
    }

    #[test]
    fn a_look_that_was_cut_goes_on_at_its_page() {
        let mut progress = Progress::read(None, BEGIN);
        progress.saw(Moment(5_000));
        progress.still_failing(Moment(4_000));
        progress.page = Some("https://x/y?cursor=v1 z".to_owned());
        let mut progress = next(&progress);
        assert_eq!(progress.page.as_deref(), Some("https://x/y?cursor=v1 z"));
        assert_eq!(progress.floor(), BEGIN);
        progress.page = None;
        progress.saw(Moment(2_000));
        assert_eq!(next(&progress).floor(), Moment(4_000), "what failed on the first pages is not forgotten");
    }

    #[test]
    fn nonsense_counts_as_nothing() {
        for note in ["", "delivered_until", "delivered_until x", "{}", "\n\n"] {
            assert_eq!(Progress::read(Some(note), BEGIN), Progress::read(None, BEGIN), "{note:?}");
        }
    }
}
