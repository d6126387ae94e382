//! A GitHub App at work: which of its installations answers for an account, and that installation's tokens of an hour, each asked for
//! once and shared until shortly before its end.

use std::collections::{BTreeMap, HashMap};
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use anklet_plugin_api::ear::{Ear, Heard};
use anklet_plugin_api::scope::{Scope, same};
use anklet_plugin_api::section::{AppCredentials, Secret};
use anklet_plugin_api::time::Moment;
use crossbeam_channel::{Receiver, Sender, bounded};
use serde::Deserialize;

use crate::address::segment;
use crate::app::Identity;
use crate::client::{Call, Client};
use crate::credentials::Subject;
use crate::error::{CallName, ClientError, Silence};
use crate::when::parse_http_date;

pub(crate) const SEE_APP: CallName = CallName { method: "GET", path: "/app" };
pub(crate) const FIND_INSTALLATION: CallName = CallName { method: "GET", path: "/{account}/installation" };
pub(crate) const LIST_INSTALLATIONS: CallName = CallName { method: "GET", path: "/app/installations" };
pub(crate) const INSTALLATION_TOKEN: CallName =
    CallName { method: "POST", path: "/app/installations/{id}/access_tokens" };

/// A token is replaced this long before its end, so that no call is under way when it comes.
const RENEWED_BEFORE: Duration = Duration::from_secs(300);
/// Where GitHub does not say how long a token lives in a way we know.
const UNTOLD_LIFE: Duration = Duration::from_secs(600);

/// The App and what it has learned.
pub(crate) struct App {
    pub(crate) identity: Identity,
    installation_id: Option<u64>,
    slots: Mutex<HashMap<String, Slot>>,
}

/// What is known of one account's installation. Whoever has taken it out asks GitHub, while the others wait for it to be put back.
#[derive(Clone)]
struct Slot(Sender<Known>, Receiver<Known>);

#[derive(Default)]
struct Known {
    installation_id: Option<u64>,
    token: Option<(Secret, Instant)>,
}

/// What was taken out of a slot; it goes back on drop.
struct Taken {
    known: Known,
    home: Slot,
}

impl Drop for Taken {
    fn drop(&mut self) {
        // The slot has room, since this is what was in it.
        let _ = self.home.0.try_send(std::mem::take(&mut self.known));
    }
}

impl App {
    /// The App of these credentials at that API: one for all clients of the process that have the same, so that they share its tokens. The error says
    /// what is wrong with the key.
    pub(crate) fn shared(api_url: &str, credentials: &AppCredentials) -> Result<Arc<Self>, String> {
        static APPS: Mutex<BTreeMap<String, Weak<App>>> = Mutex::new(BTreeMap::new());
        let AppCredentials { id, installation_id, private_key, private_key_key: _ } = credentials;
        // A fingerprint: what is kept need not hold secrets.
        let key = ring::digest::digest(&ring::digest::SHA256, private_key.reveal().as_bytes());
        let name = format!("{api_url} {id} {installation_id:?} {:x?}", key.as_ref());
        let mut apps = APPS.lock().unwrap_or_else(PoisonError::into_inner);
        apps.retain(|_, app| app.strong_count() > 0);
        if let Some(app) = apps.get(&name).and_then(Weak::upgrade) {
            return Ok(app);
        }
        let identity = Identity::new(credentials)?;
        let app = Arc::new(Self { identity, installation_id: *installation_id, slots: Mutex::default() });
        apps.insert(name, Arc::downgrade(&app));
        Ok(app)
    }

    /// Which installation answers for the subject, in words of our own; none for the App itself.
    pub(crate) fn installation(&self, subject: Subject) -> Option<String> {
        match (subject, self.installation_id) {
            (Subject::App, _) => None,
            (_, Some(id)) => Some(id.to_string()),
            (subject, None) => Some(account(subject).1),
        }
    }

    /// Makes sure that this token is not used again.
    pub(crate) fn forget(&self, subject: Subject, refused: &str, ear: &Ear) {
        let Heard::Done(mut taken) = self.take(subject, ear, Instant::now() + RENEWED_BEFORE) else { return };
        if taken.known.token.as_ref().is_some_and(|(token, _)| token.reveal() == refused) {
            taken.known.token = None;
        }
    }

    fn take(&self, subject: Subject, ear: &Ear, deadline: Instant) -> Heard<Taken> {
        // With one installation for everything there is one slot.
        let key = if self.installation_id.is_some() { String::new() } else { account(subject).1 };
        let slot = {
            let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
            slots.entry(key).or_insert_with(Slot::new).clone()
        };
        match ear.wait(&slot.1, deadline) {
            Heard::Done(known) => Heard::Done(Taken { known, home: slot }),
            Heard::Gone => Heard::Gone,
            Heard::Cut => Heard::Cut,
            Heard::TooSlow => Heard::TooSlow,
        }
    }
}

impl Slot {
    fn new() -> Self {
        let (sender, receiver) = bounded(1);
        // It is new and so has room.
        let _ = sender.try_send(Known::default());
        Self(sender, receiver)
    }
}

impl Client {
    /// Whether GitHub knows the App by its key: well if so, else the error that says why not. For whoever has a GitHub App that is not asked
    /// for a token yet.
    pub fn see_app(&self, ear: &Ear) -> Result<(), ClientError> {
        self.call(&app_call(SEE_APP, "/app".to_owned()), ear).map(drop)
    }

