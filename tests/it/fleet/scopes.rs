//! Owners, repositories and queues that share one Redis, and do not touch each other's jobs.

use std::collections::BTreeMap;

use fake_github::{JobId, JobSpec};

use crate::support::{SECRET, TAG, TEMPLATE, TOKEN, World, free_port};

use super::hosts::{Fleet, Host, wait};

const TOKEN_SCOPES: &[&str] = &["repo", "admin:org", "workflow"];

fn job_of(repo: &str) -> JobSpec {
    let labels = [format!("anka-template:{TEMPLATE}"), format!("anka-template-tag:{TAG}")];
    JobSpec::new(repo, &labels.each_ref().map(String::as_str)).steps_ms(50)
}

/// A world with these repositories, each with a hook that leads to its own port; the ports by repository.
fn world_of(repos: &[&str]) -> (World, BTreeMap<String, u16>) {
    let world = World::new();
    let mut ports = BTreeMap::new();
    for repo in repos {
        let port = free_port();
        world.github.add_repo(repo);
        world.github.add_hook(repo, &format!("http://127.0.0.1:{port}/jobs/v1/receiver"), SECRET);
        ports.insert((*repo).to_owned(), port);
    }
    world.github.add_pat(TOKEN, TOKEN_SCOPES);
    (world, ports)
}

fn receiver(name: &str, scope: &str, port: u16) -> String {
    format!("{{name: {name}, plugin: github_receiver, {scope}, port: {port}, skip_redeliver: true}}")
}

fn handler(name: &str, scope: &str) -> String {
    format!("{{name: {name}, plugin: github, {scope}}}")
}

fn runner_of(world: &World, job: JobId) -> String {
    world.github.job(job).runner_name.expect("it ran")
}

/// Two organizations with one queue: each handler takes its owner's jobs, and those of the other keep their order.
#[test]
fn two_organizations_share_a_queue() {
    let (world, ports) = world_of(&["north/app", "south/app"]);
    let fleet = Fleet::new(&world);
    let (hub, north, south) = (Host::new(), Host::new(), Host::new());
    let [for_north, for_south] = ["owner: north, queue_name: shared", "owner: south, queue_name: shared"];
    let plugins =
        [receiver("R1", for_north, ports["north/app"]), receiver("R2", for_south, ports["south/app"])];
    let receivers = hub.spawn(&fleet.config(&hub.home, &plugins));
    receivers.wait_messages("receiver finished starting", 2);
    let northerner = north.start(&fleet.config(&north.home, &[handler("N1", for_north)]), 1);
    let of = |repo: &str| world.github.create_job(job_of(repo));
    let (mut northern, mut southern) = (Vec::new(), Vec::new());
    for _ in 0..4 {
        southern.push(of("south/app"));
        wait("the webhook of the job", || fleet.stored().contains(southern.last().unwrap()));
        northern.push(of("north/app"));
    }
    fleet.all_ran_once(&northern);
    wait("nothing but the others' jobs", || fleet.stored() == southern.iter().copied().collect());
    let southerner = south.start(&fleet.config(&south.home, &[handler("S1", for_south)]), 1);
    fleet.all_ran_once(&southern);
    let order: Vec<_> = world.github.registrations().into_iter().map(|one| one.runner_name).collect();
    let expected: Vec<_> = northern.iter().chain(&southern).map(|job| runner_of(&world, *job)).collect();
    assert_eq!(order[4..], expected[4..], "the others kept their order");
    assert!(northern.iter().all(|job| north.has_had(&runner_of(&world, *job))));
    assert!(southern.iter().all(|job| south.has_had(&runner_of(&world, *job))));
    fleet.is_clean(&[&north, &south]);
    for anklet in [receivers, northerner, southerner] {
        anklet.stop();
    }
}

