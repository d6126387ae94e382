//! Who calls: personal tokens, Apps with their keys, installations and their tokens, and the budget of each. It
//! stands alone so that a token is looked up and a JWT is proved in one place.

use std::collections::BTreeMap;

use ring::signature::{RSA_PKCS1_2048_8192_SHA256, RsaKeyPair, UnparsedPublicKey};
use serde_json::Value;

use crate::clock::At;
use crate::encode::base64_decode;
use crate::http::Request;
use crate::scope::Scope;

/// Permission names (`actions`, `administration`, …) to `read` or `write`.
pub(crate) type Permissions = BTreeMap<String, String>;

/// Everything that can authenticate.
#[derive(Default)]
pub(crate) struct Credentials {
    pub(crate) pats: BTreeMap<String, Pat>,
    pub(crate) apps: BTreeMap<u64, App>,
    pub(crate) installations: BTreeMap<u64, Installation>,
    pub(crate) tokens: BTreeMap<String, InstallationToken>,
    pub(crate) budgets: BTreeMap<(String, &'static str), Budget>,
}

/// A personal access token: classic with scopes, or fine-grained with permissions.
pub(crate) struct Pat {
    pub(crate) login: String,
    pub(crate) scopes: Vec<String>,
    pub(crate) fine_grained: Option<Permissions>,
}

/// A GitHub App.
pub(crate) struct App {
    pub(crate) id: u64,
    pub(crate) client_id: String,
    pub(crate) public_key: Vec<u8>,
    pub(crate) permissions: Permissions,
    pub(crate) created_at: At,
}

/// An App installed on an account; `repos` if not on all.
pub(crate) struct Installation {
    pub(crate) id: u64,
    pub(crate) app_id: u64,
    pub(crate) account: Scope,
    pub(crate) repos: Option<Vec<Scope>>,
    pub(crate) permissions: Permissions,
    pub(crate) created_at: At,
}

/// A token of an installation.
pub(crate) struct InstallationToken {
    pub(crate) installation_id: u64,
    pub(crate) expires_at: At,
    pub(crate) permissions: Permissions,
    pub(crate) repos: Option<Vec<Scope>>,
}

/// A rate limit of one caller and resource.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Budget {
    pub(crate) limit: u64,
    pub(crate) used: u64,
    pub(crate) reset_at: At,
}

impl Budget {
    pub(crate) fn remaining(&self) -> u64 {
        self.limit.saturating_sub(self.used)
    }
}

/// The proven caller of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Caller {
    Anonymous,
    Pat(String),
    Installation(String),
    App(u64),
}

/// Why a credential is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    BadCredentials,
    NotDecoded,
    IssuedAt,
    Expired,
    TooFarAhead,
    NoIntegration,
}

impl Refusal {
    /// GitHub's status and words.
    pub(crate) fn answer(&self) -> (u16, &'static str) {
        match self {
            Refusal::BadCredentials => (401, "Bad credentials"),
            Refusal::NotDecoded => (401, "A JSON web token could not be decoded"),
            Refusal::IssuedAt => (
                401,
                "'Issued at' claim ('iat') must be an Integer representing the time that the assertion was issued",
            ),
            Refusal::Expired => (
                401,
                "'Expiration time' claim ('exp') must be a numeric value representing the future time at which the assertion expires",
            ),
            Refusal::TooFarAhead => (401, "'Expiration time' claim ('exp') is too far in the future"),
            Refusal::NoIntegration => (404, "Integration not found"),
        }
    }
}

/// The scheme and token of a request's `Authorization`.
pub(crate) fn authorization(request: &Request) -> Option<(&str, &str)> {
    request.header("authorization")?.split_once(' ').map(|(scheme, token)| (scheme, token.trim()))
}

fn is_jwt(token: &str) -> bool {
    token.starts_with("eyJ") && token.matches('.').count() == 2
}

impl Credentials {
    /// Finds out who calls.
    pub(crate) fn identify(&self, request: &Request, now: At) -> Result<Caller, Refusal> {
        let Some((scheme, token)) = authorization(request) else {
            let is_malformed = request.header("authorization").is_some();
            return if is_malformed { Err(Refusal::BadCredentials) } else { Ok(Caller::Anonymous) };
        };
        let is_bearer = scheme.eq_ignore_ascii_case("bearer");
        if is_jwt(token) {
            return if is_bearer {
                self.prove(token, now).map(Caller::App)
            } else {
                Err(Refusal::NotDecoded)
            };
        }
        if !is_bearer && !scheme.eq_ignore_ascii_case("token") {
            return Err(Refusal::BadCredentials);
        }
        if self.pats.contains_key(token) {
            return Ok(Caller::Pat(token.to_owned()));
        }
        match self.tokens.get(token) {
            Some(known) if known.expires_at.unix_ms > now.unix_ms => {
                Ok(Caller::Installation(token.to_owned()))
            }
            _ => Err(Refusal::BadCredentials),
        }
    }

