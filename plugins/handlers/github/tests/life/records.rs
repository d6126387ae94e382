//! Whose VM records a handler and its janitor see to.

use std::sync::Arc;

use anklet_plugin_api::fake::memory::Verb;
use anklet_plugin_api::host::Host;
use anklet_plugin_api::limits::Limits;
use anklet_plugin_api::name::{HostId, PluginName, VmName};
use anklet_plugin_api::store::Store;
use anklet_plugin_api::time::Moment;
use anklet_plugin_api::vm::{Stage, VmRecord};
use log::Level;

use crate::world::{World, ms, short};

/// A record of this host, made by a plugin that is not running here.
fn record(world: &World, queue: &str) -> VmRecord {
    VmRecord {
        vm: VmName::new(format!("anklet-vm-of-{queue}")),
        host: HostId::new("host"),
        plugin: PluginName::new("ANOTHER"),
        queue: queue.to_owned(),
        scope: world.section.scope.clone(),
        job: None,
        run: None,
        repository: String::new(),
        labels: Vec::new(),
        stage: Stage::Waiting,
        registering_at: Some(Moment(0)),
        registered_at: Some(Moment(0)),
        jit: None,
        created_at: Moment(0),
        failed_deletions: 0,
    }
}

/// A host's ledger holds the records of all queues; those of another belong to whoever serves that, in this process or another.
#[test]
fn the_ledgers_records_of_another_queue_are_left_alone() {
    let world = World::new(short());
    for queue in ["another", world.section.queue.as_str()] {
        let record = record(&world, queue);
        world.host.record(&record).unwrap();
        world.vms.put_vm(&record.vm, true);
    }
    let life = world.start_with_janitor();
    // That of this queue is nobody's, and is cleaned up.
    world.wait_said("cleaned up what was left of a VM", 1);
    let job = world.queue(world.job());
    world.tell_started(job);
    world.end(job, "success");
    world.wait_said("job completed", 1);
    life.stop();
    let theirs = record(&world, "another");
    assert_eq!(world.only_vm(), theirs.vm);
    assert_eq!(world.host.records().unwrap(), [theirs]);
    assert!(world.store.vms(&HostId::new("host")).unwrap().is_empty(), "it is in another store");
}

/// A VM is forgotten, in the store first, while somebody compares store and ledger: neither gets it back from the other.
#[test]
fn what_is_forgotten_during_a_look_stays_forgotten() {
    for is_stored in [true, false] {
        let world = World::new(short());
        let record = record(&world, &world.section.queue);
        world.host.record(&record).unwrap();
        if is_stored {
            world.store.put_vm(None, &record).unwrap();
        }
        let (store, host) = (Arc::clone(&world.store), world.host.clone());
        // The store was looked at before. If it had forgotten the VM by then, the ledger does so when it has been looked at, too.
        world.host.beside_next_read(is_stored, move || {
            store.remove_vm(&record.vm).unwrap();
            host.forget(&record.vm).unwrap();
        });
        let life = world.start();
        assert!(world.host.records().unwrap().is_empty(), "the ledger; stored: {is_stored}");
        assert!(world.store.vms(&HostId::new("host")).unwrap().is_empty(), "the store; stored: {is_stored}");
        life.stop();
    }
}

/// Another host's records are not ours to clean up. When nothing was heard of it for long, the queue forgets them, and people are told what may be left.
#[test]
fn the_records_of_a_host_that_is_gone_are_told_and_dropped() {
    const TOLD: &str = "nothing was heard of a host for days: the queue forgets its VM; run `removeRunner` anywhere and, if the host still exists, `deleteVM` there";
    let limits = Limits { forsaken_look: ms(30), host_gone: ms(100), ..short() };
    let world = World::new(limits);
    let lost = VmRecord { host: HostId::new("lost-host"), ..record(&world, "acme") };
    world.store.put_vm(None, &lost).unwrap();
    let life = world.start_with_janitor();
    world.wait_for("the record gone", || world.store.counts().unwrap().vms == 0);
    life.stop();
    let told = world.said(TOLD);
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!(told[0].level, Level::Error);
    let facts = &told[0].facts;
    assert_eq!((facts["host"].as_str(), facts["runnerName"].as_str()), ("lost-host", lost.vm.as_str()));
    assert!(facts["removeRunner"].contains("repos/acme/app/actions/runners"), "{facts:?}");
    assert_eq!(facts["deleteVM"], format!("anka delete --yes {}", lost.vm));
    assert!(world.store.n_calls(Verb::Forsaken) > 3, "one look is not enough");
}

/// A handler has two records, as after a rename or a deletion that was cut off, and the job of the first runs: the other VM goes meanwhile.
#[test]
fn a_running_job_keeps_no_other_record_waiting() {
    let world = World::new(short());
    let life = world.start();
    let job = world.queue(world.job());
    let vm = world.tell_started(job);
    world.wait_said("job found registered runner and is now in progress", 1);
    life.stop();
    // The news came when nobody was there to note it.
    let host = HostId::new("host");
    let watched = VmRecord { stage: Stage::Waiting, ..world.store.vms(&host).unwrap().remove(0) };
    let other = VmRecord {
        vm: VmName::new("z-left"),
        plugin: watched.plugin.clone(),
        queue: watched.queue.clone(),
        ..record(&world, "acme")
    };
    world.vms.put_vm(&other.vm, true);
    for record in [&watched, &other] {
        world.store.put_vm(None, record).unwrap();
        world.host.record(record).unwrap();
    }
    let life = world.start_with_janitor();
    world.wait_for("the other VM gone", || !world.vms.vms().contains_key(&other.vm));
    assert!(world.vms.vms().contains_key(&vm), "its job runs");
    world.end(job, "success");
    world.wait_clean();
    life.stop();
}
