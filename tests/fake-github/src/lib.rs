//! A stateful stand-in for GitHub: REST API, runner registry, job assignment and webhooks on a loopback port. It
//! stands alone so that every test and the demo of this project talk to one GitHub, which refuses what the real one
//! would not understand and goes wrong where a test says so.
//!
//! ```
//! use std::time::Duration;
//! use fake_github::{FakeGitHub, JobSpec};
//!
//! let github = FakeGitHub::start();
//! github.add_repo("acme/app").add_pat("ghp_x", &["repo"]);
//! let job = github.create_job(JobSpec::new("acme/app", &["anka-template:1"]));
//! github.complete_job(job, "success");
//! github.wait_job(job, |job| job.is_completed(), Duration::from_secs(10));
//! ```
//!
//! | file | plays |
//! |---|---|
//! | `setup`, `act`, `ask` | what tests call: before, during, and to look |
//! | `server`, `attend`, `http`, `rules` | sockets, threads, and what goes wrong with requests |
//! | `state`, `model`, `jobs`, `runners` | the world and its rules |
//! | `rest`, `credential`, `payload` | the REST API |
//! | `webhook` | webhooks, their sender, their log, and what goes wrong with them |
//! | `runner` | the guest's side: `config.sh` and `run.sh` |
//! | `control` | the same for a shell script, over HTTP |
#![allow(clippy::unwrap_used, reason = "a stand-in that panics fails its test, which is what it is for")]

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

mod act;
mod ask;
mod attend;
mod clock;
mod control;
mod credential;
mod encode;
mod http;
mod jobs;
pub mod keys;
mod model;
mod payload;
mod rest;
mod rules;
mod runner;
mod runners;
mod scope;
mod server;
mod setup;
mod state;
mod webhook;

pub use clock::At;
pub use control::set_up;
pub use http::Answer;
pub use model::{
    Delivery, HookId, HookTarget, Job, JobId, JobSpec, JobStatus, PayloadStyle, RegisteredBy, Registration,
    RegistrationEnd, RequestEnd, RequestRecord, Run, RunId, Runner, Transition, Violation,
};
pub use rules::{LimitForm, Rule, RuleId};
pub use scope::Scope;
pub use state::{Knobs, State};
pub use webhook::WebhookRule;
pub use webhook::send::sign;

use server::{Shared, accept};

/// A running stand-in. Dropping it closes every connection and joins every thread.
pub struct FakeGitHub {
    shared: Arc<Shared>,
    listener: Arc<TcpListener>,
    address: SocketAddr,
}

impl FakeGitHub {
    /// Starts on a free port of the loopback interface.
    pub fn start() -> FakeGitHub {
        FakeGitHub::start_on(0).expect("a loopback port is free")
    }

    /// Starts on a port of the loopback interface; fails if it is taken.
    pub fn start_on(port: u16) -> std::io::Result<FakeGitHub> {
        let listener = Arc::new(TcpListener::bind(("127.0.0.1", port))?);
        let address = listener.local_addr()?;
        let state = State::new(format!("http://{address}"));
        let shared = Arc::new(Shared::new(state));
        let for_thread = Arc::clone(&listener);
        shared.spawn("accept", move |shared| accept(shared, &for_thread));
        shared.spawn("timer", |shared| shared.run_timers());
        Ok(FakeGitHub { shared, listener, address })
    }

    /// The value for `github_url`: `http://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The value for `github_api_url`: `http://127.0.0.1:PORT/api/v3`. The same API answers at [`url`](Self::url).
    pub fn api_url(&self) -> String {
        format!("{}/api/v3", self.url())
    }
}

impl Drop for FakeGitHub {
    fn drop(&mut self) {
        self.shared.stop(&self.listener);
    }
}
