//! What the commands write on: lines, tables and wrapped text within 80 columns, in colour only where that is wanted.

use std::io::{self, Write};

/// As wide as a terminal is at least.
pub(super) const WIDTH: usize = 80;

/// Where a command writes.
pub(super) struct Paper<'a> {
    out: Box<dyn Write + 'a>,
    has_colours: bool,
}

/// A column of a table.
#[derive(Clone, Copy, Debug)]
pub(super) struct Column {
    pub(super) title: &'static str,
    /// Down to how many characters it gives up width when the table is too wide; the widest of those that can give first.
    pub(super) least: Option<usize>,
    pub(super) right: bool,
}

impl Column {
    pub(super) const fn left(title: &'static str) -> Self {
        Self { title, least: None, right: false }
    }

    pub(super) const fn right(title: &'static str) -> Self {
        Self { title, least: None, right: true }
    }

    /// Text that may be cut.
    pub(super) const fn cut(title: &'static str) -> Self {
        Self::cut_to(6, title)
    }

    /// Text of which so much should be seen.
    pub(super) const fn cut_to(least: usize, title: &'static str) -> Self {
        Self { title, least: Some(least), right: false }
    }
}

impl<'a> Paper<'a> {
    pub(super) fn new(out: Box<dyn Write + 'a>, has_colours: bool) -> Self {
        Self { out, has_colours }
    }

    pub(super) fn text(&mut self, text: &str) -> io::Result<()> {
        self.out.write_all(text.as_bytes())?;
        self.out.flush()
    }

    pub(super) fn line(&mut self, line: &str) -> io::Result<()> {
        writeln!(self.out, "{}", plain(line))
    }

    /// Text that stands out, wrapped like any other.
    pub(super) fn heading(&mut self, text: &str) -> io::Result<()> {
        wrap(&plain(text), WIDTH).iter().try_for_each(|line| self.outstanding(line))
    }

    fn outstanding(&mut self, line: &str) -> io::Result<()> {
        if self.has_colours {
            writeln!(self.out, "\x1b[1m{line}\x1b[0m")
        } else {
            writeln!(self.out, "{line}")
        }
    }

    /// Text in lines of at most 80 characters, each after this indent.
    pub(super) fn wrapped(&mut self, indent: &str, text: &str) -> io::Result<()> {
        for line in wrap(&plain(text), WIDTH - indent.chars().count()) {
            writeln!(self.out, "{indent}{line}")?;
        }
        Ok(())
    }

    /// A table of at most 80 columns; nothing without rows.
    pub(super) fn table(&mut self, columns: &[Column], rows: &[Vec<String>]) -> io::Result<()> {
        if rows.is_empty() {
            return Ok(());
        }
        let rows: Vec<Vec<String>> =
            rows.iter().map(|row| row.iter().map(|cell| plain(cell)).collect()).collect();
        let widths = widths(columns, &rows);
        let titles = columns.iter().map(|column| column.title.to_owned()).collect::<Vec<_>>();
        let heading = laid_out(columns, &widths, &titles);
        self.outstanding(&heading)?;
        for row in &rows {
            self.line(&laid_out(columns, &widths, row))?;
        }
        Ok(())
    }

    pub(super) fn json(&mut self, value: &impl serde::Serialize) -> io::Result<()> {
        serde_json::to_writer_pretty(&mut self.out, value)?;
        writeln!(self.out)
    }
}

/// Strangers name jobs and workflows: nothing of theirs may steer a terminal.
fn plain(text: &str) -> String {
    text.chars().map(|character| if character.is_control() { ' ' } else { character }).collect()
}

fn widths(columns: &[Column], rows: &[Vec<String>]) -> Vec<usize> {
    let mut widths: Vec<usize> = columns.iter().map(|column| column.title.chars().count()).collect();
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let can_give = |at: usize, width: usize| {
        columns[at].least.is_some_and(|least| width > least.max(columns[at].title.chars().count()))
    };
    loop {
        let total = widths.iter().sum::<usize>() + 2 * columns.len().saturating_sub(1);
        let gives = (0..columns.len()).filter(|at| can_give(*at, widths[*at]));
        let Some(widest) = gives.max_by_key(|at| widths[*at]).filter(|_| total > WIDTH) else {
            return widths;
        };
        widths[widest] -= 1;
    }
}

fn laid_out(columns: &[Column], widths: &[usize], cells: &[String]) -> String {
    let mut line = String::new();
    for ((column, width), cell) in columns.iter().zip(widths).zip(cells) {
        if !line.is_empty() {
            line += "  ";
        }
        let cell = cut(cell, *width);
        let blanks = " ".repeat(width - cell.chars().count());
        line += &if column.right { blanks + &cell } else { cell + &blanks };
    }
    line.trim_end().to_owned()
}

/// At most so many characters; what is left out is marked.
pub(super) fn cut(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    text.chars().take(width.saturating_sub(1)).chain(['…']).collect()
}

fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let mut word = word;
        loop {
            let line = lines.last_mut().expect("there is always a line");
            let left = width.saturating_sub(line.chars().count() + usize::from(!line.is_empty()));
            if word.chars().count() <= left {
                if !line.is_empty() {
                    line.push(' ');
                }
                line.push_str(word);
                break;
            }
            if line.is_empty() {
                // A word that is wider than the page.
                let end = word.char_indices().nth(width).map_or(word.len(), |(end, _)| end);
                line.push_str(&word[..end]);
                word = &word[end..];
            }
            lines.push(String::new());
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(write: impl FnOnce(&mut Paper<'_>) -> io::Result<()>) -> String {
        let mut out = Vec::new();
        write(&mut Paper::new(Box::new(&mut out), false)).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_table_that_is_too_wide_gives_where_it_may() {
        let columns = [Column::left("JOB"), Column::cut("NAME"), Column::right("AGE")];
        let row = |name: &str| vec!["123".to_owned(), name.to_owned(), "4 s".to_owned()];
        let text = written(|paper| paper.table(&columns, &[row("short"), row(&"ä".repeat(200))]));
        assert!(text.lines().all(|line| line.chars().count() <= WIDTH), "{text}");
        assert!(text.contains('…') && text.lines().nth(1).unwrap().ends_with("4 s"), "{text}");
        assert_eq!(written(|paper| paper.table(&columns, &[])), "");
    }

    #[test]
    fn text_is_wrapped_whatever_its_words() {
        let text =
            written(|paper| paper.wrapped("  ", &format!("one two {} three\n\x1b[31mred", "x".repeat(200))));
        assert!(text.lines().all(|line| line.chars().count() <= WIDTH && line.starts_with("  ")), "{text}");
        assert!(text.contains("three") && !text.contains('\x1b'), "{text}");
        let words = |text: &str| text.split_whitespace().collect::<String>();
        assert!(words(&text).contains(&"x".repeat(200)), "{text}");
    }
}
