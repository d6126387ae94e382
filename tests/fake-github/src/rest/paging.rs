//! Pages and their `Link` header, by number or by cursor. It stands alone because clients must follow links as
//! given: for repositories and organizations they point to another path than the one asked.

use crate::encode::percent_encode;
use crate::http::Answer;
use crate::rest::Call;
use crate::scope::Scope;

impl Call<'_> {
    fn per_page(&self) -> usize {
        self.param("per_page").and_then(|text| text.parse().ok()).unwrap_or(30).clamp(1, 100)
    }

    /// The wanted page of `all`, and what belongs into `Link`.
    pub(super) fn page<T>(&self, all: Vec<T>) -> (Vec<T>, Option<String>) {
        let per_page = self.per_page();
        let page = self.param("page").and_then(|text| text.parse().ok()).unwrap_or(1).max(1);
        let n_pages = all.len().div_ceil(per_page).max(1);
        let mut links = Vec::new();
        if page > 1 {
            links.push(self.link("prev", "page", &(page - 1).to_string()));
        }
        if page < n_pages {
            links.push(self.link("next", "page", &(page + 1).to_string()));
            links.push(self.link("last", "page", &n_pages.to_string()));
        }
        if page > 1 {
            links.push(self.link("first", "page", "1"));
        }
        let items = all.into_iter().skip((page - 1) * per_page).take(per_page).collect();
        (items, (!links.is_empty()).then(|| links.join(", ")))
    }

    /// The items after the cursor. The cursor of an item is its id; `Link` has one if more follow.
    pub(super) fn page_by_cursor<T>(&self, all: Vec<T>, id: impl Fn(&T) -> u64) -> (Vec<T>, Option<String>) {
        let per_page = self.per_page();
        let cursor = self.param("cursor").and_then(|text| text.strip_prefix("v1_")?.parse::<u64>().ok());
        let mut rest: Vec<T> = match cursor {
            Some(cursor) => all.into_iter().skip_while(|item| id(item) >= cursor).collect(),
            None => all,
        };
        let has_more = rest.len() > per_page;
        rest.truncate(per_page);
        let last = rest.last().filter(|_| has_more).map(id);
        let link = last.map(|last| self.link("next", "cursor", &format!("v1_{last}")));
        (rest, link)
    }

    fn link(&self, rel: &str, key: &str, value: &str) -> String {
        let kept = self.query.iter().filter(|(known, _)| known != key);
        let mut query: Vec<String> =
            kept.map(|(key, value)| format!("{}={}", percent_encode(key), percent_encode(value))).collect();
        query.push(format!("{key}={}", percent_encode(value)));
        format!("<{}{}?{}>; rel=\"{rel}\"", self.base, self.path_by_id(), query.join("&"))
    }

    fn path_by_id(&self) -> String {
        let by_id = match &self.scope {
            Some(scope @ Scope::Repository { .. }) => {
                self.state.repo(scope).map(|repo| (scope, format!("/repositories/{}", repo.id)))
            }
            Some(scope @ Scope::Organization { org }) => {
                self.state.owners.get(org).map(|owner| (scope, format!("/organizations/{}", owner.id)))
            }
            _ => None,
        };
        match by_id {
            Some((scope, by_id)) => {
                let rest = self.path.get(scope.rest_path().len()..).unwrap_or_default();
                format!("{by_id}{rest}")
            }
            None => self.path.clone(),
        }
    }
}

/// Adds the link, if there is one.
pub(super) fn linked(answer: Answer, link: Option<String>) -> Answer {
    match link {
        Some(link) => answer.with_header("Link", link),
        None => answer,
    }
}
