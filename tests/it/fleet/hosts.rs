//! A fleet: Redis, and hosts that share it.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;
use std::time::{Duration, Instant};

use fake_anka::FakeAnka;
use fake_github::{JobId, JobStatus};
use redis::{Client, Connection, cmd};

use crate::redis_servers::server::TestServer;
use crate::support::{Anklet, Home, SECRET, TOKEN, World, bare, new_anka, spawn_at};

/// What waits for claims to run out, twice, takes longer than the rest.
pub(super) const FLEET_LIMIT: Duration = Duration::from_secs(60);

/// Redis and GitHub of one test. The world's own home is that of a host, too.
pub(super) struct Fleet<'w> {
    pub(super) world: &'w World,
    pub(super) redis: TestServer,
}

/// One host.
pub(super) struct Host {
    pub(super) home: Home,
    pub(super) anka: FakeAnka,
}

/// A receiver of the repository that most tests use, as a line of the config.
pub(super) fn receiver(name: &str, port: u16) -> String {
    format!(
        "{{name: {name}, plugin: github_receiver, owner: acme, repo: app, port: {port}, skip_redeliver: true}}"
    )
}

/// A handler of that repository.
pub(super) fn handler(name: &str) -> String {
    format!("{{name: {name}, plugin: github, owner: acme, repo: app}}")
}

impl<'w> Fleet<'w> {
    pub(super) fn new(world: &'w World) -> Self {
        Self { world, redis: TestServer::start(&[]) }
    }

    /// The config of the host with that home; claims live for 20 s.
    pub(super) fn config(&self, home: &Home, plugins: &[String]) -> String {
        self.config_by(self.redis.port, home, plugins)
    }

    /// The same, with Redis reached by that port.
    pub(super) fn config_by(&self, port: u16, home: &Home, plugins: &[String]) -> String {
        let plugins: String = plugins.iter().map(|plugin| format!("  - {plugin}\n")).collect();
        format!(
            "github_url: {}\ngithub_api_url: {}\nglobal_token: {TOKEN}\nglobal_receiver_secret: {SECRET}\nwork_dir: {}\n\
             global_database_url: 127.0.0.1\nglobal_database_port: {port}\nglobal_database_retry_delay: 200\n\
             claim_seconds: 20\nhost: {{cpu_count: 12, memory_bytes: 34359738368}}\n\
             limits: {{fence_no_answer: 0.2, github_retry_first: 0.05, command_grace: 1, runner_list_lag: 1, register_runner: 5,\n\
             \x20 job_hold_first: 0.1, host_avoid_first: 0.1, delete_retry: 0.5, idle_look: 1, fence_retry: 0.5}}\n\
             plugins:\n{plugins}",
            self.world.github.url(),
            self.world.github.api_url(),
            home.path().display(),
        )
    }

    /// Starts a receiver in the world's home, where the hook of the repository leads.
    pub(super) fn start_receiver(&self) -> Anklet {
        let config = self.config(&self.world.home, &[receiver("RECEIVER", self.world.port)]);
        let anklet = spawn_at(&self.world.home, &config, program());
        anklet.wait_message("receiver finished starting");
        anklet
    }

    /// Starts a host with these handlers of the repository.
    pub(super) fn start(&self, host: &Host, handlers: &[&str]) -> Anklet {
        let plugins: Vec<_> = handlers.iter().map(|name| handler(name)).collect();
        host.start(&self.config(&host.home, &plugins), handlers.len())
    }

    pub(super) fn raw(&self) -> Connection {
        connect(self.redis.port)
    }

    /// The ids of all jobs in the queues.
    pub(super) fn stored(&self) -> BTreeSet<u64> {
        stored(&mut self.raw())
    }

    /// Waits until GitHub has ended all these jobs well, each of which ran once.
    #[track_caller]
    pub(super) fn all_ran_once(&self, jobs: &[JobId]) {
        for job in jobs {
            let ended = self.world.github.wait_completed(*job, FLEET_LIMIT * 2);
            assert_eq!(ended.conclusion.as_deref(), Some("success"), "{}", self.world.github.story());
            let n_starts = ended.history.iter().filter(|step| step.status == JobStatus::InProgress).count();
            assert_eq!(n_starts, 1, "job {job} ran once: {}", self.world.github.story());
        }
    }

    /// Waits until no job is stored and these hosts have no VM, and looks whether GitHub was asked anything wrong.
    #[track_caller]
    pub(super) fn is_clean(&self, hosts: &[&Host]) {
        wait("an empty queue", || self.stored().is_empty());
        wait("every VM gone", || hosts.iter().all(|host| host.vms().is_empty()));
        assert_eq!(self.world.github.violations(), Vec::<String>::new());
    }
}

impl Host {
    pub(super) fn new() -> Self {
        let home = Home::new();
        let (anka, _) = new_anka(&home);
        Self { home, anka }
    }

    /// Starts the program here and waits until so many handlers are ready.
    pub(super) fn start(&self, config: &str, n_handlers: usize) -> Anklet {
        let anklet = self.spawn(config);
        anklet.wait_messages("starting github plugin", n_handlers);
        anklet
    }

    /// Starts the program here and waits for nothing.
    pub(super) fn spawn(&self, config: &str) -> Anklet {
        spawn_at(&self.home, config, program())
    }

    /// The VMs that are not templates.
    pub(super) fn vms(&self) -> Vec<String> {
        let names = self.anka.vms().into_iter().map(|vm| vm.name);
        names.filter(|name| name.starts_with("anklet-vm-")).collect()
    }

    pub(super) fn n_clones(&self) -> usize {
        self.anka.calls("clone").len()
    }

    /// Whether a VM of this host has ever had this name.
    pub(super) fn has_had(&self, runner: &str) -> bool {
        self.anka.calls("clone").iter().any(|line| line.argv.iter().any(|word| word == runner))
    }
}

fn program() -> Command {
    bare(env!("CARGO_BIN_EXE_anklet"))
}

pub(super) fn connect(port: u16) -> Connection {
    Client::open(format!("redis://127.0.0.1:{port}")).unwrap().get_connection().unwrap()
}

/// Asks again and again, as nobody tells.
#[track_caller]
pub(super) fn wait(what: &str, is_so: impl Fn() -> bool) {
    wait_within(FLEET_LIMIT, what, is_so);
}

/// The same, for what takes longer.
#[track_caller]
pub(super) fn wait_within(limit: Duration, what: &str, is_so: impl Fn() -> bool) {
    let deadline = Instant::now() + limit;
    while !is_so() {
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        std::thread::park_timeout(Duration::from_millis(20));
    }
}

/// The ids of the jobs that a server holds.
pub(super) fn stored(connection: &mut Connection) -> BTreeSet<u64> {
    let keys: Vec<String> = cmd("KEYS").arg("anklet:*").query(connection).unwrap();
    keys.iter().filter_map(|key| key.split_once("}:job:")?.1.parse().ok()).collect()
}

/// How often each job lies in a group that jobs are claimed from.
pub(super) fn queued(connection: &mut Connection) -> BTreeMap<u64, usize> {
    let groups: Vec<String> = cmd("KEYS").arg("anklet:*}:group:*").query(connection).unwrap();
    let mut times = BTreeMap::new();
    for group in groups {
        let members: Vec<String> = cmd("ZRANGE").arg(group).arg(0).arg(-1).query(connection).unwrap();
        for member in members {
            let id = member.get(17..).and_then(|id| id.parse().ok()).expect("a job's place in line");
            *times.entry(id).or_default() += 1;
        }
    }
    times
}
