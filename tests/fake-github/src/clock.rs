//! The time GitHub shows: the real one, or one shifted by a test. It stands alone so that skewed clocks and
//! expired tokens need no waiting.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// A moment: `instant` to measure with, `unix_ms` as GitHub would print it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct At {
    /// Real, monotonic.
    pub instant: Instant,
    /// Milliseconds since 1970 on GitHub's clock, which a test may have moved.
    pub unix_ms: i64,
}

impl At {
    /// Whole seconds since 1970 on GitHub's clock.
    pub fn unix_seconds(self) -> i64 {
        self.unix_ms.div_euclid(1000)
    }

    /// `2026-01-31T10:20:30Z`, as GitHub prints the times of a job.
    pub fn rfc3339(self) -> String {
        let (date, time, _) = parts(self.unix_ms);
        format!("{date}T{time}Z")
    }

    /// With milliseconds, as GitHub prints the times of a step.
    pub(crate) fn rfc3339_ms(self) -> String {
        let (date, time, ms) = parts(self.unix_ms);
        format!("{date}T{time}.{ms:03}Z")
    }

    pub(crate) fn plus(self, time: Duration) -> At {
        At { instant: self.instant + time, unix_ms: self.unix_ms + time.as_millis() as i64 }
    }
}

/// GitHub's clock.
#[derive(Debug, Default)]
pub(crate) struct Clock {
    pub(crate) offset_ms: i64,
}

impl Clock {
    pub(crate) fn now(&self) -> At {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        At { instant: Instant::now(), unix_ms: since.as_millis() as i64 + self.offset_ms }
    }
}

/// The form of `Date` and of a dated `Retry-After`.
pub(crate) fn http_date(unix_seconds: i64) -> String {
    const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let n_days = unix_seconds.div_euclid(86_400);
    let (year, month, day) = civil(n_days);
    let (_, time, _) = parts(unix_seconds * 1000);
    let name = DAYS[n_days.rem_euclid(7) as usize];
    format!("{name}, {day:02} {} {year} {time} GMT", MONTHS[month as usize - 1])
}

fn parts(unix_ms: i64) -> (String, String, i64) {
    let seconds = unix_ms.div_euclid(1000);
    let (year, month, day) = civil(seconds.div_euclid(86_400));
    let second = seconds.rem_euclid(86_400);
    (
        format!("{year:04}-{month:02}-{day:02}"),
        format!("{:02}:{:02}:{:02}", second / 3600, second / 60 % 60, second % 60),
        unix_ms.rem_euclid(1000),
    )
}

/// Days since 1970 to a date, counted in eras of 400 years that begin on the first of March.
fn civil(n_days: i64) -> (i64, i64, i64) {
    let shifted = n_days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates() {
        for (unix_ms, iso, http) in [
            (0, "1970-01-01T00:00:00.000Z", "Thu, 01 Jan 1970 00:00:00 GMT"),
            (951_782_399_999, "2000-02-28T23:59:59.999Z", "Mon, 28 Feb 2000 23:59:59 GMT"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z", "Tue, 29 Feb 2000 00:00:00 GMT"),
            (1_767_225_599_000, "2025-12-31T23:59:59.000Z", "Wed, 31 Dec 2025 23:59:59 GMT"),
        ] {
            let at = At { instant: Instant::now(), unix_ms };
            assert_eq!(at.rfc3339_ms(), iso);
            assert_eq!(http_date(at.unix_seconds()), http);
        }
    }
}
