//! What a test wants to go wrong with requests. It stands alone so that the server asks one question before it
//! acts: "is there a rule for this?"

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::json;

use crate::clock::{At, http_date};
use crate::http::Answer;
use crate::model::RequestRecord;

/// Names a rule, to release or remove it.
pub type RuleId = u64;

/// A test's own decision: an answer, or `None` to go on as usual.
type Decide = Arc<Mutex<dyn FnMut(&RequestRecord) -> Option<Answer> + Send>>;

/// The forms in which GitHub says that a limit is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LimitForm {
    /// 403 or 429, nothing remaining, reset in so many seconds.
    Primary {
        /// 403 or 429.
        status: u16,
        /// Seconds to `x-ratelimit-reset`.
        reset_in: i64,
    },
    /// 403 or 429 with `retry-after` in seconds, and some budget remaining.
    SecondaryAfter {
        /// 403 or 429.
        status: u16,
        /// The value of `retry-after`.
        seconds: i64,
    },
    /// 403 with `retry-after` as an HTTP date so many seconds ahead.
    SecondaryDate {
        /// Seconds from now.
        seconds: i64,
    },
    /// 403 with nothing remaining, reset in so many seconds, and no `retry-after`.
    SecondaryReset {
        /// Seconds to `x-ratelimit-reset`.
        reset_in: i64,
    },
    /// 403 that is known only by its message: no `retry-after`, budget remaining.
    SecondaryBare,
}

impl LimitForm {
    fn answer(self, now: At) -> Answer {
        let seconds = now.unix_seconds();
        let (status, remaining, reset_in, retry_after) = match self {
            LimitForm::Primary { status, reset_in } => (status, 0, reset_in, None),
            LimitForm::SecondaryAfter { status, seconds: after } => {
                (status, 4821, 3000, Some(after.to_string()))
            }
            LimitForm::SecondaryDate { seconds: after } => {
                (403, 4821, 3000, Some(http_date(seconds + after)))
            }
            LimitForm::SecondaryReset { reset_in } => (403, 0, reset_in, None),
            LimitForm::SecondaryBare => (403, 4821, 3000, None),
        };
        let body = if let LimitForm::Primary { .. } = self {
            json!({
                "message": "API rate limit exceeded for user ID 900001.",
                "documentation_url": "https://docs.github.com/rest/using-the-rest-api/rate-limits-for-the-rest-api",
                "status": status.to_string(),
            })
        } else {
            json!({
                "message": "You have exceeded a secondary rate limit. Please wait a few minutes before you try again.",
                "documentation_url": "https://docs.github.com/rest/overview/rate-limits-for-the-rest-api#about-secondary-rate-limits",
                "status": status.to_string(),
            })
        };
        let answer = Answer::json(status, &body)
            .with_header("X-RateLimit-Limit", 5000)
            .with_header("X-RateLimit-Remaining", remaining)
            .with_header("X-RateLimit-Used", 5000 - remaining)
            .with_header("X-RateLimit-Reset", seconds + reset_in)
            .with_header("X-RateLimit-Resource", "core");
        match retry_after {
            Some(after) => answer.with_header("Retry-After", after),
            None => answer,
        }
    }
}

/// What happens to a request that a rule picked.
#[derive(Clone)]
pub(crate) enum Action {
    /// Answer with this, do nothing.
    Answer(Answer),
    Limit(LimitForm),
    /// Wait, then go on as usual.
    Delay(Duration),
    /// Act, wait, then answer.
    DelayAnswer(Duration),
    /// Wait for the release, or so long, then go on as usual.
    Hang(Option<Duration>),
    /// Act, wait for the release, then answer.
    HangAnswer,
    Close,
    /// Act, then close without an answer.
    Lose,
    /// Act, then close in the middle of the answer.
    Truncate,
    KillBefore(u32),
    KillAfter(u32),
    CallBefore(Decide),
    CallAfter(Decide),
}

