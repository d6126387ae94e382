//! Lists that GitHub answers in pages: each page names the next one in its `Link` header, at an address of GitHub's choice.

use std::ops::ControlFlow;

use anklet_plugin_api::ear::Ear;

use crate::answer::Answer;
use crate::client::{Call, Client, Target};
use crate::error::ClientError;

/// GitHub's longest lists (10,000 runners) have a hundred pages of a hundred.
const MOST_PAGES: usize = 100;

impl Client {
    /// Hands each page to `visit` until that has seen enough or there are no more. A page that fails is asked for again by itself.
    pub(crate) fn pages<B>(
        &self,
        mut call: Call,
        ear: &Ear,
        mut visit: impl FnMut(&Answer) -> Result<ControlFlow<B>, ClientError>,
    ) -> Result<Option<B>, ClientError> {
        for _ in 0..MOST_PAGES {
            let answer = self.call(&call, ear)?;
            if let ControlFlow::Break(found) = visit(&answer)? {
                return Ok(Some(found));
            }
            let Some(next) = answer.header("link").and_then(next_link) else { return Ok(None) };
            let url = self.base().follow(next);
            let url =
                url.map_err(|what| answer.nonsense(format!("its next page cannot be asked for: {what}")))?;
            call.target = Target::Url(url);
        }
        Err(ClientError::Nonsense { call: call.name, what: format!("over {MOST_PAGES} pages") })
    }
}

/// The address of the next page in `<…>; rel="next", <…>; rel="last"`.
pub(crate) fn next_link(header: &str) -> Option<&str> {
    let mut rest = header;
    loop {
        let (_, from) = rest.split_once('<')?;
        let (url, after) = from.split_once('>')?;
        let parameters = after.split_once('<').map_or(after, |(parameters, _)| parameters);
        if parameters.split([';', ',']).any(|parameter| {
            let parameter = parameter.trim();
            parameter == "rel=\"next\"" || parameter == "rel=next"
        }) {
            return Some(url);
        }
        rest = after;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(header: &str, expected: Option<&str>) {
        assert_eq!(next_link(header), expected, "{header}");
    }

    #[test]
    fn the_next_page_is_found() {
        check(
            r#"<https://x/a?page=2>; rel="next", <https://x/a?page=9>; rel="last""#,
            Some("https://x/a?page=2"),
        );
        check(
            r#"<https://x/a?p=1>; rel="prev", <https://x/a?q=1,2&p=3>; rel="next""#,
            Some("https://x/a?q=1,2&p=3"),
        );
        check(r#"<https://x/a>; rel="first", <https://x/b>; rel="last""#, None);
        for nonsense in ["", "rel=\"next\"", "<https://x", ">; rel=\"next\"<"] {
            check(nonsense, None);
        }
    }
}
