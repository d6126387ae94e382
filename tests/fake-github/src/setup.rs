//! What a test calls before the action: accounts, credentials, hooks, settings. It stands alone as the part of the
//! API that is written as one chain. Everything here may also be called later.

use std::collections::VecDeque;
use std::time::Duration;

use crate::FakeGitHub;
use crate::credential::{App, Budget, Installation, Pat, Permissions, public_key};
use crate::model::{HookId, HookTarget};
use crate::scope::Scope;
use crate::state::{Group, Knobs, Owner, Repo, State};
use crate::webhook::{Hook, send};

fn permissions(list: &[&str]) -> Permissions {
    let pair = |text: &&str| text.split_once('=').map(|(name, level)| (name.to_owned(), level.to_owned()));
    list.iter()
        .map(|text| pair(text).unwrap_or_else(|| panic!("`{text}` is not like `actions=write`")))
        .collect()
}

impl State {
    fn add_owner(&mut self, login: &str, is_user: bool) {
        let id = 800_000 + self.next();
        let owner = Owner { id, login: login.to_owned(), is_user, enterprise: None };
        self.owners.entry(login.to_ascii_lowercase()).or_insert(owner);
    }
}

impl FakeGitHub {
    /// Adds a public repository; its owner becomes an organization if it is not known.
    pub fn add_repo(&self, full_name: &str) -> &FakeGitHub {
        self.add_repository(full_name, false)
    }

    /// Adds a private repository, which is 404 for whom it is hidden from.
    pub fn add_private_repo(&self, full_name: &str) -> &FakeGitHub {
        self.add_repository(full_name, true)
    }

    fn add_repository(&self, full_name: &str, private: bool) -> &FakeGitHub {
        let (owner, name) = full_name.split_once('/').expect("a repository is written `owner/name`");
        self.shared.change(|state| {
            state.add_owner(owner, false);
            let id = 600_000_000 + state.next();
            let repo = Repo { id, owner: owner.to_owned(), name: name.to_owned(), private };
            state.repos.insert(Scope::from(full_name), repo);
        });
        self
    }

    /// Adds an organization.
    pub fn add_org(&self, login: &str) -> &FakeGitHub {
        self.shared.change(|state| state.add_owner(login, false));
        self
    }

    /// Adds a user, for repositories without an organization. Before its repositories.
    pub fn add_user(&self, login: &str) -> &FakeGitHub {
        self.shared.change(|state| state.add_owner(login, true));
        self
    }

    /// Adds an enterprise with these organizations.
    pub fn add_enterprise(&self, slug: &str, orgs: &[&str]) -> &FakeGitHub {
        self.shared.change(|state| {
            let id = 300 + state.next();
            state.enterprises.insert(slug.to_ascii_lowercase(), id);
            for org in orgs {
                state.add_owner(org, false);
                if let Some(owner) = state.owners.get_mut(&org.to_ascii_lowercase()) {
                    owner.enterprise = Some(slug.to_ascii_lowercase());
                }
            }
        });
        self
    }

    /// Adds a classic token with scopes (`repo`, `admin:org`, `manage_runners:enterprise`, …).
    pub fn add_pat(&self, token: &str, scopes: &[&str]) -> &FakeGitHub {
        self.add_token(token, scopes, None)
    }

    /// Adds a fine-grained token with permissions (`administration=write`, `actions=read`, …).
    pub fn add_fine_grained_pat(&self, token: &str, list: &[&str]) -> &FakeGitHub {
        self.add_token(token, &[], Some(permissions(list)))
    }

    fn add_token(&self, token: &str, scopes: &[&str], fine_grained: Option<Permissions>) -> &FakeGitHub {
        let scopes = scopes.iter().map(|scope| (*scope).to_owned()).collect();
        let pat = Pat { login: "octo-dev".to_owned(), scopes, fine_grained };
        self.shared.change(|state| state.credentials.pats.insert(token.to_owned(), pat));
        self
    }

    /// Adds an App whose JWTs are signed with this RSA key (PEM, PKCS#1 or PKCS#8); `client_id` or `app_id` is
    /// their issuer. Panics if the key cannot be read.
    pub fn add_app(&self, app_id: u64, client_id: &str, private_key_pem: &str, list: &[&str]) -> &FakeGitHub {
        let public_key = public_key(private_key_pem).expect("an RSA private key in PEM");
        self.shared.change(|state| {
            let app = App {
                id: app_id,
                client_id: client_id.to_owned(),
                public_key,
                permissions: permissions(list),
                created_at: state.now(),
            };
            state.credentials.apps.insert(app_id, app);
        });
        self
    }

    /// Installs an App, with all its permissions, on an account (`acme`, `enterprises/big`) and all its
    /// repositories.
    pub fn add_installation(&self, id: u64, app_id: u64, account: &str) -> &FakeGitHub {
        self.install(id, app_id, account, None)
    }

