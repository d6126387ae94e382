//! `Client`: calls of GitHub's API with their retries. What the calls are is said beside it, in `runners` and `jobs`.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anklet_plugin_api::ear::{Ear, Heard};
use anklet_plugin_api::limits::Limits;
use anklet_plugin_api::scope::Scope;
use anklet_plugin_api::section::{GithubAccess, Secret};
use anklet_plugin_api::stop::Never;
use crossbeam_channel::never;
use log::debug;

use crate::address::{Base, Repository};
use crate::agent::AgentMaker;
use crate::answer::Answer;
use crate::budget::Standing;
use crate::credentials::{Credentials, Subject};
use crate::error::{CallName, ClientError, RateLimit};
use crate::exchange::{Exchanger, Outgoing};
use crate::ledger::Ledger;
use crate::memory::{Known, Memory};
use crate::observer::CallObserver;
use crate::retry::Retry;

/// GitHub, reached with one set of credentials. Any number of threads may share it.
///
/// A call blocks for `limits.github_retry_total` at most, its retries included (an App's token, when it is due, is a call of its own), and
/// ends at once when its [`Ear`] is cut. Everything that can be called here may be called again after a lost answer. While GitHub's rate
/// limit is reached, or nearly so, for a credential, no client of this process makes a call with it: calls wait for the end, beyond those limits, and then
/// go on; see [`Client::never_waiting`] for the other way.
pub struct Client {
    exchanger: Exchanger,
    pub(crate) credentials: Credentials,
    limits: Limits,
    observer: Option<Arc<dyn CallObserver>>,
    /// The numbers of runner groups, by the scope's path and the group's name.
    pub(crate) groups: Mutex<BTreeMap<(String, String), u64>>,
    memory: Memory,
    waits_for_limits: bool,
}

/// A call that is about to be made.
pub(crate) struct Call<'a> {
    pub(crate) name: CallName,
    /// The path below the API's address, or a whole URL from an answer.
    pub(crate) target: Target,
    pub(crate) subject: Subject<'a>,
    pub(crate) body: Option<Vec<u8>>,
    /// Statuses outside of 200 to 299 that the caller knows how to take.
    pub(crate) expected: &'static [u16],
    /// It is asked again and again, so that its answer is worth remembering.
    pub(crate) is_polled: bool,
    /// Its caller goes on without the answer, so that nobody is to wait long for it.
    pub(crate) is_dispensable: bool,
}

impl<'a> Call<'a> {
    /// A call of a path below the API's address, with its query and without a body.
    pub(crate) fn new(name: CallName, path: String, subject: Subject<'a>) -> Self {
        Self {
            name,
            target: Target::Path(path),
            subject,
            body: None,
            expected: &[],
            is_polled: false,
            is_dispensable: false,
        }
    }

    /// The same call, whose caller knows how to take these statuses too.
    pub(crate) fn expecting(self, expected: &'static [u16]) -> Self {
        Self { expected, ..self }
    }

    /// The same call, with a body.
    pub(crate) fn with_body(self, body: &serde_json::Value) -> Self {
        Self { body: Some(body.to_string().into_bytes()), ..self }
    }

    /// The same call, as one that is asked again and again.
    pub(crate) fn polled(self) -> Self {
        Self { is_polled: true, ..self }
    }

    /// The same call, as one without whose answer its caller goes on.
    pub(crate) fn dispensable(self) -> Self {
        Self { is_dispensable: true, ..self }
    }
}

/// Where a call goes.
pub(crate) enum Target {
    /// A path, with its query.
    Path(String),
    /// A whole URL from an answer, already found to be of the same server.
    Url(String),
}

impl Client {
    /// Connects to nothing yet. [`ClientError::Setup`] names what in the config is wrong: the address, `ca_file` or the App's key.
    pub fn new(access: &GithubAccess, limits: &Limits) -> Result<Self, ClientError> {
        let setup = |what| ClientError::Setup { what };
        let base = Base::parse(&access.api_url)
            .map_err(|what| setup(format!("github_api_url {:?} cannot be used: {what}", access.api_url)))?;
        let maker = AgentMaker::new(&base, access.ca_file.as_deref(), limits.github_call).map_err(setup)?;
        Ok(Self {
            exchanger: Exchanger::new(base, maker, limits.github_call),
            credentials: Credentials::new(access).map_err(setup)?,
            limits: limits.clone(),
            observer: None,
            groups: Mutex::default(),
            memory: Memory::default(),
            waits_for_limits: true,
        })
    }

    /// The same client, with somebody who is told of every exchange.
    #[must_use]
    pub fn observed_by(mut self, observer: Arc<dyn CallObserver>) -> Self {
        self.observer = Some(observer);
        self
    }

    /// The same client, whose calls are [`ClientError::Limited`] at once while a rate limit lasts: for whoever has other work to do meanwhile.
    #[must_use]
    pub fn never_waiting(mut self) -> Self {
        self.waits_for_limits = false;
        self
    }

    /// What GitHub said last of the calls that are left for the jobs of a repository.
    pub fn standing(&self, repository: Repository<'_>) -> Option<Standing> {
        self.credentials.ledger(Subject::Repository(repository)).standing("core")
    }

    /// How many calls an hour GitHub allows about the runners of `scope`, as far as it has said it.
    pub fn hourly_limit(&self, scope: &Scope) -> Option<u64> {
        self.credentials.ledger(Subject::Runners(scope)).standing("core").map(|standing| standing.limit)
    }

