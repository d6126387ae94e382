//! What an idle fleet asks of Redis.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::support::World;

use super::hosts::{Fleet, Host, handler, receiver};

/// How long is listened.
const MINUTE: Duration = Duration::from_secs(60);

/// Each handler sends at most one command in ten seconds, the process at most one a second in all; about 45 a minute are expected.
#[test]
#[ignore = "long: see tests/long"]
fn an_idle_fleet_asks_little() {
    let world = World::new();
    let fleet = Fleet::new(&world);
    let host = Host::new();
    let plugins = [receiver("RECEIVER", world.port), handler("A1"), handler("A2")];
    let config =
        fleet.config(&host.home, &plugins).replace("claim_seconds: 20\n", "").replace("idle_look: 1, ", "");
    let anklet = host.start(&config, 2);
    anklet.wait_message("receiver finished starting");
    let lines = listen(fleet.redis.port);
    // What a script does inside the server is no command of ours.
    let ours: Vec<_> = lines.iter().filter(|line| !line.contains(" lua]")).collect();
    // At the start each looks once more, since the subscription now stands.
    let settled_at = sent_at(ours[0]) + 5.0;
    let is_look = |line: &&&String| line.contains(r#"\"handler\":"#) || line.contains("\"EXISTS\"");
    let n_looks = ours.iter().filter(is_look).filter(|line| sent_at(line) > settled_at).count();
    assert!((8..=12).contains(&n_looks), "two handlers looked {n_looks} times: {ours:#?}");
    assert!(!ours.iter().any(|line| line.contains("\"SUBSCRIBE\"")), "the subscription stays");
    let settled: Vec<_> = ours.iter().filter(|line| sent_at(line) > settled_at).copied().collect();
    println!("{} commands in a minute, {} of them once it was settled:", ours.len(), settled.len());
    for (kind, n_sent) in kinds(&settled) {
        println!("{n_sent:>4} {kind}");
        // The claims of two handlers and the leases of three plugins come most often: more is a poll.
        assert!(n_sent <= 15, "{kind}: {ours:#?}");
    }
    assert!(settled.len() <= 55, "{ours:#?}");
    anklet.stop();
}

/// Ten hosts of two handlers and a receiver: what they ask grows with the hosts, each as above, and with nothing else.
#[test]
#[ignore = "long: see tests/long"]
fn twenty_idle_handlers_ask_little() {
    const N_HOSTS: u32 = 10;
    let world = World::new();
    let fleet = Fleet::new(&world);
    let hosts: Vec<_> = (0..N_HOSTS).map(|_| Host::new()).collect();
    let start = |(n, host): (usize, &Host)| {
        let mut plugins = vec![handler(&format!("A{n}")), handler(&format!("B{n}"))];
        plugins.extend((n == 0).then(|| receiver("RECEIVER", world.port)));
        let config = fleet.config(&host.home, &plugins);
        host.start(&config.replace("claim_seconds: 20\n", "").replace("idle_look: 1, ", ""), 2)
    };
    let anklets: Vec<_> = hosts.iter().enumerate().map(start).collect();
    let lines = listen(fleet.redis.port);
    let settled_at = sent_at(&lines[0]) + 5.0;
    let settled: Vec<_> = lines.iter().filter(|line| sent_at(line) > settled_at).collect();
    let per_second = |n: usize| n as f64 / (MINUTE.as_secs_f64() - 5.0);
    let n_sent = settled.iter().filter(|line| !line.contains(" lua]")).count();
    println!(
        "20 handlers on {N_HOSTS} hosts send {:.1} commands a second; with what scripts do inside the server {:.1}",
        per_second(n_sent),
        per_second(settled.len()),
    );
    assert!(per_second(n_sent) <= f64::from(N_HOSTS), "{settled:#?}");
    anklets.into_iter().for_each(crate::support::Anklet::stop);
}

/// How many commands there are of each kind: its name, and the names of what a script is given.
fn kinds(lines: &[&String]) -> BTreeMap<String, usize> {
    let mut kinds = BTreeMap::new();
    for line in lines {
        let words: Vec<_> = line.split(' ').skip(3).collect();
        let names =
            line.split("\\\"").skip(1).step_by(2).filter(|name| line.contains(&format!(r#"\"{name}\":"#)));
        let names: Vec<_> = names.collect();
        let kind = if names.is_empty() { words.iter().take(2).copied().collect() } else { names };
        *kinds.entry(kind.join(" ").trim().to_owned()).or_default() += 1;
    }
    kinds
}

/// When the server got a command, in seconds.
fn sent_at(line: &str) -> f64 {
    line.trim_start_matches('+').split(' ').next().unwrap().parse().unwrap()
}

/// Everything that the server is asked for a minute.
fn listen(port: u16) -> Vec<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.write_all(b"MONITOR\r\n").unwrap();
    let (ends_at, mut reader, mut lines) = (Instant::now() + MINUTE, BufReader::new(stream), Vec::new());
    loop {
        let left = ends_at.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return lines;
        }
        reader.get_ref().set_read_timeout(Some(left)).unwrap();
        let mut line = String::new();
        match reader.read_line(&mut line) {
            Ok(n_read) if n_read > 0 && !line.starts_with("+OK") => lines.push(line),
            _ => {}
        }
    }
}
