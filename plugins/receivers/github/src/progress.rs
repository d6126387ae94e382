//! How far the looks at a hook's log have come, as it is noted in the store.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

use anklet_plugin_api::sorted::sort_by_key;
use anklet_plugin_api::time::Moment;

/// Deliveries that are noted as failed at most: a note is a short text. After a restart the log is read again for the others.
const MOST_NOTED: usize = 300;
/// Deliveries that are remembered as failed at most. The log is read again for the others.
const MOST_FAILED: usize = 10_000;
/// A delivery may show in the log a little after younger ones do.
const OVERLAP: Duration = Duration::from_secs(60);

/// What one look leaves to the next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Progress {
    /// What was sent before has been read: it has arrived, is of no use, or is in `failed`.
    read_until: Moment,
    window_begins: Moment,
    /// The newest delivery seen since the log was last read from its beginning.
    newest: Option<Moment>,
    /// Where to go on, if the last look could not come to the end.
    pub(crate) page: Option<String>,
    /// Events that have not arrived, by GUID.
    pub(crate) failed: BTreeMap<String, Failed>,
}

/// An event that has not arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failed {
    /// The last try to deliver it.
    pub(crate) id: u64,
    /// When it was tried first: it leaves the window by that.
    pub(crate) since: Moment,
    /// How often we have asked for it again.
    pub(crate) n_asked: u32,
}

impl Progress {
    /// Reads a note. What cannot be read counts as nothing: then the whole window is looked at.
    pub(crate) fn read(note: Option<&str>, window_begins: Moment) -> Self {
        let mut progress = Self {
            read_until: window_begins,
            window_begins,
            newest: None,
            page: None,
            failed: BTreeMap::new(),
        };
        for line in note.unwrap_or_default().lines() {
            let Some((name, value)) = line.split_once(' ') else { continue };
            let moment = value.parse().ok().map(Moment);
            match name {
                // Older versions noted one moment alone, up to which all had arrived.
                "read_until" | "delivered_until" => {
                    progress.read_until = moment.map_or(window_begins, |it| it.max(window_begins));
                }
                "newest" => progress.newest = moment,
                "page" => progress.page = Some(value.to_owned()),
                "failed" => progress.failed.extend(Failed::read(value)),
                _ => {}
            }
        }
        if progress.page.is_none() {
            progress.newest = None;
        }
        progress.move_window(window_begins);
        progress
    }

    /// What was sent before that moment is not asked for any more.
    pub(crate) fn move_window(&mut self, window_begins: Moment) {
        self.window_begins = window_begins;
        self.read_until = self.read_until.max(window_begins);
        self.failed.retain(|_, failed| failed.since >= window_begins);
    }

    /// Older deliveries are not looked at.
    pub(crate) fn floor(&self) -> Moment {
        self.read_until
    }

    /// A delivery was seen in the log.
    pub(crate) fn saw(&mut self, delivered_at: Moment) {
        self.newest = self.newest.max(Some(delivered_at));
    }

    /// The log was read down to the floor: that is where the newest was now.
    pub(crate) fn came_down(&mut self) {
        let newest = self.newest.take().map_or(self.read_until, |newest| newest.before(OVERLAP));
        self.read_until = self.read_until.max(newest);
        self.page = None;
        let (_, left_out) = self.oldest_failed(MOST_FAILED);
        if let Some(left_out) = left_out {
            self.failed.retain(|_, failed| failed.since < left_out);
            self.read_until = self.read_until.min(left_out);
        }
    }

    /// The oldest of what has not arrived, and when the first was sent that is not among them.
    fn oldest_failed(&self, most: usize) -> (Vec<(&String, &Failed)>, Option<Moment>) {
        let mut failed: Vec<_> = self.failed.iter().collect();
        sort_by_key(&mut failed, |(_, failed)| (failed.since, failed.id));
        let left_out = failed.get(most).map(|(_, failed)| failed.since);
        failed.truncate(most);
        (failed, left_out)
    }

    /// The note for the next look.
    pub(crate) fn written(&self) -> String {
        let (failed, left_out) = self.oldest_failed(MOST_NOTED);
        let read_until = left_out.map_or(self.read_until, |left_out| left_out.min(self.read_until));
        let mut text = String::new();
        // Writing to a String cannot fail.
        let mut line = |name: &str, value: &dyn std::fmt::Display| {
            let _ = writeln!(text, "{name} {value}");
        };
        line("read_until", &read_until.max(self.window_begins).0);
        if let Some(page) = &self.page {
            self.newest.iter().for_each(|moment| line("newest", &moment.0));
            line("page", page);
        }
        for (guid, Failed { id, since, n_asked }) in failed {
            line("failed", &format_args!("{id} {} {n_asked} {guid}", since.0));
        }
        text
    }
}

