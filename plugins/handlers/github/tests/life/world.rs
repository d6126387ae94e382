//! One handler's world, and what it says there.

use std::collections::BTreeMap;
use std::fs;
use std::panic::Location;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, OnceLock, PoisonError};
use std::thread::{self, Builder, JoinHandle};
use std::time::{Duration, Instant};

use log::kv::{self, VisitSource};
use log::{Level, LevelFilter, Log, Metadata, Record};

use anklet_handler_github::{Desk, GithubHandler, janitor};
use anklet_plugin_api::fake::host::{FakeHost, lessee};
use anklet_plugin_api::fake::memory::MemoryStore;
use anklet_plugin_api::fake::report::QuietReport;
use anklet_plugin_api::fake::vm_host::ScriptedVmHost;
use anklet_plugin_api::heartbeat::Heartbeats;
use anklet_plugin_api::job::{Conclusion, Job, JobId, News, Phase, RunId};
use anklet_plugin_api::limits::Limits;
use anklet_plugin_api::name::{PluginName, VmName};
use anklet_plugin_api::plugin::{Plugin, PluginError, Ready, Services};
use anklet_plugin_api::scope::Scope;
use anklet_plugin_api::section::{GithubAccess, RegistrationMode, Secret, Section};
use anklet_plugin_api::stop::{Stop, Stopper, stop};
use anklet_plugin_api::store::{Entry, Noted, Source, Store};
use anklet_plugin_api::time::Moment;
use anklet_plugin_api::vm::GuestOutput;

use anklet_github::labels::wanted;

use fake_github::{FakeGitHub, JobSpec, JobStatus};

/// Generous: what a test waits for comes in a fraction of it, unless something is wrong.
pub(crate) const LIMIT: Duration = Duration::from_secs(30);
pub(crate) const REPO: &str = "acme/app";
pub(crate) const LABELS: [&str; 2] =
    ["anka-template:c0847bc9-5d2d-4dbc-ba6a-240f7ff08032", "anka-template-tag:v1"];
pub(crate) const JOB_PATH: &str = "/repos/acme/app/actions/jobs/*";
pub(crate) const REPOSITORY_PATH: &str = "/repos/acme/app";
pub(crate) const CANCEL_PATH: &str = "/repos/acme/app/actions/runs/*/cancel";
pub(crate) const RUNNERS_PATH: &str = "/repos/acme/app/actions/runners";
/// Old enough to be asked about before it starts.
pub(crate) const OLD: Duration = Duration::from_secs(600);
const TOKEN: &str = "ghp_tokenOfTheTests0123456789";
const HANDLER: &str = "HANDLER";

/// Everything that a handler meets, and the section it is configured by.
pub(crate) struct World {
    pub(crate) github: Arc<FakeGitHub>,
    pub(crate) store: Arc<MemoryStore>,
    pub(crate) vms: Arc<ScriptedVmHost>,
    pub(crate) host: FakeHost,
    pub(crate) section: Section,
    lines: Arc<Lines>,
    name: String,
    folder: PathBuf,
}

/// A line of the log.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    pub(crate) level: Level,
    pub(crate) message: String,
    pub(crate) facts: BTreeMap<String, String>,
}

/// A process of the handler, as it were: it ends, or is told to.
pub(crate) struct Life {
    drain: Option<Stopper>,
    interrupt: Option<Stopper>,
    handler: Option<JoinHandle<Result<(), PluginError>>>,
    janitor: Option<JoinHandle<()>>,
}

impl World {
    /// A repository, a credential and a host with two slots; waits are short, as `limits` says.
    pub(crate) fn new(limits: Limits) -> Self {
        static N_WORLDS: AtomicUsize = AtomicUsize::new(0);
        let name = format!("anklet-life-{}-{}", std::process::id(), N_WORLDS.fetch_add(1, Ordering::Relaxed));
        let folder = std::env::temp_dir().join(&name);
        fs::create_dir_all(&folder).unwrap();
        let github = Arc::new(FakeGitHub::start());
        github.add_repo(REPO).add_pat(TOKEN, &["repo", "admin:org", "workflow"]);
        let world = Self {
            section: section(&github, folder.clone(), limits),
            github,
            store: Arc::default(),
            vms: Arc::default(),
            host: FakeHost::new("host", 2),
            lines: listen(&name),
            name,
            folder,
        };
        world.let_guests_work();
        world
    }