    /// Proves an App's JWT: form, issuer, signature, then its times.
    fn prove(&self, jwt: &str, now: At) -> Result<u64, Refusal> {
        let (signed, signature) = jwt.rsplit_once('.').ok_or(Refusal::NotDecoded)?;
        let mut halves =
            signed.split('.').map(|half| serde_json::from_slice::<Value>(&base64_decode(half)?).ok());
        let (Some(Some(header)), Some(Some(claims))) = (halves.next(), halves.next()) else {
            return Err(Refusal::NotDecoded);
        };
        let issuer = match &claims["iss"] {
            Value::String(text) => text.clone(),
            other => other.as_u64().ok_or(Refusal::NotDecoded)?.to_string(),
        };
        let is_it = |app: &&App| app.client_id == issuer || app.id.to_string() == issuer;
        let app = self.apps.values().find(is_it).ok_or(Refusal::NoIntegration)?;
        let key = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, &app.public_key);
        let signature = base64_decode(signature).ok_or(Refusal::NotDecoded)?;
        if header["alg"] != "RS256" || key.verify(signed.as_bytes(), &signature).is_err() {
            return Err(Refusal::NotDecoded);
        }
        let (issued, expires, now) = (claims["iat"].as_i64(), claims["exp"].as_i64(), now.unix_seconds());
        match (issued, expires) {
            (Some(issued), _) if issued > now => Err(Refusal::IssuedAt),
            (None, _) => Err(Refusal::IssuedAt),
            (_, None) => Err(Refusal::Expired),
            (_, Some(expires)) if expires <= now => Err(Refusal::Expired),
            (_, Some(expires)) if expires > now + 600 => Err(Refusal::TooFarAhead),
            _ => Ok(app.id),
        }
    }

    /// Whose budget a caller uses: all tokens of a user together, all of an installation together.
    pub(crate) fn budget_key(&self, caller: &Caller) -> String {
        match caller {
            Caller::Anonymous => "anonymous".to_owned(),
            Caller::Pat(token) => format!("user:{}", self.pats.get(token).map_or("", |pat| &pat.login)),
            Caller::Installation(token) => {
                format!("installation:{}", self.tokens.get(token).map_or(0, |token| token.installation_id))
            }
            Caller::App(id) => format!("app:{id}"),
        }
    }

    /// The budget, new or renewed if its hour is over.
    pub(crate) fn budget(&mut self, key: &str, resource: &'static str, now: At) -> &mut Budget {
        let limit = match (key, resource) {
            ("anonymous", _) => 60,
            (_, "actions_runner_registration") => 10_000,
            _ => 5000,
        };
        let reset_at = now.plus(std::time::Duration::from_secs(3600));
        let fresh = Budget { limit, used: 0, reset_at };
        let budget = self.budgets.entry((key.to_owned(), resource)).or_insert(fresh);
        if now.unix_seconds() >= budget.reset_at.unix_seconds() {
            *budget = Budget { limit: budget.limit, ..fresh };
        }
        budget
    }

    /// The installation that covers a scope, of any App or of the given one.
    pub(crate) fn installation_of(&self, app_id: Option<u64>, scope: &Scope) -> Option<&Installation> {
        let mut of_app = self.installations.values().filter(|it| app_id.is_none_or(|id| it.app_id == id));
        of_app.find(|installation| covers(&installation.account, installation.repos.as_deref(), scope))
    }
}

/// Whether an account, or only `repos` of it, includes the scope.
pub(crate) fn covers(account: &Scope, repos: Option<&[Scope]>, scope: &Scope) -> bool {
    match (account, scope) {
        (Scope::Organization { org }, Scope::Repository { owner, .. }) => {
            org == owner && repos.is_none_or(|repos| repos.contains(scope))
        }
        _ => account == scope,
    }
}

/// The public key (PKCS#1 DER) of an RSA private key in PEM, PKCS#1 or PKCS#8.
pub(crate) fn public_key(private_key_pem: &str) -> Option<Vec<u8>> {
    let body: String =
        private_key_pem.lines().map(str::trim).filter(|line| !line.starts_with("-----")).collect();
    let der = base64_decode(&body)?;
    let pair = RsaKeyPair::from_der(&der).or_else(|_| RsaKeyPair::from_pkcs8(&der)).ok()?;
    Some(pair.public().as_ref().to_vec())
}
