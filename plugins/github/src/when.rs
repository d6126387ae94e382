//! HTTP's own way to write a time, as GitHub uses it in `Date` and, at times, in `Retry-After`.

use anklet_plugin_api::time::Moment;

const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// Reads `Tue, 29 Sep 2020 12:35:35 GMT`.
pub(crate) fn parse_http_date(text: &str) -> Option<Moment> {
    let (_weekday, rest) = text.trim().split_once(", ")?;
    let mut words = rest.split(' ');
    let (day, month, year, time, zone) =
        (words.next()?, words.next()?, words.next()?, words.next()?, words.next()?);
    if zone != "GMT" || words.next().is_some() {
        return None;
    }
    let month = MONTHS.iter().position(|name| *name == month)? + 1;
    Moment::parse_rfc3339(&format!("{year}-{month:02}-{day}T{time}Z"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Option<i64>) {
        assert_eq!(parse_http_date(text).map(|moment| moment.0), expected, "{text}");
    }

    #[test]
    fn dates_of_answers_are_read() {
        check("Thu, 01 Jan 1970 00:00:10 GMT", Some(10_000));
        check("Tue, 29 Sep 2020 12:35:35 GMT", Some(1_601_382_935_000));
        for nonsense in
            ["", "120", "Tue, 29 Sep 2020 12:35:35 CET", "Tue, 29 Foo 2020 12:35:35 GMT", "Tue, 29 Sep"]
        {
            check(nonsense, None);
        }
    }
}