    /// Guests register their runner with GitHub and start it.
    fn let_guests_work(&self) {
        let ids: Arc<Mutex<BTreeMap<VmName, u64>>> = Arc::default();
        let (github, known) = (Arc::clone(&self.github), Arc::clone(&ids));
        self.vms.on_run("register-runner", move |call| {
            let vm = call.vm.clone().unwrap();
            let id = github.add_runner(REPO, vm.as_str(), &LABELS);
            known.lock().unwrap().insert(vm, id);
            Ok(GuestOutput::default())
        });
        let github = Arc::clone(&self.github);
        self.vms.on_run("start-runner", move |call| {
            github.set_runner_online(ids.lock().unwrap()[call.vm.as_ref().unwrap()], true);
            Ok(GuestOutput::default())
        });
    }

    /// Starts a handler, and waits until it is ready.
    pub(crate) fn start(&self) -> Life {
        self.start_with(false)
    }

    /// Starts a handler with the janitor beside it.
    pub(crate) fn start_with_janitor(&self) -> Life {
        self.start_with(true)
    }

    fn start_with(&self, has_janitor: bool) -> Life {
        let ((drain, drained), (interrupt, interrupted)) = (stop(), stop());
        let desk = Desk::default();
        let (tell_ready, ready) = crossbeam_channel::bounded(1);
        // Whoever waits for it has not gone.
        let ready_told = Ready::new(move || tell_ready.send(()).unwrap());
        let services = self.services(&drained, &interrupted, ready_told);
        let plugin = Box::new(GithubHandler::new(self.section.clone(), desk.clone()));
        let thread = || Builder::new().name(self.name.clone());
        let handler = thread().spawn(move || plugin.run(services)).unwrap();
        ready.recv_timeout(LIMIT).unwrap();
        // As the daemon does it: once the handlers have read what they held.
        let janitor = has_janitor.then(|| {
            let services = self.services(&drained, &interrupted, Ready::new(|| {}));
            let host = (Arc::clone(&services.host), self.section.limits.clone());
            let sites = vec![(self.section.clone(), services)];
            let janitor = janitor(sites, host, desk, Box::new(|_| false)).unwrap();
            thread().spawn(move || janitor.run(&interrupted)).unwrap()
        });
        Life { drain: Some(drain), interrupt: Some(interrupt), handler: Some(handler), janitor }
    }

    fn services(&self, drain: &Stop, interrupt: &Stop, ready: Ready) -> Services {
        Services {
            drain: drain.clone(),
            interrupt: interrupt.clone(),
            store: Arc::clone(&self.store) as _,
            vms: Arc::clone(&self.vms) as _,
            host: Arc::new(self.host.clone()),
            lessee: lessee(),
            heartbeats: Heartbeats::default(),
            report: Arc::new(QuietReport),
            ready,
        }
    }

    /// A job that this handler can run.
    pub(crate) fn job(&self) -> JobSpec {
        JobSpec::new(REPO, &LABELS)
    }

    /// A job that GitHub knows and the store is told of.
    pub(crate) fn queue(&self, spec: JobSpec) -> JobId {
        let id = JobId(self.github.create_job(spec));
        assert_eq!(self.tell_as(id, "queued"), Noted::Enqueued);
        id
    }

    /// A webhook of this action, with the job as GitHub has it now.
    pub(crate) fn tell_as(&self, id: JobId, action: &str) -> Noted {
        let mut news = self.news(id);
        if action == "queued" {
            news.phase = Phase::Queued;
        }
        self.store.news(&news, Source::Webhook).unwrap()
    }

    /// Waits until the job runs at GitHub, and tells the store; answers the VM that it runs on.
    #[track_caller]
    pub(crate) fn tell_started(&self, id: JobId) -> VmName {
        let job = self.github.wait_in_progress(id.0, LIMIT);
        self.tell_as(id, "in_progress");
        VmName::new(job.runner_name.unwrap())
    }

    /// The job ends at GitHub, and the store is told.
    pub(crate) fn end(&self, id: JobId, conclusion: &str) {
        assert!(self.github.complete_job(id.0, conclusion));
        self.tell_as(id, "completed");
    }