    /// Installs an App on these repositories of the account only.
    pub fn add_selected_installation(
        &self,
        id: u64,
        app_id: u64,
        account: &str,
        repos: &[&str],
    ) -> &FakeGitHub {
        self.install(id, app_id, account, Some(repos.iter().map(|repo| Scope::from(*repo)).collect()))
    }

    fn install(&self, id: u64, app_id: u64, account: &str, repos: Option<Vec<Scope>>) -> &FakeGitHub {
        self.shared.change(|state| {
            let permissions = state.credentials.apps.get(&app_id).map(|app| app.permissions.clone());
            let permissions = permissions.unwrap_or_else(|| panic!("no App {app_id}"));
            let created_at = state.now();
            let account = Scope::from(account);
            let installation = Installation { id, app_id, account, repos, permissions, created_at };
            state.credentials.installations.insert(id, installation);
        });
        self
    }

    /// Makes a token of any kind invalid.
    pub fn revoke(&self, token: &str) -> &FakeGitHub {
        self.shared.change(|state| {
            state.credentials.pats.remove(token);
            state.credentials.tokens.remove(token);
        });
        self
    }

    /// Makes all installation tokens given out so far expire now.
    pub fn expire_installation_tokens(&self) -> &FakeGitHub {
        self.shared.change(|state| {
            let now = state.now();
            state.credentials.tokens.values_mut().for_each(|token| token.expires_at = now);
        });
        self
    }

    /// Sets what remains of the hourly budget of `user` (all tokens), `app:ID` or `installation:ID`, and in how
    /// many seconds it is renewed.
    pub fn set_budget(&self, whose: &str, remaining: u64, reset_in: i64) -> &FakeGitHub {
        let key = if whose == "user" { "user:octo-dev" } else { whose };
        self.shared.change(|state| {
            let now = state.now();
            let mut reset_at = now;
            reset_at.unix_ms += reset_in * 1000;
            let used = 5000u64.saturating_sub(remaining);
            let budget = Budget { limit: remaining.max(5000), used, reset_at };
            state.credentials.budgets.insert((key.to_owned(), "core"), budget);
        });
        self
    }

    /// Adds a runner group to an organization or enterprise and returns its id.
    pub fn add_runner_group(&self, scope: &str, name: &str) -> u64 {
        self.shared.change(|state| {
            let id = 2 + state.next();
            state.groups.push(Group { id, scope: Scope::from(scope), name: name.to_owned() });
            id
        })
    }

    /// Adds a webhook for `workflow_job` with JSON bodies to a repository, organization or enterprise. An empty
    /// secret means no signature. It sends no `ping` by itself: see [`ping`](Self::ping).
    pub fn add_hook(&self, scope: &str, url: &str, secret: &str) -> HookId {
        self.add_webhook(HookTarget::Scope(Scope::from(scope)), url, secret, false)
    }

    /// The same with form bodies.
    pub fn add_form_hook(&self, scope: &str, url: &str, secret: &str) -> HookId {
        self.add_webhook(HookTarget::Scope(Scope::from(scope)), url, secret, true)
    }

    /// Adds the webhook of an App, which gets the events of all accounts it is installed on.
    pub fn add_app_hook(&self, app_id: u64, url: &str, secret: &str) -> HookId {
        self.add_webhook(HookTarget::App(app_id), url, secret, false)
    }

    fn add_webhook(&self, target: HookTarget, url: &str, secret: &str, is_form: bool) -> HookId {
        let id = self.shared.change(|state| {
            let id = 440_000_000 + state.next();
            let hook = Hook {
                id,
                target,
                url: url.to_owned(),
                secret: (!secret.is_empty()).then(|| secret.to_owned()),
                is_form,
                queue: VecDeque::new(),
                is_sending: false,
            };
            state.hooks.insert(id, hook);
            id
        });
        self.shared.spawn(&format!("hook-{id}"), move |shared| send::run(shared, id));
        id
    }

    /// Points a hook to another URL, say of a receiver started again on another port.
    pub fn set_hook_url(&self, hook: HookId, url: &str) -> &FakeGitHub {
        self.shared.change(|state| {
            if let Some(hook) = state.hooks.get_mut(&hook) {
                url.clone_into(&mut hook.url);
            }
        });
        self
    }

    /// Changes settings.
    pub fn tune(&self, tune: impl FnOnce(&mut Knobs)) -> &FakeGitHub {
        self.shared.change(|state| tune(&mut state.knobs));
        self
    }

    /// Moves GitHub's clock by so many seconds, on top of earlier moves. Tokens expire by it.
    pub fn move_clock(&self, seconds: i64) -> &FakeGitHub {
        self.shared.change(|state| state.clock.offset_ms += seconds * 1000);
        self
    }

    /// Makes a new runner show up in the runner list only so much later.
    pub fn set_list_lag(&self, lag: Duration) -> &FakeGitHub {
        self.tune(|knobs| knobs.list_lag = lag)
    }
}
