//! Moving from the Go program: a Redis as it leaves it, then ours starts. Every job ends well, and nothing is left.

use fake_github::JobId;
use redis::{Commands, Connection};
use serde_json::{Value, json};

use crate::redis_keys::Server;
use crate::support::{Anklet, LIMIT, World};

const QUEUED: &str = "anklet/jobs/github/queued/acme";
const OWN: &str = "anklet/jobs/github/queued/acme/{HANDLER1}";
const METRICS: &str = "anklet/metrics/acme/GO_HANDLER";
const WEEK_MS: i64 = 7 * 24 * 3_600_000;

/// A job as the Go program writes it.
fn job_document(world: &World, job: JobId, action: &str, attempts: u32) -> Value {
    let job = world.github.job(job);
    json!({
        "type": "WorkflowJobPayload",
        "workflow_job": {
            "id": job.id, "name": job.name, "run_id": job.run_id, "status": job.status.as_str(),
            "conclusion": job.conclusion, "started_at": null, "completed_at": null, "labels": job.labels,
            "html_url": format!("https://github.com/acme/app/actions/runs/{}/job/{}", job.run_id, job.id),
            "workflow_name": "ci"
        },
        "anka_vm": { "name": "", "cpu_cores": 0, "ram_size": 0 },
        "repository": { "name": "app", "owner": "acme", "visibility": "private", "private": true },
        "action": action, "paused_on": "", "attempts": attempts
    })
}

/// The VM of a job, as it lies behind it.
fn vm_document(world: &World, job: JobId, vm: &str) -> Value {
    let mut document = job_document(world, job, "", 0);
    document["type"] = json!("anka.VM");
    document["anka_vm"] = json!({ "name": vm, "cpu_cores": 4, "ram_size": 8_589_934_592_u64 });
    document["repository"] = json!({ "name": "", "owner": "", "visibility": "", "private": false });
    document
}

fn push(redis: &mut Connection, list: &str, document: &Value) {
    redis.rpush::<_, _, ()>(list, document.to_string()).unwrap();
}

fn lists(redis: &mut Connection) -> Vec<String> {
    redis.keys("anklet/jobs/*").unwrap()
}

/// The program of another host makes a VM whose runner works, and dies: to ours it is as if the Go program had made it.
fn leave_running_vm(world: &World, steps_ms: u64) -> (JobId, String) {
    let anklet = world.start(&world.config(1));
    let job = world.github.create_job(world.job().steps_ms(steps_ms));
    anklet.wait_message("job found registered runner and is now in progress");
    anklet.kill();
    for file in ["anklet.db", "anklet.db-wal", "anklet.db-shm", "ledger.json"] {
        let _ = std::fs::remove_file(world.home.path().join(".config/anklet").join(file));
    }
    (job, world.github.job(job).runner_name.unwrap())
}

fn n_asked(world: &World, job: JobId) -> usize {
    world.github.requests_to("GET", &format!("/repos/acme/app/actions/jobs/{job}")).len()
}

fn has_line(anklet: &Anklet, message: &str) -> bool {
    anklet.lines().iter().any(|line| line.message() == message)
}