impl Failed {
    fn read(line: &str) -> Option<(String, Self)> {
        let mut words = line.splitn(4, ' ');
        let id = words.next()?.parse().ok()?;
        let since = Moment(words.next()?.parse().ok()?);
        let n_asked = words.next()?.parse().ok()?;
        Some((words.next()?.to_owned(), Self { id, since, n_asked }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEGIN: Moment = Moment(1_000_000);

    fn next(progress: &Progress) -> Progress {
        Progress::read(Some(&progress.written()), BEGIN)
    }

    fn failed(id: u64, since: Moment) -> Failed {
        Failed { id, since, n_asked: 2 }
    }

    #[test]
    fn the_next_look_begins_where_the_last_began() {
        let mut progress = Progress::read(None, BEGIN);
        assert_eq!((progress.floor(), next(&progress).floor()), (BEGIN, BEGIN));
        progress.saw(Moment(5_000_000));
        progress.saw(Moment(3_000_000));
        progress.failed.insert("a b".to_owned(), failed(7, Moment(4_000_000)));
        progress.came_down();
        let progress = next(&progress);
        assert_eq!(progress.floor(), Moment(4_940_000), "a minute is read twice");
        assert_eq!(
            progress.failed["a b"],
            failed(7, Moment(4_000_000)),
            "what failed need not be read again"
        );
        assert_eq!(next(&progress), progress, "nothing new changes nothing");
        let later = Progress::read(Some(&progress.written()), Moment(9_000_000));
        assert_eq!((later.floor(), later.failed.len()), (Moment(9_000_000), 0), "the window has gone on");
    }

    #[test]
    fn a_look_that_was_cut_goes_on_at_its_page() {
        let mut progress = Progress::read(None, BEGIN);
        progress.saw(Moment(5_000_000));
        progress.failed.insert("a".to_owned(), failed(7, Moment(4_000_000)));
        progress.page = Some("https://x/y?cursor=v1 z".to_owned());
        let mut progress = next(&progress);
        assert_eq!(progress.page.as_deref(), Some("https://x/y?cursor=v1 z"));
        assert_eq!(progress.floor(), BEGIN);
        progress.saw(Moment(2_000_000));
        progress.came_down();
        let progress = next(&progress);
        assert_eq!((progress.floor(), progress.page.as_deref()), (Moment(4_940_000), None));
        assert_eq!(progress.failed.len(), 1, "what failed on the first pages is not forgotten");
    }

    #[test]
    fn what_a_note_cannot_hold_is_read_again() {
        let mut progress = Progress::read(None, BEGIN);
        progress.saw(Moment(9_000_000));
        for n in 0..400 {
            let since = Moment(2_000_000 + i64::try_from(n).unwrap() * 1_000);
            progress.failed.insert(format!("g{n}"), failed(n, since));
        }
        progress.came_down();
        assert_eq!(
            (progress.failed.len(), progress.floor()),
            (400, Moment(8_940_000)),
            "this process knows all"
        );
        let progress = next(&progress);
        assert_eq!((progress.failed.len(), progress.floor()), (300, Moment(2_300_000)));
        assert!(progress.failed.contains_key("g299") && progress.written().len() < 30_000);
    }

    #[test]
    fn what_is_too_much_for_the_memory_is_read_again() {
        let mut progress = Progress::read(None, BEGIN);
        progress.saw(Moment(900_000_000));
        for n in 0..12_000 {
            progress
                .failed
                .insert(format!("g{n}"), failed(n, Moment(2_000_000 + i64::try_from(n).unwrap() * 1_000)));
        }
        progress.came_down();
        assert_eq!((progress.failed.len(), progress.floor()), (10_000, Moment(12_000_000)));
    }

    #[test]
    fn nonsense_counts_as_nothing() {
        for note in ["", "read_until", "read_until x", "{}", "\n\n", "failed 1 2", "failed x 2 3 g"] {
            assert_eq!(Progress::read(Some(note), BEGIN), Progress::read(None, BEGIN), "{note:?}");
        }
        assert_eq!(Progress::read(Some("delivered_until 2000000"), BEGIN).floor(), Moment(2_000_000));
    }
}