    /// A token that is good for `call`, for some minutes at least.
    pub(crate) fn installation_token(
        &self,
        app: &App,
        call: &Call,
        ear: &Ear,
    ) -> Result<Secret, ClientError> {
        let limit = self.limits().github_retry_total;
        let own_ledger = self.credentials.ledger(Subject::App);
        let mut taken = loop {
            // Whoever has it may wait for the App's own rate limit.
            self.hold(&own_ledger, call, ear)?;
            let waits_since = Instant::now();
            let answer = app.take(call.subject, ear, waits_since + limit);
            self.delayed(waits_since.elapsed());
            match answer {
                Heard::Done(taken) => break taken,
                Heard::Cut => return Err(ClientError::Cut { call: call.name }),
                Heard::TooSlow if own_ledger.paused_until().is_some() => {}
                Heard::TooSlow | Heard::Gone => {
                    let why = format!("another thread asks for a token since {limit:?}");
                    return Err(ClientError::NoAnswer { call: call.name, silence: Silence::TooSlow, why });
                }
            }
        };
        let known = &mut taken.known;
        if let Some((token, renewed_at)) = &known.token
            && Instant::now() < *renewed_at
        {
            return Ok(token.clone());
        }
        let id = match app.installation_id.or(known.installation_id) {
            Some(id) => id,
            None => self.find_installation(app, call.subject, ear)?,
        };
        known.installation_id = Some(id);
        let asked_at = Instant::now();
        let (token, life) = self.ask_for_token(id, ear).inspect_err(|error| {
            // The App may have been removed and installed anew, with another id.
            if matches!(error, ClientError::NotFound { .. }) {
                known.installation_id = None;
            }
        })?;
        known.token = Some((token.clone(), asked_at + life.saturating_sub(RENEWED_BEFORE)));
        Ok(token)
    }

    fn ask_for_token(&self, id: u64, ear: &Ear) -> Result<(Secret, Duration), ClientError> {
        let path = format!("/app/installations/{id}/access_tokens");
        let answer = self.call(&app_call(INSTALLATION_TOKEN, path), ear)?;
        let written: WrittenToken = answer.json()?;
        if written.token.is_empty() {
            return Err(answer.nonsense("it holds no token"));
        }
        // By GitHub's own clock, where it tells it: this host's may be off.
        let now = answer.header("date").and_then(parse_http_date).unwrap_or_else(Moment::now);
        let life = Moment::parse_rfc3339(&written.expires_at).map_or(UNTOLD_LIFE, |end| end.since(now));
        Ok((Secret::new(written.token), life))
    }

    /// The installation for an account, by the direct ways, then by the list of all.
    fn find_installation(&self, app: &App, subject: Subject, ear: &Ear) -> Result<u64, ClientError> {
        let (paths, account) = account(subject);
        for path in paths {
            let answer = self.call(&app_call(FIND_INSTALLATION, path).expecting(&[404]), ear)?;
            if answer.status.is_success() {
                return answer.json::<WrittenInstallation>().map(|installation| installation.id);
            }
        }
        let list = app_call(LIST_INSTALLATIONS, "/app/installations?per_page=100".to_owned());
        let found = self.pages(list, ear, |page| {
            let installations: Vec<WrittenInstallation> = page.json()?;
            let found = installations.iter().find(|installation| installation.is_for(&account));
            Ok(found.map_or(ControlFlow::Continue(()), |installation| ControlFlow::Break(installation.id)))
        })?;
        found.ok_or_else(|| ClientError::Setup {
            what: format!(
                "the GitHub App {} is not installed for {account}: install it there, or mend `app_id`",
                app.identity.id()
            ),
        })
    }
}

/// Where the installation for a subject may be found, best first, and the account it belongs to, in lower case.
fn account(subject: Subject) -> (Vec<String>, String) {
    let owner_paths = |owner: &str| {
        vec![
            format!("/orgs/{}/installation", segment(owner)),
            format!("/users/{}/installation", segment(owner)),
        ]
    };
    let (paths, account) = match subject {
        Subject::Runners(Scope::Organization { owner }) => (owner_paths(owner), owner.as_str()),
        Subject::Runners(Scope::Repository { owner, repo }) => {
            (vec![format!("/repos/{}/{}/installation", segment(owner), segment(repo))], owner.as_str())
        }
        Subject::Repository(repository) => {
            (vec![format!("{}/installation", repository.path())], repository.owner)
        }
        Subject::Runners(Scope::Enterprise { slug }) => {
            (vec![format!("/enterprises/{}/installation", segment(slug))], slug.as_str())
        }
        Subject::App => (Vec::new(), ""),
    };
    (paths, account.to_ascii_lowercase())
}

fn app_call(name: CallName, path: String) -> Call<'static> {
    Call::new(name, path, Subject::App)
}

#[derive(Deserialize)]
struct WrittenToken {
    token: String,
    #[serde(default)]
    expires_at: String,
}

#[derive(Deserialize)]
struct WrittenInstallation {
    id: u64,
    #[serde(default)]
    account: Option<WrittenAccount>,
}

/// A user or organization has a login, an enterprise a slug.
#[derive(Deserialize)]
struct WrittenAccount {
    login: Option<String>,
    slug: Option<String>,
}

impl WrittenInstallation {
    fn is_for(&self, account: &str) -> bool {
        let named =
            self.account.as_ref().and_then(|written| written.login.as_ref().or(written.slug.as_ref()));
        named.is_some_and(|named| same(named, account))
    }
}

#[cfg(test)]
#[path = "installation_tests.rs"]
mod tests;