#[test]
fn every_job_ends_well_and_its_vm_goes() {
    let world = World::new();
    let redis = Server::start();
    let (running, vm) = leave_running_vm(&world, 3_000);
    let n_before = n_asked(&world, running);
    // Labels of their own, so that each gets the runner that was made for it.
    let labelled = |label| world.github.create_job(world.job_labelled(label));
    let [waiting, paused, elsewhere, over] = ["waiting", "paused", "elsewhere", "over"].map(labelled);
    assert!(world.github.wait_webhooks_sent(LIMIT));
    assert!(world.github.cancel_run_of(over));
    world.anka.foreign_vm("anklet-vm-of-an-ended-job", fake_anka::Size::default());

    let mut connection = redis.connect();
    let redis_keys = &mut connection;
    push(redis_keys, OWN, &job_document(&world, running, "in_progress", 0));
    push(redis_keys, OWN, &vm_document(&world, running, &vm));
    push(redis_keys, "anklet/jobs/github/in_progress/acme", &job_document(&world, running, "in_progress", 0));
    push(redis_keys, &format!("{OWN}/cleaning"), &vm_document(&world, over, "anklet-vm-of-an-ended-job"));
    push(redis_keys, QUEUED, &job_document(&world, waiting, "queued", 2));
    push(redis_keys, QUEUED, &job_document(&world, over, "queued", 0));
    push(redis_keys, "anklet/jobs/github/paused/acme", &job_document(&world, paused, "paused", 0));
    let other = "anklet/jobs/github/queued/acme/{OTHER}";
    push(redis_keys, other, &job_document(&world, elsewhere, "registered", 1));
    push(redis_keys, other, &vm_document(&world, elsewhere, "anklet-vm-on-another-host"));
    push(redis_keys, "anklet/jobs/github/completed/acme", &job_document(&world, over, "completed", 0));

    let anklet = world.start(&redis.config(&world, 2));
    for job in [running, waiting, paused, elsewhere] {
        assert_eq!(world.github.wait_completed(job, LIMIT).conclusion.as_deref(), Some("success"));
    }
    anklet.wait_messages("job completed", 4);
    anklet.wait_for("nothing but the other host's VM", || lists(&mut redis.connect()) == [other]);
    let left: Vec<String> = connection.lrange(other, 0, -1).unwrap();
    assert!(left.len() == 1 && left[0].contains("anklet-vm-on-another-host"), "{left:?}");
    world.assert_clean(&anklet);
    assert_eq!(
        world.github.registrations().len(),
        4,
        "each job had one VM, and the running one kept its own"
    );
    assert_eq!(world.github.job(running).runner_name, Some(vm));
    for job in [waiting, paused, elsewhere] {
        assert!(n_asked(&world, job) > 0, "GitHub is asked about an adopted job before it starts");
    }
    assert_eq!(n_asked(&world, running), n_before + 1);
    assert_eq!(n_asked(&world, over), 0, "that it is over was known");
    let attempts = anklet
        .lines()
        .into_iter()
        .find(|line| line.message() == "queued job found" && line.0["workflowJobID"] == waiting);
    assert_eq!(attempts.unwrap().0["attempts"], 2);
    anklet.stop();
}

#[test]
fn nothing_is_adopted_while_the_go_program_works() {
    let world = World::new();
    let redis = Server::start();
    let job = world.github.create_job(world.job());
    assert!(world.github.wait_webhooks_sent(LIMIT));
    let mut connection = redis.connect();
    push(&mut connection, QUEUED, &job_document(&world, job, "queued", 0));
    let metrics = json!({ "last_update": "", "plugins": [] }).to_string();
    connection.pset_ex::<_, _, ()>(METRICS, metrics, 7 * 24 * 3_600_000).unwrap();
    let config = redis.config(&world, 1).replace("limits: {", "limits: {go_program_look: 0.05, ");
    let anklet = world.start(&config);
    anklet.wait_message("the Go program works with this database; its jobs are adopted when it has ended");
    assert_eq!(lists(&mut connection), [QUEUED]);
    assert!(!has_line(&anklet, "queued job found"));
    // It was written over a minute ago.
    connection.pexpire::<_, ()>(METRICS, WEEK_MS - 60_500).unwrap();
    assert_eq!(world.github.wait_completed(job, LIMIT).conclusion.as_deref(), Some("success"));
    anklet.wait_message("adopted a list of the Go program");
    world.assert_clean(&anklet);
    assert!(lists(&mut connection).is_empty());
    anklet.stop();
}