impl Action {
    /// The answer that this action gives instead of acting.
    pub(crate) fn instead(&self, record: &RequestRecord, now: At) -> Option<Answer> {
        match self {
            Action::Answer(answer) => Some(answer.clone()),
            Action::Limit(form) => Some(form.answer(now)),
            Action::CallBefore(decide) => decided(decide, record),
            _ => None,
        }
    }

    /// The answer that this action puts in the place of the real one, once it is done.
    pub(crate) fn afterwards(&self, record: &RequestRecord) -> Option<Answer> {
        match self {
            Action::CallAfter(decide) => decided(decide, record),
            _ => None,
        }
    }
}

fn decided(decide: &Decide, record: &RequestRecord) -> Option<Answer> {
    (decide.lock().unwrap_or_else(PoisonError::into_inner))(record)
}

/// Picks requests and says what happens to them: the first that matches, once, unless told otherwise.
///
/// `Rule::on("DELETE", "/repos/*/*/actions/runners/*").nth(2).lose_answer()`
#[derive(Clone)]
pub struct Rule {
    method: String,
    pattern: String,
    body_part: String,
    credential: Option<String>,
    n_skipped: usize,
    times: usize,
    action: Action,
}

impl Rule {
    /// Matches method (`*` for any) and path without `/api/v3` and query, where `*` is one segment and a last
    /// `**` all that follow. `@` at the start is any of the three scopes.
    pub fn on(method: &str, pattern: &str) -> Rule {
        Rule {
            method: method.to_owned(),
            pattern: pattern.to_owned(),
            body_part: String::new(),
            credential: None,
            n_skipped: 0,
            times: 1,
            action: Action::Close,
        }
    }

    /// Lets the first `n - 1` matches pass.
    #[must_use]
    pub fn nth(mut self, n: usize) -> Rule {
        self.n_skipped = n.saturating_sub(1);
        self
    }

    /// Picks so many matches.
    #[must_use]
    pub fn times(mut self, times: usize) -> Rule {
        self.times = times;
        self
    }

    /// Picks every match.
    #[must_use]
    pub fn always(self) -> Rule {
        self.times(usize::MAX)
    }

    /// Only requests whose body has this text.
    #[must_use]
    pub fn with_body(mut self, part: &str) -> Rule {
        part.clone_into(&mut self.body_part);
        self
    }

    /// Only requests with this token.
    #[must_use]
    pub fn with_credential(mut self, token: &str) -> Rule {
        self.credential = Some(token.to_owned());
        self
    }

    /// Answers with this and does nothing.
    #[must_use]
    pub fn answer(self, answer: Answer) -> Rule {
        self.acting(Action::Answer(answer))
    }

    /// Answers with GitHub's error body and does nothing.
    #[must_use]
    pub fn status(self, status: u16, message: &str) -> Rule {
        self.answer(crate::rest::error(status, message))
    }

    /// Answers 200 with these bytes as JSON and does nothing.
    #[must_use]
    pub fn nonsense(self, body: &[u8]) -> Rule {
        let answer = Answer { body: body.to_vec(), ..Answer::json(200, &json!({})) };
        self.answer(answer)
    }

    /// Says that a limit is reached.
    #[must_use]
    pub fn limit(self, form: LimitForm) -> Rule {
        self.acting(Action::Limit(form))
    }

    /// Acts and answers so much later.
    #[must_use]
    pub fn delay(self, delay: Duration) -> Rule {
        self.acting(Action::Delay(delay))
    }

    /// Acts at once, answers so much later.
    #[must_use]
    pub fn delay_answer(self, delay: Duration) -> Rule {
        self.acting(Action::DelayAnswer(delay))
    }

    /// Does nothing until the rule is released.
    #[must_use]
    pub fn hang(self) -> Rule {
        self.acting(Action::Hang(None))
    }

    /// Does nothing until the rule is released or the time is over.
    #[must_use]
    pub fn hang_for(self, limit: Duration) -> Rule {
        self.acting(Action::Hang(Some(limit)))
    }

    /// Acts at once, answers when the rule is released.
    #[must_use]
    pub fn hang_answer(self) -> Rule {
        self.acting(Action::HangAnswer)
    }

    /// Closes the connection and does nothing.
    #[must_use]
    pub fn close(self) -> Rule {
        self.acting(Action::Close)
    }