/// A repository handler beside an organization handler never touches another repository's job.
#[test]
fn a_repository_handler_beside_an_organization_handler() {
    let (world, ports) = world_of(&["north/app", "north/web"]);
    let fleet = Fleet::new(&world);
    let (hub, narrow, wide) = (Host::new(), Host::new(), Host::new());
    let plugins = [
        receiver("R1", "owner: north, repo: app", ports["north/app"]),
        receiver("R2", "owner: north, repo: web", ports["north/web"]),
    ];
    let receivers = hub.spawn(&fleet.config(&hub.home, &plugins));
    receivers.wait_messages("receiver finished starting", 2);
    let narrow_one =
        narrow.start(&fleet.config(&narrow.home, &[handler("APP", "owner: north, repo: app")]), 1);
    let of = |repo: &str| world.github.create_job(job_of(repo));
    let web: Vec<_> = (0..3).map(|_| of("north/web")).collect();
    wait("the jobs of the other repository", || web.iter().all(|job| fleet.stored().contains(job)));
    let app = [of("north/app"), of("north/app")];
    fleet.all_ran_once(&app);
    assert!(app.iter().all(|job| narrow.has_had(&runner_of(&world, *job))));
    wait("nothing but the others' jobs", || fleet.stored() == web.iter().copied().collect());
    let wide_one = wide.start(&fleet.config(&wide.home, &[handler("ORG", "owner: north")]), 1);
    let more = [of("north/app"), of("north/web"), of("north/app"), of("north/web")];
    fleet.all_ran_once(&web);
    fleet.all_ran_once(&more);
    for job in web.iter().chain(&more).filter(|job| world.github.job(**job).repo.to_string().ends_with("web"))
    {
        assert!(wide.has_had(&runner_of(&world, *job)));
    }
    assert_eq!(narrow.n_clones() + wide.n_clones(), 9);
    fleet.is_clean(&[&narrow, &wide]);
    for anklet in [receivers, narrow_one, wide_one] {
        anklet.stop();
    }
}

/// Three queues in one Redis, each with a receiver and handlers of its own, two of them in one process.
#[test]
fn many_queues_in_one_redis() {
    let owners = ["north", "south", "west"];
    let repos = owners.map(|owner| format!("{owner}/app"));
    let (world, ports) = world_of(&repos.each_ref().map(String::as_str));
    let fleet = Fleet::new(&world);
    let hosts = [Host::new(), Host::new()];
    let plugins = |owner: &str| {
        let scope = format!("owner: {owner}, repo: app");
        let port = ports[&format!("{owner}/app")];
        [receiver(&format!("R-{owner}"), &scope, port), handler(&format!("H-{owner}"), &scope)]
    };
    let [north, south, west] = owners.map(plugins);
    let both = [north, south].concat();
    let first = hosts[0].start(&fleet.config(&hosts[0].home, &both), 2);
    let second = hosts[1].start(&fleet.config(&hosts[1].home, &west), 1);
    let jobs: Vec<_> = (0..9).map(|n| world.github.create_job(job_of(&repos[n % repos.len()]))).collect();
    fleet.all_ran_once(&jobs);
    for (n, job) in jobs.iter().enumerate() {
        let is_of_second = n % 3 == 2;
        assert_eq!(hosts[1].has_had(&runner_of(&world, *job)), is_of_second, "job {n}");
    }
    assert_eq!((hosts[0].n_clones(), hosts[1].n_clones()), (6, 3));
    fleet.is_clean(&hosts.each_ref());
    for anklet in [first, second] {
        anklet.stop();
    }
}

/// The runner of a dead host is registered with the organization; the handler of a repository that takes its job fences it there.
#[test]
fn a_dead_hosts_runner_is_fenced_in_its_own_scope() {
    let (world, ports) = world_of(&["north/app"]);
    let fleet = Fleet::new(&world);
    let (hub, wide, narrow) = (Host::new(), Host::new(), Host::new());
    let short_lived = |host: &Host, plugin| {
        fleet.config(&host.home, &[plugin]).replace("claim_seconds: 20", "claim_seconds: 4")
    };
    let receiver =
        hub.spawn(&fleet.config(&hub.home, &[receiver("R1", "owner: north, repo: app", ports["north/app"])]));
    receiver.wait_message("receiver finished starting");
    world.github.hold_assignment(true);
    let dying = wide.start(&short_lived(&wide, handler("ORG", "owner: north")), 1);
    let job = world.github.create_job(job_of("north/app"));
    dying.wait_message("job is waiting for registered runner");
    assert_eq!(world.github.runners("north").len(), 1);
    dying.kill();
    let queue = "owner: north, repo: app";
    let taker = narrow.start(&short_lived(&narrow, handler("APP", queue)), 1);
    taker.wait_message("job given back");
    assert!(world.github.runners("north").is_empty());
    world.github.hold_assignment(false);
    fleet.all_ran_once(&[job]);
    assert!(narrow.has_had(&runner_of(&world, job)));
    taker.stop();
    receiver.stop();
}