    /// The job as GitHub has it now.
    pub(crate) fn news(&self, id: JobId) -> News {
        let job = self.github.job(id.0);
        let runner = job.runner_name.clone();
        let phase = match job.status {
            JobStatus::InProgress => Phase::InProgress { runner },
            JobStatus::Completed => {
                let conclusion = Conclusion::from(job.conclusion.clone().unwrap());
                Phase::Completed { conclusion, runner }
            }
            JobStatus::Queued | JobStatus::Waiting | JobStatus::Pending | JobStatus::Requested => {
                Phase::Queued
            }
        };
        let judged = wanted(&job.labels);
        let for_us = judged.is_for_us();
        let job = Job {
            id,
            run_id: RunId(job.run_id),
            run_attempt: u32::try_from(job.run_attempt).unwrap(),
            owner: "acme".to_owned(),
            repo: "app".to_owned(),
            enterprise: None,
            labels: job.labels,
            image: judged.image(),
            name: job.name,
            workflow: String::new(),
            html_url: String::new(),
            created_at: Some(Moment(job.created_at.unix_ms)),
        };
        News { job, phase, for_us }
    }

    /// The job as the store has it.
    pub(crate) fn entry(&self, id: JobId) -> Option<Entry> {
        self.store.entry(id).unwrap()
    }

    /// The lines of that message so far.
    pub(crate) fn said(&self, message: &str) -> Vec<Line> {
        self.lines.all().into_iter().filter(|line| line.message == message).collect()
    }

    /// Waits for that many lines of the message, and answers them all.
    #[track_caller]
    pub(crate) fn wait_said(&self, message: &str, n_wanted: usize) -> Vec<Line> {
        self.wait_for(message, || self.said(message).len() >= n_wanted);
        self.said(message)
    }

    /// Waits for a state, which is looked at whenever the log grows and many times a second.
    #[track_caller]
    pub(crate) fn wait_for(&self, what: &str, is_so: impl Fn() -> bool) {
        let (deadline, asked_at) = (Instant::now() + LIMIT, Location::caller());
        while !is_so() {
            assert!(Instant::now() < deadline, "{asked_at}: waited in vain for {what}; {}", self.story());
            self.lines.wait_a_moment();
        }
    }

    /// The one VM that there is.
    #[track_caller]
    pub(crate) fn only_vm(&self) -> VmName {
        let mut vms = self.vms.vms().into_keys();
        let vm = vms.next().unwrap();
        assert_eq!(vms.next(), None);
        vm
    }

    /// How often GitHub was asked this.
    pub(crate) fn n_requests(&self, method: &str, path: &str) -> usize {
        self.github.requests_to(method, path).len()
    }

    /// Waits until the store has forgotten the job.
    #[track_caller]
    pub(crate) fn wait_gone_from_the_queue(&self, job: JobId) {
        self.wait_for("the job gone from the queue", || self.entry(job).is_none());
    }

    /// A queued job goes its straight way, and nothing is left.
    #[track_caller]
    pub(crate) fn run_to_its_end(&self, job: JobId) {
        self.tell_started(job);
        self.end(job, "success");
        self.wait_clean();
    }

    /// Waits until neither job nor VM nor runner nor record is left.
    #[track_caller]
    pub(crate) fn wait_clean(&self) {
        self.wait_for("nothing left", || {
            let counts = self.store.counts().unwrap();
            let n_jobs = counts.queued + counts.held + counts.claimed + counts.running;
            (n_jobs, counts.vms) == (0, 0)
                && self.vms.vms().is_empty()
                && self.github.runners(REPO).is_empty()
                && self.host.reserved().is_empty()
        });
        assert_eq!(self.github.violations(), Vec::<String>::new());
    }

    fn story(&self) -> String {
        let lines: Vec<_> = self.lines.all().iter().map(|line| format!("{line:?}")).collect();
        format!("the log:\n{}\n{}", lines.join("\n"), self.github.story())
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("{}", self.story());
        }
        let _ = fs::remove_dir_all(&self.folder);
    }
}

impl Life {
    /// SIGQUIT.
    pub(crate) fn drain(&mut self) {
        self.drain = None;
    }

    /// SIGTERM, then the end, which must be well.
    #[track_caller]
    pub(crate) fn stop(mut self) {
        self.interrupt = None;
        self.wait_end().unwrap().unwrap();
    }