    /// Acts, then closes the connection without an answer.
    #[must_use]
    pub fn lose_answer(self) -> Rule {
        self.acting(Action::Lose)
    }

    /// Acts, then closes the connection in the middle of the answer.
    #[must_use]
    pub fn truncate_answer(self) -> Rule {
        self.acting(Action::Truncate)
    }

    /// SIGKILLs the process and does nothing.
    #[must_use]
    pub fn kill_before(self, pid: u32) -> Rule {
        self.acting(Action::KillBefore(pid))
    }

    /// Acts, then SIGKILLs the process without answering.
    #[must_use]
    pub fn kill_after(self, pid: u32) -> Rule {
        self.acting(Action::KillAfter(pid))
    }

    /// Asks the test before acting; an answer replaces the act. The state is not locked meanwhile.
    #[must_use]
    pub fn call(self, decide: impl FnMut(&RequestRecord) -> Option<Answer> + Send + 'static) -> Rule {
        self.acting(Action::CallBefore(Arc::new(Mutex::new(decide))))
    }

    /// Asks the test after acting; an answer replaces the real one.
    #[must_use]
    pub fn call_after(self, decide: impl FnMut(&RequestRecord) -> Option<Answer> + Send + 'static) -> Rule {
        self.acting(Action::CallAfter(Arc::new(Mutex::new(decide))))
    }

    fn acting(mut self, action: Action) -> Rule {
        self.action = action;
        self
    }

    fn matches(&self, record: &RequestRecord) -> bool {
        (self.method == "*" || self.method == record.method)
            && path_matches(&self.pattern, record.path_only())
            && record.body.contains(&self.body_part)
            && (self.credential.is_none() || self.credential == record.credential)
    }
}

/// A rule in force.
pub(crate) struct ActiveRule {
    pub(crate) id: RuleId,
    pub(crate) rule: Rule,
    pub(crate) n_hits: usize,
}

/// Picks the action for a request: of the first rule that matches and has not run out.
pub(crate) fn pick(rules: &mut [ActiveRule], record: &RequestRecord) -> Option<(RuleId, Action)> {
    for active in rules {
        if active.rule.times == 0 || !active.rule.matches(record) {
            continue;
        }
        if active.rule.n_skipped > 0 {
            active.rule.n_skipped -= 1;
            continue;
        }
        if active.rule.times != usize::MAX {
            active.rule.times -= 1;
        }
        active.n_hits += 1;
        return Some((active.id, active.rule.action.clone()));
    }
    None
}

/// Whether `path` fits a pattern of [`Rule::on`].
pub(crate) fn path_matches(pattern: &str, path: &str) -> bool {
    if let Some(rest) = pattern.strip_prefix('@') {
        let prefixes = ["/repos/*/*", "/orgs/*", "/enterprises/*"];
        return prefixes.iter().any(|prefix| path_matches(&format!("{prefix}{rest}"), path));
    }
    let mut wanted = pattern.split('/');
    let mut given = path.split('/');
    loop {
        match (wanted.next(), given.next()) {
            (None, None) => return true,
            (Some("**"), _) => return true,
            (Some("*"), Some(segment)) if !segment.is_empty() => {}
            (Some(word), Some(segment)) if word.eq_ignore_ascii_case(segment) => {}
            _ => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns() {
        for (pattern, path, fits) in [
            ("/repos/*/*/actions/runners", "/repos/acme/app/actions/runners", true),
            ("/repos/*/*/actions/runners", "/repos/acme/app/actions/runners/7", false),
            ("/repos/*/*/actions/**", "/repos/acme/app/actions/runners/7", true),
            ("@/actions/runners/*", "/orgs/acme/actions/runners/7", true),
            ("@/actions/runners/*", "/enterprises/acme/actions/runners/7", true),
            ("@/actions/runners/*", "/user/acme/actions/runners/7", false),
            ("/rate_limit", "/rate_limit", true),
        ] {
            assert_eq!(path_matches(pattern, path), fits, "{pattern} {path}");
        }
    }
}