/// Late, and so not by the handler, which has been working on other jobs: the janitor sees to it.
#[test]
fn a_vm_that_is_adopted_late_stays_until_its_job_is_over() {
    let world = World::new();
    let redis = Server::start();
    let (job, vm) = leave_running_vm(&world, 1_500);
    let mut connection = redis.connect();
    push(&mut connection, OWN, &job_document(&world, job, "in_progress", 0));
    push(&mut connection, OWN, &vm_document(&world, job, &vm));
    connection.pset_ex::<_, _, ()>(METRICS, "{}", 7 * 24 * 3_600_000).unwrap();
    let config = redis.config(&world, 1).replace("limits: {", "limits: {go_program_look: 0.05, ");
    let anklet = world.start(&config);
    anklet.wait_message("the Go program works with this database; its jobs are adopted when it has ended");
    connection.del::<_, ()>(METRICS).unwrap();
    anklet.wait_message("adopted a VM of the Go program");
    assert_eq!(world.github.wait_completed(job, LIMIT).conclusion.as_deref(), Some("success"));
    world.assert_clean(&anklet);
    assert!(lists(&mut connection).is_empty());
    anklet.stop();
}

#[test]
fn a_job_that_never_started_on_the_old_vm_gets_a_fresh_one() {
    let world = World::new();
    let redis = Server::start();
    world.github.hold_assignment(true);
    let first = world.start(&world.config(1));
    let job = world.github.create_job(world.job());
    first.wait_message("job is waiting for registered runner");
    let vm = world.vms_made_by_us().remove(0);
    first.kill();
    for file in ["anklet.db", "anklet.db-wal", "anklet.db-shm", "ledger.json"] {
        let _ = std::fs::remove_file(world.home.path().join(".config/anklet").join(file));
    }
    let mut connection = redis.connect();
    push(&mut connection, OWN, &job_document(&world, job, "registered", 0));
    push(&mut connection, OWN, &vm_document(&world, job, &vm));
    let anklet = world.start(&redis.config(&world, 1));
    anklet.wait_message("job given back");
    world.github.hold_assignment(false);
    let done = world.github.wait_completed(job, LIMIT);
    assert_eq!(done.conclusion.as_deref(), Some("success"));
    assert_ne!(done.runner_name.as_deref(), Some(vm.as_str()));
    anklet.wait_message("job completed");
    world.assert_clean(&anklet);
    anklet.stop();
}

#[test]
fn broken_documents_are_set_aside_and_what_is_adopted_twice_runs_once() {
    let world = World::new();
    let redis = Server::start();
    let job = world.github.create_job(world.job());
    assert!(world.github.wait_webhooks_sent(LIMIT));
    let good = job_document(&world, job, "queued", 0);
    let not_a_vm = vm_document(&world, job, "sonoma");
    let mut connection = redis.connect();
    let broken = [b"{\"type\":".to_vec(), vec![0xff, 0xfe], b"{\"type\":\"JobPayload\"}".to_vec()];
    for item in &broken {
        connection.rpush::<_, _, ()>(QUEUED, item.as_slice()).unwrap();
    }
    push(&mut connection, QUEUED, &good);
    push(&mut connection, QUEUED, &good);
    push(&mut connection, OWN, &not_a_vm);
    connection.set::<_, _, ()>("anklet/jobs/github/paused/acme", "no list").unwrap();
    let config = redis.config(&world, 1);
    let anklet = world.start(&config);
    assert_eq!(world.github.wait_completed(job, LIMIT).conclusion.as_deref(), Some("success"));
    anklet.wait_messages("a document of the Go program cannot be read and was set aside", 4);
    anklet.wait_message("a list of the Go program cannot be read; it stays where it is");
    anklet.wait_message("job completed");
    let aside = |list: &str| -> usize {
        redis.connect().scard(format!("anklet:{{acme}}:broken:list:{list}")).unwrap()
    };
    assert_eq!((aside(QUEUED), aside(OWN)), (3, 1));
    world.assert_clean(&anklet);
    anklet.stop();

    // As if the process had died before it took the item out of the list.
    push(&mut connection, QUEUED, &good);
    let again = world.start(&config);
    again.wait_message("adopted a list of the Go program");
    again.stop();
    assert_eq!(world.github.registrations().len(), 1);
    let state = world.anka.state();
    assert!(state.vms.iter().any(|vm| vm.name == "sonoma"), "a template is no VM of the Go program");
}