    /// The end by itself.
    pub(crate) fn wait_end(&mut self) -> thread::Result<Result<(), PluginError>> {
        let ended = self.handler.take().unwrap().join();
        self.interrupt = None;
        if let Some(janitor) = self.janitor.take() {
            janitor.join().unwrap();
        }
        ended
    }
}

impl Drop for Life {
    fn drop(&mut self) {
        self.interrupt = None;
        // What a thread ended with is the affair of a test that still runs.
        let _ = self.handler.take().map(JoinHandle::join);
        let _ = self.janitor.take().map(JoinHandle::join);
    }
}

fn section(github: &FakeGitHub, folder: PathBuf, limits: Limits) -> Section {
    let [owner, repo] = ["acme", "app"].map(str::to_owned);
    Section {
        name: PluginName::new(HANDLER),
        kind: anklet_handler_github::KIND.to_owned(),
        queue: owner.clone(),
        scope: Scope::Repository { owner, repo },
        github: GithubAccess {
            web_url: github.url(),
            api_url: github.api_url(),
            ca_file: None,
            token: Some(Secret::new(TOKEN)),
            token_key: "token",
            app: None,
        },
        registry_url: None,
        skip_pull: false,
        runner_group: None,
        sleep_interval: Duration::ZERO,
        registration_timeout: Duration::from_secs(20),
        template_disk_buffer: 10.0,
        job_retry_attempts: 5,
        skip_cpu_and_memory_resource_checks: false,
        mounts: Vec::new(),
        registration_mode: RegistrationMode::Token,
        explain_cancellations: false,
        port: None,
        secret: None,
        hook_id: None,
        skip_redeliver: true,
        redeliver_hours: 24,
        claim_life: Duration::from_secs(90),
        limits,
        plugins_path: folder.join("plugins"),
        work_dir: folder,
    }
}

pub(crate) fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// Waits that tests want short, so that none of them takes long.
pub(crate) fn short() -> Limits {
    Limits {
        github_retry_first: ms(10),
        github_retry_total: ms(4_000),
        // A busy machine is no GitHub that hangs: where one does, the test says how long that is waited for.
        github_call: ms(10_000),
        fence_no_answer: ms(100),
        runner_list_lag: ms(200),
        register_runner: ms(300),
        host_avoid_first: ms(10),
        host_avoid_most: ms(50),
        job_hold_first: ms(10),
        job_hold_most: ms(50),
        delete_retry: ms(100),
        idle_look: ms(200),
        ..Limits::default()
    }
}

/// All that the threads of one world said.
#[derive(Default)]
struct Lines {
    said: Mutex<Vec<Line>>,
    grown: Condvar,
}

impl Lines {
    fn all(&self) -> Vec<Line> {
        self.said.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn wait_a_moment(&self) {
        let said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        drop(self.grown.wait_timeout(said, Duration::from_millis(10)));
    }
}

/// Sorts lines by the world whose thread said them: each thread bears its world's name.
#[derive(Default)]
struct Worlds(Mutex<BTreeMap<String, Arc<Lines>>>);

fn listen(world: &str) -> Arc<Lines> {
    static WORLDS: OnceLock<Worlds> = OnceLock::new();
    let worlds = WORLDS.get_or_init(Worlds::default);
    // All but the first call find it set.
    if log::set_logger(worlds).is_ok() {
        // As an operator has it: with DEBUG each VM is looked at before it goes.
        log::set_max_level(LevelFilter::Info);
    }
    Arc::clone(worlds.0.lock().unwrap().entry(world.to_owned()).or_default())
}

impl Log for Worlds {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        let thread = thread::current();
        let world = thread.name().and_then(|name| self.0.lock().unwrap().get(name).cloned());
        let Some(world) = world else { return };
        let mut facts = Facts::default();
        record.key_values().visit(&mut facts).unwrap();
        let line = Line { level: record.level(), message: record.args().to_string(), facts: facts.0 };
        world.said.lock().unwrap_or_else(PoisonError::into_inner).push(line);
        world.grown.notify_all();
    }

    fn flush(&self) {}
}

#[derive(Default)]
struct Facts(BTreeMap<String, String>);

impl<'kvs> VisitSource<'kvs> for Facts {
    fn visit_pair(&mut self, key: kv::Key<'kvs>, value: kv::Value<'kvs>) -> Result<(), kv::Error> {
        self.0.insert(key.to_string(), value.to_string());
        Ok(())
    }
}
