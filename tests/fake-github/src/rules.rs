//! What a test wants to go wrong with requests. It stands alone so that the server asks one question before it
//! acts: "is there a rule for this?"

use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::json;

use crate::http::Answer;
use crate::model::RequestRecord;

mod action;
mod limit;

pub(crate) use action::Action;
pub use limit::LimitForm;

/// Names a rule, to release or remove it.
pub type RuleId = u64;

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
