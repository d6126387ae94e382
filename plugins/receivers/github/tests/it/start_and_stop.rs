//! How a receiver begins and ends.

use std::net::{Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;

use anklet_plugin_api::fake::memory::MemoryStore;
use anklet_plugin_api::plugin::PluginError;
use anklet_plugin_api::section::{Secret, Section};

use crate::support::{Bench, PATIENCE, SECRET, connect, run, section};

/// The error of a receiver that cannot start.
fn error(change: impl FnOnce(&mut Section)) -> String {
    let mut section = section("cannot-start");
    change(&mut section);
    let (_stopper, ready, thread) = run(section, Arc::new(MemoryStore::default()));
    let Err(PluginError::Setup(text)) = thread.join().expect("no panic") else { panic!("it started") };
    assert!(ready.recv_timeout(PATIENCE).is_err(), "it was never ready");
    assert!(text.starts_with("plugin cannot-start: ") && !text.contains(SECRET), "{text}");
    text
}

#[test]
fn a_port_in_use_is_an_error_that_names_it() {
    let listener = TcpListener::bind("0.0.0.0:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let text = error(|section| section.port = Some(port));
    assert!(
        text.contains(&format!(":{port}")) && text.contains("in use") && text.contains("`port`"),
        "{text}"
    );
}

#[test]
fn without_a_secret_nothing_is_served() {
    assert!(error(|section| section.secret = None).contains("`secret`"));
    assert!(error(|section| section.secret = Some(Secret::new(""))).contains("`secret`"));
}

#[test]
fn a_stop_frees_the_port() {
    let bench = Bench::start();
    let address = bench.address;
    // An idle connection does not hold it up.
    let _idle = connect(address);
    assert!(bench.stop().is_ok());
    assert!(TcpStream::connect(address).is_err());
}

#[test]
fn both_kinds_of_addresses_are_served() {
    let bench = Bench::start();
    assert_eq!(bench.ask("GET /healthcheck", &[], b"").status, 200);
    // Hosts without IPv6 serve IPv4 alone.
    if TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_ok() {
        drop(connect(SocketAddr::from((Ipv6Addr::LOCALHOST, bench.address.port()))));
    }
}
