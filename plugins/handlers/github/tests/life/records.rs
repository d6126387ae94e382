//! Whose VM records a handler and its janitor see to.

use anklet_plugin_api::host::Host;
use anklet_plugin_api::name::{HostId, PluginName, VmName};
use anklet_plugin_api::store::Store;
use anklet_plugin_api::time::Moment;
use anklet_plugin_api::vm::{Stage, VmRecord};

use crate::world::{World, short};

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
