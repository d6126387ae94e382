//! A real Prometheus scrapes every process of a fleet.

use crate::prometheus::is_content_with;
use crate::support::{Anklet, World};

use super::hosts::{Fleet, Host};

#[test]
#[ignore = "long: see tests/long"]
fn three_processes_on_redis_are_scraped_without_an_error() {
    let world = World::new();
    let fleet = Fleet::new(&world);
    let hosts = [Host::new(), Host::new()];
    let receiver = fleet.start_receiver();
    let [first, second] = [["A1", "A2"], ["B1", "B2"]];
    let handlers = [fleet.start(&hosts[0], &first), fleet.start(&hosts[1], &second)];
    is_content_with(&world, &[&receiver, &handlers[0], &handlers[1]]);
    fleet.is_clean(&hosts.each_ref());
    handlers.into_iter().for_each(Anklet::stop);
    receiver.stop();
}