    /// Until when no call about the runners of `scope` is made, because of a rate limit. Asking says the lines that are due about it.
    pub fn paused_until(&self, scope: &Scope) -> Option<Instant> {
        let ledger = self.credentials.ledger(Subject::Runners(scope));
        ledger.look(self.limits.limit_report).map(|pause| pause.until)
    }

    /// Names the credential for the jobs of a repository to people, without showing it.
    pub fn credential_name(&self, repository: Repository<'_>) -> String {
        self.credentials.shown_for(repository)
    }

    /// Tells clients apart that have different credentials or ask different servers, and shows nothing of them.
    pub fn fingerprint(&self) -> &str {
        &self.credentials.fingerprint
    }

    pub(crate) fn limits(&self) -> &Limits {
        &self.limits
    }

    pub(crate) fn base(&self) -> &Base {
        &self.exchanger.base
    }

    /// An answer with a status that the caller expects, after as many tries as it takes and the limits allow.
    pub(crate) fn call(&self, call: &Call, ear: &Ear) -> Result<Answer, ClientError> {
        self.call_in_doubt(call, ear, &mut false)
    }

    /// The same, and whether GitHub may have done in one of the tries what was asked, although its answer was lost.
    pub(crate) fn call_in_doubt(
        &self,
        call: &Call,
        ear: &Ear,
        in_doubt: &mut bool,
    ) -> Result<Answer, ClientError> {
        let ledger = self.credentials.ledger(call.subject);
        let mut retry = match call.is_dispensable {
            true => Retry::brief(&self.limits, Instant::now()),
            false => Retry::new(&self.limits, Instant::now()),
        };
        let mut is_renewed = false;
        loop {
            retry.excuse(self.hold(&ledger, call, ear)?);
            let asked_at = Instant::now();
            let authorization = self.authorization(call, ear)?;
            // A token is a call of its own.
            retry.excuse(asked_at.elapsed());
            if ledger.paused_until().is_some() {
                continue;
            }
            let tried_at = Instant::now();
            let error = match self.attempt(call, &ledger, &authorization, ear) {
                Ok(answer) => return Ok(answer),
                Err(ClientError::Limited { limit, wait, .. }) => {
                    ledger.limited(limit, wait, &self.limits);
                    continue;
                }
                Err(error) => error,
            };
            *in_doubt |= error.is_unknown_outcome();
            let may_be_renewed = matches!(error, ClientError::Unauthorized { .. }) && !is_renewed;
            if may_be_renewed && self.renew(call, &authorization, ear) {
                is_renewed = true;
                continue;
            }
            let Some(wait) = retry.wait_after(&error, Instant::now()) else { return Err(error) };
            debug!(call:% = call.name, error:% = error, wait:? = wait; "github call is tried again");
            self.delayed(tried_at.elapsed() + wait);
            if is_cut(ear, wait) {
                return Err(ClientError::Cut { call: call.name });
            }
        }
    }

    /// Waits for the end of a rate limit, if this client does; answers how long that took.
    pub(crate) fn hold(&self, ledger: &Ledger, call: &Call, ear: &Ear) -> Result<Duration, ClientError> {
        if !self.waits_for_limits {
            let Some(pause) = ledger.look(self.limits.limit_report) else { return Ok(Duration::ZERO) };
            let wait = Some(pause.until.saturating_duration_since(Instant::now()));
            return Err(ClientError::Limited { call: call.name, limit: RateLimit::Primary, wait });
        }
        let cut = |_| ClientError::Cut { call: call.name };
        ledger.hold(ear, &self.limits, self.observer.as_deref()).map_err(cut)
    }

    /// Tells the observer that a call takes longer.
    pub(crate) fn delayed(&self, by: Duration) {
        if let Some(observer) = &self.observer {
            observer.delayed(by);
        }
    }

    fn attempt(
        &self,
        call: &Call,
        ledger: &Ledger,
        authorization: &Secret,
        ear: &Ear,
    ) -> Result<Answer, ClientError> {
        let url = match &call.target {
            Target::Path(path) => self.base().url(path),
            Target::Url(url) => url.clone(),
        };
        let authorization = authorization.clone();
        let known = if call.is_polled { self.memory.take(&url) } else { None };
        let known_tag = known.as_ref().map(|known| known.tag.clone());
        let body = call.body.clone();
        let outgoing = Outgoing { call: call.name, url: url.clone(), authorization, known_tag, body };
        let began_at = Instant::now();
        let result = self.exchanger.exchange(outgoing, ear);
        let took = began_at.elapsed();
        let status = result.as_ref().ok().map(|answer| answer.status.as_u16());
        if let Some(observer) = &self.observer {
            observer.called(call.name, status, took);
        }
        let millis = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        debug!(method = call.name.method, url = url.as_str(), status:? = status, millis; "github call");
        let mut answer = match result {
            Ok(answer) => answer,
            Err(error) => {
                self.memory.put(known);
                return Err(error);
            }
        };
        if call.is_polled {
            let (whole, known) = Known::complete(known, &url, answer);
            self.memory.put(known);
            answer = whole;
        }
        if let (Some((resource, standing)), Some(observer)) = (ledger.note(&answer.headers), &self.observer) {
            observer.budget(&resource, standing);
        }
        if answer.status.is_success() || call.expected.contains(&answer.status.as_u16()) {
            ledger.well();
            Ok(answer)
        } else {
            Err(answer.error())
        }
    }
}

/// Waits; true if the ear was cut meanwhile.
fn is_cut(ear: &Ear, wait: Duration) -> bool {
    matches!(ear.wait(&never::<Never>(), Instant::now() + wait), Heard::Cut)
}

#[cfg(test)]
#[path = "client_tests.rs"]
mod tests;
